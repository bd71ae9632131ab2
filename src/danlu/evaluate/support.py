"""How many rows a measure of classes rests on: those of the rarer class for a ROC-AUC, say."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from danlu.evaluate.rows import Rows

__all__ = ["balanced", "correlation", "hits", "mean_support", "positives", "positives_by_share", "ranking"]


def mean_support(counts: np.ndarray) -> float:
    """The effective number of rows behind a mean of K shares, given the rows of each share, where all are right.

    What ``n`` rows have not shown of it is ``1/n = √Σ 1/n_k² / K``.
    """
    return float(len(counts) / math.sqrt((np.maximum(counts, 1.0) ** -2.0).sum())) if len(counts) else 0.0


def balanced(rows: Rows) -> float:
    """The rows of each class."""
    known = _known(rows)
    return 0.0 if rows.task == "binary" and len(known) < 2 else mean_support(known)


def hits(rows: Rows, which: str) -> float:
    """The rows that precision, recall or F1 is a share of: of the second of two classes, or of the mean over all."""
    right, true, found = rows.class_weights(np.ones(len(rows)))
    counts = {"precision": found, "recall": true, "f1": true + found - right}[which]
    return float(counts[1]) if rows.task == "binary" else mean_support(counts[true + found > 0])


def ranking(rows: Rows) -> float:
    """The rows of the rarer side of each class."""
    counts = np.bincount(rows.truth, minlength=rows.classes)
    rarer = np.minimum(counts, len(rows) - counts)
    return float(rarer[1]) if rows.task == "binary" else mean_support(rarer[rarer > 0])


def positives(rows: Rows) -> float:
    """The rows of the second of two classes, or of each class."""
    return float((rows.truth == 1).sum()) if rows.task == "binary" else mean_support(_known(rows))


def positives_by_share(rows: Rows) -> float:
    """Where each class counts as it has rows: ``√Σ (n_k/n)² · 1/n_k² = √K/n``."""
    return len(rows) / math.sqrt(len(_known(rows)))


def correlation(rows: Rows) -> float:
    """The rows of the rarest class, between those that are true and those that are predicted: a row more moves it by the inverse."""
    _, true, found = rows.class_weights(np.ones(len(rows)))
    rarest = np.sqrt(np.maximum(true, 1.0) * np.maximum(found, 1.0))
    return float(rarest.min()) if rows.task == "binary" else mean_support(rarest[true > 0])


def _known(rows: Rows) -> np.ndarray:
    counts = np.bincount(rows.truth, minlength=rows.classes)
    return counts[counts > 0]
