"""The answer with one label per row: a class with its probability, or a quantity."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import polars as pl

from danlu.data import TargetEncoder
from danlu.data.fields import Field
from danlu.errors import ArtifactError, ConfigError
from danlu.evaluate import Evidence, Rows, choose_threshold
from danlu.evaluate.alert import alert_note, alert_threshold, alert_words
from danlu.evaluate.calibrate import calibrated, interpolated, scaled
from danlu.evaluate.costs import cost_matrix, cost_threshold, least_cost
from danlu.evaluate.forecast import coverage_verdict
from danlu.evaluate.intervals import figure, intervals
from danlu.trained.cuts import Cuts
from danlu.trained.grouped import Grouped, scores_on
from danlu.trained.head import Head, namespace, out_shape_of
from danlu.trained.held import HeldOut
from danlu.trained.read import Say, warn
from danlu.trained.restored import restored_costs, restored_knots, restored_measure, restored_rate
from danlu.trained.scores import Asked, Scores, none_kept
from danlu.trained.told import about_calibration, about_costs, about_scores

if TYPE_CHECKING:
    from danlu.trained.trained import Trained

__all__ = ["Labels", "members_mean"]

_NEVER = 1.001  # a threshold above 1 predicts the second class never


def members_mean(task: str, outputs: Any) -> Any:
    """Probabilities ``(rows, classes)`` or standardised values ``(rows,)`` from outputs ``(rows[, members], units)``.

    The members' probabilities (not their logits) are averaged: a member that is sure does not outvote the others.

    Example:
        >>> members_mean("binary", np.array([[[0.0, 0.0], [0.0, 40.0]]])).round(3).tolist()
        [[0.25, 0.75]]
    """
    xp = namespace(outputs)
    outputs = outputs[:, None] if outputs.ndim == 2 else outputs
    if task == "regression":
        return outputs[..., 0].mean(axis=1)
    shifted = xp.exp(outputs - outputs.max(axis=-1, keepdims=True))
    return (shifted / shifted.sum(axis=-1, keepdims=True)).mean(axis=1)


class Labels(Head, fitted=("threshold", "temperature", "knots", "scores"), eq=False):
    """One label per row. The answers are probabilities ``(rows, classes)``, or values ``(rows,)`` in the target's own unit.

    Probabilities are the mean over the members, then calibrated; the decision comes last.

    Attributes:
        target: what is predicted.
        threshold: for two classes: the probability of the second one from which it is predicted.
        temperature: of the probabilities, see :func:`~danlu.evaluate.calibrate.fit_temperature`; None leaves them.
        knots: of two classes: what their probabilities become, see :func:`~danlu.evaluate.calibrate.fit_isotonic`; None leaves them.
        costs: of mistakes, by the true and the predicted class; None where every mistake is as bad.
        said: what was fitted, in words, by its name.
        scores: of rows that were not learnt from, from which intervals and sets follow; None where there were none.
        level: how often these are to hold the true answer, where the model is tested.
        asked: the interval or set that is written beside the answers; None writes none.
        cuts: of two classes: thresholds of groups of rows, instead of ``threshold``; None has none.
        alert_rate: of two classes: the share of rows that the threshold is to alert at most; None has no such threshold.
        compare_by: the measure that models are compared by; empty is that of the task.
    """

    kind = "labels"
    verbs: ClassVar[tuple[str, ...]] = ("predict_interval", "predict_set", "scored_on")

    target: TargetEncoder
    threshold: float = 0.5
    temperature: Any = None
    knots: Any = None
    costs: tuple[tuple[float, ...], ...] | None = None
    said: tuple[tuple[str, str], ...] = ()
    scores: Scores | Grouped | None = None
    level: float = 0.9
    asked: Asked | None = None
    cuts: Cuts | None = None
    alert_rate: float | None = None
    compare_by: str = ""

    @property
    def task(self) -> str:
        return self.target.task

    @property
    def name(self) -> str:
        return self.target.name

    @property
    def scale(self) -> float | None:
        return self.target.std if self.task == "regression" else None

    def __call__(self, outputs: Any) -> Any:
        mean = members_mean(self.task, outputs)
        return mean * self.target.std + self.target.mean if self.task == "regression" else self.calibrated(mean)

    def members(self, trained: Trained, inputs: Any) -> np.ndarray:
        """What each network answers, before it is calibrated: those of an ensemble and of folds, and the members of a table's network."""
        outputs = trained.outputs(inputs)
        outputs = outputs[:, None] if outputs.ndim == 2 else outputs
        each = np.stack([members_mean(self.task, outputs[:, place]) for place in range(outputs.shape[1])])
        return each * self.target.std + self.target.mean if self.task == "regression" else each

    def calibrated(self, probability: Any) -> Any:
        """The calibrated probabilities for the members' mean ones."""
        if self.temperature is not None:
            return scaled(probability, self.temperature)
        return probability if self.knots is None else interpolated(probability, self.knots)

    def plain(self) -> Self:
        threshold = 0.5 if self.costs is None else cost_threshold(np.asarray(self.costs))
        return dataclasses.replace(
            self, threshold=threshold, temperature=None, knots=None, said=(), scores=None, cuts=None
        )

    def costing(self, given: Mapping[str, float]) -> Self:
        """The head that decides by what mistakes cost, see :func:`~danlu.evaluate.costs.cost_matrix`; the same without costs."""
        if not given:
            return self
        costs = tuple(map(tuple, cost_matrix(given, self.target.classes).tolist()))
        return dataclasses.replace(self, costs=costs).plain()

    def fitted(
        self,
        held: HeldOut,
        *,
        threshold: str = "none",
        calibrate: str = "none",
        shifted: str = "",
        level: float = 0.9,
    ) -> Self:
        """The head with calibrated probabilities, a threshold, and the scores of the rows.

        Args:
            held: see :meth:`Head.fitted <danlu.trained.Head.fitted>`.
            threshold: the measure that the threshold of two classes is best for; see
                :func:`~danlu.evaluate.choose_threshold`. ``"none"`` keeps it.
            calibrate: see :func:`~danlu.evaluate.calibrate.calibrated`.
            shifted: the setting that shifts the probabilities on purpose, if any; they are then calibrated only where that is asked for.
            level: how often intervals and sets are to hold the true answer, where the model is tested.
        """
        if self.task == "regression":
            true = self.target.inverse(held.truth)
            scores = Scores.of(held.answers, true, classes=False, level=level, weight=held.counts)
            return dataclasses.replace(self, scores=scores, level=level, said=about_scores(scores, level))
        how = "none" if shifted and calibrate == "auto" else calibrate
        found = calibrated(held.answers, held.truth, how=how, weight=held.weight, folds=held.folds)
        head = dataclasses.replace(self, temperature=found.temperature, knots=found.knots)
        probability = head.calibrated(np.asarray(held.answers, np.float64))
        said = {"probabilities": about_calibration(found, calibrate, shifted)}
        if threshold != "none":
            chosen = choose_threshold(held.truth, probability[:, 1], threshold, weight=held.counts)
            head = dataclasses.replace(head, threshold=float(chosen.value))
            said["decision"] = (
                f"{self.target.classes[1]!r} from a probability of {chosen.value:.3g}, the best for {threshold}"
            )
        if self.alert_rate is not None:
            alert = alert_threshold(probability[:, 1], self.alert_rate, held.counts)
            head = dataclasses.replace(head, threshold=min(alert.threshold, _NEVER))
            said["decision"] = alert_words(alert, self.alert_rate, len(held), self.target.classes[1], self.costs)
        elif self.costs is not None:
            said["decision"] = about_costs(head, probability, held.truth, held.counts)
        scores = Scores.of(probability, held.truth, classes=True, weight=held.counts)
        told = tuple((name, text) for name, text in said.items() if text)
        told += about_scores(scores, level, self.target.units)
        return dataclasses.replace(head, scores=scores, level=level, said=told)

    def scored(self, answers: Any, truth: Any) -> Self:
        if self.scores is None:
            return self
        classes = 0 if self.task == "regression" else self.target.units
        scores = Scores.of(answers, truth, classes=bool(classes), level=self.level)
        return dataclasses.replace(self, scores=scores, said=about_scores(scores, self.level, classes))

    def facts(self) -> dict[str, str]:
        return dict(self.said)

    def decide(self, answers: Any, rows: Any = None) -> Any:
        """The class codes ``(rows,)`` for probabilities: the likeliest or cheapest class; for two classes, by the threshold.

        Args:
            rows: as they were read, where groups of them have thresholds of their own.
        """
        if answers.shape[1] == 2:
            limit = self.threshold if self.cuts is None else self.cuts.of(rows, self.threshold)
            return (answers[:, 1] >= limit).astype(int)
        return answers.argmax(axis=1) if self.costs is None else least_cost(answers, np.asarray(self.costs))

    def frame(self, answers: np.ndarray, rows: Any = None) -> pl.DataFrame:
        """The prediction, and each class's probability; an interval ``low`` to ``high`` or a ``set`` where it was asked for."""
        if self.task == "regression":
            found = pl.DataFrame({self.target.name: answers})
            if self.asked is None or self.scores is None:
                return found
            reach = self.scores.reach(self.asked, answers, rows)
            return found.with_columns(
                pl.Series(self._column("low"), answers - reach), pl.Series(self._column("high"), answers + reach)
            )
        labels = self.target.labels[self.decide(answers, rows)].tolist()
        columns = {f"probability {label}": answers[:, code] for code, label in enumerate(self.target.classes)}
        if self.asked is not None and self.scores is not None:
            sets = [" | ".join(names) for names in self._names(answers, rows)]
            return pl.DataFrame({self.target.name: labels, self._column("set"): sets, **columns})
        return pl.DataFrame({self.target.name: labels, **columns})

    def _column(self, name: str) -> str:
        """The name of a column, which the target may have already."""
        more = "of classes" if name == "set" else "of the interval"
        return f"{name} {more}" if name == self.target.name else name

    def _names(self, answers: np.ndarray, rows: Any) -> list[list[str]]:
        """The classes in the set of each row, the likeliest first."""
        found: Any = self.scores
        held = found.sets(answers, self.asked, rows)
        ranked = np.argsort(-np.asarray(answers), axis=1, kind="stable")
        return [
            [self.target.classes[code] for code in order if own[code]] for order, own in zip(ranked, held, strict=True)
        ]

    def replies(self, answers: np.ndarray, rows: Any = None) -> list[dict[str, Any]]:
        """The prediction with each class's probability; a set as a list, and no number for an end of an interval that is infinite."""
        found = super().replies(answers, rows)
        if self.asked is None or self.scores is None:
            return found
        if self.task == "regression":
            ends = (self._column("low"), self._column("high"))
            return [{k: None if k in ends and not np.isfinite(v) else v for k, v in each.items()} for each in found]
        sets = self._names(answers, rows)
        return [{**each, self._column("set"): names} for each, names in zip(found, sets, strict=True)]

    def asking(self, *, interval: float | None = None, sets: float | None = None, **how: Any) -> Self:
        if interval is None and sets is None:
            return self
        of, right = ("a quantity", "interval") if self.task == "regression" else ("classes", "set of classes")
        level = interval if self.task == "regression" else sets
        if level is None or (interval is not None and sets is not None):
            option = "--interval 0.9" if self.task == "regression" else "--set 0.9"
            raise ConfigError(
                f"this model predicts {of}; beside its predictions there can be {'an' if right[0] == 'i' else 'a'} {right}, nothing else",
                hint=f"danlu predict RUN NEW.csv {option}; in Python predict_{'interval' if right[0] == 'i' else 'set'}",
            )
        if self.scores is None:
            raise none_kept(right)
        return dataclasses.replace(self, asked=Asked(level, **how))

    def doubts(self) -> tuple[str, ...]:
        if self.asked is None or self.scores is None:
            return ()
        return (*self.scores.doubts(self.asked, self.target.classes), *self.scores.wavers(self.asked))

    def remarks(self, rows: Any) -> tuple[str, ...]:
        return self.scores.unseen(rows) if self.asked is not None and isinstance(self.scores, Grouped) else ()

    def predict_interval(self, trained: Trained, source: Any, level: float = 0.9, **how: Any) -> pl.DataFrame:
        """The predictions of a quantity with the interval ``low`` to ``high`` that holds the true value in this share of all cases.

        Args:
            level: above 0 and below 1.
            **how: see :meth:`Trained.predict <danlu.trained.Trained.predict>`.

        Raises:
            ConfigError: a model of classes, or without scores of rows that were not learnt from.
        """
        return trained.asking(interval=level, say=how.get("say", warn)).predict(source, **how)

    def predict_set(
        self,
        trained: Trained,
        source: Any,
        level: float = 0.9,
        *,
        score: str = "lac",
        by_class: bool = False,
        **how: Any,
    ) -> pl.DataFrame:
        """The predictions with the ``set`` of classes that holds the true one in this share of all cases.

        Args:
            level: above 0 and below 1.
            score: ``"lac"``, whose sets are the smallest in the mean, or ``"aps"``, whose sets are larger for rows in doubt.
            by_class: whether the share is to hold for the rows of each class by themselves.
            **how: see :meth:`Trained.predict <danlu.trained.Trained.predict>`.

        Raises:
            ConfigError: a model of a quantity, or without scores of rows that were not learnt from.
        """
        asked = trained.asking(sets=level, score=score, by_class=by_class, say=how.get("say", warn))
        return asked.predict(source, **how)

    def scored_on(
        self, trained: Trained, source: Any, *, by: str | None = None, lenient: bool = False, say: Say = warn
    ) -> Trained:
        """The model whose intervals or sets follow from rows of your own, with the true answers, instead of those of its training.

        It is for rows that are not like those of the training (another year, another hospital), and for groups: rows that it learnt
        from are left out.

        Args:
            source: as of :meth:`Trained.predict <danlu.trained.Trained.predict>`, with the target.
            by: a column of a table: the level then holds for the rows of each of its values by themselves.
            lenient, say: see there.

        Raises:
            SchemaError: data that does not fit, or without the target.
            ConfigError: a column that there is not.
            DataError: the model learnt from all of the rows.
        """
        scores = scores_on(trained, source, by=by, lenient=lenient, say=say)
        kept = tuple(each for each in self.said if each[0] not in ("intervals", "sets"))
        head = dataclasses.replace(self, scores=scores, said=kept)
        whole = head if trained.head is self else dataclasses.replace(trained.head, lead=head)  # of several models
        return dataclasses.replace(trained, head=whole)

    def evidence(self, answers: np.ndarray, truth: np.ndarray) -> Rows:
        true = self.target.inverse(truth) if self.task == "regression" else np.asarray(truth, np.int64)
        costs = None if self.costs is None else np.asarray(self.costs)
        covered = self._covered(answers, true)
        asked: Any = {"alert_rate": self.alert_rate, "by": self.compare_by}
        return Rows(self.task, true, answers, self.threshold, costs=costs, covered=covered, **asked)

    def decided(self, evidence: Any, rows: Any) -> Any:
        if self.cuts is None:
            return evidence
        return dataclasses.replace(evidence, threshold=self.cuts.of(rows, self.threshold))

    @property
    def needs(self) -> tuple[Field, ...]:
        if self.cuts is None:
            return ()
        limits = zip(self.cuts.columns, self.cuts.limits, strict=True)
        return tuple(Field(name, "number" if ends else "text") for name, ends in limits)

    def _covered(self, answers: np.ndarray, true: np.ndarray) -> np.ndarray | None:
        """Whether the interval or the set of each row holds the true answer."""
        if not isinstance(self.scores, Scores):  # of groups, whose rows are not at hand here
            return None
        asked = Asked(self.level)
        if self.scores.doubts(asked, self.target.classes):  # what holds every answer is not worth a measure
            return None
        if self.task == "regression":
            return np.abs(answers - true) <= self.scores.reach(asked, answers)
        return self.scores.sets(answers, asked)[np.arange(len(true)), true]

    def notes(self, evidence: Evidence) -> tuple[str, ...]:
        """Notes on classes without rows, on what an alert rate came to, and on how often intervals or sets held the true answer."""
        return (*self._lacking(evidence), *self._alerted(evidence), *self._held(evidence))

    def _alerted(self, evidence: Any) -> tuple[str, ...]:
        """What the alert rate came to on these rows."""
        if self.alert_rate is None:
            return ()
        return (alert_note(evidence, self.alert_rate, self.target.classes[1]),)

    def _held(self, evidence: Any) -> tuple[str, ...]:
        """How often the intervals or sets held the true answer, and how large they are."""
        if not isinstance(self.scores, Scores):
            return ()
        if evidence.covered is None:
            return self.scores.doubts(Asked(self.level), self.target.classes)
        asked, name = Asked(self.level), "interval_coverage" if self.task == "regression" else "set_coverage"
        held = intervals(evidence, (name,)).get(name)
        if held is None:
            return ()
        if self.task == "regression":
            width = figure(float(2 * self.scores.reach(asked, evidence.prediction).mean()))
            even = "" if self.scores.spread is None else " in the mean"
            return (f"{coverage_verdict(held, self.level, 'intervals')} They are {width} wide{even}.",)
        size = self.scores.sets(evidence.prediction, asked).sum(axis=1)
        more = "; the likeliest class is always in it" if held.low > self.level else ""
        said = f"A set holds {figure(size.mean(), 3)} of {self.target.units} classes in the mean{more}."
        return (f"{coverage_verdict(held, self.level, 'sets')} {said}",)

    def _lacking(self, evidence: Evidence) -> tuple[str, ...]:
        """Classes without rows: a model that never answers anything else would score as well."""
        rows: Any = evidence
        present = set(rows.truth.tolist()) if self.target.classes else set()
        lacking = [each for code, each in enumerate(self.target.classes) if code not in present]
        if not lacking:
            return ()
        if len(lacking) == len(self.target.classes) - 1:
            only = self.target.classes[int(rows.truth[0])]
            return (
                f"all rows are {only!r}: a model that always gives this answer would score 1; test it on rows of all classes",
            )
        more = f" and {len(lacking) - 8:,} more" if len(lacking) > 8 else ""
        which = "this class" if len(lacking) == 1 else "these classes"
        return (f"no row is {', '.join(map(repr, lacking[:8]))}{more}: the scores say nothing about {which}",)

    def beside(self, answers: np.ndarray, truth: np.ndarray, rows: Any = None) -> pl.DataFrame:
        true = self._true(truth, rows).alias(f"true {self.target.name}")
        known = rows is not None or not isinstance(self.scores, Grouped)  # without the rows their groups are not known
        head = self if known else dataclasses.replace(self, asked=None)
        return head.frame(answers, rows).insert_column(0, true)

    def _true(self, truth: np.ndarray, rows: Any) -> pl.Series:
        """The true answers; quantities as the rows have them, since standardised values are rounded to float32."""
        if self.task == "regression" and isinstance(rows, pl.DataFrame) and self.target.name in rows.columns:
            given = rows[self.target.name]
            return given if given.dtype.is_numeric() else given.cast(pl.Float64)
        return pl.Series(self.target.inverse(truth).tolist())

    @property
    def counted(self) -> str:
        return self.target.classes[1] if self.task == "binary" else ""

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        told: dict[str, Any] = {
            "target": self.target.to_json(),
            "threshold": float(self.threshold) if self.task == "binary" else None,
            "temperature": None if self.temperature is None else float(self.temperature),
            "costs": None if self.costs is None else [list(row) for row in self.costs],
            "said": dict(self.said),
            "level": self.level,
        }
        if self.cuts is not None:
            told["cuts"] = self.cuts.to_json()
        told |= {} if self.alert_rate is None else {"alert_rate": self.alert_rate}
        told |= {"compare_by": self.compare_by} if self.compare_by else {}
        knots = {} if self.knots is None else {"knots": np.asarray(self.knots)}
        if isinstance(self.scores, Grouped):
            told["groups"] = self.scores.told()
        return told, {**knots, **({} if self.scores is None else self.scores.state())}

    @classmethod
    def from_state(cls, data: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Self:
        target, threshold, temperature = (data.get(name) for name in ("target", "threshold", "temperature"))
        if threshold is not None and (type(threshold) not in (int, float) or not 0 <= threshold <= _NEVER):
            raise ArtifactError(f"the saved threshold is {str(threshold)[:40]!r}; expected 0 to 1 or null")
        if temperature is not None and (type(temperature) not in (int, float) or not 0 < temperature < float("inf")):
            raise ArtifactError(
                f"the saved temperature is {str(temperature)[:40]!r}; expected a number above 0 or null"
            )
        found = TargetEncoder.from_json(target if isinstance(target, Mapping) else {})
        said = data.get("said") or {}
        if not isinstance(said, Mapping) or not all(isinstance(each, str) for each in (*said, *said.values())):
            raise ArtifactError("the saved model is damaged: the description of its answers is not a text")
        if (groups := data.get("groups")) is not None:
            scores: Any = Grouped.from_state(groups, arrays, len(found.classes))
        else:
            scores = Scores.from_state(arrays, len(found.classes))
        level = data.get("level", 0.9)
        if type(level) is not float or not 0 < level < 1:
            raise ArtifactError(f"the saved level is {str(level)[:40]!r}; expected a share above 0 and below 1")
        return cls(
            found,
            0.5 if threshold is None else float(threshold),
            None if temperature is None else float(temperature),
            restored_knots(arrays.get("knots")),
            restored_costs(data.get("costs"), found),
            tuple(said.items()),
            scores,
            level,
            cuts=Cuts.from_json(data.get("cuts")),
            alert_rate=restored_rate(data.get("alert_rate"), found),
            compare_by=restored_measure(data.get("compare_by"), found),
        )

    def check(self, network: Any, encoder: Any) -> None:
        shape = out_shape_of(network, encoder)
        if not isinstance(shape, tuple) or len(shape) not in (1, 2) or shape[-1] != self.target.units:
            raise ArtifactError(
                f"the saved network's output has the shape {shape}; expected {self.target.units} for {self.target.name!r}"
            )
