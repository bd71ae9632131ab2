"""Optimizers: twenty updates of a linear model, against the formulas in float64, optax and PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu import optim
from danlu.verify.case import Check, case
from danlu.verify.oracles import draw, to_torch

__all__: list[str] = []

STEPS, RATE = 20, 0.05
X, Y = draw(12, 4), draw(12, seed=1)
START = {"w": draw(4, seed=2), "b": draw(1, seed=3)}
Rule = Callable[[Any, Any, int, dict[str, Any]], Any]


def gradient(theta: dict[str, Any]) -> dict[str, Any]:
    """Of half the mean squared error, by hand."""
    error = (X @ theta["w"] + theta["b"] - Y) / len(Y)
    return {"w": X.T @ error, "b": error.sum(keepdims=True)}


def by_hand(rule: Rule) -> dict[str, Any]:
    """``STEPS`` updates in float64; ``rule(g, θ, t, memory)`` is what is added to θ."""
    theta: dict[str, Any] = dict(START)
    memories: dict[str, dict[str, Any]] = {name: {} for name in theta}
    for t in range(1, STEPS + 1):
        grads = gradient(theta)
        theta = {name: theta[name] + rule(grads[name], theta[name], t, memories[name]) for name in theta}
    return theta


def trained(optimizer: Any, dtype: Any = jnp.float32) -> dict[str, Any]:
    """The same updates by an optimizer of danlu's protocol, as one scan."""
    x, y, start = jax.tree.map(lambda a: jnp.asarray(a, dtype), (X, Y, START))

    def step(carry: Any, _: None) -> tuple[Any, None]:
        theta, state = carry
        error = (x @ theta["w"] + theta["b"] - y) / len(y)
        grads = {"w": x.T @ error, "b": jnp.sum(error, keepdims=True)}
        updates, state = optimizer.update(grads, state, theta)
        return (jax.tree.map(jnp.add, theta, updates), state), None

    return jax.jit(lambda carry: jax.lax.scan(step, carry, length=STEPS)[0][0])((start, optimizer.init(start)))


def compare(check: Check, optimizer: Any, rule: Rule, *, optax: Any, torch: Any) -> None:
    """Against the formula, and against what ``optax(module)`` and ``torch(module.optim, parameters)`` make (None: it has none)."""
    ours, expected = trained(optimizer), by_hand(rule)
    for name in START:
        check(ours[name], expected[name], floor=0.1)
    if module := check.module("optax"):
        with jax.enable_x64(True):  # in float32, optax's own bias corrections are off by 1e-5
            theirs = jax.tree.map(np.asarray, trained(optax(module), jnp.float64))
        for name in START:
            check(ours[name], theirs[name], oracle="optax", floor=0.1)
    if torch is not None and (module := check.module("torch")):
        theta = {name: to_torch(module, value, grad=True) for name, value in START.items()}
        stepper = torch(module.optim, list(theta.values()))
        for _ in range(STEPS):
            for name, value in gradient({name: p.detach().numpy() for name, p in theta.items()}).items():
                theta[name].grad = to_torch(module, value)
            stepper.step()
        for name in START:
            check(ours[name], theta[name].detach().numpy(), oracle="torch", floor=0.1)


@case("optimizer.sgd")
def sgd(check: Check) -> None:
    compare(
        check,
        optim.sgd(RATE),
        lambda g, theta, t, memory: -RATE * g,
        optax=lambda optax: optax.sgd(RATE),
        torch=lambda torch, params: torch.SGD(params, RATE),
    )


def _velocity(g: Any, memory: dict[str, Any]) -> Any:
    memory["v"] = 0.9 * memory.get("v", 0.0) + g
    return memory["v"]


@case("optimizer.momentum")
def momentum(check: Check) -> None:
    compare(
        check,
        optim.momentum(RATE),
        lambda g, theta, t, memory: -RATE * _velocity(g, memory),
        optax=lambda optax: optax.sgd(RATE, momentum=0.9),
        torch=lambda torch, params: torch.SGD(params, RATE, momentum=0.9),
    )


@case("optimizer.nesterov")
def nesterov(check: Check) -> None:
    compare(
        check,
        optim.nesterov(RATE),
        lambda g, theta, t, memory: -RATE * (g + 0.9 * _velocity(g, memory)),
        optax=lambda optax: optax.sgd(RATE, momentum=0.9, nesterov=True),
        torch=lambda torch, params: torch.SGD(params, RATE, momentum=0.9, nesterov=True),
    )


@case("optimizer.adagrad")
def adagrad(check: Check) -> None:
    def rule(g: Any, theta: Any, t: int, memory: dict[str, Any]) -> Any:
        memory["sum"] = memory.get("sum", 0.1) + g**2
        return -RATE * g / (np.sqrt(memory["sum"]) + 1e-8)

    compare(
        check,
        optim.adagrad(RATE, initial_accumulator=0.1),
        rule,
        optax=lambda optax: optax.adagrad(RATE, initial_accumulator_value=0.1, eps=0.0),
        torch=lambda torch, params: torch.Adagrad(params, RATE, initial_accumulator_value=0.1, eps=1e-8),
    )


@case("optimizer.rmsprop")
def rmsprop(check: Check) -> None:
    def rule(g: Any, theta: Any, t: int, memory: dict[str, Any]) -> Any:
        memory["s"] = 0.9 * memory.get("s", 0.0) + 0.1 * g**2
        return -RATE * g / (np.sqrt(memory["s"]) + 1e-8)

    compare(
        check,
        optim.rmsprop(RATE),
        rule,
        optax=lambda optax: optax.rmsprop(RATE, decay=0.9, eps=1e-8, eps_in_sqrt=False),
        torch=lambda torch, params: torch.RMSprop(params, RATE, alpha=0.9, eps=1e-8),
    )


def _adam(g: Any, theta: Any, t: int, memory: dict[str, Any]) -> Any:
    memory["m"] = 0.9 * memory.get("m", 0.0) + 0.1 * g
    memory["v"] = 0.999 * memory.get("v", 0.0) + 0.001 * g**2
    return -RATE * (memory["m"] / (1 - 0.9**t)) / (np.sqrt(memory["v"] / (1 - 0.999**t)) + 1e-8)


@case("optimizer.adam")
def adam(check: Check) -> None:
    compare(
        check,
        optim.adam(RATE),
        _adam,
        optax=lambda optax: optax.adam(RATE),
        torch=lambda torch, params: torch.Adam(params, RATE),
    )


@case("optimizer.adamw")
def adamw(check: Check) -> None:
    compare(
        check,
        optim.adamw(RATE, weight_decay=0.1),
        lambda g, theta, t, memory: _adam(g, theta, t, memory) - RATE * 0.1 * theta,
        optax=lambda optax: optax.adamw(RATE, weight_decay=0.1),
        torch=lambda torch, params: torch.AdamW(params, RATE, weight_decay=0.1),
    )


@case("optimizer.yogi")
def yogi(check: Check) -> None:
    def rule(g: Any, theta: Any, t: int, memory: dict[str, Any]) -> Any:
        memory["m"] = 0.9 * memory.get("m", 0.0) + 0.1 * g
        v = memory.get("v", np.zeros_like(g))
        memory["v"] = v - 0.001 * np.sign(v - g**2) * g**2
        return -RATE * (memory["m"] / (1 - 0.9**t)) / (np.sqrt(memory["v"] / (1 - 0.999**t)) + 1e-3)

    def theirs(optax: Any) -> Any:
        return optax.chain(optax.scale_by_yogi(0.9, 0.999, 1e-3, initial_accumulator_value=0.0), optax.scale(-RATE))

    compare(check, optim.yogi(RATE), rule, optax=theirs, torch=None)


@case("optimizer.flatten")
def flatten(check: Check) -> None:
    compare(
        check,
        optim.flatten(optim.adam(RATE)),
        _adam,
        optax=lambda optax: optax.flatten(optax.adam(RATE)),
        torch=lambda torch, params: torch.Adam(params, RATE),
    )


@case("optimizer.weight_decay")
def weight_decay(check: Check) -> None:
    compare(
        check,
        optim.chain(optim.weight_decay(0.1), optim.sgd(RATE)),
        lambda g, theta, t, memory: -RATE * (g + 0.1 * theta),
        optax=lambda optax: optax.chain(optax.add_decayed_weights(0.1), optax.sgd(RATE)),
        torch=lambda torch, params: torch.SGD(params, RATE, weight_decay=0.1),
    )
