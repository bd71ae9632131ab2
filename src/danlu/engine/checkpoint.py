"""Checkpoints: a tree of arrays and a JSON note in a safetensors file, replaced atomically; of divided arrays each device's part beside it.

A checkpoint is written beside its final name, flushed to the disk and renamed over it, so a process that is killed at any
moment, or a disk that fills up, leaves the previous checkpoint whole.

Arrays that are divided among devices are in files of their own, one for each device, written by the process that the device belongs to:
nothing is gathered. The checkpoint proper is their *index*: it holds the arrays that are whole, and says of each divided one its shape and
which part of it is in which file. Files of parts have the checkpoint's number in their names; they are written before the index that
names them takes the place of the last one, and those that no index names are removed after it. Reading puts the parts together one array
at a time and lays each out as the training expects it, which may have other devices than the one that wrote, or another layout.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import os
import zlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu import processes
from danlu.errors import CheckpointError
from danlu.files import write_atomic
from danlu.paths import is_key, named_leaves

__all__ = ["load_checkpoint", "save_checkpoint"]

FORMAT, IN_PARTS = "danlu-checkpoint-1", "danlu-checkpoint-2"
"""Of a checkpoint in one file, and of one whose divided arrays are in files beside it."""


def save_checkpoint(path: str | os.PathLike[str], tree: Any, note: dict[str, Any]) -> None:
    """Write ``tree`` and ``note`` to ``path``; an older checkpoint there stays until the new one is complete.

    Of several processes each writes the parts that its devices hold, in a folder that all of them see, and the first all the rest.

    Raises:
        CheckpointError: a file cannot be written (full disk, no permission).
    """
    path, leaves = Path(path), named_leaves(tree)
    divided = {name: leaf for name, leaf in leaves if _is_divided(leaf)}
    with contextlib.suppress(OSError):  # writing says what is wrong with the folder
        path.parent.mkdir(parents=True, exist_ok=True)
    said: dict[str, str] = {"format": IN_PARTS if divided else FORMAT, "note": json.dumps(note, allow_nan=True)}
    if divided:
        number = processes.agree(_number(path) + 1)
        said |= {"number": str(number), "divided": json.dumps(_write_parts(path, number, divided))}
    if processes.is_first():
        whole = {name: _numbers(leaf) for name, leaf in leaves if name not in divided}
        _write(path, whole, said)
        _remove_others(path, int(said.get("number", 0)) if divided else None)


def _is_divided(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and not is_key(leaf) and not leaf.is_fully_replicated


def _numbers(leaf: Any) -> np.ndarray:
    return np.array(jax.random.key_data(leaf) if is_key(leaf) else leaf, order="C")


def _write(path: Path, arrays: Mapping[str, np.ndarray], said: dict[str, str]) -> None:
    from safetensors.numpy import save

    write_atomic(path, save(dict(arrays), metadata=said), error=CheckpointError)


def _number(path: Path) -> int:
    """The number of the checkpoint that is there now; 0 of none, and of one in a single file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return int((file.metadata() or {}).get("number", 0))
    except (SafetensorError, OSError, ValueError):
        return 0


def _part(path: Path, number: int, device: int) -> Path:
    return path.with_name(f"{path.stem}.{number}.part-{device:05d}{path.suffix}")


def _remove_others(path: Path, number: int | None) -> None:
    """Remove the parts of all other checkpoints of this name."""
    for each in path.parent.glob(f"{path.stem}.*.part-*{path.suffix}"):
        if number is None or not each.name.startswith(f"{path.stem}.{number}.part-"):
            with contextlib.suppress(OSError):
                each.unlink()


def _write_parts(path: Path, number: int, divided: Mapping[str, jax.Array]) -> dict[str, Any]:
    """Write the parts that lie on this process's devices; what the index says of all.

    Returns:
        For each array ``{"shape", "dtype", "pieces": [[device, [first row, first column, …]], …]}``, a piece for each different part.
    """
    everywhere: list[Any] = [device for leaf in divided.values() for device in leaf.sharding.device_set]
    devices = sorted({device.id for device in everywhere})
    rank = {device: place for place, device in enumerate(devices)}
    said: dict[str, Any] = {}
    own: dict[int, dict[str, np.ndarray]] = {}
    for name, leaf in divided.items():
        pieces: dict[tuple[int, ...], int] = {}
        where: dict[Any, Any] = dict(leaf.sharding.devices_indices_map(leaf.shape))
        for device, part in where.items():
            start = tuple(axis.start or 0 for axis in part)
            pieces[start] = min(
                pieces.get(start, rank[device.id]), rank[device.id]
            )  # of equal parts the first device's
        for shard in leaf.addressable_shards:
            if pieces[tuple(axis.start or 0 for axis in shard.index)] == rank[shard.device.id]:
                own.setdefault(rank[shard.device.id], {})[name] = np.array(shard.data, order="C")
        found = sorted((place, list(start)) for start, place in pieces.items())
        said[name] = {"shape": list(leaf.shape), "dtype": str(leaf.dtype), "pieces": found}

    def write(place: int) -> None:
        _write(
            _part(path, number, place),
            own[place],
            {"format": IN_PARTS, "number": str(number), "sum": _sum_of(own[place])},
        )

    with ThreadPoolExecutor(max_workers=min(8, max(1, len(own)))) as pool:
        list(pool.map(write, own))
    processes.same("the number of the checkpoint", number)  # waits for all: the index comes after all parts
    return said


def _sum_of(arrays: Mapping[str, np.ndarray]) -> str:
    """A checksum of some arrays, by which a damaged file is known."""
    found = 0
    for name in sorted(arrays):
        found = zlib.crc32(np.ascontiguousarray(arrays[name]).view(np.uint8).data, found)
    return f"{found:08x}"


@dataclasses.dataclass(frozen=True)
class _Stored:
    """An array of a checkpoint that is read when it is needed."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    read: Callable[[], np.ndarray]


def load_checkpoint(path: str | os.PathLike[str], like: Any, *, to_branch: Any = None) -> tuple[Any, dict[str, Any]]:
    """The tree and the note of a checkpoint.

    Args:
        like: a tree of the expected structure, shapes and dtypes; its leaves are replaced, by arrays that lie where they do.
        to_branch: the same of a checkpoint that another training goes on from (its note has ``"branch"``). Such a one may hold more: what
            the training that wrote it had of its own.

    Raises:
        CheckpointError: no such file, a damaged one, one of another model, or a part that is missing or damaged.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint at {path}")
    arrays, note = _stored(path)
    if note.get("branch") and to_branch is not None:
        like = to_branch
        expected = {name for name, _ in named_leaves(like)}
        arrays = {name: array for name, array in arrays.items() if name in expected}
    named = named_leaves(like)
    wrong = _differences(named, arrays)
    if wrong:
        raise CheckpointError(
            f"{path} does not fit: it is of another model, of other settings or of another version of danlu: "
            f"{'; '.join(wrong[:3])}{'; and more' if len(wrong) > 3 else ''}",
            hint="resume with the same model, settings and version, or start again: without resume, or in another folder",
        )

    def restored(name: str, leaf: Any) -> jax.Array:
        values = arrays[name].read()
        if _is_divided(leaf):
            return jax.make_array_from_callback(values.shape, leaf.sharding, lambda part: values[part])
        array = jnp.asarray(values)
        return jax.random.wrap_key_data(array, impl=jax.random.key_impl(leaf)) if is_key(leaf) else array

    leaves = [restored(name, leaf) for name, leaf in named]
    return jax.tree.unflatten(jax.tree.structure(like), leaves), note


def _stored(path: Path) -> tuple[dict[str, _Stored], dict[str, Any]]:
    """The arrays of a checkpoint by name, and its note."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            said = file.metadata() or {}
            whole = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        note = json.loads(said["note"])
        divided = json.loads(said.get("divided", "{}"))
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise CheckpointError(f"{path} is not a whole danlu checkpoint: {error}") from error
    if said.get("format") not in (FORMAT, IN_PARTS):
        raise CheckpointError(f"{path} has the format {said.get('format')!r}; expected {FORMAT!r} or {IN_PARTS!r}")
    found = {
        name: _Stored(array.shape, array.dtype, functools.partial(np.asarray, array)) for name, array in whole.items()
    }
    if divided:
        found |= _joined(path, int(said["number"]), divided)
    return found, note


def _joined(path: Path, number: int, divided: Mapping[str, Any]) -> dict[str, _Stored]:
    """Arrays whose parts are in files beside the index, which are all looked at first.

    Raises:
        CheckpointError: a part is missing or damaged.
    """
    from safetensors import SafetensorError, safe_open

    places = sorted({place for each in divided.values() for place, _ in each["pieces"]})
    for place in places:
        part = _part(path, number, place)
        if not part.is_file():
            raise CheckpointError(
                f"{part} is missing: {path.name} is in {len(places)} parts, of which this one is number {place}",
                hint="bring it back beside the others (they belong together: copy the whole folder), or start again in another folder",
            )
        try:
            with safe_open(part, framework="numpy") as file:
                said = (file.metadata() or {}).get("sum")
                sound = said == _sum_of({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{part} is damaged, one of {len(places)} parts of {path.name}: {error}") from error
        if not sound:
            raise CheckpointError(
                f"{part} is damaged, one of {len(places)} parts of {path.name}: its numbers are not those that were written"
            )

    def read(name: str, said: Mapping[str, Any], dtype: np.dtype[Any]) -> np.ndarray:
        whole = np.empty(said["shape"], dtype)
        for place, start in said["pieces"]:
            with safe_open(_part(path, number, place), framework="numpy") as file:
                values = file.get_tensor(name)
            whole[tuple(slice(first, first + size) for first, size in zip(start, values.shape, strict=True))] = values
        return whole

    found = {}
    for name, said in divided.items():
        dtype = np.dtype(said["dtype"])
        found[name] = _Stored(tuple(said["shape"]), dtype, functools.partial(read, name, said, dtype))
    return found


def _differences(named: list[tuple[str, Any]], arrays: Mapping[str, _Stored]) -> list[str]:
    """What is in a checkpoint otherwise than it is expected, in words."""
    found = []
    for name, leaf in named:
        expected = jax.random.key_data(leaf) if is_key(leaf) else leaf
        if name not in arrays:
            found.append(f"it has no {name}")
        elif (arrays[name].shape, arrays[name].dtype) != (expected.shape, expected.dtype):
            there = f"{arrays[name].dtype}{list(arrays[name].shape)}"
            found.append(f"{name} is {there}, expected {expected.dtype}{list(expected.shape)}")
    return found + [f"{name} is unknown" for name in sorted(set(arrays) - {name for name, _ in named})]
