"""Every layer through one contract table, and each against an independent implementation."""

from __future__ import annotations

import dataclasses
import functools
import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from layer_contracts import passes_no_rows, sums_in_16_bits

from danlu.blueprint import from_json, to_json
from danlu.errors import ConfigError, DataError
from danlu.nn import (
    GPT,
    GRU,
    LSTM,
    MLP,
    Activation,
    AdaptiveAveragePool,
    AveragePool,
    BatchNorm,
    Bidirectional,
    ClassToken,
    Conv,
    ConvTranspose,
    Dense,
    Dropout,
    Embedding,
    Ensemble,
    FeedForward,
    Flatten,
    GlobalAveragePool,
    GlobalMaxPool,
    GroupNorm,
    Layer,
    LayerNorm,
    LearnedPositions,
    LoRA,
    Masked,
    MaxPool,
    Moving,
    MultiHeadAttention,
    Parallel,
    Patches,
    PerToken,
    Pool,
    Remat,
    Reshape,
    Residual,
    RMSNorm,
    Segments,
    Sequential,
    SimpleRNN,
    SinusoidalPositions,
    SpectralNorm,
    SqueezeExcite,
    SumOfParts,
    SwiGLU,
    Tied,
    TransformerBlock,
    UnitLength,
    ViT,
    lift,
)

pytestmark = pytest.mark.usefixtures("no_silent_broadcasting")
ROWS = 6
KEY = jax.random.key(7)


def _linear_init(key: jax.Array, in_shape: Any) -> Any:
    return {"w": jax.random.normal(key, (in_shape[0], 2))}


def _linear_apply(params: Any, x: Any) -> Any:
    return x @ params["w"]


@dataclasses.dataclass(frozen=True)
class Case:
    """A layer, the shape of one example, and what does not hold for it."""

    layer: Layer
    in_shape: Any
    out_shape: Any
    whole: bool = False  # the input is whole numbers
    json: bool = True
    rowwise: bool = True  # in training, a row's output depends on that row alone
    slow: bool = False


CASES = {
    "dense": Case(Dense(3, "gelu"), (5,), (3,)),
    "neuron": Case(Dense(1, use_bias=False, initializer="orthogonal"), (5,), (1,)),
    "dense 3d": Case(Dense(3, "softmax"), (2, 5), (2, 3)),
    "activation": Case(Activation("silu"), (2, 5), (2, 5)),
    "flatten": Case(Flatten(), (2, 5), (10,)),
    "reshape": Case(Reshape((5, 2)), (10,), (5, 2)),
    "spectral norm": Case(SpectralNorm(Dense(3)), (5,), (3,)),
    "dropout": Case(Dropout(0.4), (5,), (5,), rowwise=False),
    "batch norm": Case(BatchNorm(), (5,), (5,), rowwise=False),
    "batch norm 3d": Case(BatchNorm(momentum=0.5), (2, 5), (2, 5), rowwise=False),
    "layer norm": Case(LayerNorm(), (2, 5), (2, 5)),
    "embedding": Case(Embedding(9, 4), (3,), (3, 4), whole=True),
    "empty": Case(Sequential(()), (5,), (5,)),
    "sequential": Case(Sequential((Dense(4, "tanh"), Dropout(0.2), Dense(2))), (5,), (2,), rowwise=False),
    "residual": Case(Residual(Dense(5, "relu")), (5,), (5,)),
    "residual shortcut": Case(Residual(Dense(2, "relu"), Dense(2, use_bias=False)), (5,), (2,)),
    "remat": Case(Remat(Residual(Dense(5, "tanh"))), (5,), (5,)),
    "parallel concatenate": Case(Parallel((Dense(2), Dense(3))), (5,), (5,)),
    "parallel add": Case(Parallel((Dense(2), Dense(2)), "add"), (5,), (2,)),
    "parallel stack": Case(Parallel((Dense(2), Dense(2)), "stack"), (5,), (2, 2)),
    "parallel dict": Case(
        Parallel((Dense(2), Flatten()), "dict", inputs=("a", "b"), outputs=("u", "v")),
        {"a": (5,), "b": (2, 3)},
        {"u": (2,), "v": (6,)},
    ),
    "ensemble": Case(Ensemble(Dense(3, "tanh"), 4), (5,), (4, 3)),
    "ensemble of members": Case(Ensemble(Parallel((Dense(2), Dense(2)), "stack"), 3), (5,), (6, 2)),
    "mlp": Case(MLP((4, 4), 2, dropout=0.1, norm="layer"), (5,), (2,), rowwise=False),
    "mlp batch": Case(MLP((4,), 2, activation="tanh", norm="batch"), (5,), (2,), rowwise=False),
    "simple rnn": Case(SimpleRNN(3, activation="relu"), (4, 5), (4, 3)),
    "lstm": Case(LSTM(3, reverse=True), (4, 5), (4, 3)),
    "gru": Case(GRU(3, return_sequences=False), (4, 5), (3,)),
    "bidirectional": Case(Bidirectional(LSTM(2)), (4, 5), (4, 4)),
    "conv": Case(Conv(4, 3, padding="valid", activation="relu"), (6, 5, 2), (4, 3, 4)),
    "conv 1d": Case(Conv(4, 3, stride=2, padding=((2, 0),), groups=2, use_bias=False), (7, 4), (4, 4)),
    "conv 3d": Case(Conv(2, (1, 2, 2), dilation=2), (2, 4, 3, 2), (2, 4, 3, 2)),
    "depthwise": Case(Conv(4, 3, stride=2, padding=1, groups=4), (5, 6, 4), (3, 3, 4)),
    "conv transpose": Case(ConvTranspose(3, 3, stride=2), (3, 2, 4), (6, 4, 3)),
    "max pool": Case(MaxPool(3, stride=2, padding=1), (5, 6, 2), (3, 3, 2)),
    "max pool tiles": Case(MaxPool(2), (5, 4, 2), (2, 2, 2)),
    "average pool": Case(AveragePool(2, stride=1, padding="same"), (5, 4, 2), (5, 4, 2)),
    "global average pool": Case(GlobalAveragePool(), (5, 4, 2), (2,)),
    "global max pool": Case(GlobalMaxPool(), (5, 2), (2,)),
    "adaptive pool": Case(AdaptiveAveragePool((2, 3)), (5, 4, 2), (2, 3, 2)),
    "group norm": Case(GroupNorm(2), (3, 2, 4), (3, 2, 4)),
    "instance norm": Case(GroupNorm(None), (3, 2, 4), (3, 2, 4)),
    "unit length": Case(UnitLength(), (5,), (5,)),
    "sum of parts": Case(SumOfParts((2, 1, 2)), (5,), (3,)),
    "squeeze excite": Case(SqueezeExcite(2), (3, 2, 4), (3, 2, 4)),
    "batch norm image": Case(BatchNorm(), (3, 2, 4), (3, 2, 4), rowwise=False),
    "attention": Case(MultiHeadAttention(4, 2, rotary_base=99.0, dropout=0.2), (3, 8), (3, 8), rowwise=False),
    "feed forward": Case(FeedForward(6, "gelu_tanh"), (3, 4), (3, 4)),
    "swiglu": Case(SwiGLU(6), (3, 4), (3, 4)),
    "rms norm": Case(RMSNorm(), (3, 4), (3, 4)),
    "learned positions": Case(LearnedPositions(5), (3, 4), (3, 4)),
    "sinusoidal positions": Case(SinusoidalPositions(2.0), (3, 5), (3, 5), slow=True),
    "per token": Case(PerToken(Dense(2)), (3, 4), (3, 2)),
    "pool of tokens": Case(Pool("first"), (3, 4), (4,)),
    "segments": Case(Segments(2), (3, 4), (3, 4), slow=True),
    "tied": Case(Tied(Embedding(9, 4), Sequential(()), use_bias=True), (3,), (3, 9), whole=True, slow=True),
    "lora": Case(LoRA(Sequential((Dense(4), Dense(2))), 2, targets=("0",), full=("1",)), (5,), (2,), slow=True),
    "masked": Case(Masked(Dense(3)), (5,), (3,), slow=True),
    "moving": Case(Moving(Dense(3)), (5,), (3,), slow=True),
    "patches": Case(Patches(2), (4, 6, 1), (6, 4)),
    "class token": Case(ClassToken(), (3, 4), (4, 4), slow=True),
    "block": Case(TransformerBlock(2, 6, dropout=0.1, norm_first=False), (3, 4), (3, 4), rowwise=False, slow=True),
    "gpt": Case(GPT(9, 4, dim=4, num_layers=1, num_heads=2), (3,), (3, 9), whole=True, slow=True),
    "vit": Case(
        ViT(2, patch=2, dim=4, num_layers=1, num_heads=2, pool="mean", max_patches=6), (4, 6, 1), (2,), slow=True
    ),
    "lift": Case(lift(_linear_init, _linear_apply), (5,), (2,), json=False),
}
names = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * CASES[name].slow) for name in sorted(CASES)]
)


def _input(case: Case, rows: int = ROWS, seed: int = 3) -> Any:
    rng = np.random.default_rng(seed)

    def draw(shape: tuple[int, ...]) -> jax.Array:
        if case.whole:
            return jnp.asarray(rng.integers(0, 9, (rows, *shape)), jnp.int32)
        return jnp.asarray(rng.normal(size=(rows, *shape)), jnp.float32)

    return jax.tree.map(draw, case.in_shape, is_leaf=lambda s: isinstance(s, tuple))


def _rows(tree: Any) -> Any:
    return jax.tree.map(lambda a: np.asarray(a)[2:4], tree)


def _beside_others(tree: Any, others: Any) -> Any:
    return jax.tree.map(lambda a, b: np.concatenate([b[:2], a[2:4], b[4:]]), tree, others)


@functools.cache
def _init(name: str) -> Any:
    """``init``'s params and state, in one program that the tests of a layer share, as they share the next."""
    case = CASES[name]
    return jax.jit(lambda key: case.layer.init(key, case.in_shape)[:2])


@functools.cache
def _apply(name: str) -> Any:
    return jax.jit(CASES[name].layer.apply, static_argnames="train")


def _shapes(tree: Any) -> Any:
    return jax.tree.map(lambda a: (a.shape, a.dtype), tree)


def _close(left: Any, right: Any, atol: float = 1e-6) -> None:
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=atol), left, right)


@names
def test_contract(name: str) -> None:
    case = CASES[name]
    layer, x = case.layer, _input(case)
    params, state, out_shape = layer.init(KEY, case.in_shape)
    assert out_shape == case.out_shape
    _close((params, state), _init(name)(KEY))
    assert layer.out_shape(case.in_shape) == case.out_shape
    compiled = _apply(name)
    for train in (False, True):
        y, after = compiled(params, state, x, train=train, key=KEY)
        expected = jax.tree.map(lambda s: (ROWS, *s), case.out_shape, is_leaf=lambda s: isinstance(s, tuple))
        assert jax.tree.map(lambda a: a.shape, y) == expected
        assert _shapes(after) == _shapes(state)
        if train:
            _close((y, after), layer.apply(params, state, x, train=True, key=KEY))
        else:
            assert _shapes(jax.eval_shape(layer.apply, params, state, x)) == _shapes((y, after)), "no key is needed"
            _close(after, state)
            _close(compiled(params, state, _rows(x), train=False, key=KEY)[0], _rows(y))
        if case.rowwise:
            beside, _ = compiled(params, state, _beside_others(x, _input(case, seed=4)), train=train, key=KEY)
            _close(_rows(beside), _rows(y))
    assert _shapes(jax.eval_shape(lambda: layer.init(KEY, case.in_shape)[:2])) == _shapes((params, state))


@names
def test_vmap_over_members_is_a_loop(name: str) -> None:
    case = CASES[name]
    x, keys = _input(case), jax.random.split(KEY, 2)

    def run(key: jax.Array) -> Any:
        params, state, _ = case.layer.init(key, case.in_shape)
        return case.layer.apply(params, state, x, train=True, key=key)

    together = jax.jit(jax.vmap(run))(keys)
    for member in range(2):
        alone = _apply(name)(*_init(name)(keys[member]), x, train=True, key=keys[member])
        _close(jax.tree.map(lambda a, i=member: np.asarray(a)[i], together), alone)


@names
def test_half_precision_is_kept(name: str) -> None:
    case = CASES[name]
    params, state, x = jax.tree.map(
        lambda a: jax.ShapeDtypeStruct(a.shape, jnp.bfloat16) if jnp.issubdtype(a.dtype, jnp.floating) else a,
        (*jax.eval_shape(_init(name), KEY), _input(case)),
    )
    y, after = jax.eval_shape(lambda *a: case.layer.apply(*a, train=True, key=KEY), params, state, x)
    assert {a.dtype for a in jax.tree.leaves(y)} == {jnp.dtype(jnp.bfloat16)}
    assert _shapes(after) == _shapes(state)


@names
def test_json_and_hash(name: str) -> None:
    case = CASES[name]
    assert hash(case.layer) == hash(case.layer.replace())
    if case.json:
        assert from_json(json.loads(json.dumps(to_json(case.layer)))) == case.layer
    else:
        with pytest.raises(ConfigError, match="a function"):
            to_json(case.layer)


@names
def test_children_own_the_params_at_their_index(name: str) -> None:
    case = CASES[name]
    params, state, _ = case.layer.init(KEY, case.in_shape)
    children = case.layer.children()
    shapes = case.layer.child_shapes(case.in_shape)
    assert len(shapes) == len(children)
    for index, ((_, child), shape) in enumerate(zip(children, shapes, strict=True)):
        own = child.init(jax.random.fold_in(KEY, index), shape)
        _close((params[index], state[index]), own[:2])
    assert len({label for label, _ in children}) == len(children)


def test_dense_is_the_formula() -> None:
    layer = Dense(3, "relu")
    params, _, _ = layer.init(KEY, (2, 4))
    params["bias"] = jnp.asarray([0.1, -0.2, 0.3])
    x = np.random.default_rng(0).normal(size=(5, 2, 4)).astype(np.float32)
    expected = np.maximum(np.einsum("btf,fu->btu", x, params["kernel"]) + np.asarray(params["bias"]), 0)
    np.testing.assert_allclose(layer.apply(params, {}, jnp.asarray(x))[0], expected, rtol=1e-5, atol=1e-6)


def test_the_activation_chooses_the_initial_spread() -> None:
    spread = {name: float(Dense(400, name).init(KEY, (400,))[0]["kernel"].std()) for name in ("relu", "identity")}
    assert spread["relu"] / spread["identity"] == pytest.approx(2**0.5, rel=0.01)


def test_batch_norm_agrees_with_pytorch(golden: Any) -> None:
    x = np.random.default_rng(1).normal(2, 3, (8, 5)).astype(np.float32)

    def theirs(torch: Any) -> dict[str, Any]:
        norm = torch.nn.BatchNorm1d(5, eps=1e-5, momentum=0.1)
        trained = [norm(torch.tensor(x)) for _ in range(3)]
        return {
            "trained": torch.stack(trained), "mean": norm.running_mean, "variance": norm.running_var,
            "used": norm.eval()(torch.tensor(x)),
        }  # fmt: skip

    expected = golden("torch", theirs)
    layer = BatchNorm(momentum=0.9, epsilon=1e-5)
    params, state, _ = layer.init(KEY, (5,))
    for each in expected["trained"]:
        y, state = layer.apply(params, state, jnp.asarray(x), train=True)
        np.testing.assert_allclose(y, each, atol=1e-5)
    np.testing.assert_allclose(state["mean"], expected["mean"], rtol=1e-5)
    np.testing.assert_allclose(state["variance"], expected["variance"], rtol=1e-5)
    np.testing.assert_allclose(layer.apply(params, state, jnp.asarray(x))[0], expected["used"], atol=1e-5)


def test_layer_norm_agrees_with_pytorch(golden: Any) -> None:
    rng = np.random.default_rng(1)
    x, scale, bias = (rng.normal(2, 3, s).astype(np.float32) for s in ((4, 3, 5), (5,), (5,)))

    def theirs(torch: Any) -> dict[str, Any]:
        args = torch.tensor(x), (5,), torch.tensor(scale), torch.tensor(bias)
        return {"y": torch.nn.functional.layer_norm(*args)}

    ours = LayerNorm().apply({"scale": jnp.asarray(scale), "bias": jnp.asarray(bias)}, {}, jnp.asarray(x))[0]
    np.testing.assert_allclose(ours, golden("torch", theirs)["y"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("norm", [BatchNorm(), LayerNorm()])
def test_norms_of_constant_and_huge_inputs_are_finite(norm: Layer) -> None:
    params, state, _ = norm.init(KEY, (3,))
    for x in (jnp.full((4, 3), 1e4), jnp.full((1, 3), -1e4), 1e4 * jax.random.normal(KEY, (4, 3))):
        slope = jax.grad(lambda x: norm.apply(params, state, x, train=True)[0].sum())(x)
        assert jnp.isfinite(slope).all()
        assert all(jnp.isfinite(a).all() for a in jax.tree.leaves(norm.apply(params, state, x, train=True)))


def test_dropout_drops_its_share_and_keeps_the_mean() -> None:
    layer = Dropout(0.25)
    x = jnp.ones((200, 200))
    y = np.asarray(layer.apply({}, {"rate": jnp.asarray(0.25)}, x, train=True, key=KEY)[0])
    assert set(np.unique(y).round(5)) == {0.0, np.float32(4 / 3).round(5)}
    assert (y == 0).mean() == pytest.approx(0.25, abs=0.01)
    assert y.mean() == pytest.approx(1, abs=0.01)
    assert np.array_equal(layer.apply({}, {"rate": jnp.asarray(0.0)}, x, train=True, key=KEY)[0], x)


def test_dropout_rate_is_the_states() -> None:
    run = jax.vmap(lambda rate: Dropout(0.5).apply({}, {"rate": rate}, jnp.ones((50, 50)), train=True, key=KEY)[0])
    dropped = (run(jnp.asarray([0.0, 0.1, 0.9])) == 0).mean(axis=(1, 2))
    np.testing.assert_allclose(dropped, [0, 0.1, 0.9], atol=0.03)


def test_embedding_looks_up_rows_and_sends_strangers_to_row_0() -> None:
    layer = Embedding(4, 2)
    params, state, _ = layer.init(KEY, (3,))
    y, _ = layer.apply(params, state, jnp.asarray([[1, 3, 0], [4, -1, 2_000_000]]))
    table = np.asarray(params["table"])
    np.testing.assert_array_equal(y, table[[[1, 3, 0], [0, 0, 0]]])
    with pytest.raises(DataError, match="whole"):
        layer.apply(params, state, jnp.ones((2, 3)))


def test_parallel_reads_by_key_and_merges() -> None:
    x = {"a": jnp.ones((2, 3)), "b": 2 * jnp.ones((2, 3))}
    net = Parallel((Activation("identity"), Activation("identity"), Activation("identity")), inputs=("a", "b", "a"))
    _, state, _ = net.init(KEY, {"a": (3,), "b": (3,)})
    np.testing.assert_array_equal(net.apply(({}, {}, {}), state, x)[0][0], [1, 1, 1, 2, 2, 2, 1, 1, 1])
    stacked = net.replace(merge="stack").apply(({}, {}, {}), state, x)[0]
    np.testing.assert_array_equal(stacked[0], [[1] * 3, [2] * 3, [1] * 3])
    np.testing.assert_array_equal(net.replace(merge="add").apply(({}, {}, {}), state, x)[0][0], [4, 4, 4])


def test_children_draw_from_different_keys() -> None:
    net = Sequential((Dropout(0.5), Dropout(0.5)))
    _, state, _ = net.init(KEY, (100,))
    y = net.apply(((), ()), state, jnp.ones((50, 100)), train=True, key=KEY)[0]
    assert float((y != 0).mean()) == pytest.approx(0.25, abs=0.03)


def test_mlp_is_its_expansion() -> None:
    mlp = MLP((4,), 2, norm="batch", dropout=0.3)
    kinds = [type(layer).__name__ for layer in mlp.expanded.layers]
    assert kinds == ["Dense", "BatchNorm", "Activation", "Dropout", "Dense"]
    assert mlp.expanded.layers[-1] == Dense(2)
    assert MLP((), 2).expanded == Sequential((Dense(2),))


def test_lift_takes_an_example() -> None:
    def init(key: jax.Array, example: jax.Array) -> Any:
        return jnp.ones((example.shape[-1], 2))

    params, state, out_shape = lift(init, lambda p, x: x @ p, takes="example").init(KEY, (5,))
    assert (params.shape, state, out_shape) == ((5, 2), {}, (2,))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Dense(0), ConfigError, r"Dense.units is 0; expected a whole number >= 1"),
        (lambda: Dense(2.5), ConfigError, "whole number"),
        (lambda: Dense(2, "relo"), ConfigError, "did you mean 'relu'"),
        (lambda: Dense(2, initializer="he"), ConfigError, "unknown initializer"),
        (lambda: Dropout(1.0), ConfigError, "expected a number >= 0 and < 1"),
        (lambda: BatchNorm(momentum=2), ConfigError, "BatchNorm.momentum"),
        (lambda: MLP(64, 1), ConfigError, r"expected a list of whole numbers\nHint: such as \[64\]"),
        (lambda: MLP((0,), 1), ConfigError, "Dense.units is 0"),
        (lambda: Sequential((Dense,)), ConfigError, r"call the class: Dense\(...\)"),
        (lambda: Sequential(Dense(2)), ConfigError, "expected a list of Layers"),
        (lambda: Residual(3), ConfigError, "expected a Layer"),
        (lambda: Parallel(()), ConfigError, "no branches"),
        (lambda: Parallel((Dense(1),), inputs=("a", "b")), ConfigError, "expected 1 keys, one for each"),
        (lambda: Parallel((Dense(1),), "dict"), ConfigError, "set outputs"),
        (lambda: lift(None, _linear_apply), ConfigError, "expected a function"),
        (lambda: Residual(Dense(3)).init(KEY, (4,)), ConfigError, "shortcut"),
        (lambda: Parallel((Dense(3), Dense(4)), "add").init(KEY, (4,)), ConfigError, "same shape"),
        (lambda: Dense(3).init(KEY, ()), ConfigError, "at least one feature"),
        (lambda: Dense(3).init(KEY, {"a": (3,)}), ConfigError, "dict of 'a'"),
        (lambda: Parallel((Dense(3),), inputs=("a",)).init(KEY, {"b": (3,)}), DataError, "unknown input 'a'"),
        (lambda: Parallel((Dense(3),), inputs=("a",)).init(KEY, (3,)), DataError, "received one array"),
        (lambda: Dropout(0.1).apply({}, {"rate": jnp.zeros(())}, jnp.ones((2, 2)), train=True), ConfigError, "no key"),
    ],
)
def test_errors(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()


def test_input_of_another_width_is_refused() -> None:
    for layer in (Dense(3), BatchNorm(), LayerNorm()):
        params, state, _ = layer.init(KEY, (4,))
        with pytest.raises(DataError, match=r"expected \(batch, ..., 4\)"):
            layer.apply(params, state, jnp.ones((2, 5)))
        with pytest.raises(DataError, match="the first axis is the batch"):
            layer.apply(params, state, jnp.ones((4,)))


def _shapes_of_rows(case: Case, rows: int) -> Any:
    dtype = jnp.int32 if case.whole else jnp.float32
    is_shape = lambda node: isinstance(node, tuple)  # noqa: E731
    return jax.tree.map(lambda s: jax.ShapeDtypeStruct((rows, *s), dtype), case.in_shape, is_leaf=is_shape)


@pytest.mark.parametrize("name", CASES)
def test_no_rows_pass_and_nothing_adds_up_in_16_bits(name: str) -> None:
    case = CASES[name]
    passes_no_rows(case.layer, case.in_shape, _shapes_of_rows(case, 0))
    assert not sums_in_16_bits(case.layer, case.in_shape, _shapes_of_rows(case, ROWS))


def test_no_rows_leave_the_running_statistics() -> None:
    layer = BatchNorm()
    params, state, _ = layer.init(KEY, (3, 2))
    y, after = layer.apply(params, state, jnp.zeros((0, 3, 2)), train=True)
    assert y.shape == (0, 3, 2)
    for name, value in state.items():
        np.testing.assert_array_equal(after[name], value)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize(
    ("layer", "shape", "value"),
    [
        (AveragePool(30, stride=1), (31, 31, 1), 100.0),
        (AveragePool(30), (30, 30, 1), 100.0),
        (AveragePool(700, stride=1, padding="same"), (701, 1), 100.0),
        (GlobalAveragePool(), (40, 40, 1), 100.0),
        (AdaptiveAveragePool(1), (40, 40, 1), 100.0),
        (Pool(), (1000, 1), 100.0),
    ],
)
def test_a_mean_of_16_bits_is_that_of_its_values(dtype: Any, layer: Layer, shape: Any, value: float) -> None:
    y, _ = layer.apply({}, {}, jnp.full((1, *shape), value, dtype))
    assert y.dtype == dtype
    np.testing.assert_allclose(np.asarray(y, np.float32), value, rtol=4e-3)


def test_a_wide_window_of_a_depthwise_convolution_is_a_loop_over_its_rows() -> None:
    layer = Conv(2, (2, 20), groups=2, padding="valid")
    params = {"kernel": jnp.ones((2, 20, 1, 2)), "bias": jnp.zeros(2)}
    y, _ = layer.apply(params, {}, jnp.ones((1, 2, 21, 2)))
    np.testing.assert_array_equal(y, np.full((1, 1, 2, 2), 40.0))
