"""Image files that are decoded on demand, by several threads and only a few ahead of their use."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from danlu.data.images.pixels import open_image, opened, size_of
from danlu.data.threads import ordered
from danlu.errors import DataError

__all__ = ["ImageFiles", "decoded_bytes", "digests", "npz_shapes", "shapes_of", "some_of"]


@dataclasses.dataclass(frozen=True, eq=False)
class ImageFiles(Sequence[np.ndarray]):
    """Images that stay in their files: ``files[3]`` decodes one, and iteration decodes a few ahead, in threads.

    Attributes:
        paths: the files, all of which could be read when :meth:`survey` looked.
        shapes: of each image.
        read: ``file -> pixels``, or a text that says why not.
        workers: threads; see :func:`~danlu.data.threads.ordered`.
    """

    paths: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    read: Callable[[str], np.ndarray | str] = open_image
    workers: int | None = None

    @classmethod
    def survey(
        cls, files: Sequence[str], *, read: Callable[[str], np.ndarray | str] = open_image, workers: int | None = None
    ) -> tuple[ImageFiles, list[int], dict[int, str]]:
        """The readable files, their positions in ``files``, and why the others cannot be read. Each is decoded once, none is kept."""

        def look(file: str) -> tuple[int, ...] | str:
            seen = read(file)
            return seen if isinstance(seen, str) else seen.shape

        found = list(ordered(look, files, workers=workers))
        kept = [row for row, shape in enumerate(found) if not isinstance(shape, str)]
        broken = {row: said for row, said in enumerate(found) if isinstance(said, str)}
        shapes = tuple(shape for shape in found if not isinstance(shape, str))
        return cls(tuple(files[row] for row in kept), shapes, read, workers), kept, broken

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            return self.take(np.arange(len(self))[at])
        return self._decoded(self.paths[at])

    def __iter__(self) -> Iterator[np.ndarray]:
        return ordered(self._decoded, self.paths, workers=self.workers)

    def take(self, rows: np.ndarray) -> ImageFiles:
        """Some of the files, none of them decoded."""
        kept = [int(row) for row in rows]
        return dataclasses.replace(
            self, paths=tuple(self.paths[row] for row in kept), shapes=tuple(self.shapes[row] for row in kept)
        )

    def _decoded(self, file: str) -> np.ndarray:
        pixels = self.read(file)
        if isinstance(pixels, str):
            raise DataError(
                f"{file} could be read at first, but not any more ({pixels})",
                hint="do not change the images during training",
            )
        return pixels


def shapes_of(images: Sequence[np.ndarray] | np.ndarray) -> list[tuple[int, ...]]:
    """The shape of each image; files are not decoded for it."""
    return list(images.shapes) if isinstance(images, ImageFiles) else [image.shape for image in images]


def some_of(images: Sequence[np.ndarray] | np.ndarray, rows: np.ndarray) -> Any:
    """Rows of images, whether these are one array, a list, or files."""
    if isinstance(images, ImageFiles):
        return images.take(rows)
    return images[rows] if isinstance(images, np.ndarray) else [images[int(row)] for row in rows]


def digests(images: Sequence[np.ndarray] | np.ndarray) -> Iterator[bytes]:
    """A short key that identifies each image: a hash of the pixels, or of the bytes of files that are not in memory."""

    def of_file(path: str) -> bytes:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "blake2b").digest()[:16]

    if isinstance(images, ImageFiles):
        yield from ordered(of_file, images.paths, workers=images.workers)
        return
    for image in images:
        shape = repr(image.shape).encode()
        yield hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16, key=shape).digest()


def decoded_bytes(files: Sequence[str | Path], *, whole: bool = False) -> int:
    """The bytes of these files' pixels, from their headers alone; a file that is not an image counts 0.

    Args:
        whole: see :func:`~danlu.data.images.pixels.open_image`.
    """

    def size(file: str | Path) -> int:
        try:
            with opened(file) as picture:
                return math.prod(size_of(picture, whole=whole))
        except Exception:  # a file that cannot be read is told of when it is read
            return 0

    return sum(ordered(size, files))


def npz_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """The shapes of the arrays in an npz file, from their headers alone.

    Raises:
        OSError, ValueError, zipfile.BadZipFile: it is none.
    """
    shapes = {}
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            with archive.open(name) as file:
                version = np.lib.format.read_magic(file)
                read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                shapes[name.removesuffix(".npy")] = read(file)[0]
    return shapes
