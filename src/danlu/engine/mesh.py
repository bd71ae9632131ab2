"""Several devices: one training, of whose rows, members and parameters each device has its share.

A device is a GPU, or a part of the CPU that XLA treats as a device of its own. The devices are a mesh with two axes, ``data`` and
``tensor``; ``data`` is those that share the rows. What a program says of arrays holds for whole arrays (where they lie is said by their
:class:`~danlu.engine.layout.Layout`), and XLA adds what must be exchanged. Where that is not left to XLA, :func:`spread` runs a function on
each device of ``data`` with its own share: of a batch, some of the rows (*data parallelism*); of a population, some of the members. A share
is chosen by the device's :func:`position`, and where devices must agree, :func:`total` and :func:`mean` are one collective each.

With the rows of a batch divided into shares B₁ … Bₙ, the gradient of the objective is

    ∇ Σ w·l / Σ w  =  (∇ Σ_B₁ w·l + … + ∇ Σ_Bₙ w·l) / (Σ_B₁ w + … + Σ_Bₙ w),

sums over devices of sums over rows, divided once: the gradient of the whole batch exactly (up to rounding), whatever the weights. A layer
that looks across rows (batch norm) sees its device's, and running statistics are averaged; random draws (dropout) are each device's own.

**Several processes.** Once ``jax.distributed`` is initialised, the devices are those of all processes, the same number of each, and every
process runs the same program on the same values. An array then lies partly in other processes, and is made and read by three functions:

- :func:`place` makes it: every process has the whole value on its own side, and gives its devices what they hold
  (``jax.make_array_from_callback``; nothing is sent). Where a process has only some of the rows, :func:`joined` makes the array of all.
- :func:`gathered` brings whole values back to every process: what is divided is first copied to all by a program that does nothing else.
- :func:`on_host` is the same for one array that Python looks at, such as a sum.

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
    "DATA",
    "DIVIDED",
    "TENSOR",
    "WHOLE",
    "check_shares",
    "gathered",
    "joined",
    "mean",
    "mesh_of",
    "need_devices",
    "on_host",
    "own_parts",
    "place",
    "position",
    "spread",
    "total",
]

DATA, TENSOR = "data", "tensor"
"""The axes of the mesh: devices along the first share rows, those along the second each layer's arrays."""

WHOLE, DIVIDED = PartitionSpec(), PartitionSpec(DATA)
"""An array that lies on every device, and one whose leading axis is divided among them."""

_LARGE = 2**18  # numbers; the exchange of so many takes longer than to begin one


def need_devices(count: int) -> None:
    """Make sure that there are ``count`` devices, in all processes together, before anything is computed.

    A CPU is one device unless JAX is told otherwise before its first computation, which this does in a process that is alone.

    Raises:
        ConfigError: there are fewer, or each process has another number of them.
    """
    if count == 1:
        return
    config: Any = jax.config
    cores, alone = os.cpu_count() or 1, not jax.distributed.is_initialized()
    with contextlib.suppress(RuntimeError):  # JAX has begun to compute; what it has is what there is
        if alone and config.jax_num_cpu_devices < min(count, cores):
            config.update("jax_num_cpu_devices", min(count, cores))
    found, processes = jax.devices(), jax.process_count()
    if len(found) < count:
        hint = "ask for at most that many"
        if processes > 1:
            hint = f"the {processes} processes have so many together; ask for at most that many"
        elif found[0].platform == "cpu" and count <= cores:
            hint = f"this process has already computed with {len(found)}; start it with JAX_NUM_CPU_DEVICES={count}"
        raise ConfigError(f"devices is {count}, but JAX has {len(found)} here ({found[0].device_kind})", hint=hint)
    if count % processes:
        raise ConfigError(
            f"devices is {count}, and there are {processes} processes; expected a multiple, so that each has as many",
            hint=f"devices={len(found)} takes all that they have",
        )


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
def mesh_of(devices: int, tensor: int = 1) -> Mesh:
    """The first devices, of each process as many; ``tensor`` of them next to each other share each layer's arrays."""
    each = devices // jax.process_count()
    found = jax.devices()
    own = [[device for device in found if device.process_index == number] for number in range(jax.process_count())]
    chosen = np.array([device for those in own for device in those[:each]])
    return Mesh(chosen.reshape(-1, tensor), (DATA, TENSOR))  # (data, tensor)


def spread(
    function: Callable[..., Any], devices: int, arguments: Any = WHOLE, results: Any = WHOLE, *, tensor: int = 1
) -> Callable[..., Any]:
    """``function`` on each of the ``devices/tensor`` devices that share rows; on one it is ``function``.

    Args:
        arguments, results: which are ``WHOLE`` and which ``DIVIDED``: one for all, or a tuple.
        tensor: how many devices do each share together; how is left to XLA.
    """
    if devices == tensor:
        return function
    mesh = mesh_of(devices, tensor)
    return jax.shard_map(
        function, mesh=mesh, in_specs=arguments, out_specs=results, check_vma=False, axis_names=frozenset({DATA})
    )


def position(devices: int) -> Any:
    """Within :func:`spread`: this device's number, from 0."""
    return 0 if devices == 1 else jax.lax.axis_index(DATA)


def total(tree: Any, devices: int, *, tensor: int = 1) -> Any:
    """Within :func:`spread`: the sum over devices of every array of ``tree``.

    Between processes an exchange takes a time of its own, whatever it carries. So small arrays of one type go together, as one vector
    (*buckets*; Li et al. 2020, section 3.2.2), unless ``tensor`` devices hold a cut each.
    """
    if devices == 1:
        return tree
    leaves, form = jax.tree.flatten(tree)
    alone: list[int] = []
    buckets: dict[Any, list[int]] = {}
    for place, leaf in enumerate(leaves):
        together = tensor == 1 and leaf.size < _LARGE
        (buckets.setdefault(leaf.dtype, []) if together else alone).append(place)
    for place in alone:
        leaves[place] = jax.lax.psum(leaves[place], DATA)
    for places in buckets.values():
        bucket = jax.lax.psum(jnp.concatenate([leaves[place].ravel() for place in places]), DATA)
        ends = np.cumsum([leaves[place].size for place in places])[:-1]
        for place, part in zip(places, jnp.split(bucket, ends), strict=True):
            leaves[place] = part.reshape(leaves[place].shape)  # (size,) to the array's own shape
    return jax.tree.unflatten(form, leaves)


def mean(tree: Any, devices: int) -> Any:
    """Within :func:`spread`: the mean over devices of every array of real numbers in ``tree``; others are equal on all, and stay."""
    if devices == 1:
        return tree
    return jax.tree.map(lambda a: jax.lax.pmean(a, DATA) if jnp.issubdtype(a.dtype, jnp.floating) else a, tree)


def place(tree: Tree, devices: int, layout: Any = WHOLE, *, tensor: int = 1) -> Tree:
    """``tree`` laid out on ``devices`` devices; arrays that already lie so are not copied.

    Of several processes each passes the same values, whole, or arrays that are on all of the devices already.

    Args:
        layout: for all arrays, or a tree of one for each.
    """
    if devices == 1:
        return tree
    mesh = mesh_of(devices, tensor)
    own = jax.tree.map(lambda _: layout, tree) if isinstance(layout, PartitionSpec) else layout
    shardings = jax.tree.map(lambda spec: NamedSharding(mesh, spec), own)
    placed: Tree
    if jax.process_count() == 1:
        placed = jax.device_put(tree, shardings)
    else:
        placed = jax.tree.map(_placed, tree, shardings)
    return placed


def _placed(leaf: Any, sharding: NamedSharding) -> jax.Array:
    """An array or a key on the devices of several processes."""
    if is_key(leaf):
        data = _placed(jax.random.key_data(leaf), sharding)
        key: jax.Array = jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
        return key
    if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
        return leaf if leaf.sharding.is_equivalent_to(sharding, leaf.ndim) else _moved(leaf, sharding)
    host = np.asarray(leaf)
    return jax.make_array_from_callback(host.shape, sharding, lambda part: host[part])


def _moved(leaf: jax.Array, sharding: NamedSharding) -> jax.Array:
    """The array laid out otherwise, by a program that does nothing else; every process must call it."""
    moved: jax.Array = jax.jit(lambda a: a, out_shardings=sharding)(leaf)
    return moved


def joined(tree: Any, devices: int) -> Any:
    """Rows of which each process has some, in order of the processes, as arrays whose leading axis is divided among the devices.

    Each process passes as many rows. In a process that is alone it is :func:`place` with ``DIVIDED``.
    """
    if jax.process_count() == 1:
        return place(tree, devices, DIVIDED)
    sharding = NamedSharding(mesh_of(devices), DIVIDED)
    return jax.tree.map(lambda leaf: jax.make_array_from_process_local_data(sharding, np.asarray(leaf)), tree)


def on_host(leaf: Any) -> np.ndarray:
    """An array's values as NumPy's, wherever it lies; of an array that is divided among processes every process must ask."""
    if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable and not leaf.is_fully_replicated:
        leaf = _moved(leaf, NamedSharding(leaf.sharding.mesh, WHOLE))  # type: ignore[attr-defined]
    return np.asarray(leaf)


def own_parts(devices: int) -> range:
    """The numbers of those devices, of ``devices`` in all, that are this process's; a process has neighbours."""
    if devices == 1:
        return range(1)
    own = [i for i, each in enumerate(mesh_of(devices).devices.flat) if each.process_index == jax.process_index()]
    return range(own[0], own[-1] + 1)


def gathered(tree: Any, devices: int) -> Any:
    """``tree`` as arrays that are not tied to a device, so that they can be used on any: the result of training."""

    def free(leaf: jax.Array) -> jax.Array:
        if is_key(leaf):
            key: jax.Array = jax.random.wrap_key_data(free(jax.random.key_data(leaf)), impl=jax.random.key_impl(leaf))
            return key
        return jnp.asarray(on_host(leaf))

    return tree if devices == 1 else jax.tree.map(free, tree)
