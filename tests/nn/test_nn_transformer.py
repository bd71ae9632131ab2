"""Transformers against PyTorch, their caches against the whole pass, their backpropagation by hand against jax.grad."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import danlu
from danlu.errors import ConfigError, DataError
from danlu.nn import (
    BERT,
    GPT,
    CharRNN,
    Dense,
    Embedding,
    Patches,
    PerToken,
    Pool,
    Sequential,
    SinusoidalPositions,
    Sublayer,
    Tied,
    Transformer,
    TransformerBlock,
    ViT,
    cached_step,
    generate,
    init_cache,
    summary,
)
from danlu.nn.backprop import LAYER_RULES, gradient_check, trace
from danlu.nn.losses import CategoricalCrossEntropy, reduce
from danlu.nn.transformer.generate import sample, top_k_logits, top_p_logits

pytestmark = pytest.mark.usefixtures("no_silent_broadcasting")
KEY = jax.random.key(5)
RNG = np.random.default_rng(5)
WORDS, TIME = 11, 6
SMALL = GPT(WORDS, 12, dim=8, num_layers=2, num_heads=2)
MODERN = GPT(
    WORDS, 12, dim=8, num_layers=1, num_heads=4, num_kv_heads=2, hidden=12, positions="rotary", norm="rms",
    feed_forward="swiglu", bias="none", tied=False,
)  # fmt: skip


def _tokens(*shape: int) -> Any:
    return jnp.asarray(RNG.integers(0, WORDS, shape), jnp.int32)


def _normal(*shape: int) -> Any:
    return jnp.asarray(RNG.normal(size=shape), jnp.float32)


@functools.lru_cache
def _started(net: Any, in_shape: Any = (TIME,)) -> Any:
    """Params spread enough that a wrong place or a missing bias shows, and the state."""
    shape = dict(in_shape) if isinstance(in_shape[0], tuple) else in_shape
    params, state = jax.jit(lambda key: net.init(key, shape)[:2])(KEY)
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda a: a + jnp.asarray(0.3 * rng.normal(size=a.shape), jnp.float32), params), state


@functools.lru_cache
def _forward(net: Any) -> Any:
    params, state = _started(net)
    return jax.jit(lambda x: net.apply(params, state, x)[0])


@pytest.mark.parametrize(("norm_first", "kind"), [(True, "encoder"), (False, "encoder"), (True, "decoder")])
def test_a_block_is_pytorchs_with_the_same_weights(norm_first: bool, kind: str, golden: Any) -> None:
    cross = kind == "decoder"
    block = TransformerBlock(2, 12, causal=cross, cross=cross, norm_first=norm_first, activation="gelu")
    x, context, weights = _normal(2, TIME, 8), _normal(2, 4, 8), _normal(2, TIME, 8)
    given: Any = {"x": x, "context": context} if cross else {"x": x}
    params, state = _started(block, (("x", (TIME, 8)), ("context", (4, 8))) if cross else (("x", (TIME, 8)),))

    def theirs(torch: Any) -> dict[str, Any]:
        make = torch.nn.TransformerDecoderLayer if cross else torch.nn.TransformerEncoderLayer
        module = make(8, 2, 12, dropout=0.0, activation="gelu", batch_first=True, norm_first=norm_first)
        feed = params[-1][1]
        attentions = [module.self_attn, *([module.multihead_attn] if cross else [])]
        pairs = [(module.linear1.weight, feed["up"]), (module.linear1.bias, feed["up_bias"])]
        pairs += [(module.linear2.weight, feed["down"]), (module.linear2.bias, feed["down_bias"])]
        for number, (norm, _) in enumerate(params, 1):
            pairs += [(getattr(module, f"norm{number}").weight, norm["scale"])]
            pairs += [(getattr(module, f"norm{number}").bias, norm["bias"])]
        for other, (_, own) in zip(attentions, params, strict=False):
            pairs += [(other.out_proj.weight, own["output"]), (other.out_proj.bias, own["output_bias"])]
            pairs += [(other.in_proj_weight, jnp.concatenate([own[n] for n in ("query", "key", "value")], axis=1))]
            pairs += [(other.in_proj_bias, jnp.concatenate([own[f"{n}_bias"] for n in ("query", "key", "value")]))]
        with torch.no_grad():
            for parameter, array in pairs:
                parameter.copy_(torch.tensor(np.asarray(array).T.copy()))
        a = torch.tensor(np.asarray(x), requires_grad=True)
        if cross:
            future = torch.triu(torch.ones(TIME, TIME, dtype=torch.bool), 1)
            out = module(a, torch.tensor(np.asarray(context)), tgt_mask=future)
        else:
            out = module(a)
        (out * torch.tensor(np.asarray(weights))).sum().backward()
        return {"y": out, "x": a.grad}

    expected = golden("torch", theirs)

    @jax.jit
    def run(x: Any) -> Any:
        def weighted(x: Any) -> Any:
            y = block.apply(params, state, {**given, "x": x})[0]["x"]
            return jnp.sum(y * weights), y

        return jax.grad(weighted, has_aux=True)(x)

    slope, y = run(x)
    np.testing.assert_allclose(y, expected["y"], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(slope, expected["x"], rtol=1e-3, atol=1e-4)


def _parameters(net: Any, in_shape: Any) -> int:
    shapes = jax.eval_shape(lambda key: net.init(key, in_shape)[0], KEY)
    return sum(a.size for a in jax.tree.leaves(shapes))


def test_sizes_are_those_of_the_papers() -> None:
    assert _parameters(GPT(), (1024,)) == 124_439_808  # GPT-2 small as released
    assert _parameters(ViT(1000), (224, 224, 3)) == 86_567_656
    segments, pooler = 2 * 768, 768 * 768 + 768
    assert _parameters(BERT(), (512,)) == 109_482_240 - segments - pooler


def test_the_summary_counts_operations() -> None:
    found = summary(SMALL.replace(num_layers=1), (TIME,))
    products = 2 * (4 * 8 * 8 + 2 * 8 * 32 + 8 * WORDS)  # a token's: attention, feed-forward, head
    attention = 4 * TIME * 8 + 5 * 2 * TIME
    rest = 8 + 2 * (8 * 8 + 8) + 8 * 8 + 4 * 8 + (32 + 32 + 8)  # positions, norms, shortcuts, biases, activations
    assert abs(found.flops - TIME * (products + attention + rest)) <= TIME * 5 * 8
    assert {row.path for row in found.rows} >= {"embedding", "body/1/0/norm", "body/1/1/layer", "body/2/layer"}


def test_the_initial_loss_is_that_of_a_guess() -> None:
    params, state = jax.jit(lambda key: SMALL.init(key, (TIME,))[:2])(KEY)
    logits = jax.jit(SMALL.apply)(params, state, _tokens(4, TIME))[0]
    assert float(CategoricalCrossEntropy()(logits, _tokens(4, TIME)).mean()) == pytest.approx(np.log(WORDS), abs=0.02)


@pytest.mark.slow  # that a language is learnt is seen in tests/tasks/test_language.py and test_pipeline_language.py
def test_gpt_learns_to_count() -> None:
    rows = (np.arange(64)[:, None] + np.arange(TIME + 1)) % WORDS
    net = GPT(WORDS, TIME, dim=16, num_layers=1, num_heads=2)
    fitted = danlu.fit(
        net, (rows[:, :-1].astype(np.int32), rows[:, 1:].astype(np.int32)), loss="categorical_cross_entropy",
        optimizer=danlu.optim.adam(0.01), epochs=25, batch_size=16, display="none",
    )  # fmt: skip
    assert fitted.history[-1]["loss"] < 0.3
    written = generate(net, fitted.params, fitted.state, jnp.asarray([[3, 4]]), KEY, length=4, temperature=0)
    assert written.tolist() == [[5, 6, 7, 8]]


@pytest.mark.parametrize(
    "net",
    [
        SMALL,
        MODERN,
        GPT(WORDS, 12, dim=8, num_layers=1, num_heads=2, positions="sinusoidal"),
        CharRNN(WORDS, dim=8, units=8, num_layers=2),
    ],
)
def test_a_cache_gives_the_whole_pass(net: Any) -> None:
    params, state = _started(net)
    x = _tokens(2, TIME)
    # Row 1 has padding before, between and after.
    mask = jnp.asarray([[True] * TIME, [False, True, True, False, True, False]])
    expected = _forward(net)({"x": x, "mask": mask})
    step = jax.jit(functools.partial(cached_step, net))
    cache = init_cache(net, params, batch=2, length=TIME)
    parts = []
    for start, stop in ((0, 3), (3, 4), (4, 5), (5, 6)):
        y, cache = step(params, state, x[:, start:stop], cache, mask=mask[:, start:stop])
        parts.append(y)
    found = jnp.concatenate(parts, axis=1)
    np.testing.assert_allclose(np.asarray(found)[mask], np.asarray(expected)[mask], rtol=1e-4, atol=1e-5)


def test_greedy_generation_is_argmax_again_and_again() -> None:
    params, state = _started(SMALL)
    x = _tokens(2, 3)
    found = generate(SMALL, params, state, x, KEY, length=3, temperature=0)
    whole = jnp.concatenate([x, found], axis=1)
    following = jnp.argmax(_forward(SMALL)(whole), axis=-1)
    assert found.tolist() == following[:, 2:5].tolist()
    # The same prompt with padding on either side continues the same way.
    for left, right in ((3, 0), (0, 3), (1, 2)):
        padded = jnp.pad(x, ((0, 0), (left, right)), constant_values=7)
        mask = jnp.pad(jnp.ones(x.shape, bool), ((0, 0), (left, right)))
        again = generate(SMALL, params, state, {"x": padded, "mask": mask}, KEY, length=3, temperature=0)
        assert again.tolist() == found.tolist()
    end = int(found[0, 0])
    stopped = generate(SMALL, params, state, x, KEY, length=3, temperature=0, end=end)
    assert stopped[0].tolist() == [end] * 3


def test_a_translation_is_generated_from_its_source() -> None:
    net = Transformer(WORDS, 13, dim=8, num_layers=1, num_heads=2, hidden=12)
    shape = (("source", (5,)), ("target", (4,)), ("source_mask", (5,)))
    params, state = _started(net, shape)
    x = {
        "source": _tokens(2, 5),
        "target": jnp.zeros((2, 1), jnp.int32),
        "source_mask": jnp.asarray([[True] * 5, [True] * 3 + [False] * 2]),
    }
    found = generate(net, params, state, x, KEY, length=3, temperature=0)
    whole = jnp.concatenate([x["target"], found], axis=1)
    run = jax.jit(lambda x: net.apply(params, state, x)[0])
    logits = run({**x, "target": whole})
    assert found.tolist() == jnp.argmax(logits, axis=-1)[:, :3].tolist()
    junk = {**x, "source": jnp.where(x["source_mask"], x["source"], 9), "target": whole}
    np.testing.assert_allclose(run(junk), logits, rtol=1e-5, atol=1e-5)
    other = {**x, "source": (x["source"] + 1) % 13, "target": whole}
    assert not np.allclose(run(other), logits, atol=1e-2)


@given(st.integers(0, 2**31 - 1), st.integers(1, WORDS), st.floats(0.05, 1.0))
@settings(max_examples=15)
def test_cut_logits_keep_the_likeliest(seed: int, k: int, p: float) -> None:
    logits = np.random.default_rng(seed).normal(0, 2, (2, WORDS)).astype(np.float32)
    probabilities = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    kept = np.isfinite(top_k_logits(jnp.asarray(logits), k))
    assert (kept.sum(-1) == k).all()
    nucleus = np.isfinite(top_p_logits(jnp.asarray(logits), p))
    for row in range(2):
        assert probabilities[row][kept[row]].min() >= probabilities[row][~kept[row]].max(initial=0)
        inside = np.sort(probabilities[row][nucleus[row]])
        assert inside.sum() >= p - 1e-5
        assert inside[1:].sum() < p + 1e-5, "without its least likely token it falls short"
        assert inside.min() >= probabilities[row][~nucleus[row]].max(initial=0)


def test_samples_have_the_models_probabilities() -> None:
    logits = jnp.log(jnp.asarray([0.5, 0.3, 0.15, 0.05]))
    keys = jax.random.split(KEY, 20000)
    draw = jax.jit(jax.vmap(lambda key, heat: sample(logits, key, temperature=heat), (0, None)))

    def shares(drawn: Any) -> Any:
        return np.bincount(np.asarray(drawn), minlength=4) / len(keys)

    np.testing.assert_allclose(shares(draw(keys, 1.0)), [0.5, 0.3, 0.15, 0.05], atol=0.015)
    hot = np.sqrt([0.5, 0.3, 0.15, 0.05])
    np.testing.assert_allclose(shares(draw(keys, 2.0)), hot / hot.sum(), atol=0.015)
    assert shares(draw(keys, 0.0)).tolist() == [1, 0, 0, 0]
    cut = jax.jit(jax.vmap(lambda key: sample(logits, key, top_k=3, top_p=0.6)))(keys)
    np.testing.assert_allclose(shares(cut), [0.625, 0.375, 0, 0], atol=0.015)


def _masked(x: Any) -> Any:
    return {"x": x, "mask": jnp.asarray([[True] * TIME, [True] * 3 + [False] * 3, [False] + [True] * 5])}


# name -> (network, input, what of it is not a number with a slope)
TRACED: dict[str, Any] = {
    "gpt": (SMALL.replace(num_layers=1), _masked(_tokens(3, TIME))),
    "modern": (MODERN, _tokens(3, TIME)),
    "bert": (
        BERT(WORDS, 8, dim=8, num_layers=1, num_heads=2, head="class", outputs=3, dropout=0.1, segments=2),
        {**_masked(_tokens(3, TIME)), "segments": _tokens(3, TIME) % 2},
    ),
    "translation": (
        Transformer(WORDS, dim=8, num_layers=1, num_heads=2, hidden=12),
        {"source": _tokens(3, TIME), "target": _tokens(3, 4), "source_mask": _masked(0)["mask"]},
    ),
    "vit": (ViT(3, patch=2, dim=8, num_layers=1, num_heads=2, max_patches=7), _normal(3, 4, 6, 2)),
    "mean of tokens": (Sequential((TransformerBlock(2, 8), Pool(), Dense(3))), _masked(_normal(3, TIME, 8))),
}  # fmt: skip


OF_OTHERS = (
    "bert",
    "mean of tokens",
    "vit",
)  # the rules of their layers are those of gpt and translation, and in test_nn_backprop.py


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in OF_OTHERS)) for name in sorted(TRACED)]
)
def test_trace_is_the_training_gradient(name: str) -> None:
    net, x = TRACED[name]
    in_shape = jax.tree.map(lambda a: tuple(a.shape[1:]), x)
    params, state = jax.jit(lambda key: net.init(key, in_shape)[:2])(KEY)
    out_shape = net.out_shape(in_shape)
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda a: a + jnp.asarray(0.2 * rng.normal(size=a.shape), jnp.float32), params)
    y = jnp.asarray(rng.integers(0, out_shape[-1], (3, *out_shape[:-1])))
    loss, weights = CategoricalCrossEntropy(), jnp.asarray([1.0, 0.5, 2.0])

    @jax.jit
    def both(params: Any) -> Any:
        def objective(params: Any) -> Any:
            return reduce(loss(net.apply(params, state, x, train=True, key=KEY)[0], y), weights)

        seen = trace(net, params, state, x, y, loss, weights=weights, train=True, key=KEY)
        assert {record.rule for record in seen.records} == {"formula"}
        return (seen.loss, seen.gradients, seen.input_error), jax.value_and_grad(objective)(params)

    (value, gradients, input_error), (expected_value, expected) = both(params)
    assert float(value) == pytest.approx(float(expected_value), rel=1e-5)
    assert jax.tree.structure(gradients) == jax.tree.structure(expected)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5), gradients, expected)
    if name in ("vit", "mean of tokens"):
        values = x if name == "vit" else x["x"]

        def by_x(values: Any) -> Any:
            given = values if name == "vit" else {**x, "x": values}
            return reduce(loss(net.apply(params, state, given, train=True, key=KEY)[0], y), weights)

        found = input_error if name == "vit" else input_error["x"]
        np.testing.assert_allclose(found, jax.jit(jax.grad(by_x))(values), rtol=1e-3, atol=1e-5)


def test_every_layer_has_a_rule_that_the_nets_above_use() -> None:
    used: set[type] = set()

    def walk(layer: Any) -> None:
        used.add(type(layer))
        for _, child in layer.children():
            walk(child)

    for net, _ in TRACED.values():
        walk(net)
    ours = ("danlu.nn.attention", "danlu.nn.transformer", "danlu.nn.rms_norm", "danlu.nn.swiglu")
    assert {layer for layer in LAYER_RULES if layer.__module__.startswith(ours)} <= used


def test_the_gradient_passes_the_check() -> None:
    net = GPT(5, 4, dim=4, num_layers=1, num_heads=2, norm="rms", feed_forward="swiglu")
    params, state, _ = net.init(KEY, (4,))
    x = jnp.asarray(RNG.integers(0, 5, (2, 4)), jnp.int32)
    found = gradient_check(
        net, params, state=state, x=x, y=x[:, ::-1], loss=CategoricalCrossEntropy(), directions=1, coordinates=1
    )
    assert found.ok, str(found)


def test_patches_and_their_inverse() -> None:
    images = _normal(2, 4, 6, 3)
    layer = Patches(2)
    cut = layer.apply({}, {}, images)[0]
    np.testing.assert_array_equal(np.asarray(cut[1, 4]).reshape(2, 2, 3), images[1, 2:4, 2:4])
    np.testing.assert_array_equal(layer.restore(cut, images.shape), images)


def test_pooling_counts_real_tokens() -> None:
    x = _masked(_normal(3, TIME, 2))
    mean, first = (Pool(kind).apply({}, {}, x)[0] for kind in ("mean", "first"))
    np.testing.assert_allclose(mean[1], x["x"][1, :3].mean(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(first[2], x["x"][2, 1])
    np.testing.assert_array_equal(Pool("first").apply({}, {}, x["x"])[0], x["x"][:, 0])


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: GPT(dim=10, num_heads=3), ConfigError, "heads that divide"),
        (lambda: GPT(WORDS, 4, dim=8, num_heads=2).init(KEY, (5,)), DataError, "has 4 positions"),
        (lambda: BERT(head="class"), ConfigError, "expected outputs with head='class'"),
        (lambda: TransformerBlock(3, 4, num_kv_heads=2), ConfigError, "3 heads and 2 key heads"),
        (lambda: Sublayer(3), ConfigError, "expected a Layer"),
        (lambda: Sublayer(PerToken(Dense(3))).init(KEY, (4, 8)), ConfigError, "keeps its shape"),
        (lambda: Tied(Embedding(9, 4), Dense(3)).init(KEY, (5,)), ConfigError, "gives 3 features; expected 4"),
        (lambda: Transformer(9, dim=8, num_heads=2).init(KEY, {"source": (3,)}), DataError, "'source' and 'target'"),
        (lambda: ViT(2, patch=3, num_heads=2).init(KEY, (4, 4, 1)), ConfigError, "multiples of 3"),
        (lambda: init_cache(SinusoidalPositions(), {}, 1, 4), None, ""),
        (lambda: init_cache(Pool(), {}, 1, 4), ConfigError, "cannot work one token at a time"),
        (lambda: generate(SMALL, *_started(SMALL), _tokens(1, 10), KEY, length=5), DataError, "positions for 12"),
        (lambda: generate(SMALL, *_started(SMALL), _tokens(1, 3), KEY, length=0), ConfigError, "length=0"),
        (lambda: generate(SMALL, *_started(SMALL), _tokens(1, 3), KEY, length=1, top_p=2.0), ConfigError, "top_p=2.0"),
        (lambda: generate(SMALL, *_started(SMALL), _tokens(3), KEY, length=1), DataError, "prompt of shape"),
    ],
)
def test_errors(make: Any, error: Any, message: str) -> None:
    if error is None:
        make()
        return
    with pytest.raises(error, match=message):
        make()


def test_looking_ahead_cannot_be_generated() -> None:
    net = BERT(WORDS, 8, dim=8, num_layers=1, num_heads=2, head="tokens")
    with pytest.raises(ConfigError, match="do not look ahead"):
        generate(net, *_started(net), _tokens(1, 3), KEY, length=2)
