"""Trials of networks that learn from labelled rows: folds × trials are the members of one population."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.engine import Callback, Fitted, enable_compilation_cache, predict_outputs
from danlu.engine.fitted import EVALUATION_BATCH
from danlu.engine.members import fit_members
from danlu.engine.order import capacity
from danlu.engine.selection import joined, members_of
from danlu.errors import ConfigError, TrainingError
from danlu.evaluate.metrics import METRICS
from danlu.pipeline.config import TrainConfig
from danlu.pipeline.labelled import Labelled, PreparedRows
from danlu.tasks import Recipe
from danlu.tasks.learn import lesson_of
from danlu.trained import Labels
from danlu.tuning.contest import Contest, Progress, Stopped, rungs_of, side_by_side

__all__ = ["CONTINUOUS", "NetworkContest"]

CONTINUOUS = ("trainer.learning_rate", "trainer.weight_decay", "model.dropout")
"""Settings that are arrays in the state of training: trials that differ only in them share a program."""

_WATCHED = {"log_loss": "val_log_loss", "rmse": "val_squared_error"}  # metrics that training watches itself


class NetworkContest(Contest):
    """Trials of one network, each trained once for each fold of the training rows (or once, with validation rows).

    A trial's score is that of the answers for rows that the answering network did not learn from, at the trial's best epoch so far.
    Every random draw is the same for all trials, so that they differ by their settings alone.

    Args:
        configs: the settings of each.
        domain, prepared: of the data.
        metric: the score.
        factor: see :func:`~danlu.tuning.contest.rungs_of`.
        together: how many trials share a program; None decides by the device.
    """

    def __init__(
        self,
        configs: Sequence[TrainConfig],
        domain: Labelled,
        prepared: PreparedRows,
        *,
        metric: str,
        factor: int,
        together: int | None = None,
    ) -> None:
        super().__init__(configs)
        enable_compilation_cache()
        self.prepared, self.metric, self.together = prepared, metric, together
        self.plans: list[Recipe] = [domain.plan(config, prepared) for config in configs]
        self.plan = _shared(self.plans)
        self.folds = self.plan.folds
        self.rungs = rungs_of(self.plan.epochs, factor)
        self.data, self.sample, self.lesson = lesson_of(
            prepared.train,
            target=prepared.target,
            plan=self.plan,
            validation=prepared.validation,
            folds=prepared.folds,
            rows=prepared.rows["train"],
            imbalance=configs[0].imbalance,
        )
        self.parts: list[Fitted | None] = [None] * len(self.plans)

    def keep(self, places: Sequence[int]) -> None:
        for name in ("configs", "plans", "parts"):
            setattr(self, name, [getattr(self, name)[place] for place in places])

    def go(self, epochs: int, progress: Progress) -> list[float]:
        size = self.together or side_by_side(len(self.plans))
        scores: list[float] = []
        for start in range(0, len(self.plans), size):
            scores += self._go(range(start, min(start + size, len(self.plans))), epochs, progress)
        return scores

    def _go(self, trials: range, epochs: int, progress: Progress) -> list[float]:
        """Train these trials in one program."""
        before = [part for trial in trials if (part := self.parts[trial]) is not None]
        if len(trials) == 1 and before and not np.any(before[0].best.active):  # type: ignore[union-attr]
            return [self._score(before[0], 0)]  # it has stopped getting better
        alone = len(trials) == 1  # the program that danlu train has
        plans = [self.plans[trial] for trial in trials]
        try:
            fitted = fit_members(
                self.plan.model,
                self.data,
                together=alone,
                group=1 if alone else self.folds,
                after=None if not before else before[0] if alone else joined(before),
                epochs=epochs,
                display="none",
                callbacks=[_Watch(progress, len(trials))],
                **self._settings(plans, alone, begun=bool(before)),
            )
        except TrainingError as error:
            if getattr(error, "fitted", None) is None:  # no memory
                raise
            progress((epochs - (before[0].history[-1]["epoch"] + 1 if before else 0)) * len(trials))
            return [float("nan")] * len(trials)
        if fitted.stopped_by is not None:
            raise Stopped(fitted.stopped_by)
        for place, trial in enumerate(trials):
            own = range(place * self.folds, (place + 1) * self.folds)
            self.parts[trial] = fitted if alone else members_of(fitted, own)
        return [self._score(fitted, place) for place in range(len(trials))]

    def _settings(self, plans: Sequence[Recipe], alone: bool, *, begun: bool) -> dict[str, Any]:
        """What :func:`fit_members` takes for these trials, a member for each fold of each; ``begun`` ones need no initial weights."""
        lesson, plan, trials = self.lesson, self.plan, len(plans)
        seed, key = self.configs[0].trainer.seed, jax.random.key(self.configs[0].trainer.seed)
        keys = [key] if self.folds == 1 else list(jax.random.split(key, self.folds))
        first = [] if begun else [plan.initial(own, self.sample) for own in keys]
        fold_of = self.prepared.folds
        rows = np.arange(len(self.data[1])) if fold_of is None else None
        numbers = range(self.folds)
        settings: dict[str, Any] = {
            "loss": lesson["loss"],
            "metrics": lesson["metrics"],
            "monitor": lesson["monitor"],
            "augment": plan.augment,
            "batch_size": plan.batch_size,
            "precision": plan.precision,
            "devices": plan.devices,
            "sharding": plan.sharding,
            "tensor": plan.tensor,
            "average": plan.average,
            "average_decay": plan.decay(lesson["rows"]),
            "patience": plan.patience if alone else None,
            "seeds": [seed + number for number in numbers] * trials,
            "optimizers": [each for own in plans for each in [own.optimizer(lesson["rows"])] * self.folds],
            "initial": [
                (params, _with_rate(state, getattr(own.model, "dropout", None)))
                for own in plans
                for params, state in first
            ]
            or None,
            "validation": lesson["validation"],
        }
        samplers = [lesson["sampler"]] if "sampler" in lesson else lesson.get("samplers")
        if samplers is not None:
            settings["samplers"] = list(samplers) * trials
        else:
            parts = [rows] if fold_of is None else [np.flatnonzero(fold_of != number) for number in numbers]
            settings["train_rows"] = parts * trials
        if fold_of is not None:
            settings["validation_rows"] = [np.flatnonzero(fold_of == number) for number in numbers] * trials
        return settings

    def _score(self, fitted: Fitted, place: int) -> float:
        """The metric of one trial's answers for rows that it did not learn from."""
        best: Any = fitted.best
        if not np.all(np.asarray(best.epoch) >= 0):
            return float("nan")
        own = slice(place * self.folds, (place + 1) * self.folds)
        weighed = self.lesson["validation"][2] if len(self.lesson["validation"]) > 2 else None
        if self.lesson["monitor"] == _WATCHED.get(self.metric) and weighed is None:
            value = float(np.ravel(best.value)[min(place * self.folds, np.size(best.value) - 1)])
            return value if self.metric == "log_loss" else float(np.sqrt(value)) * self.prepared.target.std
        params, state = jax.tree.map(lambda leaf: np.asarray(leaf)[own], (fitted.params, fitted.state))
        answers, truth = self._answers(params, state)
        evidence = Labels(self.prepared.target).evidence(answers, truth)
        return METRICS[self.metric].compute(evidence, np.ones(len(truth)))

    def _answers(self, params: Any, state: Any) -> tuple[np.ndarray, np.ndarray]:
        """A trial's answers for rows that it did not learn from, and their truth."""
        inputs, truth = self.lesson["validation"][:2]
        rows, fold_of = len(truth), self.prepared.folds
        own = [np.arange(rows)] if fold_of is None else [np.flatnonzero(fold_of == each) for each in range(self.folds)]
        size = min(EVALUATION_BATCH, capacity(max(each.size for each in own)))  # one program for all
        parts = []
        for number, places in enumerate(own):
            own_params, own_state = jax.tree.map(lambda leaf, number=number: leaf[number], (params, state))
            held = jax.tree.map(lambda leaf, places=places: leaf[places], inputs)
            parts.append(predict_outputs(self.plan.model, own_params, own_state, held, batch_size=size))
        found = np.empty((rows, *parts[0].shape[1:]), parts[0].dtype)
        found[np.concatenate(own)] = np.concatenate(parts)
        return np.asarray(Labels(self.prepared.target)(found.astype(np.float64))), np.asarray(truth)


class _Watch(Callback):
    """Tells the progress of a training."""

    def __init__(self, progress: Progress, trials: int) -> None:
        self._progress, self._trials = progress, trials

    def on_epoch_end(self, epoch: int, logs: Any) -> None:
        self._progress(self._trials)


def _shared(plans: Sequence[Recipe]) -> Recipe:
    """The recipe of all trials, whose dropout is an array in the state: the blueprint's own only says that there is some.

    Raises:
        ConfigError: they differ in more than :data:`CONTINUOUS` settings.
    """
    alike = [plan.replace(learning_rate=1.0, weight_decay=0.0, model=_blank(plan.model)) for plan in plans]
    if any(each != alike[0] for each in alike):
        raise ConfigError("the trials of a batch differ in the shape of their network; expected one shape")
    return plans[0].replace(model=alike[0].model)


def _blank(model: Any) -> Any:
    return model.replace(dropout=0.1) if hasattr(model, "dropout") else model


def _with_rate(state: Any, rate: float | None) -> Any:
    """The state with this dropout rate wherever it holds one."""
    if rate is None:
        return state

    def set_rate(path: Any, leaf: Any) -> Any:
        named = getattr(path[-1], "key", None) if path else None
        return jnp.full_like(leaf, rate) if named == "rate" else leaf

    return jax.tree_util.tree_map_with_path(set_rate, state)
