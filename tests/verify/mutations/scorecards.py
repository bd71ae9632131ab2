"""Scorecards."""

from __future__ import annotations

from mutations.mutation import of

MUTATIONS = [
    *of(
        "evaluate/binning.py",
        ("evidence-of-shares-of-rows", "(parts[:, 1] / whole[1])", "(parts[:, 1] / whole.sum())", "scorecard.evidence"),
        ("information-without-the-bad", "(shares[:, 0] - shares[:, 1]) @", "shares[:, 0] @", "scorecard.evidence"),
        (
            "no-pooling",
            "[_pooled(counts, sign) for sign in (1, -1)]",
            "[starts, list(starts)]",
            "scorecard.bins",
        ),
    ),
    *of(
        "nn/scorecard.py",
        ("edges-exclusive", 'None] >= held["edges"]', 'None] > held["edges"]', "layer.scorecard"),
        (
            "negative-weights",
            'jnp.maximum(single(params["weight"]), 0.0)',
            'single(params["weight"])',
            "layer.scorecard",
        ),
        ("missing-as-the-median", 'jnp.where(lost, held["missing"], value)', "value", "layer.scorecard"),
    ),
]
