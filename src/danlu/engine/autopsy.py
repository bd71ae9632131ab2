"""Why a loss stopped being finite: the step is taken again operation by operation, and the first that made NaN or infinity is named."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from danlu.engine.state import TrainState
from danlu.engine.step import gradient, mixed, step
from danlu.engine.walk import Operation, walk
from danlu.paths import named_leaves

__all__ = ["Cause", "autopsy"]

_NAMES = {
    "dot_general": "a matrix product",
    "conv_general_dilated": "a convolution",
    "exp": "exp",
    "log": "log",
    "log1p": "log1p",
    "div": "a division",
    "mul": "a product",
    "add": "a sum",
    "add_any": "a sum",
    "sub": "a difference",
    "reduce_sum": "a sum",
    "sqrt": "sqrt",
    "rsqrt": "1/sqrt",
    "pow": "a power",
    "integer_pow": "a power",
    "square": "a square",
    "scan": "a loop",
}


@dataclasses.dataclass(frozen=True)
class Cause:
    """The first thing that was not finite.

    Attributes:
        what: ``"inputs"``, ``"targets"``, ``"weights"`` or ``"operation"``.
        name: of the operation, or the path of the array.
        place: where the operation was written.
        weight: the path of the parameter used last before it.
        backward: whether it is in the gradient.
        rows: places in the batch of the rows with it; empty where it is of no row.
        value: what was made, ``"NaN"`` or ``"infinity"``.
        turn: in which turn of a loop, from 0.
    """

    what: str
    name: str
    place: str = ""
    weight: str = ""
    backward: bool = False
    rows: tuple[int, ...] = ()
    value: str = "NaN"
    turn: int | None = None

    def said(self, rows: Sequence[int] = ()) -> str:
        """It, in a sentence.

        Args:
            rows: the numbers in the data of :attr:`rows`.
        """
        numbers = list(rows or self.rows)
        more = f" and {len(numbers) - 5} more" if len(numbers) > 5 else ""
        of = f" for row{'s' * (len(numbers) > 1)} {', '.join(map(str, numbers[:5]))}{more}" if numbers else ""
        if self.what != "operation":
            return f"the {self.what} hold {self.value}: {self.name}{of}"
        where = f" ({self.place})" if self.place else ""
        way = " of the gradient" if self.backward else ""
        turn = "" if self.turn is None else f", at step {self.turn} of the sequence"
        after = f", after the weight {self.weight}" if self.weight else ""
        return f"the first bad operation{way} is {_NAMES.get(self.name, self.name)}{where}{turn}{after}: it gives {self.value}{of}"


def autopsy(program: Any, state: TrainState, batch: Mapping[str, Any]) -> Cause | None:
    """The first thing in a step that is not finite and that its loss or gradient goes by; None if all is finite.

    An infinity that nothing comes of, as a mask makes of scores, is none.

    Args:
        program: of one training.
        state: before the step.
        batch: of the step.

    Example:
        >>> import jax.numpy as jnp
        >>> from danlu import nn, optim
        >>> from danlu.engine import Program
        >>> optimizer, params = optim.sgd(0.5), {"kernel": jnp.zeros((1, 1))}
        >>> state = TrainState.start(params, optimizer.init(params))
        >>> program = Program.of(nn.Dense(1, use_bias=False), lambda outputs, targets: jnp.log(outputs[:, 0]), optimizer.update)
        >>> cause = autopsy(program, state, {"x": jnp.ones((2, 1)), "y": jnp.ones(2), "weight": jnp.ones(2)})
        >>> cause.name, cause.weight, cause.rows, cause.value
        ('log', 'kernel', (0, 1), 'infinity')
    """
    batch = mixed(program, dict(batch), jax.random.fold_in(state.key, state.step))
    size = len(batch["weight"])
    for what, tree in (("inputs", batch["x"]), ("targets", batch["y"]), ("weights", state.params)):
        for path, leaf in named_leaves(tree):
            if not _finite(leaf):
                rows = () if what == "weights" else _rows(leaf, size)
                return Cause(what, path or what, rows=rows, value=_value(leaf))
    causes: list[Cause] = []
    bad: dict[int, frozenset[int]] = {}  # of the values that are not finite, which of the causes they come from
    kept: list[Any] = []  # the values, so that their identities stay theirs

    def visit(operation: Operation, given: Sequence[Any], made: Sequence[Any]) -> None:
        broken = [value for value in made if not _finite(value)]
        if not broken:
            return
        known = [bad[id(value)] for value in given if id(value) in bad]
        if known:
            origin = frozenset().union(*known)
        elif all(map(_finite, given)):
            causes.append(
                Cause(
                    "operation",
                    operation.name,
                    operation.place,
                    operation.weight,
                    operation.backward,
                    _rows(broken[0], size),
                    _value(broken[0]),
                    operation.turn,
                )
            )
            origin = frozenset({len(causes) - 1})
        else:  # a constant that is infinite, as of a mask
            origin = frozenset()
        for value in broken:
            bad[id(value)] = origin
            kept.append(value)

    def into(given: Sequence[Any], made: Sequence[Any]) -> bool:
        return not all(map(_finite, made)) and all(map(_finite, given))

    def look(params: Any, batch: Any) -> Any:
        here = dataclasses.replace(state, params=params)
        grads, _, sums = gradient(program, here, batch, jax.random.fold_in(state.key, state.step))
        return sums["loss"], grads

    results = walk(look, state.params, dict(batch), visit=visit, into_loops=into)
    reached = [bad.get(id(value), frozenset()) for value in jax.tree.leaves(results) if not _finite(value)]
    numbers = sorted(frozenset().union(*reached)) if reached else []
    if numbers:
        return causes[numbers[0]]
    if reached:
        return causes[0] if causes else None
    after, _ = step(program, state, dict(batch))
    for path, leaf in named_leaves(after.params):
        if not _finite(leaf):
            return Cause("operation", "the optimizer's update", weight=path, value=_value(leaf))
    return None


def _finite(value: Any) -> bool:
    if not hasattr(value, "dtype") or not jax.numpy.issubdtype(value.dtype, np.inexact):
        return True
    return bool(np.isfinite(np.asarray(value, np.float32 if value.dtype.itemsize < 4 else None)).all())


def _value(value: Any) -> str:
    return "NaN" if np.isnan(np.asarray(value, np.float64)).any() else "infinity"


def _rows(value: Any, size: int) -> tuple[int, ...]:
    """The rows of a value with a row axis in which it is not finite."""
    array = np.asarray(value, np.float64)
    if array.ndim == 0 or array.shape[0] != size:
        return ()
    each = np.isfinite(array.reshape(size, -1)).all(axis=1)  # (rows, numbers) to (rows,)
    return tuple(np.flatnonzero(~each).tolist())
