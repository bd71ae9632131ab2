"""What a model of a table does in general, found on some of the rows that it learnt from."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from danlu.data.kinds import FREE
from danlu.errors import DataError
from danlu.evaluate import Importance, Rows, permutation_importance, related_columns
from danlu.explain import accumulated_effects, interactions, partial_dependence, surrogate_tree
from danlu.explained.answer import Explained
from danlu.explained.asked import Asked
from danlu.explained.changes import fitted_rows
from danlu.explained.overview import Curve, Overview
from danlu.explained.score import Score, answers_of, score_of
from danlu.explained.tables import many_rows, no_background
from danlu.stages import stage
from danlu.trained import Trained

__all__ = ["overview_of_table"]

_CURVES = 6  # columns
_DRAWN = 100  # rows whose curves are drawn
_TOGETHER = 5  # columns whose pairs are looked at
_PAIRED = 40  # rows on which that is done
_SHUFFLED = 500  # rows by which importance is measured where the run has none
_EXPLAINED = 150  # rows that are explained one by one, at most
_FEWEST = 20
_BESIDE = 20  # rows that each is compared with
_ANSWERED = 60_000  # rows that are answered for all of them


def overview_of_table(
    trained: Trained, asked: Asked, importance: Sequence[Importance], title: str, *, columns: Sequence[str] = ()
) -> Overview:
    """An overview of a model of a table.

    Args:
        asked: the class and the scale, and the background rows.
        importance: of the columns on test rows; empty where it is not known.
        title: of it.
        columns: whose curves and pairs are shown; none: the strongest.

    Raises:
        ConfigError: there is no background, or a class that there is not.
    """
    if asked.background is None or not asked.background.height:
        raise no_background()
    rows = fitted_rows(trained, asked.background)
    answers = answers_of(trained, trained.encoder.transform(rows))
    score, _ = score_of(trained, answers[:1], of=asked.of or _usual(trained, answers), scale=asked.scale)

    def scored(frame: pl.DataFrame) -> np.ndarray:
        return score.of(answers_of(trained, trained.encoder.transform(frame)))

    on = "the test rows of its run"
    if importance:
        on = f"{importance[0].rows:,} test rows"
    else:
        importance, on = _measured(trained, rows, answers, score, asked)
    notes: list[str] = []
    strongest = list(columns) or [name for each in importance for name in each.columns if len(each.columns) == 1]
    curves: list[Curve] = []
    texts = []
    with stage("dependence on columns"):
        for name in strongest:
            if len(curves) == _CURVES and not columns:
                break
            column = trained.encoder.schema[name]
            if column.kind in FREE or column.is_open:
                texts.append(name)
                continue
            try:
                curves.append(
                    Curve(
                        name,
                        partial_dependence(scored, rows, name, curves=_DRAWN),
                        accumulated_effects(scored, rows, name),
                    )
                )
            except DataError:  # of one value among these rows
                continue
    with stage("pairs of columns"):
        some = rows[np.linspace(0, rows.height - 1, min(rows.height, _PAIRED)).round().astype(int).tolist()]
        pairs = interactions(scored, some, strongest[:_TOGETHER]) if some.height >= 4 else ()
    if texts:
        notes.append(f"texts and columns of ever new levels have no curve: {', '.join(texts)}")
    left = [
        f"{each.dependence.points.left_out:,} of {each.column}" for each in curves if each.dependence.points.left_out
    ]
    if left:
        notes.append(f"rows of rarer levels are not in the curves: {', '.join(left)}")
    notes.append("curves and the tree say what the model does, not what changing a value would do in the world")
    return Overview(
        title=title,
        scored=score.name[0].lower() + score.name[1:],
        importance=tuple(importance),
        measured_on=on,
        curves=tuple(curves),
        pairs=pairs,
        surrogate=_tree(trained, rows, answers, asked.seed),
        rows=rows.height,
        noun=asked.compared_with,
        drawn=min(rows.height, _DRAWN),
        examples=_examples(trained, rows, score, asked),
        notes=tuple(notes),
    )


def _examples(trained: Trained, rows: pl.DataFrame, score: Score, asked: Asked) -> tuple[Explained, ...]:
    """Rows spread over all, explained one by one; fewer of a table of many columns."""
    each = 4 * _BESIDE * (len(trained.encoder.schema.features) + 1)  # two orders and their reverses
    count = min(rows.height, max(_FEWEST, min(_EXPLAINED, _ANSWERED // each)))
    places = np.linspace(0, rows.height - 1, count).round().astype(int).tolist()
    kept = "kept row" if asked.learnt else "row"
    names = tuple(f"{kept} {place + 1}" for place in places)
    of = dataclasses.replace(asked, of=score.label, exact=None, names=names)
    with stage("rows one by one"):
        return tuple(many_rows(trained, rows[places], of, compared=_BESIDE, evaluations=each))


def _usual(trained: Trained, answers: np.ndarray) -> str | None:
    """The class that is explained where none is named: of two the second, of several the one that is answered most."""
    if trained.task == "regression":
        return None
    classes = trained.head.target.classes
    if len(classes) == 2:
        return str(classes[1])
    return str(classes[int(np.bincount(trained.head.decide(answers), minlength=len(classes)).argmax())])


def _measured(
    trained: Trained, rows: pl.DataFrame, answers: np.ndarray, score: Score, asked: Asked
) -> tuple[tuple[Importance, ...], str]:
    """The importance where the run has none: by the true answers of rows of the user's own, or by how far answers move."""
    names = rows.columns
    how: dict[str, Any] = {"most": _SHUFFLED, "seed": asked.seed, "groups": related_columns(rows, names)}
    if asked.truth is not None and not asked.learnt and not asked.truth.null_count():
        target = trained.head.target
        true: Any = trained.head.evidence(answers, target.transform(asked.truth))
        found = permutation_importance(trained.answer_rows, rows, true, names, **how)
        return found, f"{min(rows.height, _SHUFFLED):,} {asked.compared_with}"
    own = score.of(answers)
    found = permutation_importance(
        lambda frame: score.of(answers_of(trained, trained.encoder.transform(frame))),
        rows,
        Rows("regression", own, own),
        names,
        **how,
    )
    return (
        found,
        f"{min(rows.height, _SHUFFLED):,} {asked.compared_with}, against the model's own answers, since no true ones are known",
    )


def _tree(trained: Trained, rows: pl.DataFrame, answers: np.ndarray, seed: int) -> Any:
    if trained.task == "regression":
        said = np.asarray(answers, np.float64)
    else:
        said = np.array(trained.head.target.classes)[trained.head.decide(answers)]
    try:
        return surrogate_tree(rows, said, seed=seed)
    except DataError:
        return None
