"""``fit``: train a model on data."""

from __future__ import annotations

import dataclasses
import numbers
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.engine.arrays import as_arrays
from danlu.engine.build import build_program, optimizer_of
from danlu.engine.cache import enable_compilation_cache
from danlu.engine.callbacks import Callback, EarlyStopping
from danlu.engine.fitted import Fitted, evaluate_source, evaluation_pieces
from danlu.engine.initial import initial_state
from danlu.engine.mesh import gathered, need_devices
from danlu.engine.options import FitOptions
from danlu.engine.order import Sampler
from danlu.engine.sources import as_source
from danlu.engine.state import TrainState
from danlu.engine.targets import TargetCheck
from danlu.engine.training import Training
from danlu.errors import ConfigError, DataError, TrainingError
from danlu.memory import is_shortage
from danlu.names import Names

__all__ = ["fit", "run_training", "settled", "with_targets"]

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


def fit(
    model: Any,
    data: Any,
    targets: Any = None,
    *,
    loss: Any = None,
    optimizer: Any = "adam",
    validation: Any = None,
    metrics: Sequence[Any] = (),
    callbacks: Sequence[Callback] = (),
    options: FitOptions | None = None,
    sampler: Sampler | None = None,
    augment: Any = None,
    initial: tuple[Any, Any] | None = None,
    checkpoint: str | Path | None = None,
    resume: bool = False,
    **changes: Any,
) -> Fitted:
    """Train ``model`` on ``data``.

    Args:
        model: a layer, or a pair ``(init, apply)``.
        data: ``(x, y)`` or ``(x, y, weight)`` arrays (``x`` may be a dict of arrays), an iterable of such batches, or a
            stream of chunks; or ``x`` alone, with
        targets: ``y``: ``fit(model, x, y)`` is ``fit(model, (x, y))``.
        loss: a name or blueprint from :mod:`danlu.nn.losses`, or any function ``(outputs, targets)`` that returns one value
            for each row, or one for the batch.
        optimizer: a name, or any optimizer (``danlu.optim`` or optax).
        validation: data of the same kind, or a fraction of the rows (the last ones) to hold out.
        metrics: names, or functions ``(outputs, targets)`` of the same form as the loss.
        sampler: which rows an epoch visits; see :mod:`danlu.engine.order`.
        augment: a change of each training batch, ``augment(key, batch) -> batch``, such as ``danlu.nn.MixUp(0.2, classes=10)``;
            evaluation sees the data as it is.
        initial: ``(params, state)`` to start from instead of fresh ones.
        checkpoint: a folder for checkpoints.
        resume: whether to go on from the checkpoint there, if there is one; the weights will be, bit for bit, those of a
            run that was never interrupted.
        options, **changes: a :class:`FitOptions`, and changes to it by name (``epochs=20, patience=3``).

    Returns:
        A :class:`~danlu.engine.fitted.Fitted`.

    Raises:
        ConfigError: an unknown name or a value out of range.
        DataError: data that cannot be used.
        TrainingError: the loss stopped being finite.

    Example:
        >>> import numpy as np
        >>> from danlu import nn
        >>> x = np.linspace(-1, 1, 64, dtype=np.float32)[:, None]
        >>> fitted = fit(nn.Dense(1), (x, 3 * x[:, 0]), loss="mse", epochs=200, learning_rate=0.1, display="none")
        >>> bool(abs(fitted.params["kernel"][0, 0] - 3) < 1e-2)
        True
    """
    enable_compilation_cache()
    data = with_targets(data, targets)
    rate = changes.pop("learning_rate", None)
    options, callbacks = settled("fit", options, callbacks, changes)
    if options.patience is not None and validation is None and options.monitor is None:
        raise ConfigError(
            f"patience is {options.patience}, and there is nothing to go by: no validation data",
            hint="validation=0.2 holds some rows out; monitor='loss' goes by the training loss",
        )
    need_devices(options.devices)
    optimizer = optimizer_of(optimizer, rate)
    if isinstance(validation, numbers.Real):
        data, validation = _hold_out(data, validation)
    source = as_source(data, batch_size=options.batch_size, seed=options.seed, sampler=sampler)
    program = build_program(
        model, source, loss=loss, optimizer=optimizer, metrics=metrics, options=options, augment=augment
    )
    state = initial_state(program, source, optimizer, seed=options.seed, options=options, initial=initial)
    judged = None
    if validation is not None:
        judged = evaluation_pieces(
            validation, program, TargetCheck(program, variables=(state.params, state.model_state))
        )

    def measure(state: TrainState) -> dict[str, float]:
        return evaluate_source(program, state.params, state.model_state, judged or [])

    return run_training(
        Training(
            program,
            source,
            state,
            options=options,
            measure=None if judged is None else measure,
            callbacks=callbacks,
            checkpoint=checkpoint,
        ),
        resume=resume,
    )


def with_targets(data: Any, targets: Any) -> Any:
    """``(x, y)``, however it was given.

    Raises:
        ConfigError: targets that ``data`` holds already.
    """
    if targets is None:
        return data
    if isinstance(data, tuple):
        raise ConfigError(
            f"the data is a tuple of {len(data)}, and targets are given apart",
            hint="fit(model, x, y) or fit(model, (x, y))",
        )
    return data, targets


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


def run_training(training: Training, *, resume: bool = False) -> Fitted:
    """Run a training to its end, or take up its last checkpoint and go on from there.

    Raises:
        TrainingError: the loss stopped being finite; what was learned before is in its ``fitted``.
    """
    if resume:
        training.resume()
    try:
        training.run()
    except TrainingError as error:
        error.fitted = _finish(training)  # type: ignore[attr-defined]
        raise
    except (MemoryError, jax.errors.JaxRuntimeError) as error:
        if not is_shortage(error):
            raise
        raise TrainingError(
            f"there was not enough memory in epoch {training.epoch + 1}; the last checkpoint, if there is one, is still there",
            hint="a smaller batch_size or a smaller network needs less",
        ) from error
    return _finish(training)


def _hold_out(data: Any, fraction: Any) -> tuple[Any, Any]:
    if not 0 < fraction < 1:
        raise ConfigError(f"validation is {fraction}; expected a fraction between 0 and 1, or data")
    if not (isinstance(data, tuple) and len(data) in (2, 3)):
        raise ConfigError("a fraction can be held out of arrays only; pass validation data for an iterable or a stream")
    chunk = as_arrays(data)
    rows = chunk["weight"].shape[0]
    cut = rows - max(1, round(rows * fraction))
    if cut < 1:
        raise DataError(f"{rows} rows are too few to hold out a fraction of {fraction}")
    return jax.tree.map(lambda a: a[:cut], chunk), jax.tree.map(lambda a: a[cut:], chunk)


def _finish(training: Training) -> Fitted:
    state, best = training.state, training.best
    params, model_state = state.params, state.model_state
    if best is not None and training.options.restore_best:
        seen = np.asarray(best.epoch) >= 0  # a member that was never better than nothing keeps its last weights
        kept = (best.params, best.model_state)
        if seen.all():
            params, model_state = kept
        elif seen.any():
            choose = lambda a, b: jnp.where(seen.reshape(-1, *[1] * (a.ndim - 1)), a, b)  # noqa: E731
            params, model_state = jax.tree.map(choose, kept, (params, model_state))
    devices = training.program.devices
    params, model_state, state = gathered((params, model_state, state), devices)
    return Fitted(
        program=dataclasses.replace(training.program, devices=1) if devices > 1 else training.program,  # type: ignore[type-var]
        params=params,
        state=model_state,
        history=training.history,
        train_state=state,
        best_epoch=int(np.max(best.epoch)) if best is not None else None,
        stopped_because=training.stopped_because,
        in_shape=training.source.in_shape,
    )
