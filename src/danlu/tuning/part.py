"""The trials of a search, run in this process or by workers that share the study."""

from __future__ import annotations

import dataclasses
import math
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from danlu.artifact import RunDirectory
from danlu.artifact.files import json_text
from danlu.errors import TrainingError
from danlu.evaluate.intervals import figure
from danlu.files import write_atomic
from danlu.launch.workers import Workers
from danlu.pipeline.agents import Agents
from danlu.pipeline.config import TrainConfig
from danlu.pipeline.domain import Domain, Prepared
from danlu.pipeline.labelled import Labelled
from danlu.pipeline.once import prepare
from danlu.pipeline.space import Place, in_words
from danlu.rl.allow import allow as allow_modules
from danlu.stages import shown, stage
from danlu.trained import Say
from danlu.tuning.agents import AgentContest
from danlu.tuning.contest import Contest, Stopped
from danlu.tuning.networks import NetworkContest
from danlu.tuning.places import with_values
from danlu.tuning.search import FACTOR, Limits, search
from danlu.tuning.show import table_of
from danlu.tuning.study import Study
from danlu.tuning.trainings import TrainingContest

__all__ = ["TRIALS", "Part", "run_trials"]

TRIALS = 50
"""Of a search for which no number is asked."""
_LOOK = 2.0  # seconds between two looks at what workers have done


@dataclasses.dataclass(frozen=True)
class Part:
    """What one of those who search has to know: plain data that can be sent; names as of :class:`Study` and ``tune_from``."""

    config: TrainConfig
    source: Any
    storage: str
    facts: Mapping[str, Any]
    space: Mapping[str, Place]
    structure: Sequence[str]
    first: Mapping[str, Any]
    higher: bool
    size: int
    metric: str
    limits: Limits
    folder: str  # of the checkpoints of its own trials
    allow: Sequence[str]

    def study(self) -> Study:
        """The study, which all share."""
        names = ("facts", "space", "structure", "first", "higher", "size")
        return Study(self.storage, seed=self.config.trainer.seed, **{name: getattr(self, name) for name in names})

    def search(self, study: Study, domain: Domain, prepared: Prepared, after_batch: Callable[[], None]) -> None:
        """Run trials until the limits of all are reached."""

        def contest_of(configs: Sequence[TrainConfig]) -> Contest:
            if isinstance(domain, Agents):
                return AgentContest(configs, domain, prepared)  # type: ignore[arg-type]
            if isinstance(domain, Labelled) and isinstance(prepared.train, tuple):  # type: ignore[attr-defined]
                return NetworkContest(configs, domain, prepared, metric=self.metric, factor=FACTOR)  # type: ignore[arg-type]
            folder = Path(self.folder)
            return TrainingContest(configs, domain, prepared, metric=self.metric, factor=FACTOR, folder=folder)

        def done() -> None:
            shutil.rmtree(self.folder, ignore_errors=True)
            after_batch()

        search(study, contest_of, lambda values: with_values(self.config, values), self.limits, done)


def search_part(part: Part) -> None:
    """A worker's part of a search."""
    allow_modules(part.allow)
    domain, prepared, _ = prepare(part.config, part.source, say=lambda line: None, begun=True)
    try:
        part.search(part.study(), domain, prepared, lambda: None)
    except Stopped as stopped:
        error = TrainingError("the search was stopped")
        error.stopped_by = stopped.number
        raise error from stopped


def run_trials(
    study: Study,
    part: Part,
    prepared: tuple[Domain, Prepared],
    workers: Workers | None,
    run: RunDirectory,
    say: Say,
) -> int | None:
    """Run the trials; the number of the signal that ended it, or None."""
    limits = part.limits
    with stage("search", total=limits.trials, unit="trials", limit=limits.seconds) as step:
        display = shown()

        def after_batch() -> None:
            told = study.told()
            step.done = sum(each.state != "running" for each in told)
            lines = [json_text(dataclasses.asdict(each), indent=None) for each in told]
            write_atomic(run.path / "trials.jsonl", "\n".join(lines) + "\n")
            best = study.best()
            if best is not None:
                score = figure(best.score or 0.0)
                say(
                    f"{step.done:.0f} trials: best {part.metric} {score} by trial {best.number + 1}, {in_words(best.values)}"
                )
            if display is not None:
                display.above = table_of(told, part.metric, higher=study.higher)

        seen, next_look = step.done, 0.0

        def look() -> None:
            nonlocal seen, next_look
            if time.monotonic() < next_look:
                return
            next_look = time.monotonic() + _LOOK
            ended = sum(each.state != "running" for each in study.told())
            if ended != seen:
                seen = ended
                after_batch()

        try:
            if workers is None:
                part.search(study, *prepared, after_batch)
            else:
                most = math.ceil((limits.trials or TRIALS) / part.size)  # each takes whole batches
                jobs = [
                    dataclasses.replace(part, folder=f"{part.folder}/{number}")
                    for number in range(workers.count or most)
                ]
                for _ in workers.each(search_part, jobs, look=look):
                    look()
                next_look = 0.0
                look()
                shutil.rmtree(part.folder, ignore_errors=True)
        except Stopped as stopped:
            return stopped.number
        except TrainingError as error:
            if error.stopped_by is None:
                raise
            return error.stopped_by
        finally:
            if display is not None:
                display.above = None
    return None
