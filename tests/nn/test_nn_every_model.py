"""Every ready network and every layer outside the contract table, by shapes alone: nothing here is compiled.

``summary``, ``backprop.trace``, what ``gradient_check`` needs (float64 all the way) and ``vmap`` over a population must work on each.
"""

from __future__ import annotations

import functools
import inspect
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from layer_contracts import passes_no_rows, sums_in_16_bits

from danlu import nn
from danlu.nn import Layer, summary
from danlu.nn.backprop import trace
from danlu.nn.shorthand import Shorthand

KEY = jax.random.key(1)
TOKENS, MASKED = (6,), {"x": (6,), "mask": (6,)}
STEPS = {"x": (6, 4), "mask": (6,)}
PAIR = {"source": (5,), "target": (4,), "source_mask": (5,)}
SMALL = {"dim": 4, "num_layers": 2, "num_heads": 2}

EMBEDDED = nn.Parallel((nn.Sequential((nn.CategoricalEmbedding((4, 30)), nn.Dense(2))),), inputs=("categorical",))

TOWERS = (
    ("photo", "note"),
    (nn.Sequential((nn.Flatten(), nn.Dense(4))), nn.Dense(4)),
    nn.TabularNet(3, (4,), members=2, width=5),
)
ROW = {"table": {"numeric": (3,), "categorical": (1,)}, "parts": {"photo": (4, 4, 1), "note": (6,)}, "present": (3,)}

# A network and the shape of one input. Numbers under "x", "source", "target" and "categorical", and those of tokens, are whole.
NETS: dict[str, tuple[Layer, Any]] = {
    "bert": (nn.BERT(9, 6, **SMALL, hidden=8, outputs=3, head="class", segments=2, dropout=0.1), MASKED),
    "bert of tokens": (nn.BERT(9, 6, **SMALL, hidden=8, head="tokens", tokens_bias=True), TOKENS),
    "blend": (nn.Blend(("deep", "trees", "line"), (
        nn.TabularNet(3, (4, 30), members=2, width=5, depth=2), nn.Forest(6, 3, 2, (0, 2), 2, sets=1), nn.TableLinear(3, (4, 30), 2),
    )), {"numeric": (4,), "categorical": (2,)}),
    "bilstm": (nn.BiLSTMClassifier(9, 3, dim=4, units=3, num_layers=2, dropout=0.1), MASKED),
    "char rnn": (nn.CharRNN(9, dim=4, units=3, num_layers=2, cell="gru", dropout=0.1), TOKENS),
    "convnext": (nn.ConvNeXt(3, (1, 1), (4, 8), patch=2, scale=0.5), (8, 8, 1)),
    "detector": (nn.Detector(3, width=4), (32, 16, 3)),
    "ensemble": (nn.Ensemble(nn.LeNet(3), 2), (12, 12, 1)),
    "forecaster": (nn.Forecaster(3, 2, observed=1, known=1, hidden=5), {"past": (8, 3), "known": (11, 1)}),
    "frozen": (nn.Sequential((nn.Frozen(nn.MLP((5,), 3, norm="batch", dropout=0.1)), nn.Dense(2))), (4,)),
    "fusion": (nn.Fusion(*TOWERS, 4), ROW),
    "fusion by attention": (nn.Fusion(*TOWERS, 4, kind="mid"), ROW),
    "fusion of heads": (nn.Fusion(*TOWERS, 4, kind="blend"), ROW),
    "gpt": (nn.GPT(9, 6, **SMALL, dropout=0.1), MASKED),
    "gpt rotary": (nn.GPT(9, 6, **SMALL, positions="rotary", bias="none"), TOKENS),
    "image": (nn.Sequential((nn.Rescale(), nn.RandomFlip(), nn.RandomErase(0.3), nn.RandomColor(), nn.RandomAffine(9.0))), (8, 8, 3)),
    "image choice": (nn.Sequential((nn.RandomChoice((nn.RandomFlip(), nn.RandomErase(0.3))), nn.GlobalAveragePool())), (8, 8, 3)),
    "lenet": (nn.LeNet(3), (12, 12, 1)),
    "lora": (nn.LoRA(nn.GPT(9, 6, **SMALL), 2), TOKENS),
    "mlp": (nn.MLP((5,), 3, norm="batch", dropout=0.1), (4,)),
    "recurrent": (nn.Sequential((nn.SimpleRNN(3), nn.ZeroPadding(), nn.MaxOverTime(), nn.Dense(2))), STEPS),
    "remat": (nn.Remat(nn.TransformerBlock(2, 6)), (6, 4)),
    "resnet": (nn.ResNet(3, 18, width=2), (32, 32, 3)),
    "resnet 50": (nn.ResNet(3, 50, "cifar", width=2), (8, 8, 2)),
    "scorecard": (nn.Scorecard(3, (3, -1, -1), 2, (4, 30)), {"numeric": (4,), "categorical": (2,)}),
    "sublayer": (nn.Sublayer(nn.FeedForward(6), dropout=0.1), (6, 4)),
    "tabular": (nn.TabularNet(3, (4, 30), members=2, width=5, depth=2), {"numeric": (4,), "categorical": (2,)}),
    "text cnn": (nn.TextCNN(9, 3, dim=4, filters=3), MASKED),
    "transformer": (nn.Transformer(9, **SMALL, hidden=6, dropout=0.1), PAIR),
    "unet": (nn.UNet(3, (4, 8)), (4, 4, 1)),
    "vit": (nn.ViT(3, patch=2, **SMALL), (4, 6, 1)),
    "layer scale": (nn.LayerScale(), (3, 4)),
    "numeric embedding": (nn.NumericEmbedding(3), (4,)),
    "categorical embedding": (EMBEDDED, {"categorical": (2,)}),
}  # fmt: skip
WHOLE = {"bert", "bert of tokens", "bilstm", "char rnn", "gpt", "gpt rotary", "lora", "text cnn", "transformer"}
BY_VJP = {"Blend", "Ensemble", "Forecaster", "Frozen", "Fusion", "LoRA", "TabularNet", "NumericEmbedding", "CategoricalEmbedding",
          "RandomFlip", "RandomErase", "RandomColor", "RandomAffine", "RandomChoice", "Rescale", "Remat",
          "Scorecard"}  # fmt: skip


def _input(name: str, rows: int = 2) -> Any:
    """Shapes and types of a batch."""

    def one(path: Any, shape: tuple[int, ...]) -> jax.ShapeDtypeStruct:
        key = path[-1].key if path else ""
        if "mask" in key:
            return jax.ShapeDtypeStruct((rows, *shape), jnp.bool_)
        whole = name in WHOLE or key == "categorical"
        return jax.ShapeDtypeStruct((rows, *shape), jnp.int32 if whole else jnp.float32)

    return jax.tree_util.tree_map_with_path(one, NETS[name][1], is_leaf=lambda s: isinstance(s, tuple))


@functools.cache
def _drawn(name: str) -> Any:
    net, shape = NETS[name]
    return jax.eval_shape(lambda key: net.init(key, shape)[:2], KEY)


def _shapes(tree: Any) -> Any:
    return jax.tree.map(lambda a: (a.shape, a.dtype.name), tree)


SLOW = {"resnet 50"}  # as ResNet-18, but deeper
every = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in sorted(NETS)]
)


@every
def test_summary_counts_every_parameter(name: str) -> None:
    net, shape = NETS[name]
    found = summary(net, shape)
    params, _ = _drawn(name)
    learnt = sum(int(np.prod(a.shape)) for a in jax.tree.leaves(params))
    assert found.parameters == learnt
    assert found.flops is not None
    assert len(found.rows) >= len(net.children())


@every
def test_trace_goes_through_every_layer_and_gives_what_jax_grad_gives(name: str) -> None:
    net, (params, state), x = NETS[name][0], _drawn(name), _input(name)
    rules: dict[str, str] = {}

    def values(outputs: Any, targets: Any) -> Any:
        return jnp.square(outputs).reshape(outputs.shape[0], -1).mean(axis=1)

    def walked(params: Any, state: Any, x: Any) -> Any:
        found = trace(net, params, state, x, jnp.zeros(2), values, train=True, key=KEY)
        rules.update({type(each.layer).__name__: each.rule for each in found.records})
        return found.gradients, found.loss, found.state

    gradients, value, after = jax.eval_shape(walked, params, state, x)
    assert _shapes(gradients) == _shapes(params)
    assert value.shape == ()
    assert _shapes(after) == _shapes(state)
    assert rules
    assert {layer for layer, rule in rules.items() if rule == "vjp"} <= BY_VJP


@every
def test_a_population_is_a_vmap(name: str) -> None:
    net, shape = NETS[name]

    def run(key: jax.Array, x: Any) -> Any:
        params, state, _ = net.init(key, shape)
        return net.apply(params, state, x, train=True, key=key)

    alone = jax.eval_shape(run, KEY, _input(name))
    together = jax.eval_shape(jax.vmap(run, in_axes=(0, None)), jax.random.split(KEY, 3), _input(name))
    assert _shapes(together) == jax.tree.map(lambda a: ((3, *a.shape), a.dtype.name), alone)


@every
def test_float64_stays_float64_which_the_gradient_check_needs(name: str) -> None:
    net, (params, state), x = NETS[name][0], _drawn(name), _input(name)

    def wide(tree: Any) -> Any:
        return jax.tree.map(
            lambda a: jax.ShapeDtypeStruct(a.shape, jnp.float64) if jnp.issubdtype(a.dtype, jnp.floating) else a, tree
        )

    with jax.enable_x64(True):
        y, _ = jax.eval_shape(lambda *given: net.apply(*given), wide(params), wide(state), wide(x))
    assert {a.dtype.name for a in jax.tree.leaves(y)} <= {"float64", "bool"}


def test_no_layer_is_left_out(request: pytest.FixtureRequest) -> None:
    table = (request.path.parent / "test_nn_layers.py").read_text(encoding="utf-8")
    seen: set[str] = set()

    def look(layer: Layer, shape: Any) -> None:
        seen.add(type(layer).__name__)
        if isinstance(layer, Shorthand):
            look(layer.expanded, shape)
        for field in vars(layer).values():
            for each in field if isinstance(field, tuple) else (field,):
                if isinstance(each, Layer):
                    look(each, shape)

    for net, shape in NETS.values():
        look(net, shape)
    layers = {
        name
        for name in nn.__all__
        if inspect.isclass(getattr(nn, name))
        and issubclass(getattr(nn, name), Layer)
        and not inspect.isabstract(getattr(nn, name))
    }
    layers -= {"Quantized"}  # made from a network and its weights alone: tests/nn/test_nn_quantized.py
    layers -= {"TwoTowers"}  # gives two arrays: tests/tasks/test_pairs.py
    assert sorted(name for name in layers - seen if f"Case({name}(" not in table) == []


@every
def test_nothing_adds_up_in_16_bits(name: str) -> None:
    assert not sums_in_16_bits(*NETS[name], _input(name, 6))


@every
def test_a_batch_of_no_rows_passes(name: str) -> None:
    passes_no_rows(*NETS[name], _input(name, 0))


@every
def test_everything_is_float64_under_x64(name: str) -> None:
    net, shape = NETS[name]
    with jax.enable_x64(True):
        drawn = jax.eval_shape(lambda key: net.init(key, shape)[:2], KEY)
    narrow = [a for a in jax.tree.leaves(drawn) if jnp.issubdtype(a.dtype, jnp.floating) and a.dtype != np.float64]
    assert not narrow
