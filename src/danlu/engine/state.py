"""The state of training between steps, as one tree of arrays."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from danlu.engine.average import Average
from danlu.optim import with_hyperparameters, without_hyperparameters

__all__ = ["Best", "TrainState", "owned", "track_best"]


Tree = TypeVar("Tree")


@jax.jit
def owned(tree: Any) -> Any:
    """A copy of a tree of arrays and numbers, made by one program: new arrays, none with a weak type."""
    return jax.tree.map(lambda leaf: jnp.array(leaf, dtype=leaf.dtype), tree)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
    """Everything that a training step reads and changes.

    Randomness in step ``n`` is ``fold_in(key, n)``, so the state alone decides how training goes on: a copy taken at any
    step continues to the same weights.

    Attributes:
        step: the number of steps done, an int32 scalar.
        key: the run's PRNG key.
        params: the parameters, a tree with the model's structure.
        model_state: what else the model carries (running statistics, dropout rates).
        opt_state: the optimizer's state, hyper-parameters included.
        weights: of what is added up to be made small, by name: the penalties ``"l1"`` and ``"l2"`` (absent: 0), the terms of an objective
            that has several (absent: 1).
        world: what else training carries that is not part of the model: an agent's environments and memory, a private gradient's bound.
        average: the mean of the weights so far, or None; see :mod:`danlu.engine.average`.
    """

    step: jax.Array
    key: jax.Array
    params: Any
    model_state: Any
    opt_state: Any
    weights: dict[str, jax.Array]
    world: Any = None
    average: Average | None = None

    @classmethod
    def start(
        cls,
        params: Any,
        opt_state: Any,
        model_state: Any = None,
        *,
        seed: int = 0,
        weights: Mapping[str, float] | None = None,
        world: Any = None,
        average: Average | None = None,
    ) -> TrainState:
        """The state before the first step, in new arrays (the steps donate them).

        Args:
            seed: decides every random draw.
        """
        given = {name: jnp.asarray(value, float) for name, value in (weights or {}).items()}
        zero: Any = np.int32(0)
        state = {} if model_state is None else model_state
        start: TrainState = owned(cls(zero, jax.random.key(seed), params, state, opt_state, given, world, average))
        return start

    @property
    def learnt(self) -> tuple[Any, Any]:
        """``(params, model_state)`` that are judged and kept: the average, where there is one."""
        own: Any = self if self.average is None else self.average
        return own.params, own.model_state

    def with_settings(self, of: TrainState) -> TrainState:
        """The same with the settings of another state of such a network: hyper-parameters, dropout rates, weights of penalties and terms.

        What was learnt and counted stays, so that a training goes on from here as the other would.
        """

        def setting(path: Any, own: Any, other: Any) -> Any:
            return other if getattr(path[-1], "key", None) == "rate" else own

        return dataclasses.replace(
            self,
            opt_state=with_hyperparameters(self.opt_state, of.opt_state),
            model_state=jax.tree_util.tree_map_with_path(setting, self.model_state, of.model_state),
            weights=of.weights,
        )

    def without_settings(self) -> TrainState:
        """The same without hyper-parameters: what of them a training has decides its settings, and no other training must have the same."""
        return dataclasses.replace(self, opt_state=without_hyperparameters(self.opt_state))

    def averaged(self) -> TrainState:
        """The state after a step, with the weights taken into an average that goes by steps."""
        if self.average is None or self.average.every != "step":
            return self
        return dataclasses.replace(self, average=self.average.after(self.params, self.model_state))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Best:
    """The best weights seen so far and how long ago that was.

    Attributes:
        value: the monitored value they reached; smaller is better (a score is negated before it comes here).
        epoch: the epoch that they come from, −1 before the first.
        stale: epochs since then.
        active: False once ``stale`` has reached the patience; a member of a population that has stopped keeps its best.
        params, model_state: the weights.
    """

    value: jax.Array
    epoch: jax.Array
    stale: jax.Array
    active: jax.Array
    params: Any
    model_state: Any

    @classmethod
    def start(cls, state: TrainState, members: int | None = None) -> Best:
        """The initial value: any finite value is better. ``members``: the number of members of a population."""
        nothing: dict[str, Any] = {
            "value": jnp.result_type(float).type(np.inf),
            "epoch": np.int32(-1),
            "stale": np.int32(0),
        }
        nothing["active"] = np.bool_(True)
        if members is not None:
            nothing = {name: np.full(members, value) for name, value in nothing.items()}
        params, model_state = state.learnt
        start: Best = owned(cls(**nothing, params=params, model_state=model_state))
        return start


def track_best(
    best: Best, state: TrainState, value: jax.Array, epoch: jax.Array, patience: jax.Array, min_delta: jax.Array
) -> Best:
    """``best`` after an epoch that ended in ``state`` with the monitored ``value``; what is kept is ``state.learnt``.

    Args:
        value: the monitored value, smaller is better; NaN is never better.
        epoch: the number of the epoch.
        patience: epochs without improvement after which ``active`` falls.
        min_delta: by how much a value must fall below the best one to count.
    """
    better = best.active & (value < best.value - min_delta)
    stale = jnp.where(better, 0, best.stale + best.active.astype(jnp.int32))

    new = (value, epoch, *state.learnt)
    old = (best.value, best.epoch, best.params, best.model_state)
    # A branch copies; a selection would be a loop to compile for every array.
    value, epoch, params, model_state = jax.lax.cond(better, lambda: new, lambda: old)
    active = best.active & (stale < patience)
    return Best(value=value, epoch=epoch, stale=stale, active=active, params=params, model_state=model_state)
