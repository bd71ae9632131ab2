"""Reads labelled images from one folder per class, a list of paths and labels, npz and idx files."""

from __future__ import annotations

import dataclasses
import gzip
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from danlu.data.folders import files_in, folders_in
from danlu.data.images.encode import check_pixels
from danlu.data.images.files import ImageFiles, decoded_bytes, some_of
from danlu.data.images.pixels import SUFFIXES, is_animated, is_picture, open_image, open_whole
from danlu.data.intake import read_npz
from danlu.data.table import Table
from danlu.data.threads import ordered
from danlu.errors import DataError

__all__ = ["ImageSet", "is_image_source", "listed_files", "read_images"]

PARTS = {"train": "train", "training": "train", "val": "validation", "valid": "validation", "validation": "validation"}
PARTS |= {"test": "test", "testing": "test", "t10k": "test"}
_IDX = re.compile(r"^(?P<part>[a-z0-9]+)-(?P<what>images|labels)[-.]idx\d-ubyte(\.gz)?$")
_NAMED = 10  # broken files that are named in a notice


@dataclasses.dataclass(frozen=True, eq=False)
class ImageSet:
    """Images with their labels.

    Attributes:
        images: uint8 arrays, all of one shape in one array, else a list; or :class:`~danlu.data.images.files.ImageFiles`.
        labels: the label of each, or None.
        parts: ``"train"``, ``"validation"`` or ``"test"`` of each where the source says so, or None.
        paths: the files they come from, or None.
        notices: what the user should know, such as files that cannot be read.
    """

    images: Sequence[np.ndarray] | np.ndarray
    labels: pl.Series | None
    parts: np.ndarray | None = None
    paths: tuple[str, ...] | None = None
    notices: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.images)

    def rows(self, places: np.ndarray) -> ImageSet:
        """Some of the images, by their numbers ``places (n,)``."""
        return dataclasses.replace(
            self,
            images=some_of(self.images, places),
            labels=None if self.labels is None else self.labels[places],
            parts=None if self.parts is None else self.parts[places],
            paths=None if self.paths is None else tuple(self.paths[int(place)] for place in places),
        )


def is_image_source(source: Any) -> bool:
    """Whether a path is images: an npz file, a folder with image or idx files, or with folders of image files.

    Example:
        >>> is_image_source("table.csv")
        False
    """
    if not isinstance(source, str | Path):
        return False
    path = Path(source)
    if path.suffix == ".npz":
        return True
    if not path.is_dir():
        return path.is_file() and is_picture(path)
    return any(is_picture(file) or _IDX.match(file.name) for file in files_in(path, depth=2))


def read_images(
    source: str | Path,
    *,
    path_column: str | None = None,
    target: str | None = None,
    memory: int | None = None,
    whole: bool = False,
) -> ImageSet:
    """Read labelled images.

    Args:
        source: one of

            - a folder with a folder for each class (or with folders ``train``, ``val`` and ``test`` of such folders),
            - a folder of images without labels, or one image file,
            - a table (CSV, …) whose column ``path_column`` holds paths, relative to the table, and ``target`` the labels,
            - an ``.npz`` file with arrays such as ``x_train, y_train, x_test, y_test`` or ``images, labels``, or ``images`` alone,
            - a folder with the idx files of MNIST, as they are or gzipped.
        path_column: of a table; None takes the first column whose values are names of image files.
        target: of a table; an empty cell is the label ``""``.
        memory: bytes; image files whose pixels take more are not held, but decoded again whenever they are wanted. None holds all.
        whole: whether large photographs keep their size; see :func:`~danlu.data.images.pixels.open_image`.

    Hidden files and folders, thumbnails and other files of the system are ignored, and so are folders without pictures.

    Raises:
        DataError: nothing that can be read, or files that do not belong together.
    """
    path = Path(source)
    if not path.exists():
        raise DataError(f"there is no file or folder {path}")
    if path.is_dir():
        idx = {found.group("part", "what"): file for file in path.iterdir() if (found := _IDX.match(file.name))}
        return _read_idx(path, idx) if idx else _read_folder(path, memory, whole)
    if path.suffix == ".npz":
        return _read_npz(path)
    if is_picture(path):
        return decode_files([path], None, None, memory, whole=whole)
    return _read_list(path, path_column, target, memory, whole)


def _read_folder(root: Path, memory: int | None, whole: bool) -> ImageSet:
    """One folder per class, in folders ``train`` and ``test`` or not; or pictures without labels."""
    holding = {child: there for child in folders_in(root) if (there := _pictures(child))}
    alone = _pictures(root, depth=0)
    notices: list[str] = []
    if not holding:
        if not alone:
            raise DataError(
                f"the folder {root} holds no image ({', '.join(SUFFIXES[:5])}, …)",
                hint="put the images of each class into a folder of its own, named like the class",
            )
        return decode_files(alone, None, None, memory, whole=whole)
    if alone:
        notices.append(f"{len(alone)} images next to the folders of {root} have no class and are left out")
    divided = {child: {group: _pictures(group) for group in folders_in(child)} for child in _parts_in(holding)}
    rows: list[tuple[str, str, Path]] = []
    if divided:
        others = [child.name for child in holding if child not in divided]
        if others:
            notices.append(
                f"folders beside {', '.join(child.name for child in divided)} are left out: {', '.join(others)}"
            )
        for child, classes in divided.items():
            rows += [
                (PARTS[child.name.lower()], group.name, file) for group, files in classes.items() for file in files
            ]
        if not rows:
            raise DataError(
                f"the folders {', '.join(child.name for child in divided)} of {root} hold images and no folder for each class",
                hint="put the images of each class into a folder of its own, named like the class",
            )
        notices += _strange_classes(rows)
    else:
        rows = [("", child.name, file) for child, files in holding.items() for file in files]
    parts, labels = [part for part, _, _ in rows], [label for _, label, _ in rows]
    found = decode_files(
        [file for _, _, file in rows], labels, np.asarray(parts) if divided else None, memory, whole=whole
    )
    return dataclasses.replace(found, notices=(*notices, *found.notices))


def _pictures(folder: Path, *, depth: int | None = None) -> list[Path]:
    return [file for file in files_in(folder, depth=depth) if is_picture(file)]


def _parts_in(holding: Mapping[Path, Sequence[Path]]) -> list[Path]:
    """The folders that are parts: of their names, if others have such names too, or hold folders of pictures as parts do.

    ``train`` beside ``car`` and ``plane`` is a class of its own.
    """
    named = [child for child in holding if child.name.lower() in PARTS]
    if len(named) == len(holding):
        return named
    parts = [child for child in named if all(file.parent != child for file in holding[child])]
    return parts if len({PARTS[child.name.lower()] for child in parts}) > 1 else []


def _strange_classes(rows: Sequence[tuple[str, str, Path]]) -> list[str]:
    known = {label for part, label, _ in rows if part == "train"}
    strange = sorted({label for part, label, _ in rows if part != "train"} - known)
    if not known or not strange:
        return []
    return [
        f"the training part has no image of {', '.join(strange[:8])}, which other parts have: is the spelling the same?"
    ]


def decode_files(
    files: Sequence[Path],
    labels: Sequence[str] | None,
    parts: np.ndarray | None,
    memory: int | None = None,
    *,
    whole: bool = False,
) -> ImageSet:
    """Decode image files in worker threads; those that cannot be read are left out and named. Beyond ``memory`` they stay files."""
    images: Any
    read = open_whole if whole else open_image
    if memory is not None and (not memory or decoded_bytes(files, whole=whole) > memory):
        there, kept, failed = ImageFiles.survey([str(file) for file in files], read=read)
        shapes, images = set(there.shapes), there
        said = [f"{files[row]} ({why})" for row, why in failed.items()]
    else:
        decoded = list(ordered(read, files))
        kept = [row for row, image in enumerate(decoded) if isinstance(image, np.ndarray)]
        said = [f"{files[row]} ({image})" for row, image in enumerate(decoded) if isinstance(image, str)]
        images = [decoded[row] for row in kept]
        shapes = {image.shape for image in images}
        if len(shapes) == 1:
            images = np.stack(images)
    if not kept:
        raise DataError(f"none of the {len(files)} images can be read; the first: {said[0]}")
    notices = []
    if said:
        more = f" and {len(said) - _NAMED} more" if len(said) > _NAMED else ""
        notices.append(
            f"{len(said)} of {len(files)} images cannot be read and are left out: {', '.join(said[:_NAMED])}{more}"
        )
    moving = [
        files[row]
        for row, several in zip(kept, ordered(is_animated, [files[row] for row in kept]), strict=True)
        if several
    ]
    if moving:
        more = " …" if len(moving) > _NAMED else ""
        shown = ", ".join(map(str, moving[:_NAMED]))
        notices.append(
            f"{len(moving)} of {len(files)} images have several frames; only the first is used: {shown}{more}"
        )
    if len(shapes) > 1:
        notices.append(f"the images have {len(shapes)} different sizes or modes and are brought to one")
    return ImageSet(
        images,
        None if labels is None else pl.Series("label", [labels[row] for row in kept]),
        None if parts is None else parts[kept],
        tuple(str(files[row]) for row in kept),
        tuple(notices),
    )


def _read_list(path: Path, path_column: str | None, target: str | None, memory: int | None, whole: bool) -> ImageSet:
    table, column = _table_of(path, path_column)
    if target is not None and target not in table.names:
        raise DataError(f"{path} has no column {target!r}; its columns: {', '.join(table.names[:30])}")
    cells = None if target is None else table.frame[target].to_list()
    labels = None if cells is None else ["" if label is None else str(label) for label in cells]
    listed = [path.parent / str(name) for name in table.frame[column].to_list()]
    found = decode_files(listed, labels, None, memory, whole=whole)
    return dataclasses.replace(found, notices=(*table.notices, *found.notices))


def _table_of(path: Path, path_column: str | None) -> tuple[Table, str]:
    """A table, and its column of image files."""
    from danlu.data.read import read_table

    table = read_table(path)
    names = [name for name in table.names if table.frame[name].dtype == pl.String]
    column = path_column or next((name for name in names if _names_images(table.frame[name])), None)
    if column is None or column not in table.names:
        raise DataError(f"{path} has no column of image files; its columns: {', '.join(table.names[:30])}")
    return table, column


def listed_files(path: Path, path_column: str | None = None) -> list[Path]:
    """The image files that a table names, in its order; none of an npz file or of an image itself."""
    if path.suffix == ".npz" or is_picture(path):
        return []
    table, column = _table_of(path, path_column)
    return [path.parent / str(name) for name in table.frame[column].to_list()]


def _names_images(values: pl.Series) -> bool:
    some = values.drop_nulls().head(20)
    return len(some) > 0 and all(str(value).lower().endswith(SUFFIXES) for value in some)


def _read_npz(path: Path) -> ImageSet:
    arrays = read_npz(path)
    return _joined(path, _pairs(path, arrays))


def _pairs(path: Path, arrays: Mapping[str, np.ndarray]) -> dict[str, tuple[np.ndarray, np.ndarray | None]]:
    """``(images, labels)`` by part, from names such as ``x_train`` and ``y_train``, or ``train_images``; labels are None where no part
    has any."""
    found: dict[str, dict[str, np.ndarray]] = {}
    for name, array in arrays.items():
        words = re.split(r"[_\-.]", name.lower())
        part = next((PARTS[word] for word in words if word in PARTS), "")
        kind = {
            "x": "images",
            "y": "labels",
            "images": "images",
            "labels": "labels",
            "image": "images",
            "label": "labels",
        }
        what = next((kind[word] for word in words if word in kind), "")
        if what:
            found.setdefault(part, {})[what] = array
    pictures = {part: pair for part, pair in found.items() if "images" in pair}
    labelled = {part: pair for part, pair in pictures.items() if "labels" in pair}
    whole = {part: (pair["images"], pair.get("labels")) for part, pair in (labelled or pictures).items()}
    if not whole:
        raise DataError(
            f"{path} has the arrays {', '.join(sorted(arrays)[:10]) or '(none)'}; expected images and labels, such as "
            "x_train, y_train, x_test, y_test or images, labels"
        )
    return whole


def _read_idx(root: Path, files: Mapping[Any, Path]) -> ImageSet:
    pairs = {}
    for part in {part for part, _ in files}:
        if (part, "images") not in files or (part, "labels") not in files:
            raise DataError(f"{root} has one of the images and labels of {part!r} but not the other")
        pairs[PARTS.get(part, "")] = (_idx(files[part, "images"]), _idx(files[part, "labels"]))
    return _joined(root, pairs)


def _idx(file: Path) -> np.ndarray:
    """An idx file: two zero bytes, the type (8: uint8), the number of axes, each axis as big-endian int32, the bytes."""
    try:
        raw = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    except (OSError, EOFError, gzip.BadGzipFile) as error:
        raise DataError(f"{file} cannot be read: {error}") from error
    axes = raw[3] if len(raw) >= 4 else 0
    shape = tuple(int(n) for n in np.frombuffer(raw[4 : 4 + 4 * axes], ">i4")) if len(raw) >= 4 + 4 * axes else ()
    if raw[:3] != b"\0\0\x08" or not shape or len(raw) != 4 + 4 * axes + math.prod(shape):
        raise DataError(f"{file} is not a whole idx file of bytes")
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * axes).reshape(shape)


def _joined(path: Path, pairs: Mapping[str, tuple[np.ndarray, np.ndarray | None]]) -> ImageSet:
    images, labels, parts = [], [], []
    for part in sorted(pairs, key=["train", "validation", "test", ""].index):
        own = f"the {part} images of {path.name}" if part else f"the images of {path.name}"
        pixels, given = check_pixels(pairs[part][0], own), pairs[part][1]
        images.append(pixels)
        if given is not None:
            names = given.reshape(len(given), -1)
            if names.shape[1] != 1 or len(names) != len(pixels):
                raise DataError(f"{own}: {len(pixels)}, with labels of the shape {given.shape}; expected one each")
            labels.append(names[:, 0])
        parts += [part] * len(pixels)
    if len({each.shape[1:] for each in images}) > 1:
        raise DataError(
            f"the images of {path} differ in shape from part to part: {[each.shape[1:] for each in images]}"
        )
    values = pl.Series("label", np.concatenate(labels)) if labels else None
    return ImageSet(np.concatenate(images), values, None if set(parts) == {""} else np.asarray(parts))
