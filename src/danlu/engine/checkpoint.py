"""Checkpoints: a tree of arrays and a JSON note in one safetensors file, replaced atomically.

A checkpoint is written beside its final name, flushed to the disk and renamed over it, so a process that is killed at any
moment, or a disk that fills up, leaves the previous checkpoint whole.
"""

from __future__ import annotations

import contextlib
import json
import os
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

FORMAT = "danlu-checkpoint-1"


def save_checkpoint(path: str | os.PathLike[str], tree: Any, note: dict[str, Any]) -> None:
    """Write ``tree`` and ``note`` to ``path``; an older checkpoint there stays until the new one is complete.

    Of several processes the first writes it.

    Raises:
        CheckpointError: the file cannot be written (full disk, no permission).
    """
    from safetensors.numpy import save

    arrays = {
        name: np.array(jax.random.key_data(leaf) if is_key(leaf) else leaf, order="C")
        for name, leaf in named_leaves(tree)
    }
    if not processes.is_first():
        return
    data = save(arrays, metadata={"format": FORMAT, "note": json.dumps(note, allow_nan=True)})
    with contextlib.suppress(OSError):  # writing says what is wrong with the folder
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, data, error=CheckpointError)


def load_checkpoint(path: str | os.PathLike[str], like: Any, *, to_branch: Any = None) -> tuple[Any, dict[str, Any]]:
    """The tree and the note of a checkpoint.

    Args:
        like: a tree of the expected structure, shapes and dtypes; its leaves are replaced.
        to_branch: the same of a checkpoint that another training goes on from (its note has ``"branch"``). Such a one may hold more: what
            the training that wrote it had of its own.

    Raises:
        CheckpointError: no such file, a damaged one, or one of another model.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint at {path}")
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        note = json.loads(metadata["note"])
        known = metadata.get("format") == FORMAT
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise CheckpointError(f"{path} is not a whole danlu checkpoint: {error}") from error
    if not known:
        raise CheckpointError(f"{path} has the format {metadata.get('format')!r}; expected {FORMAT!r}")

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
        array = jnp.asarray(arrays[name])
        return jax.random.wrap_key_data(array, impl=jax.random.key_impl(leaf)) if is_key(leaf) else array

    leaves = [restored(name, leaf) for name, leaf in named]
    return jax.tree.unflatten(jax.tree.structure(like), leaves), note


def _differences(named: list[tuple[str, Any]], arrays: dict[str, np.ndarray]) -> list[str]:
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
