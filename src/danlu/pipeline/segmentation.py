"""Images with masks, from which telling the class of every pixel is learnt."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import polars as pl

from danlu.artifact import Artifact, save_artifact
from danlu.data.images import ImageEncoder, ImageFiles, MaskSet, PixelStream, is_mask_source, read_images, read_masks
from danlu.data.images.encode import check_pixels
from danlu.data.images.files import ordered
from danlu.data.images.masks import as_codes, code_table
from danlu.errors import ArtifactError, ConfigError, DataError, SchemaError
from danlu.evaluate import Interval, MaskCounts, compare
from danlu.evaluate.pixels import CommonestClass, PixelRegression
from danlu.files import replacing
from danlu.nn.losses import VOID
from danlu.pipeline.answers import SUFFIXES
from danlu.pipeline.config import TrainConfig
from danlu.pipeline.domain import Domain, Prepared
from danlu.pipeline.judge import Judgement
from danlu.pipeline.labelled import chosen_settings
from danlu.pipeline.model import Model, Say, warn
from danlu.pipeline.pictures import border, check_random, divided, encoder_for, memory_of, streamed
from danlu.pipeline.used import COMMON, RECIPE
from danlu.report.masks import class_colors, segmentation_sections
from danlu.tasks import Recipe, Segmenter, learn_segmentation, segmentation_recipe
from danlu.tasks.segmentation import unet_levels

__all__ = ["Painter", "PreparedMasks", "Segmentations"]

_LARGEST = 128  # the longest side that images keep by themselves
_FOR_BASELINES = 400  # training images that the baselines learn from
_HELD = 2**31  # bytes of images that predicting holds at once

Part = tuple[np.ndarray, np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class PreparedMasks(Prepared):
    """Encoded images with the class numbers of their pixels.

    Attributes:
        encoder: what images are brought to, fitted on the training images.
        classes, values: the names of the classes, and their values in masks.
        ignore: the value of pixels that are not counted, or None.
        train: the training part, or a stream of it.
        validation, test: the other parts; None without test images.
        names: of the test images.
    """

    encoder: ImageEncoder
    classes: tuple[str, ...]
    values: tuple[int, ...]
    ignore: int | None
    train: Part | PixelStream
    validation: Part
    test: Part | None
    names: tuple[str, ...]

    def lines(self) -> Iterable[str]:
        height, width, channels = self.encoder.in_shape
        kind = "colour" if channels == 3 else "grey"
        some = ", ".join(self.classes[:10]) + (", …" if len(self.classes) > 10 else "")
        yield (
            f"{sum(self.rows.values()):,} images of {height}×{width} ({kind}) with masks of {len(self.classes)} classes: {some}"
        )
        shares = np.bincount(self.sample(200)[1].ravel(), minlength=256)[: len(self.classes)]
        commonest = int(shares.argmax())
        yield f"{shares[commonest] / max(shares.sum(), 1):.0%} of the pixels are {self.classes[commonest]}"

    def sample(self, rows: int) -> Part:
        """So many training rows, in memory."""
        if isinstance(self.train, PixelStream):
            return self.train.arrays(limit=rows)
        return self.train[0][:rows], self.train[1][:rows]


class Segmentations(Domain):
    """Images whose every pixel is of one class."""

    kind = "segmentation"
    noun = "images with masks"
    uses = (
        *COMMON,
        *RECIPE,
        "augment.color",
        "augment.erase",
        "augment.flip",
        "augment.rotation",
        "augment.scale",
        "augment.shear",
        "augment.translate",
        "data.image_size",
        "data.memory",
        "data.stream",
        "model.depth",
        "model.width",
        "segmentation.*",
        "split.equal_rows",
        "split.method",
    )
    instead: ClassVar[Mapping[str, str]] = {"data.target": "the masks say the class of every pixel; leave --target out"}

    def claims(self, config: TrainConfig, source: Any) -> bool:
        return config.data.image_column is None and is_mask_source(source)

    def prepare(self, config: TrainConfig, source: Any) -> PreparedMasks:
        data = config.data
        check_random(config, "images")
        found = read_masks(source, memory=memory_of(data))
        places, said, twins = divided(config, found.images, found.parts)
        apart = None if data.test is None else read_masks(data.test, memory=memory_of(data))
        codes, names, ignore = _classes([found] if apart is None else [found, apart], config.segmentation.ignore)
        notices = [*found.notices, *twins, *([] if apart is None else [f"test: {notice}" for notice in apart.notices])]
        if ignore is not None:
            notices.append(
                f"pixels of the value {ignore} in masks are not counted; segmentation.ignore=-1 makes them a class"
            )

        def grain(height: int, width: int) -> int:
            levels = config.model.depth or unet_levels(height, width)
            if 2 ** (levels - 1) > min(height, width) / 2:
                raise ConfigError(
                    f"model.depth={levels} halves images of {height}×{width} {levels - 1} times; expected 2 pixels or more at the end"
                )
            return 2 ** (levels - 1)

        encoder, resized = encoder_for(
            found.rows(places["train"]).images,
            data.image_size,
            largest=_LARGEST,
            multiple=grain,
        )
        notices += [resized] if resized else []
        table = code_table(codes)
        height, width, channels = encoder.in_shape
        images, masks = found.images, found.masks

        def load(row: int) -> tuple[np.ndarray, np.ndarray]:
            return encoder.one(images[row]), as_codes(masks[row], table, height, width)

        stream, told = streamed(config, images, places["train"], height * width * (channels + 1), load)
        notices += [told] if told else []
        tested = apart if apart is not None else found.rows(places["test"])
        prepared = PreparedMasks(
            encoder=encoder,
            classes=names,
            values=tuple(codes),
            ignore=ignore,
            train=stream or _encoded(found.rows(places["train"]), encoder, table),
            validation=_encoded(found.rows(places["validation"]), encoder, table),
            test=_encoded(tested, encoder, table) if len(tested) else None,
            names=tested.paths,
            rows={**{name: len(rows) for name, rows in places.items()}, "test": len(tested)},
            split=said,
            notices=tuple(notices),
        )
        return dataclasses.replace(prepared, notices=(*notices, *_unseen(prepared)))

    def plan(self, config: TrainConfig, prepared: PreparedMasks) -> Recipe:
        return segmentation_recipe(
            prepared.rows["train"],
            prepared.encoder.in_shape,
            classes=len(prepared.classes),
            augment=config.augment,
            fill=border(prepared.sample(1000)[0]),
            **config.trainer.chosen(),
            **chosen_settings(config.model, ("width", "depth")),
        )

    def learn(self, config: TrainConfig, prepared: PreparedMasks, plan: Recipe, **how: Any) -> Any:
        return learn_segmentation(
            prepared.train,
            encoder=prepared.encoder,
            classes=prepared.classes,
            values=prepared.values,
            ignore=prepared.ignore,
            plan=plan,
            rows=prepared.rows["train"],
            validation=prepared.validation,
            settings=config.segmentation,
            seed=config.trainer.seed,
            **how,
        )

    def judge(self, config: TrainConfig, prepared: PreparedMasks, trained: Segmenter) -> Judgement | None:
        if prepared.test is None:
            return None
        options: dict[str, Any] = {"seed": config.trainer.seed}
        inputs, true = prepared.test
        judgement, ours = _judged(trained, inputs, true, prepared.names, **options)
        if not config.evaluate.baselines:
            return judgement
        images, masks = prepared.sample(_FOR_BASELINES)
        simple: list[CommonestClass | PixelRegression] = [CommonestClass(masks)]
        simple.append(PixelRegression(images, masks, seed=config.trainer.seed))
        others: dict[str, Mapping[str, Interval]] = {}
        comparisons = []
        for each in simple:
            theirs = MaskCounts.of(each.segment(inputs), true, classes=len(prepared.classes))
            others[each.label] = theirs.scores(**options)
            comparisons.append(compare(ours, theirs, each.label, **options))
        return dataclasses.replace(judgement, others=others, comparisons=tuple(comparisons))

    def save(
        self, folder: str | Path, trained: Segmenter, *, metrics: Mapping[str, Any], provenance: Mapping[str, Any]
    ) -> None:
        save_artifact(
            folder,
            model=trained.network,
            variables=(trained.params, trained.state),
            task={"task": self.kind, "values": list(trained.values), "ignore": trained.ignore},
            encoder={**trained.encoder.to_json(), "kind": self.kind},
            classes=trained.classes,
            metrics=metrics,
            provenance=provenance,
        )

    def load(self, artifact: Artifact) -> Painter:
        told: Any = artifact.task if isinstance(artifact.task, Mapping) else {}
        values, ignore, names = told.get("values"), told.get("ignore"), artifact.classes
        numbers = isinstance(values, list) and all(type(value) is int and 0 <= value <= 255 for value in values)
        if not numbers or len(set(values)) < len(values) or not (ignore is None or type(ignore) is int):
            raise ArtifactError(f"the saved segmentation is damaged: its task is {str(artifact.task)[:80]!r}")
        if len(values) != len(names) or len(names) < 2 or not all(isinstance(name, str) for name in names):
            raise ArtifactError(f"the saved segmentation is damaged: {len(names)} classes of {len(values)} values")
        encoder = ImageEncoder.from_json(artifact.encoder)
        trained = Segmenter(
            artifact.model, artifact.params, artifact.state, encoder, tuple(names), tuple(values), ignore
        )
        try:
            shape = trained.network.out_shape(encoder.in_shape)
        except ConfigError as error:
            raise ArtifactError(f"the saved segmentation is damaged: {error.message}") from error
        if shape != (*encoder.in_shape[:2], len(names)):
            raise ArtifactError(f"the saved network's output has the shape {shape}; expected a class of each pixel")
        return self.model(trained, artifact.metrics, artifact.provenance)

    def model(self, trained: Segmenter, metrics: Mapping[str, Any], provenance: Mapping[str, Any]) -> Painter:
        return Painter(trained, metrics, provenance)

    def report(self, prepared: PreparedMasks, trained: Segmenter, judgement: Judgement | None) -> dict[str, Any]:
        height, width, _ = prepared.encoder.in_shape
        sections: list[tuple[str, str]] = []
        if judgement is not None and prepared.test is not None:
            inputs, true = prepared.test
            names = [Path(path).name for path in prepared.names]
            sections = segmentation_sections(inputs, true, trained.segment_inputs(inputs), names, prepared.classes)
        facts = {"measured at": f"{height}×{width} pixels"}
        return {"target": "the class of every pixel", "task": self.kind, "facts": facts, "sections": sections}


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Painter(Model):
    """A segmenter as the user meets it."""

    def next_steps(self, run: str, source: str) -> tuple[tuple[str, ...], ...]:
        return (("predict", run, source, "-o", "masks"),)

    @property
    def purpose(self) -> str:
        return f"the class of every pixel, of {len(self.predictor.classes)} classes"

    def predict(self, source: Any, *, lenient: bool = False, say: Say = warn) -> pl.DataFrame:
        """The share of each class in images: a folder, an image, images with masks (which are not looked at), or an array.

        Returns:
            A row an image: ``file`` and ``share CLASS`` for each class. The masks themselves: :meth:`masks`, :meth:`write`.
        """
        images, paths = _images(source, say)
        return _shares(paths, self.predictor.segment(images), self.predictor.classes)

    def masks(self, source: Any, *, say: Say = warn) -> Iterator[tuple[str, np.ndarray]]:
        """The file and the mask of each image, uint8 ``(height, width)`` in its own size, of the values in the masks it learnt from."""
        images, paths = _images(source, say)
        values = np.asarray(self.predictor.values, np.uint8)
        for path, codes in zip(paths, self.predictor.segment(images), strict=True):
            yield path, values[codes]

    def write(self, source: Any, output: str | Path, **how: Any) -> str:
        """Write masks as PNG files into the folder ``output``, or the shares where ``output`` is a file such as ``shares.csv``."""
        if Path(output).suffix.lower() in SUFFIXES:
            return super().write(source, output, **how)
        return _write_masks(self.masks(source, say=how.get("say", warn)), Path(output), self.predictor.values)

    def evaluate(self, source: Any, *, lenient: bool = False, say: Say = warn) -> Judgement:
        trained = self.predictor
        try:
            found = _test_part(read_masks(source, memory=_HELD), say)
        except DataError as error:
            raise SchemaError(error.message, hint=error.hint) from error
        for notice in found.notices:
            say(notice)
        strange = [value for value in found.values if value not in (*trained.values, trained.ignore)]
        if strange and not lenient:
            raise SchemaError(
                f"the masks of {source} hold the values {', '.join(map(str, strange[:8]))}; the model knows "
                f"{', '.join(map(str, trained.values[:20]))}",
                hint="--lenient does not count their pixels",
            )
        if strange:
            say(
                f"pixels of the values {', '.join(map(str, strange[:8]))} are not counted: the model does not know them"
            )
        table = code_table({value: code for code, value in enumerate(trained.values)})
        inputs, true = _encoded(found, trained.encoder, table)
        return _judged(trained, inputs, true, found.paths)[0]


def _classes(found: Sequence[MaskSet], asked: int | None) -> tuple[dict[int, int], tuple[str, ...], int | None]:
    """The class number of each value, the classes' names, and the value that is not counted."""
    names = {value: name for each in reversed(found) for value, name in zip(each.values, each.names, strict=True)}
    ignore = asked if asked is not None and asked >= 0 else None
    if asked is None and VOID in names and len(names) > 2:
        ignore = VOID
    values = sorted(value for value in names if value != ignore)
    if len(values) < 2:
        raise DataError(f"the masks hold the value {values[0]} and what is not counted; expected two classes or more")
    return {value: code for code, value in enumerate(values)}, tuple(names[value] for value in values), ignore


def _unseen(prepared: PreparedMasks) -> list[str]:
    if isinstance(prepared.train, PixelStream):
        return []
    learnt = set(np.unique(prepared.train[1]).tolist())
    lacking = [name for code, name in enumerate(prepared.classes) if code not in learnt]
    return [f"no training mask has {', '.join(lacking[:5])}"] if lacking else []


def _encoded(part: MaskSet, encoder: ImageEncoder, table: np.ndarray) -> Part:
    codes = np.empty((len(part), encoder.height, encoder.width), np.uint8)

    def one(row: int) -> np.ndarray:
        return as_codes(part.masks[row], table, encoder.height, encoder.width)

    rows = range(len(part))
    for row, mask in enumerate(ordered(one, rows) if isinstance(part.masks, ImageFiles) else map(one, rows)):
        codes[row] = mask
    return encoder.transform(part.images), codes


def _judged(
    trained: Segmenter, inputs: np.ndarray, true: np.ndarray, paths: Sequence[str], **options: Any
) -> tuple[Judgement, MaskCounts]:
    found = trained.segment_inputs(inputs)
    counts = MaskCounts.of(found, true, classes=len(trained.classes))
    right = counts.hits.sum(axis=1) / np.maximum(counts.true.sum(axis=1), 1)
    columns = [pl.Series("mean IoU", counts.of_images().round(4)), pl.Series("pixel accuracy", right.round(4))]
    predictions = _shares(paths, iter(found), trained.classes)
    predictions = predictions.select("file").hstack(columns).hstack(predictions.drop("file"))
    tested = f"{len(true):,} test images"
    return Judgement(counts.scores(**options), tested=tested, predictions=predictions), counts


def _shares(paths: Sequence[str], found: Iterator[np.ndarray], classes: Sequence[str]) -> pl.DataFrame:
    shares = [np.bincount(codes.ravel(), minlength=len(classes)) / codes.size for codes in found]
    table = np.array(shares).reshape(-1, len(classes)).round(4)
    columns = {f"share {name}": table[:, code] for code, name in enumerate(classes)}
    return pl.DataFrame({"file": list(paths), **columns})


def _images(source: Any, say: Say) -> tuple[Any, Sequence[str]]:
    if isinstance(source, np.ndarray):
        pixels = check_pixels(source, "the array", alone=True)
        return pixels, [f"image {row}" for row in range(len(pixels))]
    try:
        if is_mask_source(source):
            masked = _test_part(read_masks(source, memory=_HELD), say)
            return masked.images, masked.paths
        found = read_images(source, memory=_HELD, whole=True)
    except DataError as error:
        raise SchemaError(error.message, hint=error.hint) from error
    for notice in found.notices:
        say(notice)
    return found.images, found.paths or [f"image {row}" for row in range(len(found))]


def _test_part(found: MaskSet, say: Say) -> MaskSet:
    if found.parts is None or "test" not in found.parts:
        return found
    rows = np.flatnonzero(found.parts == "test")
    say(f"the source has parts; its {len(rows)} test images are taken")
    return found.rows(rows)


def _write_masks(masks: Iterator[tuple[str, np.ndarray]], folder: Path, values: Sequence[int]) -> str:
    """PNG files named like the images. Class numbers get a palette, so that they can be told apart by eye."""
    from PIL import Image

    palette = np.zeros((256, 3), np.uint8)
    palette[list(values)] = class_colors(len(values))
    written: set[str] = set()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, mask in masks:
            name = Path(path).stem + ".png"
            if name in written:
                raise ConfigError(f"two images are called {Path(path).stem}; their masks would be one file in {folder}")
            written.add(name)
            picture = Image.fromarray(mask)
            if max(values) != 255:
                picture = Image.frombytes("P", mask.shape[::-1], mask.tobytes())
                picture.putpalette(palette.ravel().tolist())
            with replacing(folder / name, error=ConfigError) as new:
                picture.save(new, "PNG")
    except OSError as error:
        raise ConfigError(f"the masks cannot be written to {folder}: {error.strerror or error}") from error
    return f"{len(written)} masks written to {folder}"
