"""Two linear layers trained with validation: what they learn is one linear map, and it is the least-squares one.

``ŷ = (x·W₁ + b₁)·W₂ + b₂ = x·(W₁·W₂) + (b₁·W₂ + b₂)``: without an activation between them two layers are a product of matrices. The
loss is the mean squared error, whose gradient passes through the layers in reverse, with ``δ = 2·(ŷ − y)/m``::

    ∂L/∂W₂ = hᵀ·δ        ∂L/∂W₁ = xᵀ·(δ·W₂ᵀ)        where h = x·W₁ + b₁

What articles get wrong: their split of the data assigns slices of ``x`` to ``y`` (``y_train = x[:80]``), so the network learns to copy its
input and the validation loss means nothing; the split is not shuffled, though the rows are sorted; and the epoch that is kept is
the last, not the one with the smallest validation loss. Here the same row numbers index both arrays.
"""

from __future__ import annotations

import numpy as np

import danlu
from danlu import nn, optim

Rows = tuple[np.ndarray, np.ndarray]


def make_rows(rows: int = 400) -> Rows:
    """Inputs ``(rows, 3)`` and noisy values ``(rows,)`` of a linear function, sorted by the first input."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, 3)).astype(np.float32)
    x = x[np.argsort(x[:, 0])]
    y = x @ np.array([1.5, -2.0, 0.5]) + 4 + rng.normal(scale=0.3, size=rows)
    return x, y.astype(np.float32)


def split(x: np.ndarray, y: np.ndarray, *, share: float = 0.25) -> tuple[Rows, Rows]:
    """Training and validation rows: shuffled row numbers, used for ``x`` and ``y`` alike."""
    order = np.random.default_rng(1).permutation(len(y))
    cut = round(len(y) * (1 - share))
    train, validation = order[:cut], order[cut:]
    return (x[train], y[train]), (x[validation], y[validation])


def fit_two_layers(train: Rows, validation: Rows) -> danlu.Fitted:
    """Up to 200 epochs; the weights of the epoch with the smallest validation loss are kept."""
    return danlu.fit(
        nn.Sequential((nn.Dense(8), nn.Dense(1))),
        train,
        loss="mse",
        optimizer=optim.momentum(0.01),
        validation=validation,
        epochs=200,
        patience=20,
        batch_size=50,
        display="none",
    )


def collapsed(params: tuple[dict[str, np.ndarray], ...]) -> np.ndarray:
    """The one linear map that the two layers are: three coefficients and the constant."""
    first, last = params
    kernel = np.asarray(first["kernel"] @ last["kernel"])[:, 0]
    return np.append(kernel, np.asarray(first["bias"] @ last["kernel"] + last["bias"]))


def least_squares(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The same four numbers in closed form."""
    return np.linalg.lstsq(np.column_stack([x, np.ones(len(x))]), y, rcond=None)[0]


def main() -> None:
    """Train, and compare with the closed form."""
    train, validation = split(*make_rows())
    fitted = fit_two_layers(train, validation)
    best = fitted.history[fitted.best_epoch or 0]
    print(f"best of {len(fitted.history)} epochs: {best['epoch'] + 1}", end=", ")
    print(f"loss {best['loss']:.4f}, validation loss {best['val_loss']:.4f}")
    with np.printoptions(precision=4, suppress=True):
        print("two layers   ", collapsed(fitted.params))
        print("least squares", least_squares(*train))


if __name__ == "__main__":
    main()
