"""The history of a training as TensorBoard events."""

from __future__ import annotations

import contextlib
import math
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from danlu.engine import Callback
from danlu.paths import is_key, named_leaves

__all__ = ["TensorBoardLogger", "log_test"]

_SUFFIX = ".danlu"
_MOST = 10_000  # numbers of an array that a histogram is made of


class TensorBoardLogger(Callback):
    """Writes every number of an epoch's row as a scalar; look at them with ``tensorboard --logdir runs``.

    The loss and each measure go to ``train/NAME`` and ``validation/NAME``, the rest to ``training/NAME``; the step is the
    number of updates. Each training of a folder replaces the events that a logger wrote there before: a resumed one writes
    its whole history again. Event files of others are left alone.

    The weights are there as histograms, after the epochs 1, 2, 4, 8, … and the last one; of an array with more than 10,000 numbers, of as
    many that are evenly spaced.

    Args:
        folder: where to; made when missing.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self._writer: Any = None
        self._drawn = -1

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
        if (epoch + 1) & epoch == 0:  # 1, 2, 4, …
            self._histograms(int(logs["step"]))

    def on_train_end(self, logs: Mapping[str, Any]) -> None:
        if self._writer is not None:
            if self.training.history:
                self._histograms(int(self.training.history[-1]["step"]))
            self._writer.close()
            self._writer = None

    def _write(self, row: Mapping[str, Any]) -> None:
        for name, value in row.items():
            if isinstance(value, bool) or not isinstance(value, int | float) or name in ("epoch", "step"):
                continue
            if math.isfinite(value):
                self._writer.add_scalar(_tag(name, row), value, int(row["step"]))
        self._writer.flush()

    def _histograms(self, step: int) -> None:
        if step == self._drawn:
            return
        self._drawn = step
        for name, array in named_leaves(self.training.params):
            if is_key(array) or not jnp.issubdtype(array.dtype, jnp.floating):
                continue
            values = np.asarray(array, np.float32).ravel()
            values = values[:: -(-len(values) // _MOST) or 1]
            values = values[np.isfinite(values)]
            if len(values):
                self._writer.add_histogram(f"weights/{name}", values, step, bins=50)
        self._writer.flush()


def log_test(
    folder: str | os.PathLike[str], settings: Mapping[str, Any], scores: Mapping[str, float], *, step: int = 0
) -> None:
    """Write the scores of a test, and the settings that belong to them, for TensorBoard's table of hyper-parameters.

    Args:
        folder: of the run.
        settings: by their names; those that are no numbers or texts are left out.
        scores: by the names of the measures; they go to ``test/NAME``.
        step: the number of updates after which it was tested.
    """
    with _hidden("torch"):
        from tensorboardX import SummaryWriter
        from tensorboardX.summary import hparams

    known = {f"test/{name}": float(value) for name, value in scores.items() if math.isfinite(value)}
    told = {name: value for name, value in settings.items() if isinstance(value, bool | int | float | str)}
    writer = SummaryWriter(str(folder), filename_suffix=f".test{_SUFFIX}")
    for summary in hparams(told, known):
        writer.file_writer.add_summary(summary)
    for name, value in known.items():
        writer.add_scalar(name, value, step)
    writer.close()


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
