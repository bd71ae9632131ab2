"""Optimizers with every setting off its default: the schedule read at the right step, the mask, the decay, in chains; in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from danlu import nn, optim
from danlu.rl import PPO
from danlu.verify.case import Check, case
from danlu.verify.cases.layers import single
from danlu.verify.cases.optimizers import START, by_hand, trained
from danlu.verify.oracles import draw

__all__: list[str] = []

Memory = dict[str, Any]


def falling(t: int) -> float:
    """The rate of update ``t``, from 1: the schedule is asked for the number of *finished* updates."""
    return 0.1 * 0.8 ** (t - 1)


SCHEDULE = optim.Exponential(0.1, 1, 0.8)


def agrees(check: Check, optimizer: Any, rule: Callable[[Any, Any, int, Memory], Any]) -> None:
    ours, expected = trained(optimizer), by_hand(rule)
    for name in START:
        check(ours[name], expected[name], floor=0.1)


def velocity(g: Any, memory: Memory, mu: float) -> Any:
    memory["v"] = mu * memory.get("v", 0.0) + g
    return memory["v"]


def adam(g: Any, t: int, memory: Memory, beta1: float = 0.8, beta2: float = 0.95, epsilon: float = 0.01) -> Any:
    memory["m"] = beta1 * memory.get("m", 0.0) + (1 - beta1) * g
    memory["s"] = beta2 * memory.get("s", 0.0) + (1 - beta2) * g**2
    return memory["m"] / (1 - beta1**t) / (np.sqrt(memory["s"] / (1 - beta2**t)) + epsilon)


def root(g: Any, memory: Memory, keep: float, new: float, start: float = 0.0) -> Any:
    memory["s"] = keep * memory.get("s", start) + new * g**2
    return np.sqrt(memory["s"])


@case("option.schedules")
def schedules(check: Check) -> None:
    """Each optimizer's first update takes the schedule's first value; its other settings are off their defaults."""
    agrees(check, optim.sgd(SCHEDULE), lambda g, w, t, m: -falling(t) * g)
    agrees(check, optim.momentum(SCHEDULE, momentum=0.7), lambda g, w, t, m: -falling(t) * velocity(g, m, 0.7))
    nesterov = optim.nesterov(SCHEDULE, momentum=0.7)
    agrees(check, nesterov, lambda g, w, t, m: -falling(t) * (g + 0.7 * velocity(g, m, 0.7)))
    rmsprop = optim.rmsprop(SCHEDULE, decay=0.7, epsilon=0.01)
    agrees(check, rmsprop, lambda g, w, t, m: -falling(t) * g / (root(g, m, 0.7, 0.3) + 0.01))
    adagrad = optim.adagrad(SCHEDULE, initial_accumulator=0.2, epsilon=0.01)
    agrees(check, adagrad, lambda g, w, t, m: -falling(t) * g / (root(g, m, 1.0, 1.0, 0.2) + 0.01))
    settings = {"beta1": 0.8, "beta2": 0.95, "epsilon": 0.01}
    agrees(check, optim.adam(SCHEDULE, **settings), lambda g, w, t, m: -falling(t) * adam(g, t, m))
    adamw = optim.adamw(SCHEDULE, **settings, weight_decay=0.3)
    agrees(check, adamw, lambda g, w, t, m: -falling(t) * (adam(g, t, m) + 0.3 * w))


@case("option.other_schedules")
def other_schedules(check: Check) -> None:
    """What is not a learning rate may follow a schedule too: momentum, decay, a limit; in a chain, flattened or not."""
    momentum = optim.momentum(0.05, momentum=SCHEDULE)
    agrees(check, momentum, lambda g, w, t, m: -0.05 * velocity(g, m, falling(t)))
    adamw = optim.adamw(0.05, weight_decay=SCHEDULE)
    agrees(check, adamw, lambda g, w, t, m: -0.05 * (adam(g, t, m, 0.9, 0.999, 1e-8) + falling(t) * w))
    clipped = optim.chain(optim.clip_by_value(SCHEDULE), optim.sgd(0.5))
    agrees(check, clipped, lambda g, w, t, m: -0.5 * np.clip(g, -falling(t), falling(t)))
    chain = optim.chain(optim.weight_decay(SCHEDULE), optim.flatten(optim.adam(SCHEDULE)))
    agrees(check, chain, lambda g, w, t, m: -falling(t) * adam(g + falling(t) * w, t, m, 0.9, 0.999, 1e-8))


@case("option.weight_decay_mask")
def masks(check: Check) -> None:
    """By a tree, a function or the number of axes: what the mask leaves out does not decay."""
    one: Any = {"w": True, "b": False}
    for mask in (one, lambda params: {name: name == "w" for name in params}):
        for optimizer, move in (
            (optim.adamw(0.05, weight_decay=0.4, mask=mask), lambda g, t, m: adam(g, t, m, 0.9, 0.999, 1e-8)),
            (optim.chain(optim.weight_decay(0.4, mask=mask), optim.sgd(0.05)), lambda g, t, m: g),
        ):

            def rule(g: Any, w: Any, t: int, m: Memory, move: Any = move) -> Any:
                return -0.05 * (move(g, t, m) + 0.4 * w * (len(w) == 4))  # ``w`` has four entries, ``b`` one

            agrees(check, optimizer, rule)
    params, still = {"kernel": draw(3, 2), "bias": draw(2, seed=1)}, {"kernel": np.zeros((3, 2)), "bias": np.zeros(2)}
    for optimizer, factor in (
        (optim.adamw(0.5, weight_decay=0.2, mask="weights"), -0.1),
        (optim.weight_decay(0.1, mask="weights"), 0.1),
    ):
        updates, _ = optimizer.update(single(still), optimizer.init(single(params)), single(params))
        check(updates["kernel"], factor * params["kernel"], oracle="closed form")
        check(updates["bias"], np.zeros(2), oracle="closed form")


@case("option.updates")
def updates(check: Check) -> None:
    """An update is added in the parameter's type; a rate that is set by hand is the next update's."""
    params = {"w": jnp.asarray([1.0, 2.0], jnp.bfloat16)}
    moved = optim.apply_updates(params, {"w": jnp.asarray([0.5, -0.25], jnp.float32)})
    check(moved["w"].astype(jnp.float32), [1.5, 1.75], oracle="closed form")
    check(moved["w"].dtype == jnp.bfloat16, True, oracle="closed form")
    optimizer = optim.momentum(SCHEDULE)
    state = optimizer.init(jnp.zeros(1))
    check(optim.hyperparameter(state), 0.1, oracle="closed form")
    _, state = optimizer.update(jnp.ones(1), state)
    check(optim.hyperparameter(state), falling(2), oracle="closed form")
    state = optim.set_hyperparameter(state, "learning_rate", 0.25)
    found, _ = optimizer.update(jnp.ones(1), state)
    check(found, [-0.25 * 1.9], oracle="closed form")


@case("option.defaults")
def defaults(check: Check) -> None:
    """What is used where nothing is said: the values of the papers, and of PyTorch where those name none."""
    params = {"w": jnp.zeros((2, 2))}
    published: list[tuple[Any, dict[str, float]]] = [
        (optim.sgd().init(params), {"learning_rate": 0.01}),
        (optim.momentum().init(params), {"learning_rate": 0.01, "momentum": 0.9}),
        (optim.nesterov().init(params), {"learning_rate": 0.01, "momentum": 0.9}),
        (optim.adagrad().init(params), {"learning_rate": 0.01, "epsilon": 1e-8}),
        (optim.rmsprop().init(params), {"learning_rate": 1e-3, "decay": 0.9, "epsilon": 1e-8}),
        (optim.adam().init(params), ADAM),
        (optim.adamw().init(params).adam, ADAM),
        (optim.adamw().init(params), {"weight_decay": 0.01}),
        (optim.yogi().init(params), {"learning_rate": 0.01, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-3}),
        (optim.clip_by_global_norm().init(params), {"max_norm": 1.0}),
        (optim.OneCycle(1.0, 10), {"warmup": 0.3, "initial_divisor": 25.0, "final_divisor": 1e4}),
        (nn.BatchNorm(), {"momentum": 0.9, "epsilon": 1e-5}),
        (nn.LayerNorm(), {"epsilon": 1e-5}),
        (nn.GroupNorm(), {"groups": 32, "epsilon": 1e-5}),
        (nn.GPT(9, 9, dim=8, num_layers=1, num_heads=1), {"epsilon": 1e-5, "dropout": 0.0}),
        (nn.BERT(9, 9, dim=8, num_layers=1, num_heads=1), {"epsilon": 1e-12, "dropout": 0.0}),
        (nn.ViT(2, patch=2, dim=8, num_layers=1, num_heads=1), {"epsilon": 1e-6, "dropout": 0.0}),
        (nn.losses.Huber(), {"delta": 1.0}),
        (nn.losses.BinaryFocal(), {"gamma": 2.0}),
        (nn.losses.CategoricalFocal(), {"gamma": 2.0}),
        (PPO(), {"clip": 0.2}),
    ]
    for owner, values in published:
        for name, value in values.items():
            check(float(getattr(owner, name)) / (value or 1.0), float(value != 0), oracle="published")


ADAM = {"learning_rate": 1e-3, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8}
