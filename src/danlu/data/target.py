"""The column to predict, to numbers and back: classes to codes, quantities to standard units."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from danlu.data.infer import canonical
from danlu.data.kinds import as_kind, as_levels, as_text
from danlu.data.spelling import plain
from danlu.data.task import TASKS, infer_task
from danlu.errors import ArtifactError, ConfigError, DataError, SchemaError, nearest, unknown_name
from danlu.language import keep

__all__ = ["TargetEncoder"]

_KINDS = ("text", "integer", "float", "boolean")


@dataclasses.dataclass(frozen=True)
class TargetEncoder:
    """Encodes a target; build it with :meth:`fit` or :meth:`from_json`.

    Classification: class ``i`` of ``classes`` has code ``i``; numbers sort by value, texts by name with the numbers in
    them by value. Regression: ``z = (y − mean) / std`` of the training rows.

    Attributes:
        name: the target's name.
        task: ``"regression"``, ``"binary"`` or ``"multiclass"``.
        classes: the classes as text, in code order; empty for regression.
        kind: what the labels were: ``"text"``, ``"integer"``, ``"float"`` or ``"boolean"``; :meth:`inverse` gives them back.
        mean, std: of a regression target's training rows, in its own unit.

    Example:
        >>> encoder = TargetEncoder.fit(pl.Series("y", ["no", "yes", "no"]))
        >>> encoder.classes, encoder.transform(pl.Series(["yes", "no"])).tolist()
        (('no', 'yes'), [1, 0])
    """

    name: str
    task: str
    classes: tuple[str, ...] = ()
    kind: str = "text"
    mean: float = 0.0
    std: float = 1.0

    def __post_init__(self) -> None:
        keep((self.name, *self.classes))

    @classmethod
    def fit(cls, target: pl.Series, *, task: str | None = None) -> TargetEncoder:
        """Fit to training rows (for classification all rows may be given: only the names of the classes are kept).

        Raises:
            DataError: a missing value, or a target that cannot be learnt (see :func:`danlu.data.infer_task`).
        """
        found = infer_task(target, task=task)
        target = canonical(pl.DataFrame([target.rename(target.name or "target")]), source="the target").to_series()
        if target.null_count():
            raise DataError(
                f"the target {target.name!r} has {target.null_count()} missing values", hint="drop those rows first"
            )
        if found.task == "regression":
            numbers = target.cast(pl.Float64).to_numpy()
            if not np.isfinite(numbers).all():
                raise DataError(f"the target {target.name!r} holds infinite values", hint="repair or drop those rows")
            with np.errstate(over="ignore", invalid="ignore"):
                std = float(numbers.std())
            if not math.isfinite(std):
                raise DataError(
                    f"the target {target.name!r} holds values up to {np.abs(numbers).max():.3g}, whose squares overflow",
                    hint="scale them down, or predict their logarithm",
                )
            return cls(target.name, "regression", (), "float", float(numbers.mean()), std if std > 0 else 1.0)
        kinds = {pl.Int64: "integer", pl.Float64: "float", pl.Boolean: "boolean"}
        kind = kinds.get(target.dtype.base_type(), "text")
        return cls(target.name, found.task, found.classes, kind)

    def looking_for(self, positive: str | None) -> TargetEncoder:
        """The encoder whose second class, of two, is this one: precision, recall, costs, alerts and points are about it; None
        changes nothing.

        Raises:
            ConfigError: a target without two classes, or another class.

        Example:
            >>> TargetEncoder.fit(pl.Series("y", ["bad", "good", "good"])).looking_for("bad").classes
            ('good', 'bad')
        """
        if positive is None:
            return self
        if self.task != "binary":
            what = "a quantity" if self.task == "regression" else "of more classes"
            raise ConfigError(f"data.positive is for two classes; this target is {what}", hint="leave it out")
        if positive not in self.classes:
            raise unknown_name("class", positive, self.classes)
        return dataclasses.replace(self, classes=(*(each for each in self.classes if each != positive), positive))

    @property
    def units(self) -> int:
        """The number of a network's outputs for this target: one per class, or one."""
        return len(self.classes) or 1

    def transform(self, target: pl.Series) -> np.ndarray:
        """Codes, int32 ``(rows,)``, or standardised values, float32 ``(rows,)``.

        Raises:
            SchemaError: a label that is not one of the classes, a value that is not a number, a missing value.
        """
        target = canonical(pl.DataFrame([target.rename(self.name)]), source="the target").to_series()
        if target.null_count():
            row = target.is_null().arg_true()[0] + 1
            raise SchemaError(
                f"the target {self.name!r} has {target.null_count()} missing values, the first in row {row}",
                hint="drop those rows first",
            )
        if self.task == "regression":
            numbers = as_kind(target, "numeric").cast(pl.Float64)
            with np.errstate(over="ignore"):
                scaled = ((numbers.to_numpy() - self.mean) / self.std).astype(np.float32)
            bad = np.flatnonzero(~np.isfinite(scaled))
            if len(bad):
                row = int(bad[0])
                huge = numbers[row] is not None and np.isfinite(numbers[row])
                said = f"the target {self.name!r} holds {target[row]!r} in row {row + 1}"
                raise SchemaError(
                    f"{said}; expected a number nearer to those of training, {self.mean:.4g} on the mean"
                    if huge
                    else f"{said}; expected a number"
                )
            return scaled
        labels = self._labels(target)
        codes = labels.replace_strict(
            list(self.classes), list(range(len(self.classes))), default=None, return_dtype=pl.Int32
        )
        if codes.null_count():
            raise self._unknown(labels, codes.is_null())
        return codes.to_numpy().astype(np.int32)

    def _labels(self, target: pl.Series) -> pl.Series:
        labels = as_text(target)
        if self.kind == "boolean" and target.dtype != pl.Boolean:
            return as_kind(target, "boolean").cast(pl.String)
        if target.dtype == pl.String:
            labels = labels.str.strip_chars()
            if self.kind in ("integer", "float"):
                numbers = labels.cast(pl.Float64, strict=False)
                return as_text(numbers).fill_null(labels) if numbers.null_count() == 0 else labels
        elif self.kind == "text":  # a frame may hold as numbers or truth values what was text in training
            return as_levels(target, self.classes)
        return labels

    def _unknown(self, labels: pl.Series, bad: pl.Series) -> SchemaError:
        levels = labels.filter(bad).unique(maintain_order=True)
        row = int(bad.arg_true()[0])
        shown = ", ".join(repr(level) for level in levels.head(4)) + (", …" if len(levels) > 4 else "")
        close = nearest(str(labels[row]), self.classes)
        classes = ", ".join(self.classes[:8]) + (", …" if len(self.classes) > 8 else "")
        hint = f"did you mean {close!r}?" if close else None
        if len(self.normalise(labels)[1]):
            hint = "the labels differ from the classes by their case, spaces or a trailing '.' only; use normalise()"
        return SchemaError(
            f"the target {self.name!r} holds labels that are not classes of the model: {shown} (first in row {row + 1}); "
            f"expected: {classes}",
            hint=hint,
        )

    def normalise(self, target: pl.Series) -> tuple[pl.Series, tuple[str, ...]]:
        """``target`` with its labels spelt like the classes, and a notice, if that makes all labels match.

        Tried: without a trailing ".", and with another case (adult's test file has ``<=50K.`` where its training file
        has ``<=50K``). Where labels would still not match, ``target`` is returned unchanged.
        """
        if self.task == "regression":
            return target, ()
        labels = self._labels(canonical(pl.DataFrame([target.rename(self.name)]), source="the target").to_series())
        levels = labels.drop_nulls().unique().to_list()
        if all(level in self.classes for level in levels):
            return target, ()
        plain = {_plain(name): name for name in self.classes}
        if len(plain) < len(self.classes) or any(_plain(level) not in plain for level in levels):
            return target, ()
        spelling = {level: plain[_plain(level)] for level in levels if level not in self.classes}
        shown = ", ".join(f"{old!r} as {new!r}" for old, new in sorted(spelling.items())[:4])
        return labels.replace(spelling), (f"labels of {self.name} were matched by another spelling: {shown}",)

    def inverse(self, values: np.ndarray) -> np.ndarray:
        """Codes to labels of the training data's own type, or standardised values to the target's unit (float64)."""
        values = np.asarray(values)
        if self.task == "regression":
            return values.astype(np.float64) * self.std + self.mean
        return self.labels[values]

    @property
    def labels(self) -> np.ndarray:
        """The classes in the training data's own type, in code order, ``(classes,)``."""
        if self.kind == "boolean":
            return np.asarray([name == "true" for name in self.classes])
        if self.kind == "integer":
            return np.asarray([int(name) for name in self.classes])
        if self.kind == "float":
            return np.asarray([float(name) for name in self.classes])
        return np.asarray(self.classes, dtype=object)

    def to_json(self) -> dict[str, Any]:
        """The encoder as plain JSON data."""
        return {**dataclasses.asdict(self), "classes": list(self.classes)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TargetEncoder:
        """The inverse of :meth:`to_json`.

        Raises:
            ArtifactError: the data is not a target encoder.
        """
        try:
            encoder = cls(**{**data, "classes": tuple(data["classes"])})
        except (KeyError, TypeError) as error:
            raise ArtifactError(f"the saved target is not valid: {error}") from error
        if encoder.task not in TASKS:
            raise ArtifactError(
                f"the saved target has the task {str(encoder.task)[:40]!r}; expected one of: {', '.join(TASKS)}"
            )
        if not encoder._is_sound():
            raise ArtifactError(
                f"the saved target is not valid: {str(encoder)[:200]}", hint="was the artifact changed by hand?"
            )
        return encoder

    def _is_sound(self) -> bool:
        """Whether the fields have their types and fit the task."""
        numbers = all(type(n) in (int, float) and math.isfinite(n) for n in (self.mean, self.std))
        if not (isinstance(self.name, str) and self.kind in _KINDS and numbers and self.std > 0):
            return False
        if self.task == "regression":
            return not self.classes
        if not all(isinstance(name, str) for name in self.classes) or len(set(self.classes)) < len(self.classes):
            return False
        try:
            return len(self.labels) == 2 if self.task == "binary" else len(self.labels) >= 2
        except ValueError:  # a class that is not a number, of a target of numbers
            return False


def _plain(label: str) -> str:
    return str(plain(pl.Series([label.strip().rstrip(".")]))[0]).lower()
