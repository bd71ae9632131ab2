"""Recordings within a graph: samples to the picture of their loudness."""

from __future__ import annotations

from typing import Any

import numpy as np

from danlu.data.sounds import Sound, SoundEncoder
from danlu.data.sounds.encode import FAINT, mel_filters
from danlu.export.graph import Graph
from danlu.export.primitives import BATCH, Input

__all__ = ["about_sound", "encode_sound", "feed_sound", "made_sound"]

_FEW = 12


def encode_sound(graph: Graph, encoder: SoundEncoder) -> Input:
    """As :meth:`SoundEncoder.transform`, in float64, with the Fourier transform as a matrix product."""
    samples = graph.input("samples", np.float32, (BATCH, "samples"))
    length = graph.input("length", np.int64, (BATCH,))
    zero = graph.constant(np.int64(0))
    # The middle of a longer recording; silence after a shorter one.
    spare = graph.op("Sub", length, graph.constant(np.int64(encoder.room)))
    low = graph.op("Div", graph.op("Max", spare, zero), graph.constant(np.int64(2)))
    places = graph.op("Add", graph.op("Unsqueeze", low, graph.ints(1)), graph.constant(np.arange(encoder.room)[None]))
    real = graph.op("Less", places, graph.op("Unsqueeze", length, graph.ints(1)))  # (rows, room)
    longer = graph.op(
        "Pad", samples, graph.ints(0, 0, 0, 1), graph.constant(np.float32(0))
    )  # one sample where there is none
    last = graph.op("Shape", samples, start=1, end=2)
    heard = graph.op("GatherElements", longer, graph.op("Min", places, last), axis=1)
    heard = graph.cast(graph.op("Where", real, heard, graph.constant(np.float32(0))), np.float64)
    steps = graph.constant(encoder.step * np.arange(encoder.frames)[:, None])
    inside = np.arange(encoder.window)
    cut = graph.op(
        "Gather", heard, graph.op("Add", steps, graph.constant(inside[None])), axis=1
    )  # (rows, frames, window)
    # |Σ x·w·e^{-2πi·kn/N}|², by tables of N turns, so that the file is small: a runtime makes the matrices as it loads it.
    turns = graph.op("Mul", graph.constant(inside[:, None]), graph.constant(np.arange(encoder.points // 2 + 1)[None]))
    turns = graph.op("Mod", turns, graph.constant(np.int64(encoder.points)))
    shaped, angles = (
        graph.constant(np.hanning(encoder.window)[:, None]),
        2 * np.pi * np.arange(encoder.points) / encoder.points,
    )
    waves = [graph.op("Gather", graph.constant(wave(angles)), turns) for wave in (np.cos, np.sin)]
    parts = [graph.op("MatMul", cut, graph.op("Mul", wave, shaped)) for wave in waves]
    power = graph.op("Add", *(graph.op("Mul", each, each) for each in parts))
    bands = mel_filters(encoder.rate, encoder.points, encoder.bands).astype(np.float64)[:, ::-1] / encoder.window
    energy = graph.op("Transpose", graph.op("MatMul", power, graph.constant(bands)), perm=[0, 2, 1])
    energy = graph.op("Max", energy, graph.constant(np.float64(FAINT)))
    decibels = graph.op("Mul", graph.op("Log", energy), graph.constant(np.float64(10 / np.log(10))))
    bright = graph.op("Sub", decibels, graph.constant(np.float64(encoder.low)))
    bright = graph.op("Div", bright, graph.constant(np.float64(encoder.high - encoder.low)))
    bright = graph.op("Clip", bright, graph.constant(np.float64(0)), graph.constant(np.float64(1)))
    picture = graph.op("Round", graph.op("Mul", bright, graph.constant(np.float64(255))))
    picture = graph.op("Unsqueeze", graph.cast(picture, np.uint8), graph.ints(3))
    return Input(picture, np.uint8, encoder.in_shape)


def feed_sound(encoder: SoundEncoder, rows: Any) -> dict[str, np.ndarray]:
    """The samples at the encoder's rate side by side, zeros after their ends."""
    each = [encoder.samples(one) for one in rows]
    samples = np.zeros((len(each), max(map(len, each), default=0)), np.float32)
    for row, own in enumerate(each):
        samples[row, : len(own)] = own
    return {"samples": samples, "length": np.asarray([len(own) for own in each], np.int64)}


def made_sound(encoder: SoundEncoder, random: np.random.Generator) -> list[Sound]:
    """Noise and tones of all lengths and loudnesses, silence, and one sample."""
    made = [Sound(np.zeros(encoder.room, np.float32), encoder.rate), Sound(np.ones(1, np.float32), encoder.rate)]
    for place in range(_FEW):
        count = int(random.integers(encoder.window, 2 * encoder.room))
        loud = 10.0 ** random.integers(-5, 3)
        wave = random.normal(size=count) if place % 2 else np.sin(np.arange(count) * random.uniform(0.01, 3))
        made.append(Sound((loud * wave).astype(np.float32), encoder.rate))
    return made


def about_sound(encoder: SoundEncoder) -> list[dict[str, Any]]:
    """What the inputs are."""
    samples = {"name": "samples", "kind": "sound", "type": "float32", "shape": ["samples"], "rate": encoder.rate}
    return [samples, {"name": "length", "kind": "sound", "type": "int64", "shape": []}]
