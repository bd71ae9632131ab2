"""Recordings from ``.wav`` files: one, a folder of them, or a folder with a folder of them for each class."""

from __future__ import annotations

import dataclasses
import io
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from danlu.data.folders import files_in, folders_in
from danlu.errors import DataError

__all__ = ["Sound", "SoundSet", "decoded", "is_sound_source", "read_sounds"]

_SHOWN = 5
_LOUDEST = 1e12  # the energy of louder samples could not be computed in float32
_OTHERS = (".mp3", ".flac", ".ogg", ".oga", ".opus", ".m4a", ".aac", ".wma", ".aif", ".aiff")
_CONVERT = "convert them first, such as: ffmpeg -i NAME.mp3 NAME.wav"
_PARTS = {"train": "train", "training": "train", "valid": "validation", "val": "validation", "validation": "validation"}
_PARTS |= {"test": "test", "testing": "test"}


@dataclasses.dataclass(frozen=True, eq=False)
class Sound:
    """One recording.

    Attributes:
        samples: float32 ``(samples,)`` in −1 … 1; the channels' mean.
        rate: samples a second.
    """

    samples: np.ndarray
    rate: int

    @property
    def seconds(self) -> float:
        """How long it is."""
        return len(self.samples) / self.rate


@dataclasses.dataclass(frozen=True, eq=False)
class SoundSet:
    """Recordings with their files.

    Attributes:
        sounds: the recordings.
        paths: of their files, below the source.
        labels: the class of each, where they lie in folders; else None.
        parts: the part of each, where the source has the folders train and test; else None.
        notices: what was left out.
    """

    sounds: tuple[Sound, ...]
    paths: tuple[str, ...]
    labels: pl.Series | None = None
    parts: np.ndarray | None = None
    notices: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.sounds)

    def rows(self, numbers: Iterable[int]) -> SoundSet:
        """Some of them."""
        chosen = [int(number) for number in numbers]
        return SoundSet(
            tuple(self.sounds[row] for row in chosen),
            tuple(self.paths[row] for row in chosen),
            None if self.labels is None else self.labels[chosen],
            None if self.parts is None else self.parts[chosen],
            self.notices,
        )


def is_sound_source(source: Any) -> bool:
    """Whether it is a recording, or a folder with some in it or in its folders; cheap, and never raises.

    Recordings of other formats than ``.wav`` count: :func:`read_sounds` says that they must be converted.
    """
    if not isinstance(source, str | Path):
        return False
    try:
        path = Path(source)
        if path.is_file():
            return path.suffix.lower() in (".wav", *_OTHERS)
        if not path.is_dir():
            return False
        inner = [
            path,
            *folders_in(path)[:8],
            *(deep for folder in folders_in(path)[:4] for deep in folders_in(folder)[:4]),
        ]
        return any(each.suffix.lower() in (".wav", *_OTHERS) for folder in inner for each in _some(folder))
    except (OSError, ValueError):
        return False


def _some(folder: Path) -> list[Path]:
    return [file for file, _ in zip(files_in(folder, depth=0), range(3), strict=False)]


def decoded(data: bytes) -> Sound:
    """The recording in a ``.wav`` file's bytes: PCM of 8 to 32 bits, or floats, of any number of channels.

    Raises:
        DataError: it is none, or holds no sample.
    """
    from scipy.io import wavfile

    if data[:4] not in (b"RIFF", b"RIFX", b"RF64"):
        raise DataError("not a .wav file" if data else "an empty file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # chunks that say nothing of the samples
            rate, values = wavfile.read(io.BytesIO(data))
    except Exception as error:  # the reader raises what it likes for a damaged file
        raise DataError(f"not a readable .wav file ({str(error)[:60] or type(error).__name__})") from error
    values = np.asarray(values)
    if not values.size or rate <= 0:
        raise DataError("a recording without samples")
    scaled: np.ndarray
    if values.dtype == np.uint8:
        scaled = (values.astype(np.float32) - 128) / 128
    elif values.dtype.kind == "i":
        scaled = values.astype(np.float32) / -float(np.iinfo(values.dtype).min)
    else:
        with np.errstate(over="ignore"):
            scaled = values.astype(np.float32)
    mono = scaled if scaled.ndim == 1 else scaled.mean(axis=1)
    if not (np.abs(mono) <= _LOUDEST).all():
        raise DataError(f"a recording with samples that are not finite, or above {_LOUDEST:.0e}")
    return Sound(mono.astype(np.float32), int(rate))


def read_sounds(source: str | Path) -> SoundSet:
    """Every recording of a source.

    Files that cannot be read are left out, with a notice.

    Raises:
        DataError: there is no source, or no recording in it that can be read.
    """
    root = Path(source)
    if not root.exists():
        raise DataError(f"{root} was not found", hint="give a .wav file, or a folder of them")
    there = [root] if root.is_file() else list(files_in(root))
    files = [each for each in there if root.is_file() or each.suffix.lower() == ".wav"]
    others = [each.name for each in there if each.suffix.lower() in _OTHERS and each not in files]
    found, paths, broken = [], [], []
    for file in files:
        try:
            found.append(decoded(file.read_bytes()))
            paths.append(file)
        except (DataError, OSError) as error:
            broken.append(f"{file.name} ({error.message if isinstance(error, DataError) else error.strerror})")
    if not found:
        said = f": {'; '.join(broken[:_SHOWN])}" if broken else ""
        told = f"; its {others[0]} is of a format that is not read" if others else ""
        raise DataError(
            f"{root} has no .wav file that can be read{said}{told}",
            hint=_CONVERT if others or root.suffix.lower() in _OTHERS else None,
        )
    notices = []
    if others:
        shown = ", ".join(others[:_SHOWN]) + (", …" if len(others) > _SHOWN else "")
        notices.append(f"recordings in formats other than .wav were left out ({len(others):,}: {shown}); {_CONVERT}")
    if broken:
        more = "; …" if len(broken) > _SHOWN else ""
        notices.append(
            f"{len(broken)} of {len(files)} recordings cannot be read and were left out: {'; '.join(broken[:_SHOWN])}{more}"
        )
    below = [file.relative_to(root).parts if root.is_dir() else (file.name,) for file in paths]
    first = {parts[0].lower() for parts in below if len(parts) > 2}
    divided = bool(first) and first <= set(_PARTS) and "train" in {_PARTS[name] for name in first}
    names = [parts[-2] if len(parts) > 1 else None for parts in below]
    labels = pl.Series("label", names, pl.String) if root.is_dir() and all(names) else None
    part = np.array([_PARTS[parts[0].lower()] if len(parts) > 2 else "train" for parts in below]) if divided else None
    return SoundSet(tuple(found), tuple("/".join(parts) for parts in below), labels, part, tuple(notices))
