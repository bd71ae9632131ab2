"""The doctor beside a training: a look now and then, which takes no more than a small share of the time.

Each second the loss since the last look is compared with what a constant answer has. Where it does not fall, the state is examined, and
what is found there twice in a row, while the loss still does not fall, is said. How far apart looks are follows from what they cost, which
is measured. The first exam compiles a program, which the doctor needs after such a training anyway; in a training so short that this would
be more than the same share of it, there is none.
"""

from __future__ import annotations

import dataclasses
import math
import time
import warnings
from typing import Any

import numpy as np

from danlu import processes
from danlu.engine.case import Case, Clues
from danlu.engine.doctor import case_of, findings_of
from danlu.engine.examine import Exam, examine
from danlu.engine.health import Finding, Health

__all__ = ["Watch"]

_EVERY = 1.0  # seconds between two looks, at least
_SHARE = 0.015  # of the time that looks may take, and once more what is compiled for them
_COMPILING = 1.0  # seconds, at least
_LEAST = 100, 0.02  # steps, and share of all steps, before which nothing is said
_FALLS = 0.02  # of a constant answer's loss, by which a loss falls between two looks that are worth waiting for
_SURE = (
    "zero_weights",
    "unscaled_inputs",
    "unscaled_targets",
    "loss_scale",
    "large_weights",
    "rate_too_high",
    "dead_units",
    "saturated_units",
    "exploding_gradients",
    "vanishing_gradients",
    "no_gradient",
    "rate_too_low",
    "leakage",
    "overfitting",
)  # what more of the same training does not mend


class Watch:
    """Looks at one training.

    Attributes:
        spent: seconds that it took so far, without `compiled`.
        compiled: seconds that compiling took.
    """

    def __init__(self) -> None:
        self.spent = self.compiled = 0.0
        self._known: set[str] = set()
        self._begun = time.monotonic()
        self._first: float | None = None  # seconds that the first steps took, compiling included
        self._exam: float | None = None
        self._due = math.inf
        self._before: tuple[int, dict[str, np.ndarray]] = (-1, {})
        self._rows: list[dict[str, Any]] = []
        self._suspect: dict[str, float] = {}

    def begin(self) -> None:
        """The training begins."""
        self._begun = time.monotonic()

    def look(self, training: Any) -> list[Finding]:
        """What is sure now and was not said yet; empty most of the time, as where it is no time to look."""
        if processes.count() > 1:  # what it looks with is a program, which one process cannot run by itself
            return []
        now = time.monotonic()
        if self._first is None:
            self._first, self._due = now - self._begun, now + _EVERY
            self._loss(training)
        if now < self._due:
            return []
        compiled = self.compiled
        try:
            found = self._found(training)
        except Exception as error:  # the training goes on without
            warnings.warn(f"the training is not watched any more: {type(error).__name__}: {error}", stacklevel=2)
            self._due = math.inf
            return []
        took = time.monotonic() - now - (self.compiled - compiled)
        self.spent += took
        self._due = time.monotonic() + max(_EVERY, took / _SHARE)
        return found

    def _found(self, training: Any) -> list[Finding]:
        row = self._loss(training)
        clues = training.clues if row else None
        if row is None or clues is None or not clues.batch:
            return []
        self._rows.append(row)
        done, part = int(np.min(np.asarray(clues.state.step))), _part(training)
        planned = round(done / part) if part else 0
        if done < max(_LEAST[0], _LEAST[1] * planned):
            return []
        cases = self._cases(training, clues, planned)
        if any(case.odd for case in cases) and self._affords(part):
            cases = [dataclasses.replace(case, exam=exam) for case, exam in zip(cases, self._exams(clues), strict=True)]
        health = Health.of_members([findings_of(case) for case in cases], ())
        return self._sure(health, cases[0])

    def _exams(self, clues: Clues) -> list[Exam]:
        began = time.monotonic()
        exams = examine(clues.program, clues.state, clues.batch)
        if self._exam is None:
            self.compiled, began = time.monotonic() - began, time.monotonic()
            exams = examine(clues.program, clues.state, clues.batch)  # what the next ones will cost
        self._exam = time.monotonic() - began
        return exams

    def _cases(self, training: Any, clues: Clues, planned: int) -> list[Case]:
        members = clues.program.members
        cases = [case_of(self._rows, clues, member) for member in ([None] if members is None else range(members))]
        epochs = [case_of(training.history, clues, case.member) for case in cases]
        return [dataclasses.replace(a, judged=b.judged, planned=planned) for a, b in zip(cases, epochs, strict=True)]

    def _sure(self, health: Health, case: Case) -> list[Finding]:
        """Of the findings those that the last look had too, and that the loss does not go against."""
        loss = float(case.losses[-1])
        warming = case.rates.size > 1 and case.rates[-1] > 1.01 * case.rates[0]  # it grows by itself
        found = [
            each
            for each in health.findings
            if each.kind in _SURE and each.kind not in self._known and not (each.kind == "rate_too_low" and warming)
        ]
        falls = _FALLS * abs(case.reference)
        sure = [
            each
            for each in found
            if each.kind in self._suspect
            and (each.kind in ("leakage", "overfitting") or self._suspect[each.kind] - loss < falls)
        ]
        self._suspect = {each.kind: loss for each in found}
        self._known |= {each.kind for each in sure}
        return sure

    def _affords(self, part: float) -> bool:
        """Whether another exam is within the share of the time that the training takes in all, as it looks now."""
        elapsed = time.monotonic() - self._begun
        most = _SHARE * (elapsed / part if part else elapsed)
        if self._exam is None:
            return max(self._first or 0.0, _COMPILING) <= most
        return self.spent + self._exam <= most

    def _loss(self, training: Any) -> dict[str, Any] | None:
        """The means since the last look, as a row of the history; None where there is nothing to tell."""
        sums = {name: np.asarray(value, np.float64) for name, value in training.sums.items() if name != "bad_step"}
        epoch, before = self._before
        since = {name: value - before[name] for name, value in sums.items()} if epoch == training.epoch else sums
        self._before = training.epoch, sums
        if "weight" not in since or not np.all(since["weight"] > 0):
            return None
        rate = np.asarray(training.learning_rate)
        return {
            **training.program.means(since),
            "learning_rate": float(np.mean(rate)),
            **({"learning_rate_each": rate.tolist()} if rate.ndim else {}),
        }


def _part(training: Any) -> float:
    """The share of the training that is done, if it goes on to its last epoch, or to its patience; 0 where it cannot be said."""
    options, whole = training.options, training.source.steps_per_epoch
    if whole is None and training.epoch == 0:
        return 0.0
    epochs = options.epochs
    if options.patience is not None:
        epochs = min(epochs, training.epoch + 1 + options.patience)
    return float(min(1.0, (training.epoch + (training.done / whole if whole else 0.0)) / epochs))
