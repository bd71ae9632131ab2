"""Attention against PyTorch and NumPy, its gradients against finite differences, its masks by their properties."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from danlu.errors import ConfigError, DataError
from danlu.nn import (
    LearnedPositions,
    MultiHeadAttention,
    PerToken,
    RMSNorm,
    SinusoidalPositions,
    SwiGLU,
    TransformerBlock,
)
from danlu.nn.attention.dot_product import attend, attend_forward, attend_fused
from danlu.nn.attention.positions import rotate
from danlu.nn.attention.sequence import token_positions
from danlu.nn.backprop import gradient_check

pytestmark = pytest.mark.usefixtures("no_silent_broadcasting")
KEY = jax.random.key(3)
RNG = np.random.default_rng(3)
BATCH, TIME, SOURCE, FEATURES = 3, 6, 5, 8


def _normal(*shape: int) -> Any:
    return jnp.asarray(RNG.normal(size=shape), jnp.float32)


def _filled(params: Any) -> Any:
    """Params whose biases are not 0."""
    return jax.tree.map(lambda a: a + 0.1 * _normal(*a.shape), params)


MASK = np.array([[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0], [0, 0, 1, 1, 0, 1]], bool)


@pytest.mark.parametrize("kind", ["self", "causal", "cross"])
def test_it_is_pytorchs_with_the_same_weights(kind: str, golden: Any) -> None:
    cross = kind == "cross"
    layer = MultiHeadAttention(4, causal=kind == "causal", cross=cross)
    x, context = _normal(BATCH, TIME, FEATURES), _normal(BATCH, SOURCE, 6)
    mask = MASK[:, :SOURCE] if cross else MASK
    given: dict[str, Any] = {"x": x, "mask": jnp.asarray(mask)}
    if cross:
        given = {"x": x, "context": context, "context_mask": jnp.asarray(mask)}
    params = _filled(layer.init(KEY, jax.tree.map(lambda a: a.shape[1:], given))[0])

    # Row 2 starts with padding: there a causal token sees nothing, which PyTorch calls NaN and danlu 0.
    real = np.broadcast_to(mask[:, :, None], x.shape) if not cross else np.ones(x.shape, bool)
    weights = jnp.asarray(np.where(real, RNG.normal(size=x.shape), 0), jnp.float32)

    def weighted(params: Any, x: Any) -> Any:
        y = layer.apply(params, {}, {**given, "x": x})[0]["x"]
        return jnp.sum(y * weights), y

    def theirs(torch: Any) -> dict[str, Any]:
        sizes = {"kdim": 6, "vdim": 6} if cross else {}
        module = torch.nn.MultiheadAttention(FEATURES, 4, batch_first=True, **sizes)
        tensor = {name: torch.tensor(np.asarray(a).T.copy()) for name, a in params.items()}
        with torch.no_grad():
            if cross:
                for name in ("query", "key", "value"):
                    getattr(module, f"{name[0]}_proj_weight").copy_(tensor[name])
            else:
                module.in_proj_weight.copy_(torch.cat([tensor[name] for name in ("query", "key", "value")]))
            module.in_proj_bias.copy_(torch.cat([tensor[f"{name}_bias"] for name in ("query", "key", "value")]))
            module.out_proj.weight.copy_(tensor["output"])
            module.out_proj.bias.copy_(tensor["output_bias"])
        a = torch.tensor(np.asarray(x), requires_grad=True)
        b = torch.tensor(np.asarray(context)) if cross else a
        future = torch.triu(torch.ones(TIME, TIME, dtype=torch.bool), 1) if kind == "causal" else None
        out = module(a, b, b, key_padding_mask=torch.tensor(~mask), attn_mask=future, need_weights=False)[0]
        if kind == "causal":  # its gradients are NaN
            return {"y": out}
        (out * torch.tensor(np.asarray(weights))).sum().backward()
        gradients = {"output": module.out_proj.weight.grad.T, "bias": module.in_proj_bias.grad}
        return {"y": out, "x": a.grad, **gradients}

    expected = golden("torch", theirs)
    (_, y), (by_params, by_x) = jax.jit(jax.value_and_grad(weighted, argnums=(0, 1), has_aux=True))(params, x)
    np.testing.assert_allclose(np.asarray(y)[real], expected["y"][real], rtol=1e-4, atol=1e-5)
    if kind != "causal":
        np.testing.assert_allclose(by_x, expected["x"], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(by_params["output"], expected["output"], rtol=1e-4, atol=1e-5)
        by_bias = np.concatenate([by_params[f"{name}_bias"] for name in ("query", "key", "value")])
        np.testing.assert_allclose(by_bias, expected["bias"], rtol=1e-4, atol=2e-5)


def _plain(query: Any, key: Any, value: Any, mask: Any, drop: Any) -> Any:
    """The formula, for jax.grad and float64 to work on."""
    scores = jnp.einsum("bkgtd,bksd->bkgts", query, key) / np.sqrt(query.shape[-1])
    weights = jax.nn.softmax(jnp.where(mask, scores, -jnp.inf), axis=-1)
    return jnp.einsum("bkgts,bksd->bkgtd", weights * drop, value)


def test_the_backward_pass_by_hand_is_right() -> None:
    shapes = ((2, 2, 3, 4, 5), (2, 2, 6, 5), (2, 2, 6, 5))
    arrays = tuple(_normal(*shape) for shape in shapes)
    mask = jnp.asarray(RNG.random((2, 1, 1, 4, 6)) < 0.7).at[..., 0].set(True)
    drop = jnp.asarray(RNG.integers(0, 2, (2, 2, 3, 4, 6)) * 1.5, jnp.float32)
    weights = np.asarray(_normal(2, 2, 3, 4, 5))

    def scalar(function: Any, params: Any) -> Any:
        return jnp.sum(function(*params, mask, drop.astype(params[0].dtype)) * weights.astype(params[0].dtype))

    by_hand, by_jax = (jax.jit(jax.grad(functools.partial(scalar, f)))(arrays) for f in (attend, _plain))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), by_hand, by_jax)
    found = gradient_check(functools.partial(scalar, attend), arrays)
    assert found.ok, str(found)


def test_the_backward_pass_by_hand_works_under_vmap() -> None:
    arrays = tuple(_normal(2, *shape) for shape in ((1, 2, 1, 4, 3), (1, 2, 4, 3), (1, 2, 4, 3)))
    mask = jnp.tril(jnp.ones((4, 4), bool))[None, None, None]
    slope = jax.jit(jax.grad(lambda a: jnp.sum(jnp.sin(attend(*a, mask, None)))))
    together = jax.vmap(slope)(arrays)
    for member in range(2):
        alone = slope(jax.tree.map(lambda a, m=member: a[m], arrays))
        jax.tree.map(lambda a, b, m=member: np.testing.assert_allclose(a[m], b, rtol=1e-5, atol=1e-6), together, alone)


def test_the_fused_form_is_the_plain_one() -> None:
    arrays = tuple(_normal(*shape) for shape in ((2, 2, 3, 4, 8), (2, 2, 4, 8), (2, 2, 4, 8)))
    mask = jnp.tril(jnp.ones((4, 4), bool))[None, None, None]
    for visible in (None, mask):
        fused = attend_fused(*arrays, visible, implementation="xla")
        np.testing.assert_allclose(fused, attend_forward(*arrays, visible, None)[0], rtol=1e-5, atol=1e-6)


def test_grouped_heads_are_repeated_heads() -> None:
    few, many = MultiHeadAttention(4, num_kv_heads=2, bias="qkv"), MultiHeadAttention(4, bias="qkv")
    params = _filled(few.init(KEY, (TIME, FEATURES))[0])
    assert "output_bias" not in params

    def repeat(a: Any) -> Any:
        return jnp.repeat(a.reshape(*a.shape[:-1], 2, 2), 2, axis=-2).reshape(*a.shape[:-1], FEATURES)

    wide = {name: repeat(a) if name.startswith(("key", "value")) else a for name, a in params.items()}
    x = _normal(BATCH, TIME, FEATURES)
    np.testing.assert_allclose(few.apply(params, {}, x)[0], many.apply(wide, {}, x)[0], rtol=1e-5, atol=1e-6)


def test_a_token_that_sees_nothing_is_0_and_its_gradient_finite() -> None:
    layer = MultiHeadAttention(2, bias="none")
    params = layer.init(KEY, (TIME, FEATURES))[0]
    x = _normal(1, TIME, FEATURES)
    nothing = jnp.zeros((1, TIME), bool)

    def run(x: Any) -> Any:
        return layer.apply(params, {}, {"x": x, "mask": nothing})[0]["x"]

    assert (run(x) == 0).all()
    assert jnp.isfinite(jax.grad(lambda x: run(x).sum())(x)).all()


def test_large_scores_do_not_overflow() -> None:
    layer = MultiHeadAttention(2, causal=True)
    params = layer.init(KEY, (TIME, FEATURES))[0]
    slope = jax.grad(lambda x: layer.apply(params, {}, x)[0].sum())(1e4 * _normal(1, TIME, FEATURES))
    assert jnp.isfinite(slope).all()


def test_dropout_drops_weights_and_keeps_their_mean() -> None:
    layer = MultiHeadAttention(1, dropout=0.5, bias="none", initializer="ones")
    params, state, _ = layer.init(KEY, (2000, 1))
    x = jnp.ones((1, 2000, 1))
    y = layer.apply(params, state, x, train=True, key=KEY)[0]
    assert float(y.mean()) == pytest.approx(1, abs=0.01)
    assert 0.01 < float(y.std()) < 0.03  # √(1/2000)
    assert float(layer.apply(params, {"rate": jnp.zeros(())}, x, train=True, key=KEY)[0].std()) < 1e-5
    with pytest.raises(ConfigError, match="no key"):
        layer.apply(params, state, x, train=True)


@functools.lru_cache
def _block(**how: Any) -> Any:
    block = TransformerBlock(2, 12, num_kv_heads=1, **how)
    params, state, _ = block.init(KEY, (TIME, FEATURES))
    params = _filled(params)
    return jax.jit(lambda x: block.apply(params, state, x)[0])


@given(st.integers(0, TIME - 1), st.floats(-100, 100))
@settings(max_examples=10)
def test_a_later_token_changes_nothing_before_it(place: int, value: float) -> None:
    run = _block(causal=True, rotary_base=100.0)
    x = np.asarray(RNG.normal(size=(1, TIME, FEATURES)), np.float32)
    changed = x.copy()
    changed[:, place] = value
    before, after = np.asarray(run(x)), np.asarray(run(changed))
    np.testing.assert_array_equal(before[:, :place], after[:, :place])
    assert not np.allclose(before[:, place:], after[:, place:])


@given(st.permutations(range(TIME)))
@settings(max_examples=10)
def test_without_positions_permuted_tokens_give_permuted_outputs(order: list[int]) -> None:
    x = np.asarray(RNG.normal(size=(1, TIME, FEATURES)), np.float32)
    run = _block()
    np.testing.assert_allclose(run(x[:, order]), np.asarray(run(x))[:, order], rtol=1e-4, atol=1e-5)


@given(st.lists(st.booleans(), min_size=TIME, max_size=TIME), st.sampled_from([1e4, -3.0, 0.0]))
@settings(max_examples=10)
def test_padding_anywhere_changes_nothing_for_real_tokens(real: list[bool], junk: float) -> None:
    run = _block(causal=True, rotary_base=100.0)
    count = sum(real)
    x = np.asarray(RNG.normal(size=(1, TIME, FEATURES)), np.float32)
    padded = np.full_like(x, junk)
    padded[:, np.array(real)] = x[:, :count]
    alone = np.asarray(run(x))[0, :count]  # causal: what follows does not matter
    together = np.asarray(run({"x": padded, "mask": np.array([real])})["x"])[0, np.array(real)]
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-5)


def test_rotated_products_depend_on_distance_alone() -> None:
    q, k = _normal(1, 1, 1, 8), _normal(1, 1, 1, 8)

    def product(i: int, j: int) -> float:
        turned = [rotate(a, jnp.asarray([[p]]), 10000.0) for a, p in ((q, i), (k, j))]
        return float(jnp.sum(turned[0] * turned[1]))

    assert product(7, 3) == pytest.approx(product(104, 100), abs=1e-4)
    assert product(7, 3) != pytest.approx(product(7, 4), abs=1e-3)
    x = _normal(2, 3, 2, 8)
    there = rotate(x, jnp.arange(3)[None], 100.0)
    np.testing.assert_allclose(rotate(there, -jnp.arange(3)[None], 100.0), x, rtol=1e-5, atol=1e-6)
    as_complex = np.asarray(x[..., :4]) + 1j * np.asarray(x[..., 4:])
    turned = as_complex * np.exp(1j * np.arange(3)[None, :, None, None] * 100.0 ** (-2 * np.arange(4) / 8))
    np.testing.assert_allclose(there, np.concatenate([turned.real, turned.imag], -1), rtol=1e-5, atol=1e-5)


def test_sinusoids_are_the_papers() -> None:
    y = SinusoidalPositions(gain=2.0).apply({}, {}, jnp.ones((1, 50, 6)))[0] - 2
    for position in (0, 1, 49):
        for i in range(3):
            angle = position / 10000 ** (2 * i / 6)
            found = np.asarray(y[0, position, 2 * i : 2 * i + 2])
            np.testing.assert_allclose(found, [np.sin(angle), np.cos(angle)], atol=2e-6)


def test_positions_count_real_tokens() -> None:
    assert token_positions(jnp.asarray(MASK), TIME).tolist()[1:] == [[0, 1, 2, 2, 2, 2], [0, 0, 0, 1, 1, 2]]
    layer = LearnedPositions(TIME)
    params = layer.init(KEY, (TIME, FEATURES))[0]
    x = _normal(3, TIME, FEATURES)
    y = layer.apply(params, {}, {"x": x, "mask": jnp.asarray(MASK)})[0]["x"] - x
    np.testing.assert_allclose(y[2, 3], params["table"][1], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(layer.apply(params, {}, x)[0] - x, np.stack([params["table"]] * 3), rtol=1e-4, atol=1e-6)


def test_rms_norm_and_swiglu_are_their_formulas(golden: Any) -> None:
    x, scale = _normal(4, 3, FEATURES), _normal(FEATURES)

    def theirs(torch: Any) -> dict[str, Any]:
        given = torch.tensor(np.asarray(x)), (FEATURES,), torch.tensor(np.asarray(scale)), 1e-5
        return {"y": torch.nn.functional.rms_norm(*given)}

    expected = golden("torch", theirs)["y"]
    np.testing.assert_allclose(RMSNorm().apply({"scale": scale}, {}, x)[0], expected, rtol=1e-5, atol=1e-6)
    layer = SwiGLU(5)
    params = layer.init(KEY, (3, FEATURES))[0]
    g, u = np.asarray(x @ params["gate"]), np.asarray(x @ params["up"])
    expected = (g / (1 + np.exp(-g)) * u) @ np.asarray(params["down"])
    np.testing.assert_allclose(layer.apply(params, {}, x)[0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: MultiHeadAttention(3, num_kv_heads=2), ConfigError, "3 heads and 2 key heads"),
        (lambda: MultiHeadAttention(3).init(KEY, (4, 8)), ConfigError, "cannot divide 8 features into 3 heads"),
        (lambda: MultiHeadAttention(8, rotary_base=100.0).init(KEY, (4, 8)), ConfigError, "even number"),
        (lambda: MultiHeadAttention(2, cross=True, causal=True), ConfigError, "expected neither"),
        (lambda: MultiHeadAttention(2, cross=True).init(KEY, (4, 8)), DataError, "no context"),
        (lambda: MultiHeadAttention(2).init(KEY, (8,)), DataError, r"expected \(time, features\)"),
        (lambda: MultiHeadAttention(2, initializer="he"), ConfigError, "unknown initializer"),
        (lambda: LearnedPositions(3).init(KEY, (4, 8)), DataError, "has 3 positions; the sequence has 4 tokens"),
        (lambda: PerToken(RMSNorm()).init(KEY, {"mask": (3,)}), DataError, "expected 'x'"),
        (
            lambda: SinusoidalPositions().apply({}, {}, {"x": jnp.ones((2, 3, 4)), "mask": jnp.ones((2, 3))}),
            DataError,
            "float32 of shape",
        ),
    ],
)
def test_errors(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()


def test_input_of_another_width_is_refused() -> None:
    for layer in (MultiHeadAttention(2), SwiGLU(4), RMSNorm()):
        params, state, _ = layer.init(KEY, (3, 4))
        with pytest.raises(DataError, match=r"expected \(batch, ..., 4\)"):
            layer.apply(params, state, jnp.ones((2, 3, 6)))
