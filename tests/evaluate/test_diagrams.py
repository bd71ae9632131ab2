"""The numbers of the diagrams: equal to scikit-learn's."""

import numpy as np
import pytest
from sklearn import metrics

from danlu.evaluate import Rows
from danlu.evaluate.diagrams import along, diagrams


def test_they_are_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    truth, p = rng.integers(2, size=60), rng.random(60).round(1)
    found = diagrams(Rows("binary", truth, np.stack([1 - p, p], axis=1)))
    assert found["confusion"] == metrics.confusion_matrix(truth, p >= 0.5).tolist()
    alarms, recall, _ = metrics.roc_curve(truth, p, drop_intermediate=False)
    assert found["roc"]["false_positive_rate"] == pytest.approx(alarms[1:], abs=1e-4)
    assert found["roc"]["recall"] == pytest.approx(recall[1:], abs=1e-4)
    precision, recall, threshold = metrics.precision_recall_curve(truth, p)
    own = dict(zip(found["precision_recall"]["threshold"], found["precision_recall"]["precision"], strict=True))
    assert own == pytest.approx(dict(zip(threshold.tolist(), precision[:-1].tolist(), strict=True)), abs=1e-4)
    assert sum(found["calibration"]["rows"]) == 60


def test_of_a_quantity_they_are_its_errors_and_of_several_classes_no_curves() -> None:
    assert diagrams(Rows("regression", np.zeros(4), np.array([1.0, 1, 1, 5])))["errors"]["bias"] == 2
    assert set(diagrams(Rows("multiclass", np.arange(3), np.eye(3)))) == {"confusion", "calibration"}


def test_a_curve_is_thinned_where_nobody_sees_it() -> None:
    x = np.linspace(0, 1, 100_000)
    places = along(x, x, 400)
    assert len(places) < 420
    assert (places[0], places[-1]) == (0, 99_999)
    assert np.diff(x[places]).max() < 0.01
