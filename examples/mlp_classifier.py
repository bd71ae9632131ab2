"""A multilayer perceptron that reads handwritten digits: 8×8 pixels in, ten classes out.

Each hidden layer is ``h = max(0, x·W + b)``; the last one gives logits ``z``, and the loss is ``−log softmax(z)_y``. Adam keeps running
means of the gradient and of its square, *divided by what they miss because they started at 0*::

    m ← β₁·m + (1 − β₁)·g        v ← β₂·v + (1 − β₂)·g²
    m̂ = m/(1 − β₁ᵗ)              v̂ = v/(1 − β₂ᵗ)              θ ← θ − α·m̂/(√v̂ + ε)

Articles leave the second line out. Without it the first step is ``(1 − β₁)/√(1 − β₂) ≈ 3.2`` times too long (shown below), and with
β₂ = 0.999 the steps stay too long for about a thousand updates.

Two more: a scaler fitted on all rows tells the network about the rows it is judged on (here: on the training rows only); and the
rows that choose the best epoch are not the rows that give the final score (here: validation and test are apart).
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

import danlu
from danlu import nn, optim

Rows = tuple[np.ndarray, np.ndarray]


def make_splits() -> dict[str, Rows]:
    """Training, validation and test rows with equal shares of each digit, scaled by the training rows."""
    x, y = load_digits(return_X_y=True)
    x, x_test, y, y_test = train_test_split(x, y, test_size=0.2, stratify=y, random_state=0)
    x, x_validation, y, y_validation = train_test_split(x, y, test_size=0.2, stratify=y, random_state=0)
    scaler = StandardScaler().fit(x)
    parts = {"train": (x, y), "validation": (x_validation, y_validation), "test": (x_test, y_test)}
    return {name: (scaler.transform(inputs), labels) for name, (inputs, labels) in parts.items()}


def train(splits: dict[str, Rows]) -> danlu.Fitted:
    """At most 60 epochs; stops when 8 in a row brought no smaller validation loss, and keeps the best weights."""
    return danlu.fit(
        nn.MLP((64, 64), 10, dropout=0.2),
        splits["train"],
        loss="categorical_cross_entropy",
        optimizer=optim.adam(1e-3),
        validation=splits["validation"],
        metrics=["accuracy"],
        epochs=60,
        patience=8,
        batch_size=32,
        display="none",
    )


def first_step(gradient: float, *, corrected: bool) -> float:
    """The length of Adam's first step at learning rate 1; with the bias corrections it is 1 for any gradient."""
    if corrected:
        optimizer = optim.adam(1.0)
        updates, _ = optimizer.update(jnp.float32(gradient), optimizer.init(jnp.float32(0)))
        return abs(float(updates))
    mean, square = (1 - 0.9) * gradient, (1 - 0.999) * gradient**2
    return float(mean / (np.sqrt(square) + 1e-8))


def main() -> None:
    """Train, and print the score on rows that took no part."""
    splits = make_splits()
    fitted = train(splits)
    print(nn.summary(fitted.model, (64,)))
    best = fitted.history[fitted.best_epoch or 0]
    print(f"best of {len(fitted.history)} epochs: {best['epoch'] + 1}, validation accuracy {best['val_accuracy']:.3f}")
    print(f"test accuracy {fitted.evaluate(splits['test'])['accuracy']:.3f}")
    print(f"Adam's first step: {first_step(0.01, corrected=True):.2f} learning rates;", end=" ")
    print(f"without the bias corrections {first_step(0.01, corrected=False):.2f}")


if __name__ == "__main__":
    main()
