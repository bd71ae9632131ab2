"""A saved model in memory, and what its folder holds: ``model.json`` and ``weights.safetensors``, nothing that can run."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from danlu.errors import ArtifactError

__all__ = ["FORMAT", "FORMAT_VERSION", "Artifact"]

FORMAT = "danlu-artifact"
FORMAT_VERSION = 1
MODEL_FILE = "model.json"
WEIGHTS_FILE = "weights.safetensors"
TREES = ("params", "state", "encoder")


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


def check_finite(arrays: Mapping[str, np.ndarray]) -> None:
    """Raise ArtifactError when an array of the model holds NaN; the encoder may."""
    for name, array in arrays.items():
        if not name.startswith("encoder/") and array.dtype.kind in "fV" and np.isnan(array.astype(np.float32)).any():
            raise ArtifactError(
                f"the array {name!r} holds NaN; a model with NaN in it predicts nothing",
                hint="train again with a lower learning rate or with gradient clipping",
            )


def previous_of(target: Path) -> Path:
    """Where the artifact being replaced waits for the moment between two renames."""
    return target.with_name(f".{target.name}.previous")
