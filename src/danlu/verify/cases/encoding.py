"""Data on its way to the network: scaled numbers, codes, windows, splits, resampling; against scikit-learn and plain loops."""

from __future__ import annotations

from statistics import NormalDist
from typing import Any

import numpy as np

from danlu.data.levels import LevelCoder
from danlu.data.resample import oversample, undersample
from danlu.data.scaling import NumericScaler
from danlu.data.series.encode import SeriesEncoder
from danlu.data.series.read import Columns, OneSeries, SeriesTable
from danlu.data.series.windows import cut_by_time
from danlu.data.split import folds, split_rows
from danlu.verify.case import Check, case
from danlu.verify.oracles import draw

__all__: list[str] = []


@case("data.numbers")
def numbers(check: Check) -> None:
    """Scaled by the training rows' own statistics; gaps take their median, and a column of their own says so."""
    x = 4 + 3 * draw(200, 3)
    x[::9, 1] = np.nan
    scaler = NumericScaler.fit(x)
    theirs: Any = check.module("sklearn.preprocessing").StandardScaler().fit(x)  # type: ignore[union-attr]
    filled = np.where(np.isnan(x), np.nanmedian(x, axis=0), x)
    expected = (filled - np.nanmean(x, axis=0)) / np.nanstd(x, axis=0)
    received = scaler.transform(x)
    check(received[:, :3], expected, floor=0.1)
    check(received[:, 3], np.isnan(x[:, 1]))
    check(received[:, 0], theirs.transform(x)[:, 0], oracle="sklearn", floor=0.1)
    other = 10 * draw(20, 3, seed=1)  # of other rows, by the training rows' statistics
    check(scaler.transform(other)[:, :3], (other - np.nanmean(x, axis=0)) / np.nanstd(x, axis=0), floor=0.1)
    robust = NumericScaler.fit(filled, scaling="robust")
    first, middle, third = np.quantile(filled, [0.25, 0.5, 0.75], axis=0)
    u = (filled - middle) / (third - first)
    check(robust.transform(filled), u / np.sqrt(1 + (u / 3) ** 2), floor=0.1)
    tied = filled[:, 0].round()
    ranks = NumericScaler.fit(tied[:, None], scaling="quantile")
    shares = [(tied < value).mean() + (tied == value).mean() / 2 for value in tied]
    check(ranks.transform(tied[:, None])[:, 0], [NormalDist().inv_cdf(share) for share in shares], floor=0.1)


@case("data.levels")
def levels(check: Check) -> None:
    """Rare and unknown levels are 0, known ones count from 1, a gap has the last code."""
    import polars as pl

    values = pl.Series(["b"] * 5 + ["a"] * 4 + ["c"] * 2 + [None] * 3)
    coder = LevelCoder.fit(values, min_count=3)
    check(coder.transform(pl.Series(["a", "b", "c", "never", None])), [1, 2, 0, 0, 3], oracle="closed form")
    check(LevelCoder.fit(values.drop_nulls()).transform(pl.Series([None, "b"])), [0, 2], oracle="closed form")
    check(
        LevelCoder.fit(values, max_levels=1, min_count=1).transform(pl.Series(["a", "b"])), [0, 1], oracle="closed form"
    )


@case("data.splits")
def splits(check: Check) -> None:
    """Each row in one part, each class in its share; the last moments are the test; each row tested in one fold."""
    import polars as pl

    y = np.repeat([0, 1, 2], [50, 30, 20])
    frame = pl.DataFrame({"y": y, "when": np.random.default_rng(0).permutation(100), "who": np.arange(100) // 4})
    split = split_rows(frame, method="stratified", target="y", validation=0.2, test=0.3)
    check(np.sort(np.concatenate([split.train, split.validation, split.test])), np.arange(100), oracle="closed form")
    check([len(split.train), len(split.validation), len(split.test)], [50, 20, 30], oracle="closed form")
    for part in (split.train, split.validation, split.test):
        off = np.abs(np.bincount(y[part]) - len(part) * np.array([0.5, 0.3, 0.2])).max()
        check(off <= 1, True, oracle="closed form")
    timed, when = split_rows(frame, method="time", column="when", validation=0.2, test=0.3), frame["when"].to_numpy()
    check(np.sort(when[timed.test]), np.arange(70, 100), oracle="closed form")
    check(np.sort(when[timed.validation]), np.arange(50, 70), oracle="closed form")
    grouped, who = split_rows(frame, method="group", column="who"), frame["who"].to_numpy()
    parts = [set(who[part].tolist()) for part in (grouped.train, grouped.validation, grouped.test)]
    check(sum(map(len, parts)), 25, oracle="closed form")
    check([len(part) for part in parts], [16, 4, 5], oracle="closed form")
    tests = np.concatenate([fold.test for fold in folds(frame, 4, target="y")])
    check(np.sort(tests), np.arange(100), oracle="closed form")


@case("data.resampling")
def resampling(check: Check) -> None:
    """As many of each class; over-sampled rows come equally often, give or take one; under-sampled ones once."""
    labels = np.repeat([0, 1, 2], [12, 5, 3])
    over, under = oversample(labels, 0), undersample(labels, 0)
    check(np.bincount(labels[over]), [12, 12, 12], oracle="closed form")
    check(np.bincount(labels[under]), [3, 3, 3], oracle="closed form")
    counts = np.bincount(over, minlength=20)
    check([counts[:12].max(), counts[12:17].min(), counts[17:].min()], [1, 2, 4], oracle="closed form")
    check(np.bincount(under).max(), 1, oracle="closed form")
    check((over == np.sort(over)).all(), False, oracle="closed form")  # shuffled


@case("data.windows")
def windows(check: Check) -> None:
    """A window's target begins after its context, never reaches into the next part, and none was filled in."""
    filled = np.arange(30) == 17
    values = (np.arange(30, dtype=np.float32)[:, None] + np.array([[0.0, 100.0]], np.float32),)
    nothing: Any = None  # a calendar, which none of this asks for
    one = OneSeries("a", 0, values[0].astype(float), filled, 30)
    table = SeriesTable(Columns(("y",), "t", observed=("z",)), nothing, (one,))
    check(cut_by_time(table, 0.2, 0.1), (21, 27), oracle="closed form")
    plain = SeriesEncoder(table.columns, nothing, ("a",), np.zeros((1, 2)), np.ones((1, 2)), 4, 3)
    found = plain.windows(table, 10, 24)
    origins = [o for o in range(10, 22) if not filled[o : o + 3].any()]
    check(found.index[:, 1], origins, oracle="closed form")
    past, future = found.arrays()
    check(past[..., 0], [[o - 4, o - 3, o - 2, o - 1] for o in origins], oracle="closed form")
    check(past[..., 1] - past[..., 0], np.full((len(origins), 4), 100.0), oracle="closed form")
    check(future[..., 0], [[o, o + 1, o + 2] for o in origins], oracle="closed form")
    encoder = SeriesEncoder.fit(table, 20, context=4, horizon=3)
    train = values[0][:20].astype(float)
    expected = (values[0] - train.mean(0)) / train.std(0)
    found = encoder.windows(table)
    check(found.values[0], expected, floor=0.1)
    back = found.take(np.array([0])).inverse(expected[None, :, :1])
    check(back[0], values[0][:, :1])
