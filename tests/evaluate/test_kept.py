"""Baselines kept as arrays predict what scikit-learn's fitted models predict."""

import numpy as np
import pytest

from danlu.errors import ArtifactError
from danlu.evaluate import baselines
from danlu.evaluate.kept import Kept, kept_bytes, kept_from


@pytest.mark.parametrize("task", ["regression", "binary", "multiclass"])
@pytest.mark.parametrize("columns", ["numeric", "categorical", "both"])
def test_kept_models_predict_what_scikit_learn_predicts(task, columns):
    rng = np.random.default_rng(0)
    inputs = {
        "numeric": rng.normal(size=(300, 3)).astype("float32"),
        "categorical": np.stack([rng.integers(0, 7, 300), rng.integers(0, 300, 300)], 1).astype("int32"),
    }
    if columns != "both":
        inputs = {columns: inputs[columns]}
    signal = rng.normal(size=300) + sum(2.0 * (value[:, 0] > 0.5) for value in inputs.values())
    y = {"regression": signal, "binary": (signal > 1) * 1, "multiclass": np.digitize(signal, [0, 2]) * 2}[task]
    test = {key: value[:80].copy() for key, value in inputs.items()}
    if "categorical" in test:
        test["categorical"][:20, 0] = 99  # levels that were never seen
        test["categorical"][10:30, 1] = 400
    found = baselines(task, (inputs, y), test, classes=0 if task == "regression" else 5)
    assert len(found) == 3
    stored = {name: each.kept for name, each in found.items()}
    loaded = kept_from(kept_bytes(stored))
    for name, each in found.items():
        assert loaded[name].label == each.label
        np.testing.assert_allclose(loaded[name].predict(test), each.prediction, rtol=1e-5, atol=1e-6)


def test_a_damaged_file_of_models_is_refused():
    with pytest.raises(ArtifactError, match="damaged"):
        kept_from(b"nothing")


def trees(**changes):
    """Two trees of one question each, and what is to be changed of them."""
    arrays = {
        "roots": np.array([0, 3]), "feature": np.zeros(6, "i4"), "threshold": np.zeros(6), "left": np.array([1, 0, 0, 4, 0, 0]),
        "right": np.array([2, 0, 0, 5, 0, 0]), "value": np.arange(6.0), "leaf": np.array([0, 1, 1, 0, 1, 1], "u1"),
        "missing_left": np.zeros(6, "u1"), "set": np.full(6, -1), "sets": np.zeros((0, 8), "u4"), "start": np.zeros(1),
    }  # fmt: skip
    return Kept("boosting", "boosting", "trees", 0, arrays | {key: np.array(value) for key, value in changes.items()})


def test_trees_that_lead_back_are_refused_and_not_walked():
    rows = {"numeric": np.array([[-1.0], [1.0]], "f4")}
    assert kept_from(kept_bytes({"boosting": trees()}))["boosting"].predict(rows).tolist() == [5.0, 7.0]
    for left in ([0, 0, 0, 4, 0, 0], [1, 0, 0, 0, 0, 0], [9, 0, 0, 4, 0, 0]):
        with pytest.raises(ArtifactError, match="damaged: a tree is not in the order of its walk"):
            kept_from(kept_bytes({"boosting": trees(left=left)}))
    wrong = kept_from(kept_bytes({"boosting": trees(feature=[7] * 6)}))["boosting"]
    with pytest.raises(ArtifactError, match="the kept boosting does not fit the model's rows"):
        wrong.predict(rows)
