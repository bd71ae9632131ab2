"""The history of a training as TensorBoard events."""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.engine import Callback
from danlu.engine.seen import seen
from danlu.paths import is_key, named_leaves
from danlu.report.picture import first_layers, sheet

__all__ = ["DRAWN", "TensorBoardLogger", "log_plots", "log_test", "tag_of", "told_numbers"]

DRAWN = ("gradients", "images")
"""What is drawn where it is asked for."""
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
        draw: what else is drawn after those epochs: ``"gradients"``, histograms of the gradient on the batch of the last update, and
            ``"images"``, the first batch of pictures as the network gets it in training, after random changes, and the filters of the first
            convolution. Each look is a program of its own, which is compiled once.
    """

    writes = True

    def __init__(self, folder: str | os.PathLike[str], *, draw: Collection[str] = ()) -> None:
        self.folder, self.draw = Path(folder), frozenset(draw)
        self._writer: Any = None
        self._drawn, self._batch_shown = -1, False

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
            self._draw(int(logs["step"]))

    def on_train_end(self, logs: Mapping[str, Any]) -> None:
        if self._writer is not None:
            if self.training.history:
                self._draw(int(self.training.history[-1]["step"]))
            self._writer.close()
            self._writer = None

    def _write(self, row: Mapping[str, Any]) -> None:
        for name, value in told_numbers(row):
            self._writer.add_scalar(tag_of(name, row), value, int(row["step"]))
        self._writer.flush()

    def _draw(self, step: int) -> None:
        if step == self._drawn:
            return
        self._drawn = step
        self._histograms("weights", self.training.params, step)
        taken = self.training.taken
        if self.draw and taken is not None:
            found = seen(self.training.program, self.training.state, taken)
            if found is not None and "gradients" in self.draw:
                self._histograms("gradients", found[1], step)
            if found is not None and "images" in self.draw:
                self._images(found[0]["x"], step)
        self._writer.flush()

    def _histograms(self, of: str, tree: Any, step: int) -> None:
        for name, array in named_leaves(tree):
            if is_key(array) or not jnp.issubdtype(array.dtype, jnp.floating):
                continue
            if isinstance(array, jax.Array) and not (array.is_fully_addressable or array.is_fully_replicated):
                array = array.addressable_shards[0].data  # of one that is divided among processes, what lies here
            values = np.asarray(array, np.float32).ravel()
            values = values[:: -(-len(values) // _MOST) or 1]
            values = values[np.isfinite(values)]
            if len(values):
                self._writer.add_histogram(f"{of}/{name}", values, step, bins=50)

    def _images(self, x: Any, step: int) -> None:
        """The batch once, and the filters; of several members those of the first."""
        program, state = self.training.program, self.training.state
        one, params, key = getattr(program, "program", program), state.params, jnp.ravel(state.key)[0]
        if program.members is not None:
            x, params = jax.tree.map(lambda leaf: leaf[0], (x, params))
        if not self._batch_shown and getattr(x, "ndim", 0) == 4:
            self._batch_shown = True
            key = jax.random.fold_in(key, jnp.ravel(state.step)[0])
            self._image("images/batch", sheet(np.asarray(first_layers(one.model, x, key), np.float64)), step)
        kernels = ((name, leaf) for name, leaf in named_leaves(params) if getattr(leaf, "ndim", 0) == 4)
        for name, kernel in itertools.islice(kernels, 1):  # (height, width, inputs, filters) to one picture a filter
            self._image(f"images/filters/{name}", sheet(np.moveaxis(np.asarray(kernel, np.float64), 3, 0)), step)

    def _image(self, tag: str, pixels: np.ndarray, step: int) -> None:
        large = max(1, 256 // max(pixels.shape[:2]))  # a filter of 3 by 3 could not be seen
        self._writer.add_image(tag, pixels.repeat(large, 0).repeat(large, 1), step, dataformats="HWC")


def log_plots(folder: str | os.PathLike[str], plots: Iterable[tuple[str, Any]], *, step: int = 0) -> None:
    """Write plots as images.

    Args:
        folder: of the run.
        plots: titles and pixels, as :func:`danlu.report.svg.drawn` keeps them.
        step: the number of updates after which they were drawn.
    """
    with _hidden("torch"):
        from tensorboardX import SummaryWriter

    writer = SummaryWriter(str(folder), filename_suffix=f".plots{_SUFFIX}")
    for title, pixels in plots:
        writer.add_image(f"report/{title.split(' (')[0]}", pixels, step, dataformats="HWC")
    writer.close()


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


def told_numbers(row: Mapping[str, Any]) -> list[tuple[str, float]]:
    """The finite numbers of a row of the history, but for what counts it.

    >>> told_numbers({"epoch": 0, "step": 8, "loss": 0.5, "best": True, "val_loss": float("nan")})
    [('loss', 0.5)]
    """
    return [
        (name, value)
        for name, value in row.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if name not in ("epoch", "step")
    ]


def tag_of(name: str, row: Mapping[str, Any]) -> str:
    """What a column of the history is called where other tools look at it.

    >>> tag_of("val_loss", {}), tag_of("loss", {}), tag_of("learning_rate", {})
    ('validation/loss', 'train/loss', 'training/learning_rate')
    """
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
