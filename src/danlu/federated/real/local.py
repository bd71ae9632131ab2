"""An owner's training: the program of a simulation with one client, begun in each round where the server stands."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.engine import FitOptions
from danlu.engine.arrays import as_arrays
from danlu.engine.fitted import evaluate_source, evaluation_pieces
from danlu.engine.state import TrainState
from danlu.engine.targets import TargetCheck
from danlu.errors import TrainingError
from danlu.federated.fit import program_of
from danlu.federated.program import Federated
from danlu.federated.real.lesson import Lesson
from danlu.federated.rounds import RoundSource
from danlu.optim import set_hyperparameter

__all__ = ["Local", "flat", "unflat"]


@functools.partial(jax.jit, static_argnums=0)  # owners of one process with as many rows share the compiled program
def _round(program: Federated, state: TrainState, chunk: Any, order: jax.Array) -> Any:
    return program.at(state, chunk, order, 0)


def flat(tree: Any) -> np.ndarray:
    """The numbers of a tree's leaves, one leaf after the other, float32."""
    leaves = [np.asarray(leaf, np.float32).ravel() for leaf in jax.tree.leaves(tree)]
    return np.concatenate([*leaves, np.zeros(0, np.float32)])


def unflat(vector: np.ndarray, like: Any) -> Any:
    """The inverse of :func:`flat`, in the shapes and types of ``like``.

    Raises:
        TrainingError: the vector is of another network.
    """
    leaves, form = jax.tree.flatten(like)
    sizes = [np.size(leaf) for leaf in leaves]
    if vector.size != sum(sizes):
        raise TrainingError(
            f"{vector.size:,} numbers came for a network of {sum(sizes):,}; is the other side of another version?"
        )
    parts = np.split(vector, np.cumsum(sizes)[:-1]) if leaves else []
    shaped = [part.reshape(np.shape(leaf)).astype(leaf.dtype) for part, leaf in zip(parts, leaves, strict=True)]
    return jax.tree.unflatten(form, shaped)


class Local:
    """One owner's part of a federated training.

    Args:
        lesson: what all train.
        train: ``(x, y)``, its own rows.
        number: of the owner, from 0: it draws as client ``number`` of a simulation.
    """

    def __init__(self, lesson: Lesson, train: tuple[Any, Any], number: int) -> None:
        self.rows = len(train[1])
        self._before: tuple[int, TrainState] | None = (
            None  # rounds taken part in, and the state, before the last answer
        )
        self.lesson, seed = lesson, lesson.seed + number
        self.source = RoundSource(
            as_arrays(train),
            [np.arange(self.rows)],
            batch_size=lesson.recipe.batch_size,
            local_epochs=lesson.local_epochs,
            local_steps=lesson.local_steps,
            seed=seed,
        )
        self.program, self.state = program_of(
            lesson.recipe.model,
            self.source,
            loss=lesson.recipe.loss,
            optimizer=lesson.made(),
            method=lesson.method,
            metrics=lesson.metrics,
            augment=lesson.recipe.augment,
            options=FitOptions(
                epochs=lesson.rounds, batch_size=lesson.recipe.batch_size, precision=lesson.recipe.precision, seed=seed
            ),
        )

    def learn(self, given: np.ndarray, number: int, taken: int) -> tuple[np.ndarray, dict[str, float]]:
        """What a round's steps change, and the means of the round as the owner saw them.

        Args:
            given: the shared network, and with SCAFFOLD the control variate of all, as :func:`flat` has them.
            number: of the round, from 0.
            taken: how many rounds the owner has taken part in, which decides what it draws.

        Returns:
            the change of the network, and with SCAFFOLD of the owner's control variate, as :func:`flat` has them.
        """
        if self._before is not None and self._before[0] == taken:  # the last answer is in no mean: it is asked again
            self.state = self._before[1]
        self._before = taken, self.state
        params, model_state, control = self._of(given)
        clients = dict(self.state.world["clients"])
        clients["step"] = jnp.full(1, taken * self.source.batches, jnp.int32)
        world = {**self.state.world, "clients": clients, **({} if control is None else {"control": control})}
        rate = set_hyperparameter(self.state.opt_state, "learning_rate", self.lesson.rate(number))
        begun = dataclasses.replace(self.state, params=params, model_state=model_state, opt_state=rate, world=world)
        piece = next(self.source.pieces(number, 0))
        ended, sums = _round(self.program, begun, piece.chunk, piece.order)
        change = [jax.tree.map(jnp.subtract, (ended.params, ended.model_state), (params, model_state))]
        if control is not None:
            before, after = (state.world["clients"]["control"] for state in (begun, ended))
            change.append(jax.tree.map(lambda new, old: (new - old)[0], after, before))
        kept = {name: leaf for name, leaf in ended.world["clients"].items() if name != "step"}
        self.state = dataclasses.replace(
            self.state, world={**self.state.world, "clients": {**self.state.world["clients"], **kept}}
        )
        means = {
            name: float(value) for name, value in self.program.means(jax.device_get(sums)).items() if name in self.told
        }
        return flat(change), means

    @property
    def told(self) -> tuple[str, ...]:
        """The names of the means that an owner's steps have."""
        return ("loss", *self.lesson.metrics)

    def judge(self, given: np.ndarray, held: tuple[Any, Any]) -> dict[str, float]:
        """The loss and the metrics of the shared network on rows of the owner."""
        params, model_state, _ = self._of(given)
        one = self.program.program
        pieces = evaluation_pieces(held, one, TargetCheck(one, variables=(params, model_state)))
        return {
            name: float(value)
            for name, value in evaluate_source(one, params, model_state, self.state.weights, pieces).items()
        }

    def _of(self, given: np.ndarray) -> tuple[Any, Any, Any]:
        like: Any = (self.state.params, self.state.model_state)
        if not self.lesson.method.scaffold:
            return (*unflat(given, like), None)
        (params, model_state), control = unflat(given, (like, self.state.world["control"]))
        return params, model_state, control
