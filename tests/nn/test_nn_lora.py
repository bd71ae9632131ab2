"""LoRA against explicit matrices and float64 finite differences; merging; training with the network at rest."""

from __future__ import annotations

import functools
import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import danlu
from danlu import nn, optim
from danlu.blueprint import from_json, to_json
from danlu.errors import ConfigError
from danlu.nn import BatchNorm, Conv, Dense, GlobalAveragePool, LoRA, Sequential, summary
from danlu.nn.backprop import gradient_check, trace
from danlu.nn.losses import MSE

pytestmark = pytest.mark.usefixtures("no_silent_broadcasting")
KEY = jax.random.key(3)
NET = Sequential((Dense(6, "tanh"), Dense(2)))
BLOCK = nn.TransformerBlock(2, 6, dropout=0.1)


def stirred(tree: Any, seed: int = 0) -> Any:
    """The tree with every number moved, so that B is no longer 0."""
    draw = np.random.default_rng(seed)
    return jax.tree.map(lambda a: a + jnp.asarray(0.3 * draw.normal(size=a.shape), a.dtype), tree)


def started(net: LoRA, in_shape: Any) -> tuple[Any, Any]:
    params, state = jax.jit(lambda key: net.init(key, in_shape)[:2])(KEY)
    return stirred(params), state


def x_of(*shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(1).normal(size=shape), jnp.float32)


def test_it_starts_as_the_network_it_wraps() -> None:
    lora = LoRA(BLOCK, rank=2)
    params, state = jax.jit(lambda key: BLOCK.init(key, (3, 4))[:2])(KEY)
    adapted = lora.adapt(params, state, KEY)
    mine, plain = (
        jax.jit(net.apply)(*given, x_of(5, 3, 4))[0] for net, given in ((lora, adapted), (BLOCK, (params, state)))
    )
    np.testing.assert_allclose(mine, plain, rtol=1e-6, atol=1e-6)
    assert sorted(adapted[0]["low_rank"]) == ["0/1/query", "0/1/value"]


def test_it_is_the_formula() -> None:
    lora = LoRA(Dense(5), rank=3, alpha=6.0, targets=("kernel",), full=("bias",))
    params, state = started(lora, (4,))
    x = np.asarray(x_of(7, 4), np.float64)
    a, b = (np.asarray(params["low_rank"]["kernel"][name], np.float64) for name in "ab")
    w = np.asarray(state["params"]["kernel"], np.float64)
    expected = x @ w + (6.0 / 3) * (x @ a) @ b + np.asarray(params["full"]["bias"], np.float64)
    np.testing.assert_allclose(
        lora.apply(params, state, jnp.asarray(x, jnp.float32))[0], expected, rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize(
    ("lora", "in_shape"),
    [
        (LoRA(NET, rank=2, targets=("*kernel",), full=("1",)), (4,)),
        pytest.param(LoRA(BLOCK, rank=2, targets=("*query", "*down")), (3, 4), marks=pytest.mark.slow),
        (LoRA(Sequential((Conv(3, 3), BatchNorm(), GlobalAveragePool())), rank=2, targets=("0",)), (5, 5, 2)),
    ],
)
def test_merged_it_is_the_plain_network(lora: LoRA, in_shape: Any) -> None:
    if lora.full:
        lora = lora.replace(targets=("0/kernel",))
    params, state = started(lora, in_shape)
    x = x_of(6, *in_shape)

    @functools.partial(jax.jit, static_argnames="train")
    def both(params: Any, state: Any, train: bool) -> Any:
        plain = lora.layer.apply(*lora.merge(params, state), x, train=train, key=KEY)
        return lora.apply(params, state, x, train=train, key=KEY), plain

    for train in (False, True):
        (mine, after), (plain, plain_after) = both(params, state, train=train)
        np.testing.assert_allclose(mine, plain, rtol=1e-6, atol=1e-6)
        jax.tree.map(np.testing.assert_array_equal, after["state"], plain_after)
        jax.tree.map(np.testing.assert_array_equal, after["params"], state["params"])
    assert jax.tree.structure(lora.merge(params, state)[0]) == jax.tree.structure(state["params"])


@pytest.mark.parametrize(
    ("lora", "in_shape"),
    [
        (LoRA(NET, rank=2, targets=("0/kernel",), full=("1",)), (4,)),
        (LoRA(Sequential((Conv(3, 3), GlobalAveragePool())), rank=2, targets=("0",)), (4, 4, 2)),
    ],
)
def test_backpropagation_by_hand_and_by_finite_differences(lora: LoRA, in_shape: Any) -> None:
    params, state = started(lora, in_shape)
    x = x_of(5, *in_shape)
    y = x_of(5, *lora.out_shape(in_shape))

    @jax.jit
    def loss(params: Any) -> jax.Array:
        return jnp.mean(MSE()(lora.apply(params, state, x)[0], y))

    seen = trace(lora, params, state, x, y, MSE())
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), seen.gradients, jax.grad(loss)(params)
    )
    assert [record.rule for record in seen.records] == ["formula"] * len(lora.layer.layers)
    assert gradient_check(lora, params, state=state, x=x, y=y, loss=MSE()).ok


def test_members_json_and_summary() -> None:
    lora = LoRA(NET, rank=2, targets="0/kernel", full=["1"])
    assert from_json(json.loads(json.dumps(to_json(lora)))) == lora
    assert hash(lora) == hash(lora.replace())
    seen = summary(lora, (4,))
    assert seen.parameters == 2 * (4 + 6) + 6 * 2 + 2
    assert seen.flops == summary(NET, (4,)).flops + (2 * 2 + 2) * 4 * 6
    x = x_of(5, 4)

    @jax.jit
    def run(key: jax.Array) -> jax.Array:
        params, state, _ = lora.init(key, (4,))
        return lora.apply(stirred(params), state, x)[0]

    keys = jax.random.split(KEY, 2)
    np.testing.assert_allclose(jax.jit(jax.vmap(run))(keys), [run(key) for key in keys], rtol=1e-5, atol=1e-6)


def test_training_moves_a_b_and_the_head_and_nothing_else() -> None:
    x = np.asarray(x_of(64, 4))
    teacher = NET.init(jax.random.key(9), (4,))
    y = np.asarray(NET.apply(teacher[0], teacher[1], x)[0])
    params, state, _ = NET.init(KEY, (4,))
    lora = LoRA(NET, rank=2, targets=("0/kernel",), full=("1",))
    fitted = danlu.fit(
        lora,
        (x, y),
        loss="mse",
        optimizer=optim.adam(0.02),
        initial=lora.adapt(params, state, KEY),
        epochs=30,
        display="none",
    )
    assert fitted.history[-1]["loss"] < 0.3 * fitted.history[0]["loss"]
    jax.tree.map(np.testing.assert_array_equal, fitted.state["params"], params)
    merged, inner = lora.merge(fitted.params, fitted.state)
    np.testing.assert_allclose(NET.apply(merged, inner, x)[0], fitted.predict(x), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(merged[0]["bias"], params[0]["bias"])
    change = np.asarray(merged[0]["kernel"] - params[0]["kernel"])
    assert np.linalg.matrix_rank(change, tol=1e-5) == 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LoRA(Dense), "expected a Layer"),
        (lambda: LoRA(NET, rank=0), "whole number >= 1"),
        (lambda: LoRA(NET, targets=(3,)), "expected a list of texts"),
        (lambda: LoRA(NET).init(KEY, (4,)), "names no array"),
        (lambda: LoRA(NET, targets=("0/kernle",)).init(KEY, (4,)), "did you mean '0/kernel'"),
        (lambda: LoRA(NET, targets=("0/bias",)).init(KEY, (4,)), "two or more axes"),
        (lambda: LoRA(NET, targets=("1",), full=("1",)).init(KEY, (4,)), "outside LoRA.full"),
    ],
)
def test_errors(make: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()
