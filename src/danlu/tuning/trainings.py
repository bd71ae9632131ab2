"""Trials of any kind of data: each is a training as of ``danlu train``, gone on with from its checkpoint, rung by rung."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from danlu.artifact.files import json_text
from danlu.engine import Callback, Fitted
from danlu.engine.monitor import sign_of
from danlu.errors import TrainingError
from danlu.files import write_atomic
from danlu.pipeline.config import TrainConfig
from danlu.pipeline.domain import Domain
from danlu.trained import Learned
from danlu.tuning.contest import Contest, Progress, Stopped, rungs_of

__all__ = ["LOSS", "TrainingContest"]

LOSS = "loss"
"""The score of trials that go by what their training watches: its validation value."""


class TrainingContest(Contest):
    """Trials that are trained one after the other, by what the kind of data itself calls training.

    It serves every kind; where rows are in memory and have one label, :class:`~danlu.tuning.networks.NetworkContest` takes less time. A
    trial's folder holds its checkpoint and the scores that it has reached, so that a search that was killed goes on in the middle of a
    batch, with the same scores.

    Args:
        configs: the settings of each.
        domain, prepared: of the data.
        metric: :data:`LOSS`, or a measure of the answers for the rows held out from training.
        factor: see :func:`~danlu.tuning.contest.rungs_of`.
        folder: where the trials' folders are.
    """

    def __init__(
        self, configs: Sequence[TrainConfig], domain: Domain, prepared: Any, *, metric: str, factor: int, folder: Path
    ) -> None:
        super().__init__([domain.for_trial(config) for config in configs])
        self.domain, self.prepared, self.metric, self.folder = domain, prepared, metric, folder
        self.plans = [domain.plan(config, prepared) for config in self.configs]
        self.rungs = rungs_of(self.plans[0].epochs, factor)

    def keep(self, places: Sequence[int]) -> None:
        self.configs = [self.configs[place] for place in places]
        self.plans = [self.plans[place] for place in places]

    def go(self, epochs: int, progress: Progress) -> list[float]:
        return [self._go(place, epochs, progress) for place in range(len(self.plans))]

    def _go(self, place: int, epochs: int, progress: Progress) -> float:
        """One trial's score after so many epochs: known, or learnt."""
        config = self.configs[place]
        folder = self.folder / hashlib.sha256(json.dumps(config.as_dict(), sort_keys=True).encode()).hexdigest()[:16]
        file = folder / "scores.json"
        known = json.loads(file.read_text()) if file.is_file() else {}
        before = max((int(each) for each in known if int(each) < epochs), default=0)
        if str(epochs) not in known:
            until = _Until(epochs, progress)
            try:
                learned = self.domain.learn(
                    config, self.prepared, self.plans[place], callbacks=[until], checkpoint=folder, resume=True, display="none"
                )  # fmt: skip
                if learned.fitted.stopped_by is not None:
                    raise Stopped(learned.fitted.stopped_by)
                found = self._score(learned, epochs)
            except TrainingError as error:
                if getattr(error, "fitted", None) is None:  # no memory
                    raise
                found = math.nan
            known[str(epochs)] = found if math.isfinite(found) else None
            folder.mkdir(parents=True, exist_ok=True)
            write_atomic(file, json_text(known))
            before += until.done
        progress(max(epochs - before, 0))  # those that were known, or that an early stop spared
        score = known[str(epochs)]
        return math.nan if score is None else float(score)

    def _score(self, learned: Learned, epochs: int) -> float:
        fitted = learned.fitted
        if self.metric == LOSS:
            return best_of(fitted, epochs)
        held: Any = learned.held_out
        evidence: Any = learned.model.head.evidence(held.answers, held.truth)
        return float(evidence.measures(np.ones(len(evidence)))[self.metric])


def best_of(fitted: Fitted, epochs: int) -> float:
    """The best validation value within the first epochs, where smaller is better; NaN where there is none."""
    sign = sign_of("auto", fitted.monitor, fitted.program) if fitted.monitor else 1.0
    values = [sign * row[fitted.monitor] for row in fitted.history[:epochs] if fitted.monitor]
    return min((value for value in values if math.isfinite(value)), default=math.nan)


class _Until(Callback):
    """Ends a training after so many epochs, as if it had been stopped there: its schedules go by the whole; and tells its progress."""

    def __init__(self, epochs: int, progress: Progress) -> None:
        self.epochs, self.done, self._progress = epochs, 0, progress

    def on_train_begin(self) -> None:
        if self.training.epoch >= self.epochs:
            self.training.stop()

    def on_epoch_end(self, epoch: int, logs: Any) -> None:
        self.done += 1
        self._progress(1)
        if epoch + 1 >= self.epochs:
            self.training.stop()
