"""Many trainings at once: seeds, learning rates or folds on one leading axis of one compiled program.

A population is ``vmap`` of the step. Its members share the model, the loss and the data on the device; each has its
own weights, optimizer state (and so its own learning rate), random key, and order of rows (and so its own fold).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.engine.arrays import as_arrays
from danlu.engine.build import build_program, optimizer_of
from danlu.engine.cache import enable_compilation_cache
from danlu.engine.callbacks import Callback
from danlu.engine.fit import run_training, settled, with_targets
from danlu.engine.fitted import EVALUATION_BATCH, Fitted
from danlu.engine.initial import initial_state
from danlu.engine.loop import evaluate_steps
from danlu.engine.mesh import DIVIDED, check_shares, need_devices, place
from danlu.engine.options import FitOptions
from danlu.engine.order import Sampler, capacity, check_order, even_batches, num_batches, pad_order, shuffled
from danlu.engine.sources import ArraySource
from danlu.engine.state import TrainState
from danlu.engine.step import Program
from danlu.engine.targets import TargetCheck
from danlu.engine.training import Training, mean_of_members, stopped_early
from danlu.errors import ConfigError, DataError
from danlu.nn.layer import Layer

__all__ = ["Population", "cross_validate", "fit_population"]


@dataclasses.dataclass(frozen=True)
class Population:
    """Several trainings of one program side by side: its step under ``vmap``.

    Each member has a state and an order of rows of its own, on a leading axis; the data is shared.

    Attributes:
        program: that of each member.
        members: how many.
        devices: how many devices the members are divided among.
    """

    program: Program
    members: int
    devices: int = 1

    @property
    def model(self) -> Layer:
        """The network of each member."""
        return self.program.model

    @property
    def batch_size(self) -> int:
        """Rows of a member's step."""
        return self.program.batch_size

    @property
    def unit(self) -> str:
        """``"rows"``."""
        return self.program.unit

    def at(
        self, state: TrainState, chunk: Any, order: jax.Array, index: Any
    ) -> tuple[TrainState, dict[str, jax.Array]]:
        """The step of every member."""
        return jax.vmap(self.program.at, in_axes=(0, None, 0, None))(state, chunk, order, index)

    def zero_sums(self) -> dict[str, jax.Array]:
        """Those of the program, for every member."""
        return {name: jnp.broadcast_to(value, (self.members,)) for name, value in self.program.zero_sums().items()}

    def means(self, sums: Mapping[str, Any]) -> dict[str, Any]:
        """The means of those members that go on and have not diverged, and as ``NAME_each`` those of each member."""
        each = [self.program.means({name: value[i] for name, value in sums.items()}) for i in range(self.members)]
        overall = {name: mean_of_members([member[name] for member in each]) for name in each[0]}
        return {**overall, **{f"{name}_each": [member[name] for member in each] for name in overall}}

    def counters(self, state: TrainState) -> dict[str, Any]:
        """The number of updates: the most that a member has made, and as ``step_each`` that of each."""
        return {"step": int(state.step.max()), "step_each": np.asarray(state.step).tolist()}

    def direction(self, column: str) -> str | None:
        """That of the program."""
        return self.program.direction(column)

    def judge(
        self, params: Any, model_state: Any, chunk: Any, order: jax.Array, stop: Any, size: int
    ) -> dict[str, jax.Array]:
        """Each member's sums over its order."""
        one = functools.partial(self.program.judge, size=size)
        return jax.vmap(one, in_axes=(0, 0, None, 0, None))(params, model_state, chunk, order, stop)


def _judge(
    program: Population, chunk: Any, rows: Sequence[np.ndarray]
) -> Callable[[TrainState], dict[str, np.ndarray]]:
    """What judges each member on its rows of ``chunk``."""
    if program.program.of_batch:
        parts = _whole_batches(program.batch_size, rows)
    else:
        longest = max(r.size for r in rows)
        size = min(EVALUATION_BATCH, capacity(longest))
        parts = [(size, np.stack([pad_order(r, size, length=longest) for r in rows]), num_batches(longest, size))]
    chunk = place(chunk, program.devices)
    placed = [(size, place(jax.device_put(orders), program.devices, DIVIDED), steps) for size, orders, steps in parts]

    def measure(state: TrainState) -> dict[str, np.ndarray]:
        total: dict[str, np.ndarray] = {}
        for size, orders, steps in placed:
            sums = evaluate_steps(program, state.params, state.model_state, chunk, orders, steps, size=size)
            for name, value in sums.items():
                total[name] = total.get(name, 0.0) + np.asarray(value, np.float64)
        return {
            name.removesuffix("_each"): np.array(value)
            for name, value in program.means(total).items()
            if name.endswith("_each")
        }

    return measure


def _whole_batches(largest: int, rows: Sequence[np.ndarray]) -> list[tuple[int, np.ndarray, int]]:
    """Each member's rows divided evenly into batches: for each size, the members' orders and how many batches those have.

    A member that has fewer batches of a size than another rests in the others, whose rows all have weight zero.
    """
    members = [{size: r[places] for size, places in even_batches(r.size, largest)} for r in rows]
    found = []
    for size in sorted({size for member in members for size in member}):
        orders = [member.get(size, np.empty(0, np.int32)) for member in members]
        length = max(order.size for order in orders)
        full = [np.concatenate([order, np.full(length - order.size, -1)]).astype(np.int32) for order in orders]
        found.append((size, np.stack(full), length // size))
    return found


def fit_population(
    model: Any,
    data: Any,
    targets: Any = None,
    *,
    loss: Any,
    seeds: Sequence[int] = (0, 1, 2),
    optimizers: Any = "adam",
    train_rows: Sequence[np.ndarray] | None = None,
    validation_rows: Sequence[np.ndarray] | None = None,
    validation: Any = None,
    metrics: Sequence[Any] = (),
    augment: Any = None,
    callbacks: Sequence[Callback] = (),
    options: FitOptions | None = None,
    checkpoint: str | Path | None = None,
    resume: bool = False,
    **changes: Any,
) -> list[Fitted]:
    """Train several members at once, in one compiled program.

    Args:
        model: a layer, or a pair ``(init, apply)``.
        data: ``(x, y)`` or ``(x, y, weight)`` arrays, shared by all members; or ``x`` alone, with
        targets: ``y``.
        seeds: a member's initial weights, random draws and sequence of rows; as many as there are members.
        optimizers: one for all (a name or optimizer), or one for each member; they must be of one kind and may differ in
            any hyper-parameter.
        train_rows: the rows that each member trains on (default: all).
        validation_rows: the rows of ``data`` that each member is judged on, or
        validation: other data that all are judged on.
        augment: as in :func:`danlu.fit`; each member's draws are its own.
        options, callbacks, checkpoint, resume, **changes: as in :func:`danlu.fit`. Every member keeps its own best weights;
            training ends when all have stopped. The members are divided among ``devices``.

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
    if "seed" in changes:
        raise ConfigError("fit_population received seed; expected seeds, one for each member")
    rate = changes.pop("learning_rate", None)
    options, callbacks = settled("fit_population", options, callbacks, changes)
    seeds = _checked_seeds(seeds)
    is_one = isinstance(optimizers, str) or hasattr(optimizers, "init")
    listed = [optimizers] * len(seeds) if is_one else list(optimizers)
    made = [optimizer_of(optimizer, rate) for optimizer in listed]
    if len(made) != len(seeds):
        raise ConfigError(f"{len(made)} optimizers for {len(seeds)} seeds; expected one for each, or one for all")
    if any(optimizer.update != made[0].update for optimizer in made):
        raise ConfigError("the members' optimizers are of different kinds; expected one kind with other settings")
    check_shares(f"{len(seeds)} members", len(seeds), options.devices)
    need_devices(options.devices)
    chunk = as_arrays(with_targets(data, targets))
    rows = chunk["weight"].shape[0]
    if validation is not None and validation_rows is not None:
        raise ConfigError("fit_population received both validation and validation_rows; expected one of them")
    samplers: list[Sampler] = [shuffled(rows)] * len(seeds)
    if train_rows is not None:
        samplers = [shuffled(each) for each in _checked_rows("train_rows", train_rows, rows, len(seeds))]
    if validation_rows is not None:
        validation_rows = _checked_rows("validation_rows", validation_rows, rows, len(seeds))
    source = ArraySource(chunk, batch_size=options.batch_size, seed=seeds, sampler=samplers)
    alone = options.replace(devices=1)  # a member's batches are not shared
    program = build_program(
        model, source, loss=loss, optimizer=made[0], metrics=metrics, options=alone, augment=augment
    )
    # Members rest, on rows of weight zero, when theirs are fewer than the others' or when they have stopped.
    rests = train_rows is not None or options.patience is not None
    program = dataclasses.replace(program, skip_empty=program.skip_empty or rests)
    population = Population(program, len(seeds), options.devices)
    judged = None
    check = TargetCheck(
        program, variables=jax.eval_shape(lambda key: program.model.init(key, source.in_shape)[:2], jax.random.key(0))
    )
    if validation_rows is not None:
        judged = _judge(population, source.chunk, validation_rows)
    elif validation is not None:
        other = as_arrays(validation)
        check(other)
        judged = _judge(population, jax.device_put(other), [np.arange(other["weight"].shape[0])] * len(seeds))
    states = [
        initial_state(program, source, optimizer, seed=seed, options=options)
        for optimizer, seed in zip(made, seeds, strict=True)
    ]
    training = Training(
        population,
        source,
        jax.tree.map(lambda *leaves: jnp.stack(leaves), *states),
        options=options,
        measure=judged,
        callbacks=callbacks,
        checkpoint=checkpoint,
    )
    together = run_training(training, resume=resume)
    return [_member(training, together, program, index) for index in range(len(seeds))]


def _checked_seeds(seeds: Any) -> list[int]:
    given = list(seeds) if isinstance(seeds, Iterable) and not isinstance(seeds, str) else None
    if given is None or not all(isinstance(seed, int | np.integer) and seed >= 0 for seed in given):
        raise ConfigError(f"seeds is {seeds!r}; expected a sequence of whole numbers >= 0, one for each member")
    if not given:
        raise ConfigError("a population needs at least one seed")
    return [int(seed) for seed in given]


def _checked_rows(name: str, given: Sequence[Any], rows: int, members: int) -> list[np.ndarray]:
    """Row numbers for each member.

    Raises:
        ConfigError: not as many sets as members.
        DataError: an empty set, or what is no row of the data.
    """
    if len(given) != members:
        raise ConfigError(f"{name} names {len(given)} sets of rows for {members} members")
    checked = [check_order(each, rows) for each in given]
    if any(each.size == 0 or each.min() < 0 for each in checked):
        raise DataError(
            f"{name} has an empty set or a negative row number; expected rows from 0 to {rows - 1} for each member"
        )
    return checked


def _member(training: Training, together: Fitted, program: Program, index: int) -> Fitted:
    """One member of a population as if it had been trained alone: its history ends where it stopped."""
    of = lambda tree: jax.tree.map(lambda leaf: leaf[index], tree)  # noqa: E731
    best = None if training.best is None else int(training.best.epoch[index])
    stopped = best is not None and not bool(np.asarray(training.best.active)[index])  # type: ignore[union-attr]
    patience = training.options.patience or 0
    history = []
    for row in together.history:
        if stopped and best is not None and row["epoch"] > best + patience:
            break
        each = {name.removesuffix("_each"): of[index] for name, of in row.items() if name.endswith("_each")}
        history.append({"epoch": row["epoch"], **each, "seconds": row["seconds"]})
    because = together.stopped_because
    if stopped and best is not None and training.monitor is not None:
        because = stopped_early(training.monitor, patience, best)
    return Fitted(
        program=dataclasses.replace(program, skip_empty=False),
        params=of(together.params),
        state=of(together.state),
        history=history,
        train_state=of(together.train_state),
        best_epoch=best,
        stopped_because=because,
        in_shape=together.in_shape,
    )


def cross_validate(
    model: Any,
    data: Any,
    targets: Any = None,
    *,
    loss: Any,
    folds: int = 5,
    seed: int = 0,
    stratify: bool = False,
    **settings: Any,
) -> list[Fitted]:
    """k-fold cross-validation, all folds trained at once in one compiled program.

    Args:
        data, targets: as in :func:`danlu.fit`.
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

    data = with_targets(data, targets)
    chunk = as_arrays(data)
    rows = chunk["weight"].shape[0]
    for name in ("seeds", "train_rows", "validation_rows", "validation"):
        if name in settings:
            raise ConfigError(f"cross_validate received {name}, which the folds decide; pass seed and folds")
    if not isinstance(folds, int):
        raise ConfigError(f"folds is {folds!r}; expected a whole number")
    if stratify and not (chunk["y"].ndim == 1 and np.issubdtype(chunk["y"].dtype, np.integer)):
        raise ConfigError(
            "stratify divides classes evenly, and the targets are not class numbers; leave it out for quantities"
        )
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
