"""The training rows that moved an answer: what the answer would be without each of them."""

from __future__ import annotations

import numpy as np

from danlu.errors import ConfigError, DataError

__all__ = ["last_layer_influence"]

_MOST = 5000  # weights


def last_layer_influence(
    known: np.ndarray,
    outputs: np.ndarray,
    truth: np.ndarray,
    asked: np.ndarray,
    slopes: np.ndarray,
    *,
    rows: int | None = None,
    damping: float = 1e-2,
) -> np.ndarray:
    """How far a score moves when the last layer is trained again without a row: ``Δ_i ≈ (1/n) · ∇s · H₋ᵢ⁻¹ · ∇ℓ_i``.

    ``∇ℓ_i = g_i ⊗ φ_i`` is the gradient of a training row's loss by the last layer's weights and biases, with ``φ`` what that layer
    receives and a 1, and ``g = p − y``; ``∇s`` is the same of the score; ``H = (1/n) Σ A_i ⊗ φ_i φ_iᵀ + λ I`` is the Hessian in closed
    form, ``A = diag(p) − p pᵀ`` for classes and 1 for a quantity, and ``H₋ᵢ`` is it without the row. Of a quantity and a linear model that
    is what training again gives. What lies before the last layer is taken as it is, and the training as having come to its end: for a
    network whose training was stopped early, or which knows its rows by heart, it is a guess.

    Args:
        known: what the last layer receives of the training rows, ``(rows, features)``.
        outputs: its outputs for them, ``(rows, units)``: logits, or the value of a quantity with one unit.
        truth: class codes ``(rows,)`` as integers, or values ``(rows,)`` as floats, which mean the squared loss.
        asked: what it receives of the rows whose scores are explained, ``(asked, features)``.
        slopes: the gradient of each score by the outputs, ``(asked, units)``.
        rows: n, how many rows were learnt from, where ``known`` are only some of them.
        damping: λ as a share of the mean of the Hessian's diagonal, > 0: for directions that no row tells anything of.

    Returns:
        The change of each score if the row were left out, ``(asked, rows)``: below 0, the row pushed the score up.

    Raises:
        ConfigError: damping of 0 or less, or a layer of more than 5,000 weights.
        DataError: shapes that do not fit.

    Reference:
        Koh & Liang, "Understanding black-box predictions via influence functions" (2017), equation 2; without the row in the Hessian, one
        step of Newton's method, as Pregibon, "Logistic regression diagnostics" (1981).

    Example:
        >>> known, values = np.array([[0.0], [1.0], [2.0]]), np.array([0.0, 1.0, 5.0])
        >>> fitted = np.array([[-0.5], [2.0], [4.5]])  # the line of least squares
        >>> last_layer_influence(known, fitted, values, np.array([[2.0]]), np.ones((1, 1)), damping=1e-9).round(3).tolist()
        [[0.5, 0.5, -2.5]]
    """
    if damping <= 0:
        raise ConfigError(f"damping is {damping}; expected more than 0")
    known, outputs, asked, slopes = (np.asarray(each, np.float64) for each in (known, outputs, asked, slopes))
    truth = np.asarray(truth)
    count, units = (*outputs.shape, 0, 0)[:2]
    fits = known.ndim == asked.ndim == outputs.ndim == 2 and known.shape[1:] == asked.shape[1:]
    if not fits or len(known) != count or truth.shape != (count,) or slopes.shape != (len(asked), units) or not count:
        raise DataError(
            f"last_layer_influence received known {known.shape}, outputs {outputs.shape}, truth {truth.shape}, asked {asked.shape} and "
            f"slopes {slopes.shape}; expected (rows, features), (rows, units), (rows,), (asked, features) and (asked, units)"
        )
    if truth.dtype.kind == "f":
        rest, curve = outputs - truth[:, None], np.ones((count, 1, 1))
    else:
        p = np.exp(outputs - outputs.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        rest = p - np.eye(units)[truth]
        curve = p[:, :, None] * (np.eye(units) - p[:, None, :])  # (rows, units, units)
    phi, own = (np.concatenate([each, np.ones((len(each), 1))], axis=1) for each in (known, asked))
    width = phi.shape[1]
    if units * width > _MOST:
        raise ConfigError(
            f"the last layer has {units * width:,} weights, whose Hessian is too large; expected at most {_MOST:,}"
        )
    hessian = np.zeros((units, width, units, width))
    for a in range(units):
        for b in range(a, units):
            block = phi.T @ (phi * curve[:, a, b, None]) / count
            hessian[a, :, b], hessian[b, :, a] = block, block
    square = hessian.reshape(units * width, units * width)
    square += damping * max(np.trace(square) / len(square), 1e-12) * np.eye(len(square))
    n = rows or count
    inverse = np.linalg.inv(square)
    own_rows = inverse.reshape(units, width, units, width)  # (units, width, units, width)
    reach = np.einsum("rw,uwvx,rx->ruv", phi, own_rows, phi, optimize=True) / n  # (rows, units, units)
    left = np.linalg.solve(np.eye(units) - curve @ reach, rest[:, :, None])[:, :, 0]  # (rows, units)
    asking = (slopes[:, :, None] * own[:, None, :]).reshape(len(asked), -1)  # (asked, units · width)
    solved = (asking @ inverse).reshape(len(asked), units, width)
    # (asked, units, width)·(rows, units)·(rows, width): (asked, rows)
    return np.asarray(np.einsum("auw,ru,rw->ar", solved, left, phi, optimize=True) / n)
