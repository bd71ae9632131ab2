"""Labelled images."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import polars as pl

from danlu.auditing import Audit
from danlu.blueprint import Blueprint
from danlu.data import TargetEncoder
from danlu.data.images import ImageEncoder, ImageSet, is_image_source, read_images
from danlu.data.images.read import listed_files
from danlu.errors import ConfigError, DataError
from danlu.evaluate import Rows
from danlu.explained import Asked, Explained, explain_pictures
from danlu.pipeline.config import TrainConfig
from danlu.pipeline.divided import Divided
from danlu.pipeline.domain import Simple
from danlu.pipeline.items import LabelledItems
from danlu.pipeline.labelled import Labelled, PreparedRows, caption_of
from danlu.pipeline.listed import audit_images
from danlu.pipeline.pictures import HELD, encoded_parts, keys, names_of, new_pictures
from danlu.pipeline.pixels import border, cells, memory_of
from danlu.pipeline.pretrain import BESIDE, PRETRAIN, begun, probed, read_unlabelled, said_of
from danlu.pipeline.used import COMMON, LABELLED, PICTURES, RECIPE, STREAMED
from danlu.stages import stage
from danlu.tasks import Recipe, image_recipe, private_image_recipe
from danlu.tasks.pretrain import Pretraining
from danlu.trained import Learned, Read, Say, Trained

__all__ = ["Images", "gallery"]

_LARGEST = 64  # the longest side that images keep by themselves
_BASELINE = 14  # the side to which images are averaged for the baselines
_PICTURES = 24
_LEAST_SURE = 8  # pictures of a test without a mistake


class Images(LabelledItems):
    """Pictures, each of one class."""

    kind = "image"
    noun = items = "images"
    encoder = ImageEncoder
    takes = (str, Path, np.ndarray)
    simple_names = ("commonest", "linear")
    sections: ClassVar[Mapping[str, type[Blueprint]]] = {"pretrain": Pretraining}
    options = (*Labelled.options, PRETRAIN)
    beside = (*Labelled.beside, *BESIDE)
    sources = ("pretrain.source",)
    uses = (
        *COMMON,
        RECIPE,
        *PICTURES,
        STREAMED,
        "augment.*",
        "pretrain.*",
        "private.*",
        "data.image_column|target|task",
        "trainer.adversarial",
        *LABELLED,
    )

    def claims(self, config: TrainConfig, source: Any) -> bool:
        return config.data.image_column is not None or is_image_source(source)

    def files(self, config: TrainConfig, source: str | Path) -> list[Path]:
        return listed_files(Path(source), config.data.image_column)

    def find(self, config: TrainConfig, source: Any, before: ImageSet | None = None) -> ImageSet:
        data = config.data
        if data.task == "regression":
            raise ConfigError("images are classified; data.task=regression is for tables")
        if data.task == "multilabel":
            raise ConfigError(
                "data.task=multilabel needs a table of image files and their labels, or an npz file with a matrix of 0 and 1",
                hint="name the column of the labels: --target COLUMN",
            )
        options: dict[str, Any] = {"path_column": data.image_column, "target": data.target or None}
        found = read_images(source, memory=memory_of(data), **options)
        if found.labels is None:
            raise DataError(
                f"the images of {source} have no labels",
                hint="put the images of each class into a folder of its own, or name the label: --target COLUMN",
            )
        unlabelled = int((found.labels.cast(pl.String) == "").sum())
        if unlabelled:
            raise DataError(
                f"{unlabelled} of {len(found)} images of {source} have no {data.target!r}; expected a label for each"
            )
        return dataclasses.replace(found, labels=found.labels.rename(data.target or "label"))

    def keys(self, found: ImageSet, rows: np.ndarray) -> Iterable[bytes]:
        return keys(found, rows)

    def names(self, labels: pl.Series) -> pl.Series:
        return labels.cast(pl.String)  # numbers are names here

    def leaves(self, config: TrainConfig) -> str:
        return "the classes, the sizes of the images, and whether they have colours"

    def encoded(self, config: TrainConfig, parts: Divided, target: TargetEncoder) -> dict[str, Any]:
        codes = target.transform(parts.found.labels)
        return encoded_parts(
            config,
            parts,
            lambda part, _: target.transform(part.labels),
            largest=_LARGEST,
            one=lambda row, _: codes[row],
        )

    def prepare(self, config: TrainConfig, source: Any) -> PreparedRows:
        prepared = super().prepare(config, source)
        if config.pretrain.source is None:
            return prepared
        test = None if prepared.test is None else prepared.test[0]
        unlabelled, said = read_unlabelled(config, prepared.encoder, test)
        return dataclasses.replace(prepared, unlabelled=unlabelled, notices=(*prepared.notices, *said))

    def learn(self, config: TrainConfig, prepared: PreparedRows, plan: Recipe, **how: Any) -> Learned:
        if prepared.unlabelled is None or "initial" in how:
            return super().learn(config, prepared, plan, **how)
        initial, record = begun(config, prepared.unlabelled, plan, prepared.sample()[0], **how)
        learned = super().learn(config, prepared, plan, initial=initial, **how)
        model = dataclasses.replace(learned.model, provenance={**learned.model.provenance, "pretraining": record})
        return dataclasses.replace(learned, model=model, notes=(*learned.notes, said_of(record)))

    def simple(self, config: TrainConfig, prepared: PreparedRows, trained: Trained, ours: Any) -> Iterable[Simple]:
        if prepared.unlabelled is not None and config.pretrain.compare:
            with stage("training from scratch, to compare"):
                plan = self.plan(config, prepared)
                scratch = super().learn(config, prepared, plan, display="none").model
            yield Simple("the same network from scratch", ours.with_prediction(scratch.answer(prepared.test[0])))
            yield from probed(config, prepared.unlabelled, prepared, ours)
        yield from super().simple(config, prepared, trained, ours)

    def report(self, prepared: PreparedRows, trained: Trained, judgement: Any) -> dict[str, Any]:
        fields, record = super().report(prepared, trained, judgement), trained.provenance.get("pretraining")
        return fields if record is None else {**fields, "facts": {**fields["facts"], "pretraining": said_of(record)}}

    def audit(self, config: TrainConfig, source: Any, *, against: Any, at: str | None, label_errors: bool) -> Audit:
        return audit_images(self, config, source, against=against, at=at, label_errors=label_errors)

    def recipe(self, config: TrainConfig, prepared: PreparedRows) -> Recipe:
        if config.private.on:
            return private_image_recipe(
                prepared.target.task,
                prepared.rows["train"],
                prepared.encoder.in_shape,
                classes=prepared.target.units,
                augment=None if config.augment == type(config.augment)() else config.augment,
                **config.decided("width"),
            )
        return image_recipe(
            prepared.target.task,
            prepared.rows["train"],
            prepared.encoder.in_shape,
            classes=prepared.target.units,
            augment=config.augment,
            fill=border(prepared.sample()[0]) / 127.5 - 1,
            **config.decided("width"),
        )

    def rows(self, trained: Trained, source: Any, *, lenient: bool, say: Say) -> Read:
        name = trained.head.target.name
        table = isinstance(source, str | Path) and Path(source).is_file() and not is_image_source(source)
        listed = (lambda: read_images(source, target=name, memory=HELD)) if table else None
        found = new_pictures(source, listed, say)
        return Read(found.images, found.labels, names_of(found.paths))

    def explain(self, trained: Trained, found: Read, asked: Asked) -> list[Explained]:
        return explain_pictures(trained, found.rows, asked)

    def mistakes(self, prepared: PreparedRows, trained: Trained, rows: Rows) -> dict[str, Any]:
        return gallery(prepared, trained, rows)

    def for_simple(self, inputs: np.ndarray) -> dict[str, np.ndarray]:
        """Means over cells, 14 a side at most, in 0 … 1; boosting on thousands of pixels takes longer than the network."""
        return {"numeric": cells(inputs, _BASELINE)}


def gallery(prepared: PreparedRows, trained: Trained, rows: Rows) -> dict[str, Any]:
    """The test images whose true class was given the least probability, where the network looked and what each pixel added.

    Of a test without a mistake they are those that the network was least sure of.
    """
    from danlu.explain import grad_cam, pixel_attribution
    from danlu.report import heat_over, png_uri
    from danlu.report.words import adding_up

    pictures, worst = () if prepared.test is None else prepared.test[0], rows.worst(_PICTURES)
    title = "The largest mistakes"
    if not len(worst):
        title, worst = (
            "No mistake: those that it was least sure of",
            np.argsort(rows.of_truth, kind="stable")[:_LEAST_SURE],
        )
    if not len(worst):
        return {}
    picked = np.resize(worst, _PICTURES)  # of one size: one compilation
    images, chosen = np.asarray(pictures)[picked], rows.chosen[picked]
    ground, network = round(border(prepared.sample()[0])), trained.one
    seen = grad_cam(*network, images, chosen)
    gained, gap = pixel_attribution(*network, images, chosen, ground)
    shown = []
    for row, image, heat, gain in zip(worst, images, seen, gained, strict=False):
        pair = {"seen": png_uri(heat_over(image, heat)), "gained": png_uri(heat_over(image, gain))}
        shown.append({"image": png_uri(image), **pair, "caption": caption_of(rows, row, prepared.target)})
    note = (
        "Orange: what spoke for the predicted class; in the middle the regions (Grad-CAM), on the right the pixels, with those that spoke "
        f"against it in blue (integrated gradients from a plain image of brightness {ground}). "
        + adding_up(gap, "the difference of the logits")
    )
    return {"gallery": shown, "mistakes_title": title, "mistakes_note": note}
