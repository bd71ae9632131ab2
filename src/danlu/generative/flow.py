"""Rectified flow (flow matching): a field of velocities that carries noise to rows along lines that are nearly straight."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from danlu.blueprint import setting
from danlu.generative.diffusion import AskedInTime, check_sampler
from danlu.generative.network import as_labels
from danlu.nn.layer import Layer, Params, State

__all__ = ["RectifiedFlow", "carried"]

_MOST = 10_000  # steps


class RectifiedFlow(AskedInTime):
    """The network predicts the velocity ``v = x − ε`` of ``x_t = (1 − t)·ε + t·x``, t in 0 … 1.

    Made small is the mean of ``(v̂(x_t, t) − v)²`` over a row's numbers (``"velocity_loss"``). The mean velocity at each place carries
    noise at t = 0 to rows at t = 1.

    Args:
        net: from ``{"x", "time", "label"}`` to rows, such as a :class:`~danlu.generative.TimedUNet`.
        classes: how many labels.

    Reference: Liu, Gong & Liu, "Flow straight and fast: rectified flow" (2023), eq. 1; Lipman et al., "Flow matching for generative
    modeling" (2023), eq. 23 with σ_min = 0.

    Example:
        >>> from danlu.generative import TimedUNet
        >>> network = RectifiedFlow(TimedUNet((8,)))
        >>> params, state, shapes = network.init(jax.random.key(0), (4, 4, 1))
        >>> network.draw(params, state, jax.random.split(jax.random.key(1), 2), jnp.zeros(2), (4, 4, 1), steps=2).shape
        (2, 4, 4, 1)
    """

    net: Layer
    classes: int = setting(default=0, minimum=0, integer=True)

    @property
    def scores(self) -> tuple[str, ...]:
        return ("velocity_loss",)

    def loss_at(
        self, params: Params, state: State, x: jax.Array, time: jax.Array, labels: jax.Array, noise: jax.Array
    ) -> jax.Array:
        wide = time.reshape(time.shape + (1,) * (x.ndim - 1))  # (batch, 1, …)
        found = self.said_at(params, state, (1 - wide) * noise + wide * x, time, labels)
        return jnp.mean(jnp.square(found - (x - noise)).reshape(len(x), -1), axis=-1)  # (batch,)

    def made(
        self,
        params: Params,
        state: State,
        noise: jax.Array,
        keys: jax.Array,
        labels: jax.Array,
        shape: tuple[int, ...],
        *,
        steps: int = 25,
        sampler: str = "heun",
        guidance: float = 1.0,
    ) -> jax.Array:
        """New rows, in 0 … 1.

        Args:
            params, state, noise, keys, labels, shape: see :class:`~danlu.generative.Generative`.
            steps: how many from noise to rows.
            sampler: ``"euler"``, or ``"heun"``, which asks the network twice a step and is more exact.
            guidance: above 1 rows show their label more clearly, and are more alike.
        """
        check_sampler(steps, _MOST, sampler, ("heun", "euler"))
        labels = as_labels(labels, self.classes)

        def velocity(x: jax.Array, time: jax.Array) -> jax.Array:
            return self.said_at(params, state, x, jnp.full(x.shape[0], time), labels, guidance)

        return (carried(velocity, noise, steps, sampler) + 1) / 2


def carried(
    velocity: Callable[[jax.Array, jax.Array], jax.Array], x: jax.Array, steps: int, sampler: str = "heun"
) -> jax.Array:
    """Rows ``(count, …)`` carried by ``velocity(x, time)`` from time 0 to 1 in equal steps, by Euler's rule or Heun's.

    >>> round(float(carried(lambda x, t: x, jnp.ones(1), 100)[0]), 3)
    2.718
    """

    def step(x: jax.Array, time: jax.Array) -> tuple[jax.Array, None]:
        first = velocity(x, time)
        if sampler == "euler":
            return x + first / steps, None
        second = velocity(x + first / steps, time + 1 / steps)
        return x + (first + second) / (2 * steps), None

    return jax.lax.scan(step, x, jnp.arange(steps) / steps)[0]
