"""Reading a saved model: nothing in its folder is run, and everything is checked before it is used.

``model.json`` holds the format version, the blueprint, the data's schema and encoder, the classes, the metrics, the
provenance, the name, shape and dtype of every array, the SHA-256 of every other file, and a digest of itself (files of version 1
have the SHA-256 of the weights only). A damaged or hostile folder is an :class:`ArtifactError`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from danlu.artifact.artifact import (
    FORMAT,
    MODEL_FILE,
    SPARSE_VERSION,
    TREES,
    WEIGHTS_FILE,
    Artifact,
    check_file_name,
    check_finite,
    digest_of,
    listing,
    previous_of,
)
from danlu.artifact.files import parse_json, read_bytes
from danlu.artifact.signing import check_signature
from danlu.artifact.sparse import FORMS, dense, file_names
from danlu.artifact.tree import (
    DTYPES,
    check_arrays,
    expected_arrays,
    size_in_file,
    tree_structure,
    unflatten_tree,
    unpacked,
)
from danlu.blueprint import Blueprint, from_json
from danlu.errors import ArtifactError

__all__ = ["load_artifact"]

MAX_MODEL_BYTES = 64 * 2**20
_ATTEMPTS = 20  # while a writer replaces the artifact

_SAFETENSORS_NAMES = {
    "BOOL": "bool",
    "BF16": "bfloat16",
    "F16": "float16",
    "F32": "float32",
    "F64": "float64",
    **{f"{sign}{bits}": f"{'u' * (sign == 'U')}int{bits}" for sign in "IU" for bits in (8, 16, 32, 64)},
}


def load_artifact(folder: str | os.PathLike[str], *, trusted: str | os.PathLike[str] | None = None) -> Artifact:
    """Read a saved model. Nothing in the folder is run, and everything is checked before it is used.

    Args:
        folder: what :func:`save_artifact` wrote.
        trusted: public keys, one of which is to have signed it; see :func:`~danlu.artifact.signing.check_signature`.

    Returns:
        The artifact, its variables as NumPy arrays: the old one or the new one while a writer replaces it.

    Raises:
        ArtifactError: the folder is missing, damaged, of a newer format, or not what it says.
        UntrustedError: no trusted key has signed it.
    """
    path = Path(folder)
    for _ in range(_ATTEMPTS):
        found = _identity(path)
        try:
            return _load(path, trusted)
        except ArtifactError:
            if found == _identity(path):
                raise
    return _load(path, trusted)


def _identity(path: Path) -> list[tuple[int, int] | None]:
    """Which folders are there now: another answer a moment later means that a writer replaced the artifact."""
    identity: list[tuple[int, int] | None] = []
    for folder in (path, previous_of(path)):
        try:
            status = folder.stat()
            identity.append((status.st_ino, status.st_ctime_ns))
        except OSError:
            identity.append(None)
    return identity


def _load(path: Path, trusted: str | os.PathLike[str] | None) -> Artifact:
    if not path.exists() and previous_of(path).is_dir():
        path = previous_of(path)
    if not os.path.lexists(path / MODEL_FILE):
        raise ArtifactError(
            f"{path} is not a saved model: expected a folder with {MODEL_FILE} and {WEIGHTS_FILE}",
            hint="a run has its model in its folder 'artifact'",
        )
    described = read_bytes(path / MODEL_FILE, limit=MAX_MODEL_BYTES)
    if trusted is not None:
        check_signature(path, trusted, described)
    document = parse_json(described, str(path / MODEL_FILE))
    version = _check_version(document, path)
    listed = _listed(document, version, path)
    trees = _get(_get(document, "weights", dict, path), "trees", dict, path)
    if version < 3:
        trees = {**trees, "head": tree_structure({})}
    if set(trees) != set(TREES):
        raise ArtifactError(f"{path / MODEL_FILE} has the trees {sorted(trees)[:5]}; expected {sorted(TREES)}")
    expected: dict[str, tuple[tuple[int, ...], np.dtype[Any]]] = {}
    for name in TREES:
        expected |= expected_arrays(trees[name], prefix=name)
    forms = _sparse_forms(document, version, expected, path)
    arrays = _read_weights(path / WEIGHTS_FILE, listed[WEIGHTS_FILE], expected, forms)
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
        head=document.get("head"),
        head_arrays=unflatten_tree(arrays, trees["head"], prefix="head"),
        classes=tuple(_get(document, "classes", list, path)),
        threshold=threshold,
        metrics=_get(document, "metrics", dict, path),
        provenance=_get(document, "provenance", dict, path),
        extra=_get(document, "extra", dict, path),
        files={
            name: _read_listed(path / check_file_name(name), info)
            for name, info in listed.items()
            if name != WEIGHTS_FILE
        },
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
    if version > SPARSE_VERSION:
        raise ArtifactError(
            f"{path} was written in format version {version}; this danlu reads up to {SPARSE_VERSION}",
            hint="upgrade danlu",
        )
    return version


def _listed(document: dict[str, Any], version: int, path: Path) -> dict[str, dict[str, Any]]:
    """The size and SHA-256 of each file beside ``model.json``, which must be as it was written itself."""
    if version == 1:
        changed = "digest" in document or "files" in document
        listed = {WEIGHTS_FILE: _get(document, "weights", dict, path)}
    else:
        changed = document.get("digest") != digest_of(document)
        listed = _get(document, "files", dict, path)
    if changed:
        raise ArtifactError(
            f"{path / MODEL_FILE} is not as it was saved: its digest does not fit",
            hint="it was damaged, or changed by hand; copy the whole folder again, or train or save the model again",
        )
    if not isinstance(listed.get(WEIGHTS_FILE), dict) or not all(isinstance(info, dict) for info in listed.values()):
        raise ArtifactError(f"{path / MODEL_FILE} does not list {WEIGHTS_FILE} among its files")
    return listed


def _read_listed(path: Path, info: dict[str, Any]) -> bytes:
    """The bytes of a file that ``model.json`` lists, as they were written."""
    size = info.get("bytes")
    changed = "it was truncated or changed; copy the whole folder again, or train or save the model again"
    try:
        data = read_bytes(path, limit=size if type(size) is int else 0)
    except ArtifactError as error:
        raise ArtifactError(f"the saved model is not whole: {error.message}", hint=changed) from error
    found = listing(data)
    if found != {name: info.get(name) for name in found}:
        raise ArtifactError(
            f"{path} is not the file that was saved: its SHA-256 is {found['sha256'][:12]}…, "
            f"expected {str(info.get('sha256'))[:12]}…",
            hint=changed,
        )
    return data


def _sparse_forms(document: dict[str, Any], version: int, expected: Mapping[str, Any], path: Path) -> dict[str, str]:
    """The arrays that are written without their zeros, each with the form that it has."""
    forms = document["weights"].get("sparse", {})
    fine = isinstance(forms, dict) and (version == SPARSE_VERSION or not forms)
    if not fine or any(name not in expected or form not in FORMS for name, form in forms.items()):
        raise ArtifactError(f"{path / MODEL_FILE} has the sparse arrays {str(forms)[:60]}; expected its own, by form")
    return forms


def _read_weights(
    path: Path,
    info: dict[str, Any],
    expected: Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]],
    forms: Mapping[str, str],
) -> dict[str, np.ndarray]:
    sizes = {name: size_in_file(shape, dtype) for name, (shape, dtype) in expected.items()}
    declared = sum(size for name, size in sizes.items() if name not in forms)
    size = info.get("bytes")
    if type(size) is not int or declared > size:
        raise ArtifactError(f"{path} has {str(size)[:40]} bytes; the model's arrays need {declared:,}")
    data = _read_listed(path, info)
    from safetensors import SafetensorError, deserialize

    try:
        entries = deserialize(data)
    except SafetensorError as error:
        raise ArtifactError(f"{path} is not a safetensors file: {str(error)[:200]}") from error
    parts = {part for name, form in forms.items() for part in file_names(name, form)}
    known = {name for name in expected if name not in forms} | parts
    flat: dict[str, np.ndarray] = {}
    for name, entry in entries:
        dtype = _SAFETENSORS_NAMES.get(entry["dtype"])
        if name not in known or dtype is None:
            raise ArtifactError(f"{path} holds the array {name[:80]!r} ({entry['dtype']}), which was not expected")
        stored = np.frombuffer(entry["data"], dtype=DTYPES[dtype]).reshape(entry["shape"])
        array = unpacked(stored, *expected[name]) if name in expected else stored
        array.flags.writeable = False
        flat[name] = array
    flat = dense(flat, forms, {name: shape for name, (shape, _) in expected.items()})
    check_arrays(flat, expected)
    check_finite(flat)
    return flat


def _build_model(blueprint: dict[str, Any]) -> Any:
    import danlu.nn  # noqa: F401  (it defines the blueprints that a saved model is made of)

    try:
        model = from_json(blueprint)
    except ArtifactError:
        raise
    except Exception as error:  # a blueprint may refuse hostile values in any way it likes
        raise ArtifactError(f"the saved blueprint is not valid: {type(error).__name__}: {str(error)[:200]}") from error
    if not isinstance(model, Blueprint):
        raise ArtifactError(f"the saved blueprint is a {type(model).__name__}; expected a layer")
    return model
