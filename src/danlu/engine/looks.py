"""What a private training has looked at so far, in its checkpoints: one that goes on counts its looks as the one before did."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from danlu.errors import CheckpointError
from danlu.privacy import Ledger

if TYPE_CHECKING:
    from danlu.engine.training import Training

__all__ = ["refuse_other_looks", "spent"]


def spent(training: Training) -> dict[str, Any]:
    """The ledger of a private training so far; empty of one without privacy."""
    own = getattr(training.program, "gradient", None)
    own = getattr(own, "inner", own)  # of micro-batches
    count = getattr(own, "spent", None) if getattr(own, "private", False) else None
    return {} if count is None else {"privacy": count(int(np.max(np.asarray(training.state.step)))).record()}


def refuse_other_looks(training: Training, note: Mapping[str, Any]) -> None:
    """Refuse to go on from the checkpoint of a training that counted otherwise.

    Raises:
        CheckpointError: its ledger differs.
    """
    if (before := note.get("privacy")) != (now := spent(training).get("privacy")):
        raise CheckpointError(
            f"the training in {training.checkpoint} looked at its rows so: {_looked(before)}; "
            f"the one that is to go on counts: {_looked(now)}",
            hint="resume with the same gradient (noise, sampling, told, clipping), or start a new training",
        )


def _looked(ledger: Any) -> str:
    """What a training's ledger says, in words."""
    return "without privacy" if ledger is None else "; ".join(Ledger.read(ledger).lines())
