"""Permutation importance: against scikit-learn's, and what it must say of columns that do not matter."""

from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.inspection import permutation_importance as of_sklearn

from danlu.errors import ConfigError
from danlu.evaluate import Rows, permutation_importance, related_columns


class Linear(RegressorMixin, BaseEstimator):
    """A model as scikit-learn's function wants it."""

    def fit(self, x, y):
        return self

    def __sklearn_is_fitted__(self):
        return True

    def predict(self, x):
        return np.asarray(x) @ [3.0, 1.0, 0.0]


def frame_of(rows=600):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, 3))
    return pl.DataFrame(x, schema=["strong", "weak", "unused"]), x @ [3.0, 1.0, 0.0] + rng.normal(size=rows)


def predict(frame):
    return Linear().predict(frame.select("strong", "weak", "unused").to_numpy())


def test_it_is_that_of_scikit_learn():
    frame, truth = frame_of()
    ours = permutation_importance(predict, frame, Rows("regression", truth, predict(frame)), frame.columns, repeats=40)
    theirs = of_sklearn(
        Linear(), frame.to_numpy(), truth, scoring="neg_root_mean_squared_error", n_repeats=40, random_state=1
    )
    assert [each.columns[0] for each in ours] == ["strong", "weak", "unused"]
    for each, mean, spread in zip(ours, theirs.importances_mean, theirs.importances_std, strict=True):
        assert each.drop == pytest.approx(mean, abs=4 * spread / np.sqrt(40) + 1e-12)
        assert each.spread == pytest.approx(spread, rel=0.5, abs=1e-12)
    assert [each.matters for each in ours] == [True, True, False]


@pytest.mark.parametrize("classes", [2, 3])
def test_of_classes_more_is_better(classes):
    rng = np.random.default_rng(1)
    truth = rng.integers(classes, size=300)
    frame = pl.DataFrame({"class": truth, "noise": rng.normal(size=300)})

    def chances(frame):
        return np.eye(classes)[frame["class"].to_numpy()] * 0.8 + 0.2 / classes

    task = "binary" if classes == 2 else "multiclass"
    found = permutation_importance(chances, frame, Rows(task, truth, chances(frame)), frame.columns)
    assert found[0].columns == ("class",)
    assert found[0].drop == pytest.approx(1 - 1 / classes, abs=0.08)
    assert (found[1].drop, found[1].matters) == (0.0, False)


def test_columns_that_tell_the_same_are_shuffled_together():
    rng = np.random.default_rng(2)
    x = rng.normal(size=400)
    colour = rng.choice(["red", "green", "blue"], 400)
    frame = pl.DataFrame(
        {
            "cm": x,
            "inch": x / 2.54,
            "colour": colour,
            "couleur": [name[0] for name in colour],
            "free": rng.normal(size=400),
        }
    )
    groups = related_columns(frame, frame.columns)
    assert groups == (("cm", "inch"), ("colour", "couleur"))

    def either(frame):  # the mean of both: each alone can be missed
        return (frame["cm"].to_numpy() + 2.54 * frame["inch"].to_numpy()) / 2

    found = {
        each.columns: each.drop
        for each in permutation_importance(either, frame, Rows("regression", x, x), frame.columns, groups=groups)
    }
    assert found[("cm", "inch")] > 1.5 * found[("cm",)] > 0
    assert found[("free",)] == found[("colour", "couleur")] == 0


def test_it_keeps_to_its_time_and_rows(monkeypatch):
    frame, truth = frame_of()
    now, sizes = [0.0], []

    def slow(frame):
        now[0] += 1e-3 * frame.height
        sizes.append(frame.height)
        return predict(frame)

    monkeypatch.setattr("danlu.evaluate.importance.time", SimpleNamespace(perf_counter=lambda: now[0]))
    rows = Rows("regression", truth, predict(frame))
    permutation_importance(slow, frame, rows, frame.columns, most=200)
    assert sizes == [200, 15 * 200]  # the shuffles are predicted together
    now[0] = 0.0
    found = permutation_importance(slow, frame, rows, frame.columns, seconds=2.0, repeats=5)
    assert now[0] < 2.0 + 3 * 0.6  # besides the first measurements
    assert (found[0].repeats, found[0].rows) == (2, 333)
    with pytest.raises(ConfigError, match="at least 2"):
        permutation_importance(slow, frame, rows, frame.columns, repeats=1)


def test_the_same_seed_shuffles_alike():
    frame, truth = frame_of(100)
    rows = Rows("regression", truth, predict(frame))
    one, same, other = (permutation_importance(predict, frame, rows, frame.columns, seed=seed) for seed in (3, 3, 4))
    assert one == same != other
