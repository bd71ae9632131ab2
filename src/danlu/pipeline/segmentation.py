"""Segmentation: images with masks, which give the class of every pixel."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from danlu.artifact import Artifact
from danlu.blueprint import Blueprint
from danlu.data.images import ImageEncoder, ImageFiles, MaskSet, is_mask_source, read_masks
from danlu.data.images.masks import as_codes, code_table
from danlu.data.threads import ordered
from danlu.errors import ConfigError, DataError, SchemaError
from danlu.evaluate import MaskCounts
from danlu.evaluate.judgement import Judgement
from danlu.evaluate.pixels import CommonestClass, PixelRegression
from danlu.nn.losses import VOID, SegmentationLoss, pixel_accuracy
from danlu.pipeline.config import TrainConfig
from danlu.pipeline.domain import Simple
from danlu.pipeline.pictures import HELD, Pictures, PreparedPictures, divided, encoded_parts
from danlu.pipeline.pixels import border, memory_of
from danlu.pipeline.used import COMMON, PICTURES, RECIPE, STREAMED
from danlu.prose import percent
from danlu.report.masks import segmentation_sections, write_masks
from danlu.tasks import Masks, Recipe, Segmentation, segmentation_recipe
from danlu.tasks.segmentation import unet_levels
from danlu.trained import Read, Say, Trained

__all__ = ["PreparedMasks", "Segmentations"]

_LARGEST = 128  # the longest side that images keep by themselves
_FOR_BASELINES = 400  # training images that the baselines learn from


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class PreparedMasks(PreparedPictures):
    """Encoded images with the class numbers of their pixels."""

    def lines(self) -> Iterable[str]:
        classes = self.head.classes
        some = ", ".join(classes[:10]) + (", …" if len(classes) > 10 else "")
        yield f"{self.told()} with masks of {len(classes)} classes: {some}"
        shares = np.bincount(self.sample(200)[1].ravel(), minlength=256)[: len(classes)]
        commonest = int(shares.argmax())
        yield f"{percent(shares[commonest] / max(shares.sum(), 1))} of the pixels are {classes[commonest]}"


class Segmentations(Pictures):
    """Images with a class for every pixel."""

    kind = "segmentation"
    noun = "images with masks"
    sections: ClassVar[Mapping[str, type[Blueprint]]] = {"segmentation": Segmentation}
    head = Masks
    uses = (
        *COMMON,
        RECIPE,
        *PICTURES,
        STREAMED,
        "augment.color|erase|flip|rotation|scale|shear|translate",
        "model.depth",
        "segmentation.*",
    )
    searched_by = ("mean_iou",)
    instead: ClassVar[Mapping[str, str]] = {"data.target": "the masks are what is predicted; leave --target out"}

    def claims(self, config: TrainConfig, source: Any) -> bool:
        return config.data.image_column is None and is_mask_source(source)

    def prepare(self, config: TrainConfig, source: Any) -> PreparedMasks:
        def read(source: Any, before: MaskSet | None = None) -> MaskSet:
            return read_masks(source, memory=memory_of(config.data))

        def grain(height: int, width: int) -> int:
            levels = config.model.depth or unet_levels(height, width)
            if 2 ** (levels - 1) > min(height, width) / 2:
                raise ConfigError(
                    f"model.depth={levels} halves images of {height}×{width} {levels - 1} times; expected 2 pixels or more at the end"
                )
            return 2 ** (levels - 1)

        parts = divided(config, source, read, noun="images")
        head = _head([parts.found, parts.tested], config.segmentation.ignore)
        if head.ignore is not None:
            parts.notices.append(
                f"pixels of the value {head.ignore} in masks are not counted; segmentation.ignore=-1 makes them a class"
            )
        table = _table(head)
        encoded = encoded_parts(
            config,
            parts,
            lambda part, encoder: self.truth(part, encoder, head),
            largest=_LARGEST,
            multiple=grain,
            one=lambda row, encoder: as_codes(parts.found.masks[row], table, encoder.height, encoder.width),
        )
        if isinstance(encoded["train"], tuple):
            learnt = set(np.unique(encoded["train"][1]).tolist())
            lacking = [name for code, name in enumerate(head.classes) if code not in learnt]
            parts.notices.extend([f"no training mask has {', '.join(lacking[:5])}"] if lacking else [])
        return PreparedMasks(**self.fields(parts, head, **encoded))

    def truth(self, found: MaskSet, encoder: ImageEncoder, head: Masks) -> np.ndarray:
        codes, table = np.empty((len(found), encoder.height, encoder.width), np.uint8), _table(head)

        def one(row: int) -> np.ndarray:
            return as_codes(found.masks[row], table, encoder.height, encoder.width)

        rows = range(len(found))
        for row, mask in enumerate(ordered(one, rows) if isinstance(found.masks, ImageFiles) else map(one, rows)):
            codes[row] = mask
        return codes

    def plan(self, config: TrainConfig, prepared: PreparedMasks) -> Recipe:
        return segmentation_recipe(
            prepared.rows["train"],
            prepared.encoder.in_shape,
            classes=len(prepared.head.classes),
            augment=config.augment,
            fill=border(prepared.sample(1000)[0]),
            **config.decided("width", "depth"),
        )

    def measures(self, config: TrainConfig, plan: Recipe) -> dict[str, Any]:
        return {"loss": SegmentationLoss(dice=config.segmentation.dice), "metrics": [pixel_accuracy]}

    def simple(self, config: TrainConfig, prepared: PreparedMasks, trained: Trained, ours: Any) -> Iterable[Simple]:
        images, masks = prepared.sample(_FOR_BASELINES)
        inputs, true = prepared.test or prepared.validation
        simple = (CommonestClass(masks), PixelRegression(images, masks, seed=config.trainer.seed))
        for each in simple:
            theirs = MaskCounts.of(each.segment(inputs), true, classes=len(prepared.head.classes))
            yield Simple(each.label, theirs)

    def old_head(self, artifact: Artifact) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        told: Any = artifact.task if isinstance(artifact.task, Mapping) else {}
        return {"classes": artifact.classes, "values": told.get("values"), "ignore": told.get("ignore")}, {}

    def read(self, trained: Trained, source: Any, *, lenient: bool, say: Say, truth: bool = False) -> Read:
        head = trained.head

        def read() -> MaskSet:
            found = read_masks(source, memory=HELD)
            strange = [str(value) for value in found.values if value not in (*head.values, head.ignore)]
            if truth and strange and not lenient:
                raise SchemaError(
                    f"the masks of {source} hold the values {', '.join(strange[:8])}; the model knows "
                    f"{', '.join(map(str, head.values[:20]))}",
                    hint="--lenient ignores their pixels",
                )
            if truth and strange:
                say(f"pixels of the values {', '.join(strange[:8])} are not counted: the model does not know them")
            return found

        masked = truth or is_mask_source(source)
        return self.taken(trained, source, read if masked else None, say, truth=truth, numbered=True)

    def purpose(self, trained: Trained) -> str:
        return f"the class of every pixel, of {len(trained.head.classes)} classes"

    def write(
        self, trained: Trained, source: Any, output: str | Path, *, keep: str | Sequence[str], lenient: bool, say: Say
    ) -> str:
        """Write masks as PNG files into the folder ``output``, or the shares where ``output`` is a file such as ``shares.csv``."""
        if Path(output).suffix and not Path(output).is_dir():
            return super().write(trained, source, output, keep=keep, lenient=lenient, say=say)
        return write_masks(trained.masks(source, say=say), Path(output), trained.head.values)

    def next_steps(self, trained: Trained, run: str, source: str) -> tuple[tuple[str, ...], ...]:
        return (("predict", run, source, "-o", "masks"),)

    def report(self, prepared: PreparedMasks, trained: Trained, judgement: Judgement | None) -> dict[str, Any]:
        height, width, _ = prepared.encoder.in_shape
        sections: list[tuple[str, str]] = []
        if prepared.test is not None and judgement is not None:
            inputs, true = prepared.test
            sections = segmentation_sections(
                inputs, true, trained.answer(inputs), prepared.short_names(), prepared.head.classes
            )
        facts = {"measured at": f"{height}×{width} pixels"}
        return {"target": "the class of every pixel", "task": self.kind, "facts": facts, "sections": sections}


def _head(found: Sequence[MaskSet], asked: int | None) -> Masks:
    """The classes of masks, and the value that is not counted."""
    names = {value: name for each in reversed(found) for value, name in zip(each.values, each.names, strict=True)}
    ignore = asked if asked is not None and asked >= 0 else None
    if asked is None and VOID in names and len(names) > 2:
        ignore = VOID
    values = sorted(value for value in names if value != ignore)
    if len(values) < 2:
        raise DataError(
            f"the masks hold only the value {values[0]} apart from pixels that are not counted; expected two classes or more"
        )
    return Masks(tuple(names[value] for value in values), tuple(values), ignore)


def _table(head: Masks) -> np.ndarray:
    """The class number of each value; see :func:`~danlu.data.images.masks.code_table`."""
    return code_table({value: code for code, value in enumerate(head.values)})
