"""Columns that tell the target because they come from it."""

from __future__ import annotations

import itertools
import json
import shlex
from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl

from danlu.auditing.finding import Finding
from danlu.auditing.sheet import Sheet
from danlu.evaluate.intervals import figure
from danlu.prose import percent

__all__ = ["combinations", "copies_of_target", "left_out", "texts_with_target"]

_ALL = 0.95  # of the target that a column tells which comes from it
_NEARLY = 0.995  # of it, above which no honest column is expected where values do not repeat
_EXACT, _FOLDS = 0.97, 5  # of a combination of columns; parts in which it is tried
_LEVELS = 20
_TREE = 10_000  # rows from which it is seen what columns tell together
_MOST_COLUMNS = 400
_KNOWN = "if it is not known at the time of predicting"


def copies_of_target(sheet: Sheet) -> Iterator[Finding]:
    """Columns that alone tell the target: a copy, a one-to-one or monotone function, or one with some noise; or its classes or bands."""
    settled = []
    for column in sheet.schema.columns[:_MOST_COLUMNS]:
        name = column.name
        if name == sheet.target or column.distinct < 2 or column.reason == "you left it out":
            continue
        codes = sheet.codes(name)
        share = sheet.told_by(codes)
        if share < _ALL and sheet.task == "regression" and sheet.frame[name].dtype.is_numeric():
            share = max(share, _monotone(codes, sheet.truth))
        if share >= _ALL and column.missing and sheet.told_by((codes > 0).astype(np.int64)) >= 0.9:
            continue  # its gaps tell it; see missing_tells
        if share >= _ALL and column.kind == "identifier" and not column.used:
            yield Finding(
                "rows sorted by target",
                "note",
                f"the rows are sorted by {sheet.target}: column {name}, which names them and is not seen by the model, tells "
                f"{percent(share)} of it",
                (name,),
                evidence={"told": round(share, 4)},
                remedy="rows are drawn at random for the parts, unless split.method says otherwise: no harm, if it is no accident",
            )
        elif share >= _ALL:
            yield _copy(sheet, name, codes, share)
        elif _follows(sheet, name, codes) and sheet.classes:
            settled.append(name)
        elif _follows(sheet, name, codes):
            yield Finding(
                "target copied",
                "serious",
                f"column {name} is made from {sheet.target}: {_bands(sheet, codes)}",
                (name,),
                evidence={"told": round(share, 4)},
                remedy=f"leave it out {_KNOWN}: {left_out(name)}",
            )
    if settled:
        yield Finding(
            "column settled by target",
            "note",
            f"all rows of a class of {sheet.target} have the same {' and the same '.join(settled[:4])}",
            tuple(settled),
            remedy=f"were the classes made from {'it' if len(settled) == 1 else 'them'}, or the other way round?",
        )


def _copy(sheet: Sheet, name: str, codes: np.ndarray, share: float) -> Finding:
    """What such a column is said to be. That values stand with one answer only is no evidence where they hardly ever repeat."""
    truth: Any = sheet.truth
    wrong, how = np.zeros(len(codes), bool), ""
    repeats = 2 * len(np.unique(codes)) <= len(codes)
    if sheet.classes and repeats:
        table = np.zeros((int(codes.max()) + 1, len(sheet.classes)), np.int64)
        np.add.at(table, (codes, truth), 1)
        wrong = table.argmax(1)[codes] != truth
        how = f"it errs in {wrong.sum():,} rows" if wrong.any() else "each of its values stands with one class only"
    elif not sheet.classes:
        ranks = pl.Series(truth).rank("dense").to_numpy()
        pairs = len(np.unique(codes * (int(ranks.max()) + 1) + ranks))
        if repeats and pairs == len(np.unique(ranks)) == len(np.unique(codes)):
            how = "each of its values stands with one value of it only"
        elif _monotone(codes, truth) > 1 - 1e-9:
            how = "both have the same order"
    exact = bool(how) and not wrong.any()
    measure = how or ("on rows that were not looked at" if sheet.classes else "R² of its ranks")
    clear = exact or share >= _NEARLY or (sheet.classes and repeats)
    told = how if exact else f"{percent(share, 1)} ({measure})"
    return Finding(
        "target copied",
        "serious" if clear else "warning",
        f"column {name} alone tells {sheet.target}: {told}" + ("" if clear else "; a good column may do so as well"),
        (name,),
        sheet.rows(wrong) if 0 < wrong.sum() <= 0.05 * len(codes) else (),
        {"told": round(share, 4), "exact": exact},
        f"leave it out {_KNOWN}: {left_out(name)}",
    )


def _monotone(codes: np.ndarray, truth: np.ndarray | None) -> float:
    """The squared rank correlation with the target."""
    x, y = codes.astype(np.float64), pl.Series(truth).rank("average").to_numpy()
    x = pl.Series(x).rank("average").to_numpy()
    return float(np.corrcoef(x, y)[0, 1] ** 2) if len(x) >= 30 and x.std() and y.std() else 0.0


def _follows(sheet: Sheet, name: str, codes: np.ndarray) -> bool:
    """Whether a column of a few levels is a function of the target: bands of a quantity, or groups of several classes."""
    levels, truth = np.unique(codes), sheet.truth
    if truth is None or not 2 <= len(levels) <= _LEVELS or len(codes) < 30:
        return False
    if sheet.classes:
        pairs = np.unique(codes * len(sheet.classes) + truth)
        return len(sheet.classes) > 2 and len(pairs) == len(np.unique(truth))
    bounds = []
    for level in levels:
        own = truth[codes == level]
        if len(own) < 3:
            return False
        bounds.append((own.min(), own.max()))
    bounds.sort()
    return all(low[1] <= high[0] for low, high in itertools.pairwise(bounds)) and len(np.unique(truth)) > 2 * len(
        levels
    )


def _bands(sheet: Sheet, codes: np.ndarray) -> str:
    edges = sorted(float(np.max(sheet.truth[codes == level])) for level in np.unique(codes))  # type: ignore[index]
    return f"its values divide {sheet.target} into bands (at {', '.join(figure(edge) for edge in edges[:-1][:4])})"


def combinations(sheet: Sheet) -> Iterator[Finding]:
    """Columns that together tell all of the target: a sum or a product of a quantity, a few questions of classes."""
    names = [c.name for c in sheet.schema.features][:_MOST_COLUMNS]
    if len(names) < 2 or len(sheet.sample) < 60 or sheet.truth is None:
        return
    found = _tree(sheet, names) if sheet.classes else _linear(sheet, names)
    if found is None:
        return
    columns, share, how = found
    if not 2 <= len(columns) <= 6:
        return
    yield Finding(
        "target from columns",
        "warning",
        f"columns {' and '.join(columns)} together tell {sheet.target}: {percent(share, 1)} ({how})",
        tuple(columns),
        evidence={"told": round(share, 4), "how": how},
        remedy=f"leave one out {_KNOWN}: {left_out(*columns)}",
    )


def _tree(sheet: Sheet, names: list[str]) -> tuple[list[str], float, str] | None:
    from sklearn.tree import DecisionTreeClassifier

    rows, truth = sheet.sample[:_TREE], sheet.truth
    y = truth[rows]  # type: ignore[index]
    x = np.column_stack([sheet.codes(name)[rows] for name in names]).astype(np.float32)
    right, importance = np.zeros(len(rows), bool), np.zeros(len(names))
    fold = np.random.default_rng(3).permutation(len(rows)) % _FOLDS
    for part in range(_FOLDS):
        asked = fold == part
        tree = DecisionTreeClassifier(max_depth=4, random_state=0).fit(x[~asked], y[~asked])
        right[asked] = tree.predict(x[asked]) == y[asked]
        importance += tree.feature_importances_ / _FOLDS
    base = 1 - np.bincount(y).max() / len(y)
    share = 1 - float(np.mean(~right)) / base
    if share < _EXACT:
        return None
    order = np.argsort(-importance)
    return (
        [names[j] for j in order if importance[j] > 0.02],
        share,
        "a tree of four questions, rows it did not learn from",
    )


def _linear(sheet: Sheet, names: list[str]) -> tuple[list[str], float, str] | None:
    rows, truth = sheet.sample[:_TREE], sheet.truth
    y = truth[rows].astype(np.float64)  # type: ignore[index]
    numeric = [name for name in names if sheet.frame[name].dtype.is_numeric() and not sheet.frame[name].null_count()]
    if len(numeric) < 2:
        return None
    x = np.column_stack([sheet.frame[name].cast(pl.Float64).to_numpy()[rows] for name in numeric])
    if not np.isfinite(x).all():
        return None
    forms = [("a sum with factors", x, y)]
    positive = np.all(x > 0, axis=0)
    if (y > 0).all() and positive.sum() >= 2:
        forms.append(("a product", np.log(x[:, positive]), np.log(y)))
    for how, inputs, wanted in forms:
        own = numeric if inputs.shape[1] == len(numeric) else [n for n, p in zip(numeric, positive, strict=True) if p]
        inputs = (inputs - inputs.mean(0)) / np.maximum(inputs.std(0), 1e-12)
        if _r2(inputs, wanted, sheet.half[:_TREE]) < 0.999:
            continue
        chosen: list[int] = []
        while len(chosen) < 6:  # the fewest columns, chosen one after the other
            tries = [
                (_r2(inputs[:, [*chosen, j]], wanted, sheet.half[:_TREE]), j)
                for j in range(len(own))
                if j not in chosen
            ]
            best, j = max(tries)
            chosen.append(j)
            if best >= 0.999:
                return [own[j] for j in chosen], best, f"{how}, R² on rows it was not fitted to"
            if len(chosen) == len(own):
                break
    return None


def _r2(x: np.ndarray, y: np.ndarray, half: np.ndarray) -> float:
    """R² of a linear fit, in each half of the rows of the fit to the other."""
    whole, errors = np.column_stack([x, np.ones(len(x))]), np.zeros(len(y))
    for part in (0, 1):
        slopes = np.linalg.lstsq(whole[half == part], y[half == part], rcond=None)[0]
        errors[half != part] = y[half != part] - whole[half != part] @ slopes
    return float(1 - np.mean(errors**2) / y.var()) if y.var() > 0 else 0.0


def texts_with_target(sheet: Sheet, told: set[str]) -> Iterator[Finding]:
    """Columns of texts in which the name of a row's class stands.

    Args:
        told: columns that tell the target by their values.
    """
    if not sheet.classes or sheet.truth is None:
        return
    words = {place: name.strip().lower() for place, name in enumerate(sheet.classes) if len(name.strip()) > 2}
    if len(words) < len(sheet.classes) - 1:
        return
    for column in sheet.schema.columns:
        values = sheet.frame[column.name]
        if column.name in (sheet.target, *told) or values.dtype != pl.String or column.distinct < 20:
            continue
        lower = values.str.to_lowercase()
        found, named = np.zeros(len(values), np.int64), np.zeros(len(values), bool)
        for place in sorted(
            words, key=lambda each: len(words[each])
        ):  # the longer of two that contain each other decides
            has = lower.str.contains(words[place], literal=True).fill_null(value=False).to_numpy()
            found[has], named[has] = place + 1, True
        if len(np.unique(found)) < 2 or named.mean() < 0.05:
            continue
        share = sheet.told_by(found)
        if share >= 0.8:
            yield Finding(
                "target in text",
                "serious",
                f"column {column.name} names the class of {sheet.target} in {named.sum():,} of {len(values):,} texts, "
                f"and so tells {percent(share)} of it",
                (column.name,),
                sheet.rows(named),
                {"told": round(share, 4)},
                f"leave it out, or take the words out: {left_out(column.name)}",
            )


def left_out(*names: str) -> str:
    """The setting that leaves columns out, as it is typed in a shell.

    >>> left_out("boat", "body"), left_out("days since")
    ('data.drop=boat,body', "data.drop='days since'")
    """
    text = json.dumps(names, ensure_ascii=False) if any("," in name for name in names) else ",".join(names)
    return f"data.drop={shlex.quote(text)}"
