"""Trials of agents: as many agents side by side, each with its own learning rate, in one compiled program."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from danlu.engine import Callback
from danlu.errors import TrainingError
from danlu.pipeline.agents import AgentPlan, Agents, PreparedEnvironment
from danlu.pipeline.config import TrainConfig
from danlu.rl.fit import fit
from danlu.tuning.contest import Contest, Progress, Stopped

__all__ = ["CONTINUOUS", "AgentContest"]

CONTINUOUS = ("trainer.learning_rate",)
"""Settings that are arrays in the state of training."""


class AgentContest(Contest):
    """Trials of one agent in one environment; a trial's score is the mean return of its best evaluation in training.

    Every agent has the same seed, so that they differ by their settings alone. There are no rungs: how an agent begins says little
    about how it ends.
    """

    unit = "evaluations"

    def __init__(self, configs: Sequence[TrainConfig], domain: Agents, prepared: PreparedEnvironment) -> None:
        super().__init__(configs)
        self.prepared = prepared
        self.plans: list[AgentPlan] = [domain.plan(config, prepared) for config in configs]
        self.rungs = (configs[0].agent.evaluations,)

    def keep(self, places: Sequence[int]) -> None:
        self.configs = [self.configs[place] for place in places]
        self.plans = [self.plans[place] for place in places]

    def go(self, epochs: int, progress: Progress) -> list[float]:
        if self.prepared.env.pure:
            return self._go(range(len(self.plans)), epochs, progress)
        return [
            score for place in range(len(self.plans)) for score in self._go(range(place, place + 1), epochs, progress)
        ]

    def _go(self, places: range, epochs: int, progress: Progress) -> list[float]:
        plans, count = [self.plans[place] for place in places], len(places)
        first = plans[0]
        seed = first.seeds[0]
        rates: list[Any] = [getattr(plan.agent, "learning_rate", None) for plan in plans]
        try:
            learned = fit(
                first.agent,
                self.prepared.env,
                steps=first.steps,
                seed=[seed] * count if count > 1 else seed,
                learning_rate=rates if count > 1 and None not in rates else None,
                evaluations=epochs,
                data=self.prepared.recorded,
                display="none",
                callbacks=[_Watch(progress, count)],
            )
        except TrainingError as error:
            if getattr(error, "fitted", None) is None:
                raise
            return [float("nan")] * count
        if learned.fitted.stopped_by is not None:
            raise Stopped(learned.fitted.stopped_by)
        values = -np.ravel(np.asarray(learned.fitted.best.value, np.float64))  # type: ignore[union-attr]
        return [float(value) if np.isfinite(value) else float("nan") for value in values]


class _Watch(Callback):
    """Tells the progress of a training."""

    def __init__(self, progress: Progress, trials: int) -> None:
        self._progress, self._trials = progress, trials

    def on_epoch_end(self, epoch: int, logs: Any) -> None:
        self._progress(self._trials)
