"""What a network has to beat: the commonest answer, a linear model, and gradient boosting, on the same rows."""

from __future__ import annotations

import dataclasses
import time
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from danlu.errors import unknown_name

__all__ = ["BASELINES", "Baseline", "baselines"]

_MOST_ROWS = 100_000
_MOST_LEVELS = 255

Inputs = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False)
class Baseline:
    """A simple model and its prediction for the test rows.

    Attributes:
        name: such as ``"linear"``.
        label: what it is, in words.
        prediction: probabilities ``(rows, classes)`` or values ``(rows,)``.
        seconds: time to fit and predict.
        notes: what was done differently, if anything.
    """

    name: str
    label: str
    prediction: np.ndarray
    seconds: float
    notes: tuple[str, ...] = ()


def _stacked(inputs: Inputs) -> np.ndarray:
    return np.concatenate(
        [np.asarray(inputs[k], np.float32) for k in ("numeric", "categorical", "text") if k in inputs], 1
    )


def _commonest(task: str) -> Any:
    from sklearn.dummy import DummyClassifier, DummyRegressor

    return DummyRegressor() if task == "regression" else DummyClassifier(strategy="prior")


def _linear(task: str, inputs: Inputs) -> Any:
    from sklearn.compose import make_column_transformer
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    first = inputs["numeric"].shape[1] if "numeric" in inputs else 0
    codes = list(range(first, first + (inputs["categorical"].shape[1] if "categorical" in inputs else 0)))
    encode = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), codes), remainder="passthrough")
    model = Ridge(alpha=1.0) if task == "regression" else LogisticRegression(max_iter=500)
    return make_pipeline(encode, model) if codes else model


def _boosting(task: str, inputs: Inputs) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    codes = np.asarray(inputs["categorical"]) if "categorical" in inputs else np.zeros((1, 0), np.int32)
    first = inputs["numeric"].shape[1] if "numeric" in inputs else 0
    few = [first + j for j in range(codes.shape[1]) if codes[:, j].max(initial=0) < _MOST_LEVELS]
    kind = HistGradientBoostingRegressor if task == "regression" else HistGradientBoostingClassifier
    return kind(categorical_features=few or None, random_state=0)


BASELINES: Mapping[str, tuple[dict[str, str], Callable[[str, Inputs], Any]]] = {
    "commonest": ({"regression": "the mean", "": "the commonest class"}, lambda task, inputs: _commonest(task)),
    "linear": ({"regression": "ridge regression", "": "logistic regression"}, _linear),
    "boosting": ({"": "HistGradientBoosting"}, _boosting),
}


def baselines(
    task: str,
    train: tuple[Inputs, np.ndarray],
    test: Inputs,
    *,
    classes: int = 0,
    weight: np.ndarray | None = None,
    seed: int = 0,
) -> dict[str, Baseline]:
    """Fit scikit-learn's default models on the rows that the network learnt from.

    Args:
        task: ``"regression"``, ``"binary"`` or ``"multiclass"``.
        train: encoded inputs (``"numeric"``, ``"categorical"``, ``"text"``) and labels or values. The network uses its validation
            rows to choose when to stop; a model without that need should be given them to learn from.
        test: encoded inputs to predict.
        classes: the number of classes; a class without training rows gets probability 0.
        weight: a weight for each training row.
        seed: decides which rows are kept of a table too large.

    Returns:
        By name: ``"commonest"`` (mean or majority), ``"linear"`` and ``"boosting"``. One that fails is left out.
    """
    if task not in ("regression", "binary", "multiclass"):
        raise unknown_name("task", task, ["regression", "binary", "multiclass"])
    x, y = _stacked(train[0]), np.asarray(train[1])
    notes: tuple[str, ...] = ()
    if len(y) > _MOST_ROWS:
        kept = np.sort(np.random.default_rng(seed).choice(len(y), _MOST_ROWS, replace=False))
        x, y, weight = x[kept], y[kept], None if weight is None else weight[kept]
        notes = (f"fitted to {_MOST_ROWS:,} of the {len(train[1]):,} rows",)
    return {
        name: Baseline(
            name, labels.get(task, labels.get("", "")), *_run(make(task, train[0]), x, y, weight, test, classes), notes
        )
        for name, (labels, make) in BASELINES.items()
    }


def _run(
    model: Any, x: np.ndarray, y: np.ndarray, weight: np.ndarray | None, test: Inputs, classes: int
) -> tuple[np.ndarray, float]:
    begun = time.perf_counter()
    given = {} if weight is None else {_weight_name(model): weight}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(x, y, **given)
    if not hasattr(model, "predict_proba"):
        return np.asarray(model.predict(_stacked(test)), np.float64), time.perf_counter() - begun
    known = model.predict_proba(_stacked(test))
    prediction = np.zeros((len(known), max(classes, int(model.classes_.max()) + 1)))
    prediction[:, model.classes_] = known
    return prediction, time.perf_counter() - begun


def _weight_name(model: Any) -> str:
    steps = getattr(model, "steps", None)
    return "sample_weight" if steps is None else f"{steps[-1][0]}__sample_weight"
