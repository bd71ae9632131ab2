"""Kinds of data whose rows are things of their own, each with one label: texts, pictures, recordings, sequences."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Hashable, Iterable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import polars as pl

from danlu.data import InferredTask, Schema, TargetEncoder, infer_task
from danlu.errors import ConfigError, DataError, SchemaError
from danlu.pipeline.config import TrainConfig
from danlu.pipeline.divided import Divided
from danlu.pipeline.labelled import Labelled, PreparedRows
from danlu.pipeline.private import Looks
from danlu.privacy import NOTHING
from danlu.trained import Say

__all__ = ["LabelledItems", "left_out", "newly_read"]


class LabelledItems(Labelled):
    """Labelled rows that are things of their own and are read at once: texts, pictures, recordings.

    Attributes:
        items: what they are called.
        label_hint: what to do where they have no labels.
    """

    items: ClassVar[str]
    label_hint: ClassVar[str] = "name the column to predict: --target COLUMN"

    @abc.abstractmethod
    def find(self, config: TrainConfig, source: Any, before: Any = None) -> Any:
        """The data read from a source: it has ``labels``, ``notices`` and ``rows(numbers)``.

        Args:
            before: what was read to be learnt from, where the source is that of the test rows.
        """

    @abc.abstractmethod
    def keys(self, found: Any, rows: np.ndarray) -> Iterable[Hashable]:
        """The keys by which rows of these numbers are compared: equal ones stay in one part."""

    @abc.abstractmethod
    def encoded(self, config: TrainConfig, parts: Divided, target: TargetEncoder) -> dict[str, Any]:
        """What :meth:`~danlu.pipeline.divided.Divided.encoded` gives, for an encoder fitted to the training rows."""

    def leaves(self, config: TrainConfig) -> str:
        """What :meth:`encoded` takes from all training rows at once, which clients would have to send."""
        return "the classes"

    def names(self, labels: pl.Series) -> pl.Series:
        """The labels as they are divided by."""
        return labels

    def infer(self, config: TrainConfig, labels: pl.Series) -> InferredTask:
        """The task of the labels."""
        asked = config.data.task
        return infer_task(labels, task=None if asked == "auto" else asked)

    def prepare(self, config: TrainConfig, source: Any) -> PreparedRows:
        found = self._labelled(config, source)
        labels = self.names(found.labels)
        inferred = self.infer(config, labels)
        parts = Divided.of(
            config,
            found,
            lambda source: self._labelled(config, source, found),
            self.keys,
            noun=self.items,
            labels=labels,
            task=inferred.task,
            owned=True,
        )
        regression = inferred.task == "regression"
        fitted_on = found.labels.gather(parts.places["train"]) if regression else found.labels
        looks = self._looked(config, fitted_on, regression) if config.private.on else None
        if looks is not None:
            fitted_on = looks.frame[labels.name].drop_nulls()
            parts.notices.append(looks.said)
        target = TargetEncoder.fit(fitted_on, task=inferred.task)
        if config.data.test is not None:
            truth, respelt = target.normalise(parts.tested.labels)
            parts.notices.extend(f"test: {notice}" for notice in respelt)
            parts = dataclasses.replace(parts, tested=dataclasses.replace(parts.tested, labels=truth))
        encoded = self.encoded(config, parts, target)
        if parts.owners is not None:
            told = self.leaves(config)
            parts.notices.append(
                f"what leaves a client before the rounds: {told}"
                if config.federated.noise is None
                else f"what leaves a client before the rounds, and the noise does not hide: {told}"
            )
        notices = (*parts.notices, *inferred.notices)
        spent = NOTHING if looks is None else looks.ledger
        return PreparedRows(inferred=inferred, target=target, parts=parts, notices=notices, spent=spent, **encoded)

    def _looked(self, config: TrainConfig, labels: pl.Series, regression: bool) -> Looks | None:
        """What is seen of the labels of private rows, if they are a quantity; the names of classes are public."""
        if regression:
            frame = pl.DataFrame([labels.cast(pl.Float64)])
            return Looks.at(frame, Schema((), labels.name, frame.height), labels.name, (), config.private)
        if config.private.public is not None:
            raise ConfigError(
                f"private.public is {config.private.public!r}, and no statistics are taken of {self.items} with classes; expected none",
                hint="leave private.public out",
            )
        return None

    def _labelled(self, config: TrainConfig, source: Any, before: Any = None) -> Any:
        data, found = config.data, self.find(config, source, before)
        if found.labels is None:
            shown = source if isinstance(source, str | Path) else "the data"
            what = f"no column {data.target!r}" if data.target else "no labels"
            raise DataError(f"the {self.items} of {shown} have {what}", hint=self.label_hint)
        return dataclasses.replace(found, labels=found.labels.rename(found.labels.name or "label"))


def left_out(found: Any, noun: str, **lacking: np.ndarray) -> Any:
    """The data without incomplete or unlabelled rows, and with a notice about them.

    Args:
        noun: what the rows are called.
        **lacking: by the names of what rows may lack, whether each does.

    Raises:
        DataError: none is left.
    """
    if found.labels is None:
        return found
    labels = found.labels
    unlabelled = labels.is_null()
    if labels.dtype == pl.String:
        unlabelled |= (labels.str.strip_chars() == "").fill_null(True)
    elif labels.dtype.is_float():
        unlabelled |= labels.is_nan().fill_null(value=False)
    lacking["label"] = unlabelled.to_numpy()
    counts = {what: int(each.sum()) for what, each in lacking.items()}
    kept = np.flatnonzero(~np.any(list(lacking.values()), axis=0))
    all_of = f"{len(found):,} {noun}"
    if not len(kept):
        raise DataError(f"none of the {all_of} has both {' and '.join(f'a {what}' for what in lacking)}")
    told = [
        f"{count:,} of {all_of} have no {'label' if what == 'label' else 'text' if what == 'text' else 'value'} and were left out"
        for what, count in counts.items()
        if count
    ]
    return dataclasses.replace(found.rows(kept), notices=(*found.notices, *told), numbers=kept)


def newly_read(read: Callable[[], Any], say: Say, *, parts_of: str = "", hint: str | None = None) -> Any:
    """The result of ``read``, after printing its notices; its test part, if it has parts.

    Args:
        parts_of: what the parts are made of; empty takes them all.
        hint: where the error has none.

    Raises:
        SchemaError: it cannot be read.
    """
    try:
        found = read()
    except DataError as error:
        raise SchemaError(error.message, hint=error.hint or hint) from error
    for notice in found.notices:
        say(notice)
    if not parts_of or found.parts is None or "test" not in found.parts:
        return found
    rows = np.flatnonzero(found.parts == "test")
    say(f"the data has its own parts; its {len(rows)} test {parts_of} are taken")
    return found.rows(rows)
