"""The search: batches of trials, rung by rung, until there are enough or the time is up."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from danlu.pipeline.config import TrainConfig
from danlu.stages import stage
from danlu.tuning.contest import Contest
from danlu.tuning.study import Study, Trial

__all__ = ["FACTOR", "Limits", "search"]

FACTOR = 3
"""Of the trials at a rung, one in so many goes on (rounded up)."""
_PAUSE = 1.0  # seconds between two looks at what other processes do


@dataclasses.dataclass(frozen=True)
class Limits:
    """When a search ends: after so many trials, or when no further batch fits in the time."""

    trials: int | None
    seconds: float | None = None

    def clock(self) -> Clock:
        """The time from now on."""
        return Clock(None if self.seconds is None else time.monotonic() + self.seconds)


class Clock:
    """The time that is left."""

    def __init__(self, end: float | None) -> None:
        self.end, self.longest = end, 0.0

    def over(self) -> bool:
        """Whether the time is up."""
        return self.end is not None and time.monotonic() >= self.end

    def too_late(self) -> bool:
        """Whether a batch that takes as long as others did would end far too late."""
        return self.end is not None and time.monotonic() + 0.5 * self.longest >= self.end


def search(
    study: Study,
    contest_of: Callable[[Sequence[TrainConfig]], Contest],
    config_of: Callable[[Mapping[str, Any]], TrainConfig],
    limits: Limits,
    after_batch: Callable[[], None],
) -> None:
    """Run trials until the limits are reached.

    Args:
        study: says what to try, and remembers what came of it.
        contest_of: begins a batch of trials with these settings.
        config_of: the settings of a trial's values.
        limits: when to end.
        after_batch: called when a batch has been told.
    """
    clock = limits.clock()
    with study.presence.taking_part():
        while not clock.too_late():
            batch = study.batch(limits.trials) or _left_by_others(study, limits, clock)
            if not batch:
                return
            begun = time.monotonic()
            contest = contest_of([config_of(trial.values) for trial in batch])
            scores, complete = run_batch(batch, contest, clock, higher=study.higher)
            seconds = time.monotonic() - begun
            for trial in batch:
                study.tell(trial, scores[trial.number], complete=trial.number in complete, seconds=seconds / len(batch))
            clock.longest = max(clock.longest, seconds)
            after_batch()


def _left_by_others(study: Study, limits: Limits, clock: Clock) -> list[Trial]:
    """A batch that another process dies over, before all have ended; empty when they have: then all processes know the same best."""
    if not (left := study.under_way()):
        return []
    with stage("waiting for other processes", total=left, unit="trials") as step:
        while (now := study.under_way()) and not clock.over():
            step.done = max(left - now, 0)
            time.sleep(_PAUSE)
            if batch := study.batch(limits.trials):
                return batch
    return []


def run_batch(
    batch: Sequence[Trial],
    contest: Contest,
    clock: Clock,
    *,
    higher: bool,
) -> tuple[dict[int, dict[int, float]], set[int]]:
    """Train a batch by successive halving: the scores of each trial by rung, and the trials that reached the last one."""
    scores: dict[int, dict[int, float]] = {trial.number: {} for trial in batch}
    left = [trial.number for trial in batch]
    named = f"trials {left[0] + 1} to {left[-1] + 1}" if len(left) > 1 else f"trial {left[0] + 1}"
    total = 0.0
    done, count = 0, len(left)
    for epochs in contest.rungs:
        total += count * (epochs - done)
        done, count = epochs, -(-count // FACTOR)
    with stage(named, total=total, unit=f"trial-{contest.unit}") as step:
        for rung, epochs in enumerate(contest.rungs):
            found = contest.go(epochs, step.advance)
            for number, score in zip(left, found, strict=True):
                if math.isfinite(score):
                    scores[number][epochs] = score
            if rung + 1 == len(contest.rungs):
                return scores, {number for number in left if epochs in scores[number]}
            sign = -1.0 if higher else 1.0
            order = sorted(
                (place for place, score in enumerate(found) if math.isfinite(score)),
                key=lambda place: (sign * found[place], left[place]),
            )
            kept = sorted(order[: -(-len(left) // FACTOR)])
            if not kept or clock.over():
                break
            contest.keep(kept)
            left = [left[place] for place in kept]
    return scores, set()
