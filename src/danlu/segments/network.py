"""An autoencoder of a table's rows: a few numbers from which hidden columns are told again."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.blueprint import setting
from danlu.engine import Objective
from danlu.errors import ConfigError
from danlu.nn import MLP
from danlu.nn.layer import Layer, Params, Shape, State

__all__ = ["Redrawn", "TableAutoencoder"]

_HIDDEN = 0.2  # of the columns, in training
_NOISE = 0.3  # of the codes, in training
_PULL = 0.01  # towards 0, of the codes
_FAR = 4.0  # standard deviations beyond which a number counts as no farther


class TableAutoencoder(Layer):
    """From a row as :class:`~danlu.data.TableEncoder` has it to ``codes`` numbers.

    The decoder makes every column again from the codes. A row is seen as one vector (:meth:`flat`): numbers in standard deviations, at most
    4, and a category as ones among zeros, so that two rows of different categories are as far apart as two rows are on average in a number.

    Args:
        numeric, text: encoded columns of these kinds.
        vocabularies: codes of each categorical column.
        codes: how many numbers stand for a row.
        width: of the hidden layer of encoder and decoder.

    Params: ``{"encoder", "decoder"}``. Output: ``(batch, codes)``.

    Example:
        >>> net = TableAutoencoder(numeric=2, vocabularies=(3,), codes=2, width=8)
        >>> params, state, shape = net.init(jax.random.key(0), {"numeric": (2,), "categorical": (1,)})
        >>> x = {"numeric": jnp.zeros((5, 2)), "categorical": jnp.ones((5, 1), jnp.int32)}
        >>> shape, net.apply(params, state, x)[0].shape, net.flat(x)[0].tolist()
        ((2,), (5, 2), [0.0, 0.0, 0.0, 1.0, 0.0])
    """

    numeric: int = setting(default=0, minimum=0, integer=True)
    vocabularies: tuple[int, ...] = ()
    text: int = setting(default=0, minimum=0, integer=True)
    codes: int = setting(default=4, minimum=1, integer=True)
    width: int = setting(default=64, minimum=1, integer=True)

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many places of the vector each column has."""
        return (*[1] * self.numeric, *self.vocabularies, *[1] * self.text)

    @property
    def total(self) -> int:
        """Places of the vector."""
        return sum(self.sizes)

    def _networks(self) -> tuple[MLP, MLP]:
        return MLP((self.width,), self.codes), MLP((self.width,), self.total)

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        given = in_shape if isinstance(in_shape, Mapping) else {}
        own = {"numeric": self.numeric, "categorical": len(self.vocabularies), "text": self.text}
        if {name: (n,) for name, n in own.items() if n} != dict(given):
            raise ConfigError(f"TableAutoencoder has the columns {own}; the rows have the shape {in_shape}")
        (encoder, decoder), (one, other) = self._networks(), jax.random.split(key)
        params = {"encoder": encoder.init(one, (self.total,))[0], "decoder": decoder.init(other, (self.codes,))[0]}
        return params, {}, (self.codes,)

    def flat(self, x: Any) -> jax.Array:
        """Rows as vectors ``(batch, total)``."""
        parts = []
        if self.numeric:
            parts.append(jnp.clip(jnp.asarray(x["numeric"]), -_FAR, _FAR))
        for place, count in enumerate(self.vocabularies):
            parts.append(jax.nn.one_hot(jnp.asarray(x["categorical"])[:, place], count))
        if self.text:
            parts.append(jnp.asarray(x["text"]) / np.sqrt(self.text))
        return jnp.concatenate(parts, axis=-1)

    def encoded(self, params: Params, flat: jax.Array) -> jax.Array:
        """The codes ``(batch, codes)`` of vectors."""
        return _apply(self._networks()[0], params["encoder"], flat)

    def decoded(self, params: Params, codes: jax.Array) -> jax.Array:
        """What the decoder says of each place ``(batch, total)``: a number, or a category's logit."""
        return _apply(self._networks()[1], params["decoder"], codes)

    def misfit(self, flat: jax.Array, decoded: jax.Array) -> jax.Array:
        """How far the columns are from what the decoder says ``(batch,)``: ``½·(x − x̂)²`` of numbers, ``−log p`` of categories over the
        logarithm of how many there are; the mean over columns."""
        found, starts = [], np.concatenate([[0], np.cumsum(self.sizes)])
        for low, high in itertools.pairwise(starts):
            own, said = flat[:, low:high], decoded[:, low:high]
            if high - low == 1:
                found.append(0.5 * jnp.square(own - said)[:, 0])
            else:
                found.append(-jnp.sum(own * jax.nn.log_softmax(said, axis=-1), axis=-1) / np.log(high - low))
        return jnp.mean(jnp.stack(found, axis=-1), axis=-1)

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        return self.encoded(params, self.flat(x)), state

    def flops(self, in_shape: Shape) -> int | None:
        return 2 * self.width * (self.total + self.codes)


class Redrawn(Objective):
    """What is lost of a row on the way through its codes, of which the encoder does not see a fifth of the columns::

        loss = misfit(x, decoder(z + 0.3·ε)) + ½·0.01·|z|²,    z = encoder(x with columns at 0),  ε ~ N(0, 1)

    A hidden column can only be told from the others, so that the codes keep what columns have in common; the noise keeps rows that are
    different apart, and the second term keeps codes from running away from it. Rows are judged with nothing hidden and no noise.

    Reference: Vincent et al., "Extracting and composing robust features with denoising autoencoders" (2008); Ghosh et al., "From
    variational to deterministic autoencoders" (2020), eq. 6 to 9.
    """

    network: TableAutoencoder

    def __call__(
        self, params: Any, state: Any, batch: dict[str, Any], key: jax.Array, *, train: bool
    ) -> tuple[jax.Array, Any, dict[str, jax.Array]]:
        net = self.network
        flat = net.flat(batch["x"])
        seen, noise = flat, jnp.zeros((len(flat), net.codes))
        if train:
            hide, draw = jax.random.split(key)
            kept = jax.random.bernoulli(hide, 1 - _HIDDEN, (len(flat), len(net.sizes)))
            place = np.repeat(np.arange(len(net.sizes)), net.sizes)
            seen, noise = flat * kept[:, place], _NOISE * jax.random.normal(draw, noise.shape)
        codes = net.encoded(params, seen)
        pull = 0.5 * _PULL * jnp.sum(jnp.square(codes), axis=-1)
        return net.misfit(flat, net.decoded(params, codes + noise)) + pull, state, {}


def _apply(network: MLP, params: Params, x: jax.Array) -> jax.Array:
    state = jax.eval_shape(lambda: network.init(jax.random.key(0), x.shape[1:])[1])
    return network.apply(params, jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), state), x)[0]
