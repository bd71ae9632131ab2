"""Classes: how many rows each has, and rows whose label a model that did not learn from them contradicts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from danlu.auditing.confident import label_errors
from danlu.auditing.finding import Finding, numbers_in_words
from danlu.auditing.sheet import Sheet
from danlu.data import TableEncoder
from danlu.evaluate.baselines import boosting_model
from danlu.evaluate.kept import stacked
from danlu.evaluate.threads import spare_threads
from danlu.prose import percent
from danlu.stages import stage

__all__ = ["class_counts", "out_of_fold", "table_probabilities", "wrong_labels"]

FOLDS = 5
_FEW = 10  # rows of a class
_UNEVEN = 20
_ROWS, _LEAST_ROWS = 50_000, 2000  # from which each fold's model learns at most, and at least where there are as many
_WORK = 4e6  # the same times columns times classes
_LEARNERS: dict[str, Any] = {"learning_rate": 0.1, "max_iter": 80, "max_leaf_nodes": 31, "early_stopping": False}
_LISTED, _LISTED_SHARE = 20, 0.05  # doubtful rows that are listed: so many, or this share of all
_CERTAIN, _UNSURE = 0.1, 0.6  # probability of a label that is hardly to be believed, and of one that may be

Predict = Callable[[np.ndarray, np.ndarray], np.ndarray]


def class_counts(target: str, counts: np.ndarray, classes: Sequence[str], *, unit: str = "rows") -> Iterator[Finding]:
    """Classes of few rows, and classes of very different sizes.

    Args:
        counts: the rows of each class.
    """
    few = [place for place in np.argsort(counts, kind="stable") if counts[place] < _FEW]
    if few:
        shown = ", ".join(f"{classes[place]}: {counts[place]}" for place in few[:4]) + (", …" if len(few) > 4 else "")
        yield Finding(
            "class counts",
            "warning",
            f"{len(few)} class{'es' if len(few) > 1 else ''} of {target} with fewer than {_FEW} {unit} ({shown}): "
            "a part may have none, and its scores say little",
            (target,),
            evidence={classes[place]: int(counts[place]) for place in few},
            remedy="join classes that mean the same, or collect more of them; --folds 5 tests every row",
        )
    most, least = int(counts.max()), int(counts.min())
    if least >= _FEW and most > _UNEVEN * least:
        yield Finding(
            "class counts",
            "note",
            f"class {classes[int(counts.argmax())]} of {target} has {most:,} {unit} and class {classes[int(counts.argmin())]} {least:,}",
            (target,),
            evidence={name: int(count) for name, count in zip(classes, counts, strict=True)},
            remedy="accuracy says little here; imbalance.class_weight=balanced, or imbalance.threshold=f1 of two classes",
        )


def out_of_fold(
    labels: np.ndarray, classes: int, predict: Predict, *, seed: int = 0, most: int | None = None
) -> np.ndarray:
    """Each row's probabilities by a model that learnt from the other folds, ``(rows, classes)``.

    Args:
        labels: class codes, by which the rows are shared out among the folds.
        classes: how many.
        predict: ``(learnt, asked) ->`` the probabilities of the rows ``asked`` by a model of the rows ``learnt``.
        seed: decides the folds.
        most: the rows that each model learns from at most.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    fold = np.empty(len(labels), np.int64)
    fold[order] = np.arange(len(labels)) % FOLDS
    found = np.zeros((len(labels), classes))
    with spare_threads(), stage("probabilities out of fold", total=FOLDS, unit="folds") as step:
        for number in range(FOLDS):
            asked, learnt = np.flatnonzero(fold == number), np.flatnonzero(fold != number)
            if most is not None and len(learnt) > most:
                learnt = np.sort(rng.choice(learnt, most, replace=False))
            if len(asked):
                found[asked] = predict(learnt, asked)
            step.advance()
    return found


def table_probabilities(sheet: Sheet) -> np.ndarray:
    """Probabilities out of fold of a table's rows by gradient boosting, ``(rows, classes)``."""
    classes, truth = len(sheet.classes), sheet.truth
    inputs = TableEncoder.fit(sheet.frame, sheet.schema).transform(sheet.frame)
    x, y = stacked(inputs), np.asarray(truth)

    def predict(learnt: np.ndarray, asked: np.ndarray) -> np.ndarray:
        found = np.zeros((len(asked), classes))
        if len(np.unique(y[learnt])) < 2:
            found[:, y[learnt][0]] = 1
            return found
        model = boosting_model(sheet.task, inputs, **_LEARNERS).fit(x[learnt], y[learnt])
        found[:, model.classes_] = model.predict_proba(x[asked])
        return found

    most = int(max(_LEAST_ROWS, min(_ROWS, _WORK / max(x.shape[1] * classes, 1))))
    return out_of_fold(y, classes, predict, most=most)


def wrong_labels(
    target: str,
    labels: np.ndarray,
    probabilities: np.ndarray,
    classes: Sequence[str],
    numbers: np.ndarray,
    *,
    unit: str = "rows",
    names: Sequence[str] | None = None,
) -> Iterator[Finding]:
    """The rows whose label is probably wrong, the least believed first; see :func:`~danlu.auditing.label_errors`.

    It is a warning where the doubts stand apart: a model that is sure of nearly every row and contradicts a few flatly. Where the
    classes overlap, contradicted rows are no mistakes in themselves, and it is a note.

    Args:
        numbers: of the rows in the source.
        names: of the rows, such as files.
    """
    found = label_errors(labels, probabilities)
    belief, rows = found.belief, found.rows[: max(_LISTED, int(_LISTED_SHARE * len(labels)))]
    if not len(rows):
        return
    flat = int((belief[found.rows] < _CERTAIN).sum())
    unsure = int(((belief >= _CERTAIN) & (belief < _UNSURE)).sum())
    apart = flat >= 3 and flat > 1.5 * unsure
    first, count = rows[0], flat if apart else len(found.rows)
    what = names[first] if names is not None else f"{unit.rstrip('s')} {numbers[first]}"
    likely = percent(float(probabilities[first].max()))
    yield Finding(
        "label errors",
        "warning" if apart else "note",
        f"{count:,} {unit} ({percent(count / len(labels), 1)}) have a {target} that a model of the other {unit} "
        f"{'flatly contradicts' if apart else 'doubts'}, first {what}: the label is '{classes[labels[first]]}', the model says "
        f"'{classes[found.suggested[first]]}' with {likely}; then {numbers_in_words(numbers[rows[1:]], unit.rstrip('s'))}"
        + ("" if apart else ". Where classes overlap that is no mistake in itself"),
        (target,),
        tuple(int(n) for n in numbers[rows]),
        {
            "doubted": len(found.rows),
            "flatly": flat,
            "wrong by confident learning": round(found.share, 4),
            "belief": [round(float(belief[row]), 4) for row in rows],
            "suggested": [classes[int(found.suggested[row])] for row in rows],
            **({"names": [names[row] for row in rows]} if names is not None else {}),
        },
        "the rows are listed by doubt, the greatest first (--output audit.json): look at the first ones, and correct the file",
    )
