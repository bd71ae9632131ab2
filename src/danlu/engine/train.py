"""``train``: runs any program of steps from its initial state to the trained one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu import processes
from danlu.engine.cache import enable_compilation_cache
from danlu.engine.callback import Callback
from danlu.engine.fitted import Fitted
from danlu.engine.loop import Steps
from danlu.engine.mesh import gathered, on_host
from danlu.engine.options import FitOptions
from danlu.engine.settled import settled
from danlu.engine.snapshots import with_snapshots
from danlu.engine.sources import ArraySource, BatchSource, ChunkSource, Source, as_source
from danlu.engine.state import TrainState
from danlu.engine.step import Program
from danlu.engine.training import Training
from danlu.errors import ConfigError, TrainingError
from danlu.memory import is_shortage
from danlu.paths import is_key
from danlu.prose import wrapped
from danlu.stages import display_kind, showing, shown

__all__ = ["train"]

_OF_PROGRAM = {
    "batch_size": "Program(…, batch_size=32)",
    "accumulate": "Program(…, gradient=Accumulated(4))",
    "precision": "Program(…, objective=InPrecision(objective))",
    "devices": "Program(…, devices=2)",
    "sharding": "Program(…, devices=2, sharding='fsdp')",
    "tensor": "Program(…, devices=2, sharding='tensor', tensor=2)",
    **dict.fromkeys(
        ("average", "average_decay", "average_start"), "TrainState.start(…, average=Average.of('ema', params, state))"
    ),
    **dict.fromkeys(("l1", "l2"), "TrainState.start(…, weights={'l2': 1e-4})"),
}  # options that say how a step is made, and where a program has them


def train(
    program: Steps,
    source: Any,
    state: TrainState,
    *,
    measure: Callable[[TrainState], dict[str, Any]] | None = None,
    callbacks: Sequence[Callback] = (),
    options: FitOptions | None = None,
    checkpoint: str | Path | None = None,
    resume: bool = False,
    after: Fitted | None = None,
    **changes: Any,
) -> Fitted:
    """Train ``program``; :func:`danlu.fit`, :func:`danlu.fit_population` and ``danlu.rl.fit`` call this.

    Args:
        program: the step: a :class:`~danlu.engine.step.Program`, a :class:`~danlu.engine.population.Population` of any, an
            :class:`~danlu.engine.alternate.Alternate` of two, or whatever has the methods of :class:`~danlu.engine.loop.Steps`.
        source: what an epoch walks: ``(x, y)`` or ``(x, y, weight)``, batches, a stream, or a :class:`~danlu.engine.sources.Source`. Of
            arrays the members of a population draw their rows by the seeds ``seed``, ``seed + 1``, ….
        state: the state before the first step; see :meth:`TrainState.start`. Its arrays are used up.
        measure: what each epoch's state is judged by: values by name, which the history has as ``val_NAME``.
        after: a training of the same program that this one goes on from, at the epoch after its last, instead of from ``state``. Its
            ``train_state`` is used up.
        callbacks, options, checkpoint, resume, **changes: as of :func:`danlu.fit`. Of the options those count that are about the course of
            training; how a step is made is the program's own.

    Raises:
        TrainingError: the loss stopped being finite; what was learned before is in its ``fitted``.

    Example:
        >>> from danlu import nn, optim
        >>> from danlu.engine import Program
        >>> optimizer, x = optim.sgd(0.5), np.linspace(-1, 1, 32, dtype=np.float32)[:, None]
        >>> params, _, _ = nn.Dense(1).init(jax.random.key(0), (1,))
        >>> program = Program.of(nn.Dense(1), nn.get_loss("mse"), optimizer.update)
        >>> fitted = train(program, (x, 3 * x[:, 0]), TrainState.start(params, optimizer.init(params)), epochs=50, display="none")
        >>> round(float(fitted.params["kernel"][0, 0]), 2)
        3.0
    """
    enable_compilation_cache()
    for name in (*_OF_PROGRAM, "learning_rate"):
        if name in changes:
            whose = "the optimizer's" if name == "learning_rate" else "the program's own"
            raise ConfigError(
                f"train received {name}, which is {whose}", hint=_OF_PROGRAM.get(name, "optim.adam(1e-3)")
            )
    options, callbacks = settled("train", options, callbacks, changes)
    members = program.members
    if not hasattr(source, "pieces"):
        seeds = options.seed if members is None else [options.seed + number for number in range(members)]
        source = as_source(source, batch_size=program.batch_size, seed=seeds)
    _check_members(members, source, state)
    if isinstance(program, Program) and 1 < program.devices == program.shares and isinstance(source, ChunkSource):
        source = source.divided(program.shares)
    if members is not None and options.patience is not None:
        program = program.resting()
    if options.snapshots > 1:
        with_snapshots(program, options.snapshots, source.in_shape)
    training = Training(
        program, source, state, options=options, measure=measure, callbacks=callbacks, checkpoint=checkpoint
    )
    if after is not None:
        training.go_on(after)
    if resume:
        training.resume()
    try:
        training.run()
    except TrainingError as error:
        error.fitted = _finish(training)  # type: ignore[attr-defined]
        raise
    except (MemoryError, jax.errors.JaxRuntimeError) as error:
        if not is_shortage(error):
            if processes.count() > 1:
                raise processes.lost(error) from error
            raise
        raise TrainingError(
            f"there was not enough memory in epoch {training.epoch + 1}; the last checkpoint, if there is one, is still there",
            hint="a smaller batch_size or a smaller network needs less",
        ) from error
    fitted = _finish(training)
    if shown() is None and display_kind(options.display) != "none" and fitted.health.findings:
        with showing(options.display) as display:
            for finding in fitted.health.findings[:_TOLD]:
                display.line(wrapped(f"health: {finding}", indent="  "))  # type: ignore[union-attr]
    return fitted


_TOLD = 3  # findings that are shown after a training


def _check_members(members: int | None, source: Source, state: TrainState) -> None:
    """Refuse a state or a source that is not of as many members as the program has.

    Raises:
        ConfigError: see above.
    """
    expected = "one training" if members is None else f"{members} members"
    if np.shape(state.step) != (() if members is None else (members,)):
        raise ConfigError(
            f"the state's step has shape {np.shape(state.step)}, and the program is of {expected}; every array of a population's state has "
            "a leading axis of members",
            hint="jax.tree.map(lambda *each: jnp.stack(each), *states) makes one state of theirs",
        )
    if isinstance(source, ArraySource) and source.members != members:
        found = "one training" if source.members is None else f"{source.members} members"
        raise ConfigError(
            f"the source draws the rows of {found}, and the program is of {expected}",
            hint="pass (x, y), or ArraySource(data, batch_size=…, seed=[0, 1]) with a seed for each member",
        )
    if members is not None and isinstance(source, BatchSource | ChunkSource):
        raise ConfigError(
            f"the data is batches or a stream, and the program is of {expected}, which each draw rows of their own",
            hint="pass arrays: (x, y) or (x, y, weight)",
        )


def _finish(training: Training) -> Fitted:
    state, best = training.state, training.best
    began = state.average is None or state.average.begun
    params, model_state = state.learnt if began else (state.params, state.model_state)
    program: Any = training.program
    if training.cycles is not None:
        (params, model_state), count = training.cycles.networks(state, training.epoch)
        program = with_snapshots(program, count, training.source.in_shape)
    if best is not None and training.options.restore_best:
        seen = np.asarray(best.epoch) >= 0  # a member that was never better than nothing keeps its last weights
        kept = (best.params, best.model_state)
        if seen.all():
            params, model_state = kept
        elif seen.any():
            # (members, 1, …), as many axes as each array
            choose = lambda a, b: jnp.where(seen.reshape(-1, *[1] * (a.ndim - 1)), a, b)  # noqa: E731
            params, model_state = jax.tree.map(choose, kept, (params, model_state))
    devices = program.devices
    large = {"opt_state": state.opt_state, "average": state.average}
    params, model_state, state = gathered(
        (params, model_state, dataclasses.replace(state, opt_state=None, average=None)), devices
    )
    if training.layout.known:  # what is larger than a device is not brought together on one, but on the host
        large = jax.tree.map(lambda leaf: leaf if is_key(leaf) else on_host(leaf), large)
    state = dataclasses.replace(state, **(large if training.layout.known else gathered(large, devices)))
    return Fitted(
        program=program.alone() if devices > 1 else program,
        params=params,
        state=model_state,
        history=training.history,
        train_state=state,
        best_epoch=int(np.max(best.epoch)) if best is not None else None,
        stopped_because=training.stopped_because,
        stopped_by=training.stopped_by,
        in_shape=training.source.in_shape,
        monitor=training.judge.monitor,
        best=None if best is None else dataclasses.replace(best, params=None, model_state=None),
        clues=training.clues,
    )
