"""danlu's classifier."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets

from danlu.data import TargetEncoder
from danlu.errors import ConfigError, DataError, unknown_name
from danlu.estimators.base import TableEstimator, checked_target
from danlu.tasks import Answers, Imbalance

__all__ = ["Classifier"]

_KINDS = {"i": "integer", "u": "integer", "f": "float", "b": "boolean"}


class Classifier(ClassifierMixin, TableEstimator):
    """A classifier for tables: danlu's default network and recipe behind scikit-learn's interface.

    Frames (pandas, polars, pyarrow) may hold numbers, texts, truth values, dates and gaps, with no preparation: each
    column's kind is worked out as by ``danlu train`` (columns that name the rows are left out), gaps are filled, categories not
    seen in training are "unknown". Columns of arrays are numbers, and NaN is a gap; arrays of objects are read like frames.

    A row of whole weight k means the same as that row k times, a weight of 0 the same as without it, to the last bit (with
    very large weights only in the loss). Rows are sorted before all else, so their sequence does not matter; where their
    kinds are given by ``kinds`` or by a numeric array, nothing else about them does.

    Args:
        epochs: passes over the rows; None lets the recipe choose by the size of the table, here and below.
        batch_size: rows a step.
        patience: epochs without a better validation loss after which training stops.
        learning_rate: peak learning rate of AdamW, above 0.
        weight_decay: its decoupled weight decay.
        members: networks in the ensemble.
        width: units of each hidden layer.
        depth: hidden layers.
        dropout: rate after each hidden layer, in [0, 1).
        kind: ``"blend"``, the network beside gradient boosting and a linear model, each with the weight with which they predict
            rows best that none of them learnt from; ``"network"``; None is a blend where there are 40 such rows.
        kinds: the kind of columns of a frame by name (``{"zip": "categorical"}``), in place of the one worked out.
        class_weight: None; ``"balanced"``, by which each class weighs the same in all; or a weight for each label (1 for
            labels not named). Both training and validation rows are weighted.
        resample: None, ``"oversample"`` or ``"undersample"``: an epoch shows every class equally often. ``"balanced"`` class
            weights would add nothing to it and are refused beside it.
        focal_gamma: γ of the focal loss; None is the cross-entropy.
        threshold: the measure (``"f1"``, ``"balanced_accuracy"``, ``"accuracy"`` or ``"mcc"``) for which the decision
            threshold of two classes is chosen on the validation rows; None is ½.
        calibrate: ``"auto"`` calibrates the probabilities (by a temperature; of two classes and 10,000 held-out rows isotonically) where
            that lowers the log loss of held-out rows, unless classes are weighted or resampled; ``"temperature"``, ``"isotonic"`` and
            ``"none"`` say how.
        cost: of mistakes, by name: ``{"fn": 5, "fp": 1}`` of two classes, ``{"TRUE>PREDICTED": 9}`` of more; ``predict`` then
            answers what costs least. What is not named costs 1. It is not combined with class weights.
        validation_fraction: share of the rows that is held out to choose the best epoch, in [0, 1). None is 0.15 of more
            than 10,000 rows; of 50 to 10,000 rows nothing is held out, and five networks each leave out a fifth and are
            judged on it; with fewer, training goes to the last epoch (unless a threshold is to be chosen). Rows that are
            equal but for the label are held out together.
        random_state: decides the split, the initial weights and every random draw.
        verbose: whether progress is shown.

    Attributes:
        classes_: the labels, sorted.
        model_: the trained :class:`danlu.trained.Trained`.
        blend_: the weight of each part, ``{"network": 1.0}`` where there is no blend.
        history_: a row (dict) an epoch, as :func:`danlu.fit` gives it.
        n_iter_: epochs trained.
        n_features_in_, feature_names_in_: as everywhere in scikit-learn.

    Not supported: several outputs, several labels a row, sparse matrices, warm starts and ``partial_fit``.

    Example:
        >>> X = [["Bern", 3], ["Oslo", 5], ["Bern", 5], ["Oslo", 3]] * 10
        >>> y = ["warm", "cold", "warm", "cold"] * 10
        >>> model = Classifier(members=2, width=16, depth=1, random_state=0).fit(X, y)
        >>> model.predict([["Oslo", 3], ["Bern", None]]).tolist(), model.predict_proba(X).shape
        (['cold', 'warm'], (40, 2))
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
        kind: str | None = None,
        kinds: Mapping[str, str] | None = None,
        class_weight: Any = None,
        resample: str | None = None,
        focal_gamma: float | None = None,
        threshold: str | None = None,
        calibrate: str = "auto",
        cost: Mapping[str, float] | None = None,
        validation_fraction: float | None = None,
        random_state: Any = None,
        verbose: bool | int = 0,
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
            kind=kind,
            kinds=kinds,
            validation_fraction=validation_fraction,
            random_state=random_state,
            verbose=verbose,
        )
        self.class_weight = class_weight
        self.resample = resample
        self.focal_gamma = focal_gamma
        self.threshold = threshold
        self.calibrate = calibrate
        self.cost = cost

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train on rows.

        Args:
            X: a frame or array ``(rows, columns)``.
            y: labels ``(rows,)``: texts, numbers or truth values.
            sample_weight: ``(rows,)``, at least 0; a weight of 2 is a row given twice.

        Raises:
            ValueError: rows, labels, weights or parameters that cannot be used.
            TypeError: a sparse matrix, values in ``X`` that are neither numbers nor texts.
        """
        labels = checked_target(y)
        check_classification_targets(labels)
        classes, codes = np.unique(labels, return_inverse=True)
        if len(classes) < 2:
            raise DataError(
                f"y holds one class only ({', '.join(map(repr, classes.tolist()))}); expected at least two classes"
            )
        imbalance = Imbalance(
            resample=self.resample or "none", focal_gamma=self.focal_gamma, threshold=self.threshold or "none"
        )
        target = _target(classes)
        asked = "none" if self.calibrate == "auto" and self.class_weight is not None else self.calibrate
        self._learn(
            X,
            y,
            codes.astype(np.int32),
            sample_weight,
            target=target,
            imbalance=imbalance,
            answers=Answers(calibrate=asked, cost=self._costs(classes, target)),
            class_weight=self._class_weight(classes),
        )
        self.classes_ = classes
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities ``(rows, classes)``, float64, in the order of ``classes_``."""
        return self._values(X)

    def predict(self, X: Any) -> np.ndarray:
        """The labels ``(rows,)``: the likeliest; of two classes, the second from the threshold on."""
        probabilities = self.predict_proba(X)
        head: Any = self.model_.head
        return self.classes_[head.decide(probabilities)]

    def predict_set(self, X: Any, level: float = 0.9, *, score: str = "lac", by_class: bool = False) -> np.ndarray:
        """The classes in the set of each row that holds the true one in this share of all cases, bool ``(rows, classes)``.

        Args:
            level: above 0 and below 1.
            score: ``"lac"``, whose sets are the smallest in the mean, or ``"aps"``, whose sets are larger for rows in doubt.
            by_class: whether the share is to hold for the rows of each class by themselves.

        Raises:
            ConfigError: a level outside (0, 1), or no rows were held out in training.
        """
        probabilities = self.predict_proba(X)
        head: Any = self.model_.head.asking(sets=level, score=score, by_class=by_class)
        return head.scores.sets(probabilities, head.asked)

    def _costs(self, classes: np.ndarray, target: TargetEncoder) -> dict[str, float]:
        """``cost`` with the names of labels, which may be given as they are in ``y``."""
        given = {} if self.cost is None else self.cost
        if not isinstance(given, Mapping):
            raise ConfigError(f"cost is {given!r}; expected costs by name, such as {{'fn': 5, 'fp': 1}}")
        if given and self.class_weight is not None:
            raise ConfigError(
                "cost and class_weight do not go together: it makes the probabilities no shares",
                hint="costs alone allow for rare classes",
            )
        names = dict(zip(classes.tolist(), target.classes, strict=True))
        return {names.get(name, name): cost for name, cost in given.items()}

    def _class_weight(self, classes: np.ndarray) -> Any:
        """``class_weight`` with codes for labels."""
        given = self.class_weight
        if given is None:
            return None
        if not isinstance(given, Mapping):
            if not isinstance(given, str) or given != "balanced":
                raise unknown_name("class_weight", given, ["balanced"])
            if self.resample is not None:
                raise ConfigError(
                    f"class_weight='balanced' and resample={self.resample!r} both even the classes out",
                    hint="use one of them",
                )
            return given
        codes = {label: code for code, label in enumerate(classes.tolist())}
        for label, value in given.items():
            if label not in codes:
                raise unknown_name("label in class_weight:", label, map(str, codes))
            if not np.isfinite(value) or value < 0:
                raise ConfigError(f"class_weight of {label!r} is {value!r}; expected a finite number of at least 0")
        return {codes[label]: value for label, value in given.items()}


def _target(classes: np.ndarray) -> TargetEncoder:
    """The target of these labels, whose code order is theirs."""
    kind = _KINDS.get(classes.dtype.kind, "text")
    names = [str(label).lower() if kind == "boolean" else str(label) for label in classes.tolist()]
    if kind == "float" and all(label.is_integer() for label in classes.tolist()):
        names = [str(int(label)) for label in classes.tolist()]
    return TargetEncoder("target", "binary" if len(names) == 2 else "multiclass", tuple(names), kind)
