"""The doctor: what a training's record says about it, and where that is odd, what a look inside says.

A training that learns leaves a loss that falls; nothing more is computed for it. One whose loss does not fall, or falls and jumps back,
or that has weights which never moved, is examined (:mod:`danlu.engine.examine`), and the first cause that explains it is named
(:mod:`danlu.engine.causes`).
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from danlu.engine.acting import ACTING
from danlu.engine.anchor import Before
from danlu.engine.autopsy import Cause
from danlu.engine.case import Case, Clues, columns_of, samples
from danlu.engine.causes import CAUSES, FEW_STEPS, changed_rate, exploding, no_gradient, rate_too_high
from danlu.engine.examine import Exam, examine
from danlu.engine.health import Finding, Health
from danlu.engine.state import TrainState

__all__ = ["case_of", "clues_of", "diagnose", "failures", "findings_of"]


def diagnose(fitted: Any, *, full: bool = True) -> Health:
    """What is wrong with a training, if anything can be seen.

    Args:
        fitted: what :func:`danlu.fit` returned.
        full: whether to look inside even where the record gives no reason to.

    Example:
        >>> import danlu, numpy as np
        >>> x = np.random.default_rng(0).normal(size=(64, 2)).astype("float32")
        >>> fitted = danlu.fit(danlu.nn.Dense(1), x, x[:, 0] + x[:, 1], loss="mse", learning_rate=1e-8, epochs=20, display="none")
        >>> diagnose(fitted).kinds
        ('rate_too_low',)
    """
    clues: Clues | None = fitted.clues
    if clues is not None and clues.failures:
        return Health(clues.failures)
    if clues is None or not fitted.history:
        return Health()
    if hasattr(clues.program, "diagnose"):  # one of several networks, which knows what may go wrong between them
        return Health(clues.program.diagnose(fitted.history))
    members = clues.program.members
    cases = [case_of(fitted.history, clues, member) for member in ([None] if members is None else range(members))]
    steps = min(case.steps for case in cases)
    if steps < FEW_STEPS:
        return Health()
    exams: list[Exam] = []
    if clues.batch and (full or any(case.odd for case in cases)) and not _gone(clues.state):
        exams = examine(clues.program, clues.state, clues.batch)
        cases = [dataclasses.replace(case, exam=exam) for case, exam in zip(cases, exams, strict=True)]
    return Health.of_members([findings_of(case) for case in cases], exams)


def _gone(state: TrainState) -> bool:
    return any(getattr(leaf, "is_deleted", bool)() for leaf in jax.tree.leaves((state.params, state.opt_state)))


def case_of(history: Sequence[Mapping[str, Any]], clues: Clues, member: int | None) -> Case:
    """The case of one member of a training, from the rows of its history; a training that is no population has member None."""

    def column(name: str) -> np.ndarray:
        rows = [row for row in history if name in row or f"{name}_each" in row]
        whole = getattr(clues.program, "together", False)  # one model, judged by all its rows
        own: list[Any] = [row.get(name) if whole else row.get(f"{name}_each", row.get(name)) for row in rows]
        group = getattr(clues.program, "group", 1)
        each = [value[(member or 0) // group] if np.ndim(value) else value for value in own]
        return np.asarray(each, np.float64)

    steps = int(np.min(np.asarray(clues.state.step))) if not _gone(clues.state) else len(history)
    record = {} if clues.batch else {name: column(name) for name in ("return", "val_return", "entropy")}
    losses = column("loss")
    return Case(clues, losses, column("val_loss"), column("learning_rate"), steps, member or 0, record=record)


def findings_of(case: Case) -> list[Finding]:
    """What is wrong with one training, as far as it was looked at."""
    if not case.losses.size or not np.isfinite(case.losses[-1]):
        return []
    if not case.clues.batch:  # an agent
        return _first_of(ACTING, case) if case.returns.size > 1 else []
    found = [rule(case) for rule in _ALWAYS]
    if case.exam is not None:
        found += _first_of(CAUSES, case) if not case.learnt or case.jumped else []
        if not any(each is not None and each.kind in ("no_gradient", "dead_units", "zero_weights") for each in found):
            found += [no_gradient(case)]
    return [each for each in found if each is not None]


def _first_of(rules: Iterable[Callable[[Case], Finding | None]], case: Case) -> list[Finding]:
    """What the first rule finds that finds anything."""
    return list(itertools.islice((found for rule in rules if (found := rule(case)) is not None), 1))


# What is wrong with a training that learns.


def _shuffled_labels(case: Case) -> Finding | None:
    constant = case.clues.constant
    if constant is None or case.judged.size < 2 or case.losses[-1] > 0.7 * constant:
        return None
    best = float(np.nanmin(case.judged))
    if not best > 0.98 * constant:
        return None
    return Finding(
        "shuffled_labels",
        "the rows are learnt by heart, and nothing that holds for others",
        f"the training loss falls to {case.losses[-1]:.3g}, and the validation loss is never better than {best:.3g}; a constant answer has "
        f"{constant:.3g}",
        "look at some rows beside their labels: they may be shuffled against the inputs, or the inputs say nothing about them",
    )


def _leakage(case: Case) -> Finding | None:
    constant = case.clues.constant
    score = float(np.nanmin(case.judged)) if case.judged.size else float(case.losses[-1])
    if constant is None or not score < 0.05 * constant:
        return None
    y, weight = np.asarray(case.clues.batch["y"]), np.asarray(case.clues.batch["weight"])
    if y.ndim != 1:
        return None
    each = columns_of(case.clues.batch["x"])  # of a picture or a sequence, all its numbers: no column of the rows
    columns = [(place, column[weight > 0]) for place, column in each if len(column) == len(weight)]
    told = [place for place, column in columns if _tells(column, y[weight > 0])]
    if not told or len(told) == len(columns):
        return None
    return Finding(
        "leakage",
        f"{told[0]} tells the target by itself",
        f"it determines the target in each of {int((weight > 0).sum())} rows, "
        f"and the loss is {score:.2g} where a constant answer has {constant:.2g}",
        "leave it out if it is not known when predictions are made",
        f"x = np.delete(x, {told[0].split()[-1]}, axis=1)",
    )


def _tells(column: np.ndarray, y: np.ndarray) -> bool:
    """Whether a column is the target in another form."""
    a = column.astype(np.float64)
    if a.size < 20 or a.std() == 0:
        return False
    if np.issubdtype(y.dtype, np.integer):
        within = sum(float(np.square(a[y == k] - a[y == k].mean()).sum()) for k in np.unique(y))
        return bool(within < 1e-3 * np.square(a - a.mean()).sum())
    return bool(y.std() > 0 and abs(np.corrcoef(a, y)[0, 1]) > 0.9999)


def _overfitting(case: Case) -> Finding | None:
    if case.clues.stops or case.judged.size < 10 or not np.isfinite(case.judged).all():
        return None
    best = int(np.argmin(case.judged))
    after, low, last = case.judged.size - 1 - best, float(case.judged[best]), float(case.judged[-1])
    if after < max(5, 0.3 * case.judged.size) or last < 1.3 * low or case.losses[-1] > 0.5 * last:
        return None
    if case.clues.constant is not None and low > 0.98 * case.clues.constant:
        return None  # nothing was learnt that holds: another finding
    return Finding(
        "overfitting",
        f"the network over-fits from epoch {best + 2} on",
        f"the validation loss rises from {low:.3g} to {last:.3g} while the training loss falls to {case.losses[-1]:.3g}",
        "stop early (patience), then more rows, dropout or weight decay",
        "patience=5",
        {"trainer.patience": "10"},
    )


_ALWAYS: tuple[Callable[[Case], Finding | None], ...] = (_shuffled_labels, _leakage, _overfitting)


_AWAY = {
    "log": "keep its argument away from 0, as jnp.log(jnp.maximum(p, 1e-7)), or take a loss from logits",
    "log1p": "keep its argument above -1",
    "div": "keep the divisor away from 0",
    "rsqrt": "keep its argument away from 0, as jnp.sqrt(x + 1e-12)",
    "sqrt": "keep its argument away from 0, as jnp.sqrt(x + 1e-12)",
    "pow": "keep its argument away from 0",
}


def failures(
    program: Any,
    bad: int,
    rate: float,
    taken: tuple[Cause, Before, Before] | None,
    before: Mapping[str, np.ndarray],
    members: tuple[int, ...] = (),
) -> tuple[Finding, ...]:
    """The findings of a loss that stopped being finite.

    Args:
        program: of one training.
        bad: the first step with such a loss.
        taken: what made it so, what was before that step, and before the one before, where they could be taken again.
        before: what :func:`samples` gave before the first step, of this member.
        members: of a population, those that it is about.
    """
    what, lower = f"the loss is not finite from step {bad} on", rate / 10
    change, how = "a lower learning rate, gradients clipped to a norm of 1, or scaled inputs", changed_rate(lower)
    if taken is None:
        return (Finding("not_finite", what, f"the learning rate is {rate:.3g}", change, *how, members),)
    cause, last, earlier = taken
    if cause.name in _AWAY and cause.what == "operation":
        change, how = _AWAY[cause.name], ("", {})
    elif cause.turn is not None:
        change = "smaller recurrent weights, or gated cells (nn.LSTM, nn.GRU)"
    found = Finding("not_finite", what, cause.said(last.numbers(cause.rows)), change, *how, members)
    if not bad:
        return (found,)
    (exam,) = examine(program, earlier.state, earlier.batch)
    if not np.isfinite(exam.ratio) or not np.isfinite(exam.loss):
        return (found,)
    clues = Clues(program, earlier.state, earlier.batch, None, False, before, samples(earlier.state.params, None))
    case = Case(clues, np.full(1, exam.loss), np.ones(0), np.full(1, rate), bad, exam=exam)
    why = exploding(case, always=cause.turn is not None) or rate_too_high(case, always=True)
    return (found,) if why is None else (found, dataclasses.replace(why, members=members))


def clues_of(training: Any, before: Mapping[str, np.ndarray], failures: tuple[Finding, ...]) -> Clues | None:
    """What a training leaves to look at; None of one that is no network that learns from rows, no agent and no game of several.

    Args:
        before: what :func:`samples` gave before the first step.
        failures: why the loss stopped being finite.
    """
    program = training.program
    one = program if program.members is None else getattr(program, "program", None)
    rows = training.sample.rows
    if hasattr(program, "diagnose"):  # which judges by the record
        return Clues(program, training.state, {}, None, False, {}, {}, failures)
    if program.devices > 1 or not (hasattr(one, "objective") if rows else before):
        return None
    constant = training.sample.constant(program) if rows else None
    stops = training.options.patience is not None
    now = samples(training.state.params, program.members) if before else {}
    return Clues(program, training.state, rows, constant, stops, before, now, failures)
