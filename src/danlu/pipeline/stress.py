"""``danlu stress``: a trained model under noise, missing values, shifted columns, and changes of pictures, small and worst."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl

from danlu.errors import ConfigError, SchemaError
from danlu.evaluate import Rows
from danlu.evaluate.intervals import figure
from danlu.evaluate.stress import Stress, stressed
from danlu.nn.attack import worst_change
from danlu.pipeline.domains import load_model
from danlu.stages import stage
from danlu.trained import Labels, Say, Trained
from danlu.trained.labels import members_mean
from danlu.trained.read import warn

__all__ = ["stress"]

_NOISE = (0.1, 0.3, 1.0)  # standard deviations
_LOST = (0.1, 0.3, 0.5)
_SWAPPED = (0.1, 0.3)
_COLUMNS = 8  # whose shift is told, the dearest
_RADII = (2, 8, 32)  # of 255
_PGD = 10
_BATCH = 256


def stress(run: Any, source: Any, *, most: int = 2000, seed: int = 0, lenient: bool = False, say: Say = warn) -> Stress:
    """How much worse a trained model gets when its inputs are worse.

    Of a table: noise on the numbers (in standard deviations of the rows), cells that are missing, categories of other rows, and each column
    of numbers shifted by a standard deviation. Of pictures: brightness, contrast, shift, rotation and noise, and the worst changes of
    so many steps of 255 of every pixel, by FGSM and by PGD of ten steps.

    Args:
        run: a trained model, or its run's folder.
        source: rows with true answers.
        most: the most rows that are tested, drawn at random.
        seed: of what is drawn.
        lenient, say: as of :meth:`Trained.predict <danlu.trained.Trained.predict>`.

    Raises:
        SchemaError: data that does not fit what the model was trained on, or without the truth.
        ConfigError: a model of other data than tables and pictures with one label each.
    """
    model = run if isinstance(run, Trained) else load_model(Path(run))
    if model.kind not in ("table", "image") or not isinstance(model.head, Labels):
        raise ConfigError(
            f"stress is for models of tables and of pictures with one class each; this is a model for {model.purpose}"
        )
    found = model.read(source, lenient=lenient, say=say, truth=True)
    if found.truth is None:
        raise SchemaError("the data lacks the true answers, which stress needs")
    rng, rows, truth = np.random.default_rng(seed), found.rows, np.asarray(found.truth)
    inputs = model.encoder.transform(rows)
    fresh, _ = model._unseen(inputs, truth, say)
    kept = np.arange(len(truth)) if fresh is None else fresh
    if len(kept) > most:
        say(f"{most:,} of {len(kept):,} rows, drawn at random, are tested")
        kept = np.sort(rng.permutation(kept)[:most])
    truth = truth[kept]
    if model.kind == "table":
        frame: pl.DataFrame = rows[kept]

        def judged(changed: pl.DataFrame) -> Rows:
            answers = model.answer_rows(changed)
            return model.head.decided(model.head.evidence(answers, truth), frame)

        with stage("stress"):
            return _dearest(
                stressed(judged(frame), ((kind, said, judged(own)) for kind, said, own in _tables(model, frame, rng)))
            )
    pixels = np.asarray(inputs)[kept].astype(np.float32)

    def seen(changed: np.ndarray) -> Rows:
        evidence: Rows = model.head.evidence(model.answer(changed.astype(np.float32)), truth)
        return evidence

    with stage("stress"):
        return stressed(
            seen(pixels), ((kind, said, seen(own)) for kind, said, own in _pictures(model, pixels, truth, rng))
        )


def _tables(model: Trained, frame: pl.DataFrame, rng: np.random.Generator) -> Iterator[tuple[str, str, pl.DataFrame]]:
    schema = model.encoder.schema
    numbers = [column.name for column in schema.of_kind("numeric")]
    levels = [column.name for kind in ("categorical", "boolean") for column in schema.of_kind(kind)]
    spread = {name: float(frame[name].cast(pl.Float64).std() or 0.0) for name in numbers}

    def moved(name: str, by: Any) -> pl.Series:
        return (frame[name].cast(pl.Float64) + by).alias(name)

    for size in _NOISE if numbers else ():
        draws = {name: pl.Series(rng.normal(0, size * spread[name], frame.height)) for name in numbers}
        changed = frame.with_columns(moved(name, draws[name]) for name in numbers)
        yield "noise", f"noise of {size:g} standard deviations", changed
    for share in _LOST:
        lost = {name: pl.Series(rng.random(frame.height) < share) for name in (*numbers, *levels)}
        changed = frame.with_columns(frame[name].set(lost[name], None).alias(name) for name in lost)
        yield "missing", f"{100 * share:g} % of the values missing", changed
    for share in _SWAPPED if levels else ():
        columns = []
        for name in levels:
            swapped = frame[name].gather(rng.permutation(frame.height))
            columns.append(frame[name].zip_with(pl.Series(rng.random(frame.height) >= share), swapped).alias(name))
        yield "swapped", f"{100 * share:g} % of categories from other rows", frame.with_columns(columns)
    for name in numbers:
        for sign in (1, -1):
            if spread[name]:
                by = figure(sign * spread[name], 3)
                yield "shifted", f"{name} shifted by {by}", frame.with_columns(moved(name, sign * spread[name]))


def _dearest(found: Stress) -> Stress:
    """The same with the dearest of the shifted columns only."""
    shifted = sorted((each for each in found.rows if each.kind == "shifted"), key=lambda each: -each.worse.value)
    rest = tuple(each for each in found.rows if each.kind != "shifted")
    return dataclasses.replace(found, rows=(*rest, *shifted[:_COLUMNS]))


def _pictures(
    model: Trained, pixels: np.ndarray, truth: np.ndarray, rng: np.random.Generator
) -> Iterator[tuple[str, str, np.ndarray]]:
    from scipy import ndimage

    def bounded(changed: np.ndarray) -> np.ndarray:
        return np.clip(changed, 0, 255)

    for factor in (0.7, 1.3):
        yield "brightness", f"brightness × {factor:g}", bounded(pixels * factor)
    middle = pixels.mean(axis=(1, 2, 3), keepdims=True)
    yield "contrast", "half of the contrast", bounded(middle + 0.5 * (pixels - middle))
    for by in (1, 2):
        yield (
            "shift",
            f"shifted by {by} pixel{'s' if by > 1 else ''}",
            ndimage.shift(pixels, (0, by, by, 0), order=0, mode="nearest"),
        )
    for angle in (10, 20):
        turned = ndimage.rotate(pixels, angle, axes=(1, 2), reshape=False, order=1, mode="nearest")
        yield "rotation", f"turned by {angle}°", bounded(turned)
    for size in (0.05, 0.1):
        yield (
            "noise",
            f"noise of {100 * size:g} % of the range",
            bounded(pixels + rng.normal(0, 255 * size, pixels.shape)),
        )
    for steps, name in ((1, "FGSM"), (_PGD, "PGD")):
        attacked = _attack(model, steps)
        for radius in _RADII:
            yield name.lower(), f"worst change by {radius}/255 ({name})", _worst(attacked, pixels, truth, float(radius))


def _attack(model: Trained, steps: int) -> Callable[..., Any]:
    """The worst pictures within a radius of given ones, as one compiled program: ``(pixels, truth, radius) -> pixels``."""

    def attacked(x: jax.Array, y: jax.Array, radius: jax.Array) -> Any:
        def loss(changed: jax.Array) -> jax.Array:
            p = members_mean(model.task, model.forward(changed))
            return -jnp.log(jnp.take_along_axis(p, y[:, None], axis=1) + 1e-12).sum()

        return worst_change(loss, x, radius, steps=steps, low=0.0, high=255.0)

    return jax.jit(attacked)


def _worst(attacked: Callable[..., Any], pixels: np.ndarray, truth: np.ndarray, radius: float) -> np.ndarray:
    size, parts = min(_BATCH, len(pixels)), []
    for start in range(0, len(pixels), size):
        count = min(size, len(pixels) - start)
        own = np.resize(np.arange(start, start + count), size)  # batches of one size: one compilation
        parts.append(np.asarray(attacked(jnp.asarray(pixels[own]), jnp.asarray(truth[own]), radius))[:count])
    return np.concatenate(parts)
