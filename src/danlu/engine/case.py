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

__all__ = ["Case", "Clues", "columns_of", "constant_loss", "loss_name", "samples"]

_LEARNT = 0.9  # a loss below this share of a constant answer's has learnt something
_SAMPLED = 64  # numbers of a parameter


@dataclasses.dataclass(frozen=True, eq=False)
class Clues:
    """What a training leaves to look at.

    Attributes:
        program: the step, of all members.
        state: after the last step.
        batch: some rows ``{"x", "y", "weight"}``, on the host; empty of an agent.
        constant: the loss of the best constant answer; None where it is not known.
        stops: whether it stops early by itself.
        before, now: what :func:`samples` gave before the first step and after the last.
        failures: why the loss stopped being finite.
    """

    program: Any
    state: TrainState
    batch: Mapping[str, Any]
    constant: float | None
    stops: bool
    before: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    now: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    failures: tuple[Finding, ...] = ()

    def of(self, program: Any, state: TrainState, member: int) -> Clues:
        """Those of one member of a population, as if it had been trained alone."""
        own = tuple(each for each in self.failures if member in each.members)
        before, now = ({path: each[[member]] for path, each in of.items()} for of in (self.before, self.now))
        return dataclasses.replace(self, program=program, state=state, before=before, now=now, failures=own)


@dataclasses.dataclass(frozen=True)
class Case:
    """A training of one member, to be judged.

    Attributes:
        losses, judged, rates: of the epochs: the loss, that of the validation rows, the learning rate.
        steps: that it has taken.
        planned: that it is to take in all, while it trains; else 0.
        record: further columns of the history.
    """

    clues: Clues
    losses: np.ndarray
    judged: np.ndarray
    rates: np.ndarray
    steps: int
    member: int = 0
    exam: Exam | None = None
    planned: int = 0
    record: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def column(self, name: str) -> np.ndarray:
        """A column of the record, of this member; empty where there is none."""
        return self.record.get(name, np.ones(0))

    @property
    def returns(self) -> np.ndarray:
        """An agent's mean return in each evaluation."""
        return self.column("val_return")

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
        return not self.learnt or self.jumped or bool(self.still)

    @property
    def still(self) -> tuple[str, ...]:
        """The paths of the parameters that never moved."""
        pairs = ((path, old[self.member], self.clues.now[path][self.member]) for path, old in self.clues.before.items())
        return tuple(path for path, old, new in pairs if np.array_equal(old, new))

    @property
    def grown(self) -> float:
        """How much larger the kernels are than before the first step."""
        old, new = self._size(self.clues.before), self._size(self.clues.now)
        return new / old if old > 0 else 1.0

    @property
    def moved(self) -> float:
        """How far the kernels are from where they began, as a share of their size then."""
        way = {path: self.clues.now[path] - old for path, old in self.clues.before.items()}
        return self._size(way) / max(self._size(self.clues.before), 1e-30)

    def _size(self, of: Mapping[str, np.ndarray]) -> float:
        kernels = [each[self.member].astype(np.float64) for path, each in of.items() if not path.endswith("bias")]
        return math.sqrt(sum(float(np.square(each).sum()) for each in kernels))

    @property
    def way(self) -> tuple[float, int]:
        """How far the kernels will be in the end at this pace, as :attr:`moved`, and after how many steps."""
        steps = max(self.planned, self.steps)
        return self.moved * steps / max(self.steps, 1), steps

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


def samples(params: Any, members: int | None) -> dict[str, np.ndarray]:
    """Some numbers of each parameter of each member, ``(members, numbers)``, by its path."""
    found = {}
    for path, leaf in zip(leaf_paths(params), jax.tree.leaves(params), strict=True):
        each = np.asarray(leaf).reshape(members or 1, -1)
        found[path] = np.array(each[:, :: max(1, each.shape[1] // _SAMPLED)])
    return found
