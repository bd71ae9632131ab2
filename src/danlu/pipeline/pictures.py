"""What the kinds of data have in common that are made of pictures: how they are read, divided, sized, and streamed where they do not
fit in memory.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from danlu.data import split_rows
from danlu.data.images import ImageEncoder, ImageFiles, ImageSet, PixelStream, read_images
from danlu.data.images.encode import check_pixels
from danlu.data.images.files import digests, some_of
from danlu.data.images.stream import chunk_rows_for
from danlu.errors import ConfigError, DataError, SchemaError
from danlu.evaluate.judgement import Judgement
from danlu.pipeline.config import DataConfig, TrainConfig
from danlu.pipeline.domain import Domain, Prepared
from danlu.pipeline.labelled import together_of
from danlu.trained import Head, Read, Say, Trained

__all__ = [
    "Divided",
    "Pictures",
    "PreparedPictures",
    "border",
    "cells",
    "divided",
    "encoded_parts",
    "encoder_for",
    "memory_of",
    "names_of",
    "new_pictures",
    "streamed",
]

HELD = 2**31  # bytes of images that predicting holds at once
_PARTS = ("train", "validation", "test")

Part = tuple[np.ndarray, Any]


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class PreparedPictures(Prepared):
    """Encoded images with their truth.

    Attributes:
        encoder: what images are brought to, fitted on the training images.
        head: of the model, before anything of it is fitted.
        train: the training part, or a stream of it.
        validation, test: the other parts; None without test images.
        names: of the files of the test images, or None.
        shown: the test images as they were read, where the answers are told in their pixels.
    """

    encoder: ImageEncoder
    head: Any
    train: Part | PixelStream
    validation: Part
    test: Part | None
    names: pl.Series | None
    shown: Any = None

    def sample(self, rows: int) -> Part:
        """So many training rows, in memory."""
        if isinstance(self.train, PixelStream):
            return self.train.arrays(limit=rows)
        return self.train[0][:rows], self.train[1][:rows]

    def short_names(self) -> list[str]:
        """The names of the test images without their folders."""
        return [] if self.names is None else [Path(name).name for name in self.names]

    def told(self) -> str:
        """How many images there are, and of which size."""
        height, width, channels = self.encoder.in_shape
        return f"{sum(self.rows.values()):,} images of {height}×{width} ({'colour' if channels == 3 else 'grey'})"


@dataclasses.dataclass(frozen=True, eq=False)
class Divided:
    """A source of pictures with their truth, and how it is divided.

    Attributes:
        found: all of it.
        tested: the test images; of the source or of a source of their own.
        places: the image numbers of each part.
        said: how they were divided, in a sentence.
        notices: what the user should know.
    """

    found: Any
    tested: Any
    places: dict[str, np.ndarray]
    said: str
    notices: list[str]

    @classmethod
    def of(
        cls, config: TrainConfig, source: Any, read: Callable[..., Any], *, noun: str, by_label: bool = False
    ) -> Divided:
        """Read a source and divide it.

        Args:
            read: gives what there is in a source; of the test images' own source, the other one is given as well.
            noun: what the images are called.
            by_label: whether the shares of the labels are kept, if the settings say so.
        """
        if config.split.method not in ("stratified", "random"):
            raise ConfigError(f"split.method={config.split.method} is for tables; {noun} are divided at random")
        found = read(source)
        labels = found.labels if by_label else None
        places, said, told = divided(config, found.images, found.parts, noun=noun, labels=labels)
        if config.data.test is None:
            return cls(found, found.rows(places["test"]), places, said, [*found.notices, *told])
        tested = read(config.data.test, found)
        more = [f"test: {notice}" for notice in tested.notices]
        return cls(found, tested, places, said, [*found.notices, *told, *more])


class Pictures(Domain):
    """A kind of data of pictures whose truth is more than a class of each."""

    encoder = ImageEncoder

    def truth(self, found: Any, encoder: Any, head: Any) -> Any:
        """What is to be predicted of images that were read with it, as the head takes it."""
        raise NotImplementedError

    def fields(self, parts: Divided, head: Head, **encoded: Any) -> dict[str, Any]:
        """The fields of :class:`PreparedPictures`, with what :func:`encoded_parts` gives."""
        return {**encoded, "head": head, "names": names_of(parts.tested.paths), "notices": tuple(parts.notices)}

    def how(self, config: TrainConfig, prepared: Any) -> dict[str, Any]:
        """What all trainings from pictures take."""
        return {
            "encoder": prepared.encoder,
            "head": prepared.head,
            "rows": prepared.rows["train"],
            "seed": config.trainer.seed,
        }

    def test(self, config: TrainConfig, prepared: Any, trained: Trained) -> Judgement | None:
        if prepared.test is None:
            return None
        return trained.judge(
            *prepared.test, rows=prepared.shown, names=prepared.names, noun="test images", seed=config.trainer.seed
        )

    def taken(
        self, trained: Trained, source: Any, read: Callable[[], Any] | None, say: Say, *, truth: bool, numbered: bool
    ) -> Read:
        """New pictures, with their truth where ``read`` finds it and it is asked for; see :func:`new_pictures`."""
        found = new_pictures(source, read, say, whole=numbered)
        paths = found.paths or ([f"image {row}" for row in range(len(found))] if numbered else None)
        known = self.truth(found, trained.encoder, trained.head) if truth and read is not None else None
        return Read(found.images, known, names_of(paths), noun="test images")


def encoded_parts(
    config: TrainConfig,
    parts: Divided,
    truth: Callable[[Any, ImageEncoder], Any],
    *,
    one: Callable[[int, ImageEncoder], Any] | None = None,
    **sizes: Any,
) -> dict[str, Any]:
    """The fields ``encoder``, ``train``, ``validation``, ``test``, ``rows`` and ``split`` of a divided source.

    What is to be said is added to its notices.

    Args:
        truth: what is to be predicted of some of the images, as the loss takes it.
        one: the same of one image, by its number, where training images may be decoded while training goes on.
        **sizes: see :func:`encoder_for`.
    """
    places, found, tested = parts.places, parts.found, parts.tested
    known = found.rows(places["train"])
    encoder, resized = encoder_for(known.images, config.data.image_size, **sizes)
    stream, told = None, ""
    if one is not None:
        load = lambda row: (encoder.one(found.images[row]), one(row, encoder))  # noqa: E731
        size = math.prod(encoder.in_shape) + np.asarray(one(int(places["train"][0]), encoder)).nbytes
        stream, told = streamed(config, found.images, places["train"], size, load)
    parts.notices.extend(each for each in (resized, told) if each)

    def of(part: Any) -> Part:
        return encoder.transform(part.images), truth(part, encoder)

    return {
        "encoder": encoder,
        "train": stream or of(known),
        "validation": of(found.rows(places["validation"])),
        "test": of(tested) if len(tested) else None,
        "rows": {**{name: len(rows) for name, rows in places.items()}, "test": len(tested)},
        "split": parts.said,
    }


def new_pictures(source: Any, read: Callable[[], Any] | None, say: Say, *, whole: bool = False) -> Any:
    """Pictures to be answered: an :class:`~danlu.data.images.ImageSet`, or what ``read`` gives. Of parts the test part is taken.

    Args:
        read: reads the source where it is of a special kind; None takes any pictures, or an array.
        whole: see :func:`~danlu.data.images.read_images`.

    Raises:
        SchemaError: there are none.
    """
    if isinstance(source, np.ndarray):
        return ImageSet(check_pixels(source, "the array", alone=True), None)
    try:
        found = read_images(source, memory=HELD, whole=whole) if read is None else read()
    except DataError as error:
        raise SchemaError(error.message, hint=error.hint) from error
    for notice in found.notices:
        say(notice)
    if found.parts is None or "test" not in found.parts:
        return found
    rows = np.flatnonzero(found.parts == "test")
    say(f"the source has parts; its {len(rows)} test images are taken")
    return found.rows(rows)


def names_of(paths: Iterable[str] | None) -> pl.Series | None:
    """The names of files as answers have them."""
    return None if paths is None else pl.Series("file", list(paths), pl.String)


def memory_of(data: DataConfig) -> int | None:
    """The bytes that pixels may take before they stay in their files; None for no limit, 0 for always."""
    return {True: 0, False: None, None: data.memory * 2**20}[data.stream]


def streamed(
    config: TrainConfig,
    images: Any,
    rows: np.ndarray,
    row_bytes: int,
    load: Callable[[int], tuple[np.ndarray, Any]],
) -> tuple[PixelStream | None, str]:
    """A stream of the training rows where these do not fit in the memory that is allowed, and a word about it; else None.

    Args:
        images: of all parts; files that were left on disk can be streamed.
        rows: of the training part.
        row_bytes: of one encoded row.
        load: see :class:`~danlu.data.images.PixelStream`.

    Raises:
        ConfigError: ``data.stream=true`` for images that are in memory already.
    """
    data = config.data
    if not isinstance(images, ImageFiles):
        if data.stream:
            raise ConfigError("data.stream=true is for image files; these images come from one file and are in memory")
        return None, ""
    needed, limit = len(rows) * row_bytes, data.memory * 2**20
    if not data.stream and needed <= limit:
        return None, ""
    stream = PixelStream(load, rows, chunk_rows_for(row_bytes, limit), config.trainer.seed)
    why = "data.stream=true" if data.stream else f"more than data.memory={data.memory}"
    return stream, f"the training images ({needed / 2**20:,.0f} MiB; {why}) are decoded while training goes on"


def divided(
    config: TrainConfig,
    images: Any,
    parts: np.ndarray | None,
    *,
    noun: str = "images",
    labels: pl.Series | None = None,
) -> tuple[dict[str, np.ndarray], str, tuple[str, ...]]:
    """The image numbers of each part: the source's own, or drawn; what the source lacks is drawn from its training part.

    Args:
        images: all of them; equal ones are kept in one part.
        parts: the name of each one's part, where the source says so.
        noun: what they are called.
        labels: of each, where their shares are to be the same in all parts.

    Returns:
        The numbers, how they were divided, and notices.

    Raises:
        DataError: too few to divide.
    """
    own = {name: np.flatnonzero(parts == name) if parts is not None else np.zeros(0, int) for name in _PARTS}
    known = np.setdiff1d(np.arange(len(images)), np.concatenate([own["validation"], own["test"]]))
    apart = config.data.test is not None
    held = 0.0 if len(own["validation"]) else config.split.validation
    tested = 0.0 if apart or len(own["test"]) else config.split.test
    found = {**own, "train": known}
    if apart:
        found["test"] = np.zeros(0, int)
    given = [name for name in _PARTS if len(own[name])]
    told: tuple[str, ...] = ()
    said = f"the source's own {', '.join(given)}" if given else ""
    if held or tested:
        if labels is None and len(known) < 10:
            raise DataError(f"{len(known)} {noun} are too few to divide; expected 10 or more")
        together, told = together_of(config, digests(some_of(images, known)), held, tested, noun=noun)
        shares: Any = {"validation": held, "test": tested, "seed": config.trainer.seed, "together": together}
        if labels is None:
            split = split_rows(len(known), method="random", **shares)
        else:
            frame = pl.DataFrame({"label": labels.cast(pl.String).gather(known)})
            split = split_rows(frame, method=config.split.method, target="label", task="multiclass", **shares)
        found["train"] = known[split.train]
        for name, drawn in (("validation", split.validation), ("test", split.test)):
            if len(drawn):
                found[name] = known[drawn]
        said = "; ".join(each for each in (said, split.description) if each)
    if not len(found["train"]) or not len(found["validation"]):
        if labels is not None and not given:
            raise DataError(f"{len(images)} images are too few to divide; expected some of each class for each part")
        raise DataError("the source has no training or no validation images left; expected some of each")
    return found, said, told


def encoder_for(
    images: Any,
    size: int | None,
    *,
    largest: int,
    multiple: Callable[[int, int], int] | None = None,
    least: int = 1,
) -> tuple[ImageEncoder, str]:
    """The shape for images, and a word where it is not theirs.

    Args:
        images: of the training part.
        size: both sides, where the user sets them.
        largest: the longest side that images keep by themselves.
        multiple: ``(height, width) ->`` what both sides must be multiples of.
        least: how many times it is in a side at least.
    """
    encoder = ImageEncoder.fit(images, size=size)
    shrink = 1.0 if size else min(1.0, largest / max(encoder.height, encoder.width))
    height, width = round(encoder.height * shrink), round(encoder.width * shrink)
    if multiple is not None:
        grain = multiple(height, width)
        height, width = (max(round(side * shrink / grain), least) * grain for side in (encoder.height, encoder.width))
    if (height, width) == (encoder.height, encoder.width):
        return encoder, ""
    said = f"images of {encoder.height}×{encoder.width} are brought to {height}×{width}; data.image_size sets it"
    return dataclasses.replace(encoder, height=height, width=width), said


def border(inputs: np.ndarray) -> float:
    """The commonest brightness of the images' borders, 0 … 255: what belongs outside an image that is moved."""
    some = inputs[:1000]
    edges = np.concatenate([some[:, 0].ravel(), some[:, -1].ravel(), some[:, :, 0].ravel(), some[:, :, -1].ravel()])
    return float(np.median(edges))


def cells(inputs: np.ndarray, most: int) -> np.ndarray:
    """Means over square cells, ``most`` a side at most, in 0 … 1: float32 ``(rows, cells)``, for a linear model.

    >>> cells(np.full((1, 4, 6, 1), 255, np.uint8), 3).shape
    (1, 6)
    """
    rows, height, width, channels = inputs.shape
    down, across = -(-height // most), -(-width // most)
    kept = inputs[:, : height // down * down, : width // across * across].astype(np.float32)
    means = kept.reshape(rows, height // down, down, width // across, across, channels).mean(axis=(2, 4))
    return means.reshape(rows, math.prod(means.shape[1:])) / 255
