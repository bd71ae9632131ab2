"""Segments: likeness of divisions, prediction strength, clouds without segments, probabilities."""

from __future__ import annotations

from mutations.mutation import of

MUTATIONS = [
    *of(
        "evaluate/clustered.py",
        (
            "rand-without-chance",
            "chance = a * b / every if every > 0 else 0.0",
            "chance = 0.0",
            "segments.adjusted_rand",
        ),
        ("told-upside-down", "1 - float(by @ self.own) / whole", "float(by @ self.own) / whole", "segments.explained"),
    ),
    *of(
        "segments/choose.py",
        (
            "strength-of-the-best",
            "(size * (size - 1))).min())",
            "(size * (size - 1))).max())",
            "segments.prediction_strength",
        ),
        ("clouds-not-asked", "if chance[place] <= _SURE:", "if chance[place] <= 1.0:", "segments.number"),
    ),
    *of(
        "segments/head.py",
        ("spread-unsquared", "(2 * self.spread**2)", "(2 * self.spread)", "segments.probability"),
        ("distance-in-codes", "outputs.shape[-1]) / self.spread", "outputs.shape[-1])", "segments.probability"),
    ),
    *of(
        "segments/network.py",
        (
            "numbers-without-end",
            'jnp.clip(jnp.asarray(x["numeric"]), -_FAR, _FAR)',
            'jnp.asarray(x["numeric"])',
            "segments.misfit",
        ),
        ("entropy-of-any-size", "axis=-1) / np.log(high - low))", "axis=-1))", "segments.misfit"),
    ),
]
