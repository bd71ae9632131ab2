"""The shared part of kinds of data made of pictures: how they are read, split and encoded."""

from __future__ import annotations

import abc
import dataclasses
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from danlu.data.images import ImageEncoder, ImageSet, read_images
from danlu.data.images.encode import check_pixels
from danlu.data.images.files import digests, some_of
from danlu.engine.sources import ArraySource
from danlu.evaluate.judgement import Judgement
from danlu.pipeline.config import TrainConfig
from danlu.pipeline.divided import Divided, PreparedParts
from danlu.pipeline.domain import Domain
from danlu.pipeline.items import newly_read
from danlu.pipeline.pixels import encoder_for, streamed
from danlu.tasks import Recipe
from danlu.trained import Head, Learned, Read, Say, Trained

__all__ = [
    "Pictures",
    "PreparedPictures",
    "divided",
    "encoded_parts",
    "keys",
    "names_of",
    "new_pictures",
]

HELD = 2**31  # bytes of images that predicting holds at once

Part = tuple[np.ndarray, Any]


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class PreparedPictures(PreparedParts):
    """Encoded images with their truth.

    Attributes:
        head: of the model, before anything of it is fitted.
        names: of the files of the test images, or None.
    """

    head: Any
    names: pl.Series | None

    def short_names(self) -> list[str]:
        """The names of the test images without their folders."""
        return [] if self.names is None else [Path(name).name for name in self.names]

    def told(self) -> str:
        """How many images there are, and of which size."""
        height, width, channels = self.encoder.in_shape
        return f"{sum(self.rows.values()):,} images of {height}×{width} ({'colour' if channels == 3 else 'grey'})"


class Pictures(Domain):
    """A kind of data of pictures whose answers are more than one class each."""

    encoder = ImageEncoder
    takes = (str, Path, np.ndarray)

    @abc.abstractmethod
    def truth(self, found: Any, encoder: Any, head: Any) -> Any:
        """The true answers of the images in ``found``, in the form that the head takes."""

    def fields(self, parts: Divided, head: Head, **encoded: Any) -> dict[str, Any]:
        """The fields of :class:`PreparedPictures`, with what :func:`encoded_parts` gives."""
        return {**encoded, "head": head, "names": names_of(parts.tested.paths), "notices": tuple(parts.notices)}

    def measures(self, config: TrainConfig, plan: Recipe) -> dict[str, Any]:
        """The ``loss`` (the plan's if it is not said) and the ``metrics`` of the training."""
        return {}

    def learn(self, config: TrainConfig, prepared: Any, plan: Recipe, **how: Any) -> Learned:
        held, head = prepared.validation, prepared.head
        return plan.learn(
            prepared.train,
            encoder=prepared.encoder,
            head=head,
            rows=prepared.rows["train"],
            validation=ArraySource(held, batch_size=head.batch),
            seed=config.trainer.seed,
            **{"held": held, **self.measures(config, plan), **how},
        )

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
        known = (
            self.truth(found, trained.encoder, trained.head)
            if truth and read is not None and not isinstance(source, np.ndarray)
            else None
        )
        return Read(found.images, known, names_of(paths), noun="test images")


def keys(found: Any, rows: np.ndarray) -> Iterable[bytes]:
    """The keys by which pictures are compared."""
    return digests(some_of(found.images, rows))


def divided(config: TrainConfig, source: Any, read: Callable[..., Any], *, noun: str) -> Divided:
    """Read pictures, and divide them by chance.

    Args:
        read: gives what there is in a source; of the test images' own source, what was read of the other one is given as well.
        noun: what the images are called.
    """
    found = read(source)
    return Divided.of(config, found, lambda source: read(source, found), keys, noun=noun)


def encoded_parts(
    config: TrainConfig,
    parts: Divided,
    truth: Callable[[Any, ImageEncoder], Any],
    *,
    one: Callable[[int, ImageEncoder], Any] | None = None,
    **sizes: Any,
) -> dict[str, Any]:
    """What :meth:`~danlu.pipeline.divided.Divided.encoded` gives for pictures; what is to be said is added to the notices.

    Args:
        truth: what is to be predicted of some of the images, as the loss takes it.
        one: the same of one image, by its number, where training images may be decoded while training goes on.
        **sizes: see :func:`encoder_for`.
    """
    places, found = parts.places["train"], parts.found
    encoder, resized = encoder_for(some_of(found.images, places), config.data.image_size, **sizes)
    stream, told = None, ""
    if one is not None:
        load = lambda row: (encoder.one(found.images[row]), one(row, encoder))  # noqa: E731
        size = math.prod(encoder.in_shape) + np.asarray(one(int(places[0]), encoder)).nbytes
        stream, told = streamed(config, found.images, places, size, load)
    parts.notices.extend(each for each in (resized, told) if each)
    return parts.encoded(encoder, lambda part: part.images, lambda part: truth(part, encoder), stream=stream)


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
    return newly_read(read or (lambda: read_images(source, memory=HELD, whole=whole)), say, parts_of="images")


def names_of(paths: Iterable[str] | None) -> pl.Series | None:
    """The names of files as answers have them."""
    return None if paths is None else pl.Series("file", list(paths), pl.String)
