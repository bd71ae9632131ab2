"""Ready-made recurrent networks for whole numbers in sequence: characters, words, tokens."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from danlu.blueprint import setting
from danlu.errors import ConfigError, DataError
from danlu.nn.attention.sequence import PerToken
from danlu.nn.combine import Sequential
from danlu.nn.dense import Dense
from danlu.nn.dropout import Dropout
from danlu.nn.embedding import Embedding
from danlu.nn.layer import Layer, Params, State
from danlu.nn.recurrent.gru import GRU
from danlu.nn.recurrent.lstm import LSTM
from danlu.nn.recurrent.rnn import Recurrent
from danlu.nn.recurrent.simple import SimpleRNN
from danlu.nn.recurrent.stack import Bidirectional, stream
from danlu.nn.shorthand import Shorthand

__all__ = ["BiLSTMClassifier", "CharRNN"]

_CELLS: dict[str, type[Recurrent]] = {"gru": GRU, "lstm": LSTM, "simple": SimpleRNN}


class CharRNN(Shorthand):
    """The next character's logits at every step: an embedding, recurrent layers one on another, a linear output.

    It is shorthand: :attr:`expanded` is the same network as a Sequential, with the same params and state. Input:
    ``(batch, time)`` whole numbers, or such a dict with a mask; output ``(batch, time, vocabulary)``.

    Args:
        vocabulary: how many characters there are, numbered from 0.
        dim: size of a character's vector.
        units: of each recurrent layer.
        num_layers: how many.
        cell: ``"lstm"``, ``"gru"`` or ``"simple"``.
        dropout: rate after each recurrent layer (Zaremba et al., 2014: never from step to step), in [0, 1).

    Reference: Graves (2013), arXiv:1308.0850, without his skip connections; Zaremba, Sutskever & Vinyals (2014),
    arXiv:1409.2329.

    Example:
        >>> CharRNN(50, dim=16, units=32).out_shape((100,))
        (100, 50)
    """

    vocabulary: int = setting(minimum=2, integer=True)
    dim: int = setting(default=64, minimum=1, integer=True)
    units: int = setting(default=128, minimum=1, integer=True)
    num_layers: int = setting(default=1, minimum=1, integer=True)
    cell: str = setting(default="lstm", choices=_CELLS)
    dropout: float = setting(default=0.0, minimum=0, below=1)

    def build(self) -> Sequential:
        layers: list[Layer] = [PerToken(Embedding(self.vocabulary, self.dim))]
        for _ in range(self.num_layers):
            layers.append(_CELLS[self.cell](self.units))
            if self.dropout > 0:
                layers.append(PerToken(Dropout(self.dropout)))
        return Sequential((*layers, PerToken(Dense(self.vocabulary), head=True)))

    def generate(
        self, params: Params, state: State, prompt: Any, steps: int, key: jax.Array, *, temperature: float = 1.0
    ) -> jax.Array:
        """Characters drawn one after another, each from the network's distribution given all earlier ones.

        Args:
            params, state: the network's.
            prompt: ``(batch, time)`` whole numbers, time >= 1.
            steps: how many characters to draw, >= 1.
            key: a PRNG key.
            temperature: what the logits are divided by, >= 0; towards 0 the likeliest character, at 0 exactly that one.

        Returns:
            ``(batch, steps)``, int32.

        Raises:
            ConfigError: ``steps`` or ``temperature`` out of range.
            DataError: a prompt without a step.
        """
        prompt = jnp.asarray(prompt)
        if steps < 1 or not temperature >= 0:
            raise ConfigError(f"generate received steps={steps} and temperature={temperature}; expected >= 1 and >= 0")
        if prompt.ndim != 2 or not prompt.shape[1]:
            raise DataError(f"generate received a prompt of shape {prompt.shape}; expected (batch, time), time >= 1")

        def draw(logits: jax.Array, key: jax.Array) -> jax.Array:
            if temperature == 0:
                return jnp.argmax(logits, axis=-1).astype(jnp.int32)
            return jax.random.categorical(key, logits / temperature).astype(jnp.int32)

        def step(loop: Any, key: jax.Array) -> Any:
            logits, carry = loop
            drawn = draw(logits, key)
            logits, carry = stream(self, params, state, drawn[:, None], carry)
            return (logits[:, -1], carry), drawn

        logits, carry = stream(self, params, state, prompt)
        drawn: jax.Array
        _, drawn = jax.lax.scan(step, (logits[:, -1], carry), jax.random.split(key, steps))
        return drawn.T


class BiLSTMClassifier(Shorthand):
    """One vector of logits for a whole sequence: an embedding, bidirectional LSTMs, their last outputs, a linear output.

    It is shorthand: :attr:`expanded` is the same network as a Sequential, with the same params and state. Input:
    ``(batch, time)`` whole numbers, or such a dict with a mask (see :func:`~danlu.nn.recurrent.pad`); output
    ``(batch, outputs)``.

    Args:
        vocabulary: how many tokens there are, numbered from 0.
        outputs: how many logits or values.
        dim: size of a token's vector.
        units: of each direction of each layer.
        num_layers: how many bidirectional layers; all but the last give every step's output.
        dropout: rate after each of them, in [0, 1).

    Reference: Graves & Schmidhuber (2005), "Framewise phoneme classification with bidirectional LSTM".

    Example:
        >>> BiLSTMClassifier(1000, 2, units=16).out_shape({"x": (40,), "mask": (40,)})
        (2,)
    """

    vocabulary: int = setting(minimum=1, integer=True)
    outputs: int = setting(minimum=1, integer=True)
    dim: int = setting(default=64, minimum=1, integer=True)
    units: int = setting(default=64, minimum=1, integer=True)
    num_layers: int = setting(default=1, minimum=1, integer=True)
    dropout: float = setting(default=0.0, minimum=0, below=1)

    def build(self) -> Sequential:
        layers: list[Layer] = [PerToken(Embedding(self.vocabulary, self.dim))]
        for index in range(self.num_layers):
            layers.append(Bidirectional(LSTM(self.units, return_sequences=index < self.num_layers - 1)))
            if self.dropout > 0:
                layers.append(PerToken(Dropout(self.dropout)))
        return Sequential((*layers, Dense(self.outputs)))
