"""Reads images with boxes around their objects from a COCO file, a table or an npz file."""

from __future__ import annotations

import dataclasses
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from danlu.data.images.coco import Objects, read_coco
from danlu.data.images.encode import check_pixels
from danlu.data.images.pixels import SUFFIXES
from danlu.data.images.read import decode_files
from danlu.data.intake import read_npz
from danlu.errors import DataError

__all__ = ["BoxSet", "boxed_files", "classes_of", "is_box_source", "read_boxes"]

ANNOTATIONS = ("annotations.json", "_annotations.coco.json", "annotations.csv", "boxes.csv", "_annotations.csv")
_COLUMNS = {
    "file": ("file", "filename", "file_name", "image", "path", "image_path"),
    "label": ("label", "class", "name", "category", "label_name"),
    "x0": ("x0", "xmin", "x_min", "x1", "left"),
    "y0": ("y0", "ymin", "y_min", "y1", "top"),
    "x1": ("x1", "xmax", "x_max", "x2", "right"),
    "y1": ("y1", "ymax", "y_max", "y2", "bottom"),
}
_PARTS = {"train": "train", "training": "train", "val": "validation", "valid": "validation", "validation": "validation"}
_PARTS |= {"test": "test", "testing": "test"}
_NAMED = 5  # files that are named in a notice


@dataclasses.dataclass(frozen=True, eq=False)
class BoxSet:
    """Images with the objects in them.

    Attributes:
        images: uint8 arrays, all of one shape in one array, else a list.
        boxes: of each image float32 ``(objects, 4)``: x0, y0, x1, y1 in its pixels, from its upper left corner.
        labels: of each image the names of its objects' classes.
        paths: the file that each comes from, or a name for it.
        parts: ``"train"``, ``"validation"`` or ``"test"`` of each where the source says so, or None.
        notices: what the user should know.
    """

    images: Sequence[np.ndarray] | np.ndarray
    boxes: tuple[np.ndarray, ...]
    labels: tuple[tuple[str, ...], ...]
    paths: tuple[str, ...]
    parts: np.ndarray | None = None
    notices: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.images)

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes; see :func:`classes_of`."""
        return classes_of(self.labels)

    def rows(self, places: np.ndarray) -> BoxSet:
        """Some of the images, by their numbers ``places (n,)``."""
        kept = [int(place) for place in places]
        images: Any = self.images[kept] if isinstance(self.images, np.ndarray) else [self.images[i] for i in kept]
        return BoxSet(
            images,
            tuple(self.boxes[i] for i in kept),
            tuple(self.labels[i] for i in kept),
            tuple(self.paths[i] for i in kept),
            None if self.parts is None else self.parts[kept],
        )


def classes_of(labels: Iterable[Iterable[str]]) -> tuple[str, ...]:
    """The different names in the labels of images, sorted; numbers by their size.

    >>> classes_of([["10", "cat"], [], ["9"]])
    ('9', '10', 'cat')
    """
    found = {name for row in labels for name in row}
    return tuple(sorted(found, key=lambda name: (not name.isdecimal(), int(name) if name.isdecimal() else 0, name)))


def is_box_source(source: Any) -> bool:
    """Whether a path appears to hold images with boxes: see :func:`read_boxes`. Never raises.

    Example:
        >>> is_box_source("table.csv")
        False
    """
    if not isinstance(source, str | Path):
        return False
    path = Path(source)
    try:
        if path.is_dir():
            return bool(_annotated(path))
        if path.suffix == ".npz":
            with zipfile.ZipFile(path) as archive:
                return any("boxes" in name.lower() for name in archive.namelist())
        if path.suffix == ".json":
            with path.open(encoding="utf-8") as file:
                start = file.read(1 << 16)
            return start.lstrip().startswith("{") and any(f'"{key}"' in start for key in ("annotations", "images"))
        return path.suffix in (".csv", ".tsv") and _is_box_table(path)
    except (OSError, UnicodeDecodeError, zipfile.BadZipFile):
        return False


def _is_box_table(path: Path) -> bool:
    """Whether a table has the columns of boxes, and an image file in its first row."""
    with path.open(encoding="utf-8-sig") as file:
        head, first = _cells_of(file.readline()), _cells_of(file.readline())
    return _columns(head) is not None and any(cell.lower().endswith(SUFFIXES) for cell in first)


def _cells_of(line: str) -> list[str]:
    return [cell.strip().strip('"') for cell in line.replace("\t", ",").replace(";", ",").split(",")]


def _annotated(folder: Path) -> dict[str, Path]:
    """The file of annotations of each part; of ``""`` where the folder is not divided."""
    whole = _annotation_file(folder)
    if whole is not None:
        return {"": whole}
    found: dict[str, Path] = {}
    for child in sorted(child for child in folder.iterdir() if child.is_dir() and child.name.lower() in _PARTS):
        file = _annotation_file(child)
        if file is not None:
            found.setdefault(_PARTS[child.name.lower()], file)
    return found


def _annotation_file(folder: Path) -> Path | None:
    files = [folder / name for name in ANNOTATIONS if (folder / name).is_file()]
    return next((file for file in files if file.suffix == ".json" or _is_box_table(file)), None)


def read_boxes(source: str | Path) -> BoxSet:
    """Read images with boxes.

    Args:
        source: one of

            - a folder with ``annotations.json`` (as COCO: ``images``, ``annotations`` with ``bbox`` x, y, width, height, and
              ``categories``) or ``annotations.csv`` beside the images or beside a folder ``images``; or with folders ``train``,
              ``val`` and ``test`` of that kind,
            - such a file itself; the paths in it go from its folder,
            - a table of that kind has a row an object: ``file,label,x0,y0,x1,y1`` in pixels (or ``filename, class, xmin, ymin, xmax,
              ymax``); a row with only a file is an image without objects,
            - an ``.npz`` file with ``x`` (images), ``boxes (images, objects, 4)`` and ``labels (images, objects)``, −1 for no
              object, or ``x_train, boxes_train, labels_train, x_test, …``.

    Raises:
        DataError: nothing that can be read, or annotations that do not fit the images.
    """
    path = Path(source)
    if not path.exists():
        raise DataError(f"there is no file or folder {path}")
    if path.suffix == ".npz":
        return _read_npz(path)
    parts = _annotated(path) if path.is_dir() else {"": path}
    if not parts:
        raise DataError(
            f"the folder {path} holds no boxes; expected annotations.json (as COCO) or annotations.csv "
            "(file,label,x0,y0,x1,y1) beside the images"
        )
    found = [_read_part(file) for file in parts.values()]
    if list(parts) == [""]:
        return found[0]
    named = np.concatenate([np.full(len(each), part) for part, each in zip(parts, found, strict=True)])
    return dataclasses.replace(joined(found), parts=named)


def joined(found: Sequence[BoxSet]) -> BoxSet:
    """Several sets in one, without their parts."""
    arrays = [each.images for each in found]
    alike = all(isinstance(each, np.ndarray) for each in arrays) and len({each[0].shape for each in arrays}) == 1
    return BoxSet(
        np.concatenate(arrays) if alike else [image for each in arrays for image in each],
        tuple(boxes for each in found for boxes in each.boxes),
        tuple(labels for each in found for labels in each.labels),
        tuple(path for each in found for path in each.paths),
        None,
        tuple(notice for each in found for notice in each.notices),
    )


def boxed_files(file: Path) -> list[Path]:
    """The existing image files that a file of annotations names; empty for an npz file."""
    if file.suffix == ".npz":
        return []
    return [place for place in _places(file, _objects(file)).values() if place is not None]


def _objects(file: Path) -> dict[str, Objects]:
    return read_coco(file) if file.suffix == ".json" else _read_csv(file)


def _places(file: Path, names: Iterable[str]) -> dict[str, Path | None]:
    return {name: _image_at(file.parent, name) for name in names}


def _read_part(file: Path) -> BoxSet:
    objects = _objects(file)
    if not objects:
        raise DataError(f"{file} names no images")
    places = _places(file, objects)
    missing = [name for name, place in places.items() if place is None]
    if len(missing) == len(places):
        raise DataError(
            f"none of the {len(places)} images that {file} names is there; the first: {missing[0]}",
            hint=f"put the images into {file.parent} or {file.parent / 'images'}",
        )
    there = {str(place): name for name, place in places.items() if place is not None}
    read = decode_files([Path(place) for place in there], None, None, whole=True)
    notices = list(read.notices)
    if missing:
        more = " …" if len(missing) > _NAMED else ""
        notices.append(
            f"{len(missing)} images that {file.name} names are not there: {', '.join(missing[:_NAMED])}{more}"
        )
    rows = [objects[there[path]] for path in read.paths or ()]
    return _checked(read.images, rows, tuple(read.paths or ()), notices, str(file))


def _checked(
    images: Any, objects: Sequence[Objects], paths: tuple[str, ...], notices: Sequence[str], where: str
) -> BoxSet:
    """Boxes cut off at their image's edge; those without an area are left out, and that is told."""
    boxes, labels, empty, outside = [], [], 0, 0
    for image, row in zip(images, objects, strict=True):
        ends = np.array([image.shape[1], image.shape[0]] * 2, np.float32)
        own = np.array([box for _, box in row], np.float32).reshape(-1, 4)
        cut = np.clip(own, 0, ends[None])
        real = (cut[:, 2] > cut[:, 0]) & (cut[:, 3] > cut[:, 1])
        empty += int((~real).sum())
        outside += int((np.abs(cut - own).max(axis=1, initial=0) > 1)[real].sum())
        boxes.append(cut[real])
        labels.append(tuple(name for (name, _), keep in zip(row, real, strict=True) if keep))
    said = list(notices)
    if empty:
        said.append(f"{empty:,} boxes of {Path(where).name} have no area within their image and are left out")
    if outside:
        said.append(f"{outside:,} boxes of {Path(where).name} extend beyond their image and are cut off at its edge")
    if not any(len(row) for row in boxes):
        raise DataError(
            f"{where} holds no box that lies in its image",
            hint="boxes are in pixels from the upper left corner, not as fractions of the image" if empty else None,
        )
    return BoxSet(images, tuple(boxes), tuple(labels), paths, None, tuple(said))


def _image_at(folder: Path, name: str) -> Path | None:
    for place in (folder / name, folder / "images" / name, folder.parent / name, folder.parent / "images" / name):
        if place.is_file():
            return place
    return None


def _columns(names: Sequence[str]) -> dict[str, str] | None:
    """The table's name of each column that is needed; None where one is lacking. ``x1`` is the right end beside an ``x0`` alone."""
    lower = {name.strip().lower(): name for name in names}
    found: dict[str, str] = {}
    for wanted, known in _COLUMNS.items():
        name = next((each for each in known if each in lower and lower[each] not in found.values()), None)
        if name is None:
            return None
        found[wanted] = lower[name]
    return found


def _read_csv(file: Path) -> dict[str, Objects]:
    from danlu.data.read import read_table

    with file.open(encoding="utf-8-sig", errors="replace") as opened:
        head = opened.readline()
    frame = read_table(file, delimiter=max(",;\t", key=head.count)).frame
    columns = _columns(frame.columns)
    if columns is None:
        raise DataError(
            f"{file} has the columns {', '.join(frame.columns[:12])}; expected file,label,x0,y0,x1,y1 (in pixels)",
            hint="filename, class, xmin, ymin, xmax, ymax are accepted too",
        )
    corners = ("x0", "y0", "x1", "y1")
    texts = frame.select([pl.col(columns[key]).cast(pl.String).alias(key) for key in ("file", "label")])
    numbers = frame.select([pl.col(columns[key]).cast(pl.Float64, strict=False).alias(key) for key in corners])
    objects: dict[str, Objects] = {}
    for number, ((name, label), box) in enumerate(zip(texts.iter_rows(), numbers.iter_rows(), strict=True), 2):
        if not name:
            raise DataError(f"line {number} of {file} names no image file")
        row = objects.setdefault(name, [])
        known = [value for value in box if value is not None and np.isfinite(value)]
        if not known and not label:
            continue
        if len(known) < 4 or not label:
            raise DataError(
                f"line {number} of {file} has the label {label!r} and the box {box}; expected both, or neither"
            )
        row.append((label, box))
    return objects


def _read_npz(path: Path) -> BoxSet:
    arrays = {name.lower(): array for name, array in read_npz(path).items()}
    found, parts = [], []
    for name in sorted(arrays):
        before, _, part = name.partition("_")
        if before not in ("x", "images") or (part and part not in _PARTS):
            continue
        tail = f"_{part}" if part else ""
        pixels, boxes, labels = arrays[name], arrays.get(f"boxes{tail}"), arrays.get(f"labels{tail}")
        if boxes is None or labels is None:
            continue
        pixels = check_pixels(pixels, f"{name} of {path.name}")
        if boxes.ndim != 3 or boxes.shape != (len(pixels), boxes.shape[1], 4) or labels.shape != boxes.shape[:2]:
            raise DataError(
                f"{path} has {len(pixels)} images, boxes{tail} of the shape {boxes.shape} and labels{tail} {labels.shape}; expected "
                "(images, objects, 4) and (images, objects)"
            )
        if boxes.dtype.kind not in "iuf" or labels.dtype.kind not in "iuU":
            raise DataError(
                f"{path} has boxes{tail} of type {boxes.dtype} and labels{tail} of type {labels.dtype}; expected numbers "
                "and class numbers (−1 for none), or names ('' for none)"
            )
        rows = [_row_of(*each) for each in zip(boxes, labels, strict=True)]
        names = tuple(f"{part or 'image'} {row}" for row in range(len(pixels)))
        found.append(_checked(pixels, rows, names, (), f"{path.name}, boxes{tail}"))
        parts += [_PARTS.get(part, "")] * len(pixels)
    if not found:
        raise DataError(
            f"{path} has the arrays {', '.join(sorted(arrays)[:10]) or '(none)'}; expected x, boxes and labels, or x_train, "
            "boxes_train, labels_train, x_test, …"
        )
    return dataclasses.replace(joined(found), parts=None if "" in parts else np.asarray(parts))


def _row_of(boxes: np.ndarray, labels: np.ndarray) -> Objects:
    there = labels != "" if labels.dtype.kind == "U" else labels >= 0
    found: Objects = []
    for box, label in zip(boxes[there], labels[there], strict=True):
        x0, y0, x1, y1 = (float(value) for value in box)
        found.append((str(label), (x0, y0, x1, y1)))
    return found
