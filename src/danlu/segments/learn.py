"""From encoded rows to segments: the network, the number of segments, their centres, and what each is like."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import polars as pl

from danlu.data import TableEncoder
from danlu.segments.alone import without_segments
from danlu.segments.choose import alone, centres_of, choose, labels_by, split_centres
from danlu.segments.head import Segmenting
from danlu.segments.settings import SegmentSettings, SegmentsRecipe
from danlu.segments.words import described
from danlu.trained import Learned, Trained

__all__ = ["divided", "learn_segments", "means_of"]


def learn_segments(
    train: Any,
    validation: Any,
    *,
    rows: pl.DataFrame,
    checked: pl.DataFrame,
    target: pl.Series | None,
    encoder: TableEncoder,
    plan: SegmentsRecipe,
    settings: SegmentSettings,
    seed: int = 0,
    **how: Any,
) -> Learned:
    """Train the recipe's network, and divide the training rows.

    Args:
        train, validation: encoded rows; the second choose the best epoch.
        rows, checked: the same as they were read; by the second the precision of rules is told.
        target: of the training rows, which is only told.
        settings: the user's.
        seed: decides every random draw.
        **how: for :func:`danlu.fit`.
    """
    nothing = Segmenting(
        ("none",), "", False, np.zeros((1, 1)), 1.0, np.zeros((2, 1)), np.zeros((1, 2, 1, 1)), np.zeros((1, 3))
    )
    learned = plan.learn(
        (train, np.zeros(rows.height, np.float32)),
        encoder=encoder,
        head=nothing,
        rows=rows.height,
        validation=(validation, np.zeros(checked.height, np.float32)),
        seed=seed,
        **how,
    )
    model: Trained = learned.model
    codes = np.asarray(model.outputs(train), np.float64)
    without = without_segments(encoder, train)
    choice = choose(
        codes,
        most=settings.most,
        k=settings.k or 0,
        seed=seed,
        cloud=lambda rng, count: np.asarray(model.outputs(without(rng, count)), np.float64),
    )
    centres, spread, labels = divided(codes, choice.k, seed)
    network: Any = model.network
    flat = np.asarray(network.flat(train), np.float64)
    told = described(
        encoder,
        rows,
        labels,
        checked,
        labels_by(centres, np.asarray(model.outputs(validation), np.float64)),
        target=target,
        seed=seed,
    )
    head = Segmenting(
        tuple(each.said for each in told),
        choice.said,
        choice.clear,
        centres,
        spread,
        means_of(flat, labels, choice.k),
        split_centres(codes, choice.k, seed=seed),
        np.array([choice.tried, choice.strength, np.nan_to_num(choice.chance, nan=-1.0)], np.float64).T,
    )
    notes = (*learned.notes, choice.said, *head.words, *(each.ruled for each in told if each.rule))
    return dataclasses.replace(learned, model=dataclasses.replace(model, head=head), notes=notes)


def divided(codes: np.ndarray, k: int, seed: int) -> tuple[np.ndarray, float, np.ndarray]:
    """The centres of ``k`` segments, the spread of a code within them, and the segment of each row."""
    with alone():
        centres = centres_of(codes, k, seed=seed)
    labels = labels_by(centres, codes)
    return centres, float(np.sqrt(np.square(codes - centres[labels]).mean())) or 1.0, labels


def means_of(flat: np.ndarray, labels: np.ndarray, k: int) -> np.ndarray:
    """The mean of each segment's rows, and then of all, ``(k + 1, places)``."""
    return np.stack([*(flat[labels == each].mean(axis=0) for each in range(k)), flat.mean(axis=0)])
