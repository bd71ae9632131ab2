"""Pictures of many classes with few examples each: folders of classes, with or without a folder above them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from danlu.data.folders import files_in, folders_in
from danlu.data.images.pixels import is_picture
from danlu.data.images.read import PARTS, ImageSet, decode_files, read_images
from danlu.errors import DataError

__all__ = ["read_classes"]


def read_classes(source: str | Path, **how: Any) -> ImageSet:
    """Read pictures whose classes are the folders that they lie in, named by their path: ``Greek/character01``.

    Args:
        source: a folder of such folders, maybe in folders ``train``, ``val`` and ``test``, which say what its classes are for; or what else
            :func:`~danlu.data.images.read_images` reads with labels.
        **how: see :func:`~danlu.data.images.read_images`.

    Raises:
        DataError: no picture with a class.
    """
    path = Path(source)
    files = [file for file in files_in(path) if is_picture(file)] if path.is_dir() else []
    if not files:
        found = read_images(source, **how)
        if found.labels is None:
            raise DataError(
                f"the images of {source} have no labels", hint="put the images of each class into a folder of its own"
            )
        return _with_whole_classes(dataclasses.replace(found, labels=found.labels.cast(pl.String)))
    known = [file for file in files if file.parent != path]
    if not known:
        raise DataError(
            f"the folder {source} holds {len(files)} images and no folder for each class",
            hint="put the images of each class into a folder of its own",
        )
    tops = [child.name for child in folders_in(path) if any(map(is_picture, files_in(child)))]
    divided = all(name.lower() in PARTS for name in tops)
    places = [file.parent.relative_to(path).parts for file in known]
    if divided and any(len(place) < 2 for place in places):
        raise DataError(f"the folders {', '.join(tops)} of {source} hold images and no folder for each class")
    parts = np.array([PARTS[place[0].lower()] for place in places]) if divided else None
    names = ["/".join(place[1:] if divided else place) for place in places]
    found = decode_files(known, names, parts, how.get("memory"))
    told = len(files) - len(known)
    said = (f"{told} images next to the folders of {source} have no class and are left out",) if told else ()
    return _with_whole_classes(dataclasses.replace(found, notices=(*said, *found.notices)))


def _with_whole_classes(found: ImageSet) -> ImageSet:
    """The same with its parts only where they divide the classes; where a class is in several, that is said."""
    if found.parts is None:
        return found
    told = pl.DataFrame({"label": found.labels, "part": list(found.parts)})
    several = told.group_by("label").agg(pl.col("part").n_unique()).filter(pl.col("part") > 1).height
    if not several:
        return found
    notice = f"{several} classes are in several parts of the data, whose own parts are left aside: whole classes are divided here"
    return dataclasses.replace(found, parts=None, notices=(*found.notices, notice))
