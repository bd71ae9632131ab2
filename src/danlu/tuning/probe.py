"""Two probes before a training: at which learning rate the loss falls fastest, and what a batch size costs."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.engine import enable_compilation_cache
from danlu.engine.build import build_program
from danlu.engine.initial import initial_state
from danlu.engine.loop import run_steps, unrolled
from danlu.engine.options import FitOptions
from danlu.engine.order import rng_for
from danlu.engine.sources import ArraySource
from danlu.errors import ConfigError
from danlu.evaluate.intervals import figure
from danlu.memory import in_words
from danlu.optim import set_hyperparameter
from danlu.optim.schedules import Exponential
from danlu.pipeline.config import TrainConfig
from danlu.pipeline.labelled import Labelled, PreparedRows
from danlu.pipeline.once import prepare
from danlu.pipeline.space import rounded
from danlu.pipeline.train import config_of
from danlu.stages import showing, stage
from danlu.tasks import Recipe
from danlu.tasks.learn import lesson_of
from danlu.trained import Say

__all__ = ["BatchSizes", "Rates", "batch_sizes_of", "bounded", "find_batch_size", "find_lr", "probe", "rates_of"]

_LOW, _HIGH, _STEPS = 1e-6, 10.0, 140  # twenty steps a decade
_SMOOTHED = 5.0  # steps, the standard deviation of the bell that the losses are averaged with
_LOST = 4.0  # times the least loss, from where a training is lost
_APART = 10.0  # times the recipe's rate, or a part of it, within which a rate is suggested
_LEAST_FALL = 0.02  # of the first loss
_SIZES = tuple(2**power for power in range(4, 14))
_ENOUGH = 0.3  # seconds of steps that tell how long one takes
_OF_BEST = 0.8  # of the most rows a second, from which a size is fast enough


@dataclasses.dataclass(frozen=True, eq=False)
class Rates:
    """What a learning-rate range test found.

    Attributes:
        rates: ``(steps,)``, growing by the same ratio from step to step.
        losses: ``(steps,)`` of the batches at these rates; NaN after the training was lost.
        smoothed: the same, averaged over neighbouring steps.
        steepest: the rate at which the loss falls fastest.
        recipe: the recipe's rate.
        suggested: the steepest within a tenth and ten times of the recipe's; the recipe's where the losses do not tell.
        note: why it is not the steepest; empty where it is.
    """

    rates: np.ndarray
    losses: np.ndarray
    smoothed: np.ndarray
    steepest: float
    recipe: float
    suggested: float = math.nan
    note: str = ""

    def __str__(self) -> str:
        found = f"the loss falls fastest at a learning rate of {self.steepest:.3g} (the recipe has {self.recipe:.3g})"
        if self.note:
            found += f"; {self.note}"
        if self.suggested == self.recipe:
            return f"{found}; keep the recipe's, or let danlu tune compare whole trainings"
        return f"{found}; to take {'that' if self.note else 'it'}: trainer.learning_rate={self.suggested:.3g}"

    def plot(self) -> str:
        """The losses over the rates, as SVG."""
        from danlu.report.svg import BLUE, GREY, ORANGE, Panel

        with Panel("Loss by learning rate", width=6.7) as (panel, axes):
            axes.plot(self.rates, self.losses, color=GREY, lw=0.8, label="of one batch")
            axes.plot(self.rates, self.smoothed, color=BLUE, label="smoothed")
            axes.axvline(self.steepest, color=ORANGE, ls="--", label=f"falls fastest: {self.steepest:.3g}")
            if self.note and self.suggested != self.recipe:
                axes.axvline(self.suggested, color=BLUE, ls=":", label=f"suggested: {self.suggested:.3g}")
            axes.axvline(self.recipe, color=GREY, ls=":", label=f"the recipe's: {self.recipe:.3g}")
            axes.set_xscale("log")
            axes.set_xlabel("learning rate")
            axes.legend(fontsize=8)
        return panel.svg


@dataclasses.dataclass(frozen=True)
class BatchSizes:
    """What a probe of batch sizes found.

    Attributes:
        rows_per_second: by batch size.
        memory: bytes that a step takes beside the data and the weights, by batch size; 0 where the device does not tell.
        suggested: the smallest that is nearly as fast as the fastest: of the same rows it makes the most updates.
        recipe: the recipe's.
    """

    rows_per_second: Mapping[int, float]
    memory: Mapping[int, int]
    suggested: int
    recipe: int

    def __str__(self) -> str:
        lines = [f"{'batch':>8}  {'rows/s':>12}  {'memory':>10}"]
        for size, rate in self.rows_per_second.items():
            marks = [" ← suggested"] * (size == self.suggested) + [" (the recipe's)"] * (size == self.recipe)
            lines.append(f"{size:>8,}  {rate:>12,.0f}  {in_words(self.memory[size]):>10}{''.join(marks)}")
        lines.append(
            f"{self.suggested:,} is the smallest with {_OF_BEST:.0%} of the most rows a second; to take it: "
            f"trainer.batch_size={self.suggested}"
        )
        return "\n".join(lines)


def find_lr(source: Any, *, target: str = "", say: Say = print, **settings: Mapping[str, Any]) -> Rates:
    """A learning-rate range test: one short training whose rate grows from step to step until the loss explodes.

    The rate at which the smoothed loss falls most steeply (over the logarithm of the rate) is what is suggested, within bounds (see
    :class:`Rates`). It is about the scale of the rate, not the best one: a search compares whole trainings.

    Args:
        source, target, say, **settings: as of :func:`danlu.train`.

    Raises:
        DanluError: input that cannot be used, or data of which the rows are not in memory.

    Reference:
        Smith, "Cyclical learning rates for training neural networks" (2017), section 3.3; the steepest point as fastai suggests.

    Example:
        >>> table = {"x": [float(i % 9) for i in range(80)], "y": ["low" if i % 9 < 4 else "high" for i in range(80)]}
        >>> found = find_lr(table, target="y", say=lambda line: None, model={"width": 8, "depth": 1, "members": 2})
        >>> found.recipe / 10 <= found.suggested <= found.recipe * 10
        True
    """
    return rates_of(*_prepared("find_lr", source, target, settings, say))


def find_batch_size(source: Any, *, target: str = "", say: Say = print, **settings: Mapping[str, Any]) -> BatchSizes:
    """How many rows a second, and how much memory, each batch size takes: real steps of the recipe's network, timed.

    Args:
        source, target, say, **settings: as of :func:`danlu.train`.

    Raises:
        DanluError: input that cannot be used, or data of which the rows are not in memory.
    """
    return batch_sizes_of(*_prepared("find_batch_size", source, target, settings, say))


def _prepared(function: str, source: Any, target: str, settings: Mapping[str, Any], say: Say) -> tuple[Any, ...]:
    config = config_of(function, source, {"target": target}, settings)
    domain, prepared, plan = prepare(config, source, say=say)
    return config, domain, prepared, plan


def _lesson(config: TrainConfig, domain: Any, prepared: PreparedRows, plan: Recipe) -> tuple[dict[str, Any], Any, Any]:
    """The rows that one network learns from, its initial weights, and what it is trained by.

    Raises:
        ConfigError: data without labelled rows in memory.
    """
    if not isinstance(domain, Labelled) or not isinstance(prepared.train, tuple):
        raise ConfigError(
            "the probe is for rows with labels in memory; these are "
            + ("read as a stream" if isinstance(domain, Labelled) else domain.noun),
            hint="data.stream=false reads everything"
            if isinstance(domain, Labelled)
            else "danlu tune searches the learning rate by whole trainings",
        )
    enable_compilation_cache()
    data, sample, lesson = lesson_of(
        prepared.train,
        target=prepared.target,
        plan=plan,
        validation=prepared.validation,
        folds=prepared.folds,
        rows=prepared.rows["train"],
        imbalance=config.imbalance,
    )
    return lesson, data, plan.initial(jax.random.key(config.trainer.seed), sample)


def _begun(config: TrainConfig, plan: Recipe, lesson: Any, data: Any, initial: Any, size: int) -> tuple[Any, ...]:
    """The program, the source and the state before the first step of a training with batches of ``size`` rows."""
    seed, optimizer = config.trainer.seed, plan.optimizer(lesson["rows"])
    options = FitOptions(batch_size=size, precision=plan.precision, seed=seed, display="none")
    source = ArraySource(data, batch_size=size, seed=seed)
    program = build_program(
        plan.model, source, loss=lesson["loss"], optimizer=optimizer, metrics=(), options=options, augment=plan.augment
    )
    state = initial_state(program, source, optimizer, seed=seed, options=options, initial=initial)
    return program, source, state


_unrolled = jax.jit(unrolled, static_argnames=("program",))


def rates_of(config: TrainConfig, domain: Any, prepared: PreparedRows, plan: Recipe) -> Rates:
    """:func:`find_lr` of prepared data."""
    lesson, data, initial = _lesson(config, domain, prepared, plan)
    program, source, state = _begun(config, plan, lesson, data, initial, plan.batch_size)
    growing = Exponential(_LOW, _STEPS - 1, _HIGH / _LOW)
    state = dataclasses.replace(state, opt_state=set_hyperparameter(state.opt_state, "learning_rate", growing))
    rng, needed = rng_for(config.trainer.seed, 0), _STEPS * plan.batch_size
    rounds = -(-needed // source.rows)
    order = np.concatenate([rng.permutation(source.rows) for _ in range(rounds)])[:needed]
    order = order.reshape(_STEPS, plan.batch_size)
    with stage("learning-rate range test"):
        batches = jax.tree.map(lambda rows: rows[order], source.chunk)
        sums = _unrolled(program, state, batches)[1]
    losses = np.asarray(sums["loss"], np.float64) / np.asarray(sums["weight"], np.float64)
    rates = _LOW * (_HIGH / _LOW) ** (np.arange(_STEPS) / (_STEPS - 1))
    smoothed, steepest = steepest_of(rates, losses)
    return Rates(
        rates, losses, smoothed, steepest, plan.learning_rate, *bounded(losses, smoothed, steepest, plan.learning_rate)
    )


def steepest_of(rates: np.ndarray, losses: np.ndarray) -> tuple[np.ndarray, float]:
    """The losses averaged over neighbouring steps, and the rate at which these fall fastest before they explode.

    Args:
        rates, losses: ``(steps,)``; what follows a loss that is not finite is not looked at.

    Example:
        >>> rates = np.logspace(-6, 1, 141)
        >>> _, found = steepest_of(rates, 1 / (1 + rates / 1e-3) + rates**2)
        >>> bool(3e-4 < found < 3e-3)
        True
    """
    finite = np.isfinite(losses)
    end = len(losses) if finite.all() else int(np.argmin(finite))
    if end < 3:
        raise ConfigError("the loss was not finite from the start; there is no learning rate to suggest")
    distance = np.arange(end)[:, None] - np.arange(end)[None]
    weights = np.exp(-0.5 * (distance / _SMOOTHED) ** 2)
    smoothed = np.full(len(losses), math.nan)
    smoothed[:end] = (weights @ losses[:end]) / weights.sum(axis=1)
    lowest = int(np.argmin(smoothed[:end]))
    lost = np.flatnonzero(smoothed[:end] > _LOST * smoothed[lowest])
    stop = max(3, min([lowest + 1, *(place for place in lost.tolist() if place > lowest)]))
    slope = np.gradient(smoothed[:stop], np.log10(rates[:stop]))
    return smoothed, rounded(float(rates[int(np.argmin(slope))]))


def bounded(losses: np.ndarray, smoothed: np.ndarray, steepest: float, recipe: float) -> tuple[float, str]:
    """The rate to suggest, and why it is not the steepest.

    A small network on easy rows may learn fastest at a rate that no whole training survives, and of losses that hardly fall the steepest
    point is chance. So the suggestion stays within a tenth and ten times of the recipe's rate, and is the recipe's where the smoothed
    losses fall by less than the losses of single batches scatter about them.

    Example:
        >>> smoothed = np.linspace(1, 0, 140)
        >>> bounded(smoothed, smoothed, 0.02, 0.01), bounded(smoothed, smoothed, 7.0, 0.01)[0]
        ((0.02, ''), 0.1)
    """
    known = np.isfinite(smoothed)
    own = smoothed[known]
    lowest = int(np.argmin(own))
    fall = float(own[: lowest + 1].max() - own[lowest])
    scatter = float(np.std((losses[known] - own)[: lowest + 1]))
    if not fall > max(scatter, _LEAST_FALL * abs(float(own[0]))):
        return recipe, "but it falls by no more than batches differ by chance, so that it tells nothing about the rate"
    low, high = recipe / _APART, recipe * _APART
    if low <= steepest <= high:
        return steepest, ""
    far = "above" if steepest > high else "below"
    return rounded(min(max(steepest, low), high)), f"that is far {far} what trains well to the end, so it is bounded"


def batch_sizes_of(config: TrainConfig, domain: Any, prepared: PreparedRows, plan: Recipe) -> BatchSizes:
    """:func:`find_batch_size` of prepared data."""
    lesson, data, initial = _lesson(config, domain, prepared, plan)
    rows = len(data[1])
    sizes = sorted({*(size for size in _SIZES if size <= rows), min(plan.batch_size, rows)})
    speed, memory = {}, {}
    with stage("batch sizes", total=len(sizes), unit="sizes") as step:
        for size in sizes:
            speed[size], memory[size] = _measured(*_begun(config, plan, lesson, data, initial, size))
            step.advance()
    fastest = max(speed.values())
    suggested = next(size for size in sizes if speed[size] >= _OF_BEST * fastest)
    return BatchSizes(speed, memory, suggested, plan.batch_size)


def _measured(program: Any, source: Any, state: Any) -> tuple[float, int]:
    """Rows a second in training, and the bytes that a step takes beside what goes in."""
    piece = next(iter(source.pieces(0, 0)))
    sums = {name: jnp.asarray(value) for name, value in program.zero_sums().items()}
    arguments = (state, sums, piece.chunk, piece.order)
    compiled = run_steps.lower(program, *arguments, 0, 1).compile()
    analysis = compiled.memory_analysis()
    state, sums = compiled(*arguments, 0, 1)
    done, begun = 0, time.perf_counter()
    while time.perf_counter() - begun < _ENOUGH:
        state, sums = compiled(state, sums, piece.chunk, piece.order, 0, piece.steps)
        jax.block_until_ready(sums)
        done += piece.steps
    seconds = time.perf_counter() - begun
    return done * program.batch_size / seconds, int(getattr(analysis, "temp_size_in_bytes", 0) or 0)


def probe(
    config: TrainConfig, source: Any, *, rate: bool, size: bool, folder: str | Path, display: str, say: Say
) -> None:
    """Both probes for the command line: what they found is said, and the plot is written to ``folder``."""
    from danlu.files import write_atomic

    with showing(display):
        prepared: Any = prepare(config, source, say=say)
        if rate:
            found = rates_of(config, *prepared)
            say(str(found))
            Path(folder).mkdir(parents=True, exist_ok=True)
            path = Path(folder) / f"{Path(config.data.source).stem}-find-lr.svg"
            write_atomic(path, found.plot())
            say(f"the losses of {len(found.rates)} steps, from {figure(_LOW)} to {figure(_HIGH)}: {path}")
        if size:
            for line in str(batch_sizes_of(config, *prepared)).splitlines():
                say(line)
