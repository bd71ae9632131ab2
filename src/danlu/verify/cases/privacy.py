"""ε as other libraries count it, the gradients that it is counted of, and the ε that attacks prove."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu import engine, nn
from danlu.engine.ghost import squared_norms
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


@case("privacy.ghost_norms")
def ghost_norms(check: Check) -> None:
    """The norm of each row's gradient, found without the gradient, against finite sums of it taken row by row."""
    model = nn.Sequential((nn.Embedding(30, 3), nn.Dense(4, "tanh"), nn.Flatten(), nn.Dense(2)))
    params, state, _ = model.init(jax.random.key(0), (5,))
    words = np.random.default_rng(0).integers(0, 30, (4, 5)).astype(np.int32)
    batch = {"x": words, "y": np.array([0, 1, 1, 0]), "weight": np.ones(4, np.float32)}

    def value(params: Any, row: Any, number: Any) -> Any:
        logits, _ = model.apply(params, state, row["x"][None], train=True)
        loss = -jax.nn.log_softmax(logits)[0, row["y"]] * row["weight"]
        return loss, {"loss": loss}

    found, _ = squared_norms(value, params, batch, jnp.arange(4))
    for row in range(4):
        one = {name: each[row] for name, each in batch.items()}
        own, _ = jax.grad(value, has_aux=True)(params, one, row)
        for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(own), strict=True):
            check(ours[row], np.square(np.asarray(theirs)).sum(), oracle="jax.grad of the row", floor=1e-2)


@case("privacy.noisy_step", tolerance=0.05, reason="the deviation of 8,000 random numbers is known to a hundredth")
def noisy_step(check: Check) -> None:
    """A private step: rows clipped and added up, divided by the expected rows, and noise of the size that is counted."""
    x = np.random.default_rng(1).normal(size=(6, 3)).astype(np.float32)
    model, weight = nn.Dense(2000), np.asarray([1, 1, 1, 1, 1, 1, 0, 0], np.float32)
    params, state, _ = model.init(jax.random.key(1), (3,))
    objective = engine.Supervised(model, nn.get_loss("mse"))
    batch = {"x": np.resize(x, (8, 3)), "y": np.zeros((8, 2000), np.float32), "weight": weight}

    def mean(noise: float) -> np.ndarray:
        own = engine.PerExample(clip=0.01, noise=noise, expected=4.0, at_once=4)
        begun = engine.TrainState.start(params, (), state, world=own.carried(jax.random.key(5)))
        grads, _, sums = own(objective, begun, batch, jax.random.key(2))
        found = own.finish(begun, grads, sums, jax.random.key(3)).grads
        return np.concatenate([np.ravel(found["bias"]), np.ravel(found["kernel"])])

    errors = 2 * (x @ np.asarray(params["kernel"]) + np.asarray(params["bias"])) / 2000  # of the mean of squares
    each = [np.concatenate([error, np.outer(row, error).ravel()]) for row, error in zip(x, errors, strict=True)]
    plain = mean(0.0)
    check(plain, sum(g * min(1.0, 0.01 / np.linalg.norm(g)) for g in each) / 4.0, oracle="loop in NumPy", floor=1e-3)
    check((mean(2.0) - plain).std(), 2.0 * 0.01 / 4.0, oracle="z·C/m")


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
