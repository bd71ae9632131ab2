"""The usual scores of a prediction, by scikit-learn."""

from __future__ import annotations

import numpy as np

from danlu.tasks import TableModel

__all__ = ["score"]


def score(model: TableModel, truth: np.ndarray, prediction: np.ndarray) -> dict[str, float]:
    """Scores by name.

    Args:
        truth: the encoded target: class codes, or standardised values.
        prediction: as the model gives it.
    """
    from sklearn import metrics

    if model.target.task == "regression":
        values = model.target.inverse(truth)
        return {
            "rmse": float(metrics.root_mean_squared_error(values, prediction)),
            "mae": float(metrics.mean_absolute_error(values, prediction)),
            "r2": float(metrics.r2_score(values, prediction)),
        }
    numbers = np.arange(model.target.units)
    chosen = model.decide(prediction)
    scores = {
        "accuracy": float(metrics.accuracy_score(truth, chosen)),
        "balanced_accuracy": float(np.mean([np.mean(chosen[truth == k] == k) for k in np.unique(truth)])),
        "f1": float(metrics.f1_score(truth, chosen, average="macro", labels=numbers, zero_division=0)),
        "log_loss": float(metrics.log_loss(truth, prediction, labels=numbers)),
    }
    if len(np.unique(truth)) == len(numbers):
        probability = prediction[:, 1] if len(numbers) == 2 else prediction
        scores["roc_auc"] = float(metrics.roc_auc_score(truth, probability, multi_class="ovr"))
    return scores
