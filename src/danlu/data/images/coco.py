"""Boxes in COCO's JSON: images, annotations and categories."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from danlu.errors import DataError, first_line

__all__ = ["Objects", "read_coco"]

Objects = list[tuple[str, tuple[float, float, float, float]]]
"""Of one image: the class and the box (x0, y0, x1, y1) of each object."""

_COCO = ("images", "annotations", "categories")


def read_coco(file: Path) -> dict[str, Objects]:
    """The objects of each image file that a COCO file names; crowds are left out.

    Raises:
        DataError: not COCO's JSON, or annotations of images or categories that are not there.

    Reference: Lin et al. (2014), arXiv:1405.0312, and cocodataset.org, "data format".
    """
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise DataError(f"{file} cannot be read as JSON: {first_line(error, 80)}") from error
    lists = {key: document.get(key) if isinstance(document, Mapping) else None for key in _COCO}
    wrong = [key for key, value in lists.items() if not isinstance(value, list)]
    if wrong:
        raise DataError(f"{file} has no list {wrong[0]!r}; expected COCO's images, annotations and categories")
    files = _by_id(file, "images", lists["images"], "file_name")
    names = _by_id(file, "categories", lists["categories"], "name")
    objects: dict[str, Objects] = {name: [] for name in files.values()}
    for number, each in enumerate(lists["annotations"] or ()):
        own: Mapping[str, Any] = each if isinstance(each, Mapping) else {}
        if own.get("iscrowd"):
            continue  # a crowd is not one object
        image, category, box = (own.get(key) for key in ("image_id", "category_id", "bbox"))
        sound = isinstance(box, list) and len(box) == 4 and all(_is_number(value) for value in box)
        if not isinstance(image, int | str) or image not in files or not sound or box is None:
            raise DataError(
                f"annotation {number} of {file} is {str(each)[:100]}; expected the image_id of an image and a bbox [x, y, width, "
                "height]"
            )
        if not isinstance(category, int | str) or category not in names:
            raise DataError(f"annotation {number} of {file} has the category_id {category!r}, which no category has")
        x, y, width, height = (float(value) for value in box)
        objects[files[image]].append((names[category], (x, y, x + width, y + height)))
    return objects


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and bool(np.isfinite(value))


def _by_id(file: Path, what: str, rows: Any, key: str) -> dict[int | str, str]:
    found: dict[int | str, str] = {}
    for number, row in enumerate(rows):
        own: Mapping[str, Any] = row if isinstance(row, Mapping) else {}
        if not isinstance(own.get("id"), int | str) or not isinstance(own.get(key), str) or not own[key]:
            raise DataError(f"entry {number} of {what} in {file} is {str(row)[:80]}; expected an id and a {key}")
        if own["id"] in found:
            raise DataError(f"{file} has two {what} with the id {own['id']!r}")
        found[own["id"]] = own[key]
    return found
