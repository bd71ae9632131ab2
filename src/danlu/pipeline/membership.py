"""``danlu attack``: who was in a training, as far as its model tells; and the ε that this proves, beside the one that is stated."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import jax
import numpy as np

from danlu.artifact import RunDirectory
from danlu.engine import predict_outputs
from danlu.engine.fitted import EVALUATION_BATCH
from danlu.errors import ConfigError
from danlu.evaluate.lira import MODES, Moments, confidence
from danlu.evaluate.membership import Canaries, Exposed, Membership, Stated, by_canaries, by_shadows
from danlu.pipeline.again import Again
from danlu.pipeline.domains import load_model
from danlu.pipeline.labelled import PreparedRows
from danlu.pipeline.owners import check_in_one_place
from danlu.privacy import default_delta
from danlu.stages import stage
from danlu.tasks import Recipe
from danlu.tasks.learn import lesson_of
from danlu.trained import Labels, Say, Trained
from danlu.trained.labels import members_mean
from danlu.trained.read import warn

__all__ = ["attack"]

_AT_ONCE = 16  # shadows of one population
_EXPOSED = 10
_FEWEST = 40  # rows of each kind


def attack(
    run: str | Path,
    *,
    source: Any = None,
    shadows: int = 16,
    canaries: int | None = None,
    mode: str = "online",
    seed: int = 0,
    say: Say = warn,
    display: str = "none",
) -> Membership | Canaries:
    """How well an attacker tells which rows a run learnt from.

    With shadow models: so many networks of the run's recipe are trained side by side in one program, each on a random half of its
    training and test rows, and tell how sure a network is of each row with it and without it (see :mod:`danlu.evaluate.lira`). The
    run's test rows are those that it did not learn from. With canaries, which takes one more training only: rows with wrong answers
    are added to its training rows, each or not by a coin, and it is guessed which.

    Args:
        run: its folder.
        source: where the data is now, if it was moved or was not a file.
        shadows: how many, even.
        canaries: how many rows with wrong answers; None attacks with shadow models instead.
        mode: one of :data:`~danlu.evaluate.lira.MODES`.
        seed: decides the halves and the shadows' weights.

    Raises:
        ConfigError: a run of other data than tables and pictures with one label each; without test rows; too few rows.
    """
    _check(shadows, canaries, mode)
    again = Again.of(run, source=source, say=say)
    model = load_model(Path(run))
    target = _Target.of(again, model)
    with stage("attacking"):
        if canaries is not None:
            return _with_canaries(target, canaries, seed=seed, display=display)
        return _with_shadows(target, shadows - shadows % 2, mode, seed=seed, display=display)


def _check(shadows: int, canaries: int | None, mode: str) -> None:
    if mode not in MODES:
        raise ConfigError(f"mode is {mode!r}; expected one of {', '.join(MODES)}")
    if canaries is None and shadows < 4:
        raise ConfigError(
            f"{shadows} shadow models; expected 4 or more, half of which learn from each row", hint="--shadows 16"
        )
    if canaries is not None and canaries < 20:
        raise ConfigError(
            f"{canaries} canaries; expected 20 or more, since less could not prove anything", hint="--canaries 500"
        )


@dataclasses.dataclass(frozen=True, eq=False)
class _Target:
    """What is attacked.

    Attributes:
        again: the run's data and recipe.
        plan: the recipe of one network.
        model: the run's model.
        epochs: for how long a shadow is trained: until the run's best epoch.
        inputs, labels: the rows of the training and then those of the test, encoded.
        learnt: how many of them were learnt from.
    """

    again: Again
    plan: Recipe
    model: Trained
    epochs: int
    inputs: Any
    labels: np.ndarray
    learnt: int

    @classmethod
    def of(cls, again: Again, model: Trained) -> _Target:
        prepared, plan = again.prepared, again.plan
        check_in_one_place(again.config, "danlu attack")
        single = isinstance(prepared, PreparedRows) and isinstance(model.head, Labels) and isinstance(plan, Recipe)
        if not single:
            raise ConfigError(
                f"the attack is for models with one label a row, of rows in memory; this is a model for {model.purpose}"
            )
        if not isinstance(prepared.train, tuple):
            raise ConfigError(
                "the run read its rows as a stream, and the attack needs them in memory", hint="data.stream=false"
            )
        if again.config.imbalance.resample != "none":
            raise ConfigError(
                f"the run draws some rows more often than others (imbalance.resample={again.config.imbalance.resample}), which the attack "
                "does not do with its shadow models"
            )
        if prepared.test is None or min(len(prepared.test[1]), len(prepared.train[1])) < _FEWEST:
            rows = 0 if prepared.test is None else len(prepared.test[1])
            raise ConfigError(
                f"the run has {rows} test rows, which stand for rows that it did not learn from; expected {_FEWEST} or more",
                hint="train with a test part: split.test=0.3",
            )
        record = RunDirectory(again.run.path).read_json("results.json")
        best = record.get("best_epoch")
        epochs = plan.epochs if best is None or plan.snapshots > 1 else int(best) + 1
        inputs, labels = _joined(prepared.train[:2], prepared.test[:2])
        return cls(
            again, plan.replace(folds=1, copies=1, snapshots=1), model, epochs, inputs, labels, len(prepared.train[1])
        )

    @property
    def member(self) -> np.ndarray:
        """Which rows the run learnt from."""
        return np.arange(len(self.labels)) < self.learnt

    @property
    def stated(self) -> Stated | None:
        """What the run says of its privacy."""
        known = self.model.provenance.get("privacy")
        return Stated(known["epsilon"], known["delta"]) if known else None

    @property
    def delta(self) -> float:
        """At which an ε is proved: the stated one."""
        return default_delta(self.learnt) if self.stated is None else self.stated.delta

    @property
    def notes(self) -> tuple[str, ...]:
        """What limits the attack on this run."""
        found = ["rows of one training are counted as independent of each other"]
        if self.stated is not None:
            found.append(
                "which rows show most is not told of a private run; these figures are for its owner, and are not private"
            )
        if self.model.mixture:
            found.append(
                f"the run is a blend ({self.model.mixture}) and the shadows are networks, which makes the attack weaker"
            )
        elif self.again.plan.networks > 1:
            found.append(
                f"the run is the mean of {self.again.plan.networks} networks and a shadow is one, which makes the attack weaker"
            )
        return tuple(found)

    def sureness(self, inputs: Any, labels: np.ndarray) -> np.ndarray:
        """How sure the run is of the true answers, before it is calibrated."""
        if self.model.mixture:
            answers = np.asarray(self.model.answer(inputs))
            return confidence(self._as_answered(labels), answers)
        return self._confidence(labels, self.model.outputs(inputs))

    def _as_answered(self, labels: np.ndarray) -> np.ndarray:
        return np.asarray(self.model.head.target.inverse(labels)) if self.model.task == "regression" else labels

    def _confidence(self, labels: np.ndarray, outputs: Any) -> np.ndarray:
        return confidence(labels, np.asarray(members_mean(self.model.task, np.asarray(outputs, np.float64))))

    def trained(
        self,
        data: tuple[Any, np.ndarray],
        parts: list[np.ndarray],
        judged: tuple[Any, np.ndarray],
        *,
        seed: int,
        display: str,
    ) -> np.ndarray:
        """How sure networks of the recipe are of the rows ``judged`` that learnt from these parts of the rows, ``(networks, rows)``."""
        rows, private = min(map(len, parts)), self.plan.private
        plan = self.plan.replace(copies=len(parts))
        if private is not None:  # the same noise, and the same chance of each row
            plan = plan.replace(private=private.replace(expected=private.sampling * rows))
        weighed, sample, lesson = lesson_of(
            data, target=self.model.head.target, plan=plan.replace(copies=1), imbalance=self.again.config.imbalance
        )
        public = self.again.prepared.public
        starts = [
            plan.initial(key, sample if public is None else public)
            for key in jax.random.split(jax.random.key(seed), len(parts))
        ]
        fitted = plan.cross_fit(
            weighed,
            None,
            rows=rows,
            seed=seed,
            train_rows=parts,
            initial=starts,
            loss=lesson["loss"],
            epochs=self.epochs,
            display=display,
            **({} if self.epochs == plan.epochs else plan.refitted(self.epochs)),
        )
        found = []
        for place in range(len(parts)):
            params, state = jax.tree.map(lambda leaf, place=place: leaf[place], (fitted.params, fitted.state))
            outputs = predict_outputs(self.plan.model, params, state, judged[0], batch_size=EVALUATION_BATCH)
            found.append(self._confidence(judged[1], outputs))
        return np.stack(found)


def _with_shadows(target: _Target, shadows: int, mode: str, *, seed: int, display: str) -> Membership:
    rng, rows = np.random.default_rng(seed), len(target.labels)
    even = rows - rows % 2  # halves of one size: a single program
    member = np.zeros((shadows, rows), bool)
    for place in range(0, shadows, 2):
        order = rng.permutation(rows)[:even]
        member[place, order[: even // 2]] = member[place + 1, order[even // 2 :]] = True
    data, values = (target.inputs, target.labels), []
    for start in range(0, shadows, _AT_ONCE):
        parts = [np.flatnonzero(each) for each in member[start : start + _AT_ONCE]]
        with stage(f"training shadow models {start + 1} to {start + len(parts)} of {shadows}"):
            values.append(target.trained(data, parts, data, seed=seed + 1 + start, display=display))
    moments = Moments(np.concatenate(values), member)
    own = moments.scores(target.sureness(*data), mode)
    every = [moments.scores(each, mode, without=place) for place, each in enumerate(moments.values)]
    others = tuple(
        np.concatenate([score[row == kind] for score, row in zip(every, member, strict=True)]) for kind in (True, False)
    )
    return by_shadows(
        own,
        target.member,
        others,  # type: ignore[arg-type]
        delta=target.delta,
        stated=target.stated,
        mode=mode,
        shadows=shadows,
        exposed=_exposed(target, own, moments) if target.stated is None else (),
        notes=target.notes,
    )


def _exposed(target: _Target, own: np.ndarray, moments: Moments) -> tuple[Exposed, ...]:
    """The rows that the run learnt from and whose score is highest."""
    numbers, apart = target.again.prepared.learnt, moments.exposure()
    of = target.model.head.target
    found = []
    for place in np.argsort(-own[: target.learnt], kind="stable")[:_EXPOSED]:
        label = (
            of.classes[int(target.labels[place])]
            if of.classes
            else f"{float(of.inverse(target.labels[[place]])[0]):.4g}"
        )
        row = None if numbers is None else int(numbers[place]) + 1
        found.append(Exposed(row, str(label), float(own[place]), float(apart[place])))
    return tuple(found)


def _with_canaries(target: _Target, count: int, *, seed: int, display: str) -> Canaries:
    rng = np.random.default_rng(seed)
    test = np.arange(target.learnt, len(target.labels))
    notes = []
    if count > len(test):
        notes.append(f"{len(test):,} canaries instead of {count:,}: they are made of the test rows")
        count = len(test)
    chosen = np.sort(rng.choice(test, count, replace=False))
    inputs = jax.tree.map(lambda leaf: leaf[chosen], target.inputs)
    if target.model.task == "regression":
        labels = rng.permutation(target.labels[: target.learnt])[:count].astype(target.labels.dtype)
        labels = np.resize(labels, count)
    else:
        classes = target.model.head.target.units
        labels = (target.labels[chosen] + rng.integers(1, classes, count)).astype(target.labels.dtype) % classes
    member = rng.random(count) < 0.5
    train = jax.tree.map(lambda leaf: leaf[: target.learnt], (target.inputs, target.labels))
    data = _joined(train, (inputs, labels))
    part = np.concatenate([np.arange(target.learnt), target.learnt + np.flatnonzero(member)])
    with stage(f"training with {int(member.sum())} of {count} canaries"):
        [with_them] = target.trained(data, [part], (inputs, labels), seed=seed + 1, display=display)
    return by_canaries(
        with_them - target.sureness(inputs, labels),
        member,
        delta=target.delta,
        stated=target.stated,
        notes=tuple(notes),
    )


def _joined(first: tuple[Any, np.ndarray], second: tuple[Any, np.ndarray]) -> tuple[Any, np.ndarray]:
    return jax.tree.map(lambda *parts: np.concatenate([np.asarray(part) for part in parts]), first, second)
