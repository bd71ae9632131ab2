"""``fit_population`` and ``fit_folds``: several networks that learn from rows, in one compiled program."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu import processes
from danlu.engine.arrays import as_arrays
from danlu.engine.build import build_program, optimizer_of
from danlu.engine.callback import Callback
from danlu.engine.fit import with_targets
from danlu.engine.fitted import Fitted
from danlu.engine.gradient import Gradient
from danlu.engine.initial import initial_state
from danlu.engine.mesh import check_shares, need_devices
from danlu.engine.monitor import stopped_early
from danlu.engine.objective import Supervised
from danlu.engine.options import FitOptions
from danlu.engine.order import Sampler, check_order, num_batches, shuffled
from danlu.engine.poisson import Forgetting, Secret, drawn_for_each
from danlu.engine.population import Population, judge_of
from danlu.engine.settled import settled
from danlu.engine.sources import ArraySource, SharedSource, as_source
from danlu.engine.state import owned
from danlu.engine.targets import TargetCheck
from danlu.engine.train import train
from danlu.errors import ConfigError, DataError

__all__ = ["fit_folds", "fit_members", "fit_population"]


def fit_population(
    model: Any,
    data: Any,
    targets: Any = None,
    *,
    loss: Any,
    seeds: Sequence[int] = (0, 1, 2),
    optimizers: Any = "adam",
    train_rows: Sequence[np.ndarray] | None = None,
    samplers: Sequence[Sampler] | None = None,
    validation_rows: Sequence[np.ndarray] | None = None,
    validation: Any = None,
    metrics: Any = (),
    loss_weights: Mapping[str, float] | None = None,
    augment: Any = None,
    gradient: Gradient | None = None,
    initial: Sequence[tuple[Any, Any]] | None = None,
    callbacks: Sequence[Callback] = (),
    options: FitOptions | None = None,
    checkpoint: str | Path | None = None,
    resume: bool = False,
    **changes: Any,
) -> list[Fitted]:
    """Train several members at once, in one compiled program.

    Args:
        model: a layer, or a pair ``(init, apply)``.
        data: ``(x, y)`` or ``(x, y, weight)`` arrays, shared by all members; a stream of chunks, whose order they then share as well; or
            ``x`` alone, with
        targets: ``y``.
        seeds: a member's initial weights, random draws and sequence of rows; as many as there are members.
        optimizers: one for all (a name or optimizer), or one for each member; they must be of one kind and may differ in
            any hyper-parameter.
        train_rows: the rows that each member trains on (default: all), or
        samplers: what draws them, for each member; see :mod:`danlu.engine.order`.
        validation: other data that all are judged on.
        validation_rows: the rows of ``validation``, or else of ``data``, that each member is judged on.
        metrics, loss_weights, augment, gradient: as in :func:`danlu.fit`; each member's draws are its own. A private gradient is for the
            rows of one member, and what a member spends is spent of these; who publishes several of them adds that up.
        initial: each member's ``(params, state)`` to start from instead of fresh ones.
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
    fitted = fit_members(
        model,
        with_targets(data, targets),
        loss=loss,
        seeds=seeds,
        optimizers=optimizers,
        train_rows=train_rows,
        samplers=samplers,
        validation_rows=validation_rows,
        validation=validation,
        metrics=metrics,
        loss_weights=loss_weights,
        augment=augment,
        gradient=gradient,
        initial=initial,
        callbacks=callbacks,
        options=options,
        checkpoint=checkpoint,
        resume=resume,
        **changes,
    )
    whole = _on_host((fitted.params, fitted.state, fitted.train_state, fitted.best))
    return [_member(fitted, whole, index) for index in range(len(list(seeds)))]


def fit_members(
    model: Any,
    data: Any,
    *,
    loss: Any,
    seeds: Sequence[int],
    optimizers: Any = "adam",
    train_rows: Sequence[np.ndarray] | None = None,
    samplers: Sequence[Sampler] | None = None,
    validation_rows: Sequence[np.ndarray] | None = None,
    validation: Any = None,
    metrics: Any = (),
    loss_weights: Mapping[str, float] | None = None,
    augment: Any = None,
    gradient: Gradient | None = None,
    initial: Sequence[tuple[Any, Any]] | None = None,
    together: bool = False,
    group: int = 1,
    after: Fitted | None = None,
    options: FitOptions | None = None,
    callbacks: Sequence[Callback] = (),
    checkpoint: str | Path | None = None,
    resume: bool = False,
    **changes: Any,
) -> Fitted:
    """:func:`fit_population` and its result as one object: every array has a leading axis of members.

    Args:
        together: whether they are one model in the end, the networks of cross-fitting. Then the best epoch is one for all, by the measure
            over all their validation rows together: by 100 rows of a member's own, which epoch looks best is chance.
        group: so many members after each other are one model; see :class:`~danlu.engine.population.Population`.
        after: a training of these members that is gone on from, up to ``epochs`` in all; its ``train_state`` is used up. See
            :func:`~danlu.engine.selection.members_of` for some of them.
    """
    if "seed" in changes:
        raise ConfigError("fit_population received seed; expected seeds, one for each member")
    rate = changes.pop("learning_rate", None)
    options, callbacks = settled("fit_population", options, callbacks, changes)
    seeds = _checked_seeds(seeds)
    count = len(seeds)
    made = _checked_optimizers(optimizers, rate, count)
    several = processes.count() > 1  # whose devices hold the same
    shared = together and (
        several or count % options.devices > 0
    )  # then the devices share the rows of each batch instead
    if several and not together and options.devices > 1:
        raise ConfigError(
            f"the {count} members would be divided among {processes.count()} processes; expected one process, whose devices can share them",
            hint="start it without danlu launch",
        )
    if options.sharding != "replicated":
        raise ConfigError(
            f"sharding is {options.sharding!r}, and the devices have {count} members to divide among them; expected 'replicated'",
            hint="leave sharding out; it is for one network that is too large for a device",
        )
    check_shares(f"{count} members", count, 1 if shared else options.devices)
    need_devices(options.devices)
    if train_rows is not None and samplers is not None:
        raise ConfigError("fit_population received both train_rows and samplers; expected one of them")
    varied = samplers is not None  # how many rows these draw may differ from epoch to epoch
    secrets: list[Secret] | None = None
    if isinstance(gradient, Gradient) and gradient.private:
        if _is_stream(data) or checkpoint is not None:
            raise ConfigError(
                f"the gradient is private, and the population {'reads a stream' if checkpoint is None else 'writes checkpoints'}; expected "
                "arrays, of which rows can be drawn one by one, and no checkpoint, which would hold each member's secret"
            )
        rows = as_arrays(data)["weight"].shape[0]
        whole = [np.arange(rows)] * count if train_rows is None else train_rows
        secrets = [Secret.new() for _ in seeds]
        parts = _checked_rows("train_rows", whole, rows, count)
        samplers, room = drawn_for_each(gradient, samplers, options, secrets, parts)
        train_rows, options, callbacks = None, options.replace(batch_size=room), [Forgetting(None), *callbacks]
    source: ArraySource | SharedSource
    if _is_stream(data):
        if varied or train_rows is not None or (validation is None and validation_rows is not None):
            raise ConfigError(
                "the members of a population share the rows of a stream; expected no rows or samplers of their own",
                hint="pass arrays, or leave train_rows, samplers and validation_rows out",
            )
        stream: Any = as_source(data, batch_size=options.batch_size, seed=seeds)
        source = SharedSource(stream, count)
    else:
        chunk = as_arrays(data)
        rows = chunk["weight"].shape[0]
        if train_rows is not None:
            samplers = [shuffled(each) for each in _checked_rows("train_rows", train_rows, rows, count)]
        source = ArraySource(
            chunk, batch_size=options.batch_size, seed=seeds, sampler=samplers or [shuffled(rows)] * count
        )
    alone = options if shared else options.replace(devices=1)
    program = build_program(
        model, source, loss=loss, optimizer=made[0], metrics=metrics, options=alone, augment=augment, gradient=gradient
    )
    # Members rest, on rows of weight zero, when theirs fill fewer batches than the others' or when they have stopped.
    uneven = (
        isinstance(source, ArraySource) and num_batches(source.fewest, program.batch_size) != source.steps_per_epoch
    )
    if uneven or varied or (options.patience is not None and not together):
        program = program.resting()
    population = Population(program, count, options.devices, together, group)
    judged = None
    if validation is not None or validation_rows is not None:
        other = source.chunk if isinstance(source, ArraySource) else None
        if validation is not None:
            given = as_arrays(validation)
            rows = given["weight"].shape[0]
            shapes = jax.eval_shape(lambda key: program.model.init(key, source.in_shape)[:2], jax.random.key(0))
            TargetCheck(program, variables=shapes)(given)
            other = jax.device_put(given)
        own = [np.arange(rows)] * count
        if validation_rows is not None:
            own = _checked_rows("validation_rows", validation_rows, rows, count)
        judged = judge_of(population, other, own)
    if initial is not None and len(initial) != count:
        raise ConfigError(f"initial has {len(initial)} pairs of variables for {count} seeds; expected one for each")
    if after is None:
        starts: Sequence[tuple[Any, Any] | None] = initial if initial is not None else (None,) * count
        own_secrets: Sequence[Secret | None] = secrets or [None] * count
        begun = [
            initial_state(
                program,
                source,
                optimizer,
                seed=seed,
                options=options,
                initial=start,
                loss_weights=loss_weights,
                secret=None if secret is None else secret.key,
            )
            for optimizer, seed, start, secret in zip(made, seeds, starts, own_secrets, strict=True)
        ]
        state = owned(jax.tree.map(_stacked, *begun))
    else:
        state = after.train_state
    fitted = train(
        population,
        source,
        state,
        after=after,
        options=options,
        measure=judged,
        callbacks=callbacks,
        checkpoint=checkpoint,
        resume=resume,
    )
    return _as_one(fitted) if together else fitted


def _is_stream(data: Any) -> bool:
    """Whether the rows are not at hand as arrays."""
    arrays = isinstance(data, tuple) or (isinstance(data, dict) and set(data) == {"x", "y", "weight"})
    return not arrays and (hasattr(data, "chunks") or hasattr(data, "pieces"))


def _stacked(*leaves: Any) -> Any:
    """One array of the members' own: on the host, where it need not be compiled for each shape."""
    return jnp.stack(leaves) if _is_key(leaves[0]) else np.stack([np.asarray(leaf) for leaf in leaves])


def _on_host(tree: Any) -> Any:
    """The arrays of a tree in the host's memory, where taking a part of one costs nothing; keys as they are."""
    return jax.tree.map(lambda leaf: leaf if _is_key(leaf) else np.asarray(leaf), tree)


def _is_key(leaf: Any) -> bool:
    return bool(jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key))


def _as_one(fitted: Fitted) -> Fitted:
    """The record of members that are one model as that of the model, which predicts, is judged and is saved as any network."""
    population: Any = fitted.program
    program, objective = population.program, population.program.objective
    if not isinstance(objective, Supervised):
        return fitted
    whole = dataclasses.replace(program.with_model(population.model), devices=1, skip_empty=False)
    weights = {name: weight[0] for name, weight in fitted.train_state.weights.items()}
    return dataclasses.replace(
        fitted, program=whole, train_state=dataclasses.replace(fitted.train_state, weights=weights)
    )


def _checked_optimizers(given: Any, rate: float | None, members: int) -> list[Any]:
    """An optimizer for each member.

    Raises:
        ConfigError: not as many as members, or of different kinds.
    """
    is_one = isinstance(given, str) or hasattr(given, "init")
    made = [optimizer_of(optimizer, rate) for optimizer in ([given] * members if is_one else list(given))]
    if len(made) != members:
        raise ConfigError(f"{len(made)} optimizers for {members} seeds; expected one for each, or one for all")
    if any(optimizer.update != made[0].update for optimizer in made):
        raise ConfigError(
            "the members' optimizers are of different kinds; expected one kind with other settings",
            hint="those of danlu.optim are of one kind if made by one function; each call of a function of optax makes another kind",
        )
    return made


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
        DataError: an empty set, or a number that is not a row of the data.
    """
    if len(given) != members:
        raise ConfigError(f"{name} names {len(given)} sets of rows for {members} members")
    checked = [check_order(each, rows) for each in given]
    if any(each.size == 0 or each.min() < 0 for each in checked):
        raise DataError(
            f"{name} has an empty set or a negative row number; expected rows from 0 to {rows - 1} for each member"
        )
    return checked


def _member(fitted: Fitted, whole: Any, index: int) -> Fitted:
    """One member of a population as if it had been trained alone: its history ends where it stopped.

    Args:
        whole: the parameters, the model's state, the training's and the best of all members, on the host.
    """
    population: Any = fitted.program
    params, state, train_state, found = jax.tree.map(lambda leaf: leaf[index], whole)
    params, state, train_state = jax.device_put((params, state, train_state))
    stopped = found is not None and not found.active
    best, patience = (None, 0) if found is None else (int(found.epoch), int(found.stale))
    history = []
    for row in fitted.history:
        if stopped and best is not None and row["epoch"] > best + patience:
            break
        each = {name.removesuffix("_each"): of[index] for name, of in row.items() if name.endswith("_each")}
        history.append({"epoch": row["epoch"], **each, "seconds": row["seconds"]})
    because = fitted.stopped_because
    if stopped and best is not None and fitted.monitor is not None:
        because = stopped_early(fitted.monitor, patience, best)
    return dataclasses.replace(
        fitted,
        program=dataclasses.replace(population.program, skip_empty=False),
        params=params,
        state=state,
        history=history,
        train_state=train_state,
        best_epoch=best,
        stopped_because=because,
        best=found,
        clues=None if fitted.clues is None else fitted.clues.of(population.program, train_state, index),
    )


def fit_folds(
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
    """k-fold cross-validation of a network on arrays, all folds trained at once in one compiled program.

    :func:`danlu.cross_validate` does it for files and frames, with everything that comes before and after the network.

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
    for name in ("seeds", "train_rows", "samplers", "validation_rows", "validation"):
        if name in settings:
            raise ConfigError(f"fit_folds received {name}, which the folds decide; pass seed and folds")
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
