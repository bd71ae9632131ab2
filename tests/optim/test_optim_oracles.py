"""Twenty updates on one small problem: danlu against NumPy in float64 by hand, optax and PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from danlu import optim

STEPS = 20
RATE = 0.05
DRAW = np.random.default_rng(0)
MATRIX, TARGET, START = DRAW.normal(size=(12, 4)), DRAW.normal(size=12), DRAW.normal(size=4)


def gradient(theta: np.ndarray) -> np.ndarray:
    """Of half the mean squared error of a linear model, by hand."""
    return MATRIX.T @ (MATRIX @ theta - TARGET) / len(TARGET)


def by_hand(rule: Callable[..., np.ndarray]) -> np.ndarray:
    theta, memory = START.copy(), {}
    for t in range(1, STEPS + 1):
        theta = theta + rule(gradient(theta), theta, t, memory)
    return theta


def sgd(g: Any, theta: Any, t: int, memory: dict) -> Any:
    return -RATE * g


def momentum(g: Any, theta: Any, t: int, memory: dict) -> Any:
    memory["v"] = 0.9 * memory.get("v", 0) + g
    return -RATE * memory["v"]


def nesterov(g: Any, theta: Any, t: int, memory: dict) -> Any:
    memory["v"] = 0.9 * memory.get("v", 0) + g
    return -RATE * (g + 0.9 * memory["v"])


def adagrad(g: Any, theta: Any, t: int, memory: dict) -> Any:
    memory["G"] = memory.get("G", 0) + g * g
    return -RATE * g / (np.sqrt(memory["G"]) + 1e-8)


def rmsprop(g: Any, theta: Any, t: int, memory: dict) -> Any:
    memory["s"] = 0.9 * memory.get("s", 0) + 0.1 * g * g
    return -RATE * g / (np.sqrt(memory["s"]) + 1e-8)


def adam(g: Any, theta: Any, t: int, memory: dict) -> Any:
    memory["m"] = 0.9 * memory.get("m", 0) + 0.1 * g
    memory["v"] = 0.999 * memory.get("v", 0) + 0.001 * g * g
    return -RATE * (memory["m"] / (1 - 0.9**t)) / (np.sqrt(memory["v"] / (1 - 0.999**t)) + 1e-8)


def adamw(g: Any, theta: Any, t: int, memory: dict) -> Any:
    return adam(g, theta, t, memory) - RATE * 0.01 * theta


def yogi(g: Any, theta: Any, t: int, memory: dict) -> Any:
    memory["m"] = 0.9 * memory.get("m", 0) + 0.1 * g
    v = memory.get("v", np.zeros_like(g))
    memory["v"] = v - 0.001 * np.sign(v - g * g) * g * g
    return -RATE * (memory["m"] / (1 - 0.9**t)) / (np.sqrt(memory["v"] / (1 - 0.999**t)) + 1e-3)


RULES = {rule.__name__: rule for rule in (sgd, momentum, nesterov, adagrad, rmsprop, adam, adamw, yogi)}


def trained(optimizer: Any) -> np.ndarray:
    matrix, target = jnp.asarray(MATRIX, jnp.float32), jnp.asarray(TARGET, jnp.float32)

    @jax.jit
    def run(theta: Any) -> Any:
        def step(carry: Any, _: None) -> Any:
            theta, state = carry
            updates, state = optimizer.update(matrix.T @ (matrix @ theta - target) / len(target), state, theta)
            return (optim.apply_updates(theta, updates), state), None

        return jax.lax.scan(step, (theta, optimizer.init(theta)), length=STEPS)[0][0]

    return np.asarray(run(jnp.asarray(START, jnp.float32)), np.float64)


@pytest.fixture(scope="module")
def ours() -> dict[str, np.ndarray]:
    return {name: trained(optim.get_optimizer(name, learning_rate=RATE)) for name in RULES}


@pytest.mark.parametrize("name", RULES)
def test_equals_the_formula_in_float64(name: str, ours: dict[str, np.ndarray]) -> None:
    np.testing.assert_allclose(ours[name], by_hand(RULES[name]), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", RULES)
def test_equals_optax(name: str, ours: dict[str, np.ndarray]) -> None:
    optax = pytest.importorskip("optax")
    theirs = {
        "sgd": lambda: optax.sgd(RATE),
        "momentum": lambda: optax.sgd(RATE, momentum=0.9),
        "nesterov": lambda: optax.sgd(RATE, momentum=0.9, nesterov=True),
        "adagrad": lambda: optax.adagrad(RATE, initial_accumulator_value=0.0, eps=1e-20),
        "rmsprop": lambda: optax.rmsprop(RATE, decay=0.9, eps=1e-8, eps_in_sqrt=False),
        "adam": lambda: optax.adam(RATE),
        "adamw": lambda: optax.adamw(RATE, weight_decay=0.01),
        "yogi": lambda: optax.chain(
            optax.scale_by_yogi(0.9, 0.999, 1e-3, initial_accumulator_value=0.0), optax.scale(-RATE)
        ),
    }
    np.testing.assert_allclose(ours[name], trained(theirs[name]()), rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("name", [name for name in RULES if name != "yogi"])
def test_equals_pytorch(name: str, ours: dict[str, np.ndarray], golden: Any) -> None:
    def theirs(torch: Any) -> dict[str, Any]:
        classes = {
            "sgd": lambda p: torch.optim.SGD(p, RATE),
            "momentum": lambda p: torch.optim.SGD(p, RATE, momentum=0.9),
            "nesterov": lambda p: torch.optim.SGD(p, RATE, momentum=0.9, nesterov=True),
            "adagrad": lambda p: torch.optim.Adagrad(p, RATE, eps=1e-8),
            "rmsprop": lambda p: torch.optim.RMSprop(p, RATE, alpha=0.9, eps=1e-8),
            "adam": lambda p: torch.optim.Adam(p, RATE),
            "adamw": lambda p: torch.optim.AdamW(p, RATE, weight_decay=0.01),
        }
        theta = torch.tensor(START, dtype=torch.float64, requires_grad=True)
        optimizer = classes[name]([theta])
        for _ in range(STEPS):
            theta.grad = torch.tensor(gradient(theta.detach().numpy()))
            optimizer.step()
        return {"theta": theta}

    np.testing.assert_allclose(ours[name], golden("torch", theirs)["theta"], rtol=1e-5, atol=1e-6)


def test_drops_into_optax_and_takes_optax_in() -> None:
    optax = pytest.importorskip("optax")
    pure = trained(optim.chain(optim.clip_by_global_norm(0.5), optim.adam(RATE)))
    np.testing.assert_allclose(trained(optax.chain(optax.clip_by_global_norm(0.5), optim.adam(RATE))), pure, rtol=1e-5)
    np.testing.assert_allclose(trained(optim.chain(optax.clip_by_global_norm(0.5), optim.adam(RATE))), pure, rtol=1e-5)
    assert not np.allclose(pure, trained(optim.adam(RATE)), rtol=1e-3)


def test_hyper_parameters_are_found_in_optax_states() -> None:
    optax = pytest.importorskip("optax")
    injected = optax.inject_hyperparams(optax.sgd)(learning_rate=0.5)
    state = optax.chain(optax.clip(1.0), injected).init(jnp.zeros(2))
    assert float(optim.hyperparameter(state, "learning_rate")) == 0.5
    state = optim.set_hyperparameter(state, "learning_rate", 0.25)
    assert float(optim.hyperparameter(state, "learning_rate")) == 0.25


def test_the_first_hundred_steps_of_adam_keep_float32_accuracy() -> None:
    grads = np.random.default_rng(1).normal(size=(100, 8))
    optimizer = optim.adam(RATE)
    update = jax.jit(optimizer.update)
    state, memory = optimizer.init(jnp.zeros(8)), {}
    for t, grad in enumerate(grads, start=1):
        updates, state = update(jnp.asarray(grad, jnp.float32), state)
        np.testing.assert_allclose(updates, adam(grad, None, t, memory), rtol=2e-5, atol=2e-7)
