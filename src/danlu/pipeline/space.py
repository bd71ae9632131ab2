"""Where ``danlu tune`` looks: the span or the choices of a setting, and how a user writes them.

``trainer.learning_rate=0.001..0.1`` is a span, ``model.width=128,256`` are choices, and ``model.depth=2`` is a setting as of
``danlu train``, which is not searched.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from danlu.errors import ConfigError, shorten

__all__ = ["Choice", "Place", "Span", "as_place", "in_words", "read_places", "rounded"]

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_SPAN = re.compile(rf"\s*({_NUMBER})\s*\.\.\s*({_NUMBER})\s*")
_DIGITS = 4  # of a number that was drawn: what is printed is what was tried
_LOG_FROM = 10.0  # a span whose ends are so many times apart is drawn on a logarithmic scale


def rounded(value: float) -> float:
    """A drawn number with as many digits as are printed.

    >>> rounded(0.0123456)
    0.01235
    """
    return float(f"{value:.{_DIGITS}g}")


@dataclasses.dataclass(frozen=True)
class Span:
    """The numbers from ``low`` to ``high``, both included.

    Attributes:
        log: whether equal ratios are equally likely, not equal differences.
        integer: whether only whole numbers are.

    Raises:
        ConfigError: ends that are no numbers or the wrong way round, or a logarithm of 0.
    """

    low: float
    high: float
    log: bool = False
    integer: bool = False

    def __post_init__(self) -> None:
        ends = (self.low, self.high)
        if any(isinstance(end, bool) or not isinstance(end, int | float) or not math.isfinite(end) for end in ends):
            raise ConfigError(f"the span is {self.low!r}..{self.high!r}; expected two numbers")
        if not self.low < self.high:
            expected = (
                "two different ends" if self.low == self.high else f"its lower end first: {self.high:g}..{self.low:g}"
            )
            raise ConfigError(f"the span {self} is empty; expected {expected}")
        if self.log and self.low <= 0:
            raise ConfigError(f"the span {self} is logarithmic; expected a lower end above 0")

    def __str__(self) -> str:
        return f"{self.low:g}..{self.high:g}"

    @property
    def ends(self) -> tuple[Any, ...]:
        """What a setting has to accept."""
        return (self.low, self.high)

    def nearest(self, value: Any) -> Any:
        """The number of the span that is nearest to ``value``."""
        return min(max(value, self.low), self.high)


@dataclasses.dataclass(frozen=True)
class Choice:
    """One of some values.

    Raises:
        ConfigError: fewer than two, or one twice.
    """

    values: tuple[Any, ...]

    def __post_init__(self) -> None:
        if len(self.values) < 2 or len(set(map(repr, self.values))) < len(self.values):
            raise ConfigError(f"the choices are {list(self.values)}; expected two or more, each once")

    def __str__(self) -> str:
        return ",".join(json.dumps(value) if isinstance(value, list | dict) else str(value) for value in self.values)

    @property
    def ends(self) -> tuple[Any, ...]:
        """What a setting has to accept."""
        return self.values

    def nearest(self, value: Any) -> Any:
        """``value`` if it can be chosen; else of numbers the nearest, of others the first."""
        if value in self.values:
            return value
        numbers = [each for each in self.values if isinstance(each, int | float)]
        if len(numbers) < len(self.values) or not isinstance(value, int | float):
            return self.values[0]
        return min(numbers, key=lambda each: abs(each - value))


Place = Span | Choice


def read_places(settings: Iterable[str], searchable: Any) -> tuple[list[str], dict[str, Place]]:
    """The settings of a command line that are fixed, and those that are searched.

    Args:
        searchable: whether a list of values of the setting with this name means choices (of ``data.drop`` it is one value).

    Raises:
        ConfigError: a setting that is both, twice, or an empty span.

    Example:
        >>> fixed, searched = read_places(["trainer.epochs=9", "trainer.learning_rate=1e-3..0.1", "model.width=64,128"], lambda name: True)
        >>> fixed, [str(place) for place in searched.values()]
        (['trainer.epochs=9'], ['0.001..0.1', '64,128'])
    """
    fixed: list[str] = []
    searched: dict[str, Place] = {}
    seen: set[str] = set()
    for each in settings:
        name, equals, text = (part.strip() for part in each.partition("="))
        if name in seen:
            raise ConfigError(f"{name} is given twice", hint="a setting is either fixed or searched, once")
        seen.add(name)
        span = _SPAN.fullmatch(text) if equals else None
        if span is None and ".." in text and searchable(name):
            raise ConfigError(
                f"{name} is {text!r}; expected a span such as 0.001..0.1, or choices such as 64,128", hint="LOW..HIGH"
            )
        if span is not None:
            searched[name] = as_place(name, tuple(_parsed(end) for end in span.groups()))
        elif equals and "," in text and searchable(name) and not text.startswith("["):
            searched[name] = as_place(name, [_parsed(part.strip()) for part in text.split(",") if part.strip()])
        else:
            fixed.append(each)
    return fixed, searched


def as_place(name: str, given: Any) -> Place:
    """A span or choices as Python has them: ``(low, high)`` or ``[a, b, c]``.

    Raises:
        ConfigError: neither.

    Example:
        >>> as_place("trainer.learning_rate", (1e-3, 1e-1)).log, as_place("model.width", [64, 128]).values
        (True, (64, 128))
    """
    try:
        if isinstance(given, Span | Choice):
            return given
        if isinstance(given, tuple) and len(given) == 2:
            low, high = given
            whole = isinstance(low, int) and isinstance(high, int)
            log = isinstance(low, int | float) and isinstance(high, int | float) and low > 0 and high / low >= _LOG_FROM
            return Span(low, high, log, whole)
        if isinstance(given, list):
            return Choice(tuple(given))
    except ConfigError as error:
        raise ConfigError(f"{name}: {error.message}", hint=error.hint) from None
    raise ConfigError(
        f"{name} is searched in {shorten(given)}; expected a span (low, high) or choices [a, b, c]",
        hint="on the command line 0.001..0.1 or 64,128",
    )


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        try:
            return float(text)
        except ValueError:
            return text


def in_words(values: Mapping[str, Any]) -> str:
    """Settings as they are typed.

    >>> in_words({"trainer.learning_rate": 0.01, "model.width": 64})
    'trainer.learning_rate=0.01 model.width=64'
    """
    return " ".join(f"{name}={written(value)}" for name, value in values.items())


def written(value: Any) -> str:
    """A value as it is typed."""
    return value if isinstance(value, str) else json.dumps(value)
