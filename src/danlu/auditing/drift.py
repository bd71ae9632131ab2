"""Whether two files are of one kind: each column compared, and all of them by a classifier that tries to tell the files apart."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import polars as pl

from danlu.auditing.finding import Finding, numbers_in_words
from danlu.auditing.labels import out_of_fold
from danlu.auditing.leaks import left_out
from danlu.auditing.sheet import Sheet
from danlu.data import TableEncoder
from danlu.data.kinds import FREE, as_text
from danlu.evaluate import Rows, intervals
from danlu.evaluate.baselines import boosting_model
from danlu.evaluate.histograms import holm
from danlu.evaluate.intervals import figure
from danlu.evaluate.kept import stacked
from danlu.prose import percent

__all__ = ["Difference", "apart", "both_files", "differing", "drifted", "told_apart"]

_FAR = 0.1  # of a distance between distributions, from which a column has drifted
_FEWEST = 20  # rows of each file
_LEVEL = 0.01  # of all columns together
_FEW_VALUES = 10
_MOST = 20_000  # rows of each file


def both_files(sheet: Sheet, other: pl.DataFrame) -> Iterator[Finding]:
    """Rows of the other file that stand in the first one as well."""
    names = [name for name in sheet.inputs if name in other.columns]
    if len(names) < len(sheet.inputs) or not names:
        return
    one = sheet.frame.select(names)
    two = other.select(names).cast(one.schema, strict=False)
    known = set(one.hash_rows(seed=0).to_list())
    same = np.array([key in known for key in two.hash_rows(seed=0).to_list()])
    if not same.any():
        return
    numbers = (np.flatnonzero(same) + 1).tolist()
    share = float(same.mean())
    yield Finding(
        "rows in both files",
        "serious" if share >= 0.01 else "warning",
        f"{len(numbers):,} rows of the other file ({percent(share, 1)}) stand in the first as well: "
        f"{numbers_in_words(numbers)} of the other",
        (),
        tuple(numbers),
        {"rows": len(numbers), "share": round(share, 4)},
        "take them out of one file: a model has learnt their answers",
    )


def drifted(sheet: Sheet, other: pl.DataFrame) -> Iterator[Finding]:
    """Columns whose values are distributed otherwise in the other file: by how much, and corrected for the number of columns (Holm).

    The distance is Kolmogorov and Smirnov's of numbers and dates (the largest difference of their distribution functions), and half the
    sum of the differences of the shares of categories. It is compared with that of rows dealt to the files by chance. A column is named
    only where the distance is at least 0.1 more than chance gives: of many rows every difference is certain, and most do no harm.
    """
    names = [c.name for c in sheet.schema.columns if c.kind not in FREE and c.name in other.columns]
    for name in names:
        one, two = sheet.frame[name], other[name]
        gap = float(two.is_null().mean() or 0) - float(one.is_null().mean() or 0)  # type: ignore[arg-type]
        if abs(gap) >= _FAR:
            shares = [percent(float(each.is_null().mean() or 0)) for each in (one, two)]  # type: ignore[arg-type]
            yield Finding(
                "drift",
                "warning",
                f"column {name}: {shares[0]} of the values are missing in the first file, {shares[1]} in the other",
                (name,),
                evidence={"difference": round(gap, 4)},
                remedy="find out what changed; a model has not learnt what to do where it is missing",
            )
    for each in differing((sheet.frame[name], other[name]) for name in names):
        yield Finding(
            "drift",
            "warning",
            f"column {each.name} is distributed otherwise in the other file: {each.said}",
            (each.name,),
            evidence={"distance": round(each.far, 4), "by chance": each.chance},
            remedy="are its values written in the same way, and do they mean the same?"
            if each.name == sheet.target
            else f"train on rows like those it will meet, or leave it out: {left_out(each.name)}",
        )


@dataclasses.dataclass(frozen=True)
class Difference:
    """How differently a column is distributed in two files.

    Attributes:
        name: the column's.
        far: the distance of the distributions, less what chance gives.
        chance: how likely as much is by chance.
        said: both in words.
    """

    name: str
    far: float
    chance: float
    said: str


def differing(pairs: Iterable[tuple[pl.Series, pl.Series]]) -> list[Difference]:
    """The columns that surely differ by 0.1 at least, after Holm's correction for all of them; the surest first.

    Args:
        pairs: a column in one file and in the other. Numbers and dates of more than 10 values are compared by their distribution
            functions, others by the shares of their values.
    """
    found = []
    for one, two in pairs:
        numbers = one.dtype.is_numeric() or one.dtype.is_temporal()
        compare = _numbers if numbers and one.n_unique() > _FEW_VALUES else _levels
        found.append(Difference(one.name, *compare(one, two)))
    found.sort(key=lambda each: each.chance)
    corrected = holm([each.chance for each in found])
    return [each for each, chance in zip(found, corrected, strict=True) if chance <= _LEVEL and each.far >= _FAR]


def _numbers(one: pl.Series, two: pl.Series) -> tuple[float, float, str]:
    from scipy import stats

    a, b = (_finite(each) for each in (one, two))
    if len(a) < 5 or len(b) < 5:
        return 0.0, 1.0, ""
    found = stats.ks_2samp(a, b, method="asymp")
    middles = [float(np.median(each)) for each in (a, b)]
    shown = (
        [f"{np.datetime64(int(m), 'ms'):}"[:10] for m in middles]
        if one.dtype.is_temporal()
        else [figure(m) for m in middles]
    )
    # by chance the distance is about the root of the sum of 1 / rows
    less = 0.87 * np.sqrt(1 / len(a) + 1 / len(b))
    return (
        float(found.statistic - less),
        float(found.pvalue),
        f"median {shown[0]} before, {shown[1]} now (distance {figure(float(found.statistic), 2)})",
    )


def _finite(values: pl.Series) -> np.ndarray:
    """The numbers of a column, or the milliseconds of its dates, without gaps."""
    numbers = values.dt.timestamp("ms") if values.dtype.is_temporal() else values
    found = numbers.cast(pl.Float64, strict=False).drop_nulls().to_numpy()
    return found[np.isfinite(found)]


def _levels(one: pl.Series, two: pl.Series) -> tuple[float, float, str]:
    from scipy import stats

    a, b = as_text(one).drop_nulls(), as_text(two).drop_nulls()
    if len(a) < 5 or len(b) < 5:
        return 0.0, 1.0, ""
    counts = pl.DataFrame({"level": pl.concat([a.rename("level"), b.rename("level")])}).with_columns(
        pl.Series("file", np.repeat([0, 1], [len(a), len(b)]))
    )
    table = counts.group_by("level").agg(
        (pl.col("file") == 0).sum().alias("one"), (pl.col("file") == 1).sum().alias("two")
    )
    pairs = table.select("one", "two").to_numpy().T.astype(np.float64)
    if pairs.shape[1] < 2:
        return 0.0, 1.0, ""
    shares = pairs / pairs.sum(1, keepdims=True)
    far = 0.5 * float(np.abs(shares[0] - shares[1]).sum())
    pooled = pairs.sum(0) / pairs.sum()
    noise = 0.5 * float(np.sqrt(2 / np.pi * pooled * (1 - pooled) * (1 / len(a) + 1 / len(b))).sum())
    chance = float(stats.chi2_contingency(pairs, correction=False)[1])
    place = int(np.abs(shares[0] - shares[1]).argmax())
    level = table["level"][place]
    new = table.filter((pl.col("one") == 0) & (pl.col("two") > 0))
    said = f"{level} is {percent(shares[0][place])} of the rows before, {percent(shares[1][place])} now (distance {figure(far, 2)})"
    if new.height:
        said += f"; {new.height} new categor{'y' if new.height == 1 else 'ies'} ({', '.join(new['level'].head(3).to_list())})"
    return far - noise, chance, said


def told_apart(sheet: Sheet, other: pl.DataFrame) -> Iterator[Finding]:
    """Whether a classifier can tell the rows of the two files apart: ROC-AUC out of fold with its interval; 0.5 says that it cannot.

    Reference:
        Lopez-Paz and Oquab, "Revisiting classifier two-sample tests" (ICLR 2017).
    """
    names = [name for name in sheet.inputs if name in other.columns]
    if len(names) < len(sheet.inputs):
        return
    rng = np.random.default_rng(0)
    parts = []
    for frame in (sheet.frame.select(names), other.select(names)):
        chosen = np.sort(rng.permutation(frame.height)[:_MOST])
        parts.append(frame[chosen])
    encoder = TableEncoder.fit(parts[0], sheet.schema)
    both = [encoder.transform(part) for part in parts]
    x = np.concatenate([stacked(each) for each in both])
    y = np.repeat([0, 1], [len(parts[0]), len(parts[1])])
    known: Any = {name: np.concatenate([each[name] for each in both]) for name in both[0]}

    def predict(learnt: np.ndarray, asked: np.ndarray) -> np.ndarray:
        model = boosting_model("binary", known, max_iter=30, learning_rate=0.15, early_stopping=False)
        return np.asarray(model.fit(x[learnt], y[learnt]).predict_proba(x[asked]))

    yield from apart(y, lambda: out_of_fold(y, 2, predict))


def apart(
    file: np.ndarray, probabilities: Callable[[], np.ndarray], *, unit: str = "rows", by: Sequence[str] = ()
) -> Iterator[Finding]:
    """What a classifier's answers say of two files: its ROC-AUC with the interval, and what differs most.

    Args:
        file: 0 or 1 for each row.
        probabilities: gives those of the files out of fold, ``(rows, 2)``.
        unit: what rows are called.
        by: what differs, in words.
    """
    if min(np.bincount(file, minlength=2)) < _FEWEST:
        return
    auc = intervals(Rows(truth=file, prediction=probabilities(), task="binary"), ["roc_auc"])["roc_auc"]
    told = auc.low > 0.5 and auc.value >= 0.6
    yield Finding(
        "files told apart",
        "warning" if told and auc.value >= 0.7 else "note",
        f"a classifier tells the {unit} of the two files apart with ROC-AUC {auc}"
        + ("" if auc.low > 0.5 else ": not more than chance")
        + (f"; what differs: {'; '.join(by)}" if by and auc.low > 0.5 else ""),
        (),
        evidence={
            "roc_auc": round(auc.value, 4),
            "low": round(auc.low, 4),
            "high": round(auc.high, 4),
            "differs": list(by),
        },
        remedy="scores on the first file say little about the other" if told else "",
    )
