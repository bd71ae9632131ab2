"""Writing a saved model: the folder appears whole or not at all."""

from __future__ import annotations

import contextlib
import datetime
import os
import platform
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

import danlu
from danlu.artifact.artifact import (
    FORMAT,
    FORMAT_VERSION,
    MODEL_FILE,
    SPARSE_VERSION,
    TREES,
    WEIGHTS_FILE,
    check_file_name,
    check_finite,
    listing,
    previous_of,
    sealed,
)
from danlu.artifact.files import json_text, plain, write_synced
from danlu.artifact.sparse import sparse
from danlu.artifact.tree import expected_arrays, flatten_tree, packed, tree_structure
from danlu.blueprint import Blueprint, to_json
from danlu.errors import ArtifactError, DanluError
from danlu.files import sweep, sync_folder, temporary_for

__all__ = ["save_artifact"]


def default_provenance() -> dict[str, Any]:
    """The versions that write the artifact and the time (UTC)."""
    return {
        "danlu": danlu.__version__,
        "jax": jax.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def save_artifact(
    folder: str | os.PathLike[str],
    *,
    model: Blueprint,
    variables: tuple[Any, Any],
    task: Any,
    schema: Any = None,
    encoder: Any = None,
    encoder_arrays: Mapping[str, np.ndarray] | None = None,
    head: Any = None,
    head_arrays: Mapping[str, np.ndarray] | None = None,
    classes: Sequence[Any] = (),
    threshold: float | None = None,
    metrics: Mapping[str, Any] | None = None,
    provenance: Mapping[str, Any] | None = None,
    extra: Mapping[str, Any] | None = None,
    files: Mapping[str, bytes] | None = None,
    beside: Mapping[str, str] | None = None,
) -> Path:
    """Write a model so that :func:`load_artifact` gives it back, anywhere, without running any of its code.

    The folder appears whole or not at all: it is written beside its place, put on disk, and renamed. An artifact that
    is already there is replaced only once the new one is complete.

    Args:
        folder: where to; an existing folder is replaced only if it is empty or an artifact.
        model: the network's blueprint.
        variables: ``(params, state)``: trees of dicts, tuples, lists and arrays.
        task, schema, encoder, head, classes, metrics, extra: plain data (see :class:`Artifact`); NaN is written as null.
        encoder_arrays, head_arrays: the arrays of the encoder and of the head by name.
        threshold: in [0, 1], or None.
        files: further files to keep with the model, by name; what loads the model finds them in ``Artifact.files``.
        beside: texts for people, by name: they may be edited, so that no digest is kept of them, and are not read again.
        provenance: what to record beside the versions and the time (such as the data's fingerprint).

    Returns:
        The folder.

    Raises:
        ArtifactError: the variables hold NaN, infinity or something other than arrays, or the folder cannot be written.
    """
    target = Path(os.path.abspath(folder))
    params, state = variables
    trees = {"params": params, "state": state, "encoder": dict(encoder_arrays or {})}
    trees["head"] = dict(head_arrays or {})
    arrays: dict[str, np.ndarray] = {}
    for name in TREES:
        arrays |= flatten_tree(trees[name], prefix=name)
    check_finite(arrays)
    try:
        blueprint = to_json(model)
    except DanluError as error:
        raise ArtifactError(f"the model cannot be saved: {error.message}", hint=error.hint) from error
    structures = {name: tree_structure(trees[name]) for name in TREES}
    for name in TREES:  # what a reader would refuse is refused before it is written
        expected_arrays(structures[name], prefix=name)
    from safetensors.numpy import save

    written, forms = sparse(arrays)
    weights = save({name: packed(array) for name, array in written.items()})
    contents = {WEIGHTS_FILE: weights} | {check_file_name(name): bytes(data) for name, data in (files or {}).items()}
    if contents[WEIGHTS_FILE] is not weights:
        raise ArtifactError(f"{WEIGHTS_FILE} is the artifact's own file; give yours another name")
    told = {check_file_name(name): text.encode() for name, text in (beside or {}).items()}
    if both := told.keys() & contents.keys():
        raise ArtifactError(f"{min(both)} is a file of the artifact; expected another name for a text beside it")
    document = {
        "format": FORMAT,
        "format_version": SPARSE_VERSION if forms else FORMAT_VERSION,
        "task": task,
        "blueprint": blueprint,
        "schema": schema,
        "encoder": encoder,
        "head": head,
        "classes": list(classes),
        "threshold": threshold,
        "metrics": dict(metrics or {}),
        "provenance": default_provenance() | dict(provenance or {}),
        "extra": dict(extra or {}),
        "weights": {"trees": structures, **({"sparse": forms} if forms else {})},
        "files": {name: listing(data) for name, data in contents.items()},
    }
    _write_folder(target, {**told, **contents, MODEL_FILE: json_text(sealed(plain(document))).encode()})
    return target


def _write_folder(target: Path, files: Mapping[str, bytes]) -> None:
    temporary = temporary_for(target)
    previous = previous_of(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if previous.is_dir() and not target.exists():  # a writer was killed between its two renames
            os.rename(previous, target)
        if target.is_symlink() or (target.exists() and not target.is_dir()):
            raise ArtifactError(f"{target} exists and is not a folder; nothing was written")
        if target.is_dir() and any(target.iterdir()) and not (target / MODEL_FILE).is_file():
            raise ArtifactError(
                f"{target} exists and is not an artifact; nothing was written", hint="choose another folder"
            )
        sweep(target.parent, target.name[:200])
        temporary.mkdir()
        for name, data in files.items():
            write_synced(temporary / name, data)
        sync_folder(temporary)
        if target.is_dir():
            shutil.rmtree(previous, ignore_errors=True)
            os.rename(target, previous)
        try:
            os.rename(temporary, target)
        except OSError:
            if previous.is_dir() and not target.exists():
                os.rename(previous, target)
            raise
        sync_folder(target.parent)
        shutil.rmtree(previous, ignore_errors=True)
    except OSError as error:
        raise ArtifactError(
            f"cannot write the artifact {target}: {error.strerror or error}; what was there before is unchanged",
            hint="check the free space and the permissions of the folder",
        ) from error
    finally:
        with contextlib.suppress(OSError):
            shutil.rmtree(temporary, ignore_errors=True)
