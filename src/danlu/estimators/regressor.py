"""danlu's regressor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from sklearn.base import RegressorMixin

from danlu.data import TargetEncoder
from danlu.errors import unknown_name
from danlu.estimators.base import TableEstimator, checked_target
from danlu.tasks import Imbalance

__all__ = ["Regressor"]

_LOSSES = ("mse", "mae", "huber")


class Regressor(RegressorMixin, TableEstimator):
    """A regressor for tables: danlu's default network and recipe behind scikit-learn's interface.

    What rows may hold, what weights mean and what is not supported is told at :class:`danlu.Classifier`. Several
    targets are not supported either.

    Args:
        loss: ``"mse"`` (the default; it predicts the mean), ``"mae"`` (the median) or ``"huber"``.
        epochs, batch_size, patience, learning_rate, weight_decay, members, width, depth, dropout, kind, kinds: see
            :class:`danlu.Classifier`.
        validation_fraction, random_state, verbose: see there.

    Attributes:
        model_: the trained :class:`danlu.trained.Trained`.
        blend_: see there.
        history_: a row (dict) an epoch, as :func:`danlu.fit` gives it; losses are those of the standardised target.
        n_iter_: epochs trained.
        n_features_in_, feature_names_in_: as everywhere in scikit-learn.

    Example:
        >>> x = np.linspace(-1, 1, 40)[:, None]
        >>> model = Regressor(epochs=60, members=2, width=16, depth=1, random_state=0).fit(x, 3 * x[:, 0] + 5)
        >>> model.score(x, 3 * x[:, 0] + 5) > 0.9
        True
    """

    def __init__(
        self,
        *,
        loss: str | None = None,
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
        self.loss = loss

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train on rows.

        Args:
            X: a frame or array ``(rows, columns)``.
            y: values ``(rows,)``.
            sample_weight: ``(rows,)``, at least 0; a weight of 2 is a row given twice.

        Raises:
            ValueError: rows, values, weights or parameters that cannot be used.
            TypeError: a sparse matrix, values in ``X`` that are neither numbers nor texts.
        """
        if self.loss is not None and self.loss not in _LOSSES:
            raise unknown_name("loss", self.loss, _LOSSES)
        values = checked_target(y).astype(np.float64)
        return self._learn(
            X, y, values, sample_weight, target=TargetEncoder("target", "regression"), imbalance=Imbalance()
        )

    def predict(self, X: Any) -> np.ndarray:
        """The values ``(rows,)``, float64."""
        return self._values(X)

    def predict_interval(self, X: Any, level: float = 0.9) -> np.ndarray:
        """The ends of the intervals that hold the true value in this share of all cases, ``(rows, 2)``, float64.

        They are as wide as the errors on held-out rows say (split conformal prediction; of five networks, each row's error is of the
        one that did not learn from it), and wider where predictions are of a size that is predicted worse; infinite where the rows are too
        few for the level.

        Raises:
            ConfigError: a level outside (0, 1), or no rows were held out in training.
        """
        values = self.predict(X)
        head: Any = self.model_.head.asking(interval=level)
        reach = head.scores.reach(head.asked, values)
        return np.stack([values - reach, values + reach], axis=1)
