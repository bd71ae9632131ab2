"""The dry run: what a training would do, its time and its memory, measured with a few real steps."""

from __future__ import annotations

import dataclasses
import math
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import jax

from danlu.blueprint import Blueprint
from danlu.engine import Callback
from danlu.engine.callback import Logs
from danlu.engine.mesh import need_devices
from danlu.nn import summary
from danlu.pipeline.config import TrainConfig
from danlu.pipeline.crossed import crosses, first_fold
from danlu.pipeline.once import baseline_seconds, prepare
from danlu.pipeline.piped import taken_in
from danlu.pipeline.private import guarded, unseen
from danlu.rl.allow import allow as allow_modules
from danlu.stages import display_kind, duration, showing, stage
from danlu.trained import Say

__all__ = ["Rehearsal", "rehearse"]

_ENOUGH = 2.0  # seconds of steps, compilation apart, that tell the time of all


class _Clock(Callback):
    """Takes the time of the first steps, and stops the training; of one that another prepares, the times of both."""

    everywhere = True

    def __init__(self) -> None:
        self.each: list[tuple[float, float]] = []  # of each training: seconds of compiling, and in all

    def on_train_begin(self) -> None:
        self.begun = time.monotonic()
        self.first: tuple[float, float] | None = None  # when the first news came, and of how many epochs
        self.last: tuple[float, float] | None = None

    def _seen(self, epochs: float) -> None:
        now = time.monotonic()
        if self.first is None:
            self.first = now, epochs
        self.last = now, epochs
        if now - self.first[0] > _ENOUGH and epochs > self.first[1]:
            self.training.stop("only a rehearsal")

    def on_progress(self, done: int, total: int | None, logs: Logs) -> None:
        if total:
            self._seen(self.training.epoch + done / total)

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        if len(self.training.history) == 1:  # with it the last program is compiled, that of validation
            self.first = None
        self._seen(epoch + 1.0)

    def on_train_end(self, logs: Logs) -> None:
        self.each.append(self._times(self.training.options.epochs))

    def times(self) -> tuple[float, float]:
        """Seconds until the first steps were done, and about those of all epochs."""
        compiled, whole = zip(*self.each, strict=True)
        return sum(compiled), sum(whole)

    def _times(self, epochs: int) -> tuple[float, float]:
        if self.first is None or self.last is None:
            return 0.0, math.nan
        compiled = self.first[0] - self.begun
        if self.last[1] <= self.first[1]:  # one epoch is all there is
            return compiled, compiled * epochs / max(self.first[1], 1e-9)
        pace = (self.last[0] - self.first[0]) / (self.last[1] - self.first[1])
        return compiled, compiled + pace * max(epochs - self.first[1], 0.0)


@dataclasses.dataclass(frozen=True)
class Rehearsal:
    """The plan of a training, with its time and memory.

    Attributes:
        rows: of each part, in ``unit``; ``split`` says how they were divided.
        network: the layers, with shapes and parameters, as text.
        parameters: of the network.
        recipe: the settings of the training, those that the data decided included.
        compiling: seconds until the first steps were done.
        training: seconds of the whole training, about; NaN where it cannot be told.
        judging: the most seconds of the simple models that it is compared with.
        trainings: how many there are, of a cross-validation; the rest of what is shown is of the first one.
        memory: the most bytes that the process has used, and those of the device where it tells.
    """

    rows: dict[str, int]
    unit: str
    split: str
    network: str
    parameters: int
    recipe: dict[str, Any]
    compiling: float
    training: float
    judging: float
    memory: dict[str, int]
    trainings: int = 1

    def __str__(self) -> str:
        parts = ", ".join(f"{count:,} {part}" for part, count in self.rows.items() if count)
        settings = [f"  {name} = {value}" for name, value in self.recipe.items()]
        known = math.isfinite(self.training)
        took = f"about {duration(self.training)} of training" if known else "a training of unknown length"
        judged = (
            f",\n          then up to {duration(self.judging)} for simple models to compare with"
            if self.judging
            else ""
        )
        if self.trainings > 1:
            took += f" for {self.trainings} folds"
        memory = ", ".join(f"{size / 2**20:,.0f} MB of {where}" for where, size in self.memory.items())
        return "\n".join(
            [
                f"{parts} {self.unit}: {self.split}",
                "",
                self.network,
                "",
                "recipe",
                *settings,
                "",
                f"expected: {took} (the first {duration(self.compiling)} of it compiling){judged}",
                f"          {memory}",
                "nothing was trained and nothing was written; leave out --dry-run to train",
            ]
        )


def rehearse(
    config: TrainConfig, source: Any = None, *, display: str = "auto", say: Say = print, allow: Sequence[str] = ()
) -> Rehearsal:
    """Read and split the data and take a few steps, whose weights are thrown away; arguments as of ``train_from``.

    Of private rows nothing is shown but how many there are, and their columns' names and kinds.

    Raises:
        DanluError: input that cannot be used; one clear message.
    """
    display_kind(display)
    need_devices(config.trainer.devices)
    allow_modules(allow)
    clock = _Clock()
    trainings = config.evaluate.trainings if crosses(config) else 1
    with showing(display), unseen(), taken_in(config) as (config, _):
        config = guarded(first_fold(config))
        domain, prepared, plan = prepare(config, config.data.source if source is None else source, say=say)
        with stage("trying a few steps"):
            trained: Any = domain.learn(
                config.replace(model=config.model.replace(kind="network")),
                prepared,
                plan,
                callbacks=[clock],
                checkpoint=None,
                resume=False,
                display="none",
            ).model
    layers = summary(trained.network, trained.in_shape)
    compiling, training = clock.times()
    judging, asked = 0.0, config.trainer.minutes
    if config.evaluate.baselines and prepared.rows.get("test"):
        judging = baseline_seconds(config, training)
    return Rehearsal(
        rows=prepared.rows,
        unit=prepared.unit,
        split=prepared.split,
        network=str(layers),
        parameters=layers.parameters,
        recipe=dict(_settings(plan)),
        compiling=compiling,
        training=trainings * (max(training, 60.0 * asked) if asked is not None else training),
        judging=trainings * judging,
        trainings=trainings,
        memory=_memory(),
    )


def _settings(plan: Any) -> Iterator[tuple[str, Any]]:
    """The plain settings of a recipe, and of the blueprint of an agent in it, which is named by its class."""
    for field in dataclasses.fields(plan):
        value = getattr(plan, field.name)
        if isinstance(value, str | int | float | tuple) and value != ():
            yield field.name, value
        elif isinstance(value, Blueprint) and field.name != "model":
            yield field.name, type(value).__name__
            yield from ((f"{field.name}.{name}", each) for name, each in _settings(value))


def _memory() -> dict[str, int]:
    found = {}
    try:
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        found["memory so far"] = peak if sys.platform == "darwin" else peak * 1024
    except ImportError:  # there is no such module on Windows
        pass
    device = jax.local_devices()[0]
    used = (device.memory_stats() or {}).get("peak_bytes_in_use")
    return found | ({} if used is None else {f"memory of the {device.device_kind}": used})
