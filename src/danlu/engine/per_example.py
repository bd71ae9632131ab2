"""The gradient row by row: each row's is made no longer than a bound before they are added, and noise hides which rows there were.

That is DP-SGD's gradient (and DP-Adam's: the optimizer does not matter, since what it is given is already safe to tell). With ``C`` the
bound, ``z`` the noise and ``m`` the rows that a batch has on average,

    g = (Σ_i min(1, C/‖w_i·∇l_i‖)·w_i·∇l_i  +  z·C·N(0, I)) / m.

The number of rows that were drawn is private as well, so the sum is divided by ``m`` and not by it. Noise is added once to the sum over
all micro-batches and devices. Rows are taken a few at a time, in a loop that ends with the batch's last row of weight above 0, so memory
is bounded and a batch may hold as few or as many rows as were drawn.

Reference:
    Abadi et al., "Deep learning with differential privacy" (2016), algorithm 1; Andrew et al., "Differentially private learning with
    adaptive clipping" (2021); McMahan et al., "A general approach to adding differential privacy to iterative training procedures"
    (2018), for bounds by layer.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp

from danlu.blueprint import setting
from danlu.engine.ghost import added, along, row_gradients, squared_norms
from danlu.engine.ghost import squares as squares_of
from danlu.engine.gradient import Finished, Found, Gradient
from danlu.engine.objective import Objective, Sums, measured
from danlu.engine.state import TrainState
from danlu.errors import ConfigError
from danlu.paths import named_leaves
from danlu.privacy import Ledger, together

__all__ = ["CLIPPINGS", "Carried", "PerExample"]

CLIPPINGS = ("flat", "layers", "adaptive")
"""How rows' gradients are clipped: as one vector, each layer's by itself, or by a bound that follows a quantile of the norms."""

AT_ONCE = 32
"""Rows that are taken at a time where nothing else is said: few enough for their gradients to stay in the caches."""

LARGEST = 5.0
"""Values (losses, measures) of a row that count for more are told as if they were this large, where they are told with noise."""

_NOISE, _TOLD, _COUNT = (
    2**32 - 2,
    2**32 - 3,
    2**32 - 4,
)  # folded into a step's key; layers, micro-batches and rows count from 0


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Carried:
    """What private gradients carry from step to step.

    Attributes:
        key: decides the noise; whoever has it can take the noise away.
        clip: the bound.
    """

    key: jax.Array
    clip: jax.Array


class PerExample(Gradient):
    """``Σ_i clip(w_i·∇l_i) + noise·clip·N(0, I)``: no row moves the sum by more than ``clip``; noise hides which rows there were.

    Rows draw their random numbers as micro-batches of one row do. How private the result is, is counted by a
    :class:`~danlu.privacy.Ledger` from :attr:`multiplier`.

    Args:
        clip: the largest global norm of a row's gradient; with ``"adaptive"`` the first one.
        noise: standard deviation of the noise, as a multiple of ``clip``.
        expected: rows that a batch has on average, by which the sum is divided; None divides by ``Σ w``, which is not private.
        clipping: one of :data:`CLIPPINGS`. ``"layers"``: each of ``K`` layers to ``clip/√K``.
        quantile: of ``"adaptive"``: the share of the rows whose norm is to stay below the bound, which is multiplied by
            ``exp(−pace·(share − quantile))`` after each step.
        pace: see ``quantile``.
        at_once: how many rows are taken at a time; None takes all at once, in as much memory as the parameters have times the rows.
        passes: 1 takes each row's whole gradient; 2 its norm first, and then the gradient of the weighted sum, which needs no memory for
            the gradients of single rows; see :mod:`danlu.engine.ghost`.
        sampling: the probability of each row to be in a batch, by which the ledger counts; see :mod:`danlu.engine.poisson`.
        told: noise multiplier of the sums of losses and measures that are told of each step; None tells them as they are.

    Raises:
        ConfigError: a network whose state changes in training (batch norm), which mixes rows.
    """

    clip: float = setting(above=0)
    noise: float = setting(default=0.0, minimum=0)
    expected: float | None = setting(default=None, above=0, optional=True)
    clipping: str = setting(default="flat", choices=CLIPPINGS)
    quantile: float = setting(default=0.5, above=0, below=1)
    pace: float = setting(default=0.2, above=0)
    at_once: int | None = setting(default=None, minimum=1, integer=True, optional=True)
    passes: int = setting(default=1, minimum=1, maximum=2, integer=True)
    sampling: float = setting(default=1.0, above=0, maximum=1)
    told: float | None = setting(default=None, above=0, optional=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.clipping == "adaptive" and self.expected is None:
            raise ConfigError(
                "PerExample.clipping is 'adaptive', which counts rows, and expected is None; expected how many rows a batch has on average",
                hint="PerExample(…, expected=256)",
            )
        if self.clipping == "layers" and self.passes == 2:
            raise ConfigError(
                "PerExample.clipping is 'layers' and passes is 2; a second pass is for rows that are each scaled as a whole",
                hint="passes=1",
            )

    @classmethod
    def drawn(cls, *, rows: int, batch: float, **fields: Any) -> PerExample:
        """The gradient of batches with ``batch`` of ``rows`` rows on average, of which ``AT_ONCE`` are taken at a time.

        >>> own = PerExample.drawn(rows=60_000, batch=256, clip=1.0, noise=1.1)
        >>> own.spent(steps=3516).mechanisms[0].steps, own.private
        (3516, True)
        """
        if not 0 < batch <= rows:
            raise ConfigError(
                f"a batch of {batch:g} of {rows:,} rows was asked for; expected more than 0 and at most {rows:,}"
            )
        few = min(AT_ONCE, math.ceil(batch))  # a loop over them ends with the last row that was drawn
        return cls(**{"expected": float(batch), "sampling": batch / rows, "at_once": few, **fields})

    def spent(self, steps: int, what: str = "training") -> Ledger:
        """The ledger of so many steps."""
        return Ledger().with_steps(what, noise=self.multiplier, steps=steps, sampling=self.sampling)

    @property
    def whole(self) -> bool:
        return False

    @property
    def cuts(self) -> int:
        return 1 if self.at_once is None else self.at_once

    @property
    def private(self) -> bool:
        return self.noise > 0 and self.expected is not None

    @property
    def counted(self) -> float:
        """Standard deviation of the noise on the count of rows below the bound: as Andrew et al., a twentieth of the batch."""
        return max(1.0, (self.expected or 0.0) / 20)

    @property
    def multiplier(self) -> float:
        """The noise multiplier of all that a step tells of its rows: gradients, values, and the count of rows below the bound."""
        told = [] if self.told is None else [self.told]
        counted = [2 * self.counted] if self.clipping == "adaptive" else []  # about its middle a row counts for ½
        return together(self.noise, *told, *counted)

    def carried(self, key: jax.Array) -> Carried:
        return Carried(key, jnp.float32(self.clip))

    def values(self, objective: Objective, state: TrainState, batch: dict[str, Any], key: jax.Array) -> Sums:
        if self.private:
            raise ConfigError(
                "the optimizer searches along a line, for which it would look at private rows without noise",
                hint="an optimizer without a line search, such as adam",
            )
        return super().values(objective, state, batch, key)

    def __call__(self, objective: Objective, state: TrainState, batch: dict[str, Any], key: jax.Array) -> Found:
        _refuse_moving_state(objective, state, batch, key)
        count = batch["weight"].shape[0]
        each = min(self.at_once or count, count)
        if each == count:
            grads, below, sums = self._some(objective, state, batch, key, 0)
            return (grads, below), state.model_state, sums

        def some(turn: Any) -> tuple[Any, jax.Array, Sums]:
            part = jax.tree.map(lambda a: jax.lax.dynamic_slice_in_dim(a, turn * each, each), batch)
            return self._some(objective, state, part, key, turn * each)

        last = jnp.max(jnp.where(batch["weight"] > 0, jnp.arange(count), -1))
        zeros = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), jax.eval_shape(some, 0))
        add = lambda turn, added: jax.tree.map(jnp.add, added, some(turn))  # noqa: E731
        grads, below, sums = jax.lax.fori_loop(0, last // each + 1, add, zeros)
        return (grads, below), state.model_state, sums

    def finish(self, state: TrainState, grads: Any, sums: Sums, key: jax.Array) -> Finished:
        (grads, below), world = grads, state.world
        clip: Any = self.clip
        if isinstance(world, Carried):
            key, clip = jax.random.fold_in(world.key, state.step), world.clip
        if self.noise:
            leaves, form = jax.tree.flatten(grads)
            keys = jax.random.split(jax.random.fold_in(key, _NOISE), len(leaves))
            drawn = [jax.random.normal(k, leaf.shape, leaf.dtype) for k, leaf in zip(keys, leaves, strict=True)]
            size = self.noise * clip
            noisy = [leaf + (size * n).astype(leaf.dtype) for leaf, n in zip(leaves, drawn, strict=True)]
            grads = jax.tree.unflatten(form, noisy)
        if self.told is not None:
            sums = self._told(sums, key)
        if self.expected is None:
            return super().finish(state, grads, sums, key)
        if self.clipping == "adaptive" and isinstance(world, Carried):
            found = below + self.counted * jax.random.normal(jax.random.fold_in(key, _COUNT), ())
            share = found / self.expected + 0.5
            world = dataclasses.replace(world, clip=clip * jnp.exp(-self.pace * (share - self.quantile)))
        grads = jax.tree.map(lambda g: g / self.expected, grads)
        return Finished(grads, {**sums, "weight": jnp.full_like(sums["weight"], self.expected)}, world)

    def _told(self, sums: Sums, key: jax.Array) -> Sums:
        """The sums with noise; a row moves each by at most :data:`LARGEST`, and all of them by √K times that."""
        names = sorted(name for name in sums if name != "weight")
        drawn = jax.random.normal(jax.random.fold_in(key, _TOLD), (len(names),))
        size = (self.told or 0.0) * LARGEST * math.sqrt(len(names))
        return {**sums, **{name: sums[name] + size * drawn[place] for place, name in enumerate(names)}}

    def _some(
        self, objective: Objective, state: TrainState, batch: Any, key: jax.Array, first: Any
    ) -> tuple[Any, jax.Array, Sums]:
        """The clipped gradients of some rows added up, how many of them are below the bound (each ½ more or less), and their sums."""
        numbers = first + jnp.arange(batch["weight"].shape[0])
        clip = state.world.clip if isinstance(state.world, Carried) else jnp.float32(self.clip)

        def value(params: Any, row: Any, number: jax.Array) -> tuple[jax.Array, Sums]:
            part, own = jax.tree.map(lambda a: a[None], row), jax.random.fold_in(key, number)
            sums = measured(objective, params, state.model_state, part, own, state.weights, train=True)[1]
            return sums["loss"], sums

        if self.passes == 1:
            grads, sums = row_gradients(value, state.params, batch, numbers)
            scales, norms = self._scales(squares_of(grads), clip)
            grads = added(grads, scales)
        else:
            squares, sums = squared_norms(value, state.params, batch, numbers)
            scales, norms = self._scales(squares, clip)
            scale = jax.tree.leaves(scales)[0]
            sound = lambda a: jnp.where(along(jnp.isfinite(norms), a), a, jnp.zeros_like(a))  # noqa: E731
            rows = jax.tree.map(sound, batch)

            def weighed(params: Any) -> jax.Array:
                values, _ = jax.vmap(value, in_axes=(None, 0, 0))(params, rows, numbers)
                return jnp.sum(scale * values)

            grads = jax.grad(weighed)(state.params)
        here = batch["weight"] > 0
        below = jnp.sum(jnp.where(here, jnp.where(norms <= clip, 0.5, -0.5), 0.0))
        if self.told is not None:
            sums = {name: v if name == "weight" else jnp.where(here, _bounded(v), 0.0) for name, v in sums.items()}
        return grads, below, jax.tree.map(lambda a: a.sum(0), sums)

    def _scales(self, squares: Any, clip: jax.Array) -> tuple[Any, jax.Array]:
        """What each row's gradients are multiplied by, leaf by leaf, and the global norms; a row that is not finite counts for nothing.

        Args:
            squares: of each leaf, ``Σ g²`` of each row: ``(rows,)``.
        """
        names = [name for name, _ in named_leaves(squares)]
        leaves, form = jax.tree.flatten(squares)
        total = sum(leaves[1:], leaves[0])
        sound = jnp.isfinite(total)
        if self.clipping == "layers":
            layers = [name.rpartition("/")[0] for name in names]
            own = {layer: sum(s for s, whose in zip(leaves, layers, strict=True) if whose == layer) for layer in layers}
            bound = clip / math.sqrt(len(own))
            squared = [own[layer] for layer in layers]
        else:
            bound, squared = clip, [total] * len(leaves)
        tiny = jnp.finfo(jnp.float32).tiny
        scales = [jnp.where(sound, jnp.minimum(1.0, bound / jnp.sqrt(jnp.maximum(s, tiny))), 0.0) for s in squared]
        return jax.tree.unflatten(form, scales), jnp.sqrt(total)


def _bounded(values: jax.Array) -> jax.Array:
    """Values of rows, none of which counts for more than :data:`LARGEST`."""
    return jnp.where(jnp.isnan(values), LARGEST, jnp.clip(values, -LARGEST, LARGEST))


def _refuse_moving_state(objective: Objective, state: TrainState, batch: dict[str, Any], key: jax.Array) -> None:
    """Refuse an objective that changes the network's state, which one row at a time cannot."""
    moved: list[str] = []

    def look(model_state: Any, batch: Any) -> Any:
        _, after, _ = objective(state.params, model_state, batch, key, train=True)
        pairs = zip(named_leaves(after), jax.tree.leaves(model_state), strict=True)
        moved.extend(name for (name, new), old in pairs if new is not old)
        return jnp.zeros(())

    jax.eval_shape(look, state.model_state, jax.tree.map(lambda a: a[:1], batch))
    if moved:
        raise ConfigError(
            f"PerExample takes the gradient of each row separately, but the network's state ({moved[0]}) changes with the batch",
            hint="such a layer mixes rows (batch norm); nn.GroupNorm and nn.LayerNorm do not",
        )
