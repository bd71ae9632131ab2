"""Parameters that are divided among devices learn what they do on one, and each device holds its part only."""

import jax
import numpy as np
import optax
import pytest

from danlu import nn, optim
from danlu.engine import FitOptions, LambdaCallback, fit, fit_population
from danlu.engine.layout import Layout
from danlu.errors import CheckpointError, ConfigError

RNG = np.random.default_rng(0)
X = RNG.normal(size=(32, 3)).astype(np.float32)
Y = (X[:, 0] > 0).astype(np.int32)
MODEL = nn.MLP((64, 32), 1)
COMMON = {"loss": "binary_cross_entropy", "display": "none", "batch_size": 8, "epochs": 2}
TOKENS = RNG.integers(0, 32, size=(16, 8)).astype(np.int32)
GPT = nn.GPT(32, 8, dim=32, num_layers=1, num_heads=2)


def clipped():
    """An optimizer that looks across all gradients."""
    return optim.chain(optim.clip_by_global_norm(0.1), optim.adamw(1e-2))


def close(one, other, **how):
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(a, b, **{"rtol": 1e-3, "atol": 1e-5, **how})


def taught(model=MODEL, data=(X, Y), **changes):
    """A training, and how many bytes of its state and of the best weights the first device held in the end."""
    settings = {**COMMON, "validation": data, "average": "ema", "optimizer": clipped(), **changes}
    watch = LambdaCallback()
    watch.on_train_end = lambda logs: held.append(bytes_of((watch.training.state, watch.training.best)))
    held = []
    return fit(model, data, callbacks=[watch], **settings), held[0]


def bytes_of(tree):
    leaves = [leaf for leaf in jax.tree.leaves(tree) if not jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)]
    return sum(leaf.addressable_shards[0].data.nbytes for leaf in leaves)


@pytest.fixture(scope="module")
def alone():
    return taught()


def test_divided_parameters_learn_what_whole_ones_do(alone):
    divided, held = taught(devices=2, sharding="fsdp")
    close(divided.params, alone[0].params)
    close(divided.train_state.opt_state, alone[0].train_state.opt_state)
    for ours, theirs in zip(divided.history, alone[0].history, strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-4)
        assert ours["val_loss"] == pytest.approx(theirs["val_loss"], rel=1e-4)
    assert held < 0.6 * alone[1]  # one array of three is large enough to be divided, and it is nearly all there is


def test_divided_layers_learn_what_whole_ones_do(alone):
    divided, held = taught(devices=2, sharding="tensor")
    close(divided.params, alone[0].params)
    assert divided.history[-1]["val_loss"] == pytest.approx(alone[0].history[-1]["val_loss"], rel=1e-4)
    assert held < 0.6 * alone[1]


def test_where_arrays_lie():
    params = jax.eval_shape(lambda: GPT.init(jax.random.key(0), (8,))[0])
    layout = Layout.of(params, devices=4, sharding="fsdp", tensor=2, network=GPT)
    block = layout(params)[1][1]
    assert layout(params)[0]["table"] == jax.P("tensor", "data")
    assert block[0][1]["query"] == jax.P("data", "tensor")
    assert block[0][1]["output"] == jax.P("tensor", "data")
    assert block[1][1]["down"] == jax.P("tensor", "data")
    assert block[0][0] == {"bias": jax.P(), "scale": jax.P()}
    moments = jax.eval_shape(lambda: optax.adam(1e-3).init(params))
    assert layout(moments)[0].mu[0]["table"] == jax.P("tensor", "data")
    assert layout(jax.eval_shape(lambda: jax.tree.map(lambda a: np.zeros((3, *a.shape)), params)))[0]["table"] == jax.P(
        None, "tensor", "data"
    )


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: FitOptions(sharding="fsdp"), "devices is 1"),
        (lambda: FitOptions(devices=2, tensor=2), "every device has whole layers"),
        (lambda: FitOptions(devices=4, sharding="fsdp", tensor=4), "expected one of: 1, 2"),
        (lambda: FitOptions(devices=4, sharding="tensor", tensor=3), "expected one of: 2, 4"),
        (lambda: taught(nn.Dense(1), devices=2, sharding="fsdp"), "no array of Dense can be divided"),
        (lambda: taught(nn.Dense(1), devices=2, sharding="tensor"), "no layer of Dense can be divided"),
        (
            lambda: fit_population(MODEL, (X, Y), seeds=[0, 1], devices=2, sharding="fsdp", **COMMON),
            "the devices have 2 members",
        ),
    ],
)
def test_what_divides_nothing_is_refused(call, said):
    with pytest.raises(ConfigError, match=said):
        call()


def stopped(epoch):
    """A callback that stops a training after an epoch."""
    halt = LambdaCallback()
    halt.on_epoch_end = lambda number, logs: halt.training.stop() if number == epoch else None
    return halt


def test_a_checkpoint_in_parts_goes_on_with_any_layout(tmp_path, alone):
    settings = {**COMMON, "validation": (X, Y), "average": "ema", "optimizer": clipped(), "checkpoint": tmp_path}
    fit(MODEL, (X, Y), devices=2, sharding="fsdp", callbacks=[stopped(0)], **settings)
    parts = sorted(tmp_path.glob("last.*.part-*"))
    assert [part.name.split("part-")[1] for part in parts] == ["00000.safetensors", "00001.safetensors"]
    parts[1].rename(tmp_path / "elsewhere")
    with pytest.raises(CheckpointError, match=r"part-00001\.safetensors is missing"):
        fit(MODEL, (X, Y), callbacks=[LambdaCallback()], resume=True, **settings)
    damaged = bytearray((tmp_path / "elsewhere").read_bytes())
    damaged[-5] ^= 1
    parts[1].write_bytes(damaged)
    with pytest.raises(CheckpointError, match=r"part-00001\.safetensors is damaged"):
        fit(MODEL, (X, Y), callbacks=[LambdaCallback()], resume=True, **settings)
    (tmp_path / "elsewhere").rename(parts[1])
    rest = fit(MODEL, (X, Y), callbacks=[LambdaCallback()], resume=True, **settings)
    close(rest.params, alone[0].params)
    assert [row["epoch"] for row in rest.history] == [0, 1]
    assert not list(tmp_path.glob("last.*.part-*"))  # it is in one file again
