"""The next steps of a time series from its last ones: linear maps over time, in each window's own scale."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from danlu.blueprint import setting
from danlu.errors import ConfigError, DataError
from danlu.nn._precision import widened
from danlu.nn._shapes import size
from danlu.nn.combine import Sequential, child_key
from danlu.nn.dense import Dense
from danlu.nn.dropout import Dropout
from danlu.nn.layer import Layer, Params, Shape, State
from danlu.nn.losses.quantile import check_quantiles

__all__ = ["Forecaster", "Scaled", "moving_average", "moving_average_backward", "scaled"]


def moving_average(z: jax.Array, width: int) -> jax.Array:
    """The centred mean over ``width`` (odd) steps of the last axis; beyond the ends, the end values are repeated.

    >>> moving_average(jnp.array([[0.0, 3.0, 0.0, 3.0]]), 3).tolist()
    [[1.0, 1.0, 2.0, 2.0]]
    """
    return jnp.dot(z, _averaging(z.shape[-1], width).astype(z.dtype).T)


def moving_average_backward(dy: jax.Array, width: int) -> jax.Array:
    """``∂L/∂z`` of :func:`moving_average` ``= M·z``: ``Mᵀ·dy``."""
    return jnp.dot(dy, _averaging(dy.shape[-1], width).astype(dy.dtype))


def _averaging(length: int, width: int) -> jax.Array:
    """The matrix ``M (length, length)`` of the moving average."""
    to = jnp.arange(length).reshape(-1, 1) + jnp.arange(width).reshape(1, -1) - width // 2
    to = jnp.clip(to, 0, length - 1)
    rows = jnp.broadcast_to(jnp.arange(length).reshape(-1, 1), to.shape)
    return jnp.zeros((length, length)).at[rows, to].add(1.0 / width)


class Scaled(NamedTuple):
    """Windows in their own scale: ``z = (x − mean)/spread``, each ``(batch, columns, time)`` or ``(batch, columns, 1)``."""

    z: jax.Array
    mean: jax.Array
    spread: jax.Array


def scaled(x: jax.Array, epsilon: float) -> Scaled:
    """Windows ``(batch, columns, time)`` with mean 0 and variance 1 over time, and the mean and spread that invert it."""
    wide = widened(x)
    mean = jnp.mean(wide, axis=-1, keepdims=True)
    centred = wide - mean
    spread = jnp.sqrt(jnp.mean(jnp.square(centred), axis=-1, keepdims=True) + epsilon)
    return Scaled((centred / spread).astype(x.dtype), mean, spread)


class Forecaster(Layer):
    """The mean and the quantiles of the next ``horizon`` steps of ``channels`` series from their last ``context`` ones.

    With a channel's window ``x (context,)``, its mean ``μ``, ``σ = √(variance + ε)`` and ``z = (x − μ)/σ``::

        y = μ + σ·(A·(z − trend) + B·trend + g(z)) + Σ_k a_k·(C·observed_k) + Σ_k b_k·(known_k − its mean in the window)

    ``A``, ``B (horizon·outputs, context)`` are the same for every channel; ``trend`` is the moving average of ``z`` over
    ``smoothing`` steps; ``g`` is a network with one hidden layer. What is taken off the window is put back on the forecast, so
    that a series is followed when it moves away from where it was in training.

    Input: ``(batch, context, channels + observed)``, the observed columns (known up to now only) last; with ``known``
    columns, whose future is known as well (a planned price, the hour), ``{"past": that, "known": (batch, context + horizon,
    known)}``. An observed column, in its own scale, goes through one linear map over time, ``C (horizon, context)``; then it
    counts for each channel and output as much as is learnt, ``a_k``. A known one counts ``b_k`` at its own step.
    Output: ``(batch, horizon, channels, 1 + quantiles)``, the mean first. All maps but ``C`` start at 0: the first forecast is
    the window's mean.

    Args:
        horizon: steps to forecast.
        channels: series to forecast.
        observed: further columns of the past.
        known: columns of the past and the future.
        quantiles: growing, each in (0, 1); () forecasts the mean alone.
        smoothing: steps of the moving average, odd (DLinear's is 25); 1 leaves the decomposition out: ``A·z`` remains.
        hidden: units of ``g``; 0 leaves it out.
        dropout: rate after the hidden units, in [0, 1).
        epsilon: ``ε``, in squared units of the input.

    Params, state: a tuple with an entry for each of :meth:`children`.

    Reference: Zeng et al. (2023), arXiv:2205.13504, section 4 (DLinear; ``A`` and ``B`` shared by the channels); Kim et al. (2022),
    "Reversible instance normalization", ICLR, section 2, without its affine map; the linear and the dense way side by
    side as in TiDE, Das et al. (2023), arXiv:2304.08424. A sum of ``A`` and ``B`` is one linear map of ``z``: the decomposition
    changes how it is learnt, not what it can express.

    Example:
        >>> Forecaster(4, 2).out_shape((12, 2))
        (4, 2, 4)
        >>> Forecaster(4, 2, observed=1, known=3, quantiles=()).out_shape({"past": (12, 3), "known": (16, 3)})
        (4, 2, 1)
    """

    horizon: int = setting(minimum=1, integer=True)
    channels: int = setting(default=1, minimum=1, integer=True)
    observed: int = setting(default=0, minimum=0, integer=True)
    known: int = setting(default=0, minimum=0, integer=True)
    quantiles: tuple[float, ...] = (0.1, 0.5, 0.9)
    smoothing: int = setting(default=1, minimum=1, integer=True)
    hidden: int = setting(default=0, minimum=0, integer=True)
    dropout: float = setting(default=0.0, minimum=0, below=1)
    epsilon: float = setting(default=1e-5, above=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "quantiles", check_quantiles("Forecaster", self.quantiles))
        if self.smoothing % 2 == 0:
            raise ConfigError(f"Forecaster.smoothing is {self.smoothing}; expected an odd number of steps")

    @property
    def outputs(self) -> int:
        """Numbers for each step of a channel: the mean and the quantiles."""
        return 1 + len(self.quantiles)

    def children(self) -> tuple[tuple[str, Layer], ...]:
        return _children(self)

    def made_of(self, parts: Sequence[Layer]) -> Forecaster:
        """The one that has these parts: fewer hidden units, say.

        Raises:
            ConfigError: there is none.
        """
        way = dict(zip([name for name, _ in self.children()], parts, strict=True)).get("hidden")
        units = [layer.units for layer in getattr(way, "layers", ())[:1] if isinstance(layer, Dense)]
        found = self.replace(hidden=units[0]) if units else self
        other = next((new for (_, old), new in zip(found.children(), parts, strict=True) if old != new), None)
        if other is not None:
            raise ConfigError(
                f"a part of Forecaster cannot become {type(other).__name__}: its parts follow from its settings",
                hint="the option keep= of a technique leaves layers as they are",
            )
        return found

    def child_shapes(self, in_shape: Shape) -> tuple[Shape, ...]:
        context = self._context(in_shape)
        shapes = {
            "observed": (self.observed, context),
            "observed_effect": (self.horizon, self.observed),
            "known_effect": (self.horizon, self.known),
        }
        return tuple(shapes.get(name, (self.channels, context)) for name, _ in self.children())

    def _context(self, in_shape: Any) -> int:
        """The steps of the past, after the shapes have been checked."""
        past = in_shape.get("past", ()) if isinstance(in_shape, Mapping) else in_shape
        columns = self.channels + self.observed
        context = past[0] if len(past) == 2 else 0
        expected: Any = {"past": (context, columns), "known": (context + self.horizon, self.known)}
        expected = expected if self.known else (context, columns)
        if context < 1 or expected != (dict(in_shape) if self.known and isinstance(in_shape, Mapping) else in_shape):
            wanted = f"(context, {columns})"
            if self.known:
                wanted = f"{{'past': {wanted}, 'known': (context + {self.horizon}, {self.known})}}"
            raise DataError(f"Forecaster received examples of shape {in_shape}; expected {wanted}")
        return int(context)

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        shapes = self.child_shapes(in_shape)
        drawn = [
            layer.init(jax.random.fold_in(key, i), shape)
            for i, ((_, layer), shape) in enumerate(zip(self.children(), shapes, strict=True))
        ]
        return tuple(d[0] for d in drawn), tuple(d[1] for d in drawn), (self.horizon, self.channels, self.outputs)

    def parts(self, x: Any) -> tuple[Scaled, dict[str, jax.Array]]:
        """A batch's windows in their own scale, and what each child but ``"observed_effect"`` receives."""
        self._context(jax.tree.map(lambda a: tuple(a.shape[1:]), x))
        past = x["past"] if self.known else x
        windows = scaled(jnp.swapaxes(past, 1, 2), self.epsilon)
        z = windows.z[:, : self.channels]
        given = {"linear": z, "hidden": z}
        if self.smoothing > 1:
            given["trend"] = moving_average(z, self.smoothing)
            given["linear"] = z - given["trend"]
        if self.observed:
            given["observed"] = windows.z[:, self.channels :]
        if self.known:
            known = widened(x["known"])
            before = jnp.mean(known[:, : -self.horizon], axis=1, keepdims=True)
            given["known_effect"] = (known[:, -self.horizon :] - before).astype(x["known"].dtype)
        return windows, given

    def steps(self, y: jax.Array) -> jax.Array:
        """``(batch, channels, horizon·outputs)`` as ``(batch, horizon, channels, outputs)``."""
        return jnp.swapaxes(y.reshape(*y.shape[:2], self.horizon, self.outputs), 1, 2)

    def effects(self, y: jax.Array) -> jax.Array:
        """``(batch, horizon, channels·outputs)`` as ``(batch, horizon, channels, outputs)``."""
        return y.reshape(*y.shape[:2], self.channels, self.outputs)

    def own(self, of_windows: jax.Array) -> jax.Array:
        """A mean or spread of windows ``(batch, columns, 1)`` shaped to meet the output."""
        return of_windows[:, : self.channels].reshape(-1, 1, self.channels, 1)

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        states = list(state)

        def run(name: str, index: int, given: jax.Array) -> jax.Array:
            layer = dict(self.children())[name]
            y: jax.Array
            y, states[index] = layer.apply(params[index], state[index], given, train=train, key=child_key(key, index))
            return y

        return self.combined(x, run), tuple(states)

    def combined(self, x: Any, run: Any) -> jax.Array:
        """The output, from a function ``run(name, index, input)`` that runs a child."""
        windows, given = self.parts(x)
        shapes, effects = [], []
        for index, (name, _) in enumerate(self.children()):
            if name == "observed":
                given["observed_effect"] = jnp.swapaxes(run(name, index, given[name]), 1, 2)
            elif name.endswith("effect"):
                effects.append(self.effects(run(name, index, given[name])))
            else:
                shapes.append(self.steps(run(name, index, given[name])))
        shape = sum(shapes[1:], start=shapes[0])
        return sum(effects, start=self.own(windows.mean) + self.own(windows.spread) * shape).astype(shape.dtype)

    def flops(self, in_shape: Shape) -> int | None:
        parts = [
            layer.flops(shape) for (_, layer), shape in zip(self.children(), self.child_shapes(in_shape), strict=True)
        ]
        out = self.horizon * self.channels * self.outputs
        scaling = 5 * size(in_shape) + (len(parts) + 1) * out
        return None if any(part is None for part in parts) else sum(part or 0 for part in parts) + scaling


@functools.lru_cache(maxsize=256)
def _children(net: Forecaster) -> tuple[tuple[str, Layer], ...]:
    zero = Dense(net.horizon * net.outputs, initializer="zeros")
    parts: list[tuple[str, Layer]] = [("linear", zero)]
    if net.smoothing > 1:
        parts.append(("trend", zero.replace(use_bias=False)))
    if net.hidden:
        drop: tuple[Layer, ...] = (Dropout(net.dropout),) if net.dropout else ()
        parts.append(("hidden", Sequential((Dense(net.hidden, "relu"), *drop, zero.replace(use_bias=False)))))
    effect = Dense(net.channels * net.outputs, initializer="zeros", use_bias=False)
    if net.observed:
        parts += [("observed", Dense(net.horizon)), ("observed_effect", effect)]
    if net.known:
        parts.append(("known_effect", effect))
    return tuple(parts)
