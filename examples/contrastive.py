"""Codes without labels: two views of a picture are to have codes that are nearer than those of other pictures (InfoNCE).

The same network codes both views (a siamese network). With codes u, v of length 1 and temperature t, of a batch of rows::

    l_i = −log( exp(u_i·v_i / t) / Σ_j exp(u_i·v_j / t) )

The objective looks across rows: each is told from all others of its batch. A row of weight 0, which fills the last batch up, is no other.

Reference: Chen et al., "A simple framework for contrastive learning of visual representations" (2020), section 2, in one direction.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.datasets import load_digits

import danlu
from danlu import nn
from danlu.engine import Objective

NETWORK = nn.MLP((128,), 16)


class Contrast(Objective):
    """InfoNCE of two views that the key draws: pixels that are hidden at random."""

    model: nn.Layer
    temperature: float = 0.2
    hidden: float = 0.4

    def __call__(self, params: Any, state: Any, batch: Any, key: jax.Array, *, train: bool) -> Any:
        first, second = (self.codes(params, state, batch["x"], own) for own in jax.random.split(key))
        logits = first @ second.T / self.temperature + jnp.where(batch["weight"] > 0, 0, -jnp.inf)[None, :]
        own = jnp.diagonal(jnp.where(batch["weight"][:, None] > 0, logits, 0.0))
        value = jnp.where(batch["weight"] > 0, jax.nn.logsumexp(logits, axis=1) - own, 0.0)
        return value, state, {"found": (jnp.argmax(logits, axis=1) == jnp.arange(len(own))).astype(jnp.float32)}

    def codes(self, params: Any, state: Any, x: Any, key: jax.Array) -> Any:
        """Codes of length 1 of pictures with hidden pixels."""
        shown = jax.random.bernoulli(key, 1 - self.hidden, x.shape)
        codes, _ = self.model.apply(params, state, x * shown)
        return codes / jnp.linalg.norm(codes, axis=-1, keepdims=True)


def learn(epochs: int = 30) -> danlu.Fitted:
    """Train on all but the last 256 digits; these judge how often a view finds its other among 128."""
    x = load_digits().data.astype(np.float32) / 16
    settings: Any = {"batch_size": 128, "epochs": epochs, "learning_rate": 3e-3, "display": "none"}
    return danlu.fit(NETWORK, x[:-256], x[:-256], loss=Contrast(NETWORK), validation=(x[-256:], x[-256:]), **settings)


if __name__ == "__main__":
    for row in learn().history[::6]:
        print(
            f"epoch {row['epoch'] + 1}: InfoNCE {row['val_loss']:.2f}, of 128 pictures its own is found {row['val_found']:.0%}"
        )
