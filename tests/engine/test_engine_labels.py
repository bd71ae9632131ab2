"""Several labels an example: binary cross-entropy over ``(batch, k)`` targets through training and evaluation."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, log_loss

from danlu import nn
from danlu.engine import fit


def test_labels_are_learnt_each_by_itself():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 5)).astype(np.float32)
    y = (x @ rng.normal(size=(5, 3)) > 0.5).astype(np.int32)
    assert len({tuple(row) for row in y}) > 4, "any combination of labels"
    fitted = fit(
        nn.MLP((16,), 3),
        (x[:300], y[:300]),
        loss="binary_cross_entropy",
        metrics=["label_accuracy"],
        epochs=30,
        learning_rate=0.02,
        display="none",
    )
    found, logits = fitted.evaluate((x[300:], y[300:])), fitted.predict(x[300:])
    assert found["label_accuracy"] > 0.92
    right = [accuracy_score(y[300:, label], logits[:, label] > 0) for label in range(3)]
    assert found["label_accuracy"] == pytest.approx(np.mean(right), abs=1e-6)
    chance = 1 / (1 + np.exp(-logits.astype(np.float64)))
    assert found["loss"] == pytest.approx(np.mean([log_loss(y[300:, k], chance[:, k]) for k in range(3)]), rel=1e-4)
