"""Logs of bandits: estimators, scores of actions, models of rewards."""

from __future__ import annotations

from mutations.mutation import of

MUTATIONS = [
    *of(
        "evaluate/logged.py",
        (
            "weights-upside-down",
            "self._of_action(self.policy) / self.propensity",
            "self.propensity / np.maximum(self._of_action(self.policy), 1e-9)",
            "bandits.unbiased",
        ),
        (
            "residual-unweighted",
            "direct + self.weights * (self.reward",
            "direct + (self.reward",
            "bandits.unbiased",
        ),
        ("snips-over-rows", 'if name == "snips_value" else', 'if name == "" else', "bandits.estimators"),
        ("effective-rows-unsquared", "float(w.sum() ** 2 / (w @ w))", "float(w.sum() / (w @ w))", "bandits.estimators"),
    ),
    *of(
        "bandits/losses.py",
        ("value-turned-round", "-(softmax(outputs) * scores)", "(softmax(outputs) * scores)", "bandits.policy_value"),
        ("weights-without-limit", "np.minimum(1 / propensity, most)", "(1 / propensity)", "bandits.policy_value"),
        ("every-action-learnt", "* done[between]).sum(-1)  #", ").sum(-1)  #", "bandits.logged_reward"),
        (
            "logging-left-out",
            "values = values - (log_softmax(",
            "values = values - 0 * (log_softmax(",
            "bandits.logged_reward",
        ),
    ),
]
