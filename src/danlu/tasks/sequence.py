"""The default recipe for labelled sequences: two small networks side by side, convolutions over time and a recurrent one."""

from __future__ import annotations

from typing import Any

from danlu.data.sequences import SequenceEncoder
from danlu.nn import (
    GRU,
    Activation,
    Bidirectional,
    Conv,
    Dense,
    Dropout,
    LayerNorm,
    MaxOverTime,
    Parallel,
    PerToken,
    Pool,
    Sequential,
    Sublayer,
    ZeroPadding,
)
from danlu.tasks.recipe import Recipe, epochs_of, units_of

__all__ = ["sequence_network", "sequence_recipe"]

_STEPS = 1500  # the updates that are aimed at
_EPOCHS = (10, 100)
_WIDTHS = (3, 9, 27)  # steps that a convolution sees


def sequence_network(units: int, steps: int, *, width: int = 48, depth: int = 2, dropout: float = 0.2) -> Parallel:
    """Two members, whose predictions are averaged: they err on different sequences.

    The first is a convolutional network over time, blocks of convolutions of several widths with shortcuts; the second a GRU in
    both directions. Each ends in every feature's mean and largest value over the real steps, and a linear output.

    Args:
        units: outputs, one a class, or one.
        steps: of an input; no convolution is wider.
        width: features of a step in the first, units of a direction in the second.
        depth: blocks of the first.
        dropout: before the outputs, in [0, 1).

    Reference: Ismail Fawaz et al. 2020, "InceptionTime" (the first, with norms of each step instead of the batch's, which
    padding does not enter); Cho et al. 2014 and Schuster & Paliwal 1997 (the second).

    Example:
        >>> sequence_network(3, 40).out_shape({"x": (40, 2), "mask": (40,)})
        (2, 3)
    """
    widths = [size for size in _WIDTHS if size <= max(steps, _WIDTHS[0])]

    def ending() -> tuple[Any, ...]:
        return Parallel((Pool("mean"), MaxOverTime())), Dropout(dropout), Dense(units)

    share = max(width // len(widths), 1)
    wide = PerToken(Parallel(tuple(Conv(share, size) for size in widths)))
    block = Sequential((ZeroPadding(), wide, PerToken(Activation("relu")), PerToken(Dense(width))))
    blocks = (Sublayer(block, LayerNorm()),) * depth
    first = PerToken(Conv(width, min(7, steps)))
    convolved = (first, *blocks, PerToken(LayerNorm()), PerToken(Activation("relu")), *ending())
    recurrent = (Bidirectional(GRU(width)), *ending())
    return Parallel((Sequential(convolved), Sequential(recurrent)), merge="stack")


def sequence_recipe(
    task: str,
    rows: int,
    encoder: SequenceEncoder,
    *,
    classes: int = 2,
    width: int = 48,
    depth: int = 2,
    dropout: float = 0.2,
    **changes: Any,
) -> Recipe:
    """The default recipe for ``rows`` training sequences.

    Args:
        task: ``"regression"``, ``"binary"`` or ``"multiclass"``.
        encoder: fitted to them.
        classes: how many, of a multiclass target.
        width, depth, dropout: see :func:`sequence_network`.
        **changes: fields of the :class:`Recipe` to set instead of the defaults.

    Raises:
        ConfigError: another task, or an unknown field.
    """
    units = units_of("sequence_recipe", task, rows, classes)
    batch_size = min(64, max(16, rows // 40))
    fewest, most = _EPOCHS
    fields: dict[str, Any] = {
        "model": sequence_network(units, encoder.steps, width=width, depth=depth, dropout=dropout),
        "loss": "mse" if task == "regression" else "categorical_cross_entropy",
        "batch_size": batch_size,
        "epochs": min(max(epochs_of(_STEPS, rows, batch_size), fewest), most),
        "learning_rate": 3e-3,
        "weight_decay": 0.01,
        "patience": 10,
    }
    return Recipe.changed("sequence_recipe", fields, changes)
