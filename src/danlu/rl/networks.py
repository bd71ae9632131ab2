"""Networks of agents, out of danlu's layers, and the few layers that only agents need."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp

from danlu.blueprint import setting
from danlu.errors import ConfigError
from danlu.nn import Activation, Conv, Dense, Flatten, Parallel, Sequential
from danlu.nn._shapes import array_shape
from danlu.nn.initializers import Orthogonal
from danlu.nn.layer import Layer, Params, Shape, State
from danlu.rl.distributions import Distribution, Gaussian
from danlu.rl.spaces import Box, DictSpace, Discrete, MultiDiscrete, Space

__all__ = ["LogStd", "OneHot", "Standardise", "encoder", "in_shape_of", "learn_statistics", "mlp", "policy_head"]


class Standardise(Layer):
    """``y = clip((x − μ) / √(σ² + 1e-8), −10, 10)``, with μ and σ² of everything given to :meth:`learn`.

    ``apply`` never changes the statistics, so what a policy did and what is learnt from it see the same numbers. Params: ``{}``. State:
    ``{"mean", "variance"}`` of the input's shape and ``"count"``, a float32.

    Example:
        >>> layer = Standardise()
        >>> _, state, _ = layer.init(jax.random.key(0), (1,))
        >>> state = layer.learn(state, jnp.float32([[1.0], [3.0]]))
        >>> layer.apply({}, state, jnp.float32([[3.0]]))[0].round(3).tolist()
        [[1.0]]
    """

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        shape = array_shape("Standardise", in_shape)
        return {}, {"mean": jnp.zeros(shape), "variance": jnp.ones(shape), "count": jnp.zeros(())}, shape

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        scaled = (x - state["mean"][None]) * jax.lax.rsqrt(state["variance"] + 1e-8)[None]
        return jnp.clip(scaled, -10, 10), state

    def learn(self, state: State, x: jax.Array) -> State:
        """The state after seeing a batch: the moments of both together.

        Reference: Chan, Golub & LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances" (1979).
        """
        rows = x.shape[0]
        mean, variance = jnp.mean(x, axis=0), jnp.var(x, axis=0)
        count = state["count"] + rows
        share = rows / count
        apart = mean - state["mean"]
        between = jnp.square(apart) * share * (1 - share)
        return {
            "mean": state["mean"] + apart * share,
            "variance": state["variance"] * (1 - share) + variance * share + between,
            "count": count,
        }


class LogStd(Layer):
    """The layer's output with a learnt ``log σ`` for each of its units appended, the same for every input. Params: ``(layer's,
    log_std)``."""

    layer: Layer
    start: float = setting(default=0.0)

    def children(self) -> tuple[tuple[str, Layer], ...]:
        return (("layer", self.layer),)

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        params, state, shape = self.layer.init(key, in_shape)
        units = array_shape("LogStd", shape)[-1]
        return (params, {"log_std": jnp.full((units,), self.start)}), (state,), (2 * units,)

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        mean, inner = self.layer.apply(params[0], state[0], x, train=train, key=key)
        log_std = jnp.broadcast_to(params[1]["log_std"].astype(mean.dtype), mean.shape)
        return jnp.concatenate([mean, log_std], axis=-1), (inner,)

    def flops(self, in_shape: Shape) -> int | None:
        return self.layer.flops(in_shape)


class OneHot(Layer):
    """Whole numbers as vectors with a 1 in the place that each names, one vector after the other. Params and state: ``{}``."""

    sizes: tuple[int, ...]

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        return {}, {}, (sum(self.sizes),)

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        columns = jnp.reshape(x, (-1, len(self.sizes)))  # (batch, choices)
        parts = [jax.nn.one_hot(columns[:, i], n, dtype=jnp.float32) for i, n in enumerate(self.sizes)]
        return jnp.concatenate(parts, axis=-1), state


class Scaled(Layer):
    """``y = x / 255`` as float32: pixels as numbers. Params and state: ``{}``."""

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        return {}, {}, in_shape

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        return jnp.asarray(x, jnp.float32) / 255, state


def mlp(hidden: tuple[int, ...], outputs: int, *, activation: str = "tanh", gain: float = 1.0) -> Sequential:
    """An MLP with orthogonal initial weights: √2 in the hidden layers, ``gain`` in the last.

    Reference: Andrychowicz et al., "What matters for on-policy deep actor-critic methods?" (2021), section 3.2: a last layer of the
    policy that starts near 0 matters; Huang et al., "The 37 implementation details of PPO" (2022), detail 2.
    """
    inner = [Dense(units, activation, Orthogonal(math.sqrt(2))) for units in hidden]
    return Sequential((*inner, Dense(outputs, initializer=Orthogonal(gain))))


def policy_head(
    distribution: Distribution, hidden: tuple[int, ...], *, activation: str = "tanh", log_std: float = 0.0
) -> Layer:
    """An MLP with the numbers of ``distribution`` as outputs, nearly uniform at first; for a Gaussian, log σ is a separate parameter.

    Args:
        log_std: log σ at the start.
    """
    if isinstance(distribution, Gaussian):
        return LogStd(mlp(hidden, distribution.dim, activation=activation, gain=0.01), log_std)
    return mlp(hidden, distribution.size, activation=activation, gain=0.01)


def encoder(space: Space, *, standardise: bool = False) -> Layer:
    """The layers that turn an observation into a vector.

    A vector stays one (standardised where asked), a number becomes a one-hot vector, a picture goes through two convolutions, and the
    parts of a dict are encoded each for itself and put side by side.

    Raises:
        ConfigError: an observation space that has no encoding here.
    """
    if isinstance(space, Discrete):
        return OneHot((space.n,))
    if isinstance(space, MultiDiscrete):
        return OneHot(space.sizes)
    if isinstance(space, Box) and len(space.shape) == 3:
        return Sequential((*((Scaled(),) if space.kind == "uint8" else ()), *_convolutions(space.shape), Flatten()))
    if isinstance(space, Box) and space.kind == "float32":
        flat = () if len(space.shape) == 1 else (Flatten(),)
        return Sequential((*flat, *((Standardise(),) if standardise else ())))
    if isinstance(space, Box):
        return Sequential((Scaled(), Flatten()))
    if isinstance(space, DictSpace):
        names = tuple(name for name, _ in space.entries)
        return Parallel(tuple(encoder(part, standardise=standardise) for _, part in space.entries), inputs=names)
    raise ConfigError(f"observations are {space}; expected Box, Discrete, MultiDiscrete or a dict of these")


def _convolutions(shape: tuple[int, ...]) -> tuple[Layer, ...]:
    """Of a small picture one convolution (MinAtar's network); of a large one those of Mnih et al. (2015)."""
    if min(shape[:2]) < 36:
        return (Conv(16, (3, 3), activation="relu", padding="valid"),)
    return (
        Conv(32, (8, 8), (4, 4), activation="relu", padding="valid"),
        Conv(64, (4, 4), (2, 2), activation="relu", padding="valid"),
        Conv(64, (3, 3), activation="relu", padding="valid"),
    )


def in_shape_of(space: Space) -> Any:
    """The shape of one observation, as ``Layer.init`` takes it."""
    return space.shape


def learn_statistics(layer: Layer, state: State, x: Any) -> State:
    """``state`` of a network, with the statistics of each :class:`Standardise` at its beginning brought up to date.

    Args:
        x: observations, ``(batch, …)``.
    """
    if isinstance(layer, Standardise):
        return layer.learn(state, x)
    if isinstance(layer, Sequential) and layer.layers:
        first = layer.layers[0]
        if isinstance(first, Flatten):
            rest = learn_statistics(Sequential(layer.layers[1:]), state[1:], x.reshape(x.shape[0], -1))
            return (state[0], *rest)
        return (learn_statistics(first, state[0], x), *state[1:])
    if isinstance(layer, Parallel) and layer.inputs is not None:
        pairs = zip(layer.branches, state, layer.inputs, strict=True)
        return tuple(learn_statistics(branch, part, x[name]) for branch, part, name in pairs)
    return state


IDENTITY = Activation("identity")
