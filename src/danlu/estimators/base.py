"""What the classifier and the regressor share: from rows to a trained table model, and back to predictions."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import jax
import numpy as np
import polars as pl
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, check_array, check_is_fitted, column_or_1d

from danlu.data import TableEncoder, TargetEncoder, infer_schema, split_rows
from danlu.data.twins import equal_rows, keep_together
from danlu.errors import ConfigError, DataError, unknown_name
from danlu.estimators.frames import features
from danlu.estimators.rows import learning_rows
from danlu.tasks import KINDS, Answers, Imbalance, fold_numbers, folds_for, learn, plan_for

__all__ = ["TableEstimator"]

_PLAN = (
    "epochs", "batch_size", "patience", "learning_rate", "weight_decay", "loss",
    "members", "width", "depth", "dropout",
)  # fmt: skip
_FEWEST = 100  # rows below which none are held out by themselves: too few to tell a better epoch from a lucky one
_HELD = 0.15


class TableEstimator(BaseEstimator):
    """The base of :class:`danlu.Classifier` and :class:`danlu.Regressor`, which say what the parameters mean."""

    def __init__(
        self,
        *,
        epochs: int | None = None,
        batch_size: int | None = None,
        patience: int | None = None,
        learning_rate: float | None = None,
        weight_decay: float | None = None,
        members: int | None = None,
        width: int | None = None,
        depth: int | None = None,
        dropout: float | None = None,
        kind: str | None = None,
        kinds: Mapping[str, str] | None = None,
        validation_fraction: float | None = None,
        random_state: Any = None,
        verbose: bool | int = 0,
    ) -> None:
        self.epochs = epochs
        self.batch_size = batch_size
        self.patience = patience
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.members = members
        self.width = width
        self.depth = depth
        self.dropout = dropout
        self.kind = kind
        self.kinds = kinds
        self.validation_fraction = validation_fraction
        self.random_state = random_state
        self.verbose = verbose

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        return tags

    def save(self, folder: str | Path) -> None:
        """Write the trained model as an artifact of JSON and safetensors, which :func:`danlu.load` reads.

        Raises:
            NotFittedError: nothing was trained yet.
            ArtifactError: the folder cannot be written.
        """

        check_is_fitted(self, "model_")
        provenance = {
            "estimator": type(self).__name__,
            "rows": self._rows,
            "epochs": self.n_iter_,
            "blend": self.blend_,
        }
        self.model_.save(folder, provenance=provenance)

    def _learn(
        self,
        X: Any,
        y: Any,
        labels: np.ndarray,
        sample_weight: Any,
        *,
        target: TargetEncoder,
        imbalance: Imbalance,
        answers: Answers | None = None,
        class_weight: Any = None,
    ) -> Self:
        """Train on the rows of ``X`` with class codes or values ``labels``, which were made from ``y``."""
        table, numeric = features(self, X, kinds=self.kinds)
        frame = table.frame
        if frame.height != len(labels):
            raise DataError(
                f"Found input variables with inconsistent numbers of samples: X has {frame.height} and y {len(labels)}"
            )
        weight = None
        if sample_weight is not None:
            weight = _check_sample_weight(sample_weight, np.empty(frame.height), dtype=np.float64)
        if self.kind not in (None, *KINDS):
            raise unknown_name("kind", self.kind, KINDS)
        target = dataclasses.replace(target, name=_target_name(y, frame.columns))
        taken, weight = learning_rows(frame, labels, weight)
        # The kinds are those of the rows as they came: a column that counts the rows no longer does once they are sorted.
        kinds = {**(dict.fromkeys(frame.columns, "numeric") if numeric else {}), **(self.kinds or {})}
        known = np.unique(taken)
        shown = labels if target.task == "regression" else target.labels[labels]
        labelled = frame[known].with_columns(pl.Series(target.name, shown[known].tolist()))
        schema = infer_schema(labelled, target=target.name, kinds=kinds, formats=table.formats)
        rows, labels, counts = frame[taken], labels[taken], weight
        if target.task == "regression":
            target = _standardised(target, labels, weight)
            labels = ((labels - target.mean) / target.std).astype(np.float32)
        else:
            _two_classes(labels)
            weight = _by_class(labels, weight, target, class_weight)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        count = folds_for(len(labels)) if self.validation_fraction is None else 1
        seen = [column.name for column in schema.features]
        twins = equal_rows(rows.select(seen)) if seen else np.zeros(len(labels), np.int64)
        folds = None
        if count > 1:
            together, _ = keep_together(twins, 1 / count)
            folds = fold_numbers(labels, target.task, count, seed=seed, together=together)
        if folds is None:
            train, held = self._split(labels, target, seed, twins, judged=imbalance.threshold != "none")
        else:
            train, held = np.arange(len(labels)), np.zeros(0, np.int64)
        encoder = TableEncoder.fit(rows[train], schema)

        def encoded(part: np.ndarray) -> tuple[Any, ...]:
            return encoder.transform(rows[part]), labels[part], None if weight is None else weight[part]

        chosen = {name: value for name in _PLAN if (value := getattr(self, name, None)) is not None}
        learned = learn(
            encoded(train),
            encoder=encoder,
            target=target,
            plan=plan_for(encoder, target, len(train), folds=count, **chosen),
            validation=encoded(held) if held.size else None,
            folds=folds,
            counts=None if counts is None else counts[train if folds is not None else held],
            imbalance=imbalance,
            answers=answers,
            kind=self.kind,
            seed=seed,
            display="auto" if self.verbose else "none",
        )
        params, state = jax.tree.map(np.asarray, (learned.model.params, learned.model.state))
        self.model_ = dataclasses.replace(learned.model, params=params, state=state)
        self.blend_ = learned.model.shares
        self.history_ = learned.fitted.history
        self.n_iter_ = len(self.history_)
        self._names = tuple(frame.columns)
        self._rows = {"train": len(train), "validation": len(held)}
        return self

    def _split(
        self, labels: np.ndarray, target: TargetEncoder, seed: int, twins: np.ndarray, *, judged: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """Row numbers to train on, and to choose the best epoch (and the threshold) by; rows of one number in ``twins`` are equal."""
        share, rows = self.validation_fraction, len(labels)
        if share is None:
            share = _HELD if rows >= _FEWEST or judged else 0.0
        if not 0 <= share < 1:
            raise ConfigError(f"validation_fraction is {share!r}; expected None, or a share of the rows >= 0 and < 1")
        table = pl.DataFrame({target.name: labels})
        split = split_rows(
            table,
            target=target.name,
            task=target.task,
            validation=share,
            test=0.0,
            seed=seed,
            together=keep_together(twins, share)[0],
        )
        return split.train, split.validation

    def _values(self, X: Any) -> np.ndarray:
        """Probabilities or values for the rows of ``X``; those of a row do not depend on the other rows."""
        check_is_fitted(self, "model_")
        table, _ = features(self, X, names=self._names)
        return self.model_.answer_rows(table.frame)


def checked_target(y: Any) -> np.ndarray:
    """``y`` as a vector without gaps.

    Raises:
        ValueError: there is none, it has several columns, or a value is missing or infinite.
    """
    if y is None:
        raise ValueError("fit requires y to be passed, but the target y is None")
    if np.ma.is_masked(y):
        raise ValueError("Input y contains NaN: a label is masked")
    values = column_or_1d(y, warn=True)
    if values.dtype == object and any(value is None for value in values):
        raise ValueError("Input y contains NaN: a label is None")
    return check_array(values, ensure_2d=False, dtype=None, input_name="y", ensure_min_samples=0)


def _target_name(y: Any, columns: list[str]) -> str:
    """The name of ``y`` if it has one, but not that of a column."""
    given = getattr(y, "name", None)
    name = given if isinstance(given, str) and given else "target"
    while name in columns:
        name += "_"
    return name


def _standardised(target: TargetEncoder, values: np.ndarray, weight: np.ndarray | None) -> TargetEncoder:
    mean = float(np.average(values, weights=weight))
    std = float(np.sqrt(np.average((values - mean) ** 2, weights=weight)))
    return dataclasses.replace(target, mean=mean, std=std if std > 0 else 1.0)


def _two_classes(labels: np.ndarray) -> None:
    if len(np.unique(labels)) < 2:
        raise DataError("the rows with a weight above 0 are of one class only; expected at least two classes")


def _by_class(
    labels: np.ndarray, weight: np.ndarray | None, target: TargetEncoder, class_weight: Any
) -> np.ndarray | None:
    """The rows' weights times those of their classes; ``"balanced"`` counts rows by their weight."""
    if class_weight is None:
        return weight
    own = np.ones(len(labels)) if weight is None else weight
    if isinstance(class_weight, Mapping):
        of_class = np.asarray([class_weight.get(code, 1.0) for code in range(target.units)], np.float64)
    else:
        sums = np.bincount(labels, own, minlength=target.units)
        of_class = np.divide(own.sum() / np.count_nonzero(sums), sums, out=np.zeros_like(sums), where=sums > 0)
    return own * of_class[labels]
