"""Recordings, each of one class: log-mel pictures of them go through the recipe for images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import polars as pl

from danlu.blueprint import Blueprint, setting
from danlu.data import InferredTask, TargetEncoder, infer_task
from danlu.data.sounds import SoundEncoder, SoundSet, is_sound_source, read_sounds
from danlu.evaluate import Rows
from danlu.explained import PARTS_OF_A_SOUND, Asked, Explained, explain_pictures
from danlu.pipeline.config import TrainConfig
from danlu.pipeline.divided import Divided
from danlu.pipeline.images import gallery
from danlu.pipeline.items import LabelledItems, newly_read
from danlu.pipeline.labelled import PreparedRows
from danlu.pipeline.used import COMMON, LABELLED, RECIPE
from danlu.tasks import Augment, Recipe, image_recipe
from danlu.trained import Read, Say, Trained

__all__ = ["Sounds"]


class Listening(Blueprint):
    """How recordings become pictures.

    Args:
        n_mels: bands of pitches on the mel scale, the rows of a picture.
        seconds: that are kept of a recording; None is as long as 95 % of the training recordings are, at most 10.
    """

    n_mels: int = setting(default=64, minimum=8, maximum=256, integer=True)
    seconds: float | None = setting(default=None, above=0, maximum=600, optional=True)


class Sounds(LabelledItems):
    """Recordings (``.wav``) in folders, one for each class."""

    kind = "sound"
    noun = items = "recordings"
    label_hint = "put those of each class into a folder of its own"
    encoder = SoundEncoder
    takes = (str, Path)
    sections: ClassVar[Mapping[str, type[Blueprint]]] = {"sound": Listening}
    uses = (
        *COMMON,
        RECIPE,
        "augment.erase|mixup|translate",
        *LABELLED,
        "model.width",
        "sound.*",
        "split.equal_rows|method",
    )
    instead: ClassVar[Mapping[str, str]] = {"data.target": "the folders name the classes; leave --target out"}
    summarised = " of each pitch's mean and spread"

    def claims(self, config: TrainConfig, source: Any) -> bool:
        return is_sound_source(source)

    def find(self, config: TrainConfig, source: Any, before: SoundSet | None = None) -> SoundSet:
        return read_sounds(source)

    def keys(self, found: SoundSet, rows: np.ndarray) -> Iterable[bytes]:
        return (found.sounds[row].samples.tobytes() for row in rows)

    def infer(self, config: TrainConfig, labels: pl.Series) -> InferredTask:
        return infer_task(labels)

    def leaves(self, config: TrainConfig) -> str:
        return "the classes, how long recordings are, at what rate, and how loud"

    def encoded(self, config: TrainConfig, parts: Divided, target: TargetEncoder) -> dict[str, Any]:
        found, settings = parts.found, config.sound
        train = found.rows(parts.places["train"])
        encoder = SoundEncoder.fit(train.sounds, bands=settings.n_mels, seconds=settings.seconds)
        longer = sum(each.seconds > (encoder.frames + 2) * encoder.step / encoder.rate for each in found.sounds)
        if longer:
            parts.notices.append(
                f"{longer:,} of {len(found):,} recordings are longer than {encoder.frames * encoder.step / encoder.rate:.1f} s; their "
                "middle is taken (sound.seconds sets how much)"
            )
        return parts.encoded(encoder, lambda part: part.sounds, lambda part: target.transform(part.labels))

    def recipe(self, config: TrainConfig, prepared: PreparedRows) -> Recipe:
        augment = config.augment
        return image_recipe(
            prepared.target.task,
            prepared.rows["train"],
            prepared.encoder.in_shape,
            classes=prepared.target.units,
            augment=Augment(False, 0.0, 0.0, 0.0, augment.translate, augment.erase, mixup=augment.mixup),
            **config.decided("width"),
        )

    def rows(self, trained: Trained, source: Any, *, lenient: bool, say: Say) -> Read:
        found = newly_read(lambda: read_sounds(source), say, parts_of="recordings")
        return Read(found.sounds, found.labels, pl.Series("file", found.paths))

    def explain(self, trained: Trained, found: Read, asked: Asked) -> list[Explained]:
        return explain_pictures(trained, found.rows, asked, parts=PARTS_OF_A_SOUND)

    def for_simple(self, inputs: np.ndarray) -> dict[str, np.ndarray]:
        """The mean and the standard deviation of each band over time."""
        loud = inputs[..., 0].astype(np.float32) / 255
        return {"numeric": np.concatenate([loud.mean(axis=2), loud.std(axis=2)], axis=1)}

    def mistakes(self, prepared: PreparedRows, trained: Trained, rows: Rows) -> dict[str, Any]:
        return gallery(prepared, trained, rows)
