"""Variational autoencoders: codes that are normal by themselves, and what a row looks like given its codes."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp

from danlu.blueprint import setting
from danlu.errors import ConfigError
from danlu.generative.network import Generative, as_labels, as_values, one_hot
from danlu.nn._shapes import array_shape, size
from danlu.nn.layer import Layer, Params, Shape, State

__all__ = ["VAE"]

_DRAWS = 32  # codes of a row by which it is judged
_NARROW = (
    -2.0
)  # log spread of a Gaussian at first, of values in 0 … 1: from a wide one the codes are given up before they are used


class VAE(Generative):
    """A variational autoencoder.

    The encoder says the mean m and the log spread of the codes z of a row x; the decoder says what the row looks like given z (and its
    label y). Made small is −ELBO, in nats a row::

        E_z[−log p(x | z, y)] + β·KL(N(m, s²) ‖ N(m_y, s_y²)),    z = m + s·ε,  ε ~ N(0, 1)

    with β the weight of the term ``"kl"``. Codes of a label y have a mean m_y and a spread s_y of their own, which are learnt; without a
    label they are 0 and 1. So what is drawn for a label begins where its codes are. A row is judged without its label: by −ELBO with
    β = 1 (``"elbo"``), and by the importance-weighted bound of 32
    codes, which is never worse (``"importance_weighted"``): ``−log (1/32)·Σ_k p(x | z_k)·p(z_k)/q(z_k | x)``.

    Args:
        encoder: from a row to ``2·codes`` numbers; with classes from ``{"x": row, "label": (classes,)}``, so that codes need not tell what
            the label tells.
        decoder: from the codes, beside the label as one of ``classes``, to as many numbers as a row has.
        codes: how many.
        likelihood: what the decoder's numbers mean: ``"bernoulli"``: logits of pixels that are on or off (a grey pixel counts as on with
            its brightness, so that the bound holds for pictures whose pixels are drawn on and off); ``"gaussian"``: means, with one
            spread for all that is learnt.
        classes: how many labels.

    Params: ``(encoder's, decoder's)``, and a dict: ``"log_spread": ()`` of a Gaussian,
    ``"middles"`` and ``"log_spreads"`` ``(classes, codes)`` of labels. Output: see :class:`~danlu.generative.Generative`.

    Reference: Kingma & Welling, "Auto-encoding variational Bayes" (2014), eq. 10 and appendix B; Higgins et al., "β-VAE" (2017), eq. 4;
    Burda, Grosse & Salakhutdinov, "Importance weighted autoencoders" (2016), eq. 8; Sohn, Lee & Yan (2015) for labels.

    Example:
        >>> from danlu import nn
        >>> network = VAE(nn.MLP((8,), 4), nn.MLP((8,), 6), 2)
        >>> params, state, shapes = network.init(jax.random.key(0), (6,))
        >>> sorted(shapes), network.draw(params, state, jax.random.split(jax.random.key(1), 3), jnp.zeros(3), (6,)).shape
        (['elbo', 'importance_weighted'], (3, 6))
    """

    encoder: Layer
    decoder: Layer
    codes: int = setting(minimum=1, integer=True)
    likelihood: str = setting(default="bernoulli", choices=("bernoulli", "gaussian"))
    classes: int = setting(default=0, minimum=0, integer=True)

    @property
    def scores(self) -> tuple[str, ...]:
        return "elbo", "importance_weighted"

    def children(self) -> tuple[tuple[str, Layer], ...]:
        return ("encoder", self.encoder), ("decoder", self.decoder)

    def child_shapes(self, in_shape: Shape) -> tuple[Shape, ...]:
        seen = {"x": in_shape, "label": (self.classes,)} if self.classes else in_shape
        return seen, (self.codes + self.classes,)

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        shape = array_shape("VAE", in_shape)
        drawn = [
            layer.init(jax.random.fold_in(key, number), of)
            for number, ((_, layer), of) in enumerate(zip(self.children(), self.child_shapes(shape), strict=True))
        ]
        for (name, _), (_, _, out), wanted in zip(self.children(), drawn, (2 * self.codes, size(shape)), strict=True):
            if size(array_shape("VAE", out)) != wanted:
                raise ConfigError(f"the {name} of the VAE gives rows of shape {out}; expected {wanted} numbers")
        own = {"log_spread": jnp.full((), _NARROW)} if self.likelihood == "gaussian" else {}
        if self.classes:
            own |= {name: jnp.zeros((self.classes, self.codes)) for name in ("middles", "log_spreads")}
        return (*(each[0] for each in drawn), own), tuple(each[1] for each in drawn), self.scored

    def flops(self, in_shape: Shape) -> int | None:
        own = [layer.flops(of) for (_, layer), of in zip(self.children(), self.child_shapes(in_shape), strict=True)]
        return None if None in own else sum(each or 0 for each in own)

    def posterior(
        self,
        params: Params,
        state: State,
        x: jax.Array,
        labels: jax.Array,
        *,
        train: bool = False,
        key: jax.Array | None = None,
    ) -> tuple[jax.Array, jax.Array, State]:
        """The mean and the log spread of the codes ``(batch, codes)`` of rows, and the encoder's state after."""
        seen: Any = as_values(x)
        if self.classes:
            seen = {"x": seen, "label": one_hot(labels, self.classes)}
        y, after = self.encoder.apply(params[0], state[0], seen, train=train, key=key)
        return *jnp.split(y, 2, axis=-1), after

    def decoded(
        self, params: Params, state: State, codes: jax.Array, labels: jax.Array, *, train: bool = False, key: Any = None
    ) -> tuple[jax.Array, State]:
        """The decoder's numbers ``(batch, …)`` for codes ``(batch, codes)``, and its state after."""
        given = jnp.concatenate([codes, one_hot(labels, self.classes)], axis=-1) if self.classes else codes
        return self.decoder.apply(params[1], state[1], given, train=train, key=key)

    def misfit(self, params: Params, x: jax.Array, decoded: jax.Array) -> jax.Array:
        """``−log p(x | z)`` in nats ``(batch,)``, of what the decoder says."""
        x = as_values(x).reshape(len(x), -1)  # (batch, numbers)
        decoded = decoded.reshape(len(x), -1)
        if self.likelihood == "bernoulli":
            return jnp.sum(jax.nn.softplus(decoded) - x * decoded, axis=-1)
        log_spread = params[2]["log_spread"]
        wide = 0.5 * jnp.square((x - decoded) * jnp.exp(-log_spread)) + log_spread + 0.5 * math.log(2 * math.pi)
        return jnp.sum(wide, axis=-1)

    def terms(
        self, params: Params, state: State, x: jax.Array, labels: jax.Array, key: jax.Array, *, train: bool
    ) -> tuple[dict[str, jax.Array], State]:
        keys = jax.random.split(key, 3)
        mean, log_spread, first = self.posterior(params, state, x, labels, train=train, key=keys[1] if train else None)
        codes = mean + jnp.exp(log_spread) * jax.random.normal(keys[0], mean.shape)
        decoded, second = self.decoded(params, state, codes, labels, train=train, key=keys[2] if train else None)
        middle, wide = self.prior(params, labels)
        kl = divergence((mean - middle) * jnp.exp(-wide), log_spread - wide)
        return {"redrawn": self.misfit(params, x, decoded), "kl": kl}, (first, second)

    def prior(self, params: Params, labels: jax.Array) -> tuple[jax.Array | float, jax.Array | float]:
        """The mean and the log spread of the codes ``(batch, codes)`` of rows of these labels; of no label both 0."""
        if not self.classes:
            return 0.0, 0.0
        told = one_hot(labels, self.classes)
        return told @ params[2]["middles"], told @ params[2]["log_spreads"]

    def said(self, params: Params, state: State, x: jax.Array) -> dict[str, jax.Array]:
        noise = jax.random.normal(jax.random.key(0), (_DRAWS, self.codes))
        mean, log_spread, _ = self.posterior(params, state, x, jnp.full(len(x), self.classes))
        misfits, logs = jax.lax.map(lambda e: self.weighed(params, state, x, mean, log_spread, e), noise)
        elbo = jnp.mean(misfits, axis=0) + divergence(mean, log_spread)
        return {
            "elbo": elbo,
            "importance_weighted": math.log(_DRAWS) - jax.scipy.special.logsumexp(logs, axis=0),
        }

    def weighed(
        self, params: Params, state: State, x: jax.Array, mean: jax.Array, log_spread: jax.Array, noise: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """``−log p(x | z)`` and ``log p(x | z)·p(z)/q(z | x)``, both ``(batch,)``, for the codes of one noise ``(codes,)``."""
        codes = mean + jnp.exp(log_spread) * noise[None]
        labels = as_labels(jnp.full(len(x), self.classes), self.classes)
        misfit = self.misfit(params, x, self.decoded(params, state, codes, labels)[0])
        ratio = (
            0.5 * (jnp.square(noise)[None] - jnp.square(codes)) + log_spread
        )  # log p(z) − log q(z | x), the constants cancel
        return misfit, jnp.sum(ratio, axis=-1) - misfit

    def noise_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (self.codes,)

    def made(
        self,
        params: Params,
        state: State,
        noise: jax.Array,
        keys: jax.Array,
        labels: jax.Array,
        shape: tuple[int, ...],
        *,
        temperature: float = 1.0,
    ) -> jax.Array:
        """What the decoder expects for codes that are noise.

        Args:
            params, state, noise, keys, labels, shape: see :class:`~danlu.generative.Generative`.
            temperature: the spread of the codes: below 1 likelier and more alike.
        """
        middle, log_spread = self.prior(params, as_labels(labels, self.classes))
        return self.expected(params, state, middle + temperature * jnp.exp(log_spread) * noise, labels, shape)

    def expected(
        self, params: Params, state: State, codes: jax.Array, labels: jax.Array, shape: tuple[int, ...]
    ) -> jax.Array:
        """What the decoder expects for codes ``(count, codes)``: ``(count, *shape)``."""
        decoded, _ = self.decoded(params, state, codes, as_labels(labels, self.classes))
        decoded = decoded.reshape(codes.shape[0], *shape)  # (count, *shape)
        return jax.nn.sigmoid(decoded) if self.likelihood == "bernoulli" else decoded


def divergence(mean: jax.Array, log_spread: jax.Array) -> jax.Array:
    """``KL(N(m, s²) ‖ N(0, 1))`` in nats, added up over the last axis.

    >>> float(divergence(jnp.zeros(3), jnp.zeros(3)))
    0.0
    """
    return 0.5 * jnp.sum(jnp.square(mean) + jnp.exp(2 * log_spread) - 1 - 2 * log_spread, axis=-1)
