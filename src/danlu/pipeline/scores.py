"""The usual scores of a prediction, by scikit-learn."""

from __future__ import annotations

import numpy as np
import polars as pl

from danlu.tasks import TableTask

__all__ = ["score"]


def score(task: TableTask, truth: pl.Series, prediction: np.ndarray) -> dict[str, float]:
    """Scores by name.

    Args:
        truth: the target column.
        prediction: as :meth:`danlu.tasks.TableTask.predict` gives it.

    Returns:
        RMSE, MAE and R² for regression; accuracy, balanced accuracy, macro F1, log loss and, where both classes occur,
        ROC-AUC for classification.
    """
    from sklearn import metrics

    if task.task == "regression":
        values = truth.cast(pl.Float64).to_numpy()
        return {
            "rmse": float(metrics.root_mean_squared_error(values, prediction)),
            "mae": float(metrics.mean_absolute_error(values, prediction)),
            "r2": float(metrics.r2_score(values, prediction)),
        }
    labels, numbers = task.encode(truth), np.arange(len(task.classes))
    chosen = prediction.argmax(axis=1)
    scores = {
        "accuracy": float(metrics.accuracy_score(labels, chosen)),
        "balanced_accuracy": float(np.mean([np.mean(chosen[labels == k] == k) for k in np.unique(labels)])),
        "f1": float(metrics.f1_score(labels, chosen, average="macro", labels=numbers, zero_division=0)),
        "log_loss": float(metrics.log_loss(labels, prediction, labels=numbers)),
    }
    if len(np.unique(labels)) == len(task.classes):
        probability = prediction[:, 1] if len(task.classes) == 2 else prediction
        scores["roc_auc"] = float(metrics.roc_auc_score(labels, probability, multi_class="ovr"))
    return scores
