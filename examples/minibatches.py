"""Mini-batches against the full batch: the same gradient on average, many more updates for the same work.

The full gradient is the mean over all ``m`` rows, and a mini-batch ``B`` takes the mean over its own::

    g = 1/m·Σᵢ gᵢ        g_B = 1/|B|·Σ_{i∈B} gᵢ        θ ← θ − α·g_B

With batches of equal size the mean of an epoch's ``g_B`` at fixed weights *is* ``g``: each is a noisy but unbiased estimate, at
``|B|/m`` of the cost. One epoch of ``m/|B|`` rough steps therefore gets further than one exact step.

What articles get wrong: the single-sample loop refers to an ``x`` and a ``y`` that nothing defines, and does not shuffle; the last,
smaller batch is averaged as if it were a full one (danlu weighs every row the same); and "more data" is offered as a cure for long
training, when it is smaller batches that make training on much data affordable.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

import danlu
from danlu import nn, optim
from danlu.nn.backprop import trace

EPOCHS, RATE = 10, 0.05


def make_rows(rows: int = 2048, features: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Inputs ``(rows, features)`` and the noisy values ``(rows,)`` of a linear function."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, features)).astype(np.float32)
    return x, (x @ rng.normal(size=features) + rng.normal(scale=0.1, size=rows)).astype(np.float32)


def gradient(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """``g`` over these rows, at weights of 1, traced by hand."""
    params = {"kernel": jnp.ones((x.shape[1], 1)), "bias": jnp.zeros(1)}
    return np.asarray(
        trace(nn.Dense(1), params, {}, jnp.asarray(x), jnp.asarray(y), nn.get_loss("half_mse")).gradients["kernel"][
            :, 0
        ]
    )


def train(x: np.ndarray, y: np.ndarray, batch_size: int) -> danlu.Fitted:
    """``EPOCHS`` epochs from the same weights; the number of updates is what differs."""
    return danlu.fit(
        nn.Dense(1),
        (x, y),
        loss="half_mse",
        optimizer=optim.sgd(RATE),
        epochs=EPOCHS,
        batch_size=batch_size,
        display="none",
    )


def main() -> None:
    """Compare the gradients, then the losses after the same number of epochs."""
    x, y = make_rows()
    order = np.random.default_rng(1).permutation(len(y))
    batches = [gradient(x[rows], y[rows]) for rows in order.reshape(32, -1)]
    with np.printoptions(precision=5, suppress=True):
        print("full gradient          ", gradient(x, y))
        print("mean of 32 batches'    ", np.mean(batches, axis=0))
        print("their standard deviation", np.std(batches, axis=0))
    for batch_size in (len(y), 256, 32):
        fitted = train(x, y, batch_size)
        loss = fitted.evaluate((x, y))["loss"]
        print(f"batch {batch_size:>4}: {int(fitted.train_state.step):>4} updates in {EPOCHS} epochs, loss {loss:.5f}")


if __name__ == "__main__":
    main()
