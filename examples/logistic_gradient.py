"""The gradient of logistic regression by hand, from the traced backward pass, and from one training step.

The model is ``p = σ(z)``, ``z = x·w + b``; the loss is the binary cross-entropy ``L = −1/m·Σ[y·log p + (1 − y)·log(1 − p)]``. The
sigmoid's derivative ``p·(1 − p)`` cancels the logarithm's, and what is left is the error itself::

    ∂L/∂z = (p − y)/m        ∂L/∂w = xᵀ·(p − y)/m        ∂L/∂b = Σ(p − y)/m

What articles get wrong: the sign (``y − p`` is the *negative* gradient: add it or subtract the other, not both); leaving the
sigmoid's derivative in, which is the squared error's gradient; and computing ``log σ(z)`` literally, which is −∞ from about
``z = −104`` on in 32-bit floats. danlu takes the loss from logits: ``softplus(z) − y·z``, finite everywhere.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

import danlu
from danlu import nn, optim
from danlu.nn.backprop import trace

Gradient = dict[str, np.ndarray]


def make_rows(rows: int = 200, features: int = 3) -> tuple[np.ndarray, np.ndarray, Gradient]:
    """Inputs ``(rows, features)``, labels 0 or 1 ``(rows,)``, and parameters that are not yet right."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, features)).astype(np.float32)
    y = (x @ rng.normal(size=features) + 0.5 * rng.normal(size=rows) > 0).astype(np.float32)
    params = {"kernel": rng.normal(size=(features, 1)).astype(np.float32), "bias": np.full(1, 0.3, np.float32)}
    return x, y, params


def by_hand(x: np.ndarray, y: np.ndarray, params: Gradient) -> Gradient:
    """The formula above, in 64-bit NumPy."""
    z = x.astype(np.float64) @ params["kernel"] + params["bias"]
    error = (1 / (1 + np.exp(-z)) - y[:, None]) / len(y)
    return {"kernel": x.T @ error, "bias": error.sum(axis=0)}


def by_trace(x: np.ndarray, y: np.ndarray, params: Gradient) -> Gradient:
    """The backward pass walked layer by layer; printing the trace shows each layer's error signal."""
    arrays = {name: jnp.asarray(value) for name, value in params.items()}
    seen = trace(nn.Dense(1), arrays, {}, jnp.asarray(x), jnp.asarray(y), nn.get_loss("binary_cross_entropy"))
    print(seen)
    return {name: np.asarray(value) for name, value in seen.gradients.items()}


def by_training(x: np.ndarray, y: np.ndarray, params: Gradient) -> Gradient:
    """One step of gradient descent with learning rate 1 moves the parameters by the negative gradient."""
    fitted = danlu.fit(
        nn.Dense(1),
        (x, y),
        loss="binary_cross_entropy",
        optimizer=optim.sgd(1.0),
        initial=(params, {}),
        epochs=1,
        batch_size=len(y),
        display="none",
    )
    return {name: params[name] - np.asarray(fitted.params[name]) for name in params}


def main() -> None:
    """Print the three gradients side by side."""
    x, y, params = make_rows()
    found = {"by hand": by_hand(x, y, params), "traced": by_trace(x, y, params), "trained": by_training(x, y, params)}
    for name, gradient in found.items():
        numbers = "  ".join(f"{value:+.6f}" for value in (*gradient["kernel"][:, 0], *gradient["bias"]))
        print(f"{name:<8} ∂L/∂w, ∂L/∂b = {numbers}")


if __name__ == "__main__":
    main()
