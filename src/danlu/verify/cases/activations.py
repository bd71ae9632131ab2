"""Activations: value and derivative over a wide range, against float64 NumPy, its finite differences, and PyTorch."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.nn import activations
from danlu.nn.backprop import ACTIVATION_RULES
from danlu.verify.case import Check, case
from danlu.verify.oracles import draw, finite_difference, to_torch

__all__: list[str] = []

# The ends show stability; 0 is where formulas with |x| or max(x, 0) can go wrong.
GRID = np.concatenate([np.linspace(-12, -0.05, 60), np.linspace(0.05, 12, 60), [-1e4, -100.0, 100.0, 1e4]])
GRID = np.concatenate([GRID, [0.0, 1e-3, -1e-3]]).astype(np.float32).astype(np.float64)
# Derivatives are of size 1; in the tails their formulas (1 - tanh², σ·(1-σ)) end in a rounding of 1.
FLOOR = 0.1
_erfc = np.vectorize(math.erfc, otypes=[np.float64])


def compare(
    check: Check,
    name: str,
    formula: Callable[[Any], Any],
    torch: Callable[[Any, Any], Any] | None,
    *,
    floor: float = 1e-3,
    kink: bool = False,
) -> None:
    """An elementwise activation: value, derivative by autodiff, and derivative by its hand-written rule."""
    ours = getattr(activations, name)

    @jax.jit
    def run(x: Any) -> tuple[Any, Any, Any]:
        value = ours(x)
        return value, jax.vmap(jax.grad(ours))(x), ACTIVATION_RULES[name](x, value, jnp.ones_like(x))

    grid = GRID[np.abs(GRID) > 0.01] if kink else GRID  # a kink at 0 has no derivative
    value, derivative, by_rule = run(jnp.asarray(grid, jnp.float32))
    check(value, formula(grid), floor=floor)
    # Larger steps where the numbers are larger.
    step = 1e-6 * np.maximum(1, np.abs(grid))
    slope = (formula(grid + step) - formula(grid - step)) / ((grid + step) - (grid - step))
    check(derivative, slope, oracle="finite differences", floor=FLOOR)
    check(by_rule, slope, oracle="finite differences", floor=FLOOR)
    if torch is not None and (module := check.module("torch")):
        point = to_torch(module, grid, grad=True)
        theirs = torch(module, point)
        theirs.sum().backward()
        check(value, theirs.detach().numpy(), oracle="torch", floor=floor)
        check(derivative, point.grad.numpy(), oracle="torch", floor=FLOOR)


def logistic(x: Any) -> Any:
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e))


@case("activation.identity")
def identity(check: Check) -> None:
    compare(check, "identity", lambda x: x, None)


@case("activation.sigmoid")
def sigmoid(check: Check) -> None:
    compare(check, "sigmoid", logistic, lambda torch, x: torch.sigmoid(x))


@case("activation.tanh")
def tanh(check: Check) -> None:
    compare(check, "tanh", np.tanh, lambda torch, x: torch.tanh(x))


@case("activation.relu")
def relu(check: Check) -> None:
    compare(check, "relu", lambda x: np.maximum(x, 0), lambda torch, x: torch.relu(x), kink=True)


@case("activation.leaky_relu")
def leaky_relu(check: Check) -> None:
    compare(
        check,
        "leaky_relu",
        lambda x: np.maximum(x, 0.01 * x),
        lambda torch, x: torch.nn.functional.leaky_relu(x, 0.01),
        kink=True,
    )


@case("activation.elu")
def elu(check: Check) -> None:
    compare(
        check,
        "elu",
        lambda x: np.maximum(x, 0) + np.expm1(np.minimum(x, 0)),
        lambda torch, x: torch.nn.functional.elu(x),
    )


@case("activation.gelu")
def gelu(check: Check) -> None:
    compare(
        check,
        "gelu",
        lambda x: x * _erfc(-x / math.sqrt(2)) / 2,
        lambda torch, x: torch.nn.functional.gelu(x),
    )


@case("activation.gelu_tanh", tolerance=1e-4, reason="float32: 1 - tanh² cancels and is then multiplied by up to 30")
def gelu_tanh(check: Check) -> None:
    def formula(x: Any) -> Any:
        return x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))

    compare(
        check,
        "gelu_tanh",
        formula,
        lambda torch, x: torch.nn.functional.gelu(x, approximate="tanh"),
        floor=FLOOR,
    )


@case("activation.silu")
def silu(check: Check) -> None:
    compare(check, "silu", lambda x: x * logistic(x), lambda torch, x: torch.nn.functional.silu(x))


@case("activation.softplus")
def softplus(check: Check) -> None:
    compare(
        check,
        "softplus",
        lambda x: np.logaddexp(0, x),
        lambda torch, x: torch.nn.functional.softplus(x, threshold=100),
    )


def _along_axis(check: Check, name: str, formula: Callable[[Any], Any]) -> None:
    """softmax and log-softmax: rows of ordinary size, and of ±1e4."""

    ours = getattr(activations, name)

    @jax.jit
    @partial(jax.grad, has_aux=True)
    def weighted(x: Any, direction: Any) -> tuple[Any, Any]:
        value = ours(x)
        return jnp.sum(value * direction), value

    for x in (3 * draw(4, 5), np.array([[1e4, 1e4 - 1, -1e4], [-1e4, -1e4 + 2, -1e4 + 1]])):
        direction = draw(*x.shape, seed=1)
        point = jnp.asarray(x, jnp.float32)
        derivative, value = weighted(point, jnp.asarray(direction, jnp.float32))
        check(value, formula(x))
        numeric = finite_difference(lambda z: (formula(z) * direction).sum(), x, step=1e-4)  # noqa: B023
        check(derivative, numeric, oracle="finite differences", floor=0.1)
        by_rule = ACTIVATION_RULES[name](point, value, jnp.asarray(direction, jnp.float32))
        check(by_rule, numeric, oracle="finite differences", floor=0.1)
        if torch := check.module("torch"):
            theirs = to_torch(torch, x, grad=True)
            out = getattr(torch, name)(theirs, -1)
            (out * to_torch(torch, direction)).sum().backward()
            check(value, out.detach().numpy(), oracle="torch")
            check(derivative, theirs.grad.numpy(), oracle="torch", floor=0.1)


def _log_softmax(x: Any) -> Any:
    shifted = x - x.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


@case("activation.softmax")
def softmax(check: Check) -> None:
    _along_axis(check, "softmax", lambda x: np.exp(_log_softmax(x)))


@case("activation.log_softmax")
def log_softmax(check: Check) -> None:
    _along_axis(check, "log_softmax", _log_softmax)
