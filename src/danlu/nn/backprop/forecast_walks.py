"""How the error signal goes through a forecaster: through its linear maps, and through the scale of each window.

See :mod:`danlu.nn.backprop.transformer_walks` for what a walk is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from danlu.nn.forecast import Forecaster, Scaled, moving_average_backward

__all__ = ["forecaster", "scaled_backward"]

Backward = Callable[[Any, list[Any]], tuple[Any, Any]]
Child = Callable[[int, Any], tuple[Any, Any, Backward]]


def scaled_backward(windows: Scaled, dz: jax.Array, dmean: jax.Array, dspread: jax.Array) -> jax.Array:
    """``z = (x − μ)/σ``, with ``μ`` and ``σ`` outputs as well: ``∂L/∂x = g − mean(g) + ∂L/∂μ/T``.

    ``g = dz/σ + z·s/T`` is the error of ``x − μ``, and ``s = ∂L/∂σ − Σ_t dz·z/σ`` the whole error of ``σ``; means and sums
    over the ``T`` steps.
    """
    steps = windows.z.shape[-1]
    whole = dspread - jnp.sum(dz * windows.z, axis=-1, keepdims=True) / windows.spread
    g = dz / windows.spread + windows.z * whole / steps
    return g - jnp.mean(g, axis=-1, keepdims=True) + dmean / steps


def forecaster(layer: Forecaster, params: Any, x: Any, child: Child) -> tuple[Any, Any, Backward]:
    """``y = μ + σ·f(z) + effects``: the effects and ``μ`` receive ``dy`` as it is, ``f`` receives ``σ·dy``, ``σ`` ``Σ f·dy``."""
    done: dict[str, Any] = {}

    def run(name: str, index: int, given: jax.Array) -> jax.Array:
        done[name] = child(index, given)
        y: jax.Array = done[name][0]
        return y

    y = layer.combined(x, run)
    windows, _ = layer.parts(x)
    names = [name for name, _ in layer.children()]
    f = sum(layer.steps(done[name][0]) for name in names if name in ("linear", "trend", "hidden"))

    def backward(dy: jax.Array, records: list[Any]) -> tuple[Any, Any]:
        errors = {"effect": dy.reshape(*dy.shape[:2], -1)}  # (batch, horizon, channels·outputs)
        by_step = jnp.swapaxes(dy * layer.own(windows.spread), 1, 2)
        errors["shape"] = by_step.reshape(*by_step.shape[:2], -1)  # (batch, channels, horizon·outputs)
        passed: dict[str, Any] = {}
        gradients: dict[str, Any] = {}
        for name in reversed(names):
            if name == "observed":
                error = jnp.swapaxes(passed["observed_effect"], 1, 2)
            else:
                error = errors["effect" if name.endswith("effect") else "shape"]
            passed[name], gradients[name] = done[name][2](error, records)
        dz = passed["linear"]
        if layer.smoothing > 1:  # z − Mz and Mz
            dz = dz + moving_average_backward(passed["trend"] - dz, layer.smoothing)
        if layer.hidden:
            dz = dz + passed["hidden"]
        dmean = jnp.sum(dy, axis=(1, 3))[..., None]
        dspread = jnp.sum(dy * f, axis=(1, 3))[..., None]
        if layer.observed:
            dz = jnp.concatenate([dz, passed["observed"]], axis=1)
            more = ((0, 0), (0, layer.observed), (0, 0))
            dmean, dspread = jnp.pad(dmean, more), jnp.pad(dspread, more)
        dx = jnp.swapaxes(scaled_backward(windows, dz, dmean, dspread), 1, 2)
        own = tuple(gradients[name] for name in names)
        if not layer.known:
            return dx, own
        after, context = passed["known_effect"], dx.shape[1]
        before = -jnp.sum(after, axis=1, keepdims=True) / context
        before = jnp.broadcast_to(before, (len(after), context, layer.known))
        return {"past": dx, "known": jnp.concatenate([before, after], axis=1)}, own

    return y, tuple(done[name][1] for name in names), backward
