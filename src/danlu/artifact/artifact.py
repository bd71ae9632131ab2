"""The saved model: a folder with ``model.json`` and ``weights.safetensors``, and nothing that can run.

``model.json`` holds the format version, the blueprint, the data's schema and encoder, the classes, the metrics, the
provenance, and the name, shape and dtype of every array together with the SHA-256 of the weights file. Loading
checks all of that before anything is built, so a damaged or hostile folder is an :class:`ArtifactError`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import hashlib
import os
import platform
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

import danlu
from danlu.artifact.files import json_text, parse_json, read_bytes, sync_folder, write_synced
from danlu.artifact.tree import DTYPES, check_arrays, expected_arrays, flatten_tree, tree_structure, unflatten_tree
from danlu.blueprint import Blueprint, from_json, to_json
from danlu.errors import ArtifactError, DanluError

__all__ = ["FORMAT", "FORMAT_VERSION", "Artifact", "load_artifact", "save_artifact"]

FORMAT = "danlu-artifact"
FORMAT_VERSION = 1
MODEL_FILE = "model.json"
WEIGHTS_FILE = "weights.safetensors"
TREES = ("params", "state", "encoder")
MAX_MODEL_BYTES = 64 * 2**20

_SAFETENSORS_NAMES = {
    "BOOL": "bool",
    "BF16": "bfloat16",
    "F16": "float16",
    "F32": "float32",
    "F64": "float64",
    **{f"{sign}{bits}": f"{'u' * (sign == 'U')}int{bits}" for sign in "IU" for bits in (8, 16, 32, 64)},
}


@dataclasses.dataclass(frozen=True, eq=False)
class Artifact:
    """A saved model in memory.

    Attributes:
        model: the network's blueprint.
        params, state: its variables (NumPy arrays).
        task: what was learned: a name ("binary", …) or a dict of plain data.
        schema: the data's columns, as plain JSON data.
        encoder: how a table becomes arrays, as plain JSON data; its arrays are in ``encoder_arrays``.
        encoder_arrays: arrays by name.
        classes: the names of the classes in the order of the outputs; empty for regression.
        threshold: the probability from which the second of two classes is predicted, or None.
        metrics: the test metrics, as plain JSON data.
        provenance: versions, time, data fingerprint, and what else the caller recorded.
        extra: further plain data of the caller's.
        format_version: of the file it came from.
    """

    model: Any
    params: Any
    state: Any
    task: Any
    schema: Any = None
    encoder: Any = None
    encoder_arrays: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    classes: tuple[Any, ...] = ()
    threshold: float | None = None
    metrics: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    provenance: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    extra: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    format_version: int = FORMAT_VERSION

    @property
    def variables(self) -> tuple[Any, Any]:
        """``(params, state)``, as ``model.init`` returned them."""
        return self.params, self.state

    @property
    def parameter_count(self) -> int:
        """How many numbers the optimizer changed."""
        return sum(int(np.size(leaf)) for leaf in jax.tree_util.tree_leaves(self.params))

    def __repr__(self) -> str:
        task = self.task if isinstance(self.task, str) else dict(self.task).get("name", "…")
        return (
            f"Artifact(model={type(self.model).__name__}, task={task!r}, parameters={self.parameter_count:,}, "
            f"created={self.provenance.get('created')!r})"
        )


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
    classes: Sequence[Any] = (),
    threshold: float | None = None,
    metrics: Mapping[str, Any] | None = None,
    provenance: Mapping[str, Any] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Path:
    """Write a model so that :func:`load_artifact` gives it back, anywhere, without running any of its code.

    The folder appears whole or not at all: it is written beside its place, put on disk, and renamed. An artifact that
    is already there is replaced only once the new one is complete.

    Args:
        folder: where to; an existing folder is replaced only if it is empty or an artifact.
        model: the network's blueprint.
        variables: ``(params, state)``: trees of dicts, tuples, lists and arrays.
        task, schema, encoder, classes, metrics, extra: plain data (see :class:`Artifact`); NaN is written as null.
        encoder_arrays: the encoder's arrays by name.
        threshold: in [0, 1], or None.
        provenance: what to record beside the versions and the time (such as the data's fingerprint).

    Returns:
        The folder.

    Raises:
        ArtifactError: the variables hold NaN or something other than arrays, or the folder cannot be written.
    """
    target = Path(folder)
    params, state = variables
    trees = {"params": params, "state": state, "encoder": dict(encoder_arrays or {})}
    arrays: dict[str, np.ndarray] = {}
    for name in TREES:
        arrays |= flatten_tree(trees[name], prefix=name)
    _check_finite(arrays)
    try:
        blueprint = to_json(model)
    except DanluError as error:
        raise ArtifactError(f"the model cannot be saved: {error.message}", hint=error.hint) from error
    structures = {name: tree_structure(trees[name]) for name in TREES}
    for name in TREES:  # what a reader would refuse is refused before it is written
        expected_arrays(structures[name], prefix=name)
    from safetensors.numpy import save

    weights = save(arrays)
    document = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "task": task,
        "blueprint": blueprint,
        "schema": schema,
        "encoder": encoder,
        "classes": list(classes),
        "threshold": threshold,
        "metrics": dict(metrics or {}),
        "provenance": default_provenance() | dict(provenance or {}),
        "extra": dict(extra or {}),
        "weights": {"sha256": hashlib.sha256(weights).hexdigest(), "bytes": len(weights), "trees": structures},
    }
    _write_folder(target, {WEIGHTS_FILE: weights, MODEL_FILE: json_text(document).encode()})
    return target


def _check_finite(arrays: Mapping[str, np.ndarray]) -> None:
    for name, array in arrays.items():
        if not name.startswith("encoder/") and array.dtype.kind in "fV" and np.isnan(array.astype(np.float32)).any():
            raise ArtifactError(
                f"the array {name!r} holds NaN; a model with NaN in it predicts nothing",
                hint="train again with a lower learning rate or with gradient clipping",
            )


def _previous(target: Path) -> Path:
    """Where the artifact being replaced waits for the moment between two renames."""
    return target.with_name(f".{target.name}.previous")


def _write_folder(target: Path, files: Mapping[str, bytes]) -> None:
    temporary = target.with_name(f".{target.name}.{os.getpid()}-{os.urandom(4).hex()}.tmp")
    previous = _previous(target)
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


def load_artifact(folder: str | os.PathLike[str]) -> Artifact:
    """Read a saved model. Nothing in the folder is run, and everything is checked before it is used.

    Args:
        folder: what :func:`save_artifact` wrote.

    Returns:
        The artifact, its variables as NumPy arrays.

    Raises:
        ArtifactError: the folder is missing, damaged, of a newer format, or not what it says.
    """
    path = Path(folder)
    if not path.exists() and _previous(path).is_dir():
        path = _previous(path)
    if not path.is_dir():
        raise ArtifactError(
            f"{path} is not an artifact: expected a folder with {MODEL_FILE} and {WEIGHTS_FILE}",
            hint="an artifact is the folder 'artifact' in a run",
        )
    document = parse_json(read_bytes(path / MODEL_FILE, limit=MAX_MODEL_BYTES), str(path / MODEL_FILE))
    version = _check_version(document, path)
    weights_info = _get(document, "weights", dict, path)
    trees = _get(weights_info, "trees", dict, path)
    if set(trees) != set(TREES):
        raise ArtifactError(f"{path / MODEL_FILE} has the trees {sorted(trees)[:5]}; expected {sorted(TREES)}")
    expected: dict[str, tuple[tuple[int, ...], np.dtype[Any]]] = {}
    for name in TREES:
        expected |= expected_arrays(trees[name], prefix=name)
    arrays = _read_weights(path / WEIGHTS_FILE, weights_info, expected)
    blueprint = _get(document, "blueprint", dict, path)
    threshold = document.get("threshold")
    if threshold is not None and (type(threshold) not in (int, float) or not 0 <= threshold <= 1):
        raise ArtifactError(f"{path / MODEL_FILE} has the threshold {str(threshold)[:40]!r}; expected 0 to 1 or null")
    task = document.get("task")
    if not isinstance(task, str | dict) or not task:
        raise ArtifactError(f"{path / MODEL_FILE} has the task {str(task)[:40]!r}; expected a name or an object")
    return Artifact(
        model=_build_model(blueprint),
        params=unflatten_tree(arrays, trees["params"], prefix="params"),
        state=unflatten_tree(arrays, trees["state"], prefix="state"),
        task=task,
        schema=document.get("schema"),
        encoder=document.get("encoder"),
        encoder_arrays=unflatten_tree(arrays, trees["encoder"], prefix="encoder"),
        classes=tuple(_get(document, "classes", list, path)),
        threshold=threshold,
        metrics=_get(document, "metrics", dict, path),
        provenance=_get(document, "provenance", dict, path),
        extra=_get(document, "extra", dict, path),
        format_version=version,
    )


def _get(document: dict[str, Any], key: str, kind: type, path: Path) -> Any:
    value = document.get(key)
    if not isinstance(value, kind):
        got = "nothing" if key not in document else f"{str(value)[:40]!r}"
        raise ArtifactError(f"{path / MODEL_FILE} has {got} as {key!r}; expected a JSON {kind.__name__}")
    return value


def _check_version(document: dict[str, Any], path: Path) -> int:
    if document.get("format") != FORMAT:
        raise ArtifactError(f"{path / MODEL_FILE} is not a danlu model: expected 'format': {FORMAT!r}")
    version = document.get("format_version")
    if type(version) is not int or version < 1:
        raise ArtifactError(f"{path / MODEL_FILE} has the format version {str(version)[:40]!r}; expected 1 or more")
    if version > FORMAT_VERSION:
        raise ArtifactError(
            f"{path} was written in format version {version}; this danlu reads up to {FORMAT_VERSION}",
            hint="upgrade danlu",
        )
    return version


def _read_weights(
    path: Path, info: dict[str, Any], expected: Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]]
) -> dict[str, np.ndarray]:
    declared = sum(int(np.prod(shape, dtype=object)) * dtype.itemsize for shape, dtype in expected.values())
    data = read_bytes(path)
    if declared > len(data):
        raise ArtifactError(f"{path} has {len(data):,} bytes; the model's arrays need {declared:,}")
    digest = hashlib.sha256(data).hexdigest()
    if info.get("bytes") != len(data) or info.get("sha256") != digest:
        raise ArtifactError(
            f"{path} is not the file that was saved: its SHA-256 is {digest[:12]}…, "
            f"expected {str(info.get('sha256'))[:12]}…",
            hint="it was truncated or changed; copy the whole folder again",
        )
    from safetensors import SafetensorError, deserialize

    try:
        entries = deserialize(data)
    except SafetensorError as error:
        raise ArtifactError(f"{path} is not a safetensors file: {str(error)[:200]}") from error
    flat: dict[str, np.ndarray] = {}
    for name, entry in entries:
        dtype = _SAFETENSORS_NAMES.get(entry["dtype"])
        if name not in expected or dtype is None:
            raise ArtifactError(f"{path} holds the array {name[:80]!r} ({entry['dtype']}), which was not expected")
        array = np.frombuffer(entry["data"], dtype=DTYPES[dtype]).reshape(entry["shape"])
        array.flags.writeable = False
        flat[name] = array
    check_arrays(flat, expected)
    _check_finite(flat)
    return flat


def _build_model(blueprint: dict[str, Any]) -> Any:
    import danlu.nn
    import danlu.tasks  # noqa: F401  (both define the blueprints that a saved model is made of)

    try:
        model = from_json(blueprint)
    except ArtifactError:
        raise
    except Exception as error:  # a blueprint may refuse hostile values in any way it likes
        raise ArtifactError(f"the saved blueprint is not valid: {type(error).__name__}: {str(error)[:200]}") from error
    if not isinstance(model, Blueprint):
        raise ArtifactError(f"the saved blueprint is a {type(model).__name__}; expected a layer")
    return model
