"""Backpropagation: a whole network walked by hand, and the gradient check's own verdicts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.nn import Dense, LayerNorm, Parallel, Residual, Sequential
from danlu.nn.backprop import gradient_check, trace
from danlu.nn.losses import CategoricalCrossEntropy
from danlu.verify.case import Check, case
from danlu.verify.oracles import draw, finite_difference, to_torch

__all__: list[str] = []

X, LABELS = draw(6, 4), np.random.default_rng(0).integers(0, 3, 6)
WEIGHTS = np.array([1.0, 2.0, 0.0, 0.5, 1.0, 3.0])
NETWORK = Sequential(
    (
        Dense(5, "tanh"),
        Residual(Dense(5, "softplus")),
        LayerNorm(epsilon=1e-5),
        Parallel((Dense(3, "tanh"), Dense(2, "identity"))),
        Dense(3, "identity"),
    )
)
SHAPES = {
    "w0": (4, 5),
    "b0": (5,),
    "w1": (5, 5),
    "b1": (5,),
    "scale": (5,),
    "shift": (5,),
    "w2": (5, 3),
    "b2": (3,),
    "w3": (5, 2),
    "b3": (2,),
    "w4": (5, 3),
    "b4": (3,),
}
PARAMS = {name: 0.7 * draw(*shape, seed=index) for index, (name, shape) in enumerate(SHAPES.items())}
PARAMS = {name: value.astype(np.float32).astype(np.float64) for name, value in PARAMS.items()}


def as_tree(p: dict[str, Any]) -> Any:
    """The flat parameters as the network's tree."""
    dense = [{"kernel": p[f"w{i}"], "bias": p[f"b{i}"]} for i in range(5)]
    return (dense[0], (dense[1],), {"scale": p["scale"], "bias": p["shift"]}, (dense[2], dense[3]), dense[4])


def first_layer(p: dict[str, Any], x: Any) -> Any:
    return np.tanh(x @ p["w0"] + p["b0"])


def after_first(p: dict[str, Any], h: Any) -> float:
    """The weighted mean loss from the first layer's output, in NumPy."""
    h = h + np.logaddexp(0, h @ p["w1"] + p["b1"])
    centred = h - h.mean(1, keepdims=True)
    h = centred / np.sqrt((centred**2).mean(1, keepdims=True) + 1e-5) * p["scale"] + p["shift"]
    h = np.concatenate([np.tanh(h @ p["w2"] + p["b2"]), h @ p["w3"] + p["b3"]], axis=1)
    z = h @ p["w4"] + p["b4"]
    z = z - z.max(1, keepdims=True)
    values = np.log(np.exp(z).sum(1)) - z[np.arange(6), LABELS]
    return float((WEIGHTS * values).sum() / WEIGHTS.sum())


def in_torch(torch: Any, p: dict[str, Any], x: Any) -> Any:
    """The same loss in PyTorch's own layers."""
    functional = torch.nn.functional
    h = torch.tanh(x @ p["w0"] + p["b0"])
    h = h + functional.softplus(h @ p["w1"] + p["b1"])
    h = functional.layer_norm(h, (5,), p["scale"], p["shift"])
    h = torch.cat([torch.tanh(h @ p["w2"] + p["b2"]), h @ p["w3"] + p["b3"]], 1)
    values = functional.cross_entropy(h @ p["w4"] + p["b4"], torch.tensor(LABELS), reduction="none")
    weights = to_torch(torch, WEIGHTS)
    return (weights * values).sum() / weights.sum()


@case("backprop.trace")
def traced(check: Check) -> None:
    """The loss, every parameter's gradient, and the error signals at the input and after the first layer."""

    def single(tree: Any) -> Any:
        return jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), tree)

    _, state = jax.eval_shape(lambda key: NETWORK.init(key, (4,))[:2], jax.random.key(0))
    loss = CategoricalCrossEntropy(label_smoothing=0.0)

    @jax.jit
    def run(params: Any, x: Any, weights: Any) -> tuple[Any, ...]:
        seen = trace(NETWORK, params, state, x, jnp.asarray(LABELS), loss, weights=weights, train=True)
        return seen.loss, seen.gradients, seen.input_error, seen.records[0].error

    value, gradients, input_error, first_error = run(as_tree(single(PARAMS)), single(X), single(WEIGHTS))
    check(value, after_first(PARAMS, first_layer(PARAMS, X)))

    def with_one(name: str) -> Callable[[Any], float]:
        return lambda a: after_first({**PARAMS, name: a}, first_layer({**PARAMS, name: a}, X))

    numeric = {name: finite_difference(with_one(name), a) for name, a in PARAMS.items()}
    for got, want in zip(jax.tree.leaves(gradients), jax.tree.leaves(as_tree(numeric)), strict=True):
        check(got, want, oracle="finite differences", floor=0.1)
    by_input = finite_difference(lambda x: after_first(PARAMS, first_layer(PARAMS, x)), X)
    check(input_error, by_input, oracle="finite differences", floor=0.1)
    by_output = finite_difference(lambda h: after_first(PARAMS, h), first_layer(PARAMS, X))
    check(first_error, by_output, oracle="finite differences", floor=0.1)

    if torch := check.module("torch"):
        theirs = {name: to_torch(torch, a, grad=True) for name, a in PARAMS.items()}
        x = to_torch(torch, X, grad=True)
        out = in_torch(torch, theirs, x)
        out.backward()
        check(value, out.item(), oracle="torch")
        check(input_error, x.grad.numpy(), oracle="torch", floor=0.1)
        expected = as_tree({name: tensor.grad.numpy() for name, tensor in theirs.items()})
        for got, want in zip(jax.tree.leaves(gradients), jax.tree.leaves(expected), strict=True):
            check(got, want, oracle="torch", floor=0.1)


@case("backprop.gradient_check")
def checked(check: Check) -> None:
    """A right gradient passes; one that is too large by half is reported as wrong by exactly a third, and only it."""
    params = {"a": jnp.asarray(draw(3), jnp.float32), "b": jnp.asarray(draw(2, 2, seed=1), jnp.float32)}

    def function(p: Any) -> Any:
        return jnp.sum(p["a"] ** 3) + jnp.sum(jnp.sin(p["b"])) * p["a"][0]

    def gradient(factor: float) -> Callable[[Any], Any]:
        def by_hand(p: Any) -> Any:
            of_a = 3 * p["a"] ** 2
            of_a = of_a.at[0].add(jnp.sum(jnp.sin(p["b"])))
            return {"a": of_a, "b": factor * jnp.cos(p["b"]) * p["a"][0]}

        return by_hand

    right = gradient_check(function, params, gradient=gradient(1.0))
    wrong = gradient_check(function, params, gradient=gradient(1.5))
    verdicts = [[row.ok for row in report.rows] for report in (right, wrong)]
    check(verdicts, [[True, True], [True, False]], oracle="closed form")
    check([wrong.rows[1].error], [1 / 3], oracle="closed form")
    check([gradient_check(function, params).error], [0.0], oracle="closed form", floor=1.0)
