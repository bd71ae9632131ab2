"""The record of one training, as the doctor reads it: what it left behind, and what is derived from that."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from danlu.engine.examine import Exam
from danlu.engine.health import Finding
from danlu.engine.objective import Supervised
from danlu.engine.state import TrainState
from danlu.errors import ConfigError
from danlu.paths import leaf_paths

__all__ = ["Case", "Clues", "columns_of", "constant_loss", "grown", "loss_name", "samples"]

_LEARNT = 0.9  # a loss below this share of a constant answer's has learnt something


@dataclasses.dataclass(frozen=True, eq=False)
class Clues:
    """What a training leaves to look at.

    Attributes:
        program: the step, of all members.
        state: after the last step.
        batch: some rows ``{"x", "y", "weight"}``, on the host.
        constant: the loss of the best constant answer; None where it is not known.
        still: paths of the parameters that never moved.
        stops: whether it stops early by itself.
        grown: how much larger the kernels are than before the first step.
        failures: why the loss stopped being finite.
    """

    program: Any
    state: TrainState
    batch: Mapping[str, Any]
    constant: float | None
    still: tuple[str, ...]
    stops: bool
    grown: float = 1.0
    failures: tuple[Finding, ...] = ()

    def of(self, program: Any, state: TrainState, member: int) -> Clues:
        """Those of one member of a population, as if it had been trained alone."""
        own = tuple(each for each in self.failures if member in each.members)
        return dataclasses.replace(self, program=program, state=state, failures=own)


@dataclasses.dataclass(frozen=True)
class Case:
    """A training of one member, to be judged."""

    clues: Clues
    losses: np.ndarray
    judged: np.ndarray
    rates: np.ndarray
    steps: int
    exam: Exam | None = None

    @property
    def reference(self) -> float:
        """What the loss is compared with: a constant answer's, else the first epoch's."""
        return float(self.losses[0]) if self.clues.constant is None else self.clues.constant

    @property
    def learnt(self) -> bool:
        """Whether the loss has fallen enough to say that something was learnt; yes where nothing can be compared."""
        if self.clues.constant is None and len(self.losses) < 2:
            return True
        return bool(self.losses[-1] < self.reference - (1 - _LEARNT) * abs(self.reference))

    @property
    def jumped(self) -> bool:
        """Whether the loss has come back up in the end."""
        low, last = float(self.losses.min()), float(self.losses[-1])
        return last - low > 0.5 * abs(low) and last - low > 0.1 * abs(self.reference)

    @property
    def odd(self) -> bool:
        return not self.learnt or self.jumped or bool(self.clues.still)

    @property
    def peak(self) -> float:
        """How much larger the largest rate was than the one now."""
        known = self.rates[np.isfinite(self.rates)]
        return float(known.max() / known[-1]) if known.size and known[-1] > 0 else 1.0

    @property
    def seen(self) -> Exam:
        if self.exam is None:
            raise ConfigError("the training was not examined")
        return self.exam

    @property
    def scale(self) -> float:
        """The gradient's share: how much the loss would change, at most, as a share of itself, if all weights changed by their size."""
        loss = max(abs(self.seen.loss), 1e-30)
        return max((layer.gradient * layer.weight / loss for layer in self.seen.layers), default=0.0)


def columns_of(x: Any) -> list[tuple[str, np.ndarray]]:
    """The columns of tables, and whole pictures or sequences, with what they are called."""
    found = []
    for path, leaf in jax.tree_util.tree_leaves_with_path(x):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        array = np.asarray(leaf)
        if array.ndim == 2:
            found += [(f"{name} column {number}".strip(), array[:, number]) for number in range(array.shape[1])]
        elif array.ndim:
            found.append((f"input {name}".strip(), array.reshape(-1)))
    return found


def loss_name(program: Any) -> str:
    """The class of the loss, where there is one."""
    one = program if program.members is None else program.program
    objective = getattr(one, "objective", None)
    if not isinstance(objective, Supervised) or len(objective.terms) != 1:
        return ""
    return type(objective.terms[0][1]).__name__


def constant_loss(loss: str, y: np.ndarray, weight: np.ndarray) -> float | None:
    """The loss of the best answer that is the same for every row; None where it is not known.

    >>> round(constant_loss("CategoricalCrossEntropy", np.array([0, 1, 1, 0]), np.ones(4)), 4)
    0.6931
    >>> constant_loss("MSE", np.array([0.0, 2.0]), np.ones(2))
    1.0
    """
    weight = np.asarray(weight, np.float64)
    if weight.sum() <= 0:
        return None
    y, share = np.asarray(y), weight / weight.sum()
    if loss == "CategoricalCrossEntropy" and np.issubdtype(y.dtype, np.integer) and y.ndim == 1 and y.min() >= 0:
        return _entropy(np.bincount(y, weights=share))
    if y.ndim > 1 and y.size > y.shape[0]:
        return None
    values = y.reshape(-1).astype(np.float64)
    mean = float((share * values).sum())
    if loss == "BinaryCrossEntropy" and values.min() >= 0 and values.max() <= 1:
        return _entropy(np.array([mean, 1 - mean]))
    if loss in ("MSE", "HalfMSE"):
        return float((share * np.square(values - mean)).sum()) * (0.5 if loss == "HalfMSE" else 1.0)
    if loss == "MAE":
        order = np.argsort(values)
        middle = values[order][np.searchsorted(np.cumsum(share[order]), 0.5)]
        return float((share * np.abs(values - middle)).sum())
    return None


def _entropy(shares: np.ndarray) -> float:
    kept = shares[shares > 0]
    return float(-(kept * np.log(kept)).sum())


def grown(before: Mapping[str, np.ndarray], now: Mapping[str, np.ndarray]) -> float:
    """How much larger the kernels have become, as a ratio of their root mean squares."""
    old, new = (
        math.sqrt(
            sum(float(np.square(of[path].astype(np.float64)).sum()) for path in before if not path.endswith("bias"))
        )
        for of in (before, now)
    )
    return new / old if old > 0 else 1.0


def samples(params: Any) -> dict[str, np.ndarray]:
    """Some numbers of each parameter, by its path."""
    found = {}
    for path, leaf in zip(leaf_paths(params), jax.tree.leaves(params), strict=True):
        flat = np.asarray(leaf).reshape(-1)
        found[path] = np.array(flat[:: max(1, flat.size // 64)])
    return found
