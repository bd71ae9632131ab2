"""The forecaster and its losses: against NumPy row by row, finite differences, scikit-learn and autodiff."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.evaluate.following import followed
from danlu.nn import Forecaster, losses
from danlu.nn.backprop import trace
from danlu.nn.backprop.loss_rules import loss_backward
from danlu.verify.case import Check, case
from danlu.verify.cases.composites import drawn, output
from danlu.verify.oracles import draw, finite_difference

__all__: list[str] = []

Q = (0.1, 0.5, 0.8)
OUTPUTS, TARGETS = draw(5, 4, 4), draw(5, 4, seed=1)


def pinball_by_hand(z: Any) -> Any:
    """``max(q·e, (q − 1)·e)``, the mean for each example."""
    error = TARGETS[..., None] - z
    return np.maximum(np.array(Q) * error, (np.array(Q) - 1) * error).mean(axis=(1, 2))


def against(check: Check, loss: Any, outputs: Any, formula: Any) -> None:
    z, y = jnp.asarray(outputs, jnp.float32), jnp.asarray(TARGETS, jnp.float32)

    @jax.jit
    def run(z: Any) -> Any:
        values, back = jax.vjp(lambda z: loss(z, y), z)
        ones = jnp.ones_like(values)
        return values, back(ones)[0], loss_backward(loss, z, y, ones)[0]

    values, gradient, by_rule = run(z)
    check(values, formula(outputs))
    numeric = finite_difference(lambda z: float(formula(z).sum()), outputs)
    check(gradient, numeric, oracle="finite differences", floor=0.01)
    check(by_rule, numeric, oracle="finite differences", floor=0.01)


@case("loss.pinball")
def pinball(check: Check) -> None:
    outputs = OUTPUTS[..., 1:]
    against(check, losses.Pinball(Q), outputs, pinball_by_hand)
    if module := check.module("sklearn.metrics"):
        theirs = [module.mean_pinball_loss(TARGETS.ravel(), outputs[..., k].ravel(), alpha=q) for k, q in enumerate(Q)]
        mean = losses.Pinball(Q)(jnp.asarray(outputs, jnp.float32), jnp.asarray(TARGETS, jnp.float32)).mean()
        check(mean, np.mean(theirs), oracle="sklearn")


@case("loss.forecast")
def forecast(check: Check) -> None:
    def formula(z: Any) -> Any:
        return ((z[..., 0] - TARGETS) ** 2).mean(axis=1) + pinball_by_hand(z[..., 1:])

    against(check, losses.ForecastLoss(Q), OUTPUTS, formula)


NET = Forecaster(4, 2, observed=1, known=2, quantiles=Q, smoothing=3, hidden=3)
SHAPES = {"past": (6, 3), "known": (10, 2)}
INPUTS = {name: draw(3, *shape, seed=seed) for seed, (name, shape) in enumerate(SHAPES.items())}
GOALS = draw(3, 4, 2, seed=9)


def scaled(x: Any) -> tuple[Any, Any, Any]:
    spread = np.sqrt(x.var() + NET.epsilon)
    return (x - x.mean()) / spread, x.mean(), spread


def by_hand(p: dict[str, Any], past: Any, known: Any) -> Any:
    """One example, channel by channel, as the formula reads."""
    out = np.zeros((4, 2, 4))
    z, _, _ = scaled(past[:, 2])
    observed = z @ p["observed"]["kernel"] + p["observed"]["bias"]
    after = known[6:] - known[:6].mean(axis=0)
    for c in range(2):
        z, mean, spread = scaled(past[:, c])
        trend = np.convolve(np.pad(z, 1, mode="edge"), np.full(3, 1 / 3), "valid")
        first, last = p["hidden"]
        shape = (z - trend) @ p["linear"]["kernel"] + p["linear"]["bias"] + trend @ p["trend"]["kernel"]
        shape = shape + np.maximum(z @ first["kernel"] + first["bias"], 0) @ last["kernel"]
        own = slice(4 * c, 4 * c + 4)
        effects = (
            observed[:, None] * p["observed_effect"]["kernel"][0, own] + after @ p["known_effect"]["kernel"][:, own]
        )
        out[:, c] = mean + spread * shape.reshape(4, 4) + effects
    return out


@case("model.Forecaster")
def forecaster(check: Check) -> None:
    shapes, state = jax.eval_shape(lambda key: NET.init(key, SHAPES)[:2], jax.random.key(0))
    params, p = drawn(shapes)
    named = dict(zip([name for name, _ in NET.children()], p, strict=True))
    x = {name: jnp.asarray(array, jnp.float32) for name, array in INPUTS.items()}
    expected = np.stack([by_hand(named, INPUTS["past"][row], INPUTS["known"][row]) for row in range(3)])
    check(output(NET, params, state, x), expected, floor=0.1)

    loss, y = losses.ForecastLoss(Q), jnp.asarray(GOALS, jnp.float32)

    @jax.jit
    def gradients(params: Any) -> Any:
        total = lambda params: losses.reduce(loss(NET.apply(params, state, x)[0], y))  # noqa: E731
        return jax.grad(total)(params), trace(NET, params, state, x, y, loss).gradients

    automatic, walked = map(jax.tree.leaves, gradients(params))
    for ours, theirs in zip(walked, automatic, strict=True):
        check(ours, theirs, oracle="jax.grad", floor=0.1)


@case("forecast.followed_intervals")
def followed_intervals(check: Check) -> None:
    """Against a loop over single numbers that looks at each past forecast anew."""
    rng = np.random.default_rng(0)
    moments, asked, level = np.array([0, 2, 4, 6, 8, 12]), np.array([1, 8, 9, 20]), 0.7
    scores, start = rng.exponential(size=(6, 3, 2)), np.array([0.5, 1.0, 1.5])
    found = followed(start, scores, moments, asked, level=level)
    expected = np.empty_like(found)
    for step in range(3):
        gain = 0.2 * min(2 / (step + 3), 1)

        def at(moment: int, step: int = step, column: int = 0, gain: float = gain) -> float:
            """The factor at a moment, from all forecasts whose value came before it."""
            width = float(np.log(start[step]))
            for number, first in enumerate(moments):
                if first + step + 1 <= moment:
                    missed = scores[number, step, column] > at(int(first), step, column, gain)
                    width += gain * (level if missed else level - 1)
            return float(np.exp(width))

        for row, moment in enumerate(asked):
            for column in range(2):
                expected[row, step, column] = at(int(moment), step, column, gain)
    check(found, expected, oracle="a loop over single forecasts")
    late = np.concatenate([scores[:4], 9 + scores[4:]])
    check(followed(start, late, moments, asked[:3], level=level)[:2], expected[:2], oracle="values to come, changed")
