"""Many trainings at once: seeds, learning rates or folds on one leading axis of one compiled program.

A population is ``vmap`` of the step's loop. Its members share the model, the loss and the data on the device; each has its
own weights, optimizer state (and so its own learning rate), random key, and order of rows (and so its own fold).
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.engine.arrays import as_arrays
from danlu.engine.build import build_program, optimizer_of
from danlu.engine.cache import enable_compilation_cache
from danlu.engine.fitted import EVALUATION_BATCH, Fitted
from danlu.engine.initial import initial_state
from danlu.engine.options import FitOptions
from danlu.engine.order import Sampler, capacity, num_batches, pad_order, shuffled
from danlu.engine.sources import ArraySource
from danlu.engine.state import Best
from danlu.engine.step import NEVER, Program, end_epoch, evaluate_steps, run_steps, zero_sums
from danlu.engine.training import sign_of
from danlu.errors import ConfigError, DataError, TrainingError

__all__ = ["cross_validate", "fit_population"]


def _stack(trees: Sequence[Any]) -> Any:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def _member(tree: Any, index: int) -> Any:
    return jax.tree.map(lambda leaf: leaf[index], tree)


@dataclasses.dataclass(frozen=True)
class _Validation:
    """The rows that each member is judged on: one chunk, an order a member."""

    chunk: Any
    orders: jax.Array
    steps: int
    size: int

    @classmethod
    def of(cls, chunk: Any, rows: Sequence[np.ndarray]) -> _Validation:
        longest = max(r.size for r in rows)
        size = min(EVALUATION_BATCH, capacity(longest))
        orders = np.stack([pad_order(r, size, length=longest) for r in rows])
        return cls(chunk, jax.device_put(orders), num_batches(longest, size), size)

    def measure(self, program: Program, params: Any, model_state: Any) -> dict[str, np.ndarray]:
        sums = evaluate_steps(
            program, params, model_state, self.chunk, self.orders, self.steps, size=self.size, population=True
        )
        return _means(sums)


def _means(sums: dict[str, jax.Array]) -> dict[str, np.ndarray]:
    host = {name: np.asarray(value, np.float64) for name, value in sums.items() if name != "bad_step"}
    weight = host.pop("weight")
    return {name: value / np.where(weight == 0, math.nan, weight) for name, value in host.items()}


def fit_population(
    model: Any,
    data: Any,
    *,
    loss: Any,
    seeds: Sequence[int] = (0, 1, 2),
    optimizers: Any = "adam",
    train_rows: Sequence[np.ndarray] | None = None,
    validation_rows: Sequence[np.ndarray] | None = None,
    validation: Any = None,
    metrics: Sequence[Any] = (),
    augment: Any = None,
    options: FitOptions | None = None,
    **changes: Any,
) -> list[Fitted]:
    """Train several members at once, in one compiled program.

    Args:
        model: a layer, or a pair ``(init, apply)``.
        data: ``(x, y)`` or ``(x, y, weight)`` arrays, shared by all members.
        seeds: a member's initial weights, random draws and sequence of rows; as many as there are members.
        optimizers: one for all (a name or optimizer), or one for each member; they must be of one kind and may differ in
            any hyper-parameter.
        train_rows: the rows that each member trains on (default: all).
        validation_rows: the rows of ``data`` that each member is judged on, or
        validation: other data that all are judged on.
        augment: as in :func:`danlu.fit`; each member's draws are its own.
        options, **changes: as in :func:`danlu.fit`. Every member keeps its own best weights; training ends when all have
            stopped.

    Returns:
        A :class:`~danlu.engine.fitted.Fitted` for each member, as if it had been trained alone.

    Example:
        >>> from danlu import nn, optim
        >>> x = np.linspace(-1, 1, 32, dtype=np.float32)[:, None]
        >>> members = fit_population(nn.Dense(1), (x, 2 * x[:, 0]), loss="mse", seeds=[0, 0], epochs=30, display="none",
        ...                          optimizers=[optim.sgd(0.1), optim.sgd(0.0)])
        >>> members[0].history[-1]["loss"] < members[1].history[-1]["loss"]
        True
    """
    enable_compilation_cache()
    seeds = [int(seed) for seed in seeds]
    if not seeds:
        raise ConfigError("a population needs at least one seed")
    listed = optimizers if isinstance(optimizers, list) else [optimizers] * len(seeds)
    made = [optimizer_of(optimizer, None) for optimizer in listed]
    if len(made) != len(seeds):
        raise ConfigError(f"{len(made)} optimizers for {len(seeds)} seeds; expected one for each, or one for all")
    if any(optimizer.update != made[0].update for optimizer in made):
        raise ConfigError("the members' optimizers are of different kinds; expected one kind with other settings")
    options = (options or FitOptions()).replace(**changes)
    chunk = as_arrays(data)
    rows = chunk["weight"].shape[0]
    for name, given in (("train_rows", train_rows), ("validation_rows", validation_rows)):
        if given is not None and len(given) != len(seeds):
            raise ConfigError(f"{name} names {len(given)} sets of rows for {len(seeds)} members")
    samplers: list[Sampler] = (
        [shuffled(np.asarray(r)) for r in train_rows] if train_rows else [shuffled(rows)] * len(seeds)
    )
    source = ArraySource(chunk, batch_size=options.batch_size, seed=seeds, sampler=samplers)
    program = build_program(
        model, source, loss=loss, update=made[0].update, metrics=metrics, options=options, augment=augment
    )
    program = dataclasses.replace(program, skip_empty=train_rows is not None)
    judged = None
    if validation_rows is not None:
        judged = _Validation.of(source.chunk, [np.asarray(r, np.int32) for r in validation_rows])
    elif validation is not None:
        other = as_arrays(validation)
        count = other["weight"].shape[0]
        judged = _Validation.of(jax.device_put(other), [np.arange(count)] * len(seeds))
    return _train(program, source, made, seeds, judged, options)


def _train(
    program: Program,
    source: ArraySource,
    optimizers: Sequence[Any],
    seeds: Sequence[int],
    judged: _Validation | None,
    options: FitOptions,
) -> list[Fitted]:
    states = [
        initial_state(program, source, optimizer, seed=seed, options=options)
        for optimizer, seed in zip(optimizers, seeds, strict=True)
    ]
    best = _stack([Best.start(state) for state in states])
    state = _stack(states)
    monitor = options.monitor or ("val_loss" if judged is not None else None)
    sign = sign_of(options.mode, monitor)
    patience = jnp.int32(options.patience or np.iinfo(np.int32).max)
    histories: list[list[dict[str, Any]]] = [[] for _ in seeds]
    for epoch in range(options.epochs):
        begun = time.perf_counter()
        sums = _stack([zero_sums(program) for _ in seeds])
        piece = next(source.pieces(epoch, 0))
        state, sums = run_steps(program, state, sums, piece.chunk, piece.order, 0, piece.steps, population=True)
        bad = np.asarray(sums["bad_step"])
        if (bad != NEVER).all():
            raise TrainingError(
                f"the loss of every member stopped being finite, the first at step {int(bad.min())}",
                hint="lower the learning rates, add clip_by_global_norm(1.0), or scale the inputs",
            )
        row = _means(sums)
        if judged is not None:
            row.update({f"val_{k}": v for k, v in judged.measure(program, state.params, state.model_state).items()})
        active = np.asarray(best.active)
        if monitor is not None:
            if monitor not in row:
                raise ConfigError(f"cannot monitor {monitor!r}; expected one of: {', '.join(row)}")
            value = jnp.asarray(sign * row[monitor], jnp.float32)
            best = end_epoch(
                best, state, value, jnp.int32(epoch), patience, jnp.float32(options.min_delta), population=True
            )
        seconds = round(time.perf_counter() - begun, 4)
        for index, history in enumerate(histories):
            if active[index]:
                values = {name: float(column[index]) for name, column in row.items()}
                history.append({"epoch": epoch, "step": int(state.step[index]), **values, "seconds": seconds})
        if not np.asarray(best.active).any():
            break
    kept = best if monitor is not None and options.restore_best else None
    return [_finished(program, state, kept, histories, index) for index in range(len(seeds))]


def _finished(program: Program, state: Any, best: Any, histories: list[list[dict[str, Any]]], index: int) -> Fitted:
    chosen = state if best is None else best
    return Fitted(
        program=dataclasses.replace(program, skip_empty=False),
        params=_member(chosen.params, index),
        state=_member(chosen.model_state, index),
        history=histories[index],
        train_state=_member(state, index),
        best_epoch=None if best is None else int(best.epoch[index]),
    )


def cross_validate(
    model: Any, data: Any, *, loss: Any, folds: int = 5, seed: int = 0, stratify: bool = False, **settings: Any
) -> list[Fitted]:
    """k-fold cross-validation, all folds trained at once in one compiled program.

    Args:
        folds: how many; each row is judged once, by the member that did not train on it.
        seed: decides the folds (and the members' seeds).
        stratify: whether each fold has the classes in equal shares.
        settings: as in :func:`fit_population`.

    Returns:
        A fitted model a fold; the held-out score of each is in its history (``val_…``).

    Raises:
        DataError: fewer rows than folds.
    """
    from sklearn.model_selection import KFold, StratifiedKFold

    chunk = as_arrays(data)
    rows = chunk["weight"].shape[0]
    if not 2 <= folds <= rows:
        raise DataError(f"{folds} folds of {rows} rows; expected from 2 folds to one a row")
    splitter = (StratifiedKFold if stratify else KFold)(n_splits=folds, shuffle=True, random_state=seed)
    parts = list(splitter.split(np.zeros(rows), chunk["y"] if stratify else None))
    return fit_population(
        model,
        data,
        loss=loss,
        seeds=[seed + i for i in range(folds)],
        train_rows=[train for train, _ in parts],
        validation_rows=[held_out for _, held_out in parts],
        **settings,
    )
