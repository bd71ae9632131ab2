"""The state of a training looked at from inside: gradients, updates and weights of each layer, and what its units do, on a batch.

It is the training's own step, taken once without changing anything, by a program of its own. So a step of training costs what it costs
without; the program is compiled only where a training is examined.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.engine.initial import RUN_ONCE
from danlu.engine.objective import Supervised
from danlu.engine.state import TrainState
from danlu.engine.step import gradient
from danlu.engine.walk import Operation, walk
from danlu.optim.extra import call_update
from danlu.paths import named_leaves

__all__ = ["Exam", "LayerExam", "UnitExam", "examine"]

_BOUNDED = {
    "tanh": -1.0,
    "logistic": 0.0,
    "div": 0.0,
}  # operations whose values may end at a bound: the lower one, the upper is 1
_NEAR = 0.02  # of the span between the bounds: nearer than that a unit passes hardly any gradient on


@dataclasses.dataclass(frozen=True)
class LayerExam:
    """A layer in an exam.

    Attributes:
        name: its path in the parameters.
        gradient, update, weight: the norms of its arrays' gradients, of what the optimizer makes of them, and of the arrays.
        size: how many numbers they are.
        gain: the largest of its kernels' root mean squares times √inputs: about 1 to 1.5 where a layer keeps the size of what it is given.
        alike: whether all units of a kernel have the same weights, so that they do the same.
    """

    name: str
    gradient: float
    update: float
    weight: float
    size: int
    gain: float
    alike: bool


@dataclasses.dataclass(frozen=True)
class UnitExam:
    """The units after a layer.

    Attributes:
        after: the parameter used last before them.
        kind: ``"relu"`` or ``"bounded"`` (sigmoid, tanh).
        idle: the share of units that are 0 for every row, or at a bound for nearly every row.
        units: how many there are.
    """

    after: str
    kind: str
    idle: float
    units: int


@dataclasses.dataclass(frozen=True)
class Exam:
    """A training's state on a batch, of one member.

    Attributes:
        loss: on the batch, as a step of training sees it.
        layers: in the order of the parameters.
        units: in the order of the network; empty where the network cannot be walked.
        outputs: of the network, without dropout; None where it has none of its own.
    """

    loss: float
    layers: tuple[LayerExam, ...]
    units: tuple[UnitExam, ...]
    outputs: np.ndarray | None

    @property
    def ratio(self) -> float:
        """The update of all weights as a share of their size."""
        moved, weight = (
            np.sqrt(sum(getattr(each, name) ** 2 for each in self.layers)) for name in ("update", "weight")
        )
        return float(moved / max(weight, 1e-30)) if np.isfinite(moved) and np.isfinite(weight) else float("nan")


def examine(program: Any, state: TrainState, batch: Mapping[str, Any]) -> list[Exam]:
    """What each member's next step would be on a batch; of one training a list of one.

    Args:
        program: a :class:`~danlu.engine.step.Program`, or a population of one.
        state: of the training.
        batch: ``{"x", "y", "weight"}``, the same for all members.

    Example:
        >>> from danlu import nn, optim
        >>> from danlu.engine import Program
        >>> optimizer, model = optim.sgd(0.5), nn.Dense(1, use_bias=False)
        >>> state = TrainState.start({"kernel": jnp.ones((1, 1))}, optimizer.init({"kernel": jnp.ones((1, 1))}))
        >>> batch = {"x": np.ones((4, 1)), "y": np.zeros(4), "weight": np.ones(4)}
        >>> found, = examine(Program.of(model, nn.get_loss("mse"), optimizer.update), state, batch)
        >>> found.loss, found.layers[0].gradient, found.ratio
        (1.0, 2.0, 1.0)
    """
    members = program.members
    look, names = _look_of(dataclasses.replace(program if members is None else program.program, devices=1), members)
    found = look(state, jax.tree.map(jnp.asarray, dict(batch)))
    found = jax.tree.map(np.asarray, found)
    paths = [path for path, _ in named_leaves(state.params)]
    alone = [found] if members is None else [jax.tree.map(lambda a, i=i: a[i], found) for i in range(members)]
    return [_exam(each, paths, names) for each in alone]


@functools.lru_cache(maxsize=8)
def _look_of(program: Any, members: int | None) -> tuple[Any, list[tuple[str, str]]]:
    """:func:`_look` of a program, compiled, and the names of the units that it fills when it is."""
    names: list[tuple[str, str]] = []

    def look(state: TrainState, batch: Any) -> Any:
        names.clear()
        return _look(program, state, batch, names)

    function = look if members is None else jax.vmap(look, in_axes=(0, None))
    return jax.jit(function, compiler_options=RUN_ONCE), names


def _look(program: Any, state: TrainState, batch: Any, names: list[tuple[str, str]]) -> Any:
    grads, _, sums = gradient(program, state, batch, jax.random.fold_in(state.key, state.step))
    value = sums["loss"] / jnp.maximum(sums["weight"], jnp.finfo(jnp.float32).tiny)
    extra = {"value": value, "grad": grads, "value_fn": lambda params: value, "obj_fn": lambda params: value}
    updates, _ = call_update(program.update, grads, state.opt_state, state.params, extra)
    leaves = [jax.tree.leaves(tree) for tree in (grads, updates, state.params)]
    norms = jnp.stack([jnp.stack([_norm(leaf) for leaf in of]) for of in leaves])
    spread = jnp.stack([_spread(leaf) for leaf in leaves[2]])
    found = {"loss": value, "norms": norms, "spread": spread, "sizes": jnp.array([a.size for a in leaves[2]])}
    fans = jnp.array([a.size / a.shape[-1] if a.ndim > 1 else 0 for a in leaves[2]])
    found["gains"] = norms[2] * jnp.sqrt(fans / jnp.maximum(found["sizes"], 1))
    if not isinstance(program.objective, Supervised):
        return found
    idle: list[jax.Array] = []

    def visit(operation: Operation, given: Any, made: Any) -> None:
        kind = _kind(operation, given)
        if kind is None or operation.backward or jnp.ndim(made[0]) < 2 or not operation.weight:
            return
        y = made[0].reshape(-1, made[0].shape[-1])  # (rows and other axes, units)
        if kind == "relu":
            still = jnp.all(y == 0, axis=0)
        else:
            low = _BOUNDED[operation.name]
            near = _NEAR * (1 - low)
            inside = jnp.all((y >= low) & (y <= 1))
            still = inside & (jnp.mean((y < low + near) | (y > 1 - near), axis=0) > 0.95)
        names.append((operation.weight, f"{kind}:{y.shape[-1]}"))
        idle.append(jnp.mean(still.astype(jnp.float32)))

    apply = lambda params, x: program.model.apply(params, state.model_state, x, train=False)[0]  # noqa: E731
    outputs = walk(apply, state.params, batch["x"], visit=visit)
    found["idle"] = jnp.stack(idle) if idle else jnp.zeros(0)
    if isinstance(outputs, jax.Array):
        found["outputs"] = outputs
    return found


def _norm(leaf: jax.Array) -> jax.Array:
    """The norm, also where the squares would overflow."""
    largest = jnp.maximum(jnp.max(jnp.abs(leaf), initial=0.0), jnp.finfo(leaf.dtype).tiny)
    return (largest * jnp.sqrt(jnp.sum(jnp.square(leaf / largest)))).astype(jnp.float32)


def _spread(leaf: jax.Array) -> jax.Array:
    """How far the units of a kernel differ; 1 of what is none."""
    if leaf.ndim < 2 or leaf.shape[-1] < 2:
        return jnp.ones(())
    return jnp.max(jnp.abs(leaf - leaf[..., :1])).astype(jnp.float32)


def _kind(operation: Operation, given: Any) -> str | None:
    if operation.name in ("max", "select_n"):
        # max(x, 0), or a choice between x and zeros: a mask of -inf and the like have no unit that is 0 for every row
        return "relu"
    if operation.name == "div":  # 1 / (1 + exp(-x)): danlu's sigmoid
        return "bounded" if jnp.ndim(given[0]) == 0 and "sigmoid" in operation.place else None
    return "bounded" if operation.name in _BOUNDED else None


def _exam(found: Mapping[str, Any], paths: list[str], names: list[tuple[str, str]]) -> Exam:
    groups: dict[str, list[int]] = {}
    for number, path in enumerate(paths):
        groups.setdefault("/".join(path.split("/")[:-1]) or path, []).append(number)

    def norm(kind: int, places: list[int]) -> float:
        return float(np.sqrt(np.square(found["norms"][kind][places].astype(np.float64)).sum()))

    layers = tuple(
        LayerExam(
            name,
            norm(0, places),
            norm(1, places),
            norm(2, places),
            size=int(found["sizes"][places].sum()),
            gain=float(found["gains"][places].max()),
            alike=bool((found["spread"][places] == 0).any()),
        )
        for name, places in groups.items()
    )
    units = tuple(
        UnitExam(after, kind.split(":")[0], float(share), int(kind.split(":")[1]))
        for (after, kind), share in zip(names, found.get("idle", ()), strict=False)
    )
    return Exam(float(found["loss"]), layers, units, found.get("outputs"))
