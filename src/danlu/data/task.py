"""The task of a target column: regression, or classification into two or more classes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import polars as pl

from danlu.data.infer import canonical, natural_key
from danlu.data.kinds import as_text
from danlu.data.spelling import close_labels
from danlu.errors import ConfigError, DataError

__all__ = ["TASKS", "TASK_WORDS", "InferredTask", "drop_missing_target", "has_target", "infer_task"]

TASKS = ("regression", "binary", "multiclass")
TASK_WORDS = {"regression": "regression", "binary": "binary classification", "multiclass": "classification"}
"""What the tasks are called in a sentence."""
_MAX_INTEGER_CLASSES = 20
_MAX_CLASSES = 1000


@dataclasses.dataclass(frozen=True)
class InferredTask:
    """A task, why it was chosen, and its classes (as text, in order; empty for regression)."""

    task: str
    reason: str
    classes: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.task}: {self.reason}"


def infer_task(target: pl.Series, *, task: str | None = None) -> InferredTask:
    """The task of a target, with the reason in words.

    Texts and truth values are classes. Whole numbers are classes when there are at most 20 different ones, next to
    each other, each with five rows on average; other numbers are measured quantities, unless there are only two
    different ones.

    Args:
        target: the target column; missing values are left out.
        task: the task the user wants; it is checked and kept.

    Raises:
        DataError: nothing can be learnt: no values, one value only, texts that (almost) never come twice, dates.
        ConfigError: an unknown task.

    Example:
        >>> print(infer_task(pl.Series("y", ["a", "b", "a"])))
        binary: y has 2 different values: a, b
    """
    if task is not None and task not in TASKS:
        raise ConfigError(f"unknown task {task!r}; expected one of: {', '.join(TASKS)}")
    name = target.name or "the target"
    target = canonical(pl.DataFrame([target.rename(name)]), source="the target")[name]
    present = target.drop_nulls()
    if present.dtype == pl.String:
        present = present.filter(present.str.strip_chars() != "")
    rows, distinct = len(present), present.n_unique()
    if rows == 0:
        raise DataError(f"the target {name!r} has no values", hint="give another column as the target")
    if distinct == 1:
        raise DataError(
            f"the target {name!r} has the same value in every row: {as_text(present.head(1))[0]!r}",
            hint="a constant cannot be learnt; give data with at least two classes or values, or another column as the target",
        )
    if present.dtype.is_temporal():
        raise DataError(
            f"the target {name!r} is a date-time; expected numbers or classes",
            hint="turn it into a number first, such as the days since a fixed date",
        )
    numeric = present.dtype.is_numeric()
    if task == "regression":
        if not numeric and present.dtype != pl.Boolean:
            shown = ", ".join(repr(v) for v in present.unique(maintain_order=True).head(3))
            raise DataError(
                f"the target {name!r} holds texts ({shown}); regression needs numbers",
                hint="say data.task=multiclass (in Python task='multiclass')",
            )
        return InferredTask("regression", "as you said")
    if task is None and numeric:
        reason = _why_regression(present, name, rows, distinct)
        if reason is not None:
            return InferredTask("regression", reason)
    return _classification(as_text(present), name, rows, distinct, task, numeric)


def _why_regression(present: pl.Series, name: str, rows: int, distinct: int) -> str | None:
    values = present.cast(pl.Float64)
    if not values.is_finite().all():
        raise DataError(f"the target {name!r} holds infinite values", hint="repair or drop those rows")
    if distinct == 2:
        return None
    if not (values == values.round()).all():
        return f"{name} holds {distinct} different numbers with decimals"
    span = float(values.max()) - float(values.min()) + 1  # type: ignore[arg-type]
    if distinct > _MAX_INTEGER_CLASSES:
        return f"{name} holds {distinct} different whole numbers"
    if span > 2 * distinct:
        return f"the {distinct} whole numbers of {name} lie far apart"
    if rows < 5 * distinct:
        return f"{name} holds {distinct} different whole numbers in only {rows} rows"
    return None


def _classification(
    labels: pl.Series, name: str, rows: int, distinct: int, task: str | None, numeric: bool
) -> InferredTask:
    counts = labels.value_counts(name="rows")
    if distinct > _MAX_CLASSES or (distinct > 20 and distinct > 0.5 * rows):
        raise DataError(
            f"the target {name!r} has {distinct:,} different values in {rows:,} rows; too many to be classes",
            hint="is it an identifier or a text? Give another column as the target"
            + (", or task='regression'" if numeric else ""),
        )
    if int(counts["rows"].max()) == 1:  # type: ignore[arg-type]
        raise DataError(
            f"the target {name!r} has {distinct} classes and one row of each",
            hint="classification needs several rows of a class",
        )
    if task == "binary" and distinct != 2:
        raise DataError(
            f"the target {name!r} has {distinct} classes; a binary task has two",
            hint="say data.task=multiclass (in Python task='multiclass')",
        )
    classes = tuple(sorted(counts[labels.name].to_list(), key=natural_key))
    if numeric:
        classes = tuple(sorted(classes, key=float))
    single = sorted(counts.filter(pl.col("rows") == 1)[labels.name].to_list(), key=natural_key)
    notices = [*close_labels(classes)]
    if single:
        notices.append(f"{len(single)} classes of {name} have one row only: {', '.join(single[:5])}")
    shown = ", ".join(classes[:8]) + (", …" if distinct > 8 else "")
    reason = f"{name} has {distinct} different values: {shown}"
    if numeric and distinct > 2:
        reason = (
            f"{name} holds few different whole numbers ({shown}), each in many rows; "
            "say task='regression' if they are a quantity"
        )
    found = "binary" if distinct == 2 and task != "multiclass" else "multiclass"
    return InferredTask(found, "as you said" if task else reason, classes, tuple(notices))


def has_target(values: pl.Series) -> pl.Series:
    """Whether each row has a value of the target; a blank text is none.

    Example:
        >>> has_target(pl.Series(["a", " ", None])).to_list()
        [True, False, False]
    """
    known = values.is_not_null()
    return known & (values.str.strip_chars() != "").fill_null(False) if values.dtype == pl.String else known


def drop_missing_target(
    frame: pl.DataFrame, target: str, met: Sequence[str] = ()
) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """``frame`` without the rows whose target is missing, and a notice when there were any.

    Args:
        frame: the rows.
        target: the column.
        met: texts in it that were read as missing; the notice says how to make them a class.
    """
    keep = has_target(frame[target])
    lost = frame.height - int(keep.sum())
    if not lost:
        return frame, ()
    words = [text for text in met if text]
    shown = ", ".join(map(repr, words[:3])) + (", …" if len(words) > 3 else "")
    how = f' ({shown} means missing; data.missing={{"{target}": []}} keeps it)' if words else ""
    return frame.filter(keep), (
        f"{lost} of {frame.height} rows have no value for the target {target} and were left out{how}",
    )
