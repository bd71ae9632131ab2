"""The options of a training, from all the places where they may be said."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from danlu.engine.callback import Callback
from danlu.engine.callbacks import EarlyStopping
from danlu.engine.options import FitOptions
from danlu.names import Names

__all__ = ["settled"]

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
