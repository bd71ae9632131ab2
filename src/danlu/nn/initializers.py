"""Initial values of parameters: ``init(key, shape, dtype) -> array``.

Most are one idea, :class:`VarianceScaling`: draw each weight with variance ``scale / fan``, so that signals (fan in)
or error signals (fan out) keep their size from layer to layer. ``Glorot``, ``He`` and ``LeCun`` are three choices of
``scale`` and ``fan``; :func:`initializer_for` picks the one derived for the activation that follows.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import jax
import jax.numpy as jnp

from danlu.blueprint import Blueprint, setting
from danlu.errors import ConfigError, unknown_name
from danlu.nn.activations import ACTIVATIONS

__all__ = [
    "INITIALIZERS",
    "Constant",
    "Initializer",
    "Normal",
    "Orthogonal",
    "TruncatedNormal",
    "VarianceScaling",
    "fans",
    "get_initializer",
    "initializer_for",
]

# The standard deviation of a standard normal that is cut off at ±2.
_TRUNCATED_STDDEV = 0.87962566103423978


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """How many inputs reach an output unit, and how many outputs an input unit reaches.

    ``(in, out)`` is a dense kernel; ``(*window, in, out)`` a convolution's, where both count the window as well.

    >>> fans((3, 5)), fans((3, 3, 16, 32))
    ((3, 5), (144, 288))
    """
    if not shape:
        return 1, 1
    if len(shape) == 1:
        return shape[0], shape[0]
    window = math.prod(shape[:-2])
    return window * shape[-2], window * shape[-1]


def _flat(draw: Callable[[tuple[int, ...]], jax.Array], shape: tuple[int, ...]) -> jax.Array:
    """``draw(shape)``, the same numbers: a generator over more than two axes takes ten times as long to compile."""
    if len(shape) <= 2:
        return draw(shape)
    flat: jax.Array = jax.lax.optimization_barrier(draw((math.prod(shape),)))
    return flat.reshape(shape)


class Initializer(Blueprint, abc.ABC):
    """A rule for initial values; a blueprint that is called."""

    @abc.abstractmethod
    def __call__(self, key: jax.Array, shape: tuple[int, ...], dtype: jax.typing.DTypeLike = float) -> jax.Array:
        """Draw an array.

        Args:
            key: a PRNG key.
            shape: the array's shape; see :func:`fans` for how it is read.
            dtype: its floating type; the default is float32, or float64 under ``jax_enable_x64``.
        """


class Constant(Initializer):
    """Every element is ``value``."""

    value: float = setting(default=0.0)

    def __call__(self, key: jax.Array, shape: tuple[int, ...], dtype: jax.typing.DTypeLike = float) -> jax.Array:
        return jnp.full(shape, self.value, dtype)


class Normal(Initializer):
    """Independent normal draws of mean 0 and standard deviation ``stddev``."""

    stddev: float = setting(default=0.02, minimum=0)

    def __call__(self, key: jax.Array, shape: tuple[int, ...], dtype: jax.typing.DTypeLike = float) -> jax.Array:
        return self.stddev * _flat(lambda shape: jax.random.normal(key, shape, dtype), shape)


class TruncatedNormal(Initializer):
    """Normal draws redrawn beyond two standard deviations, rescaled to standard deviation ``stddev`` exactly."""

    stddev: float = setting(default=0.02, minimum=0)

    def __call__(self, key: jax.Array, shape: tuple[int, ...], dtype: jax.typing.DTypeLike = float) -> jax.Array:
        drawn = _flat(lambda shape: jax.random.truncated_normal(key, -2, 2, shape, dtype), shape)
        return (self.stddev / _TRUNCATED_STDDEV) * drawn


class VarianceScaling(Initializer):
    """Mean 0 and variance ``scale / fan``.

    Args:
        scale: the variance's numerator; He's 2 makes up for the half of the signal that ReLU removes.
        mode: which fan: ``"fan_in"``, ``"fan_out"`` or their mean ``"fan_average"``.
        distribution: ``"truncated_normal"`` (cut at two standard deviations, rescaled), ``"normal"`` or ``"uniform"``
            (on ``±√(3·scale/fan)``).

    Reference: Glorot & Bengio (2010), eq. 16; He et al. (2015), arXiv:1502.01852, eq. 10 (He normal there is not
    truncated; here, as in Keras, it is); LeCun et al. (1998), "Efficient BackProp", section 4.6.
    """

    scale: float = setting(default=1.0, above=0)
    mode: str = setting(default="fan_in", choices=("fan_in", "fan_out", "fan_average"))
    distribution: str = setting(default="truncated_normal", choices=("truncated_normal", "normal", "uniform"))

    def __call__(self, key: jax.Array, shape: tuple[int, ...], dtype: jax.typing.DTypeLike = float) -> jax.Array:
        fan_in, fan_out = fans(tuple(shape))
        fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_average": (fan_in + fan_out) / 2}[self.mode]
        stddev = math.sqrt(self.scale / max(fan, 1))
        if self.distribution == "normal":
            return Normal(stddev)(key, shape, dtype)
        if self.distribution == "truncated_normal":
            return TruncatedNormal(stddev)(key, shape, dtype)
        bound = math.sqrt(3) * stddev
        return _flat(lambda shape: jax.random.uniform(key, shape, dtype, -bound, bound), shape)


class Orthogonal(Initializer):
    """``gain`` times a random matrix with orthonormal rows or columns (whichever are fewer), uniform over all such.

    Axes before the last are flattened into one. The Q of a QR factorisation becomes uniform (Haar) once the signs of
    R's diagonal are moved into it.

    Reference: Saxe, McClelland & Ganguli (2014), arXiv:1312.6120; Mezzadri (2007), arXiv:math-ph/0609050, section 5.
    """

    gain: float = setting(default=1.0, above=0)

    def __call__(self, key: jax.Array, shape: tuple[int, ...], dtype: jax.typing.DTypeLike = float) -> jax.Array:
        if len(shape) < 2:
            raise ConfigError(f"an orthogonal array needs at least two axes; the shape is {tuple(shape)}")
        rows, columns = math.prod(shape[:-1]), shape[-1]
        tall = jax.random.normal(key, (max(rows, columns), min(rows, columns)), dtype)
        q, r = jnp.linalg.qr(tall)
        q = q * jnp.where(jnp.diagonal(r) < 0, -1, 1)[None, :].astype(dtype)
        return self.gain * (q.T if rows < columns else q).reshape(shape)


INITIALIZERS: Mapping[str, Initializer] = MappingProxyType(
    {
        "glorot_normal": VarianceScaling(1.0, "fan_average", "truncated_normal"),
        "glorot_uniform": VarianceScaling(1.0, "fan_average", "uniform"),
        "he_normal": VarianceScaling(2.0, "fan_in", "truncated_normal"),
        "he_uniform": VarianceScaling(2.0, "fan_in", "uniform"),
        "lecun_normal": VarianceScaling(1.0, "fan_in", "truncated_normal"),
        "lecun_uniform": VarianceScaling(1.0, "fan_in", "uniform"),
        "normal": Normal(),
        "ones": Constant(1.0),
        "orthogonal": Orthogonal(),
        "truncated_normal": TruncatedNormal(),
        "zeros": Constant(0.0),
    }
)
"""Every named initializer."""

_HE = frozenset({"elu", "gelu", "gelu_tanh", "leaky_relu", "relu", "silu", "softplus"})
_GLOROT = frozenset({"log_softmax", "sigmoid", "softmax", "tanh"})


def get_initializer(name: str | Initializer) -> Initializer:
    """The initializer called ``name``; an initializer is returned as it is.

    Raises:
        ConfigError: no such initializer; the message offers the nearest name.

    >>> get_initializer("zeros")
    Constant(value=0.0)
    """
    if isinstance(name, Initializer):
        return name
    if name not in INITIALIZERS:
        raise unknown_name("initializer", name, INITIALIZERS)
    return INITIALIZERS[name]


def initializer_for(activation: str) -> Initializer:
    """The default for weights whose output goes through ``activation``.

    He for the rectifier family (they halve the signal's second moment), Glorot for the saturating ones, LeCun for
    a linear output.

    Raises:
        ConfigError: no such activation.

    >>> initializer_for("relu") == INITIALIZERS["he_normal"]
    True
    """
    activation = ACTIVATIONS.own(activation)
    if activation in _HE:
        return INITIALIZERS["he_normal"]
    return INITIALIZERS["glorot_uniform" if activation in _GLOROT else "lecun_normal"]
