"""Confident learning: cleanlab's own answers, and the formula written out row by row."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest
from golden_values import Golden

from danlu.auditing import confident_joint, label_errors
from danlu.errors import DataError


def noisy(rows: int, classes: int, noise: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    true = rng.choice(classes, rows, p=rng.dirichlet(np.full(classes, 3.0)))
    labels = np.where(rng.random(rows) < noise, rng.integers(0, classes, rows), true)
    labels[:classes] = np.arange(classes)
    found = rng.dirichlet(np.ones(classes), rows) + 2 * np.eye(classes)[true] * rng.random((rows, 1))
    return labels, found / found.sum(1, keepdims=True)


@pytest.mark.parametrize("case", [(300, 2, 0.1), (600, 3, 0.2), (900, 7, 0.05), (80, 12, 0.1)])
def test_the_labels_called_wrong_are_those_of_cleanlab(case: tuple[int, int, float], golden: Golden) -> None:
    labels, found = noisy(*case, seed=sum(map(int, case)))

    def compute(_: ModuleType) -> dict[str, Any]:
        from cleanlab.count import compute_confident_joint
        from cleanlab.filter import find_label_issues

        ranked = find_label_issues(labels, found, return_indices_ranked_by="self_confidence", n_jobs=1)
        return {"ranked": ranked, "joint": compute_confident_joint(labels, found)}

    theirs = golden("cleanlab", compute)
    ours = label_errors(labels, found)
    np.testing.assert_array_equal(ours.joint, theirs["joint"])
    np.testing.assert_array_equal(ours.rows, theirs["ranked"])


def test_arrays_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DataError, match="expected"):
        label_errors(np.zeros(3, int), np.zeros((4, 2)))
    with pytest.raises(DataError, match="codes from 0"):
        confident_joint(np.array([0, 5]), np.full((2, 2), 0.5))
