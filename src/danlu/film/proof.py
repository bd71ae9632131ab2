"""Whether a training done again is the recorded one to the last bit: its rows of the history, and the weights at its end."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from danlu.artifact.files import json_text, plain
from danlu.engine import Callback
from danlu.engine.callback import Logs
from danlu.nn.blend import Blend
from danlu.paths import is_key, named_leaves
from danlu.tasks.blend import NETWORK
from danlu.trained import Trained

__all__ = ["Proof", "Witness", "digest", "kept_network"]

_TIMES = ("seconds", "rows_per_second")


@dataclasses.dataclass(frozen=True)
class Proof:
    """How a training done again compares with the record of the run.

    Attributes:
        epochs: how many rows of the record were compared.
        difference: the first one that differs, ``(epoch, column, recorded, found)`` with the epoch from 0; None if none does.
        found: SHA-256 of the weights at the end of the training done again; empty where it was not trained to the end.
        kept: that of the weights of the saved model's network; empty where there is none.
        machine: what is other than when the run was trained, ``(what, then, now)``.
        whole: whether the training was done again to its end.
    """

    epochs: int
    difference: tuple[int, str, Any, Any] | None
    found: str
    kept: str
    machine: tuple[tuple[str, str, str], ...]
    whole: bool

    @property
    def exact(self) -> bool:
        """Whether nothing differs, and something was compared."""
        return not self.differs and bool(self.epochs or self.kept)

    @property
    def differs(self) -> bool:
        """Whether something is not as it was."""
        return self.difference is not None or self.found != self.kept

    @property
    def sentences(self) -> list[str]:
        """What was compared, and what came of it."""
        if self.difference is not None:
            return [self._other_record, self._other_machine]
        epochs = f"{self.epochs:,} epoch{'s' if self.epochs != 1 else ''}"
        if self.found != self.kept:
            return [
                f"This is not the run to the last bit: its record of {epochs} is equal, and the weights at the end are not (SHA-256 "
                f"{self.found[:12]}… now, {self.kept[:12]}… saved). A run that was stopped within an epoch ends where nothing is "
                "recorded.",
                self._other_machine,
            ]
        if self.kept:
            return [
                f"Equal to the last bit: its record of {epochs}, and the weights at the end, which are those of the saved model (SHA-256 "
                f"{self.kept[:12]}…)."
            ]
        end = "There are no saved weights to compare with."
        if not self.whole:
            end = "The weights at the end are not compared, since the training was stopped at this update."
        return [f"Equal to the last bit: its record of {epochs}." if self.epochs else "Nothing was compared.", end]

    @property
    def _other_record(self) -> str:
        epoch, column, recorded, found = self.difference or (0, "", None, None)
        return f"This is not the run to the last bit: in epoch {epoch + 1} {column} was {recorded}, and is {found} now."

    @property
    def _other_machine(self) -> str:
        other = ", ".join(f"{what} was {then}, and is {now}" for what, then, now in self.machine)
        return f"What is other than then: {other}." if other else "The versions and the machine are those of the run."


class Witness(Callback):
    """A callback that compares each epoch with the row that the run recorded of it, and stops after the last of them.

    Args:
        recorded: the rows of the run.
    """

    def __init__(self, recorded: Sequence[Mapping[str, Any]]) -> None:
        self.recorded = {row["epoch"]: row for row in recorded if isinstance(row.get("epoch"), int)}
        self.compared = 0
        self.difference: tuple[int, str, Any, Any] | None = None

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        if epoch in self.recorded and self.difference is None:
            known, found = self.recorded[epoch], json.loads(json_text(dict(logs)))
            names = [name for name in known if name in found and name not in _TIMES]
            other = [name for name in names if not _same(known[name], found[name])]
            self.compared += not other
            if other:
                self.difference = (epoch, other[0], known[other[0]], found[other[0]])
        if self.recorded and epoch >= max(self.recorded):
            self.training.stop("the run ended here")


def _same(one: Any, other: Any) -> bool:
    return plain(one) == plain(
        other
    )  # NaN, null in a run's record and bare in those of older versions, is equal to itself


def digest(*variables: Any) -> str:
    """SHA-256 of all arrays of a tree with their paths, types and shapes.

    >>> digest({"w": np.float32(0.5)}) == digest({"w": np.float32(0.5)}), digest({"w": np.float32(0.5)}) == digest({"v": np.float32(0.5)})
    (True, False)
    """
    found = hashlib.sha256()
    for name, leaf in named_leaves(variables):
        array = np.ascontiguousarray(jax.random.key_data(leaf) if is_key(leaf) else leaf)
        found.update(f"{name} {array.dtype} {array.shape} ".encode())
        found.update(array.tobytes())
    return found.hexdigest()


def kept_network(model: Trained) -> tuple[Any, Any] | None:
    """``(params, state)`` of the network of a saved model; of a blend that of its network."""
    if not isinstance(model.network, Blend):
        return model.params, model.state
    if NETWORK not in model.network.names:
        return None
    place = model.network.names.index(NETWORK)
    return model.params[place], model.state[place]
