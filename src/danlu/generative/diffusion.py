"""Diffusion: a network that takes a little noise out of a row, so that many steps make a row of noise alone."""

from __future__ import annotations

import abc
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.blueprint import setting
from danlu.errors import ConfigError
from danlu.generative.network import Generative, as_labels, as_values
from danlu.generative.noise import kept, lattice, noised, taken_out, times_of
from danlu.nn.layer import Layer, Params, Shape, State

__all__ = ["AskedInTime", "Diffusion"]

_TIMES = 16  # times at which a row is judged


class AskedInTime(Generative):
    """What diffusion and flows have in common: a network ``{"x", "time", "label"} -> rows``, asked at many times; rows in −1 … 1.

    It learns at times that are drawn evenly. A row is judged by the mean of the same loss at 16 times, with the same noise for every row.
    """

    net: Layer

    @abc.abstractmethod
    def loss_at(
        self, params: Params, state: State, x: jax.Array, time: jax.Array, labels: jax.Array, noise: jax.Array
    ) -> jax.Array:
        """How wrong the network is of rows ``(batch, …)`` with this noise, at times in 0 … 1 ``(batch,)``; ``(batch,)``."""

    def terms(
        self, params: Params, state: State, x: jax.Array, labels: jax.Array, key: jax.Array, *, train: bool
    ) -> tuple[dict[str, jax.Array], State]:
        x, (first, second) = 2 * as_values(x) - 1, jax.random.split(key)
        noise = jax.random.normal(second, x.shape)
        return {"loss": self.loss_at(params, state, x, lattice(first, len(x)), labels, noise)}, state

    def said(self, params: Params, state: State, x: jax.Array) -> dict[str, jax.Array]:
        x, labels = 2 * as_values(x) - 1, jnp.full(len(x), self.classes)
        keys = jax.random.split(jax.random.key(0), _TIMES)

        def at(of: Any) -> jax.Array:
            noise = jnp.broadcast_to(jax.random.normal(of[1], x.shape[1:]), x.shape)
            return self.loss_at(params, state, x, jnp.full(len(x), of[0]), labels, noise)

        times = jnp.asarray((np.arange(_TIMES) + 0.5) / _TIMES, jnp.float32)
        return {self.scores[0]: jnp.mean(jax.lax.map(at, (times, keys)), axis=0)}

    def children(self) -> tuple[tuple[str, Layer], ...]:
        return (("net", self.net),)

    def child_shapes(self, in_shape: Shape) -> tuple[Shape, ...]:
        return ({"x": in_shape, "time": (), "label": ()},)

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        params, state, out = self.net.init(jax.random.fold_in(key, 0), self.child_shapes(in_shape)[0])
        if out != in_shape:
            raise ConfigError(f"the network gives rows of shape {out} for rows of {in_shape}; expected the same")
        return (params,), (state,), self.scored

    def flops(self, in_shape: Shape) -> int | None:
        return self.net.flops(self.child_shapes(in_shape)[0])

    def said_at(
        self, params: Params, state: State, x: jax.Array, time: jax.Array, labels: jax.Array, guidance: float = 1.0
    ) -> jax.Array:
        """What the network says of rows at times in 0 … 1 ``(batch,)``.

        Args:
            guidance: how far beyond what is said without a label the label takes it: ``none + guidance·(label − none)``.

        Reference: Ho & Salimans, "Classifier-free diffusion guidance" (2022), eq. 6, whose w is ``guidance − 1``.
        """

        def ask(label: jax.Array) -> jax.Array:
            return self.net.apply(params[0], state[0], {"x": x, "time": time, "label": label})[0]

        if guidance == 1.0 or not self.classes:
            return ask(labels)
        none = ask(jnp.full_like(labels, self.classes))
        return none + guidance * (ask(labels) - none)


class Diffusion(AskedInTime):
    """Denoising diffusion (DDPM): the network predicts the noise ε in ``x_t = √ᾱ_t·x + √(1 − ᾱ_t)·ε``.

    Made small is the mean of ``(ε̂(x_t, t) − ε)²`` over a row's numbers (``"denoising_loss"``).

    Args:
        net: from ``{"x", "time", "label"}`` to rows, such as a :class:`~danlu.generative.TimedUNet`.
        steps: T.
        schedule: of the noise, see :func:`danlu.generative.noise.kept`.
        classes: how many labels.

    Reference: Ho, Jain & Abbeel, "Denoising diffusion probabilistic models" (2020), algorithms 1 and 2.

    Example:
        >>> from danlu.generative import TimedUNet
        >>> network = Diffusion(TimedUNet((8,)), steps=10)
        >>> params, state, shapes = network.init(jax.random.key(0), (4, 4, 1))
        >>> network.draw(params, state, jax.random.split(jax.random.key(1), 2), jnp.zeros(2), (4, 4, 1), steps=2).shape
        (2, 4, 4, 1)
    """

    net: Layer
    steps: int = setting(default=1000, minimum=2, integer=True)
    schedule: str = setting(default="cosine", choices=("cosine", "linear"))
    classes: int = setting(default=0, minimum=0, integer=True)

    @property
    def scores(self) -> tuple[str, ...]:
        return ("denoising_loss",)

    def loss_at(
        self, params: Params, state: State, x: jax.Array, time: jax.Array, labels: jax.Array, noise: jax.Array
    ) -> jax.Array:
        step = 1 + jnp.floor(time * self.steps).astype(jnp.int32)
        alpha = jnp.asarray(kept(self.steps, self.schedule), jnp.float32)[step]
        found = self.said_at(params, state, noised(x, noise, alpha), step / self.steps, labels)
        return jnp.mean(jnp.square(found - noise).reshape(len(x), -1), axis=-1)  # (batch,)

    def made(
        self,
        params: Params,
        state: State,
        noise: jax.Array,
        keys: jax.Array,
        labels: jax.Array,
        shape: tuple[int, ...],
        *,
        steps: int = 50,
        sampler: str = "ddim",
        guidance: float = 1.0,
    ) -> jax.Array:
        """New rows, in 0 … 1.

        Args:
            params, state, noise, keys, labels, shape: see :class:`~danlu.generative.Generative`.
            steps: in how many steps the noise is taken out.
            sampler: ``"ddim"`` draws nothing on the way; ``"ddpm"`` draws at each step, and wants more of them.
            guidance: above 1 rows show their label more clearly, and are more alike.
        """
        check_sampler(steps, self.steps, sampler, ("ddim", "ddpm"))
        labels = as_labels(labels, self.classes)
        if sampler == "ddpm":
            keys = jax.vmap(functools.partial(jax.random.fold_in, data=1))(keys)

        def predict(x: jax.Array, time: jax.Array) -> jax.Array:
            return self.said_at(params, state, x, time / self.steps, labels, guidance)

        found = taken_out(
            predict,
            noise,
            keys,
            kept(self.steps, self.schedule),
            times_of(self.steps, steps),
            eta=float(sampler == "ddpm"),
            limit=1.0,
        )
        return (found + 1) / 2


def check_sampler(steps: int, most: int, sampler: str, known: tuple[str, ...]) -> None:
    """Refuse settings of a sampler that cannot be.

    Raises:
        ConfigError: see above.
    """
    if not 1 <= steps <= most:
        raise ConfigError(f"steps is {steps}; expected 1 to {most:,}")
    if sampler not in known:
        raise ConfigError(f"sampler is {sampler!r}; expected one of: {', '.join(known)}")
