"""Predict and evaluate with a trained run on new data."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from danlu.artifact import Artifact, load_artifact
from danlu.data import TableEncoder, check_frame, drop_missing_target, read_table
from danlu.engine import Program
from danlu.engine.fitted import Fitted
from danlu.errors import ArtifactError, SchemaError
from danlu.pipeline.scores import score
from danlu.tasks import TableTask

__all__ = ["Model", "load"]


@dataclasses.dataclass(frozen=True)
class Model:
    """A trained table model, loaded from its artifact.

    Attributes:
        artifact: what was loaded.
        task: the target and how outputs become predictions.
        encoder: turns a frame into the network's inputs.
    """

    artifact: Artifact
    task: TableTask
    encoder: TableEncoder

    def _frame(self, source: Any, *, lenient: bool = False) -> pl.DataFrame:
        frame = source if isinstance(source, pl.DataFrame) else read_table(source).frame
        checked, notices = check_frame(frame, self.encoder.schema, lenient=lenient)
        for notice in notices:
            print(f"note: {notice}", file=sys.stderr)
        if self.task.target in frame.columns and self.task.target not in checked.columns:
            checked = checked.with_columns(frame[self.task.target])
        return checked

    def predict_values(self, source: Any, *, lenient: bool = False) -> np.ndarray:
        """Probabilities ``(rows, classes)`` or values ``(rows,)`` for a file or frame.

        Args:
            lenient: whether unseen categories and odd values are taken as unknown, with a note, instead of refused.

        Raises:
            SchemaError: columns or values that do not fit what the model was trained on.
        """
        inputs = self.encoder.transform(self._frame(source, lenient=lenient))
        program = Program(self.artifact.model, _no_loss, _no_update)
        fitted = Fitted(program, self.artifact.params, self.artifact.state, [], None)  # type: ignore[arg-type]
        return self.task.predict(fitted.predict(inputs))

    def predict(self, source: Any, *, lenient: bool = False) -> pl.DataFrame:
        """The prediction, and each class's probability, a row a row of ``source``."""
        return self.task.frame(self.predict_values(source, lenient=lenient))

    def evaluate(self, source: Any, *, lenient: bool = False) -> dict[str, float]:
        """The scores on a file or frame that holds the target."""
        frame = self._frame(source, lenient=lenient)
        if self.task.target not in frame.columns:
            raise SchemaError(f"the data lacks the target {self.task.target!r}, which evaluation needs")
        frame, _ = drop_missing_target(frame, self.task.target)
        return score(self.task, frame[self.task.target], self.predict_values(frame, lenient=True))


def _no_loss(outputs: Any, targets: Any) -> Any:
    raise ArtifactError("a loaded model predicts; it does not train")


def _no_update(grads: Any, state: Any, params: Any = None) -> Any:
    raise ArtifactError("a loaded model predicts; it does not train")


def load(path: str | Path) -> Model:
    """The trained model of a run directory, or of an artifact folder.

    Raises:
        ArtifactError: there is none, or it is damaged.
    """
    folder = Path(path)
    artifact = load_artifact(folder / "artifact" if (folder / "artifact").is_dir() else folder)
    return Model(
        artifact, TableTask.from_json(artifact.task), TableEncoder.from_state(artifact.encoder, artifact.encoder_arrays)
    )
