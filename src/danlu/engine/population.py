"""Many trainings at once: any program of steps, several times side by side on one leading axis of one compiled program.

A population is ``vmap`` of the step, whatever the step is: of a network that learns from rows, or of an agent in its environment. Its
members share the blueprint and the data on the device; each has its own weights, optimizer state (and so its own learning rate), random
key, order of rows (and so its own fold) and end.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np

from danlu.engine.fitted import EVALUATION_BATCH
from danlu.engine.layout import Layout
from danlu.engine.loop import evaluate_steps
from danlu.engine.mesh import DIVIDED, WHOLE, place, spread
from danlu.engine.objective import Sums
from danlu.engine.order import capacity, even_batches, num_batches, pad_order
from danlu.engine.state import TrainState
from danlu.errors import ConfigError
from danlu.nn.ensemble import Ensemble
from danlu.nn.layer import Layer

__all__ = ["Population", "judge_of", "mean_of_members"]


@dataclasses.dataclass(frozen=True)
class Population:
    """Several trainings of one program side by side: its step under ``vmap``.

    Each member has a state and an order of rows of its own, on a leading axis; the data is shared.

    Attributes:
        program: that of each member.
        members: how many.
        devices: how many devices the members are divided among; a program that shares each batch's rows among devices has them already.
        together: whether they are one model in the end, as the networks of cross-fitting are: what is said of them is said of all their
            rows together, and so is which epoch was the best. Else each has its own best epoch. Either way the history has the values of
            each as ``NAME_each``.
        group: so many members after each other are one model, as the folds of one trial of a search are: ``NAME_each`` has a value for each
            model, of all its members' rows together, and its members share a best epoch.
    """

    program: Any
    members: int
    devices: int = 1
    together: bool = False
    group: int = 1

    def __post_init__(self) -> None:
        if self.members < 1 or self.program.members is not None:
            found = f"{self.members} members" if self.members < 1 else "a program that is a population itself"
            raise ConfigError(f"Population is of {found}; expected at least one member of one training each")
        if self.group < 1 or self.members % self.group or (self.together and self.group > 1):
            raise ConfigError(
                f"Population has {self.members} members in groups of {self.group}; expected groups that come out even, of 1 where all "
                "members are one model"
            )
        if self.program.devices > 1 and self.devices not in (1, self.program.devices):
            raise ConfigError(
                f"the members are divided among {self.devices} devices, and their program has {self.program.devices}; expected 1 of either"
            )
        object.__setattr__(self, "devices", max(self.devices, self.program.devices))

    def with_model(self, model: Layer) -> Self:
        """The same, in which each member has another network; see :meth:`Program.with_model`."""
        return dataclasses.replace(self, program=self.program.with_model(model))

    @property
    def _divided(self) -> bool:
        """Whether each device has some of the members; else the devices share the rows of every one."""
        return self.devices > 1 and self.program.devices == 1

    def layout(self, params: Any) -> Layout:
        """The members' arrays are divided among the devices, unless these share the rows of every member."""
        if self._divided:
            return Layout(self.devices, rest=DIVIDED)
        layout: Layout = self.program.layout(jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), params))
        return layout

    def _spread(self, function: Callable[..., Any], arguments: Any, results: Any = DIVIDED) -> Callable[..., Any]:
        """``function`` on each device that has some of the members."""
        return spread(function, self.devices, arguments, results) if self._divided else function

    @property
    def model(self) -> Layer:
        """The network of each member; of members that are one model, that."""
        model: Layer = self.program.model
        return Ensemble(model, self.members) if self.together else model

    @property
    def batch_size(self) -> int:
        """Rows of a member's step."""
        return int(self.program.batch_size)

    @property
    def unit(self) -> str:
        """The program's."""
        return str(self.program.unit)

    def at(self, state: TrainState, chunk: Any, order: jax.Array, index: Any) -> tuple[TrainState, Sums]:
        """The step of every member."""
        at = jax.vmap(self.program.at, in_axes=(0, None, 0, None))
        after: tuple[TrainState, Sums] = self._spread(at, (DIVIDED, WHOLE, DIVIDED, WHOLE))(state, chunk, order, index)
        return after

    def zero_sums(self) -> Sums:
        """The sums of the program, for every member."""
        return {name: jnp.broadcast_to(value, (self.members,)) for name, value in self.program.zero_sums().items()}

    def means(self, sums: Mapping[str, Any]) -> dict[str, Any]:
        """The means of the members that have not diverged, or those over all rows together; and as ``NAME_each`` those of each."""
        # (members,) to (models, group), then (models,)
        grouped = {name: np.asarray(value).reshape(-1, self.group).sum(axis=1) for name, value in sums.items()}
        models = range(self.members // self.group)
        each = [self.program.means({name: value[i] for name, value in grouped.items()}) for i in models]
        found = self.told({name: [member[name] for member in each] for name in each[0]})
        if self.together:
            found |= self.program.means({name: np.sum(value, axis=0) for name, value in sums.items()})
        return found

    def told(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Values of the members as the history has them: of each name the mean, and as ``NAME_each`` each member's."""
        overall = {name: mean_of_members(value) for name, value in values.items()}
        return overall | {f"{name}_each": np.asarray(value, np.float64).tolist() for name, value in values.items()}

    def counters(self, state: TrainState) -> dict[str, Any]:
        """The program's: the most that a member has, and as ``NAME_each`` that of each."""
        found = {name: np.asarray(value) for name, value in self.program.counters(state).items()}
        most = {name: value.max() for name, value in found.items()}
        return most if self.together else most | {f"{name}_each": value for name, value in found.items()}

    def alone(self) -> Self:
        """The same on one device."""
        return dataclasses.replace(
            self, devices=1, program=self.program.alone() if self.program.devices > 1 else self.program
        )

    def resting(self) -> Self:
        """Of the program resting."""
        return dataclasses.replace(self, program=self.program.resting())

    def best_by(self, row: Mapping[str, Any], column: str) -> Any:
        """Each member's value of a column, or the one of all."""
        if self.together:
            return row[column]
        each = row.get(f"{column}_each", row[column])
        return np.repeat(each, self.group) if np.ndim(each) and len(each) * self.group == self.members else each

    def direction(self, column: str) -> str | None:
        """The direction that the program declares."""
        said: str | None = self.program.direction(column)
        return said

    def each(self, function: Callable[..., Any], *shared: Any) -> Callable[..., Any]:
        """``function(params, model_state, *shared)`` of every member, on the members' devices; to be compiled as part of something."""
        members = jax.vmap(lambda *own: function(*own, *shared))
        return self._spread(members, DIVIDED)

    def judge(
        self, params: Any, model_state: Any, weights: Any, chunk: Any, order: jax.Array, stop: Any, size: int
    ) -> Sums:
        """Each member's sums over its order."""
        one = functools.partial(self.program.judge, size=size)
        each = jax.vmap(one, in_axes=(0, 0, 0, None, 0, None))
        given = (DIVIDED, DIVIDED, DIVIDED, WHOLE, DIVIDED, WHOLE)
        sums: Sums = self._spread(each, given)(params, model_state, weights, chunk, order, stop)
        return sums


def judge_of(population: Population, chunk: Any, rows: Sequence[np.ndarray]) -> Callable[[TrainState], dict[str, Any]]:
    """A function that evaluates each member on its rows of ``chunk``."""
    if population.program.of_batch:
        parts = _whole_batches(population.batch_size, rows)
    else:
        longest = max(r.size for r in rows)
        size = min(EVALUATION_BATCH, capacity(longest))
        parts = [(size, np.stack([pad_order(r, size, length=longest) for r in rows]), num_batches(longest, size))]
    chunk = place(chunk, population.devices)
    rest = population.layout({}).rest
    placed = [(size, place(jax.device_put(orders), population.devices, rest), steps) for size, orders, steps in parts]

    def measure(state: TrainState) -> dict[str, Any]:
        total: dict[str, np.ndarray] = {}
        for size, orders, steps in placed:
            sums = evaluate_steps(population, *state.learnt, state.weights, chunk, orders, steps, size=size)
            for name, value in sums.items():
                total[name] = total.get(name, 0.0) + np.asarray(value, np.float64)
        return population.means(total)

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


def mean_of_members(values: Any) -> float:
    """The mean over a population of those values that are finite (or the value of one training)."""
    values = np.asarray(values, np.float64)
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if finite.size else float("nan")
