"""ε as other libraries count it, and the ε that attacks prove, against closed forms."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from danlu.evaluate.lira import Moments, epsilon_of_guesses, epsilon_of_rates
from danlu.privacy import Ledger, together
from danlu.verify.case import Check, case

__all__ = ["SETTINGS"]

# noise multiplier, sampling, steps, δ; ε by Opacus 1.6.0's RDPAccountant and by its PRVAccountant(eps_error=0.01), whose bound is at most
# 0.01 above the true ε. Recorded by: a = RDPAccountant(); a.history = [(noise, sampling, steps)]; a.get_epsilon(delta=delta).
SETTINGS = (
    (0.7, 0.004, 11250, 1e-5, 6.092535247, 5.441528935),  # Opacus's three settings for MNIST
    (1.1, 0.004, 15000, 1e-5, 2.502870927, 2.305512439),
    (1.3, 0.004, 3750, 1e-5, 0.922048943, 0.843600663),
    (1.0, 0.01, 1000, 1e-5, 2.101365272, 1.838371637),
    (0.6, 0.0042666667, 7031, 1e-5, 8.769489171, 7.700530120),
    (2.0, 0.05, 500, 1e-6, 3.101868254, 2.882769459),
    (4.0, 0.2, 200, 1e-5, 3.340508469, 3.080024120),
    (0.8, 0.001, 20000, 1e-7, 2.221628492, 1.497564516),
    (5.0, 1.0, 50, 1e-5, 7.077391578, 6.583297946),
    (1.5, 0.02, 2500, 1e-4, 3.071398635, 2.781579549),
)
"""Settings, and the ε of other libraries."""


@case("privacy.epsilon", tolerance=2e-3, reason="Rényi orders and the widths of losses differ between libraries")
def epsilon(check: Check) -> None:
    """The ledger's ε by both accountants, and of the Gaussian mechanism in closed form."""
    check(together(2.0, 2.0), math.sqrt(2.0), oracle="closed form")
    if check.module("dp_accounting") is None:
        return
    stats: Any = check.module("scipy.stats")
    for noise, sampling, steps, delta, by_rdp, by_prv in SETTINGS[2::3]:  # the tests go through all
        ledger = Ledger().with_steps("training", noise=noise, sampling=sampling, steps=steps)
        check(ledger.epsilon(delta, by="rdp"), by_rdp, oracle="Opacus 1.6.0, recorded")
        tight = ledger.epsilon(delta)
        check(by_prv - 0.011 <= tight <= by_prv, True, oracle="Opacus 1.6.0, recorded")
        if sampling == 1:  # Balle & Wang (2018), theorem 8, of noise/√steps
            apart = math.sqrt(steps) / noise
            left = stats.norm.cdf(apart / 2 - tight / apart) - math.exp(tight) * stats.norm.cdf(
                -apart / 2 - tight / apart
            )
            check(math.log(left), math.log(delta), oracle="closed form")


@case("privacy.attack")
def attack(check: Check) -> None:
    """Scores by SciPy's Gaussians, and bounds by its binomials."""
    stats: Any = check.module("scipy.stats")
    rng = np.random.default_rng(0)
    values, member, own = rng.normal(size=(64, 6)), np.arange(64)[:, None] % 2 == np.arange(6) % 2, rng.normal(size=6)
    ratio = [
        stats.norm.logpdf(own[row], of[0].mean(), of[0].std(ddof=1))
        - stats.norm.logpdf(own[row], of[1].mean(), of[1].std(ddof=1))
        for row in range(6)
        for of in [(values[member[:, row], row], values[~member[:, row], row])]
    ]
    check(Moments(values, member).scores(own), np.array(ratio), oracle="scipy")
    low = stats.binomtest(400, 500).proportion_ci(0.95, "exact").low
    high = stats.binomtest(5, 500).proportion_ci(0.95, "exact").high
    check(epsilon_of_rates(400, 500, 5, 500, 1e-3), math.log((low - 1e-3) / high), oracle="scipy")
    share = 0.05 ** (1 / 80)
    check(epsilon_of_guesses(80, 80, 200), math.log(share / (1 - share)), oracle="closed form")
    proved = epsilon_of_guesses(70, 80, 200)
    check(stats.binom.sf(69, 80, 1 / (1 + math.exp(-proved))), 0.05, oracle="scipy")
