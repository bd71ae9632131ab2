"""The history of a training as TensorBoard events."""

from __future__ import annotations

import contextlib
import math
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from danlu.engine import Callback

__all__ = ["TensorBoardLogger"]

_SUFFIX = ".danlu"


class TensorBoardLogger(Callback):
    """Writes every number of an epoch's row as a scalar; look at them with ``tensorboard --logdir runs``.

    The loss and each measure go to ``train/NAME`` and ``validation/NAME``, the rest to ``training/NAME``; the step is the
    number of updates. Each training of a folder replaces the events that a logger wrote there before: a resumed one writes
    its whole history again. Event files of others are left alone.

    Args:
        folder: where to; made when missing.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self._writer: Any = None

    def on_train_begin(self) -> None:
        with _hidden("torch"):
            from tensorboardX import SummaryWriter

        for old in self.folder.glob(f"events.out.tfevents.*{_SUFFIX}"):
            old.unlink()
        self._writer = SummaryWriter(str(self.folder), flush_secs=10, filename_suffix=_SUFFIX)
        for row in self.training.history:
            self._write(row)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any]) -> None:
        self._write(logs)

    def on_train_end(self, logs: Mapping[str, Any]) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _write(self, row: Mapping[str, Any]) -> None:
        for name, value in row.items():
            if isinstance(value, bool) or not isinstance(value, int | float) or name in ("epoch", "step"):
                continue
            if math.isfinite(value):
                self._writer.add_scalar(_tag(name, row), value, int(row["step"]))
        self._writer.flush()


def _tag(name: str, row: Mapping[str, Any]) -> str:
    if name.startswith("val_"):
        return f"validation/{name[4:]}"
    return f"train/{name}" if f"val_{name}" in row or name == "loss" else f"training/{name}"


@contextlib.contextmanager
def _hidden(name: str) -> Iterator[None]:
    """Within, the module ``name`` cannot be imported: tensorboardX imports PyTorch where it finds it, which takes seconds."""
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[name]
