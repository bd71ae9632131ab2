"""Several devices: the same compiled function on each; only the device's number differs.

A device is a GPU, or a part of the CPU that XLA treats as a device of its own. Under :func:`spread` every device runs the whole
function. What it works on is its own share, chosen by its :func:`position`: of a batch, some of the rows (*data parallelism*); of a
population, some of the members. Where devices must agree, :func:`total` and :func:`mean` are one collective each. Weights, optimizer
state and data lie on every device.

With the rows of a batch divided into shares B₁ … Bₙ, the gradient of the objective is

    ∇ Σ w·l / Σ w  =  (∇ Σ_B₁ w·l + … + ∇ Σ_Bₙ w·l) / (Σ_B₁ w + … + Σ_Bₙ w),

sums over devices of sums over rows, divided once: the gradient of the whole batch exactly (up to rounding), whatever the weights. A layer
that looks across rows (batch norm) sees its device's, and running statistics are averaged; random draws (dropout) are each device's own.

Reference: Li et al. (2020), PyTorch Distributed, arXiv:2006.15704, section 3.2 (the same for gradients by buckets).
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from danlu.engine.state import Tree
from danlu.errors import ConfigError
from danlu.paths import is_key

__all__ = [
    "DIVIDED",
    "WHOLE",
    "check_shares",
    "gathered",
    "mean",
    "need_devices",
    "place",
    "position",
    "spread",
    "total",
]

_AXIS = "devices"
WHOLE, DIVIDED = PartitionSpec(), PartitionSpec(_AXIS)
"""An array that lies on every device, and one whose leading axis is divided among them."""


def need_devices(count: int) -> None:
    """Make sure that this process has ``count`` devices, before anything is computed.

    A CPU is one device unless JAX is told otherwise before its first computation, which this does.

    Raises:
        ConfigError: there are fewer.
    """
    if count == 1:
        return
    config: Any = jax.config
    cores = os.cpu_count() or 1
    with contextlib.suppress(RuntimeError):  # JAX has begun to compute; what it has is what there is
        if config.jax_num_cpu_devices < min(count, cores):
            config.update("jax_num_cpu_devices", min(count, cores))
    found = jax.devices()
    if len(found) < count:
        hint = "ask for at most that many"
        if found[0].platform == "cpu" and count <= cores:
            hint = f"this process has already computed with {len(found)}; start it with JAX_NUM_CPU_DEVICES={count}"
        raise ConfigError(f"devices is {count}, but JAX has {len(found)} here ({found[0].device_kind})", hint=hint)


def check_shares(what: str, count: int, devices: int, *, hint: str | None = None) -> None:
    """Refuse ``count`` rows, members or seeds (named by ``what``) that ``devices`` devices cannot share evenly.

    Raises:
        ConfigError: see above.
    """
    if count % devices:
        raise ConfigError(
            f"{what} cannot be divided among {devices} devices; expected a multiple of {devices}", hint=hint
        )


@functools.cache
def _mesh(devices: int) -> Mesh:
    return Mesh(np.array(jax.devices()[:devices]), (_AXIS,))


def spread(
    function: Callable[..., Any], devices: int, arguments: Any = WHOLE, results: Any = WHOLE
) -> Callable[..., Any]:
    """``function`` on each of ``devices`` devices; on one it is ``function``.

    Args:
        arguments, results: which are ``WHOLE`` and which ``DIVIDED``: one for all, or a tuple.
    """
    if devices == 1:
        return function
    mesh = _mesh(devices)
    return jax.shard_map(function, mesh=mesh, in_specs=arguments, out_specs=results, check_vma=False)


def position(devices: int) -> Any:
    """Within :func:`spread`: this device's number, from 0."""
    return 0 if devices == 1 else jax.lax.axis_index(_AXIS)


def total(tree: Any, devices: int) -> Any:
    """Within :func:`spread`: the sum over devices of every array of ``tree``."""
    return tree if devices == 1 else jax.lax.psum(tree, _AXIS)


def mean(tree: Any, devices: int) -> Any:
    """Within :func:`spread`: the mean over devices of every array of real numbers in ``tree``; others are equal on all, and stay."""
    if devices == 1:
        return tree
    return jax.tree.map(lambda a: jax.lax.pmean(a, _AXIS) if jnp.issubdtype(a.dtype, jnp.floating) else a, tree)


def place(tree: Tree, devices: int, layout: PartitionSpec = WHOLE) -> Tree:
    """``tree`` laid out on ``devices`` devices; arrays that already lie so are not copied."""
    placed: Tree = tree if devices == 1 else jax.device_put(tree, NamedSharding(_mesh(devices), layout))
    return placed


def gathered(tree: Any, devices: int) -> Any:
    """``tree`` as arrays that are not tied to a device, so that they can be used on any: the result of training."""

    def free(leaf: jax.Array) -> jax.Array:
        if is_key(leaf):
            key: jax.Array = jax.random.wrap_key_data(free(jax.random.key_data(leaf)), impl=jax.random.key_impl(leaf))
            return key
        return jnp.asarray(np.asarray(leaf))

    return tree if devices == 1 else jax.tree.map(free, tree)
