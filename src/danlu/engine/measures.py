"""The user's losses and metrics as functions of outputs and targets: their arguments, their names, and which values are better."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

import jax

from danlu.errors import ConfigError, DataError

__all__ = ["Measure", "Part", "TakesWeights", "direction_of", "measure_of", "name_of", "value_of"]

Measure = Callable[..., Any]
_WEIGHTS = ("weights", "weight", "sample_weight")  # what an argument for weights is called


@dataclasses.dataclass(frozen=True)
class TakesWeights:
    """A function ``(outputs, targets, weights) -> scalar``.

    Attributes:
        function: the user's.
        keyword: what the weights are called, where they are given by name.
    """

    function: Measure
    keyword: str | None = None

    def __call__(self, outputs: Any, targets: Any, weights: jax.Array) -> jax.Array:
        if self.keyword is None:
            value: jax.Array = self.function(outputs, targets, weights)
        else:
            value = self.function(outputs, targets, **{self.keyword: weights})
        return value


@dataclasses.dataclass(frozen=True)
class Part:
    """A measure of one of several outputs: ``measure(outputs[name], targets[name])``.

    Attributes:
        name: which.
        measure: what it is measured by, as :func:`measure_of` gives it.
    """

    name: str
    measure: Measure

    def __call__(self, outputs: Any, targets: Any, *weights: jax.Array) -> jax.Array:
        value: jax.Array = self.measure(self._of(outputs, "outputs"), self._of(targets, "targets"), *weights)
        return value

    def _of(self, tree: Any, what: str) -> Any:
        if isinstance(tree, dict) and self.name in tree:
            return tree[self.name]
        found = f"a dict of {', '.join(map(str, tree))}" if isinstance(tree, dict) else "no dict"
        raise DataError(
            f"the loss or a metric is for {self.name!r}, and the {what} are {found}; expected a dict with it",
            hint="nn.Parallel(…, merge='dict', outputs=(…)) has outputs by name; the targets are y={'NAME': …}",
        )

    @property
    def direction(self) -> str | None:
        """The direction of the measure."""
        return direction_of(self.measure)

    def check_targets(self, outputs: Any, targets: Any) -> None:
        """Check the targets as the measure does, if it does."""
        check = getattr(self.measure, "check_targets", None)
        if check is not None:
            check(self._of(outputs, "outputs"), self._of(targets, "targets"))

    @classmethod
    def of(cls, name: str, measure: Measure) -> Measure:
        """The part ``name`` of a measure, which takes weights where the measure does."""
        return TakesWeights(cls(name, measure)) if isinstance(measure, TakesWeights) else cls(name, measure)


def measure_of(function: Callable[..., Any], kind: str) -> Measure:
    """``function`` as it is, or as :class:`TakesWeights` when it has an argument for weights.

    Raises:
        ConfigError: it needs other arguments than outputs, targets and weights.
    """
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # a built-in function does not tell
        return function
    named = next((p.name for p in parameters if p.name in _WEIGHTS), None)
    if named is not None:
        return TakesWeights(function, named)
    needed = [p for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    any_number = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    too_many = len(needed) > 3 or any(p.kind is p.KEYWORD_ONLY for p in needed)
    if too_many or (len(positional) < 2 and not any_number):
        raise ConfigError(
            f"the {kind} {name_of(function)} takes ({', '.join(p.name for p in parameters)}); expected (outputs, targets) or "
            "(outputs, targets, weights)",
            hint="what needs the parameters, the state or a random key is a danlu.engine.Objective",
        )
    return TakesWeights(function) if len(needed) == 3 else function


def value_of(measure: Measure, outputs: Any, targets: Any, weight: jax.Array) -> jax.Array:
    """The value of ``measure`` for a batch: ``(batch,)``, or a scalar."""
    if isinstance(measure, TakesWeights):
        return measure(outputs, targets, weight)
    value: jax.Array = measure(outputs, targets)
    return value


def name_of(measure: Any) -> str:
    """What a loss or metric is called: the name of the function or of the class."""
    measure = measure.function if isinstance(measure, TakesWeights) else measure
    return getattr(measure, "__name__", None) or type(measure).__name__


def direction_of(measure: Any) -> str | None:
    """``"min"`` or ``"max"``: which values of a loss or metric are better, as it declares in ``direction``; None: it does not."""
    measure = measure.function if isinstance(measure, TakesWeights) else measure
    found = getattr(measure, "direction", None)
    if found not in (None, "min", "max"):
        raise ConfigError(f"the direction of {name_of(measure)} is {found!r}; expected 'min' or 'max'")
    return found
