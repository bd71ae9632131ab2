"""Images with several labels each: from a table of paths and labels, or an npz file with a matrix of 0 and 1."""

from __future__ import annotations

import collections
import dataclasses
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from danlu.data.images.encode import check_pixels
from danlu.data.images.files import npz_shapes, some_of
from danlu.data.images.pixels import SUFFIXES
from danlu.data.images.read import PARTS, read_images
from danlu.data.intake import read_npz
from danlu.errors import DataError, SchemaError

__all__ = ["SEPARATORS", "LabelSets", "is_label_source", "read_labels", "separator_of"]

SEPARATORS = ("|", ";", ",")
_MOST = 1000  # labels
_HEAD = 400  # lines that are looked at to find out what a table is


@dataclasses.dataclass(frozen=True, eq=False)
class LabelSets:
    """Images, each with any number of labels.

    Attributes:
        images: uint8 arrays, all of one shape in one array, or a list; or files.
        marks: which labels each image has, uint8 ``(images, labels)`` of 0 and 1.
        names: of the labels.
        separator: what stood between labels, ``""`` for a matrix.
        parts: ``"train"``, ``"validation"`` or ``"test"`` of each where the source says so, or None.
        paths: the image files, or None.
        notices: what the user should know.
    """

    images: Sequence[np.ndarray] | np.ndarray
    marks: np.ndarray
    names: tuple[str, ...]
    separator: str = ""
    parts: np.ndarray | None = None
    paths: tuple[str, ...] | None = None
    notices: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.images)

    def rows(self, places: np.ndarray) -> LabelSets:
        """Some of the images, by their numbers ``places (n,)``."""
        return dataclasses.replace(
            self,
            images=some_of(self.images, places),
            marks=self.marks[places],
            parts=None if self.parts is None else self.parts[places],
            paths=None if self.paths is None else tuple(self.paths[int(place)] for place in places),
        )


def separator_of(cells: Sequence[str]) -> str | None:
    """The separator of labels, if cells hold several: ``|``, ``;`` or ``,``; None if they seem to hold one label each.

    A sign separates labels when fewer labels than cells are left of the cells that differ: of ``Paris, France`` and ``Lyon, France``
    three names would be left.

    Example:
        >>> separator_of(["cat|dog", "dog", "cat", "cat|bird"]), separator_of(["Paris, France", "Lyon, France"])
        ('|', None)
    """
    whole = {cell.strip() for cell in cells if cell.strip()}
    for sign in SEPARATORS:
        several = [cell for cell in whole if sign in cell]
        if several and len({name.strip() for cell in whole for name in cell.split(sign)} - {""}) < len(whole):
            return sign
    return None


def is_label_source(
    source: Any, *, target: str = "", path_column: str | None = None, separator: str | None = None, asked: bool = False
) -> bool:
    """Whether a path appears to hold images with several labels each: see :func:`read_labels`. Never raises.

    Args:
        target, path_column, separator: see :func:`read_labels`.
        asked: whether the user says so; then a table of images will do.

    Example:
        >>> is_label_source("table.parquet")
        False
    """
    if not isinstance(source, str | Path):
        return False
    path = Path(source)
    try:
        if path.suffix == ".npz":
            return any(len(shape) == 2 and shape[1] > 1 for shape in _label_shapes(path))
        if path.suffix not in (".csv", ".tsv", ".parquet", ".jsonl", ".xlsx") or not target or not path.is_file():
            return False
        if asked or separator is not None:
            return True
        if path.suffix not in (".csv", ".tsv"):
            return False
        return _head_has_sets(path, target, path_column)
    except (OSError, ValueError, zipfile.BadZipFile):
        return False


def _label_shapes(path: Path) -> list[tuple[int, ...]]:
    """The shapes of an npz file's labels."""
    named = npz_shapes(path)
    return [shape for name, shape in named.items() if {"y", "labels", "label"} & set(name.lower().split("_"))]


def _head_has_sets(path: Path, target: str, path_column: str | None) -> bool:
    import csv
    import itertools

    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = list(itertools.islice(file, _HEAD))
    if len(lines) < 2:
        return False
    delimiter = "\t" if path.suffix == ".tsv" else max(",;", key=lines[0].count)
    rows = list(csv.reader(lines, delimiter=delimiter))
    if target not in rows[0]:
        return False
    images = path_column in rows[0] or any(cell.lower().endswith(SUFFIXES) for cell in rows[1])
    place = rows[0].index(target)
    return images and separator_of([row[place] for row in rows[1:] if len(row) == len(rows[0])]) is not None


def read_labels(
    source: str | Path,
    *,
    target: str = "",
    path_column: str | None = None,
    separator: str | None = None,
    known: Sequence[str] | None = None,
    lenient: bool = False,
    memory: int | None = None,
) -> LabelSets:
    """Read images with several labels each.

    Args:
        source: a table (CSV, …) whose column ``path_column`` holds paths, relative to the table, and ``target`` the labels, such as
            ``cat|dog``, an empty cell for none; or an ``.npz`` file with images ``x`` and a matrix ``y`` of 0 and 1, a column a label
            (or ``x_train, y_train, x_test, …``), and perhaps the names of the columns as ``classes``.
        separator: what stands between labels; None finds out, see :func:`separator_of`.
        known: the labels that there are, in their order; None takes those that are found, sorted.
        lenient: whether labels that are not ``known`` are left out, with a notice.
        path_column, memory: see :func:`~danlu.data.images.read_images`.

    Raises:
        DataError: nothing that can be read.
        SchemaError: labels that are not ``known``.
    """
    path = Path(source)
    if path.suffix == ".npz":
        return _read_npz(path, known)
    found = read_images(path, path_column=path_column, target=target, memory=memory)
    if found.labels is None:
        raise DataError(f"{path} has no labels", hint="name their column: --target COLUMN")
    cells = found.labels.to_list()
    sign = separator if separator is not None else separator_of(cells) or SEPARATORS[0]
    rows = [tuple(dict.fromkeys(name.strip() for name in cell.split(sign) if name.strip())) for cell in cells]
    counts = collections.Counter(name for row in rows for name in row)
    names = tuple(known) if known is not None else tuple(sorted(counts))
    _check_count(path, names)
    notices = list(found.notices)
    strange = [name for name in counts if name not in set(names)]
    if strange:
        said = f"labels of {path.name} that the model does not know: {', '.join(strange[:5])}"
        if not lenient:
            raise SchemaError(f"{said}; the model knows {', '.join(names[:20])}", hint="--lenient leaves them out")
        notices.append(f"{said} (left out)")
    places = {name: place for place, name in enumerate(names)}
    marks = np.zeros((len(rows), len(names)), np.uint8)
    for row, own in enumerate(rows):
        marks[row, [places[name] for name in own if name in places]] = 1
    without = int((marks.sum(axis=1) == 0).sum())
    if without and known is None:
        notices.append(f"{without:,} of {len(rows):,} images have no label; they count as images without labels")
    return LabelSets(found.images, marks, names, sign, None, found.paths, tuple(notices))


def _check_count(path: Path, names: Sequence[str]) -> None:
    if len(names) < 2:
        raise DataError(f"{path} has {len(names)} labels; expected 2 or more for images with several labels each")
    if len(names) > _MOST:
        raise DataError(f"{path} has {len(names):,} different labels; expected at most {_MOST:,}")


def _read_npz(path: Path, known: Sequence[str] | None) -> LabelSets:
    arrays = {name.lower(): array for name, array in read_npz(path).items()}
    images, marks, parts = [], [], []
    for name, array in arrays.items():
        before, _, part = name.partition("_")
        if before not in ("x", "images") or (part and part not in PARTS):
            continue
        tail = f"_{part}" if part else ""
        own = next((arrays[key] for key in (f"y{tail}", f"labels{tail}") if key in arrays), None)
        if own is None:
            continue
        pixels = check_pixels(array, f"{name} of {path.name}")
        if own.ndim != 2 or len(own) != len(pixels) or own.dtype.kind not in "biuf" or not np.isin(own, (0, 1)).all():
            raise DataError(
                f"{path} has {len(pixels)} images {name} and labels of the shape {own.shape} ({own.dtype}); expected a matrix of 0 and 1, "
                "with one row per image and one column per label"
            )
        images.append(pixels)
        marks.append(own.astype(np.uint8))
        parts += [PARTS.get(part, "")] * len(pixels)
    if not images:
        raise DataError(f"{path} has the arrays {', '.join(sorted(arrays)[:10]) or '(none)'}; expected x and y")
    if len({each.shape[1:] for each in (*images,)}) > 1 or len({each.shape[1] for each in marks}) > 1:
        raise DataError(f"the images or the labels of {path} differ in shape from part to part")
    whole = np.concatenate(marks)
    given = [str(name) for name in arrays["classes"].ravel()] if "classes" in arrays else []
    if given and (len(given) != whole.shape[1] or len(set(given)) < len(given)):
        raise DataError(
            f"{path} names {len(given)} classes; expected {whole.shape[1]} different names, one for each column of y"
        )
    names = tuple(given or known or [str(column) for column in range(whole.shape[1])])
    if known is not None and (tuple(known) != names or len(names) != whole.shape[1]):
        raise SchemaError(
            f"{path} has {whole.shape[1]} labels ({', '.join(names[:8])}); the model knows {', '.join(known[:20])}"
        )
    _check_count(path, names)
    return LabelSets(np.concatenate(images), whole, names, "", None if "" in parts else np.asarray(parts))
