"""Scorecards: weights of evidence and information values, bins that only rise, points by bin."""

from __future__ import annotations

import itertools
import math

import numpy as np

from danlu.evaluate.binning import category_bins, evidence_of, information_of, number_bins
from danlu.nn.scorecard import Scorecard
from danlu.verify.case import Check, case

__all__: list[str] = []


@case("scorecard.evidence")
def evidence(check: Check) -> None:
    """Beside the logarithm of what logistic regression gives each bin alone: α + WoE is its log odds."""
    from sklearn.linear_model import LogisticRegression

    counts = np.array([[90.0, 10.0], [60.0, 30.0], [20.0, 35.0]])
    each = [(place, label) for place in range(3) for label in (0, 1) for _ in range(int(counts[place, label]))]
    x, y = np.eye(3)[[place for place, _ in each]], np.array([label for _, label in each])
    fitted = LogisticRegression(C=1e8, tol=1e-12, max_iter=10_000).fit(x, 1 - y)
    alpha = math.log(counts[:, 0].sum() / counts[:, 1].sum())
    check(fitted.decision_function(np.eye(3)) - alpha, evidence_of(counts), oracle="sklearn")
    good, bad = (counts / counts.sum(axis=0)).T
    told = sum(
        g * math.log(g / b) + b * math.log(b / g) for g, b in zip(good, bad, strict=True)
    )  # Jeffreys' divergence
    check(information_of(counts), told, oracle="closed form")


@case("scorecard.bins")
def bins(check: Check) -> None:
    """Of all ways to cut ten values into at most three bins that rise and are large enough, pooling reaches scikit-learn's isotonic fit."""
    from sklearn.isotonic import IsotonicRegression

    rng = np.random.default_rng(4)
    values = np.repeat(np.arange(10.0), 600)
    bad = rng.random(6000) < np.repeat(np.linspace(0.1, 0.9, 10)[[1, 0, 3, 2, 4, 6, 5, 8, 7, 9]], 600)
    found = number_bins(values, np.zeros(6000, bool), bad, most=10, share=0.001)
    smooth = IsotonicRegression().fit(values, bad).predict(np.arange(10.0))
    check(found is not None, True)
    if found is None:
        return
    place = np.searchsorted(found.edges, np.arange(10.0), side="right")
    share = found.counts[:-1, 1] / found.counts[:-1].sum(axis=1)
    merged = [
        smooth[place == each].mean() for each in range(len(share))
    ]  # each bin holds whole blocks of the isotonic fit
    check(share, merged, oracle="sklearn")
    check(all(a < b for a, b in itertools.pairwise(share)), True)
    codes = rng.integers(1, 5, 600)
    own = category_bins(codes, 6, -1, rng.random(600) < np.where(codes == 2, 0.8, 0.2), most=4, share=0.05)
    check(own is not None and own.of_code[2] not in own.of_code[[1, 3, 4]], True)


@case("layer.scorecard")
def layer(check: Check) -> None:
    """Each row's points by hand, missing values and codes that there were not among them."""
    net = Scorecard(2, gaps=(2, -1), edges=2, vocabularies=(3,))
    params, state, _ = net.init(None, {"numeric": (3,), "categorical": (1,)})  # type: ignore[arg-type]
    most = float(np.finfo(np.float32).max)
    state = {
        **state,
        "edges": np.array([[0.0, 1.0], [2.0, most]], np.float32),
        "steps": np.array([[5.0, -3.0], [7.0, 0.0]], np.float32),
        "first": np.array([10.0, 20.0], np.float32),
        "missing": np.array([4.0, 0.0], np.float32),
        "level": np.array([1.0, 2.0, 3.0], np.float32),
        "scale": np.array([2.0], np.float32),
    }
    params = {"weight": np.array([1.0, 0.5, -1.0], np.float32), "centre": np.array([30.0], np.float32)}
    rows = {
        "numeric": np.array([[-1, 0, 0], [0, 2, 0], [1, 5, 0], [0.5, 1, 1]], np.float32),
        "categorical": np.array([[0], [1], [2], [9]], np.int32),
    }
    check(net.values(state, rows), [[10, 20, 1], [15, 27, 2], [12, 27, 3], [4, 20, 1]], oracle="by hand")
    scores = np.array([10 + 10, 15 + 13.5, 12 + 13.5, 4 + 10])  # a weight below 0 is none
    check(net.apply(params, state, rows)[0], np.stack([np.zeros(4), (30 - scores) / 2], axis=1), oracle="by hand")
