"""Images with masks: the class of every pixel, from folders of PNG files or an npz file."""

from __future__ import annotations

import dataclasses
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from danlu.data.folders import files_in, folders_in
from danlu.data.images.encode import check_pixels
from danlu.data.images.files import ImageFiles, decoded_bytes, npz_shapes, some_of
from danlu.data.images.pixels import is_picture, open_whole, opened, why_not
from danlu.data.intake import read_npz
from danlu.data.threads import ordered
from danlu.errors import DataError

__all__ = ["MaskSet", "is_mask_source", "read_masks"]

_PARTS = {"train": "train", "training": "train", "val": "validation", "valid": "validation", "validation": "validation"}
_PARTS |= {"test": "test", "testing": "test"}
_IMAGES, _MASKS = ("images", "image", "imgs"), ("masks", "mask")
_NAMED = 10  # files that are named in a notice
_MOST = 64  # values that a mask is believed to have


@dataclasses.dataclass(frozen=True, eq=False)
class MaskSet:
    """Images with their masks.

    Attributes:
        images: uint8 arrays, all of one shape in one array, or a list; or files.
        masks: the same of the masks, ``(height, width)`` each, holding ``values``.
        values: the values that the masks hold, ascending, such as ``(0, 255)`` or ``(0, 1, 2)``.
        names: what each value is called, where the source says so, else the value itself.
        parts: ``"train"``, ``"validation"`` or ``"test"`` of each where the source says so, or None.
        paths: the image files, or numbers where there are none.
        notices: what the user should know, such as images without masks.
    """

    images: Sequence[np.ndarray] | np.ndarray
    masks: Sequence[np.ndarray] | np.ndarray
    values: tuple[int, ...]
    names: tuple[str, ...]
    paths: tuple[str, ...]
    parts: np.ndarray | None = None
    notices: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.images)

    def rows(self, places: np.ndarray) -> MaskSet:
        """Some of the images, by their numbers ``places (n,)``."""
        return dataclasses.replace(
            self,
            images=some_of(self.images, places),
            masks=some_of(self.masks, places),
            paths=tuple(self.paths[int(place)] for place in places),
            parts=None if self.parts is None else self.parts[places],
        )


def is_mask_source(source: Any) -> bool:
    """Whether a path appears to hold images with masks: see :func:`read_masks`. Never raises.

    Example:
        >>> is_mask_source("table.csv")
        False
    """
    if not isinstance(source, str | Path):
        return False
    path = Path(source)
    try:
        if path.is_dir():
            return bool(_folders(path))
        if path.suffix == ".npz":
            named = npz_shapes(path)
            return any(name.lower().split("_")[0] in _MASKS and len(shape) >= 3 for name, shape in named.items())
    except (OSError, ValueError, zipfile.BadZipFile):
        return False
    return False


def read_masks(source: str | Path, *, memory: int | None = None) -> MaskSet:
    """Read images with masks.

    Args:
        source: one of

            - a folder with the folders ``images`` and ``masks``, whose files have the same names but for their endings; or with
              folders ``train``, ``val`` and ``test`` of that kind,
            - an ``.npz`` file with ``x`` (images) and ``mask``, or ``x_train, mask_train, x_test, …``.

            A mask is a PNG file with a channel (a palette's numbers count, not its colours) whose values are class numbers, or 0 and
            255. A file ``classes.txt`` beside the folders, or an array ``classes``, names the values in their order, a line a class.
        memory: see :func:`~danlu.data.images.read_images`.

    Raises:
        DataError: nothing that can be read, or masks that do not fit the images.
    """
    path = Path(source)
    if not path.exists():
        raise DataError(f"there is no file or folder {path}")
    if path.suffix == ".npz":
        return _read_npz(path)
    folders = _folders(path) if path.is_dir() else {}
    if not folders:
        raise DataError(
            f"{path} holds no images with masks; expected a folder with the folders images and masks, or an npz file with x and mask"
        )
    images: list[Path] = []
    masks: list[Path] = []
    parts: list[str] = []
    notices: list[str] = []
    for part, (of_images, of_masks) in folders.items():
        pairs, said = _paired(of_images, of_masks)
        images += [image for image, _ in pairs]
        masks += [mask for _, mask in pairs]
        parts += [part] * len(pairs)
        notices += said
    found = _decoded(images, masks, memory, str(path))
    kept, some, drawn, said, values = found
    return MaskSet(
        some,
        drawn,
        values,
        _named(path, values, _listed(path / "classes.txt")),
        tuple(str(images[row]) for row in kept),
        None if parts[0] == "" else np.asarray(parts)[kept],
        (*notices, *said),
    )


def _folders(path: Path) -> dict[str, tuple[Path, Path]]:
    """The folders of images and of masks of each part; of ``""`` where the folder is not divided."""
    if whole := _pair_of_folders(path):
        return {"": whole}
    named = {child.name.lower(): child for child in folders_in(path)}
    found = {_PARTS[name]: _pair_of_folders(child) for name, child in named.items() if name in _PARTS}
    return {part: pair for part, pair in found.items() if pair is not None}


def _pair_of_folders(path: Path) -> tuple[Path, Path] | None:
    children = {child.name.lower(): child for child in folders_in(path)}
    images = next((children[name] for name in _IMAGES if name in children), None)
    masks = next((children[name] for name in _MASKS if name in children), None)
    return None if images is None or masks is None else (images, masks)


def _paired(images: Path, masks: Path) -> tuple[list[tuple[Path, Path]], list[str]]:
    """Images with the masks of their names, and what has no partner, in words."""
    sides = []
    for folder in (images, masks):
        files = [file for file in files_in(folder) if is_picture(file)]
        names = {file.relative_to(folder).with_suffix("").as_posix(): file for file in files}
        if len(names) < len(files):
            raise DataError(f"{folder} has {len(files)} images of {len(names)} names; expected one file for each name")
        sides.append(names)
    both = [name for name in sides[0] if name in sides[1]]
    if not both:
        first = next(iter(sides[0]), "(none)"), next(iter(sides[1]), "(none)")
        raise DataError(
            f"no mask in {masks} has the name of an image in {images}; the first names: {first[1]} and {first[0]}",
            hint="the mask of images/street.jpg is masks/street.png",
        )
    said = []
    for there in range(2):
        alone = [name for name in sides[there] if name not in sides[1 - there]]
        if alone:
            more = " …" if len(alone) > _NAMED else ""
            said.append(
                f"{len(alone)} {'masks have no image' if there else 'images have no mask'} and are left out: "
                f"{', '.join(alone[:_NAMED])}{more}"
            )
    return [(sides[0][name], sides[1][name]) for name in both], said


def open_mask(file: str) -> np.ndarray | str:
    """The values of a mask file, uint8 ``(h, w)``, or the reason why it cannot be read."""
    from PIL import Image, ImageOps

    try:
        with opened(file) as found:
            picture = ImageOps.exif_transpose(found)
            array = np.asarray(picture)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        return why_not(error)
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * 255
    if array.ndim == 3:  # grey that is stored in colour is as good as grey; the transparency of a mask means nothing
        colors = array[..., :1] if picture.mode == "LA" else array[..., :3]
        if np.ptp(colors, axis=2).any():
            return f"a picture in colours (mode {picture.mode}); expected one number a pixel"
        array = colors[..., 0]
    if array.size and (array.min() < 0 or array.max() > 255 or (array != np.rint(array)).any()):
        return f"values from {array.min()} to {array.max()}; expected whole numbers from 0 to 255"
    return array.astype(np.uint8)


def _decoded(
    images: Sequence[Path], masks: Sequence[Path], memory: int | None, where: str
) -> tuple[list[int], Any, Any, list[str], tuple[int, ...]]:
    """The places of the pairs that are whole, their images and masks, what is to be said, and the values of the masks."""

    def look(pair: tuple[Path, Path]) -> tuple[Any, Any, Any]:
        image, mask = open_whole(pair[0]), open_mask(str(pair[1]))
        if isinstance(image, str) or isinstance(mask, str):
            wrong = (pair[0], image) if isinstance(image, str) else (pair[1], mask)
            return f"{wrong[0]} ({wrong[1]})", None, None
        if image.shape[:2] != mask.shape:
            sizes = " and ".join(f"{each[1]}×{each[0]}" for each in (image.shape, mask.shape))
            return f"{pair[0]} (the image and its mask have {sizes} pixels)", None, None
        there = np.flatnonzero(np.bincount(mask.ravel(), minlength=256))
        return ((image.shape, mask.shape), None, there) if in_files else (image, mask, there)

    in_files = memory is not None and (not memory or decoded_bytes([*images, *masks], whole=True) > memory)
    found = list(ordered(look, zip(images, masks, strict=True)))
    kept = [row for row, each in enumerate(found) if not isinstance(each[0], str)]
    broken = [each[0] for each in found if isinstance(each[0], str)]
    if not kept:
        raise DataError(f"none of the {len(found)} images with masks of {where} can be used; the first: {broken[0]}")
    notices = []
    if broken:
        more = f" and {len(broken) - _NAMED} more" if len(broken) > _NAMED else ""
        notices.append(
            f"{len(broken)} of {len(found)} images are left out: they or their masks cannot be used: "
            f"{', '.join(broken[:_NAMED])}{more}"
        )
    values = tuple(int(value) for value in np.unique(np.concatenate([found[row][2] for row in kept])))
    if in_files:
        shapes = [found[row][0] for row in kept]
        some: Any = ImageFiles(tuple(str(images[row]) for row in kept), tuple(each[0] for each in shapes), open_whole)
        drawn: Any = ImageFiles(tuple(str(masks[row]) for row in kept), tuple(each[1] for each in shapes), open_mask)
    else:
        some, drawn = [found[row][0] for row in kept], [found[row][1] for row in kept]
        if len({image.shape for image in some}) == 1:
            some, drawn = np.stack(some), np.stack(drawn)
    return kept, some, drawn, notices, values


def _listed(file: Path) -> list[str]:
    if not file.is_file():
        return []
    try:
        return [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file} cannot be read: {error}") from error


def _named(path: Path, values: tuple[int, ...], names: Sequence[str]) -> tuple[str, ...]:
    """The name of each value: of class numbers by their number, else in their order; the values themselves without names."""
    if len(values) > _MOST:
        raise DataError(
            f"the masks of {path} hold {len(values)} different values; expected class numbers, or 0 and 255",
            hint="save masks as PNG and without smoothing: JPEG and resizing make values that no class has",
        )
    if len(values) < 2:
        raise DataError(f"the masks of {path} hold only the value {values[0]}; expected two classes or more")
    if not names:
        return tuple(str(value) for value in values)
    if len(set(names)) < len(names):
        raise DataError(f"the classes of {path} have the same name twice: {', '.join(names[:20])}")
    if max(value for value in values if value != 255 or len(values) == 2) < len(names):
        return tuple(names[value] if value < len(names) else str(value) for value in values)
    if len(names) == len(values):
        return tuple(names)
    raise DataError(
        f"{path} names {len(names)} classes and its masks hold the values {', '.join(map(str, values[:20]))}; expected a name for "
        "each, in the order of the class numbers"
    )


def _read_npz(path: Path) -> MaskSet:
    arrays = {name.lower(): array for name, array in read_npz(path).items()}
    images, masks, parts = [], [], []
    for name, array in arrays.items():
        before, _, part = name.partition("_")
        if before not in ("x", *_IMAGES) or (part and part not in _PARTS):
            continue
        drawn = next((arrays[key] for what in _MASKS if (key := what + (f"_{part}" if part else "")) in arrays), None)
        if drawn is not None:
            images.append(check_pixels(array, f"{name} of {path.name}"))
            masks.append(_checked_masks(drawn, images[-1], f"{path.name}, mask of {name}"))
            parts += [_PARTS.get(part, "")] * len(array)
    if not images:
        raise DataError(
            f"{path} has the arrays {', '.join(sorted(arrays)[:10]) or '(none)'}; expected x and mask, or x_train, mask_train, "
            "x_test, mask_test"
        )
    if len({each.shape[1:] for each in images}) > 1:
        raise DataError(
            f"the images of {path} differ in shape from part to part: {[each.shape[1:] for each in images]}"
        )
    pixels, drawn = np.concatenate(images), np.concatenate(masks)
    values = tuple(
        int(value) for value in np.flatnonzero(sum(np.bincount(each.ravel(), minlength=256) for each in drawn))
    )
    names = [str(name) for name in arrays["classes"].ravel()] if "classes" in arrays else []
    return MaskSet(
        pixels,
        drawn,
        values,
        _named(path, values, names),
        tuple(f"image {row}" for row in range(len(pixels))),
        None if "" in parts else np.asarray(parts),
    )


def _checked_masks(masks: np.ndarray, images: np.ndarray, where: str) -> np.ndarray:
    if masks.ndim == 4 and masks.shape[3] == 1:
        masks = masks[..., 0]
    if masks.shape != images.shape[:3]:
        raise DataError(
            f"{where} has the shape {masks.shape} for images of the shape {images.shape}; expected (images, height, width)"
        )
    if masks.dtype == np.bool_:
        return masks.astype(np.uint8)
    if masks.dtype.kind not in "iuf" or not np.isfinite(masks).all() or (masks != np.rint(masks)).any():
        raise DataError(f"{where} holds {masks.dtype} values that are not whole; expected class numbers from 0 to 255")
    if masks.min() < 0 or masks.max() > 255:
        raise DataError(
            f"{where} holds values from {masks.min()} to {masks.max()}; expected class numbers from 0 to 255"
        )
    return masks.astype(np.uint8)


def as_codes(mask: np.ndarray, table: np.ndarray, height: int, width: int) -> np.ndarray:
    """A mask of values as class numbers ``(height, width)``, by ``table[value]``, resized to the nearest pixel."""
    codes = table[mask]
    if codes.shape == (height, width):
        return codes
    from PIL import Image

    return np.asarray(Image.fromarray(codes).resize((width, height), Image.Resampling.NEAREST))


def code_table(values: Mapping[int, int]) -> np.ndarray:
    """``table[value]`` is the class number of a mask's value, uint8 ``(256,)``; 255, which is not counted, for all others."""
    table = np.full(256, 255, np.uint8)
    for value, code in values.items():
        table[value] = code
    return table
