"""Recordings, each of one class: log-mel pictures of them go through the recipe for images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import numpy as np
import polars as pl

from danlu.blueprint import Blueprint, setting
from danlu.data import TargetEncoder, infer_task
from danlu.data.sounds import SoundEncoder, SoundSet, is_sound_source, read_sounds
from danlu.errors import DataError
from danlu.evaluate import Rows
from danlu.pipeline.config import TrainConfig
from danlu.pipeline.images import gallery
from danlu.pipeline.labelled import Labelled, PreparedRows, chosen_settings, drawn_parts, newly_read
from danlu.pipeline.used import COMMON, RECIPE
from danlu.tasks import Augment, Recipe, image_recipe
from danlu.trained import Read, Say, Trained

__all__ = ["Sounds"]


class Listening(Blueprint):
    """How recordings are looked at.

    Args:
        bands: bands of pitches, the rows of a picture.
        seconds: that are kept of a recording; None is as long as 95 % of the training recordings are, at most 10.
    """

    bands: int = setting(default=64, minimum=8, maximum=256, integer=True)
    seconds: float | None = setting(default=None, above=0, maximum=600, optional=True)


class Sounds(Labelled):
    """Recordings (``.wav``) in folders, one for each class."""

    kind = "sound"
    noun = "recordings"
    encoder = SoundEncoder
    sections: ClassVar[Mapping[str, type[Blueprint]]] = {"sound": Listening}
    uses = (
        *COMMON,
        *RECIPE,
        "augment.erase",
        "augment.mixup",
        "augment.translate",
        "evaluate.baseline_seconds",
        "imbalance.*",
        "model.width",
        "sound.*",
        "split.equal_rows",
        "split.method",
    )
    instead: ClassVar[Mapping[str, str]] = {"data.target": "the folders name the classes; leave --target out"}
    summarised = " of each pitch's mean and spread"

    def claims(self, config: TrainConfig, source: Any) -> bool:
        return is_sound_source(source)

    def prepare(self, config: TrainConfig, source: Any) -> PreparedRows:
        found = _labelled(read_sounds(source), source)
        labels: Any = found.labels
        inferred = infer_task(labels)
        target = TargetEncoder.fit(labels, task=inferred.task)

        def keys(rows: np.ndarray) -> Iterable[bytes]:
            return (found.sounds[row].samples.tobytes() for row in rows)

        parts, description, said = drawn_parts(config, labels, inferred.task, keys, noun="recordings", own=found.parts)
        tested, notices = found.rows(parts["test"]), [*found.notices, *inferred.notices, *said]
        if config.data.test is not None:
            tested = _labelled(read_sounds(config.data.test), config.data.test)
            notices += [f"test: {notice}" for notice in tested.notices]
        train = found.rows(parts["train"])
        encoder = SoundEncoder.fit(train.sounds, bands=config.sound.bands, seconds=config.sound.seconds)
        longer = sum(each.seconds > (encoder.frames + 2) * encoder.step / encoder.rate for each in found.sounds)
        if longer:
            notices.append(
                f"{longer:,} of {len(found):,} recordings are longer than {encoder.frames * encoder.step / encoder.rate:.1f} s; their "
                "middle is taken (sound.seconds sets how much)"
            )

        def encoded(part: SoundSet) -> tuple[np.ndarray, np.ndarray]:
            return encoder.transform(part.sounds), target.transform(part.labels)  # type: ignore[arg-type]

        return PreparedRows(
            inferred=inferred,
            target=target,
            encoder=encoder,
            train=encoded(train),
            validation=encoded(found.rows(parts["validation"])),
            test=encoded(tested) if len(tested) else None,
            rows={"train": len(train), "validation": len(parts["validation"]), "test": len(tested)},
            split=description,
            notices=tuple(notices),
        )

    def recipe(self, config: TrainConfig, prepared: PreparedRows) -> Recipe:
        chosen = chosen_settings(config.augment, ("translate", "erase", "mixup"))
        return image_recipe(
            prepared.target.task,
            prepared.rows["train"],
            prepared.encoder.in_shape,
            classes=prepared.target.units,
            augment=Augment(rotation=0.0, scale=0.0, shear=0.0, **chosen),
            **config.trainer.chosen(),
            **chosen_settings(config.model, ("width",)),
        )

    def rows(self, trained: Trained, source: Any, *, lenient: bool, say: Say) -> Read:
        found = newly_read(lambda: read_sounds(source), say, noun="recordings")
        return Read(found.sounds, found.labels, pl.Series("file", found.paths))

    def for_simple(self, inputs: np.ndarray) -> dict[str, np.ndarray]:
        """Of each band the mean and the standard deviation over time."""
        loud = inputs[..., 0].astype(np.float32) / 255
        return {"numeric": np.concatenate([loud.mean(axis=2), loud.std(axis=2)], axis=1)}

    def mistakes(self, prepared: PreparedRows, trained: Trained, rows: Rows) -> dict[str, Any]:
        return gallery(prepared, trained, rows)


def _labelled(found: SoundSet, source: Any) -> SoundSet:
    if found.labels is None:
        raise DataError(
            f"the recordings of {source} have no labels", hint="put those of each class into a folder of its own"
        )
    return found
