"""A training whose loss is no longer finite: what made it so, and what to say."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from danlu.engine.anchor import Anchor
from danlu.engine.doctor import failures
from danlu.engine.health import Finding
from danlu.engine.step import NEVER

if TYPE_CHECKING:
    from danlu.engine.training import Training

__all__ = ["not_finite"]


def not_finite(
    training: Training, anchor: Anchor, bad: np.ndarray, before: Mapping[str, np.ndarray]
) -> tuple[tuple[Finding, ...], str]:
    """The findings, and a message with the likeliest cause that the run's own record supports.

    Args:
        training: the run.
        anchor: a copy of its state, from which the step is taken again.
        bad: the number of the first step whose loss was not finite; of a population each member's.
        before: samples of the parameters at the start.
    """
    first = int(bad.min())
    found, cause = _examined(training, anchor, bad, before)
    return found, _said(training, first, cause)


def _examined(
    training: Training, anchor: Anchor, bad: np.ndarray, before: Mapping[str, np.ndarray]
) -> tuple[tuple[Finding, ...], str | None]:
    """The findings, and what made the loss of the first bad step not finite, in a sentence; None where it cannot be said."""
    program, first = training.program, int(bad.min())
    together = getattr(program, "together", False)
    member = None if program.members is None else int(np.argmin(bad))
    whose = () if member is None or together else tuple(np.flatnonzero(bad != NEVER).tolist())
    one = program if member is None else getattr(program, "program", None)
    own = {path: each[[member or 0]] for path, each in before.items()}
    rate = float(np.max(training.learning_rate))
    try:
        taken = anchor.cause(training, first, member)
        found = failures(one, first, rate, taken, own, whose)
    except Exception as error:  # that the loss is not finite must be said in any case
        warnings.warn(f"the step could not be taken again: {type(error).__name__}: {error}", stacklevel=2)
        return failures(one, first, rate, None, own, whose), None
    return found, None if taken is None else found[0].evidence


def _said(training: Training, bad: int, told: str | None) -> str:
    """What to say about a loss that is not finite, with the likeliest cause that the run's own record supports.

    Args:
        told: the first bad operation, in a sentence, where the step could be taken again.
    """
    losses = [row["loss"] for row in training.history if "loss" in row]
    rate = float(np.max(training.learning_rate))
    where = f"the loss is not finite at step {bad} (epoch {training.epoch + 1})"
    if bad == 0:
        cause = "it was not finite before the first update either: the inputs or targets are extreme, or the loss does not fit the outputs"
    else:
        cause = f"the likely cause is a learning rate that is too high ({rate:.3g})"
    if len(losses) > 1 and losses[-1] > losses[0]:
        cause += f"; the loss had been rising, from {losses[0]:.4g} to {losses[-1]:.4g}"
    if told:
        cause += f". Taken again step by step, {told}"
    return f"{where}; {cause}.\nHint: lower the learning rate, add clip_by_global_norm(1.0), or scale the inputs"
