"""A variational autoencoder of small pictures of digits: an objective with two networks, random numbers and two terms.

The encoder says a mean m and a spread s of the codes z of a picture x; the decoder draws x from z. Made small is −ELBO::

    E_z[−log p(x | z)] + β·KL(N(m, s²) ‖ N(0, 1)),    z = m + s·ε,  ε ~ N(0, 1)

β is the weight of the term "kl", an array in the training state: another one, or one that rises, compiles nothing.

Reference: Kingma & Welling, "Auto-encoding variational Bayes" (2014), section 2; Higgins et al., "β-VAE" (2017), for β.
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

CODES = 4
ENCODER, DECODER = nn.MLP((128,), 2 * CODES), nn.MLP((128,), 64)


def init(key: jax.Array, shape: Any) -> Any:
    """The parameters of both networks."""
    first, second = jax.random.split(key)
    return {"encoder": ENCODER.init(first, shape)[0], "decoder": DECODER.init(second, (CODES,))[0]}


def run(network: nn.Layer, params: Any, x: Any) -> Any:
    """The outputs of a network whose layers carry nothing from batch to batch."""
    return network.apply(params, ({}, {}), x)[0]


def redraw(params: Any, x: Any) -> Any:
    """The picture, in (0, 1), for the mean of its codes."""
    return jax.nn.sigmoid(run(DECODER, params["decoder"], run(ENCODER, params["encoder"], x)[:, :CODES]))


class Elbo(Objective):
    """−ELBO of pictures in [0, 1]: nats a picture."""

    def __call__(self, params: Any, state: Any, batch: Any, key: jax.Array, *, train: bool) -> Any:
        mean, log_spread = jnp.split(run(ENCODER, params["encoder"], batch["x"]), 2, axis=-1)
        logits = run(DECODER, params["decoder"], mean + jnp.exp(log_spread) * jax.random.normal(key, mean.shape))
        redrawn = nn.get_loss("binary_cross_entropy")(logits, batch["x"]) * logits.shape[-1]
        kl = 0.5 * jnp.sum(jnp.square(mean) + jnp.exp(2 * log_spread) - 1 - 2 * log_spread, axis=-1)
        return {"redrawn": redrawn, "kl": kl}, state, {}


def learn(beta: float = 1.0, epochs: int = 40) -> danlu.Fitted:
    """Train on all but the last 200 digits, which judge."""
    x = load_digits().data.astype(np.float32) / 16
    settings: Any = {"batch_size": 64, "epochs": epochs, "learning_rate": 3e-3, "display": "none"}
    data, rest = (x[:-200], x[:-200]), (x[-200:], x[-200:])
    return danlu.fit((init, redraw), data, loss=Elbo(), loss_weights={"kl": beta}, validation=rest, **settings)


if __name__ == "__main__":
    for beta in (1.0, 4.0):
        last = learn(beta).history[-1]
        print(
            f"β = {beta}: −ELBO {last['val_loss']:.1f}, redrawn {last['val_redrawn']:.1f}, KL {last['val_kl']:.1f} nats"
        )
