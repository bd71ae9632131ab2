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

from danlu.errors import CheckpointError
from danlu.files import write_atomic
from danlu.paths import is_key, named_leaves

__all__ = ["load_checkpoint", "save_checkpoint"]

FORMAT = "danlu-checkpoint-1"


def save_checkpoint(path: str | os.PathLike[str], tree: Any, note: dict[str, Any]) -> None:
    """Write ``tree`` and ``note`` to ``path``; an older checkpoint there stays until the new one is complete.

    Raises:
        CheckpointError: the file cannot be written (full disk, no permission).
    """
    from safetensors.numpy import save

    arrays = {
        name: np.array(jax.random.key_data(leaf) if is_key(leaf) else leaf, order="C")
        for name, leaf in named_leaves(tree)
    }
    data = save(arrays, metadata={"format": FORMAT, "note": json.dumps(note, allow_nan=True)})
    with contextlib.suppress(OSError):  # writing says what is wrong with the folder
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, data, error=CheckpointError)


def load_checkpoint(path: str | os.PathLike[str], like: Any) -> tuple[Any, dict[str, Any]]:
    """The tree and the note of a checkpoint.

    Args:
        like: a tree of the expected structure, shapes and dtypes; its leaves are replaced.

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

    def restore(name: str, leaf: Any) -> jax.Array:
        if name not in arrays:
            raise CheckpointError(f"{path} has no entry {name}: it belongs to another model or other settings")
        array = arrays.pop(name)
        expected = jax.random.key_data(leaf) if is_key(leaf) else leaf
        if array.shape != expected.shape or array.dtype != expected.dtype:
            raise CheckpointError(
                f"{path}: {name} is {array.dtype}{list(array.shape)}; "
                f"this model expects {expected.dtype}{list(expected.shape)}"
            )
        if is_key(leaf):
            return jax.random.wrap_key_data(jnp.asarray(array), impl=jax.random.key_impl(leaf))
        return jnp.asarray(array)

    leaves = [restore(name, leaf) for name, leaf in named_leaves(like)]
    if arrays:
        raise CheckpointError(f"{path} has entries this model does not know: {', '.join(sorted(arrays)[:5])}")
    return jax.tree.unflatten(jax.tree.structure(like), leaves), note
