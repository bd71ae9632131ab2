"""Schedules: their values over a whole run, against the formulas in float64, optax and PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu import optim
from danlu.engine.callbacks import ReduceLROnPlateau
from danlu.verify.case import Check, case
from danlu.verify.oracles import draw

__all__: list[str] = []

COUNTS = np.arange(50)


def compare(check: Check, schedule: optim.Schedule, formula: Any, optax: Callable[[Any], Any] | None) -> None:
    counts = jnp.asarray(COUNTS, jnp.int32)
    ours = jax.jit(jax.vmap(schedule))(counts)
    check(ours, np.broadcast_to(formula, COUNTS.shape))
    if optax is not None and (module := check.module("optax")):
        check(ours, jax.jit(jax.vmap(optax(module)))(counts), oracle="optax")


def cosine(start: float, end: float, done: Any) -> Any:
    return end + (start - end) * (1 + np.cos(np.pi * np.clip(done, 0, 1))) / 2


@case("schedule.constant")
def constant(check: Check) -> None:
    compare(check, optim.Constant(0.3), 0.3, lambda optax: optax.constant_schedule(0.3))


@case("schedule.restarts")
def restarts(check: Check) -> None:
    """Cosine annealing with warm restarts, and any other schedule again and again."""
    compare(
        check,
        optim.Restarts(optim.Cosine(0.3, 10, 0.03), 10),
        cosine(0.3, 0.03, COUNTS % 10 / 10),
        lambda optax: optax.sgdr_schedule(
            [{"init_value": 0.3, "peak_value": 0.3, "warmup_steps": 0, "decay_steps": 10, "end_value": 0.03}] * 5
        ),
    )
    compare(
        check,
        optim.Restarts(optim.WarmUp(optim.Cosine(0.3, 9), 3), 12),
        np.where(COUNTS % 12 < 3, 0.1 * (COUNTS % 12), cosine(0.3, 0.0, (COUNTS % 12 - 3) / 9)),
        None,
    )


@case("schedule.step")
def step(check: Check) -> None:
    compare(
        check,
        optim.Step(0.3, 10, 0.5),
        0.3 * 0.5 ** (COUNTS // 10),
        lambda optax: optax.exponential_decay(0.3, 10, 0.5, staircase=True),
    )


@case("schedule.exponential")
def exponential(check: Check) -> None:
    compare(
        check,
        optim.Exponential(0.3, 10, 0.5),
        0.3 * 0.5 ** (COUNTS / 10),
        lambda optax: optax.exponential_decay(0.3, 10, 0.5),
    )
    compare(check, optim.Exponential(1e-3, 10, 2.0), 1e-3 * 2.0 ** (COUNTS / 10), None)  # a rate that grows
    long = optim.sgd(optim.Exponential(0.3, 10**10, 0.5)).init({})
    counts = np.array([0, 10**6, 2**31 - 1])
    ours = [optim.hyperparameter(long._replace(step=jnp.int32(count))) for count in counts]
    check(np.array(ours), 0.3 * 0.5 ** (counts / 10**10))


@case("schedule.cosine")
def cosine_decay(check: Check) -> None:
    compare(
        check,
        optim.Cosine(0.3, 40, 0.03),
        cosine(0.3, 0.03, COUNTS / 40),
        lambda optax: optax.cosine_decay_schedule(0.3, 40, alpha=0.1),
    )


@case("schedule.warm_up")
def warm_up(check: Check) -> None:
    compare(
        check,
        optim.WarmUp(optim.Cosine(0.3, 30, 0.03), 10, 0.05),
        np.where(COUNTS < 10, 0.05 + 0.25 * COUNTS / 10, cosine(0.3, 0.03, (COUNTS - 10) / 30)),
        lambda optax: optax.warmup_cosine_decay_schedule(0.05, 0.3, 10, 40, end_value=0.03),
    )


@case("schedule.one_cycle")
def one_cycle(check: Check) -> None:
    rising, falling = cosine(0.012, 0.3, COUNTS / 12), cosine(0.3, 1.2e-6, (COUNTS - 12) / 28)
    compare(
        check,
        optim.OneCycle(0.3, 40),
        np.where(COUNTS < 12, rising, falling),
        lambda optax: optax.cosine_onecycle_schedule(40, 0.3),
    )


@case("schedule.reduce_on_plateau")
def reduce_on_plateau(check: Check) -> None:
    values = -draw(60).cumsum()
    schedule = optim.ReduceOnPlateau(0.5, factor=0.5, patience=2, threshold=0.1, minimum=0.01)
    rate, best, waited = 0.5, np.inf, 0
    received, expected = [], []
    for value in values:
        schedule = schedule.observe(value)
        received.append(float(schedule(0)))
        best, waited = (value, 0) if value < best - 0.1 else (best, waited + 1)
        if waited == 2:
            rate, waited = max(rate / 2, 0.01), 0
        expected.append(rate)
    check(received, expected)
    warmed = optim.WarmUp(optim.ReduceOnPlateau(0.5, factor=0.5, patience=1), 3).observe(1.0).observe(1.0)
    check(warmed(3), 0.25, oracle="closed form")  # what is observed reaches the schedule that follows
    callback: Any = ReduceLROnPlateau("loss", factor=0.5, patience=2)
    callback.training = SimpleNamespace(learning_rate=1.0)
    for epoch, (value, rate) in enumerate(((3.0, 1.0), (4.0, 1.0), (3.0, 0.5), (2.0, 0.5), (2.0, 0.5), (2.0, 0.25))):
        callback.on_epoch_end(epoch, {"loss": value})
        check(callback.training.learning_rate, rate, oracle="closed form")
    if torch := check.module("torch"):
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 0.5)
        theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(
            optimizer, factor=0.5, patience=1, threshold=0.1, threshold_mode="abs", min_lr=0.01, eps=0.0
        )
        rates = []
        for value in values:
            theirs.step(value)
            rates.append(optimizer.param_groups[0]["lr"])
        check(received, rates, oracle="torch")
