"""The result of training: the model, and the record of how it came to be."""

from __future__ import annotations

import dataclasses

from danlu.engine import Fitted
from danlu.trained.held import HeldOut
from danlu.trained.trained import Trained

__all__ = ["Learned"]


@dataclasses.dataclass(frozen=True)
class Learned:
    """The result of training.

    Attributes:
        model: the trained model.
        fitted: the record of the training.
        held_out: answers for rows that were not learnt from, where there are some in memory.
        notes: what the user should know of how it was made.
    """

    model: Trained
    fitted: Fitted
    held_out: HeldOut | None = None
    notes: tuple[str, ...] = ()
