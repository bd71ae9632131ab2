"""``fit``: train a model on data."""

from __future__ import annotations

import numbers
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from danlu.engine.arrays import as_arrays, rows_of
from danlu.engine.build import build_program, optimizer_of
from danlu.engine.callback import Callback
from danlu.engine.fitted import Fitted, evaluate_source, evaluation_pieces
from danlu.engine.gradient import Gradient
from danlu.engine.initial import initial_state
from danlu.engine.mesh import need_devices
from danlu.engine.options import FitOptions
from danlu.engine.order import Sampler
from danlu.engine.poisson import drawn, secret_beside
from danlu.engine.settled import settled
from danlu.engine.sources import as_source
from danlu.engine.state import TrainState
from danlu.engine.targets import TargetCheck
from danlu.engine.train import train
from danlu.errors import ConfigError, DataError

__all__ = ["fit", "with_targets"]


def fit(
    model: Any,
    data: Any,
    targets: Any = None,
    *,
    loss: Any = None,
    optimizer: Any = "adam",
    validation: Any = None,
    metrics: Any = (),
    loss_weights: Mapping[str, float] | None = None,
    callbacks: Sequence[Callback] = (),
    options: FitOptions | None = None,
    sampler: Sampler | None = None,
    augment: Any = None,
    gradient: Gradient | None = None,
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
            for each row, or one for the batch; a dict of these for a network with several outputs, whose losses are added up; or an
            :class:`~danlu.engine.objective.Objective`.
        optimizer: a name, or any optimizer (``danlu.optim`` or optax).
        validation: data of the same kind, or a fraction of the rows (the last ones) to hold out.
        metrics: names, or functions ``(outputs, targets)`` of the same form as the loss; ``{output: [metric, …]}`` of several outputs.
        loss_weights: what each loss of a dict, or each term of an objective, is multiplied by (default 1).
        sampler: which rows an epoch visits; see :mod:`danlu.engine.order`.
        augment: a change of each training batch, ``augment(key, batch) -> batch``, such as ``danlu.nn.MixUp(0.2, classes=10)``;
            evaluation sees the data as it is.
        gradient: how the gradient is taken, such as ``danlu.engine.PerExample(clip=1.0)``; see :mod:`danlu.engine.gradient`. One that is
            private draws its rows by itself (:mod:`danlu.engine.poisson`), and ``batch_size`` is its own.
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
    data = with_targets(data, targets)
    rate = changes.pop("learning_rate", None)
    options, callbacks = settled("fit", options, callbacks, changes)
    need_devices(options.devices)
    optimizer = optimizer_of(optimizer, rate)
    if isinstance(validation, numbers.Real):
        data, validation = _hold_out(data, validation)
    secret = None
    if isinstance(gradient, Gradient) and gradient.private:
        secret, forgetting = secret_beside(None if checkpoint is None else Path(checkpoint), resume=resume)
        data = _in_memory(data)
        sampler, room = drawn(gradient, sampler, options, secret, rows_of(data["x"], "x"))
        options, callbacks = options.replace(batch_size=room), [forgetting, *callbacks]
    source = as_source(data, batch_size=options.batch_size, seed=options.seed, sampler=sampler)
    program = build_program(
        model,
        source,
        loss=loss,
        optimizer=optimizer,
        metrics=metrics,
        options=options,
        augment=augment,
        gradient=gradient,
    )
    state = initial_state(
        program,
        source,
        optimizer,
        seed=options.seed,
        options=options,
        initial=initial,
        loss_weights=loss_weights,
        secret=None if secret is None else secret.key,
    )
    judged = None
    if validation is not None:
        judged = evaluation_pieces(
            validation, program, TargetCheck(program, variables=(state.params, state.model_state))
        )

    def measure(state: TrainState) -> dict[str, float]:
        return evaluate_source(program, *state.learnt, state.weights, judged or [])

    return train(
        program,
        source,
        state,
        options=options,
        measure=None if judged is None else measure,
        callbacks=callbacks,
        checkpoint=checkpoint,
        resume=resume,
    )


def with_targets(data: Any, targets: Any) -> Any:
    """``(x, y)``, from one tuple or from two arguments.

    Raises:
        ConfigError: targets that ``data`` holds already.
    """
    if targets is None:
        return data
    if isinstance(data, tuple):
        raise ConfigError(
            f"the data is a tuple of {len(data)}, and targets are also given separately",
            hint="fit(model, x, y) or fit(model, (x, y))",
        )
    return data, targets


def _in_memory(data: Any) -> dict[str, Any]:
    """The rows of a private training, each of which is drawn by itself.

    Raises:
        ConfigError: batches or a stream.
    """
    if isinstance(data, dict) and set(data) == {"x", "y", "weight"}:
        return data
    if not (isinstance(data, tuple) and len(data) in (2, 3)):
        raise ConfigError(
            "the gradient is private, and the data is batches or a stream, of which rows cannot be drawn one by one",
            hint="pass arrays: (x, y)",
        )
    return as_arrays(data)


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
