"""Campaigns: the sums of a Qini curve, its areas, scores of effects, what decisions cost."""

from __future__ import annotations

from mutations.mutation import of

MUTATIONS = [
    *of(
        "evaluate/uplift.py",
        ("others-unscaled", "gained - mean * treated", "gained - had", "uplift.curves"),
        ("ties-apart", "ranked[1:] != ranked[:-1], [True]", "ranked[1:] == ranked[1:], [True]", "uplift.curves"),
        ("line-left-in", "- float(qini[-1]) / 2", "- 0 * float(qini[-1])", "uplift.curves"),
        ("others-weighed-as-treated", "1 / (1 - propensity))[of]", "1 / propensity)[of]", "uplift.curves"),
        ("others-added", "(treated - propensity) /", "(treated + propensity) /", "uplift.scores"),
        ("treated-for-nothing", "self.outcome - self.cost * done", "self.outcome", "uplift.value"),
    ),
]
