"""Recordings to pictures of one shape: how loud each band of pitches is over time."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from danlu.data.fields import Field
from danlu.data.sounds.read import Sound, decoded
from danlu.errors import ArtifactError, DataError, SchemaError

__all__ = ["FAINT", "SoundEncoder", "mel_filters"]

_WINDOW, _STEP = 0.025, 0.010  # seconds that a column is of, and from one to the next
_LONGEST = 10.0  # seconds that are kept by themselves
_FRAMES = 256  # columns at most: longer recordings have wider steps
FAINT = 1e-10
"""The energy below which all is silence."""
_LIMITS = {"rate": (1000, 400_000), "bands": (8, 256), "frames": (4, 4096)}


def mel_filters(rate: int, points: int, bands: int) -> np.ndarray:
    """Triangles evenly spaced on the mel scale, ``2595·log₁₀(1 + f/700)``: float32 ``(points // 2 + 1, bands)``.

    Each is of height 1 at its own pitch and falls to 0 at its neighbours'.

    Args:
        rate: samples a second.
        points: samples of a window.

    Reference: Davis & Mermelstein, "Comparison of parametric representations for monosyllabic word recognition" (1980).

    Example:
        >>> mel_filters(8000, 256, 20).shape, float(mel_filters(8000, 256, 20).max()) <= 1.0
        ((129, 20), True)
    """
    top = 2595 * math.log10(1 + rate / 2 / 700)
    pitches = 700 * (10 ** (np.linspace(0, top, bands + 2) / 2595) - 1)
    own = np.linspace(0, rate / 2, points // 2 + 1)[:, None]
    rising = (own - pitches[:-2]) / np.diff(pitches)[:-1]
    falling = (pitches[2:] - own) / np.diff(pitches)[1:]
    return np.maximum(np.minimum(rising, falling), 0).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class SoundEncoder:
    """Log-mel pictures: the loudness of each band in decibels, between two that are black and white.

    Attributes:
        rate: samples a second that recordings are brought to.
        bands: bands of pitches, the rows of a picture.
        frames: columns of a picture; shorter recordings are followed by silence, of longer ones the middle is kept.
        step: samples from one column to the next.
        low, high: decibels that are black and white.

    Example:
        >>> tone = Sound(np.sin(np.arange(8000) * 0.5).astype(np.float32), 8000)
        >>> encoder = SoundEncoder.fit([tone, tone])
        >>> encoder.in_shape, encoder.transform([tone]).shape
        ((64, 98, 1), (1, 64, 98, 1))
    """

    rate: int
    bands: int
    frames: int
    step: int
    low: float
    high: float

    @classmethod
    def fit(cls, sounds: Sequence[Sound], *, bands: int = 64, seconds: float | None = None) -> SoundEncoder:
        """The encoder for training recordings.

        Args:
            sounds: some recordings.
            bands: rows of a picture.
            seconds: that are kept of a recording; None is as long as 95 % of them are, at most 10.
        """
        rates = [each.rate for each in sounds]
        rate = max(set(rates), key=lambda one: (rates.count(one), one))
        kept = seconds or min(float(np.quantile([each.seconds for each in sounds], 0.95)), _LONGEST)
        samples = max(kept, 4 * _STEP + _WINDOW) * rate
        step = max(round(_STEP * rate), math.ceil((samples - _WINDOW * rate) / (_FRAMES - 1)), 1)
        frames = max(int((samples - round(_WINDOW * rate)) // step) + 1, 4)
        plain = cls(rate, bands, frames, step, 0.0, 1.0)
        loud = np.concatenate([plain.decibels(each).ravel() for each in sounds[:200]])
        low, high = (float(end) for end in np.quantile(loud, [0.05, 0.999]))
        return dataclasses.replace(plain, low=low, high=max(high, low + 1.0))

    @property
    def in_shape(self) -> tuple[int, int, int]:
        """``(bands, frames, 1)``, what a network's ``init`` takes."""
        return self.bands, self.frames, 1

    @property
    def fields(self) -> tuple[Field, ...]:
        """The bytes of a ``.wav`` file, in base64."""
        return (Field("sound", "sound"),)

    def rows(self, records: Sequence[Mapping[str, Any]], say: Callable[[str], None]) -> list[Sound]:
        """The recordings of records.

        Raises:
            SchemaError: what is no ``.wav`` file in base64.
        """
        found = []
        for number, record in enumerate(records, 1):
            try:
                given = record["sound"]
                if not isinstance(given, str):
                    raise DataError("not a text")
                found.append(decoded(base64.b64decode(given.split(",", 1)[-1], validate=True)))
            except (DataError, binascii.Error, ValueError) as error:
                said = error.message if isinstance(error, DataError) else str(error)
                raise SchemaError(
                    f"'sound' of record {number} is {str(record['sound'])[:40]!r} ({said}); expected the bytes of a .wav file in base64"
                ) from None
        return found

    @property
    def window(self) -> int:
        """Samples that a column is of."""
        return round(_WINDOW * self.rate)

    @property
    def room(self) -> int:
        """Samples that a picture is of."""
        return self.window + (self.frames - 1) * self.step

    def samples(self, sound: Sound) -> np.ndarray:
        """The recording at the encoder's rate, float32 ``(samples,)``."""
        if sound.rate == self.rate:
            return sound.samples
        from scipy.signal import resample_poly

        shared = math.gcd(sound.rate, self.rate)
        found: np.ndarray = resample_poly(sound.samples, self.rate // shared, sound.rate // shared)
        return found.astype(np.float32)

    def decibels(self, sound: Sound) -> np.ndarray:
        """``10·log₁₀`` of the energy in each band, float64 ``(bands, frames)``: so fine that another machine has the same picture."""
        samples = self.samples(sound).astype(np.float64)
        spare = len(samples) - self.room
        samples = samples[spare // 2 : spare // 2 + self.room] if spare > 0 else np.pad(samples, (0, -spare))
        cut = np.lib.stride_tricks.sliding_window_view(samples, self.window)[:: self.step][: self.frames]
        power = np.abs(np.fft.rfft(cut * np.hanning(self.window), self.points)) ** 2 / self.window
        energy = power @ mel_filters(self.rate, self.points, self.bands).astype(np.float64)
        decibels: np.ndarray = 10 * np.log10(np.maximum(energy.T, FAINT))
        return decibels

    @property
    def points(self) -> int:
        """Of the Fourier transform: the power of 2 from the window on."""
        return 1 << (self.window - 1).bit_length()

    def transform(self, sounds: Sequence[Sound]) -> np.ndarray:
        """``uint8 (rows, bands, frames, 1)``, low pitches at the bottom."""
        out = np.empty((len(sounds), *self.in_shape), np.uint8)
        for row, sound in enumerate(sounds):
            bright = (self.decibels(sound) - self.low) / (self.high - self.low)
            out[row] = np.round(255 * np.clip(bright, 0, 1))[::-1, :, None]
        return out

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Plain data and arrays (none), for the artifact."""
        return {"kind": "sound", **dataclasses.asdict(self)}, {}

    @classmethod
    def from_state(cls, data: Any, arrays: Mapping[str, np.ndarray]) -> SoundEncoder:
        """The encoder that :meth:`state` described.

        Raises:
            ArtifactError: it is damaged.
        """
        read = data if isinstance(data, Mapping) else {}
        sizes: dict[str, Any] = {name: read.get(name) for name in ("rate", "bands", "frames", "step")}
        ends: list[Any] = [read.get(name) for name in ("low", "high")]
        bounds = {**_LIMITS, "step": (1, 10**7)}
        sound = all(type(size) is int and bounds[name][0] <= size <= bounds[name][1] for name, size in sizes.items())
        if not sound or not all(type(end) in (int, float) and math.isfinite(end) for end in ends) or ends[0] >= ends[1]:
            raise ArtifactError(f"the sound encoder is damaged: {str(data)[:80]!r}")
        return cls(**sizes, low=float(ends[0]), high=float(ends[1]))
