"""The scikit-learn estimators: frames, weights, labels, saving."""

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import cross_val_score

import danlu
from danlu import Classifier, Regressor
from danlu.data.twins import equal_rows
from danlu.errors import ConfigError
from danlu.estimators.base import checked_target
from danlu.estimators.frames import features

SMALL = {"epochs": 30, "members": 4, "width": 32, "kind": "network"}


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    rows = 240
    frame = pd.DataFrame(
        {
            "size": rng.normal(size=rows),
            "colour": rng.choice(["red", "green", "blue"], rows),
            "count": rng.integers(0, 9, rows),
        }
    )
    frame.loc[::7, "size"] = np.nan
    frame.loc[::11, "colour"] = None
    label = np.where((frame["size"].fillna(0) > 0) ^ (frame["colour"] == "red"), "yes", "no")
    return frame, label


@pytest.fixture(scope="module")
def fitted(table):
    return Classifier(**SMALL, random_state=0).fit(*table)


def test_frames_with_texts_and_gaps(table, fitted):
    frame, label = table
    assert fitted.score(frame, label) > 0.85
    assert list(fitted.classes_) == ["no", "yes"]
    assert list(fitted.feature_names_in_) == ["size", "colour", "count"]
    assert fitted.n_iter_ == len(fitted.history_) <= 30
    polars = pl.from_pandas(frame)
    np.testing.assert_array_equal(fitted.predict_proba(polars), fitted.predict_proba(frame))


def test_levels_never_seen_are_unknown(table, fitted):
    odd = table[0].head(3).assign(colour="violet")
    assert np.isfinite(fitted.predict_proba(odd)).all()


def test_a_frame_in_another_order_is_refused(table, fitted):
    with pytest.raises(ValueError, match="same order"):
        fitted.predict(table[0][["colour", "size", "count"]])


def test_a_model_survives_pickle_and_the_artifact(table, fitted, tmp_path):
    frame, _ = table
    expected = fitted.predict_proba(frame)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(fitted)).predict_proba(frame), expected)
    fitted.save(tmp_path / "artifact")
    loaded = danlu.load(tmp_path / "artifact")
    np.testing.assert_array_equal(loaded.predict_values(pl.from_pandas(frame)), expected)
    assert loaded.predict(pl.from_pandas(frame))["target"].to_list() == fitted.predict(frame).tolist()


def test_a_weight_is_a_number_of_copies_whatever_the_order(table):
    frame, label = table
    counts = np.arange(len(frame)) % 3
    rows = np.random.default_rng(0).permutation(np.repeat(np.arange(len(frame)), counts))
    weighted = Classifier(**SMALL, random_state=0).fit(frame, label, sample_weight=counts)
    repeated = Classifier(**SMALL, random_state=0).fit(frame.iloc[rows], label[rows])
    np.testing.assert_array_equal(weighted.predict_proba(frame), repeated.predict_proba(frame))


@pytest.mark.parametrize(
    "options", [{"class_weight": "balanced"}, {"class_weight": {"a": 5.0, "b": 1.0}}, {"resample": "oversample"}]
)
def test_answers_to_imbalance_find_more_of_the_rare_class(options):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 2))
    y = np.where(X[:, 0] + rng.normal(size=300) > 1.8, "a", "b")
    plain = Classifier(**SMALL, random_state=0).fit(X, y)
    other = Classifier(**SMALL, random_state=0, **options).fit(X, y)
    assert (other.predict(X) == "a").sum() > (plain.predict(X) == "a").sum()


def test_cross_validation_beats_chance_by_far():
    X, y = (values[:567] for values in load_breast_cancer(return_X_y=True))  # folds of one size share a program
    scores = cross_val_score(Classifier(**SMALL, random_state=0), X, y, cv=3, scoring="roc_auc")
    assert scores.min() > 0.96


@pytest.mark.parametrize(
    ("estimator", "y", "message"),
    [
        (Classifier(), np.zeros(6, int), "at least two classes"),
        (Classifier(), np.arange(6) / 7, "Unknown label type"),
        (Regressor(), np.full(6, np.nan), "NaN"),
        (Classifier(threshold="f1"), np.arange(6) % 2, "held-out rows"),
        (Classifier(resample="smote"), np.arange(6) % 2, "undersample"),
    ],
)
def test_a_mistake_is_one_clear_message(estimator, y, message):
    with pytest.raises(ValueError, match=message):
        clone(estimator).fit(np.random.default_rng(0).normal(size=(6, 2)), y)


def test_an_estimator_that_was_not_fitted_says_so():
    with pytest.raises(NotFittedError):
        Classifier().predict(np.zeros((2, 2)))


def test_masked_values_are_missing_and_masked_labels_are_refused():
    values = np.ma.masked_greater(np.arange(12.0).reshape(6, 2), 9)
    table, numeric = features(Regressor(), values)
    assert numeric
    assert np.isnan(table.frame.to_numpy()).sum() == 2
    with pytest.raises(ValueError, match="masked"):
        checked_target(np.ma.masked_greater(np.arange(6.0), 4))


def test_intervals_and_sets_are_methods_and_need_held_out_rows():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 2))
    y = X[:, 0] + rng.normal(size=80) / 4
    tiny = {"epochs": 2, "members": 5, "width": 4, "depth": 1, "random_state": 0}
    model = Regressor(**tiny).fit(X, y)
    ends = model.predict_interval(X, level=0.8)
    np.testing.assert_allclose(ends.mean(axis=1), model.predict(X))
    assert np.ptp(ends[:, 1] - ends[:, 0]) < 1e-9
    assert ((model.predict_interval(X, 0.95) - ends) * [-1, 1] > 0).all()
    with pytest.raises(ValueError, match="share above 0 and below 1"):
        model.predict_interval(X, level=95)
    tiny["kind"] = "network"  # the blend was the regressor's
    costly = Classifier(**tiny, cost={"fn": 9}, calibrate="temperature").fit(X, y > 0)
    sets = costly.predict_set(X, level=0.9)
    assert sets.shape == (80, 2)
    assert sets[np.arange(80), costly.predict_proba(X).argmax(axis=1)].all()
    assert costly.predict(X).tolist() == (costly.predict_proba(X)[:, 1] >= 0.1).tolist()
    assert costly.model_.head.temperature is not None
    with pytest.raises(ValueError, match="no scores of rows that it did not learn from"):
        Classifier(**tiny).fit(X[:30], y[:30] > 0).predict_set(X)
    with pytest.raises(ValueError, match="there is no mistake"):
        Classifier(**tiny, cost={"maybe": 2}).fit(X[:30], y[:30] > 0)
    weighted = Classifier(**tiny, class_weight="balanced").fit(X, y > 0)
    assert weighted.model_.head.temperature is None  # its probabilities are no shares, on purpose


@pytest.mark.parametrize("held", [None, 0.2])
def test_copies_of_a_row_are_held_out_together(table, monkeypatch, held):
    """Else a model is judged, calibrated and blended on rows that it knows."""
    frame, label = table
    told = {}

    def learn(data, **settings):
        told.update(settings, data=data)
        raise InterruptedError

    monkeypatch.setattr("danlu.estimators.base.learn", learn)
    with pytest.raises(InterruptedError):
        Classifier(validation_fraction=held, random_state=0).fit(frame, label, np.arange(len(frame)) % 3 + 1)
    inputs = [told["data"][0]] if held is None else [told["data"][0], told["validation"][0]]
    parts = told["folds"] if held is None else np.repeat([0, 1], [len(told["data"][1]), len(told["validation"][1])])
    rows = np.concatenate([np.concatenate([part["numeric"], part["categorical"]], axis=1) for part in inputs])
    groups = equal_rows([tuple(row) for row in rows.tolist()])
    assert len(groups) > len(set(groups.tolist())) > 200
    assert all(len(set(parts[groups == group].tolist())) == 1 for group in set(groups.tolist()))


@pytest.mark.parametrize(
    ("options", "said"),
    [({"cost": {"fn": 5}, "class_weight": "balanced"}, "no shares"), ({"cost": "fn=5"}, "expected costs by name")],
)
def test_costs_that_cannot_be_kept_to_are_refused(table, options, said):
    with pytest.raises(ConfigError, match=said):
        Classifier(**options).fit(*table)


def test_the_cost_of_a_label_is_named_by_the_label(table, monkeypatch):
    told = {}
    monkeypatch.setattr("danlu.estimators.base.learn", lambda data, **settings: told.update(settings) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        Classifier(cost={1: 5, "0>1": 2}).fit(table[0], (table[1] == "yes").astype(int))
    assert told["answers"].cost == {"1": 5, "0>1": 2}
