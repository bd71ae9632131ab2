"""Layers: output and gradients against NumPy in float64 by hand, its finite differences, and PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.nn.backprop.rules import LAYER_RULES
from danlu.nn.backprop.visit import Visit
from danlu.nn.dense import Dense
from danlu.nn.dropout import Dropout
from danlu.nn.embedding import Embedding
from danlu.nn.layer import Layer
from danlu.nn.norm import BatchNorm, LayerNorm
from danlu.verify.case import Check, case
from danlu.verify.oracles import draw, finite_difference, to_torch

__all__: list[str] = []

X = draw(6, 5)
Formula = Callable[[dict[str, Any], Any], Any]


def single(tree: Any) -> Any:
    """Float64 arrays as JAX's float32 ones."""
    return jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), tree)


def compare(
    check: Check,
    layer: Layer,
    params: dict[str, Any],
    formula: Formula,
    *,
    x: Any = X,
    train: bool = True,
    torch: Callable[[Any, dict[str, Any], Any], Any] | None = None,
) -> None:
    """The output, and the gradient of a random weighting of it in every parameter and in the input.

    The gradient is checked twice: as training takes it, and by the layer's hand-written backward rule.

    Args:
        params: float64 values for the layer's parameters.
        formula: the layer in NumPy.
        torch: the layer in PyTorch, of (torch, params, x).
    """
    _, state, _ = layer.init(jax.random.key(0), x.shape[1:])
    expected = formula(params, x)
    weights = draw(*expected.shape, seed=9)

    def weighted(params: Any, x: Any) -> tuple[Any, Any]:
        y, _ = layer.apply(params, state, x, train=train)
        return jnp.sum(y * single(weights)), y

    @jax.jit
    def run(params: Any, x: Any, dy: Any) -> tuple[Any, Any, Any]:
        gradients, y = jax.grad(weighted, argnums=(0, 1), has_aux=True)(params, x)
        by_input, by_param = LAYER_RULES[type(layer)](Visit(layer, params, state, x, y, train, None), dy)
        return y, gradients, (by_param, by_input)

    value, (by_param, by_input), (rule_by_param, rule_by_input) = run(single(params), single(x), single(weights))
    check(value, expected, floor=0.1)
    for name in params:

        def loss(value: Any, name: str = name) -> float:
            return float((formula({**params, name: value}, x) * weights).sum())

        numeric = finite_difference(loss, params[name])
        check(by_param[name], numeric, oracle="finite differences", floor=0.1)
        check(rule_by_param[name], numeric, oracle="finite differences", floor=0.1)
    numeric = finite_difference(lambda x: float((formula(params, x) * weights).sum()), x)
    check(by_input, numeric, oracle="finite differences", floor=0.1)
    check(rule_by_input, numeric, oracle="finite differences", floor=0.1)

    if torch is not None and (module := check.module("torch")):
        their_params = {name: to_torch(module, value, grad=True) for name, value in params.items()}
        their_x = to_torch(module, x, grad=True)
        out = torch(module, their_params, their_x)
        (out * to_torch(module, weights)).sum().backward()
        check(value, out.detach().numpy(), oracle="torch", floor=0.1)
        check(by_input, their_x.grad.numpy(), oracle="torch", floor=0.1)
        for name, tensor in their_params.items():
            check(by_param[name], tensor.grad.numpy(), oracle="torch", floor=0.1)


@case("layer.Dense")
def dense(check: Check) -> None:
    params = {"kernel": draw(5, 3, seed=1), "bias": draw(3, seed=2)}
    compare(
        check,
        Dense(3, "tanh"),
        params,
        lambda p, x: np.tanh(x @ p["kernel"] + p["bias"]),
        torch=lambda torch, p, x: torch.tanh(torch.nn.functional.linear(x, p["kernel"].T, p["bias"])),
    )
    neuron = {"kernel": params["kernel"][:, :1], "bias": params["bias"][:1]}
    compare(check, Dense(1, "identity"), neuron, lambda p, x: x @ p["kernel"] + p["bias"])


def normalised(x: Any, axis: int) -> Any:
    centred = x - x.mean(axis, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axis, keepdims=True) + 1e-5)


@case("layer.BatchNorm")
def batch_norm(check: Check) -> None:
    params = {"scale": draw(5, seed=1), "bias": draw(5, seed=2)}
    compare(
        check,
        BatchNorm(momentum=0.9, epsilon=1e-5),
        params,
        lambda p, x: normalised(x, 0) * p["scale"] + p["bias"],
        torch=lambda torch, p, x: torch.nn.functional.batch_norm(x, None, None, p["scale"], p["bias"], training=True),
    )
    # The running statistics after one batch, and their use.
    layer = BatchNorm(momentum=0.8, epsilon=1e-5)
    _, state, _ = layer.init(jax.random.key(0), (5,))
    _, state = jax.jit(partial(layer.apply, train=True))(single(params), state, single(X))
    mean, variance = 0.2 * X.mean(0), 0.8 + 0.2 * X.var(0, ddof=1)
    check(state["mean"], mean)
    check(state["variance"], variance)
    value, _ = jax.jit(layer.apply)(single(params), state, single(X))
    check(value, (X - mean) / np.sqrt(variance + 1e-5) * params["scale"] + params["bias"], floor=0.1)
    if torch := check.module("torch"):
        theirs = torch.nn.BatchNorm1d(5, momentum=0.2, dtype=torch.float64)
        theirs(to_torch(torch, X))
        check(state["mean"], theirs.running_mean.numpy(), oracle="torch")
        check(state["variance"], theirs.running_var.numpy(), oracle="torch")


@case("layer.LayerNorm")
def layer_norm(check: Check) -> None:
    compare(
        check,
        LayerNorm(epsilon=1e-5),
        {"scale": draw(5, seed=1), "bias": draw(5, seed=2)},
        lambda p, x: normalised(x, -1) * p["scale"] + p["bias"],
        torch=lambda torch, p, x: torch.nn.functional.layer_norm(x, (5,), p["scale"], p["bias"]),
    )


@case("layer.Embedding")
def embedding(check: Check) -> None:
    layer, table = Embedding(7, 4), draw(7, 4)
    _, state, _ = layer.init(jax.random.key(0), (2,))
    rows = np.array([[1, 6], [0, 1], [7, -1]])
    known = np.where((rows < 0) | (rows >= 7), 0, rows)  # unknown numbers take row 0
    weights = draw(3, 2, 4, seed=1)

    def weighted(params: Any) -> tuple[Any, Any]:
        y, _ = layer.apply(params, state, jnp.asarray(rows, jnp.int32))
        return jnp.sum(y * single(weights)), y

    gradient, value = jax.jit(jax.grad(weighted, has_aux=True))({"table": single(table)})
    one_hot = np.eye(7)[known]
    check(value, one_hot @ table)
    check(gradient["table"], np.einsum("bcv,bcd->vd", one_hot, weights))
    visit = Visit(layer, {"table": single(table)}, state, jnp.asarray(rows, jnp.int32), value, True, None)
    _, by_rule = LAYER_RULES[Embedding](visit, single(weights))
    check(by_rule["table"], np.einsum("bcv,bcd->vd", one_hot, weights))
    if torch := check.module("torch"):
        theirs = to_torch(torch, table, grad=True)
        out = torch.nn.functional.embedding(torch.tensor(known), theirs)
        (out * to_torch(torch, weights)).sum().backward()
        check(value, out.detach().numpy(), oracle="torch")
        check(gradient["table"], theirs.grad.numpy(), oracle="torch")


@case("layer.Dropout", tolerance=1e-2, reason="1,000,000 draws: the error of the share kept is 0.0007 by chance")
def dropout(check: Check) -> None:
    layer, x = Dropout(0.3), np.ones((1000, 1000))
    _, state, _ = layer.init(jax.random.key(0), (1000,))
    y = jax.jit(lambda x, key: layer.apply({}, state, x, train=True, key=key)[0])(single(x), jax.random.key(1))
    y = np.asarray(y, np.float64)
    kept = y != 0
    check([kept.mean(), y.mean()], [0.7, 1.0], oracle="closed form")
    check(y[kept], np.full(kept.sum(), 1 / 0.7), oracle="closed form")
    # Neighbours are independent: both kept with probability 0.7².
    check([(kept[:, 1:] & kept[:, :-1]).mean(), (kept[1:] & kept[:-1]).mean()], [0.49, 0.49], oracle="closed form")
    check(layer.apply({}, state, single(x))[0], x, oracle="closed form")
