"""A saved model in memory, and what its folder holds: ``model.json`` and ``weights.safetensors``, nothing that can run.

``model.json`` lists every other file with its SHA-256, and ends with a digest of itself. So a file cut short, a flipped bit or an
edit by hand is seen when the model is loaded. The digest is not a signature: anyone who can write the folder can write a matching digest.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from danlu.errors import ArtifactError

__all__ = ["FORMAT", "FORMAT_VERSION", "Artifact"]

FORMAT = "danlu-artifact"
FORMAT_VERSION = 3
SPARSE_VERSION = 4
"""Of a model some of whose arrays are written without their zeros; all others are of :data:`FORMAT_VERSION`."""
MODEL_FILE = "model.json"
WEIGHTS_FILE = "weights.safetensors"
TREES = ("params", "state", "encoder", "head")
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}")


@dataclasses.dataclass(frozen=True, eq=False)
class Artifact:
    """A saved model in memory.

    Attributes:
        model: the network's blueprint.
        params, state: its variables (NumPy arrays).
        task: what was learned: a name ("binary", …) or a dict of plain data.
        schema: what one row is made of, as plain JSON data.
        encoder: how a table becomes arrays, as plain JSON data; its arrays are in ``encoder_arrays``.
        encoder_arrays: arrays by name.
        head: how outputs become answers, as plain JSON data; its arrays are in ``head_arrays``. None before format version 3.
        classes: of format versions 1 and 2: the names of the classes in the order of the outputs.
        threshold: of format versions 1 and 2: the probability from which the second of two classes is predicted, or None.
        metrics: the test metrics, as plain JSON data.
        provenance: versions, time, data fingerprint, and what else the caller recorded.
        extra: further plain data of the caller's.
        files: further files of the caller's, their bytes by name.
        format_version: of the file it came from.
    """

    model: Any
    params: Any
    state: Any
    task: Any
    schema: Any = None
    encoder: Any = None
    encoder_arrays: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    head: Any = None
    head_arrays: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    classes: tuple[Any, ...] = ()
    threshold: float | None = None
    metrics: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    provenance: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    extra: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    files: Mapping[str, bytes] = dataclasses.field(default_factory=dict)
    format_version: int = FORMAT_VERSION

    @property
    def variables(self) -> tuple[Any, Any]:
        """``(params, state)``, as ``model.init`` returned them."""
        return self.params, self.state

    @property
    def parameter_count(self) -> int:
        """The number of trained parameters."""
        return sum(int(np.size(leaf)) for leaf in jax.tree_util.tree_leaves(self.params))

    def __repr__(self) -> str:
        task = self.task if isinstance(self.task, str) else dict(self.task).get("name", "…")
        return (
            f"Artifact(model={type(self.model).__name__}, task={task!r}, parameters={self.parameter_count:,}, "
            f"created={self.provenance.get('created')!r})"
        )


def check_finite(arrays: Mapping[str, np.ndarray]) -> None:
    """Raise ArtifactError when an array of the model holds NaN or infinity; the encoder's may, for a column without a value."""
    for name, array in arrays.items():
        if (
            not name.startswith("encoder/")
            and array.dtype.kind in "fV"
            and not np.isfinite(array.astype(np.float64)).all()
        ):
            found = "NaN" if np.isnan(array.astype(np.float64)).any() else "infinity"
            raise ArtifactError(
                f"the array {name!r} holds {found}; a model with {found} in it cannot predict",
                hint="train again with a lower learning rate or with gradient clipping",
            )


def check_file_name(name: Any) -> str:
    """``name``, if it can be one of the caller's files in an artifact: no path, not hidden, none of the artifact's own.

    Raises:
        ArtifactError: it cannot.
    """
    if not isinstance(name, str) or not _FILE_NAME.fullmatch(name) or name == MODEL_FILE:
        raise ArtifactError(
            f"{str(name)[:80]!r} cannot be a file of an artifact; expected letters, digits, '.', '_' and '-'"
        )
    return name


def listing(data: bytes) -> dict[str, Any]:
    """The entry of a file in ``model.json``: its SHA-256 and its size."""
    return {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}


def sealed(document: Mapping[str, Any]) -> dict[str, Any]:
    """``document`` with the digest that fits it."""
    return {**document, "digest": digest_of(document)}


def digest_of(document: Mapping[str, Any]) -> str:
    """The SHA-256 of a JSON document without its entry ``"digest"``, in its own order and without spaces.

    >>> digest_of({"a": 1, "digest": "x"}) == digest_of({"a": 1}) != digest_of({"a": 2})
    True
    """
    body = {key: value for key, value in document.items() if key != "digest"}
    try:
        text = json.dumps(body, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    except ValueError as problem:
        raise ArtifactError(f"the document holds a number that JSON cannot represent: {problem}") from problem
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def previous_of(target: Path) -> Path:
    """Where the replaced artifact is kept between the two renames."""
    target = Path(os.path.abspath(target))  # "." has no name of its own
    return target.parent / f".{target.name}.previous"


def is_saved(target: Path) -> bool:
    """Whether a folder is there, or what it replaced, which it may be left with after a kill."""
    return target.is_dir() or previous_of(target).is_dir()
