"""A line fitted by gradient descent, in NumPy and in danlu: the same weights.

The model is ``ŷ = w·x + b`` and the objective is half the mean squared error, ``J = 1/(2m)·Σ(ŷ − y)²``. Its gradient has no
factor of two, because the ½ cancels it, and its sign is that of ``ŷ − y``::

    ∂J/∂w = 1/m·Σ(ŷ − y)·x        ∂J/∂b = 1/m·Σ(ŷ − y)        θ ← θ − α·∂J/∂θ

Popular articles get two things wrong here. They take the mean of ``y − ŷ`` and still subtract it: that is gradient
*ascent*, and the loss grows without bound (shown below). And they print ``1/(2m)`` in the loss, then differentiate it as if it
were ``1/m`` of something else: harmless for the minimum, but the learning rate then means half or twice what it says.
"""

from __future__ import annotations

import numpy as np

import danlu
from danlu import nn, optim

RATE, STEPS = 0.1, 200


def make_points(rows: int = 100) -> tuple[np.ndarray, np.ndarray]:
    """Points near the line ``y = 0.75·x − 0.5``: ``x (rows, 1)`` and ``y (rows,)``."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, 1)).astype(np.float32)
    return x, (0.75 * x[:, 0] - 0.5 + rng.normal(scale=0.1, size=rows)).astype(np.float32)


def loss(w: float, b: float, x: np.ndarray, y: np.ndarray) -> float:
    """``J`` at ``(w, b)``."""
    return float(np.mean((w * x[:, 0] + b - y) ** 2) / 2)


def descend(x: np.ndarray, y: np.ndarray, *, steps: int = STEPS, sign: float = 1.0) -> tuple[float, float]:
    """Gradient descent in NumPy from ``w = b = 0``; ``sign=-1`` is the reversed gradient of the articles."""
    w = b = 0.0
    for _ in range(steps):
        error = w * x[:, 0].astype(np.float64) + b - y
        slope_w, slope_b = np.mean(error * x[:, 0]), np.mean(error)
        w, b = w - RATE * sign * slope_w, b - RATE * sign * slope_b
    return float(w), float(b)


def train(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """The same in danlu: one neuron, the ½ convention by its name, a batch that is the whole data."""
    zeros = {"kernel": np.zeros((1, 1), np.float32), "bias": np.zeros(1, np.float32)}
    fitted = danlu.fit(
        nn.Dense(1),
        (x, y),
        loss="half_mse",
        optimizer=optim.sgd(RATE),
        initial=(zeros, {}),
        epochs=STEPS,
        batch_size=len(y),
        display="none",
    )
    return float(fitted.params["kernel"][0, 0]), float(fitted.params["bias"][0])


def main() -> None:
    """Fit both ways and print the weights."""
    x, y = make_points()
    by_hand, by_danlu = descend(x, y), train(x, y)
    print(f"NumPy  w = {by_hand[0]:.7f}  b = {by_hand[1]:.7f}  loss {loss(*by_hand, x, y):.6f}")
    print(f"danlu  w = {by_danlu[0]:.7f}  b = {by_danlu[1]:.7f}  loss {loss(*by_danlu, x, y):.6f}")
    print(f"largest difference {max(abs(a - b) for a, b in zip(by_hand, by_danlu, strict=True)):.1e}")
    reversed_sign = descend(x, y, steps=50, sign=-1.0)
    print(f"sign reversed: the loss goes from {loss(0, 0, x, y):.2f} to {loss(*reversed_sign, x, y):.1e} in 50 steps")


if __name__ == "__main__":
    main()
