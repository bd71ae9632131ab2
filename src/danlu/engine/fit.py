"""The one trainer: epochs of the one step, with early stopping, checkpoints, callbacks and a clean stop."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.blueprint import Blueprint, setting
from danlu.engine.cache import enable_compilation_cache
from danlu.engine.callbacks import Callback, EarlyStopping
from danlu.engine.checkpoint import load_checkpoint, save_checkpoint
from danlu.engine.fitted import Fitted, evaluate_source, evaluation_pieces
from danlu.engine.order import Sampler
from danlu.engine.progress import make_progress
from danlu.engine.sources import Source, as_arrays, as_source
from danlu.engine.state import Best, TrainState, owned
from danlu.engine.step import NEVER, Program, end_epoch, run_steps, zero_sums
from danlu.errors import CheckpointError, ConfigError, DataError, TrainingError, unknown_name
from danlu.nn.layer import Layer
from danlu.nn.lift import lift
from danlu.nn.losses import get_loss, get_metric
from danlu.optim import get_optimizer, hyperparameter, observe, set_hyperparameter
from danlu.optim.schedules import ReduceOnPlateau, Schedule

__all__ = ["FitOptions", "Training", "fit"]

CHECKPOINT = "last.safetensors"


class FitOptions(Blueprint):
    """How long and in what portions to train.

    Args:
        epochs: passes over the data, >= 0.
        batch_size: rows a step.
        accumulate: micro-batches a step; must divide ``batch_size``.
        patience: epochs without improvement before stopping early; None never stops.
        monitor: the column that early stopping and the best weights go by; None is ``"val_loss"`` where there is
            validation data.
        mode: whether a smaller (``"min"``) or larger (``"max"``) value of it is better; ``"auto"`` goes by its name.
        min_delta: the least change that counts as an improvement.
        restore_best: whether training ends with the best weights (when something is monitored) or the last.
        l1: coefficient of the penalty ‖θ‖₁ on weights.
        l2: coefficient of the squared penalty on weights.
        seed: decides the initial weights, the sequence of rows and every random draw.
        checkpoint_every: seconds between checkpoints, when a folder for them is given.
        display: ``"auto"``, ``"live"``, ``"plain"`` or ``"none"``.
    """

    epochs: int = setting(default=10, minimum=0, integer=True)
    batch_size: int = setting(default=32, minimum=1, integer=True)
    accumulate: int = setting(default=1, minimum=1, integer=True)
    patience: int | None = setting(default=None, minimum=1, integer=True, optional=True)
    monitor: str | None = None
    mode: str = setting(default="auto", choices=("auto", "min", "max"))
    min_delta: float = setting(default=0.0, minimum=0)
    restore_best: bool = True
    l1: float = setting(default=0.0, minimum=0)
    l2: float = setting(default=0.0, minimum=0)
    seed: int = setting(default=0, minimum=0, integer=True)
    checkpoint_every: float = setting(default=10.0, minimum=0)
    display: str = setting(default="auto", choices=("auto", "live", "plain", "none"))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.batch_size % self.accumulate:
            raise ConfigError(
                f"FitOptions.batch_size is {self.batch_size} and accumulate is {self.accumulate}; "
                "expected a batch size that is a multiple of it"
            )


class _PerExample(Blueprint):
    """A loss that returns one number for a whole batch, applied to each row by itself."""

    function: Callable[[Any, Any], Any]

    def __call__(self, outputs: Any, targets: Any) -> jax.Array:
        one = lambda o, t: self.function(jax.tree.map(lambda a: a[None], o), t[None])  # noqa: E731
        return jax.vmap(one)(outputs, targets)


@contextlib.contextmanager
def _graceful_interrupt() -> Iterator[threading.Event]:
    """Within, the first Ctrl-C sets the event; a second one interrupts at once."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def handler(signum: int, frame: Any) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    previous = signal.signal(signal.SIGINT, handler)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, previous)


def _init(model: Layer, in_shape: Any, key: jax.Array) -> tuple[Any, Any]:
    params, state, _ = model.init(key, in_shape)
    return params, state


class _Frozen:
    """A tree of shapes as a hashable static argument."""

    def __init__(self, tree: Any) -> None:
        self.tree = tree
        self._key = repr(tree)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Frozen) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)


@jax.jit
def _fold(key: jax.Array, number: Any) -> jax.Array:
    return jax.random.fold_in(key, number)


def _jit_init(model: Layer, shape: _Frozen, key: jax.Array) -> tuple[Any, Any]:
    return _init(model, shape.tree, key)


_compiled_init = jax.jit(_jit_init, static_argnums=(0, 1))


def initial_state(
    program: Program,
    source: Source,
    optimizer: Any,
    *,
    seed: int,
    options: FitOptions,
    initial: tuple[Any, Any] | None = None,
) -> TrainState:
    """The state before the first step, in buffers of its own (the steps donate them)."""
    key = jax.random.key(seed)
    params, model_state = initial or _compiled_init(program.model, _Frozen(source.in_shape), _fold(key, 0))
    state = TrainState(
        step=np.int32(0),
        key=_fold(key, 1),
        params=params,
        model_state=model_state,
        opt_state=optimizer.init(params),
        penalties={name: np.float32(value) for name, value in (("l1", options.l1), ("l2", options.l2)) if value},
    )
    return owned(state)


class Training:
    """A training run under way; callbacks see it as ``self.training``.

    Attributes:
        history: the rows of the epochs so far.
        epoch: the epoch under way (from 0).
        options: the :class:`FitOptions`.
        stopped_because: why training stopped before its last epoch, or None.
    """

    def __init__(
        self,
        program: Program,
        source: Source,
        optimizer: Any,
        *,
        options: FitOptions,
        validation: Any = None,
        callbacks: Sequence[Callback] = (),
        checkpoint: Path | None = None,
        initial: tuple[Any, Any] | None = None,
    ) -> None:
        self.program, self.source, self.options = program, source, options
        self.validation, self.checkpoint = validation, checkpoint
        self.history: list[dict[str, Any]] = []
        self.epoch = self._piece = self._start = 0
        self.stopped_because: str | None = None
        self._stop = False
        self._sums: dict[str, jax.Array] | None = None
        self.state = initial_state(program, source, optimizer, seed=options.seed, options=options, initial=initial)
        self._observes = any(
            isinstance(node, ReduceOnPlateau) or isinstance(getattr(node, "schedule", None), ReduceOnPlateau)
            for node in jax.tree.leaves(self.state.opt_state, is_leaf=lambda n: isinstance(n, Schedule))
        )
        self.monitor = options.monitor or ("val_loss" if validation is not None else None)
        self.sign = sign_of(options.mode, self.monitor)
        self.best = Best.start(self.state) if self.monitor else None
        progress = make_progress(options.display)
        self.callbacks = [*callbacks, *([progress] if progress else [])]
        for callback in self.callbacks:
            callback.training = self

    @property
    def params(self) -> Any:
        """The current parameters."""
        return self.state.params

    @property
    def model_state(self) -> Any:
        """The current model state."""
        return self.state.model_state

    @property
    def learning_rate(self) -> float:
        """The learning rate that the next step uses; NaN for an optimizer that does not tell."""
        try:
            return float(hyperparameter(self.state.opt_state, "learning_rate"))
        except ConfigError:
            return math.nan

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        opt_state = set_hyperparameter(self.state.opt_state, "learning_rate", value)
        self.state = dataclasses.replace(self.state, opt_state=opt_state)

    def stop(self, because: str = "stopped by a callback") -> None:
        """Stop after the current part of the epoch."""
        self._stop = True
        self.stopped_because = because

    def run(self) -> None:
        """Train to the end, to a stop, or to a failure; what was learned stays in ``state`` and ``best``."""
        self._call("on_train_begin")
        try:
            with _graceful_interrupt() as asked:
                while self.epoch < self.options.epochs and not self._stop:
                    if not self._run_epoch(asked):
                        break
            if self.checkpoint is not None:
                self._save()
        finally:
            self._call("on_train_end", self.history[-1] if self.history else {})

    def _call(self, hook: str, *args: Any) -> None:
        for callback in self.callbacks:
            getattr(callback, hook)(*args)

    def _run_epoch(self, asked: threading.Event) -> bool:
        """One epoch, or what is left of it after a resume. False when it was broken off."""
        if self._sums is None:
            self._sums = zero_sums(self.program)
        begun, first_step = time.perf_counter(), int(self.state.step)
        if self._piece == 0 and self._start == 0:
            self._call("on_epoch_begin", self.epoch)
        done = self._start
        last_shown = last_saved = time.monotonic()
        for piece in self.source.pieces(self.epoch, self._piece):
            portion = 64
            while self._start < piece.steps:
                stop = min(self._start + portion, piece.steps)
                tick = time.monotonic()
                self.state, self._sums = run_steps(
                    self.program, self.state, self._sums, piece.chunk, piece.order, self._start, stop
                )
                self._start, done = stop, done + stop - self._start
                self._check_finite()
                now = time.monotonic()
                if now - tick < 0.1:
                    portion *= 4
                if now - last_shown > 0.25:
                    last_shown = now
                    self._call("on_progress", done, self.source.steps_per_epoch, self._means(begun, first_step))
                if asked.is_set() or self._stop:
                    self.stopped_because = self.stopped_because or "stopped by Ctrl-C; what was learned is kept"
                    self._stop = True
                    return False
                if self.checkpoint is not None and now - last_saved > self.options.checkpoint_every:
                    self._save()
                    last_saved = time.monotonic()
            self._piece, self._start = self._piece + 1, 0
        if done == 0 and self._piece == 0:
            raise TrainingError("the data source gave no batch")
        self._end_epoch(begun, first_step)
        return True

    def _means(self, begun: float, first_step: int) -> dict[str, Any]:
        sums = {name: float(value) for name, value in (self._sums or {}).items() if name != "bad_step"}
        weight = sums.pop("weight", 0.0) or math.nan
        rate = (int(self.state.step) - first_step) * self.program.batch_size / max(time.perf_counter() - begun, 1e-9)
        return {**{name: value / weight for name, value in sums.items()}, "rows_per_second": rate}

    def _check_finite(self) -> None:
        bad = int(self._sums["bad_step"]) if self._sums else NEVER
        if bad != NEVER:
            raise TrainingError(*_diagnose(self, bad))

    def _end_epoch(self, begun: float, first_step: int) -> None:
        means = self._means(begun, first_step)
        row: dict[str, Any] = {"epoch": self.epoch, "step": int(self.state.step)}
        row.update({name: value for name, value in means.items() if name != "rows_per_second"})
        if self.validation is not None:
            sums = evaluate_source(self.program, self.state.params, self.state.model_state, self.validation)
            row.update({f"val_{name}": value for name, value in sums.items()})
        row["learning_rate"] = self.learning_rate
        if self.best is not None:
            if self.monitor not in row:
                raise unknown_name("column to monitor", self.monitor, row)
            value = jnp.float32(self.sign * row[self.monitor])
            patience = self.options.patience or np.iinfo(np.int32).max
            self.best = end_epoch(
                self.best,
                self.state,
                value,
                jnp.int32(self.epoch),
                jnp.int32(patience),
                jnp.float32(self.options.min_delta),
            )
            row["best"] = int(self.best.epoch) == self.epoch
            if self._observes:
                opt_state = observe(self.state.opt_state, row[self.monitor])
                self.state = dataclasses.replace(self.state, opt_state=opt_state)
            if not bool(self.best.active):
                self.stop(
                    f"stopped early: {self.monitor} has not improved for {patience} epochs; "
                    f"the best was epoch {int(self.best.epoch) + 1}"
                )
        row["seconds"] = round(time.perf_counter() - begun, 4)
        row["rows_per_second"] = round(means["rows_per_second"], 1)
        self.history.append(row)
        self._call("on_epoch_end", self.epoch, row)
        self.epoch, self._piece, self._start, self._sums = self.epoch + 1, 0, 0, None
        if self.checkpoint is not None:
            due = time.monotonic() - getattr(self, "_saved_at", -math.inf) > self.options.checkpoint_every
            if due or self._stop or self.epoch == self.options.epochs:
                self._save()

    def _tree(self) -> dict[str, Any]:
        return {"state": self.state, "best": self.best, "sums": self._sums or zero_sums(self.program)}

    def _save(self) -> None:
        if self.checkpoint is None:
            return
        note = {
            "epoch": self.epoch,
            "piece": self._piece,
            "start": self._start,
            "mid_epoch": self._sums is not None,
            "history": self.history,
            "stopped_because": self.stopped_because,
            "finished": self.epoch >= self.options.epochs or (self.best is not None and not bool(self.best.active)),
            "callbacks": [callback.state() for callback in self.callbacks],
        }
        save_checkpoint(self.checkpoint / CHECKPOINT, self._tree(), note)
        self._saved_at = time.monotonic()

    def resume(self) -> bool:
        """Take up the last checkpoint, if there is one. Returns whether there was."""
        if self.checkpoint is None or not (self.checkpoint / CHECKPOINT).exists():
            return False
        tree, note = load_checkpoint(self.checkpoint / CHECKPOINT, self._tree())
        self.state, self.best = tree["state"], tree["best"]
        self._sums = tree["sums"] if note["mid_epoch"] else None
        self.epoch, self._piece, self._start = note["epoch"], note["piece"], note["start"]
        self.history = note["history"]
        if note["finished"]:
            self._stop = True
            self.stopped_because = note["stopped_because"]
        if len(note["callbacks"]) != len(self.callbacks):
            raise CheckpointError("the checkpoint was written with other callbacks; resume with the same ones")
        for callback, state in zip(self.callbacks, note["callbacks"], strict=True):
            if state is not None:
                callback.restore(state)
        return True


def sign_of(mode: str, monitor: str | None) -> float:
    """1 when a smaller value of ``monitor`` is better, −1 when a larger one is."""
    if mode == "auto":
        gains = ("accuracy", "auc", "f1", "precision", "recall", "r2", "score")
        mode = "max" if monitor and any(word in monitor.lower() for word in gains) else "min"
    return -1.0 if mode == "max" else 1.0


def _diagnose(training: Training, bad: int) -> tuple[str]:
    """What to say about a loss that is not finite, with the likeliest cause that the run's own record supports."""
    losses = [row["loss"] for row in training.history]
    rate = training.learning_rate
    where = f"the loss is not finite at step {bad} (epoch {training.epoch + 1})"
    if bad == 0:
        cause = "it was so before any update: the inputs or targets are extreme, or the loss does not fit the outputs"
    else:
        cause = f"the likely cause is a learning rate that is too high ({rate:.3g})"
    if len(losses) > 1 and losses[-1] > losses[0]:
        cause += f"; the loss had been rising, from {losses[0]:.4g} to {losses[-1]:.4g}"
    return (f"{where}; {cause}.\nHint: lower the learning rate, add clip_by_global_norm(1.0), or scale the inputs",)


def _resolve(named: Any, lookup: Callable[[str], Any], kind: str) -> Any:
    if isinstance(named, str):
        return lookup(named)
    if not callable(named):
        raise ConfigError(f"the {kind} is {named!r}; expected a name or a function (outputs, targets)")
    return named


def _as_model(model: Any) -> Layer:
    if isinstance(model, Layer):
        return model
    if isinstance(model, tuple) and len(model) == 2:
        return lift(*model)
    raise ConfigError(
        f"the model is a {type(model).__name__}; expected a Layer or a pair (init, apply)",
        hint="danlu.nn has layers and ready models; danlu.nn.lift wraps any pair of functions",
    )


def _per_example(program: Program, source: Source, params: Any, model_state: Any) -> Program:
    """``program`` with its loss made one that gives a value for each row, whatever the user's returns."""
    piece = next(iter(source.pieces(0, 0)))
    batch = jax.tree.map(lambda a: jax.ShapeDtypeStruct((program.batch_size, *a.shape[1:]), a.dtype), piece.chunk)
    try:
        outputs = jax.eval_shape(
            lambda p, s, x: program.model.apply(p, s, x, train=False)[0], params, model_state, batch["x"]
        )
        shape = jax.eval_shape(program.loss, outputs, batch["y"]).shape
    except (DataError, ConfigError):
        raise
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"the model or the loss does not accept the data: inputs {_shapes(batch['x'])}, "
            f"targets {_shapes(batch['y'])}: {str(error).splitlines()[0]}",
            hint="check the input shape of the first layer, and that the last layer has one output a class or target",
        ) from error
    if shape == ():
        return dataclasses.replace(program, loss=_PerExample(program.loss))
    if shape != (program.batch_size,):
        raise ConfigError(
            f"the loss returns shape {shape} for a batch of {program.batch_size}; expected one value a row"
        )
    return program


def optimizer_of(optimizer: Any, learning_rate: float | None) -> Any:
    """The optimizer that the user named or handed over."""
    if isinstance(optimizer, str):
        return get_optimizer(optimizer, **({} if learning_rate is None else {"learning_rate": learning_rate}))
    if learning_rate is not None:
        raise ConfigError("learning_rate is for an optimizer given by name; set it in the optimizer you pass")
    if not (callable(getattr(optimizer, "init", None)) and callable(getattr(optimizer, "update", None))):
        raise ConfigError(f"the optimizer is {optimizer!r}; expected a name or a pair with init and update")
    return optimizer


def build_program(
    model: Any, source: Source, *, loss: Any, update: Any, metrics: Sequence[Any], options: FitOptions
) -> Program:
    """The program for what the user handed over, checked against the source's shapes before anything is compiled."""
    pairs = tuple((m, get_metric(m)) if isinstance(m, str) else (getattr(m, "__name__", "metric"), m) for m in metrics)
    program = Program(
        model=_as_model(model),
        loss=_resolve(loss, get_loss, "loss"),
        update=update,
        metrics=pairs,
        batch_size=getattr(source, "batch_size", options.batch_size),
        accumulate=options.accumulate,
    )
    params, state = jax.eval_shape(lambda key: _init(program.model, source.in_shape, key), jax.random.key(0))
    return _per_example(program, source, params, state)


def _shapes(tree: Any) -> str:
    return str(jax.tree.map(lambda a: f"{a.dtype}{list(a.shape)}", tree)).replace("'", "")


def fit(
    model: Any,
    data: Any,
    *,
    loss: Any,
    optimizer: Any = "adam",
    validation: Any = None,
    metrics: Sequence[Any] = (),
    callbacks: Sequence[Callback] = (),
    options: FitOptions | None = None,
    sampler: Sampler | None = None,
    initial: tuple[Any, Any] | None = None,
    checkpoint: str | Path | None = None,
    resume: bool = False,
    **changes: Any,
) -> Fitted:
    """Train ``model`` on ``data``.

    Args:
        model: a layer, or a pair ``(init, apply)``.
        data: ``(x, y)`` or ``(x, y, weight)`` arrays (``x`` may be a dict of arrays), an iterable of such batches, or a
            stream of chunks.
        loss: a name or blueprint from :mod:`danlu.nn.losses`, or any function ``(outputs, targets)`` that returns one value
            for each row, or one for the batch.
        optimizer: a name, or any optimizer (``danlu.optim`` or optax).
        validation: data of the same kind, or a fraction of the rows (the last ones) to hold out.
        metrics: names, or functions ``(outputs, targets)`` of the same form as the loss.
        sampler: which rows an epoch visits; see :mod:`danlu.engine.order`.
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
    rate = changes.pop("learning_rate", None)
    for callback in callbacks:
        if isinstance(callback, EarlyStopping):
            changes = {**callback.settings, **changes}
    callbacks = [callback for callback in callbacks if not isinstance(callback, EarlyStopping)]
    known = [field.name for field in dataclasses.fields(FitOptions)]
    for name in changes:
        if name not in known:
            raise unknown_name("option of fit", name, [*known, "learning_rate"])
    options = (options or FitOptions()).replace(**changes)
    optimizer = optimizer_of(optimizer, rate)
    if isinstance(validation, float):
        data, validation = _hold_out(data, validation)
    source = as_source(data, batch_size=options.batch_size, seed=options.seed, sampler=sampler)
    program = build_program(model, source, loss=loss, update=optimizer.update, metrics=metrics, options=options)
    training = Training(
        program,
        source,
        optimizer,
        options=options,
        validation=None if validation is None else evaluation_pieces(validation),
        callbacks=callbacks,
        checkpoint=None if checkpoint is None else Path(checkpoint),
        initial=initial,
    )
    if resume:
        training.resume()
    try:
        training.run()
    except TrainingError as error:
        error.fitted = _finish(training)  # type: ignore[attr-defined]
        raise
    return _finish(training)


def _hold_out(data: Any, fraction: float) -> tuple[Any, Any]:
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
    restore = training.options.restore_best and best is not None and int(best.epoch) >= 0
    params, model_state = (
        (best.params, best.model_state) if restore and best is not None else (state.params, state.model_state)
    )
    return Fitted(
        program=training.program,
        params=params,
        state=model_state,
        history=training.history,
        train_state=state,
        best_epoch=int(best.epoch) if best is not None else None,
        stopped_because=training.stopped_because,
    )
