"""Parameters that are divided among devices learn what they do on one, and each device holds its part only."""

import contextlib
import itertools
import subprocess
import sys

import jax
import numpy as np
import optax
import pytest
from crash import Killed, killed_at

from danlu import nn, optim
from danlu.engine import FitOptions, LambdaCallback, PerExample, fit, fit_population
from danlu.engine.checkpoint import load_checkpoint, save_checkpoint
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


def arrays(value, devices):
    """Two arrays of this value, one of which is divided among so many devices."""
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:devices]), ("data",))
    lies = jax.NamedSharding(mesh, jax.P("data") if devices > 1 else jax.P())
    return {"divided": jax.device_put(np.full(8, value, np.float32), lies), "whole": np.full(3, value, np.float32)}


@pytest.mark.parametrize(("before", "after"), [(2, 2), (2, 1), (1, 2)])
def test_killed_while_it_saves_in_parts_the_last_checkpoint_or_the_new_one_is_whole(tmp_path, before, after):
    for point in itertools.count():
        path = tmp_path / str(point) / "last.safetensors"
        for value in (0, 1):
            save_checkpoint(path, arrays(value, before), {"value": value})
        with contextlib.suppress(Killed), killed_at(point, path.parent) as calls:
            save_checkpoint(path, arrays(2, after), {"value": 2})
        found, note = load_checkpoint(path, arrays(0, before))
        assert note["value"] in ((1, 2) if len(calls) > point else (2,)), calls
        close(found, arrays(note["value"], 1))
        save_checkpoint(path, arrays(3, after), {"value": 3})  # what the killed one left is in nobody's way, and goes
        close(load_checkpoint(path, arrays(0, after))[0], arrays(3, 1))
        assert len(list(path.parent.glob("last*"))) == (1 if after == 1 else 1 + after)
        if len(calls) <= point:
            break
    assert point > 5


KINDS = {
    "cnn": (
        nn.Sequential((nn.Conv(32, 3), nn.Conv(32, 3), nn.Flatten(), nn.Dense(1))),
        (RNG.normal(size=(16, 6, 6, 2)).astype(np.float32), Y[:16]),
        {},
    ),
    "lstm": (
        nn.Sequential((nn.LSTM(32, return_sequences=False), nn.Dense(1))),
        (RNG.normal(size=(16, 5, 4)).astype(np.float32), Y[:16]),
        {},
    ),
    "gpt": (GPT, (TOKENS, np.roll(TOKENS, -1, 1)), {"loss": "cross_entropy"}),
    "llama": (
        nn.GPT(
            32, 8, dim=32, num_layers=1, num_heads=4, positions="rotary", norm="rms", feed_forward="swiglu", tied=False
        ),
        (TOKENS, np.roll(TOKENS, -1, 1)),
        {"loss": "cross_entropy"},
    ),
    "remat": (nn.Sequential((nn.Remat(nn.MLP((64,), 64)), nn.Dense(1))), (X[:16], Y[:16]), {}),
    "accumulated": (MODEL, (X, Y), {"accumulate": 2}),
    "row by row": (MODEL, (X, Y), {"gradient": PerExample(clip=0.1)}),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_network_learns_divided_what_it_does_whole(kind):
    model, data, changes = KINDS[kind]
    changes = {"optimizer": optim.chain(optim.clip_by_global_norm(0.5), optim.momentum(0.1)), **changes}
    one, _ = taught(model, data, **changes)
    two, _ = taught(model, data, devices=2, sharding="fsdp", **changes)
    close(one.params, two.params)
    for ours, theirs in zip(one.history, two.history, strict=True):
        assert ours["val_loss"] == pytest.approx(theirs["val_loss"], rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(
    "optimizer", [optax.lamb(1e-2), optax.adafactor(1e-2), optax.lion(1e-3), optim.flatten(optim.adam(1e-2))]
)
def test_optimizers_that_look_across_arrays_see_all_of_them(optimizer):
    one, two = (taught(optimizer=optimizer, **how)[0] for how in ({}, {"devices": 2, "sharding": "fsdp"}))
    close(one.params, two.params, atol=1e-4)


@pytest.mark.slow
def test_memory_falls_with_the_number_of_devices():
    """Of 8 devices each holds an eighth, and takes a step with the whole of few layers at a time."""
    code = """
import jax, numpy as np
from danlu import nn, optim
from danlu.engine import FitOptions
from danlu.engine.build import build_program
from danlu.engine.initial import initial_state
from danlu.engine.loop import run_steps
from danlu.engine.mesh import place
from danlu.engine.sources import as_source
data, optimizer = (np.zeros((16, 256), "float32"), np.zeros(16, "float32")), optim.adamw(1e-3)
for how in ({}, {"sharding": "fsdp"}):
    options = FitOptions(devices=8, batch_size=16, **how)
    source = as_source(data, batch_size=16, seed=0)
    program = build_program(nn.MLP((256,) * 8, 1), source, loss="mse", optimizer=optimizer, metrics=(), options=options)
    state = initial_state(program, source, optimizer, seed=0, options=options)
    state, piece = program.layout(state.params).place(state), next(iter(source.pieces(0, 0)))
    given = [place(tree, 8) for tree in (program.zero_sums(), piece.chunk, piece.order)]
    found = run_steps.lower(program, state, *given, 0, 1).compile(nn.Remat.CPU_OPTIONS).memory_analysis()
    print(found.argument_size_in_bytes, found.temp_size_in_bytes)
"""
    env = {
        "PATH": "/usr/bin:/bin",
        "JAX_PLATFORMS": "cpu",
        "JAX_NUM_CPU_DEVICES": "8",
        "PYTHONPATH": ":".join(sys.path),
    }
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    (whole, step), (part, smaller) = (map(int, line.split()) for line in done.stdout.splitlines())
    assert part < whole / 7.5
    assert smaller < step / 4
