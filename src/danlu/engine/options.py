"""How long and in what portions to train."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from danlu.blueprint import Blueprint, setting
from danlu.engine.callbacks import Callback, EarlyStopping
from danlu.engine.precision import PRECISIONS
from danlu.errors import ConfigError
from danlu.names import Names

__all__ = ["FitOptions", "settled"]

_ANSWERS = {
    "lr": "did you mean 'learning_rate'?",
    **dict.fromkeys(("num_epochs", "n_epochs", "nb_epoch", "max_iter"), "did you mean 'epochs'?"),
    **dict.fromkeys(("validation_data", "eval_set"), "did you mean validation=(x, y)?"),
    **dict.fromkeys(("validation_split", "validation_fraction", "val_split"), "did you mean validation=0.2?"),
    **dict.fromkeys(
        ("sample_weight", "sample_weights", "weights", "weight"),
        "weights are a third part of the data: (x, y, weights)",
    ),
    "class_weight": "weights are a third part of the data: danlu.nn.losses.example_weights makes them of class weights",
    **dict.fromkeys(("verbose", "progress"), "did you mean display='none'?"),
    **dict.fromkeys(("random_state", "random_seed"), "did you mean 'seed'?"),
    **dict.fromkeys(("early_stopping", "n_iter_no_change", "early_stopping_rounds"), "did you mean patience=3?"),
    "shuffle": "rows are shuffled in each epoch; sampler=… changes it",
    "device": "JAX takes the accelerator that it finds; devices=2 shares batches among two",
    "y": "data and targets come by position: fit(model, x, y)",
    **dict.fromkeys(("mixed_precision", "dtype", "fp16", "bf16"), "did you mean precision='bfloat16'?"),
    **dict.fromkeys(("gradient_accumulation_steps", "accumulate_grad_batches"), "did you mean 'accumulate'?"),
    **dict.fromkeys(
        ("weight_decay", "wd"), "optimizer=danlu.optim.adamw(1e-3, weight_decay=1e-2), or the penalty l2=1e-4"
    ),
}  # to the names of other libraries


class FitOptions(Blueprint):
    """How long and in what portions to train.

    Args:
        epochs: passes over the data, >= 0.
        batch_size: rows a step.
        accumulate: micro-batches a step; must divide ``batch_size``.
        patience: epochs without improvement before stopping early; None never stops.
        monitor: the column that early stopping and the best weights go by; None is ``"val_loss"`` where there is
            validation data.
        mode: whether a smaller (``"min"``) or larger (``"max"``) value of it is better; ``"auto"`` is what the measure declares (a loss:
            smaller; danlu's metrics each; a function of your own by its attribute ``direction``), and refused where it declares nothing.
        min_delta: the least change that counts as an improvement; a little below 0, of equal epochs the last is kept.
        restore_best: whether training ends with the best weights (when something is monitored) or the last.
        l1: coefficient of the penalty ‖θ‖₁ on weights.
        l2: coefficient of the squared penalty on weights.
        precision: what the network computes in while it is trained, ``"float32"`` or ``"bfloat16"``: half the memory
            traffic, and several times the speed where there are units for it; see :mod:`danlu.engine.precision`.
        devices: how many devices share the rows of each batch (``batch_size`` must be a multiple); see :mod:`danlu.engine.mesh`. On a CPU
            it pays where a step keeps only one core busy: recurrent networks, whose many small products come one after the other.
        seed: decides the initial weights, the sequence of rows and every random draw.
        checkpoint_every: seconds between checkpoints, when a folder for them is given.
        display: ``"auto"``, ``"live"``, ``"plain"`` or ``"none"``.
    """

    epochs: int = setting(default=10, minimum=0, integer=True)
    batch_size: int = setting(default=32, minimum=1, maximum=2**31 - 1, integer=True)
    accumulate: int = setting(default=1, minimum=1, integer=True)
    patience: int | None = setting(default=None, minimum=1, maximum=10**9, integer=True, optional=True)
    monitor: str | None = None
    mode: str = setting(default="auto", choices=("auto", "min", "max"))
    min_delta: float = setting(default=0.0)
    restore_best: bool = True
    l1: float = setting(default=0.0, minimum=0)
    l2: float = setting(default=0.0, minimum=0)
    precision: str = setting(default="float32", choices=tuple(PRECISIONS))
    devices: int = setting(default=1, minimum=1, integer=True)
    seed: int = setting(default=0, minimum=0, maximum=2**32 - 1, integer=True)
    checkpoint_every: float = setting(default=10.0, minimum=0)
    display: str = setting(default="auto", choices=("auto", "live", "plain", "none"))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.batch_size % self.accumulate:
            raise ConfigError(
                f"FitOptions.batch_size is {self.batch_size} and accumulate is {self.accumulate}; "
                "expected a batch size that is a multiple of it"
            )


def settled(
    owner: str, options: FitOptions | None, callbacks: Sequence[Callback], changes: Mapping[str, Any]
) -> tuple[FitOptions, list[Callback]]:
    """The options with the changes to them, those of an :class:`EarlyStopping` included, and the other callbacks.

    Raises:
        ConfigError: an unknown option of ``owner``, or a value out of range.
    """
    known = [field.name for field in dataclasses.fields(FitOptions)]
    options_known = Names(f"option of {owner}", dict.fromkeys([*known, "learning_rate"]), answers=_ANSWERS)
    for name in changes:
        if name not in known:
            options_known.own(name)
    stopping = [callback for callback in callbacks if isinstance(callback, EarlyStopping)]
    for callback in stopping:
        changes = {**callback.settings, **changes}
    return (options or FitOptions()).replace(**changes), [each for each in callbacks if each not in stopping]
