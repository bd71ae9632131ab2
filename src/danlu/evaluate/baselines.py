"""The baselines of a network: the most common answer, a linear model, and gradient boosting, on the same rows."""

from __future__ import annotations

import dataclasses
import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from danlu.errors import DataError, unknown_name
from danlu.evaluate.kept import Kept, kept_of, stacked
from danlu.evaluate.rows import TASKS
from danlu.evaluate.threads import spare_threads
from danlu.stages import stage

__all__ = ["BASELINES", "Baseline", "baselines", "boosting_model", "linear_model", "within"]

_MOST_ROWS = 100_000
_MOST_LEVELS = 255  # of a categorical column, in HistGradientBoosting
_WORK = {
    "commonest": math.inf,
    "linear": 5e7,
    "boosting": 2e8,
}  # rows times columns times classes: a minute on two cores
_PILOT = 2000  # rows whose time tells that of more
_CAUTION = 1.5

T = TypeVar("T")
Inputs = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False)
class Baseline:
    """A simple model and its prediction for the test rows.

    Attributes:
        name: such as ``"linear"``.
        label: what it is, in words.
        prediction: probabilities ``(rows, classes)`` or values ``(rows,)``.
        seconds: time to fit and predict.
        notes: what was done differently, if anything, such as ``"fitted to 100,000 of the 250,000 rows"``.
        kept: the fitted model as arrays.
    """

    name: str
    label: str
    prediction: np.ndarray
    seconds: float
    notes: tuple[str, ...] = ()
    kept: Kept | None = None


def _commonest(task: str) -> Any:
    from sklearn.dummy import DummyClassifier, DummyRegressor

    return DummyRegressor() if task == "regression" else DummyClassifier(strategy="prior")


def linear_model(task: str, inputs: Inputs, *, penalty: float = 1.0) -> Any:
    """Ridge or logistic regression of scikit-learn's, not fitted, with a column for each category of encoded rows.

    Args:
        penalty: of the squared slopes; scikit-learn's ``alpha``, or ``1 / C``.
    """
    from sklearn.compose import make_column_transformer
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    first = inputs["numeric"].shape[1] if "numeric" in inputs else 0
    codes = list(range(first, first + (inputs["categorical"].shape[1] if "categorical" in inputs else 0)))
    encode = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), codes), remainder="passthrough")
    model = Ridge(alpha=penalty) if task == "regression" else LogisticRegression(C=1 / penalty, max_iter=500)
    return make_pipeline(encode, model) if codes else model


def boosting_model(task: str, inputs: Inputs, **settings: Any) -> Any:
    """HistGradientBoosting of scikit-learn's, not fitted, for encoded rows.

    Args:
        **settings: of scikit-learn's.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    codes = np.asarray(inputs["categorical"]) if "categorical" in inputs else np.zeros((1, 0), np.int32)
    first = inputs["numeric"].shape[1] if "numeric" in inputs else 0
    few = [first + j for j in range(codes.shape[1]) if codes[:, j].max(initial=0) < _MOST_LEVELS]
    kind = HistGradientBoostingRegressor if task == "regression" else HistGradientBoostingClassifier
    return kind(categorical_features=few or None, **{"random_state": 0, **settings})


BASELINES: Mapping[str, tuple[dict[str, str], Callable[[str, Inputs], Any]]] = {
    "commonest": ({"regression": "the mean", "": "the most common class"}, lambda task, inputs: _commonest(task)),
    "linear": ({"regression": "ridge regression", "": "logistic regression"}, linear_model),
    "boosting": ({"": "HistGradientBoosting"}, boosting_model),
}
"""How each baseline is called by task, and how it is made: ``(task, inputs) -> an unfitted scikit-learn model``."""


def baselines(
    task: str,
    train: tuple[Inputs, np.ndarray],
    test: Inputs,
    *,
    classes: int = 0,
    weight: np.ndarray | None = None,
    seed: int = 0,
    names: Sequence[str] = tuple(BASELINES),
    seconds: float | None = None,
) -> dict[str, Baseline]:
    """Fit scikit-learn's default models on the rows that the network learnt from.

    The linear model gets each category as a column of its own (an unknown one as zeros); HistGradientBoosting gets the
    codes as categories where a column has at most 255, and as numbers where it has more.

    Args:
        task: ``"regression"``, ``"binary"`` or ``"multiclass"``.
        train: encoded inputs (``"numeric"``, ``"categorical"``, ``"text"``) and labels or values. The network uses its validation
            rows to choose when to stop; a model without that need should be given them to learn from.
        test: encoded inputs to predict.
        classes: the number of classes; a class without training rows gets probability 0.
        weight: a weight for each training row.
        names: which of them.
        seed: decides which rows are kept of a table too large, at most 100,000 and fewer for many columns and classes.
        seconds: about the most that all of them may take together; one that would take longer learns from fewer rows, and says so in
            its notes. None sets no limit.

    Returns:
        By name: ``"commonest"`` (mean or majority), ``"linear"`` and ``"boosting"``. One that scikit-learn cannot fit to
        these rows is left out (a linear model of one class, say).

    Raises:
        ConfigError: an unknown task.
        DataError: inputs of other lengths than the labels.

    Example:
        >>> x = {"numeric": np.arange(8.0)[:, None]}
        >>> found = baselines("regression", (x, 2 * np.arange(8.0)), x)
        >>> found["commonest"].label, found["commonest"].prediction[0].item()
        ('the mean', 7.0)
    """
    if task not in TASKS:
        raise unknown_name("task", task, TASKS)
    x, y, asked = stacked(train[0]), np.asarray(train[1]), stacked(test)
    if len(x) != len(y) or not len(y):
        raise DataError(f"{len(x)} rows of inputs and {len(y)} labels; expected one for each, and some")
    found: dict[str, Baseline] = {}
    for place, name in enumerate(names):
        labels, make = BASELINES[name]
        label = labels.get(task, labels.get("", ""))
        spent = sum(each.seconds for each in found.values())
        share = None if seconds is None else max(seconds - spent, 0.0) / (len(names) - place)
        most = int(min(_MOST_ROWS, max(_WORK[name] / max(x.shape[1] * max(classes, 1), 1), 1000)))

        def attempt(kept: np.ndarray, make: Any = make) -> Any:
            part = None if weight is None else weight[kept]
            return _run(make(task, train[0]), x[kept], y[kept], part, asked, classes)

        with stage(label, limit=share):
            fitted, used, took = within(attempt, len(y), most=most, seconds=share, seed=seed)
        if fitted is not None:
            notes = () if used == len(y) else (f"fitted to {used:,} of the {len(y):,} rows",)
            kept = kept_of(name, label, fitted[2], 0 if task == "regression" else fitted[0].shape[1])
            found[name] = Baseline(name, label, fitted[0], took, (*notes, *fitted[1]), kept)
    return found


def within(
    attempt: Callable[[np.ndarray], T],
    rows: int,
    *,
    most: int | None = None,
    seconds: float | None = None,
    seed: int = 0,
) -> tuple[T, int, float]:
    """The result of a fit to as many rows as ``seconds`` allow, estimated from the time for a few rows.

    Args:
        attempt: fits to the rows of these numbers, in ascending order; its time grows about as their number.
        rows: how many there are.
        most: the most to fit to.
        seconds: about the most that it may take, all attempts together.
        seed: decides which rows are taken.

    Returns:
        The result of the last attempt, its number of rows, and the seconds that all took.

    Example:
        >>> within(lambda kept: len(kept), 50_000, most=20_000)[:2]
        (20000, 20000)
    """
    most = rows if most is None else min(most, rows)
    order = np.random.default_rng(seed).permutation(rows)
    count = most if seconds is None else min(_PILOT, most)
    begun = time.perf_counter()
    with spare_threads():
        while True:
            started = time.perf_counter()
            found = attempt(np.sort(order[:count]))
            now = time.perf_counter()
            if count == most or seconds is None:
                return found, count, now - begun
            affordable = int((seconds - (now - begun)) / (_CAUTION * (now - started)) * count)
            if affordable < 1.5 * count:
                return found, count, now - begun
            # A step at a time where it is near the limit, since the time may grow faster than the number of rows.
            count = most if affordable > 4 * most else min(affordable, 4 * count, most)


def _run(
    model: Any, x: np.ndarray, y: np.ndarray, weight: np.ndarray | None, test: np.ndarray, classes: int
) -> tuple[np.ndarray, tuple[str, ...], Any] | None:
    """The prediction, what is to be said about it, and the fitted model; None when the model refuses the rows."""
    from sklearn.exceptions import ConvergenceWarning

    given = {} if weight is None else {_weight_name(model): weight}
    with warnings.catch_warnings(record=True) as raised:
        warnings.simplefilter("always")
        try:
            model.fit(x, y, **given)
        except ValueError:
            try:  # gradient boosting holds rows back to know when to stop, which a class of one row does not allow
                model.set_params(early_stopping=False).fit(x, y, **given)
            except ValueError:
                return None
        classifies = hasattr(model, "predict_proba")
        known = np.asarray((model.predict_proba if classifies else model.predict)(test), np.float64)
    early = any(issubclass(each.category, ConvergenceWarning) for each in raised)
    notes = ("stopped before it had converged",) if early else ()
    if not classifies:
        return known, notes, model
    if known.shape[1] != len(model.classes_):  # gradient boosting of one class answers with two
        return None
    prediction = np.zeros((len(known), max(classes, int(model.classes_.max()) + 1)))
    prediction[:, model.classes_] = known
    return prediction, notes, model


def _weight_name(model: Any) -> str:
    steps = getattr(model, "steps", None)
    return "sample_weight" if steps is None else f"{steps[-1][0]}__sample_weight"
