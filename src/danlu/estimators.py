"""danlu's table network as scikit-learn estimators."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import jax
import numpy as np
import polars as pl
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import check_consistent_length, check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, column_or_1d, validate_data

from danlu.data import Schema, TableEncoder, TargetEncoder, infer_schema, read_table, split_rows
from danlu.nn.losses import class_weights
from danlu.tasks import Imbalance, learn_table, plan_for

__all__ = ["Classifier", "Regressor"]

_TARGET, _WEIGHT = "target", "weight"
_FEWEST = 100  # rows below which none are held out: the schedule's end is then the better place to stop


class _TableEstimator(BaseEstimator):
    """What both estimators share; see :class:`Classifier` and :class:`Regressor`."""

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
        kinds: Mapping[str, str] | None = None,
        validation_fraction: float = 0.15,
        random_state: Any = None,
        verbose: bool = False,
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
        self.kinds = kinds
        self.validation_fraction = validation_fraction
        self.random_state = random_state
        self.verbose = verbose

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        return tags

    def _frame(self, X: Any, *, reset: bool) -> pl.DataFrame:
        """Columns named ``feature 0`` … for arrays, by their own names for frames; no value is changed."""
        if hasattr(X, "columns"):
            validate_data(self, X, skip_check_array=True, reset=reset)
            frame = read_table(X).frame
            return (
                frame
                if reset
                else frame.select([c.name for c in self.model_.encoder.schema.columns if c.name != _TARGET])
            )
        X = validate_data(self, X, reset=reset, ensure_all_finite="allow-nan", ensure_min_samples=2 if reset else 1)
        return pl.DataFrame({f"feature {j}": column for j, column in enumerate(np.asarray(X, np.float64).T)})

    def _schema(self, X: Any, frame: pl.DataFrame) -> Schema:
        numeric = {} if hasattr(X, "columns") else dict.fromkeys(frame.columns, "numeric")
        labelled = frame.with_columns(pl.Series(_TARGET, np.zeros(frame.height)))
        return infer_schema(labelled, target=_TARGET, kinds={**numeric, **(self.kinds or {})})

    def _learn(
        self, X: Any, frame: pl.DataFrame, labels: np.ndarray, sample_weight: Any, target: TargetEncoder, imbalance: Imbalance,
        of_class: Mapping[int, float] | str | None = None,
    ) -> Self:  # fmt: skip
        weight = (
            np.ones(frame.height)
            if sample_weight is None
            else _check_sample_weight(sample_weight, np.empty(frame.height))
        )
        if (weight < 0).any():
            raise ValueError("sample_weight holds negative numbers; expected weights of 0 or more")
        rows, codes, weight = _merged(frame, labels, weight)
        if target.task != "regression" and len(np.unique(codes)) < 2:
            raise ValueError(
                "the rows with a weight above 0 are of one class only; a classifier needs at least two classes"
            )
        if target.task == "regression":
            target = _standardised(target, codes, weight)
            codes = target.transform(pl.Series(codes))
        elif of_class is not None:
            copies = np.repeat(codes, np.maximum(weight.round().astype(int), 1)) if of_class == "balanced" else codes
            weight = weight * class_weights(copies, target.units, mode=of_class)[codes]
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        schema = self._schema(X, rows)
        train, held = self._split(rows, codes, target, seed)
        encoder = TableEncoder.fit(rows[train], schema)
        names = (
            "epochs",
            "batch_size",
            "patience",
            "learning_rate",
            "weight_decay",
            "members",
            "width",
            "depth",
            "dropout",
        )
        chosen = {name: value for name in names if (value := getattr(self, name)) is not None}
        encoded = lambda part: (encoder.transform(rows[part]), codes[part], weight[part].astype(np.float32))  # noqa: E731
        learned = learn_table(
            encoded(train),
            encoder=encoder,
            target=target,
            plan=plan_for(encoder, target, len(train), **chosen),
            validation=encoded(held) if len(held) else None,
            imbalance=imbalance,
            seed=seed,
            display="auto" if self.verbose else "none",
        )
        host = jax.tree.map(np.asarray, (learned.model.params, learned.model.state))
        self.model_ = dataclasses.replace(learned.model, params=host[0], state=host[1])
        self.history_ = learned.fitted.history
        self.n_iter_ = len(self.history_)
        return self

    def _split(
        self, rows: pl.DataFrame, labels: np.ndarray, target: TargetEncoder, seed: int
    ) -> tuple[np.ndarray, np.ndarray]:
        if rows.height < _FEWEST or not self.validation_fraction:
            return np.arange(rows.height), np.arange(0)
        labelled = pl.DataFrame({_TARGET: labels})
        split = split_rows(
            labelled, target=_TARGET, task=target.task, validation=self.validation_fraction, test=0.0, seed=seed
        )
        return split.train, split.validation

    def _values(self, X: Any) -> np.ndarray:
        check_is_fitted(self, "model_")
        return self.model_.predict_values(self._frame(X, reset=False))

    def save(self, folder: str | Path) -> None:
        """Write the trained model as an artifact, which :func:`danlu.load` reads.

        Raises:
            ArtifactError: the folder cannot be written.
        """
        from danlu.pipeline.model import save_model

        check_is_fitted(self, "model_")
        save_model(folder, self.model_, metrics={}, provenance={"source": "scikit-learn estimator"})


def _merged(frame: pl.DataFrame, labels: np.ndarray, weight: np.ndarray) -> tuple[pl.DataFrame, np.ndarray, np.ndarray]:
    """Rows that are equal, label included, as one row with the sum of their weights; sorted, those of weight 0 left out.

    A weight of 2 and a row given twice thus mean the same to the last bit, and so do any two orders of the rows.
    """
    rows = frame.with_columns(pl.Series(_TARGET, labels), pl.Series(_WEIGHT, weight, dtype=pl.Float64))
    keys = [name for name in rows.columns if name != _WEIGHT]
    merged = rows.filter(pl.col(_WEIGHT) > 0).group_by(keys, maintain_order=True).agg(pl.col(_WEIGHT).sum()).sort(keys)
    if not merged.height:
        raise ValueError("every sample_weight is 0; expected some rows to learn from")
    return merged.drop(_TARGET, _WEIGHT), merged[_TARGET].to_numpy(), merged[_WEIGHT].to_numpy()


def _standardised(target: TargetEncoder, values: np.ndarray, weight: np.ndarray) -> TargetEncoder:
    mean = float(np.average(values, weights=weight))
    std = float(np.sqrt(np.average((values - mean) ** 2, weights=weight)))
    return dataclasses.replace(target, mean=mean, std=std if std > 0 else 1.0)


class Classifier(ClassifierMixin, _TableEstimator):
    """A classifier for tables: danlu's default network and recipe behind scikit-learn's interface.

    Frames (pandas, polars, pyarrow) may hold numbers, texts, truth values, dates and gaps; arrays hold numbers and NaN. Rows that are
    equal are merged and weighted, so that a weight of 2 is exactly a row given twice.

    Args:
        epochs, batch_size, patience, learning_rate, weight_decay: as in :class:`danlu.tasks.Recipe`; None lets the recipe
            choose by the size of the table.
        members, width, depth, dropout: of the network, :class:`danlu.nn.TabularNet`; None as above.
        kinds: the kind of single columns of a frame (``{"zip": "categorical"}``).
        class_weight: None, ``"balanced"``, or a weight for each class label.
        resample: None, ``"oversample"`` or ``"undersample"``.
        focal_gamma: γ of the focal loss, or None.
        threshold: the measure for which the decision threshold of two classes is chosen on the validation rows, or None.
        validation_fraction: share of the rows that chooses the best epoch, in [0, 1); tables below 100 rows hold none out.
        random_state: decides the split, the initial weights and every random draw.
        verbose: whether progress is shown.

    Attributes:
        classes_: the labels.
        model_: the trained :class:`danlu.tasks.TableModel`.
        history_: a row (dict) an epoch.
        n_iter_: epochs trained.

    Several outputs, several labels a row and sparse matrices are not supported.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> X, y = load_iris(return_X_y=True)
        >>> model = Classifier(epochs=20, members=4, width=32, random_state=0).fit(X, y)
        >>> model.score(X, y) > 0.9, model.predict_proba(X[:2]).shape
        (True, (2, 3))
    """

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
        kinds: Mapping[str, str] | None = None,
        class_weight: Any = None,
        resample: str | None = None,
        focal_gamma: float | None = None,
        threshold: str | None = None,
        validation_fraction: float = 0.15,
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        super().__init__(
            epochs=epochs,
            batch_size=batch_size,
            patience=patience,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            members=members,
            width=width,
            depth=depth,
            dropout=dropout,
            kinds=kinds,
            validation_fraction=validation_fraction,
            random_state=random_state,
            verbose=verbose,
        )
        self.class_weight = class_weight
        self.resample = resample
        self.focal_gamma = focal_gamma
        self.threshold = threshold

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train on the rows of ``X`` with labels ``y``."""
        if y is None:
            raise ValueError("requires y to be passed, but the target y is None")
        frame = self._frame(X, reset=True)
        y = column_or_1d(y, warn=True)
        check_consistent_length(X, y)
        if y.dtype.kind == "f" and not np.isfinite(y).all():
            raise ValueError("Input y contains NaN or infinity")
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"y holds one class only ({self.classes_[0]!r}); a classifier needs at least two classes")
        kind = {"i": "integer", "u": "integer", "b": "boolean", "f": "float"}.get(self.classes_.dtype.kind, "text")
        names = tuple(str(name).lower() if kind == "boolean" else str(name) for name in self.classes_)
        task = "binary" if len(names) == 2 else "multiclass"
        imbalance = Imbalance(
            resample=self.resample or "none", focal_gamma=self.focal_gamma, threshold=self.threshold or "none"
        )
        of_class = self.class_weight
        if isinstance(of_class, Mapping):
            of_class = {int(np.flatnonzero(self.classes_ == label)[0]): weight for label, weight in of_class.items()}
        return self._learn(
            X,
            frame,
            codes.astype(np.int32),
            sample_weight,
            TargetEncoder(_TARGET, task, names, kind),
            imbalance,
            of_class,
        )

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities ``(rows, classes)``, in the order of ``classes_``."""
        return self._values(X)

    def predict(self, X: Any) -> np.ndarray:
        """The labels ``(rows,)``."""
        return self.classes_[self.model_.decide(self.predict_proba(X))] if hasattr(self, "model_") else self._values(X)


class Regressor(RegressorMixin, _TableEstimator):
    """A regressor for tables: danlu's default network and recipe behind scikit-learn's interface.

    The arguments and what is supported are those of :class:`Classifier`, without those about classes. Several targets
    are not supported.

    Example:
        >>> from sklearn.datasets import make_friedman1
        >>> X, y = make_friedman1(300, random_state=0)
        >>> Regressor(epochs=30, members=4, width=32, random_state=0).fit(X, y).score(X, y) > 0.8
        True
    """

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train on the rows of ``X`` with values ``y``."""
        if y is None:
            raise ValueError("requires y to be passed, but the target y is None")
        frame = self._frame(X, reset=True)
        y = np.asarray(column_or_1d(y, warn=True), np.float64)
        check_consistent_length(X, y)
        if not np.isfinite(y).all():
            raise ValueError("Input y contains NaN or infinity")
        return self._learn(X, frame, y, sample_weight, TargetEncoder(_TARGET, "regression"), Imbalance())

    def predict(self, X: Any) -> np.ndarray:
        """The values ``(rows,)``."""
        return self._values(X)
