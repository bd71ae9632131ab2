"""What a technique may use: the data of the run, encoded, and the run's own training."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from danlu.blueprint import Blueprint
from danlu.engine import Callback, Fitted
from danlu.engine.sources import as_source
from danlu.nn.ensemble import Ensemble
from danlu.nn.layer import Layer, Params, State
from danlu.nn.masked import Masked
from danlu.tasks.recipe import Recipe

__all__ = ["Workshop"]

_OF_ONE_TRAINING = ("checkpoint", "resume", "after")
RATE = 0.3
"""Of the recipe's peak learning rate, with which a trained network is trained on."""


@dataclasses.dataclass(eq=False)
class Workshop:
    """The run's data and its training, for techniques that learn or measure. Test rows are not in it.

    Attributes:
        plan: the run's recipe: optimizer, schedule, batch size, precision, augmentation.
        data: encoded training rows, ``(inputs, targets[, weight])``, or a source that gives them in chunks.
        settings: what else the run's training was given (see :func:`danlu.fit`): the loss, the metrics, the rows that judge, ….
        rows: how many an epoch has.
        initial: ``(params, state)`` that the run's training began with; of several networks a list.
        folds: the fold of each row, where each network learns from the rows of the others.
        seed: of the run.
        fitted: the record of the last training in it, or None.
    """

    plan: Recipe
    data: Any
    settings: Mapping[str, Any]
    rows: int
    initial: Any = None
    folds: np.ndarray | None = None
    seed: int = 0
    fitted: Fitted | None = None

    @property
    def validation(self) -> Any:
        """Encoded rows that were not learnt from, ``(inputs, targets[, weight])`` or a source of them; None where there are none."""
        return self.data if self.folds is not None else self.settings.get("validation")

    def inputs(self, rows: int = 512) -> Any:
        """Some encoded training inputs, for calibration: the same at every call."""
        if isinstance(self.data, tuple):
            given = self.data[0]
        else:
            source = as_source(self.data, batch_size=self.plan.batch_size, seed=self.seed)
            given = next(iter(source.pieces(0, 0))).chunk["x"]
        count = len(jax.tree.leaves(given)[0])
        chosen = np.sort(np.random.default_rng(self.seed).permutation(count)[:rows])
        return jax.tree.map(lambda leaf: np.asarray(leaf)[chosen], given)

    def tune(
        self,
        network: Layer,
        params: Params,
        state: State,
        *,
        epochs: int,
        learning_rate: float | None = None,
        through: Callable[[Layer], Any] | None = None,
        loss: Any = None,
        choose: bool = True,
        callbacks: Sequence[Callback] = (),
    ) -> tuple[Params, State]:
        """Train the network on, by the run's own training. Kernels that have zeros keep them (see :class:`~danlu.nn.Masked`).

        Args:
            epochs: how many; 0 trains nothing.
            learning_rate: the peak of the run's schedule; None is 0.3 of the run's own.
            through: makes a layer round the network that training goes through: one with ``adapt(params, state)``, which gives the layer's
                variables from the network's, and ``merge(params, state)``, the way back. Of several networks each has its own.
            loss: another loss or objective than the run's.
            choose: whether the best epoch is kept (by the rows that judge in the run), or the last.
            callbacks: what else watches or steers it.

        Returns:
            ``(params, state)`` of the network.
        """
        if not epochs:
            return params, state
        count = self.plan.networks if self.plan.networks > 1 else 0
        single, each = network, [(params, state)]
        if isinstance(network, Ensemble):  # several networks, side by side
            single, count = network.network, network.count
            each = [jax.tree.map(lambda leaf, k=k: leaf[k], (params, state)) for k in range(count)]
        around = self._around(single, each, through)
        started = [each_ if around is None else around.adapt(*each_) for each_ in each]
        layer = single if around is None else around
        self.fitted = self._fit(layer, started, count, epochs, learning_rate, loss, choose, callbacks)
        found = [(self.fitted.params, self.fitted.state)]
        if count:
            found = [jax.tree.map(lambda leaf, k=k: leaf[k], found[0]) for k in range(count)]
        merged = [pair if around is None else around.merge(*pair) for pair in found]
        params, state = jax.tree.map(lambda *leaves: np.stack(leaves), *merged) if count else merged[0]
        return jax.tree.map(np.asarray, (params, state))

    def _around(self, network: Layer, each: list[Any], through: Callable[[Layer], Any] | None) -> Any:
        """The layer that training goes through; one that keeps zeros where there are some and ``through`` is None."""
        if through is not None:
            return through(network)
        zeros = any(leaf.ndim > 1 and np.any(np.asarray(leaf) == 0) for leaf in jax.tree.leaves([p for p, _ in each]))
        return Masked(network) if zeros else None

    def _fit(
        self,
        network: Layer,
        started: list[Any],
        count: int,
        epochs: int,
        learning_rate: float | None,
        loss: Any,
        choose: bool,
        callbacks: Sequence[Callback] = (),
    ) -> Fitted:
        plan = self.plan.replace(
            model=network,
            epochs=max(epochs, 1),
            learning_rate=learning_rate or RATE * self.plan.learning_rate,
            average="none",
            average_decay=None,
            average_start=None,
            snapshots=1,
            **({} if self.folds is not None else {"copies": max(count, 1)}),
        )
        how: dict[str, Any] = {name: value for name, value in self.settings.items() if name not in _OF_ONE_TRAINING}
        how["callbacks"] = [*how.get("callbacks", ()), *callbacks]
        how["loss"] = with_network(how["loss"] if loss is None else loss, self.plan.model, network)
        if loss is not None:
            how |= {"metrics": (), "monitor": None}
        if not choose:
            how |= {"restore_best": False, "patience": None}
        if not epochs:
            how["epochs"] = 0
        if not count:
            return plan.fit(self.data, rows=self.rows, seed=self.seed, initial=started[0], **how)
        if "sampler" in how:
            how["samplers"] = [how.pop("sampler")] * count
        return plan.cross_fit(self.data, self.folds, rows=self.rows, seed=self.seed, initial=started, **how)

    def record(self, network: Layer, params: Params, state: State) -> Fitted:
        """The record of the last training, as one of this network with these variables."""
        fitted = self.fitted
        if fitted is None:  # a record without epochs
            inner = network.network if isinstance(network, Ensemble) else network
            count = network.count if isinstance(network, Ensemble) else 0
            each = [(params, state)]
            if count:
                each = [jax.tree.map(lambda leaf, k=k: leaf[k], each[0]) for k in range(count)]
            # no epoch was the best one: these weights are the answer, not those that a training began with
            fitted = dataclasses.replace(self._fit(inner, each, count, 0, None, None, choose=True), best_epoch=None)
        return dataclasses.replace(fitted, program=_with_model(fitted.program, network), params=params, state=state)


def with_network(value: Any, old: Layer, new: Layer) -> Any:
    """A blueprint, such as an objective, with another network in the place of ``old``, wherever it stands in it."""
    if isinstance(value, Layer):
        return new if value == old else value
    if isinstance(value, tuple):
        return tuple(with_network(each, old, new) for each in value)
    if not isinstance(value, Blueprint):
        return value
    fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}  # type: ignore[arg-type]
    changes = {name: with_network(each, old, new) for name, each in fields.items()}
    changes = {name: each for name, each in changes.items() if each is not fields[name]}
    return value.replace(**changes) if changes else value


def _with_model(program: Any, network: Layer) -> Any:
    """The program with another network, also where its objective applies the old one."""
    if hasattr(program, "program"):
        inner = network.network if isinstance(network, Ensemble) else network
        return dataclasses.replace(program, program=_with_model(program.program, inner))
    objective = with_network(program.objective, program.model, network)
    return dataclasses.replace(program, model=network, objective=objective)
