"""A case of verification: one algorithm, compared with oracles that share no code with it.

A case is a function that takes a :class:`Check` and reports each comparison to it::

    @case("activation.relu")
    def relu(check: Check) -> None:
        check(danlu.nn.relu(x), numpy.maximum(x, 0))
        if torch := check.module("torch"):
            check(danlu.nn.relu(x), torch.relu(...), oracle="torch")

The oracle is float64 NumPy, a closed form, finite differences of the NumPy form, or another library: never danlu's own
functions, and for a gradient never JAX's differentiation alone.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import importlib
import importlib.metadata
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

import numpy as np

from danlu.errors import ConfigError, unknown_name

__all__ = ["CASES", "TOLERANCE", "Case", "Check", "case", "relative_error", "select"]

TOLERANCE = 1e-5
"""The default: about a hundred roundings of float32."""

_MODULES = (
    "activations",
    "initializers",
    "starts",
    "layers",
    "convolution",
    "composites",
    "vision",
    "recurrence",
    "attention",
    "options",
    "losses",
    "backprop",
    "optimizers",
    "hyperparameters",
    "rows",
    "schedules",
    "clipping",
    "engine",
    "doctor",
    "driving",
    "averages",
    "objectives",
    "federated",
    "fewshot",
    "forecast",
    "generative",
    "explain",
    "transfer",
    "training",
    "measures",
    "intervals",
    "judging",
    "groups",
    "recommending",
    "bandits",
    "uplift",
    "scorecards",
    "segments",
    "attacks",
    "modalities",
    "pretraining",
    "translation",
    "detection",
    "segmentation",
    "reinforcement",
    "environments",
    "agents",
    "games",
    "collected",
    "encoding",
    "auditing",
    "privacy",
    "secure",
)
_DISTRIBUTIONS = {"sklearn": "scikit-learn"}


def relative_error(received: Any, expected: Any, *, floor: float = 1e-3) -> float:
    """The largest ``|received - expected| / max(|expected|, floor)``.

    Args:
        received, expected: arrays of one shape.
        floor: an expected value smaller than this counts as this large, > 0.

    Returns:
        The error; infinite when the shapes differ or one side is NaN or infinite where the other is not.

    Example:
        >>> relative_error([1.0, 2.02], [1.0, 2.0])
        0.01
        >>> relative_error([float("nan")], [0.0])
        inf
    """
    got, want = np.asarray(received, np.float64), np.asarray(expected, np.float64)
    if got.shape != want.shape:
        return float("inf")
    finite = np.isfinite(want)
    if not np.array_equal(got[~finite], want[~finite], equal_nan=True) or not np.all(np.isfinite(got[finite])):
        return float("inf")
    if not finite.any():
        return 0.0
    error = np.abs(got[finite] - want[finite]) / np.maximum(np.abs(want[finite]), floor)
    return float(np.round(error.max(), 12))


class Check:
    """Collects a case's comparisons: the largest error, and the oracles that were used."""

    def __init__(self) -> None:
        self.error = 0.0
        self.worst = ""
        self.oracles: dict[str, str] = {}

    def __call__(self, received: Any, expected: Any, *, oracle: str = "numpy", floor: float = 1e-3) -> None:
        """Compare danlu's result with the oracle's.

        Args:
            received: danlu's.
            expected: the oracle's, of the same shape.
            oracle: the module that computed it, or words such as "closed form".
            floor: see :func:`relative_error`.
        """
        self.oracles.setdefault(oracle, _version(oracle))
        error = relative_error(received, expected, floor=floor)
        if error > self.error:
            self.error, self.worst = error, oracle

    def module(self, name: str) -> ModuleType | None:
        """The optional oracle ``name``, or None when it is not installed."""
        try:
            return importlib.import_module(name)
        except ImportError:
            return None


@dataclasses.dataclass(frozen=True)
class Case:
    """One row to be: the algorithm's name, its comparisons, and how far they may be off.

    Args:
        name: ``kind.algorithm``.
        run: reports the comparisons.
        tolerance: the largest relative error that passes.
        reason: why the tolerance is not the default.
    """

    name: str
    run: Callable[[Check], None]
    tolerance: float = TOLERANCE
    reason: str = ""


CASES: dict[str, Case] = {}
"""Every case by its name, once :func:`select` has loaded them."""


def case(
    name: str, *, tolerance: float = TOLERANCE, reason: str = ""
) -> Callable[[Callable[[Check], None]], Callable[[Check], None]]:
    """Register the decorated function as the case ``name``.

    Raises:
        ConfigError: the name is taken, or the tolerance is not the default and no reason is given.
    """
    if name in CASES:
        raise ConfigError(f"the case {name!r} is registered twice")
    if tolerance > TOLERANCE and not reason:
        raise ConfigError(f"the case {name!r} has the tolerance {tolerance:g} without a reason", hint="give reason=…")

    def register(run: Callable[[Check], None]) -> Callable[[Check], None]:
        CASES[name] = Case(name, run, tolerance, reason)
        return run

    return register


def select(patterns: str | Iterable[str] | None = None) -> list[Case]:
    """The cases that match any of ``patterns``, in their order of registration; all for None.

    Args:
        patterns: names (``"optimizer.adam"``), kinds (``"optimizer"``) or wildcards (``"*.ada*"``).

    Raises:
        ConfigError: a pattern that matches nothing.

    Example:
        >>> [case.name for case in select("optimizer.adam*")]
        ['optimizer.adam', 'optimizer.adamw']
    """
    for module in _MODULES:
        importlib.import_module(f"danlu.verify.cases.{module}")
    if patterns is None:
        return list(CASES.values())
    chosen: set[str] = set()
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        found = [name for name in CASES if fnmatch.fnmatch(name, pattern) or name.split(".")[0] == pattern]
        if not found:
            kinds = {name.split(".")[0] for name in CASES}
            algorithms = {name.split(".")[1]: name for name in CASES}
            if pattern in algorithms:
                hint = f"did you mean {algorithms[pattern]!r}?"
                raise ConfigError(f"no algorithm is called {pattern!r}", hint=hint)
            raise unknown_name("algorithm", pattern, CASES if "." in pattern else kinds)
        chosen.update(found)
    return [case for name, case in CASES.items() if name in chosen]


def _version(oracle: str) -> str:
    try:
        return importlib.metadata.version(_DISTRIBUTIONS.get(oracle, oracle))
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return ""
