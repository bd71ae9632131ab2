"""Labelled images."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl

from danlu.data import TargetEncoder, infer_task, split_rows
from danlu.data.images import ImageEncoder, ImageSet, is_image_source, read_images
from danlu.data.images.encode import check_pixels
from danlu.data.images.files import digests, some_of
from danlu.data.images.read import listed_files
from danlu.errors import ConfigError, DataError
from danlu.evaluate import Rows
from danlu.pipeline.config import TrainConfig
from danlu.pipeline.labelled import Labelled, PreparedRows, Read, chosen_settings, together_of
from danlu.pipeline.model import Say
from danlu.pipeline.pictures import border, cells, encoder_for, memory_of, streamed
from danlu.pipeline.used import COMMON, RECIPE
from danlu.tasks import Predictor, Recipe, image_recipe

__all__ = ["Images"]

_LARGEST = 64  # the longest side that images keep by themselves
_BASELINE = 14  # the side to which images are averaged for the baselines
_PICTURES = 24
_HELD = 2**31  # bytes of images that predicting holds at once
_PATH = 48  # points of the integral


class Images(Labelled):
    """Pictures, each of one class."""

    kind = "image"
    noun = "images"
    uses = (
        *COMMON,
        *RECIPE,
        "augment.*",
        "data.image_column",
        "data.image_size",
        "data.memory",
        "data.stream",
        "data.target",
        "data.task",
        "evaluate.baseline_seconds",
        "imbalance.*",
        "model.width",
        "split.equal_rows",
        "split.method",
    )

    def claims(self, config: TrainConfig, source: Any) -> bool:
        return config.data.image_column is not None or is_image_source(source)

    def files(self, config: TrainConfig, source: str | Path) -> list[Path]:
        return listed_files(Path(source), config.data.image_column)

    def prepare(self, config: TrainConfig, source: Any) -> PreparedRows:
        return _prepare(config, source)

    def recipe(self, config: TrainConfig, prepared: PreparedRows) -> Recipe:
        return image_recipe(
            prepared.target.task,
            prepared.rows["train"],
            prepared.encoder.in_shape,
            classes=prepared.target.units,
            augment=config.augment,
            fill=border(prepared.sample()[0]) / 127.5 - 1,
            **config.trainer.chosen(),
            **chosen_settings(config.model, ("width",)),
        )

    def read(self, predictor: Predictor, source: Any, *, lenient: bool, say: Say) -> Read:
        if isinstance(source, np.ndarray):
            return Read(check_pixels(source, "the array", alone=True))
        name = predictor.target.name
        is_table = Path(source).is_file() and Path(source).suffix != ".npz" and not is_image_source(source)
        found = read_images(source, target=name if is_table else None, memory=_HELD)
        for notice in found.notices:
            say(notice)
        paths = None if found.paths is None else pl.Series("file", found.paths)
        if found.parts is None or "test" not in found.parts:
            return Read(found.images, found.labels, paths)
        rows = np.flatnonzero(found.parts == "test")
        say(f"the source has parts; its {len(rows)} test images are taken")
        labels = None if found.labels is None else found.labels[rows]
        return Read(some_of(found.images, rows), labels, None if paths is None else paths[rows])

    def encoder_state(self, encoder: ImageEncoder) -> tuple[Any, dict[str, np.ndarray]]:
        return encoder.to_json(), {}

    def encoder_from(self, description: Any, arrays: Mapping[str, np.ndarray]) -> ImageEncoder:
        return ImageEncoder.from_json(description)

    def mistakes(self, prepared: PreparedRows, trained: Predictor, rows: Rows) -> dict[str, Any]:
        return _gallery(prepared, trained, rows)

    def for_baselines(self, inputs: np.ndarray) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
        """Means over cells, 14 a side at most, in 0 … 1; boosting on thousands of pixels takes longer than the network."""
        return {"numeric": cells(inputs, _BASELINE)}, ("commonest", "linear")


def _prepare(config: TrainConfig, source: Any) -> PreparedRows:
    """Read the images, work out the classes, divide and encode them."""
    data = config.data
    if config.split.method not in ("stratified", "random"):
        raise ConfigError(f"split.method={config.split.method} is for tables; images are divided at random")
    if data.task == "regression":
        raise ConfigError("images are told apart by class; data.task=regression is for tables")
    if data.task == "multilabel":
        raise ConfigError(
            "data.task=multilabel needs a table of image files and their labels, or an npz file with a matrix of 0 and 1",
            hint="name the column of the labels: --target COLUMN",
        )
    found = read_images(source, path_column=data.image_column, target=data.target or None, memory=memory_of(data))
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
    task = None if data.task == "auto" else data.task
    inferred = infer_task(
        found.labels.cast(pl.String).rename(data.target or "label"), task=task
    )  # numbers are names here
    target = TargetEncoder.fit(found.labels.rename(data.target or "label"), task=inferred.task)
    parts, description, said = _parts(config, found)
    notices = [*found.notices, *inferred.notices, *said]
    if data.test is not None:
        apart = read_images(
            data.test, path_column=data.image_column, target=data.target or None, memory=memory_of(data)
        )
        if apart.labels is None:
            raise DataError(f"the test images {data.test} have no labels")
        test_codes = target.transform(apart.labels)
        notices += [f"test: {notice}" for notice in apart.notices]
    encoder, resized = encoder_for(some_of(found.images, parts["train"]), data.image_size, largest=_LARGEST)
    notices += [resized] if resized else []
    codes = target.transform(found.labels)

    images = found.images

    def load(row: int) -> tuple[np.ndarray, np.ndarray]:
        return encoder.one(images[row]), codes[row]

    size = encoder.height * encoder.width * encoder.channels
    stream, told = streamed(config, images, parts["train"], size, load)
    notices += [told] if told else []

    def encoded(part: str) -> tuple[np.ndarray, np.ndarray]:
        rows = parts[part]
        return encoder.transform(some_of(found.images, rows)), codes[rows]

    test: Any = encoded("test") if len(parts["test"]) else None
    if data.test is not None:
        test = encoder.transform(apart.images), test_codes
    counts = {part: len(rows) for part, rows in parts.items()} | {"test": 0 if test is None else len(test[1])}
    return PreparedRows(
        inferred=inferred,
        target=target,
        encoder=encoder,
        train=stream or encoded("train"),
        validation=encoded("validation"),
        test=test,
        rows=counts,
        split=description,
        notices=tuple(notices),
    )


def _parts(config: TrainConfig, found: ImageSet) -> tuple[dict[str, np.ndarray], str, tuple[str, ...]]:
    """The row numbers of each part: the source's own, or drawn; what the source lacks is drawn from its training part."""
    names = ("train", "validation", "test")
    own = {name: np.flatnonzero(found.parts == name) if found.parts is not None else np.zeros(0, int) for name in names}
    known = (
        own["train"] if len(own["train"]) else np.setdiff1d(np.arange(len(found)), [*own["validation"], *own["test"]])
    )
    draws_test = not len(own["test"]) and config.data.test is None
    labels = found.labels
    shares = 0.0 if len(own["validation"]) else config.split.validation, config.split.test if draws_test else 0.0
    together, told = together_of(config, digests(some_of(found.images, known)), *shares, noun="images")
    split = split_rows(
        pl.DataFrame({"label": labels.cast(pl.String).gather(known) if labels is not None else []}),
        method=config.split.method,
        target="label",
        task="multiclass",
        validation=shares[0],
        test=shares[1],
        seed=config.trainer.seed,
        together=together,
    )
    parts = {"train": known[split.train], "validation": own["validation"], "test": own["test"]}
    given = [name for name in names if len(own[name])]
    if not len(own["validation"]):
        parts["validation"] = known[split.validation]
    if draws_test:
        parts["test"] = known[split.test]
    if not len(parts["validation"]) or not len(parts["train"]):
        raise DataError(f"{len(found)} images are too few to divide; expected some of each class for each part")
    said = f"the source's own {', '.join(given)}; " if given else ""
    return parts, said + split.description, told


def _gallery(prepared: PreparedRows, trained: Predictor, rows: Rows) -> dict[str, Any]:
    """The test images whose true class was given the least probability, where the network looked and what each pixel added."""
    from danlu.explain import grad_cam
    from danlu.report import heat_over, png_uri
    from danlu.report.words import adding_up

    classes, pictures = prepared.target.classes, () if prepared.test is None else prepared.test[0]
    worst = np.argsort(rows.of_truth, kind="stable")[:_PICTURES]
    worst = worst[rows.truth[worst] != rows.chosen[worst]]
    if not len(worst):
        return {}
    picked = np.resize(worst, _PICTURES)  # of one size: one compilation
    images, chosen = np.asarray(pictures)[picked], rows.chosen[picked]
    seen = grad_cam(trained.network, trained.params, trained.state, images, chosen)
    ground = round(border(prepared.sample()[0]))
    gained, gap = pixel_attribution(trained, images, chosen, ground)
    shown = []
    for row, image, heat, gain in zip(worst, images, seen, gained, strict=False):
        true, taken = int(rows.truth[row]), int(rows.chosen[row])
        caption = f"{classes[true]}, taken for {classes[taken]} ({rows.prediction[row, taken]:.0%})"
        pair = {"seen": png_uri(heat_over(image, heat)), "gained": png_uri(heat_over(image, gain))}
        shown.append({"image": png_uri(image), **pair, "caption": caption})
    note = (
        "Orange: what spoke for the class that was chosen; in the middle the places of it (Grad-CAM), on the right the pixels, and "
        f"in blue those that spoke against it (integrated gradients from a plain image of brightness {ground}). "
        + adding_up(gap, "the difference of the logits")
    )
    return {"gallery": shown, "mistakes_note": note}


def pixel_attribution(
    trained: Predictor, images: np.ndarray, classes: np.ndarray, ground: int
) -> tuple[np.ndarray, float]:
    """What each pixel adds to the logit of a class, by integrated gradients from a plain image.

    Args:
        trained: a model of images.
        images: uint8 ``(images, height, width, channels)``.
        classes: of each image, the one to explain.
        ground: the brightness of the plain image, 0 to 255.

    Returns:
        ``(images, height, width)`` in −1 … 1, of each image the share of its strongest pixels, and by how much the sums miss the
        logits' differences at most, as a share of the largest.
    """
    from danlu.explain import integrated_gradients

    def score(pixels: jax.Array) -> jax.Array:
        outputs, _ = trained.network.apply(trained.params, trained.state, pixels)
        mean = outputs.reshape(len(pixels), -1, outputs.shape[-1]).mean(axis=1)
        return jnp.take_along_axis(mean, jnp.asarray(classes)[:, None], axis=1)[:, 0]

    found = integrated_gradients(score, np.asarray(images, np.float32), np.float32(ground), steps=_PATH)
    added = np.asarray(found.values).sum(axis=-1)
    strongest = np.quantile(np.abs(added), 0.995, axis=(1, 2), keepdims=True)
    shares: np.ndarray = np.clip(added / np.maximum(strongest, 1e-12), -1, 1)
    return shares, float(np.max(np.abs(found.gap)) / max(np.max(np.abs(found.gained)), 1e-9))
