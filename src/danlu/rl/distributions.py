"""A policy's output: a distribution over actions, described by the outputs of a network.

Each is a blueprint. ``size`` is how many numbers it needs; ``sample``, ``log_prob``, ``entropy`` and ``mode`` take them as the last axis
of an array, for any leading axes. An action is drawn in the policy's own coordinates; ``to_env`` makes it one of the environment's.
"""

from __future__ import annotations

import abc
import math
from typing import Any

import jax
import jax.numpy as jnp

from danlu.blueprint import Blueprint
from danlu.errors import ConfigError
from danlu.rl.spaces import Box, Discrete, MultiDiscrete, Slate, Space

__all__ = [
    "Categorical",
    "Distribution",
    "Gaussian",
    "MultiCategorical",
    "PlackettLuce",
    "TanhGaussian",
    "distribution_for",
]

_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


class Distribution(Blueprint, abc.ABC):
    """A family of distributions over actions."""

    @property
    @abc.abstractmethod
    def size(self) -> int:
        """How many numbers describe one distribution."""

    @abc.abstractmethod
    def sample(self, numbers: jax.Array, key: jax.Array) -> Any:
        """An action for each distribution of ``numbers (…, size)``."""

    @abc.abstractmethod
    def mode(self, numbers: jax.Array) -> Any:
        """The likeliest action of each distribution of ``numbers (…, size)``."""

    @abc.abstractmethod
    def log_prob(self, numbers: jax.Array, action: Any) -> jax.Array:
        """``log π(a)``, of the density where actions are continuous."""

    @abc.abstractmethod
    def entropy(self, numbers: jax.Array) -> jax.Array:
        """``−E log π(a)``, in nats."""

    def to_env(self, action: Any) -> Any:
        """The action as the environment takes it."""
        return action


class Categorical(Distribution):
    """One of ``n`` actions; the numbers are logits: ``π(a) = softmax(z)_a``.

    Example:
        >>> numbers = jnp.log(jnp.float32([0.25, 0.75]))
        >>> bool(jnp.allclose(Categorical(2).log_prob(numbers, 1), jnp.log(0.75)))
        True
    """

    n: int

    @property
    def size(self) -> int:
        """``n``."""
        return self.n

    def sample(self, numbers: jax.Array, key: jax.Array) -> jax.Array:
        return jax.random.categorical(key, numbers).astype(jnp.int32)

    def mode(self, numbers: jax.Array) -> jax.Array:
        return jnp.argmax(numbers, axis=-1).astype(jnp.int32)

    def log_prob(self, numbers: jax.Array, action: Any) -> jax.Array:
        # (…, n): the numbers of all actions as (1, …, n), as many axes as the logits
        chosen = jnp.expand_dims(jnp.asarray(action), -1) == jnp.arange(self.n).reshape((1,) * jnp.ndim(action) + (-1,))
        return jnp.sum(jnp.where(chosen, jax.nn.log_softmax(numbers), 0), axis=-1)

    def entropy(self, numbers: jax.Array) -> jax.Array:
        log_p = jax.nn.log_softmax(numbers)
        return -jnp.sum(jnp.exp(log_p) * log_p, axis=-1)


class MultiCategorical(Distribution):
    """Several choices, independent of each other given the observation; the numbers are the logits of each in turn."""

    sizes: tuple[int, ...]

    @property
    def size(self) -> int:
        """The sum of the sizes."""
        return sum(self.sizes)

    def _parts(self, numbers: jax.Array) -> list[tuple[Categorical, jax.Array]]:
        ends = [sum(self.sizes[: i + 1]) for i in range(len(self.sizes) - 1)]
        return [(Categorical(n), part) for n, part in zip(self.sizes, jnp.split(numbers, ends, axis=-1), strict=True)]

    def sample(self, numbers: jax.Array, key: jax.Array) -> jax.Array:
        drawn = [one.sample(part, jax.random.fold_in(key, i)) for i, (one, part) in enumerate(self._parts(numbers))]
        return jnp.stack(drawn, axis=-1)

    def mode(self, numbers: jax.Array) -> jax.Array:
        return jnp.stack([one.mode(part) for one, part in self._parts(numbers)], axis=-1)

    def log_prob(self, numbers: jax.Array, action: Any) -> jax.Array:
        action = jnp.asarray(action)
        parts = [one.log_prob(part, action[..., i]) for i, (one, part) in enumerate(self._parts(numbers))]
        return sum(parts[1:], parts[0])

    def entropy(self, numbers: jax.Array) -> jax.Array:
        parts = [one.entropy(part) for one, part in self._parts(numbers)]
        return sum(parts[1:], parts[0])


class PlackettLuce(Distribution):
    """``k`` different ones of ``n`` things in an order; the numbers are a logit of each thing.

    The first is drawn by ``softmax(z)``, the next by that of the others, and so on: ``log π(a) = Σ_j (z_{a_j} − log Σ_{i left} e^{z_i})``.
    To draw is to take the ``k`` largest of ``z + Gumbel noise``; the likeliest slate has the ``k`` largest ``z``.

    The entropy of a slate has no short form. What is given is the sum of the entropies of each choice after the likeliest ones before
    it; for one place it is exact.

    Reference: Plackett (1975), "The analysis of permutations", Applied Statistics 24; Kool, van Hoof & Welling (2019), "Stochastic beams
    and where to find them", ICML.

    Example:
        >>> numbers = jnp.log(jnp.float32([0.5, 0.3, 0.2]))
        >>> round(float(jnp.exp(PlackettLuce(3, 2).log_prob(numbers, jnp.array([1, 0])))), 4)  # 0.3 · 0.5/0.7
        0.2143
    """

    n: int
    k: int

    @property
    def size(self) -> int:
        """``n``."""
        return self.n

    def sample(self, numbers: jax.Array, key: jax.Array) -> jax.Array:
        return self.mode(numbers + jax.random.gumbel(key, numbers.shape, numbers.dtype))

    def mode(self, numbers: jax.Array) -> jax.Array:
        return jax.lax.top_k(numbers, self.k)[1].astype(jnp.int32)

    def log_prob(self, numbers: jax.Array, action: Any) -> jax.Array:
        return sum(chosen for chosen, _ in self._choices(numbers, jnp.asarray(action)))  # type: ignore[return-value]

    def entropy(self, numbers: jax.Array) -> jax.Array:
        return sum(own for _, own in self._choices(numbers, self.mode(numbers)))  # type: ignore[return-value]

    def _choices(self, numbers: jax.Array, action: jax.Array) -> list[tuple[jax.Array, jax.Array]]:
        """Of each place, the log probability of what stands there among what was left, and the entropy of that choice."""
        found, left = [], jnp.zeros_like(numbers)
        for place in range(self.k):
            log_p = jax.nn.log_softmax(numbers + left, axis=-1)
            there = jax.nn.one_hot(action[..., place], self.n, dtype=numbers.dtype)
            found.append(((log_p * there).sum(-1), -(jnp.exp(log_p) * log_p).sum(-1)))
            left = left - 1e9 * there  # what is taken has no chance any more
        return found


class _Scaled(Distribution):
    """Actions of a bounded box, in coordinates where every bound is ±1."""

    box: Box

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.box.bounded or len(self.box.shape) != 1:
            raise ConfigError(
                f"actions are {self.box}; expected a box with bounds and one axis",
                hint="wrap the environment so that its actions are bounded",
            )

    @property
    def dim(self) -> int:
        """Numbers of an action."""
        return self.box.shape[0]

    def to_env(self, action: Any) -> jax.Array:
        low, high = jnp.asarray(self.box.low_array), jnp.asarray(self.box.high_array)
        lift = (1,) * (jnp.ndim(action) - 1) + (-1,)
        return low.reshape(lift) + (jnp.clip(action, -1, 1) + 1) * ((high - low) / 2).reshape(lift)

    def from_env(self, action: Any) -> jax.Array:
        """The inverse of :meth:`to_env`."""
        low, high = jnp.asarray(self.box.low_array), jnp.asarray(self.box.high_array)
        lift = (1,) * (jnp.ndim(action) - 1) + (-1,)
        span = jnp.where(high > low, high - low, 1)  # of a number that has one value, any coordinate will do
        return 2 * (jnp.asarray(action) - low.reshape(lift)) / span.reshape(lift) - 1


class Gaussian(_Scaled):
    """Independent normal distributions; the numbers are the means μ and then log σ. What lies outside ±1 is clipped by ``to_env``.

    ``log π(a) = −Σ (½((a − μ)/σ)² + log σ + ½ log 2π)``
    """

    @property
    def size(self) -> int:
        """Two numbers for each number of an action."""
        return 2 * self.dim

    def sample(self, numbers: jax.Array, key: jax.Array) -> jax.Array:
        mean, log_std = jnp.split(numbers, 2, axis=-1)
        return mean + jnp.exp(log_std) * jax.random.normal(key, mean.shape, mean.dtype)

    def mode(self, numbers: jax.Array) -> jax.Array:
        return jnp.split(numbers, 2, axis=-1)[0]

    def log_prob(self, numbers: jax.Array, action: Any) -> jax.Array:
        return self.log_probs(numbers, action).sum(axis=-1)

    def log_probs(self, numbers: jax.Array, action: Any) -> jax.Array:
        """The terms of :meth:`log_prob`, one for each number of the action, ``(…, actions)``."""
        mean, log_std = jnp.split(numbers, 2, axis=-1)
        return -(0.5 * jnp.square((action - mean) * jnp.exp(-log_std)) + log_std + _HALF_LOG_2PI)

    def entropy(self, numbers: jax.Array) -> jax.Array:
        return jnp.sum(jnp.split(numbers, 2, axis=-1)[1] + 0.5 + _HALF_LOG_2PI, axis=-1)


class TanhGaussian(_Scaled):
    """``a = tanh(u)``, u normal: actions are always within the bounds. The numbers are u's mean and log σ, which is kept in [−5, 2].

    ``log π(a) = log N(u) − Σ log(1 − tanh² u)``, with ``log(1 − tanh² u) = 2(log 2 − u − softplus(−2u))``, which does not overflow.

    Reference: Haarnoja et al. (2018), arXiv:1801.01290, appendix C.
    """

    @property
    def size(self) -> int:
        """Two numbers for each number of an action."""
        return 2 * self.dim

    def _inner(self, numbers: jax.Array) -> tuple[jax.Array, jax.Array]:
        mean, log_std = jnp.split(numbers, 2, axis=-1)
        return mean, jnp.clip(log_std, -5, 2)

    def sample_with_log_prob(self, numbers: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        """An action ``(…, actions)`` and its ``log π (…,)``, both differentiable: ``u = μ + σ·ε``."""
        mean, log_std = self._inner(numbers)
        noise = jax.random.normal(key, mean.shape, mean.dtype)
        u = mean + jnp.exp(log_std) * noise
        normal = 0.5 * jnp.square(noise) + log_std + _HALF_LOG_2PI
        return jnp.tanh(u), -jnp.sum(normal + 2 * (math.log(2) - u - jax.nn.softplus(-2 * u)), axis=-1)

    def sample(self, numbers: jax.Array, key: jax.Array) -> jax.Array:
        return self.sample_with_log_prob(numbers, key)[0]

    def mode(self, numbers: jax.Array) -> jax.Array:
        """``tanh μ``, ``(…, actions)``: where u is likeliest."""
        return jnp.tanh(self._inner(numbers)[0])

    def log_prob(self, numbers: jax.Array, action: Any) -> jax.Array:
        mean, log_std = self._inner(numbers)
        u = jnp.arctanh(jnp.clip(action, -1 + 1e-6, 1 - 1e-6))
        normal = 0.5 * jnp.square((u - mean) * jnp.exp(-log_std)) + log_std + _HALF_LOG_2PI
        return -jnp.sum(normal + 2 * (math.log(2) - u - jax.nn.softplus(-2 * u)), axis=-1)

    def entropy(self, numbers: jax.Array) -> jax.Array:
        """That of u, ``(…,)``: the entropy of ``tanh u`` has no closed form, and is estimated by ``−log π`` of a sample."""
        return jnp.sum(self._inner(numbers)[1] + 0.5 + _HALF_LOG_2PI, axis=-1)


def distribution_for(space: Space, *, squashed: bool = False) -> Distribution:
    """The distribution over the actions of ``space``.

    Args:
        squashed: of a box: :class:`TanhGaussian` instead of :class:`Gaussian`.

    Raises:
        ConfigError: a space whose actions no policy here draws.
    """
    if isinstance(space, Discrete):
        return Categorical(space.n)
    if isinstance(space, MultiDiscrete):
        return MultiCategorical(space.sizes)
    if isinstance(space, Slate):
        return PlackettLuce(space.n, space.k)
    if isinstance(space, Box):
        return TanhGaussian(space) if squashed else Gaussian(space)
    raise ConfigError(f"actions are {space}; expected Discrete, MultiDiscrete, Slate or a bounded Box")
