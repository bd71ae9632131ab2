"""Classes: how many rows each has, and rows whose label a model that did not learn from them contradicts."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import numpy as np

from danlu.auditing.confident import label_errors, overlap
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
_CERTAIN, _FLATLY = (
    0.1,
    0.6,
)  # probability of a label that is flatly contradicted; the share of those doubted that are to be
_LISTED, _LISTED_SHARE = 20, 0.05  # doubtful rows that are listed: so many, or this share of all

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


def table_probabilities(sheet: Sheet, *, without: Collection[str] = ()) -> np.ndarray:
    """Probabilities out of fold of a table's rows by gradient boosting, ``(rows, classes)``.

    Args:
        without: columns that are left out, such as a copy of the target, which would believe every label.
    """
    classes, truth = len(sheet.classes), sheet.truth
    columns = (dataclasses.replace(each, used=each.used and each.name not in without) for each in sheet.schema.columns)
    schema = dataclasses.replace(sheet.schema, columns=tuple(columns))
    inputs = TableEncoder.fit(sheet.frame, schema).transform(sheet.frame)
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
    without: Sequence[str] = (),
) -> Iterator[Finding]:
    """The rows whose label is probably wrong, the least believed first; see :func:`~danlu.auditing.label_errors`.

    It is a warning where the model is sure of nearly every row and contradicts a few flatly, more than overlap of the classes explains;
    see :func:`~danlu.auditing.confident.overlap`. Else it is a note, which says how many would be doubted without an error.

    Args:
        numbers: of the rows in the source.
        names: of the rows, such as files.
        without: what the model did not see, since it tells the target.
    """
    found = label_errors(labels, probabilities)
    belief, rows = found.belief, found.rows[: max(_LISTED, int(_LISTED_SHARE * len(labels)))]
    if not len(rows):
        return
    chance = overlap(labels, probabilities)
    flat = int((belief[found.rows] < _CERTAIN).sum())
    apart = chance.exceeded and flat >= 3 and flat > _FLATLY * len(found.rows)
    one, first = unit.rstrip("s"), rows[0]
    what = names[first] if names is not None else f"{one} {numbers[first]}"
    left = f", without {' and '.join(without[:3])}{', …' if len(without) > 3 else ''}," if without else ""
    begins = (
        f"{what}: the label is '{classes[labels[first]]}', the model says '{classes[found.suggested[first]]}' with "
        f"{percent(float(probabilities[first].max()))}; then {numbers_in_words(numbers[rows[1:]], one)}"
    )
    if apart:
        said = (
            f"{flat:,} {unit} ({percent(flat / len(labels), 1)}) have a {target} that a model of the other {unit}{left} flatly "
            f"contradicts, more than overlap of the classes explains (an estimate: {percent(chance.wrong, 1)} of all are wrong); first "
            f"{begins}"
        )
    else:
        said = (
            f"a model of the other {unit}{left} doubts the {target} of {len(found.rows):,} {unit} "
            f"({percent(len(found.rows) / len(labels), 1)}), and would doubt about {chance.doubted:,.0f} if none were wrong, since classes "
            f"overlap{'' if chance.exceeded else ': no sign of wrong labels'}; first {begins}"
        )
    yield Finding(
        "label errors",
        "warning" if apart else "note",
        said,
        (target,),
        tuple(int(n) for n in numbers[rows]),
        {
            "doubted": len(found.rows),
            "doubted if none were wrong": round(chance.doubted, 1),
            "flatly": flat,
            "wrong wherever they lie": round(chance.wrong, 4),
            "gain of log likelihood": round(chance.gain / 2, 2),
            "wrong by confident learning": round(found.share, 4),
            **({"without": list(without)} if without else {}),
            "belief": [round(float(belief[row]), 4) for row in rows],
            "suggested": [classes[int(found.suggested[row])] for row in rows],
            **({"names": [names[row] for row in rows]} if names is not None else {}),
        },
        "the rows are listed by doubt, the greatest first (--output audit.json): look at the first ones, and correct the file",
    )
