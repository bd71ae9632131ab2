"""Distillation: a small network learns what a large model answers."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import jax
import numpy as np

from danlu.blueprint import setting
from danlu.compression.munge import made_up
from danlu.compression.student import student_of
from danlu.compression.taught import ANSWERS, FromTeacher, Hint, OfStudent, Taught, mean_answer
from danlu.compression.technique import Made, Technique
from danlu.compression.workshop import Workshop
from danlu.engine import predict_outputs
from danlu.engine.arrays import shapes_of
from danlu.engine.objective import Objective, Supervised
from danlu.errors import ConfigError
from danlu.explain.representation import body_of
from danlu.nn.augment import RandomChange
from danlu.nn.layer import Layer, Params, State
from danlu.nn.losses import get_loss, get_metric
from danlu.pipeline.again import Again
from danlu.trained import Trained

__all__ = ["Distil"]

_PATIENT = 3  # times the epochs of the run
_MADE = 5  # rows that are made up for each row of a table
_MOST_MADE = 100_000  # in all, where that is not said
_BINS = 2**16  # rows from which the bins of a table's numbers are set


class Distil(Technique):
    """A new network learns from the answers ``t`` of the whole model: ``a·L(y, z) + (1 − a)·T²·KL(softmax(t/T) ‖ softmax(z/T))``.

    ``a`` is the weight of the true labels ``y``, ``L`` the run's loss. The teacher may be anything that answers: one network, an
    ensemble, the networks of folds, a blend with trees; what comes out is one network. Of quantities and forecasts the second part is
    the squared difference; of texts it is that of each token, of several labels a row that of each label. Where the rows are in memory
    and are not changed at random, the teacher is asked once; else at each step, about what the student sees (see
    :class:`~danlu.compression.taught.Taught`).

    Args:
        size: of the student: ``"same"`` as one of the run's networks, ``"small"``, a quarter of its parameters that depend on the width,
            ``"tiny"``, a sixteenth; or settings of the model, ``"model.width=32"``.
        temperature: T.
        labels: ``a``, in [0, 1].
        features: the weight of the hints, by which the student's features before the last layer come to tell the teacher's; 0 without.
        made: of a table, so many rows that are made up for each training row, which only the teacher answers
            (:func:`~danlu.compression.munge.made_up`); None is 5, fewer of a large table.
        epochs: of training; None is three times the run's own, since a good teacher is patient.
        learning_rate: its peak; None is that of the run.
        student: the network itself, in place of ``size``.

    Reference: Hinton, Vinyals & Dean (2015), arXiv:1503.02531; of ensembles Bucila, Caruana & Niculescu-Mizil, "Model compression"
    (KDD 2006); of features Romero et al. (2015), arXiv:1412.6550; of long trainings Beyer et al.,
    "Knowledge distillation: a good teacher is patient and consistent" (CVPR 2022).
    """

    whole: ClassVar[bool] = True

    size: str = "small"
    temperature: float = setting(default=2.0, above=0)
    labels: float = setting(default=0.1, minimum=0, maximum=1)
    features: float = setting(default=0.0, minimum=0)
    made: int | None = setting(default=None, minimum=0, integer=True, optional=True)
    epochs: int | None = setting(default=None, minimum=1, integer=True, optional=True)
    learning_rate: float | None = setting(default=None, above=0, optional=True)
    student: Layer | None = None

    def __str__(self) -> str:
        return "distilled" if self.student is not None and self.size == "small" else f"distilled, {self.size}"

    def settled(self, again: Again, model: Trained) -> Self:
        return self if self.student is not None else self.replace(student=student_of(self.size, again, model.in_shape))

    def __call__(self, network: Layer, params: Params, state: State, workshop: Workshop) -> Made:
        student, plan = self.student, workshop.plan
        answer = ANSWERS.get(plan.loss)
        if answer is None:
            raise ConfigError(
                f"a model that is trained by the loss {plan.loss} cannot be distilled; expected one of classes, labels, quantities, "
                "pixels or tokens",
                hint="pruning and quantisation can make it smaller: danlu compress RUN --prune 0.8",
            )
        if student is None:
            raise ConfigError(
                "Distil was given no student", hint="danlu.compress finds one of its size; or student=nn.MLP(…)"
            )
        if workshop.folds is not None:
            raise ConfigError("a student learns from all rows, and the workshop has folds; expected rows that judge")
        shape = shapes_of(workshop.inputs(1))
        _check_alike(network, student, shape, answer)
        once = isinstance(workshop.data, tuple) and not self.features and plan.augment is None and not _changes(student)
        width = self._features(network, params, state, workshop) if self.features else 0
        taught = Taught(student, None if once else network, answer, width)
        key = jax.random.key(workshop.seed)
        rows = workshop.data[0] if isinstance(workshop.data, tuple) else workshop.inputs(_BINS)
        own = plan.replace(model=student).initial(key, rows)
        if not once and self.made:
            raise self._cannot_make()
        begun = taught.begun(own, None if once else (params, state), shape, key)
        school = self._school(workshop, taught, answer)
        if once:
            ask = _Asked(network, params, state, answer)
            school.data = ask.beside(workshop.data, made=self._made(workshop), seed=workshop.seed)
            school.rows = len(school.data[1])
            if workshop.settings.get("validation") is not None:
                school.settings = {**school.settings, "validation": ask.beside(workshop.settings["validation"])}
        found, kept = school.tune(
            taught,
            *begun,
            epochs=self.epochs or _PATIENT * plan.epochs,
            learning_rate=self.learning_rate or plan.learning_rate,
            through=lambda layer: layer,
            choose=workshop.settings.get("validation") is not None,
        )
        workshop.fitted = school.fitted
        return student, found["student"], kept["student"]

    def _school(self, workshop: Workshop, taught: Taught, answer: str) -> Workshop:
        """The workshop with what a student is trained by."""
        settings = dict(workshop.settings)
        loss = settings["loss"]
        if isinstance(loss, Objective):
            raise ConfigError(
                f"the run was trained by an objective of its own, {type(loss).__name__}, which a student would not have",
                hint="distil a run without fairness.mitigate=penalty and trainer.adversarial",
            )
        terms: list[tuple[str, Any]] = [("soft", FromTeacher(answer, self.temperature))]
        weights = {"soft": 1 - self.labels, "labels": self.labels}
        if self.labels:
            terms.append(("labels", OfStudent(get_loss(loss) if isinstance(loss, str) else loss)))
        if self.features:
            terms.append(("hints", Hint()))
            weights["hints"] = self.features
        if self.labels == 1 and not self.features:
            raise ConfigError("Distil.labels is 1, which leaves nothing to be learnt from the teacher; expected less")
        given = settings.pop("metrics", ())
        metrics = [(each, get_metric(each)) for each in ((given,) if isinstance(given, str) else given)]
        watched = tuple((name, OfStudent(metric, mean=True)) for name, metric in metrics)
        settings |= {
            "loss": Supervised(taught, tuple(terms), watched, workshop.plan.precision),
            "metrics": (),
            "loss_weights": {name: weights[name] for name, _ in terms},
        }
        return dataclasses.replace(workshop, settings=settings)

    def _made(self, workshop: Workshop) -> int:
        """How many rows are made up for each row."""
        rows = workshop.data[0]
        table = isinstance(rows, Mapping) and set(rows) <= {"numeric", "categorical", "text"}
        if not table or "sampler" in workshop.settings:
            if self.made:
                raise self._cannot_make()
            return 0
        return min(_MADE, _MOST_MADE // len(workshop.data[1])) if self.made is None else self.made

    def _cannot_make(self) -> ConfigError:
        return ConfigError(
            f"Distil.made is {self.made}, and rows are made up of a table in memory alone, without features and imbalance.resample",
            hint="leave it out",
        )

    def _features(self, network: Layer, params: Params, state: State, workshop: Workshop) -> int:
        body, p, s = body_of(network, params, state)
        found = jax.eval_shape(lambda x: body.apply(p, s, x, train=False)[0], workshop.inputs(1))
        return int(np.prod(found.shape[1:]))


@dataclasses.dataclass(frozen=True, eq=False)
class _Asked:
    """A teacher that is asked once about all rows."""

    network: Layer
    params: Params
    state: State
    answer: str

    def beside(self, data: tuple[Any, ...], *, made: int = 0, seed: int = 0) -> tuple[Any, ...]:
        """The rows with its answers among the inputs, and ``made`` times as many made-up ones, whose labels are not theirs."""
        rows, truth, weight = (*data, None)[:3]
        true = np.full(len(truth), 1 + made, np.float32)  # what a mean over all rows is to be multiplied by
        if made:
            more = made_up(rows, made, seed=seed)
            rows = {name: np.concatenate([each, more[name]]) for name, each in rows.items()}
            true = np.concatenate([true, np.zeros(made * len(truth), np.float32)])
            truth, weight = (None if each is None else np.concatenate([each] * (1 + made)) for each in (truth, weight))
        found = predict_outputs(self.network, self.params, self.state, rows, batch_size=256)
        answers = np.asarray(mean_answer(jax.numpy.asarray(found, jax.numpy.float32), self.answer))
        return {"rows": rows, "teacher": answers, "true": true}, truth, weight


def _changes(network: Layer) -> bool:
    """Whether a network changes its inputs at random while it is trained."""
    return isinstance(network, RandomChange) or any(_changes(child) for _, child in network.expanded.children())


def _check_alike(teacher: Layer, student: Layer, shape: Any, answer: str) -> None:
    """Refuse a student that answers something else than the teacher.

    Raises:
        ConfigError: see above.
    """
    ours, theirs = (network.out_shape(shape) for network in (student, teacher))
    if answer in ("classes", "values") and len(ours) < 3 and len(theirs) < 3:  # either may have members
        same = tuple(ours)[-1:] == tuple(theirs)[-1:]
    else:
        same = ours == theirs
    if not same:
        raise ConfigError(
            f"the student answers arrays of shape {ours}, the teacher of {theirs}; expected as many answers",
            hint="end the student in as many units as the run's network has",
        )
