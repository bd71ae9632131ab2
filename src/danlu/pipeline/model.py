"""A trained model as the user meets it: saved, loaded, asked for predictions and measured on new data."""

from __future__ import annotations

import dataclasses
import html
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from danlu.artifact import Artifact, load_artifact, save_artifact
from danlu.data import TableEncoder, TargetEncoder, check_frame, drop_missing_target, read_table
from danlu.data.images import ImageEncoder, read_images
from danlu.data.images.encode import check_pixels
from danlu.errors import ArtifactError, SchemaError
from danlu.pipeline.judge import Judgement, judge, rows_of
from danlu.tasks import Predictor

__all__ = ["Model", "load", "save_model"]


def _warn(notice: str) -> None:
    print(f"note: {notice}", file=sys.stderr)


@dataclasses.dataclass(frozen=True, eq=False)
class Model:
    """A trained model that checks what it is given.

    Attributes:
        predictor: the model itself.
        metrics: its test scores.
        provenance: versions, time, and what it was trained on.
    """

    predictor: Predictor
    metrics: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    provenance: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def _read(
        self, source: Any, *, lenient: bool, say: Callable[[str], None]
    ) -> tuple[Any, pl.Series | None, pl.Series | None]:
        """What the encoder takes, the target where the source has it, and the names of image files."""
        encoder, name = self.predictor.encoder, self.predictor.target.name
        if isinstance(encoder, ImageEncoder):
            if isinstance(source, np.ndarray):
                return check_pixels(source, "the array"), None, None
            found = read_images(source, target=name if Path(source).suffix not in (".npz", "") else None)
            for notice in found.notices:
                say(notice)
            paths = None if found.paths is None else pl.Series("file", found.paths)
            if found.parts is None or "test" not in found.parts:
                return found.images, found.labels, paths
            rows = np.flatnonzero(found.parts == "test")
            say(f"the source has parts; its {len(rows)} test images are taken")
            images = (
                found.images[rows] if isinstance(found.images, np.ndarray) else [found.images[int(r)] for r in rows]
            )
            return images, None if found.labels is None else found.labels[rows], None if paths is None else paths[rows]
        frame = source if isinstance(source, pl.DataFrame) else read_table(source).frame
        checked, notices = check_frame(frame, encoder.schema, lenient=lenient)
        for notice in notices:
            say(notice)
        return checked, frame[name] if name in frame.columns else None, None

    def predict_values(self, source: Any, *, lenient: bool = False, say: Callable[[str], None] = _warn) -> np.ndarray:
        """Probabilities ``(rows, classes)`` or values ``(rows,)`` for a file, a frame, a folder or an array of images.

        Args:
            lenient: whether unseen categories and odd values are taken as unknown, with a note, instead of refused.
            say: called with each notice.

        Raises:
            SchemaError: columns or values that do not fit what the model was trained on.
        """
        return self.predictor.predict_values(self._read(source, lenient=lenient, say=say)[0])

    def predict(self, source: Any, *, lenient: bool = False, say: Callable[[str], None] = _warn) -> pl.DataFrame:
        """The prediction, and each class's probability, a row a row (or image) of ``source``; arguments as above."""
        rows, _, names = self._read(source, lenient=lenient, say=say)
        frame = self.predictor.frame(self.predictor.predict_values(rows))
        return frame if names is None else frame.insert_column(0, names)

    def evaluate(
        self, source: Any, *, lenient: bool = False, say: Callable[[str], None] = _warn, resamples: int = 1000
    ) -> Judgement:
        """The scores, with intervals, on a source that holds the target.

        Raises:
            SchemaError: columns or values that do not fit what the model was trained on, or no target.
        """
        target = self.predictor.target
        rows, truth, _ = self._read(source, lenient=lenient, say=say)
        if truth is None:
            raise SchemaError(f"the data lacks the target {target.name!r}, which evaluation needs")
        if isinstance(rows, pl.DataFrame):
            rows, dropped = drop_missing_target(rows.with_columns(truth.alias(target.name)), target.name)
            labels, respelt = target.normalise(rows[target.name])
            for notice in (*dropped, *respelt):
                say(notice)
            if not rows.height:
                raise SchemaError(f"no row has a value for the target {target.name!r}")
        else:
            labels = truth
        inputs: Any = self.predictor.encoder.transform(rows)
        return judge(rows_of(self.predictor, (inputs, target.transform(labels))), self.predictor, resamples=resamples)

    def __repr__(self) -> str:
        target = self.predictor.target
        shown = ", ".join(f"{name}={value:.4g}" for name, value in self.metrics.items() if isinstance(value, float))
        return f"Model({target.task} of {target.name!r}{', ' + shown if shown else ''})"

    def _repr_html_(self) -> str:
        said, encoder = html.escape(repr(self)), self.predictor.encoder
        shown = html.escape(repr(encoder)) if isinstance(encoder, ImageEncoder) else encoder.schema._repr_html_()
        return f"<p><b>{said}</b></p>{shown}"


def save_model(
    folder: str | Path, model: Predictor, *, metrics: Mapping[str, Any], provenance: Mapping[str, Any]
) -> None:
    """Write ``model`` as an artifact."""
    if isinstance(model.encoder, ImageEncoder):
        schema: Any = None
        description: Any = model.encoder.to_json()
        arrays: dict[str, np.ndarray] = {}
    else:
        schema, (description, arrays) = model.encoder.schema.to_json(), model.encoder.state()
    save_artifact(
        folder,
        model=model.network,
        variables=(model.params, model.state),
        task=model.target.to_json(),
        schema=schema,
        encoder=description,
        encoder_arrays=arrays,
        classes=model.target.classes,
        threshold=model.threshold if model.target.task == "binary" else None,
        metrics=metrics,
        provenance=provenance,
    )


def load(path: str | Path) -> Model:
    """The trained model of a run directory, or of an artifact folder.

    Raises:
        ArtifactError: there is none, or it is damaged.
    """
    folder = Path(path)
    unfinished = (folder / "config.json").is_file() and not (folder / "artifact").is_dir()
    if unfinished:
        raise ArtifactError(f"the run {folder} has no model yet", hint=f"finish it: danlu train --resume {folder}")
    return _model(load_artifact(folder / "artifact" if (folder / "artifact").is_dir() else folder))


def _model(artifact: Artifact) -> Model:
    described = artifact.encoder
    of_images = isinstance(described, Mapping) and described.get("kind") == "image"
    encoder = (
        ImageEncoder.from_json(described) if of_images else TableEncoder.from_state(described, artifact.encoder_arrays)
    )
    predictor = Predictor(
        artifact.model,
        artifact.params,
        artifact.state,
        encoder,
        TargetEncoder.from_json(artifact.task),
        0.5 if artifact.threshold is None else float(artifact.threshold),
    )
    return Model(predictor, artifact.metrics, artifact.provenance)
