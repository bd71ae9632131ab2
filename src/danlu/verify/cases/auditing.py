"""Confident learning against its definition, row by row."""

from __future__ import annotations

import numpy as np

from danlu.auditing import confident_joint, label_errors
from danlu.verify.case import Check, case

__all__: list[str] = []


def _noisy() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    true = rng.integers(0, 4, 400)
    labels = np.where(rng.random(400) < 0.1, rng.integers(0, 4, 400), true)
    found = rng.dirichlet(np.ones(4), 400) + 2 * np.eye(4)[true]
    return labels, found / found.sum(1, keepdims=True)


@case("audit.confident_joint", tolerance=0.01, reason="counts are rounded to whole rows")
def joint(check: Check) -> None:
    """The definition of Northcutt et al. (2021), with a loop over the rows."""
    labels, found = _noisy()
    bounds = [float(np.mean([p[j] for p, y in zip(found, labels, strict=True) if y == j])) for j in range(4)]
    counts = [[0.0] * 4 for _ in range(4)]
    for p, y in zip(found.tolist(), labels.tolist(), strict=True):
        sure = [(p[j], j) for j in range(4) if p[j] >= bounds[j]]
        if sure:
            counts[y][max(sure)[1]] += 1
    expected = [[count / sum(line) * list(labels).count(y) for count in line] for y, line in enumerate(counts)]
    received = confident_joint(labels, found)
    check(np.abs(received - expected).max() <= 1, True, oracle="its definition")
    check(received.sum(1), np.bincount(labels), oracle="its definition")
    check(received / 400, np.array(expected) / 400, oracle="its definition", floor=1.0)


@case("audit.label_errors")
def errors(check: Check) -> None:
    """As many rows of each label as the joint says, by their margin, sorted by the probability of their label."""
    labels, found = _noisy()
    wanted = confident_joint(labels, found)
    wrong = set()
    for label in range(4):
        rows = [row for row in range(400) if labels[row] == label]
        for other in range(4):
            if other != label:
                rows.sort(key=lambda row: found[row][label] - found[row][other])
                wrong |= set(rows[: int(wanted[label][other])])
    kept = [row for row in wrong if max(found[row]) > found[row][labels[row]]]
    expected = sorted(kept, key=lambda row: float(found[row][labels[row]]))
    received = label_errors(labels, found)
    check(received.rows, expected, oracle="its definition")
    check(received.share, 1 - sum(wanted[j][j] for j in range(4)) / 400, oracle="its definition")
