"""Options of training for deep networks: rematerialised layers, bfloat16, mixed batches; against NumPy in float64."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from danlu.engine.precision import apply_in
from danlu.nn import BatchNorm, CutMix, Dense, MixUp, Remat, Residual, Sequential
from danlu.verify.case import Check, case
from danlu.verify.cases.composites import started
from danlu.verify.oracles import draw

__all__: list[str] = []

ROWS = 40


@case("layer.Remat")
def remat(check: Check) -> None:
    """``y = x + tanh(x·W + b)`` and ``∂Σy²/2`` by hand."""
    net = Remat(Residual(Dense(5, "tanh")))
    params, state, [p] = started(net, (5,))
    x = draw(6, 5)
    t = np.tanh(x @ p["kernel"] + p["bias"])
    error = (x + t) * (1 - t**2)

    def loss(params: object) -> jax.Array:
        return jnp.sum(net.apply(params, state, jnp.asarray(x, jnp.float32), train=True)[0] ** 2) / 2

    [found] = jax.jit(jax.grad(loss))(params)
    check(found["kernel"], x.T @ error, floor=0.1)
    check(found["bias"], error.sum(0), floor=0.1)


@case("engine.bfloat16")
def bfloat16(check: Check) -> None:
    """A linear model of small whole numbers, which 8 bits hold exactly, as they do its gradient."""
    rng = np.random.default_rng(0)
    x, w, y = rng.integers(-3, 4, (8, 5)), rng.integers(-3, 4, (5, 2)), rng.integers(-3, 4, (8, 2))

    def loss(kernel: jax.Array) -> jax.Array:
        layer, inputs = Dense(2, use_bias=False), jnp.asarray(x, jnp.float32)
        outputs, _ = apply_in("bfloat16", layer, {"kernel": kernel}, {}, inputs, key=jax.random.key(0))
        return jnp.sum((outputs - y) ** 2) / 16

    found = jax.grad(loss)(jnp.asarray(w, jnp.float32))
    check(found, x.T @ (x @ w - y) / 8, floor=1.0)
    check(float(found.dtype == jnp.float32), 1.0)


@case("engine.bfloat16_casts")
def bfloat16_casts(check: Check) -> None:
    """Inside 8 bits of a number count; outputs, running statistics and gradients keep the types that they have outside."""
    net, x = Sequential((Dense(3), BatchNorm())), draw(16, 4)
    params, state, _ = net.init(jax.random.key(0), (4,))

    def total(params: object) -> tuple[jax.Array, object]:
        outputs, after = apply_in("bfloat16", net, params, state, jnp.asarray(x, jnp.float32), key=jax.random.key(0))
        return outputs.sum(), (outputs, after)

    gradients, (outputs, after) = jax.grad(total, has_aux=True)(params)
    leaves = jax.tree.leaves((gradients, outputs, after))
    check([leaf.dtype == jnp.float32 for leaf in leaves], [True] * len(leaves), oracle="closed form")
    exact, _ = net.apply(params, state, jnp.asarray(x, jnp.float32), train=True)
    off = float(np.abs(np.asarray(outputs) - np.asarray(exact)).max())
    check(1e-5 < off < 0.05, True, oracle="closed form")


def batch(side: int) -> tuple[dict[str, jax.Array], np.ndarray]:
    x = draw(ROWS, side, side, 1)
    return {"x": jnp.asarray(x, jnp.float32), "y": jnp.arange(ROWS), "weight": jnp.ones(ROWS)}, x


@case("augment.MixUp")
def mixup(check: Check) -> None:
    """Every row is a class of its own, so the labels tell partner and share, and they the pixels."""
    given, x = batch(3)
    mixed = MixUp(1.0, ROWS)(jax.random.key(0), given)
    labels = np.asarray(mixed["y"], np.float64)
    check(mixed["x"], np.einsum("ij,jhwc->ihwc", labels, x), floor=0.1)
    check(labels.sum(1), np.ones(ROWS))
    filled = {**given, "weight": given["weight"].at[30:].set(0.0)}  # rows that fill the batch up neither give nor take
    mixed = MixUp(1.0, ROWS)(jax.random.key(0), filled)
    check(np.asarray(mixed["y"])[:30, 30:], np.zeros((30, 10)))
    check(mixed["x"][30:], x[30:])
    check(mixed["weight"], filled["weight"])


@case("augment.CutMix")
def cutmix(check: Check) -> None:
    """The share of a row's own label is the share of its pixels that are still there."""
    given, _ = batch(6)
    mixed = CutMix(1.0, ROWS)(jax.random.key(0), given)
    kept = (np.asarray(mixed["x"]) == np.asarray(given["x"])).mean(axis=(1, 2, 3))
    check(np.diagonal(np.asarray(mixed["y"])), kept)
