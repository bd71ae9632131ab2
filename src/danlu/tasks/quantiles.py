"""The head that turns a network's outputs into forecasts with intervals."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

import numpy as np
import polars as pl

from danlu.data.series import Windows
from danlu.errors import ArtifactError, ConfigError
from danlu.evaluate.conformal import check_level
from danlu.evaluate.following import band_factor, band_scores, enough_for, followed, independent
from danlu.evaluate.forecast import Forecasts, coverage_verdict, mase_scale, naive_forecast
from danlu.evaluate.intervals import figure, intervals
from danlu.evaluate.judgement import Simple
from danlu.nn.quantized.layer import real
from danlu.trained import Head
from danlu.trained.head import namespace, out_shape_of
from danlu.trained.read import warn

if TYPE_CHECKING:
    from danlu.trained import Trained

__all__ = ["Quantiles", "Widths", "widening"]

_SCORES = 401  # that are kept of each step
_NUMBERS = 2e6  # of forecasts that are looked back at


class Quantiles(Head, fitted=("naive", "widen", "scores", "counts"), eq=False):
    """The mean and quantiles of each step ahead. The answers are ``(windows, horizon, targets, 1 + quantiles)``, the mean first.

    Called with outputs, which are in the scale of each series, it leaves them there; the answers are in the targets' own units.

    Attributes:
        levels: the quantiles that are forecast, growing.
        season: steps of a season, 1 without one.
        naive: ``(series, targets)``: the seasonal naive error in training, see :func:`~danlu.evaluate.forecast.mase_scale`.
        widen: ``(horizon,)``: the factor for the distance of the quantiles from the middle one, see
            :func:`~danlu.tasks.quantiles.widening`.
        scores: ``(horizon, n)``, growing along a row: those of the windows that were not learnt from, from which the factor for any
            level follows; see :func:`~danlu.evaluate.following.band_factor`. None in old models.
        counts: ``(horizon,)``: as how many independent ones they count.
        since: the step from which on nothing was learnt: forecasts from there on tell how often the interval held, and it follows that,
            see :func:`~danlu.evaluate.following.followed`.
        asked: the share of the values that the interval is to hold; None is that between the lowest and the highest quantile.
    """

    kind, task = "quantiles", "forecast"
    verbs: ClassVar[tuple[str, ...]] = ("predict_interval",)

    levels: tuple[float, ...]
    season: int
    naive: Any
    widen: Any
    scores: np.ndarray | None = None
    counts: np.ndarray | None = None
    since: int | None = None
    asked: float | None = None

    def __call__(self, outputs: Any) -> Any:
        """Quantiles that the network crosses are put in order, which never makes them worse, and then spread.

        Reference: Chernozhukov, Fernández-Val & Galichon (2010), "Quantile and probability curves without crossing",
        Econometrica 78.
        """
        return self._spread(outputs, self.factor[None, :, None])

    @property
    def level(self) -> float:
        """The share of the values that the interval is to hold."""
        return self.levels[-1] - self.levels[0] if self.asked is None else self.asked

    @property
    def shown(self) -> tuple[float, ...]:
        """The quantiles of the answers: those that are forecast, or the middle and the ends of the interval that was asked for."""
        if self.asked is None:
            return self.levels
        return (1 - self.asked) / 2, self.levels[len(self.levels) // 2], (1 + self.asked) / 2

    @property
    def factor(self) -> Any:
        """The factor for the distance of the quantiles from the middle one at the level, ``(horizon,)``, as validation windows have it."""
        if self.asked is None or self.scores is None or self.counts is None:
            return self.widen
        return band_factor(self.scores, self.counts, self.asked)

    def _spread(self, outputs: Any, factor: Any) -> Any:
        """The outputs with quantiles in order and spread; ``factor`` is ``(…, horizon, targets)``, or 1 where there is one for all."""
        if not self.levels:
            return outputs
        xp, half = namespace(outputs), len(self.levels) // 2
        bands = xp.sort(outputs[..., 1:], axis=-1)
        middle = bands[..., half : half + 1]
        if self.asked is not None:
            bands = xp.concatenate([bands[..., :1], middle, bands[..., -1:]], axis=-1)
        bands = middle + (bands - middle) * factor[..., None]
        return xp.concatenate([outputs[..., :1], bands], axis=-1)

    def answer(self, trained: Trained, inputs: Windows) -> np.ndarray:
        """The forecasts of windows, float64; their intervals follow how often those before them held."""
        found = trained.outputs(inputs.inputs())
        return inputs.inverse(self._spread(found, self._followed(trained, inputs)))

    def _followed(self, trained: Trained, inputs: Windows) -> np.ndarray:
        """The factor of each window, ``(windows, horizon, targets)``, or ``(1, horizon, 1)`` where nothing is known since the training."""
        start = np.asarray(self.factor)
        even: np.ndarray = start[None, :, None]
        if self.since is None or len(self.levels) < 2 or not (inputs.moments > self.since).any():
            return even
        past = trained.encoder.windows(inputs.table, start=self.since)
        if not len(past):
            return even
        past = past.thinned(_NUMBERS)
        bands, half = np.sort(trained.outputs(past.inputs())[..., 1:], axis=-1), len(self.levels) // 2
        scores = band_scores(past.outputs(), bands[..., 0], bands[..., half], bands[..., -1])
        found = np.repeat(np.repeat(even, len(inputs), axis=0), inputs.targets, axis=2)
        for number in np.unique(inputs.index[:, 0]):
            seen, own = np.flatnonzero(past.index[:, 0] == number), np.flatnonzero(inputs.index[:, 0] == number)
            if len(seen):
                asked = inputs.moments[own]
                found[own] = followed(start, scores[seen], past.moments[seen], asked, level=self.level)
        return found

    def asking(self, *, interval: float | None = None, sets: float | None = None, **how: Any) -> Self:
        if sets is not None or interval is None or len(self.levels) < 2:
            return super().asking(interval=interval, sets=sets, **how)
        level = check_level(interval)
        if self.scores is None:
            own = f"{100 * (self.levels[-1] - self.levels[0]):g} %"
            raise ConfigError(
                f"this forecast was trained by an older danlu and has intervals of {own} only",
                hint="leave --interval out, or train it again",
            )
        return dataclasses.replace(self, asked=level)

    def doubts(self) -> tuple[str, ...]:
        if self.counts is None or len(self.levels) < 2 or self.level <= (most := enough_for(self.counts)):
            return ()
        count = int(self.counts.min())
        return (
            f"the validation part has about {count} independent forecasts of {len(self.counts)} steps, too few for an interval of "
            f"{100 * self.level:g} % (they are enough for {100 * most:.3g} %): its width is that of the largest error seen",
        )

    def facts(self) -> dict[str, str]:
        if self.scores is None or len(self.levels) < 2:
            return {}
        ends = sorted({figure(float(each), 2) for each in (self.factor.min(), self.factor.max())})
        said = (
            f"{100 * self.level:g} % by validation windows (the quantiles × {' to '.join(ends)}), then by how often they held in the "
            "rows after these"
        )
        return {"intervals": said}

    def predict_interval(self, trained: Trained, source: Any, level: float = 0.9, **how: Any) -> pl.DataFrame:
        """The forecasts with the interval ``low`` to ``high`` that holds the true value in this share of all cases.

        Args:
            level: above 0 and below 1.
            **how: see :meth:`Trained.predict <danlu.trained.Trained.predict>`.

        Raises:
            ConfigError: a level out of range, or a model that keeps no scores.
        """
        return trained.asking(interval=level, say=how.get("say", warn)).predict(source, **how)

    def frame(self, answers: np.ndarray, rows: Any = None, truth: np.ndarray | None = None) -> pl.DataFrame:
        """One row per window, column and step; ``low`` and ``high`` are the lowest and the highest quantile.

        Args:
            rows: the windows, or their origins.
            truth: ``(windows, horizon, targets)``, what came.
        """
        columns, calendar, (count, horizon, targets) = rows.table.columns, rows.table.calendar, answers.shape[:3]
        steps = np.broadcast_to(rows.moments[:, None, None] + np.arange(horizon), (count, targets, horizon))
        flat = {columns.time: calendar.times(steps.ravel())}
        if columns.series:
            names = np.array([one.name for one in rows.table.series])[rows.index[:, 0]]
            flat = {columns.series: pl.Series(np.repeat(names, targets * horizon)), **flat}
        if targets > 1:
            flat["column"] = pl.Series(np.tile(np.repeat(np.array(columns.targets), horizon), count))
        shown = {} if truth is None else {"truth": truth}
        shown["forecast"] = answers[..., 0]
        if self.levels:
            shown |= {"low": answers[..., 1], "high": answers[..., -1]}
        return pl.DataFrame({**flat, **{name: values.swapaxes(1, 2).ravel() for name, values in shown.items()}})

    def lines(self, answers: np.ndarray) -> np.ndarray:
        return np.full(len(answers), answers.shape[1] * answers.shape[2])

    def replies(self, answers: np.ndarray, rows: Any = None) -> list[dict[str, Any]]:
        """One list per forecast number, with one value per step; with several columns, such lists by their names."""
        columns, found = rows.table.columns, []
        for number, answer in enumerate(answers):
            frame = self.frame(answer[None], rows.take(np.array([number])))
            moments = frame[columns.time].head(len(answer)).to_list()
            reply: dict[str, Any] = {columns.series: frame[columns.series][0]} if columns.series else {}
            reply[columns.time] = [each if isinstance(each, int) else str(each) for each in moments]
            for name in ("forecast", "low", "high") if self.levels else ("forecast",):
                lists = [frame[name][low : low + len(answer)].to_list() for low in range(0, len(frame), len(answer))]
                reply[name] = dict(zip(columns.targets, lists, strict=True)) if len(lists) > 1 else lists[0]
            found.append(reply)
        return found

    def evidence(self, answers: np.ndarray, truth: Windows) -> Forecasts:
        count = truth.targets
        naive = np.stack([
            self.naive[place] if place >= 0 else mase_scale(one.values[: one.steps, :count], self.season)
            for place, one in zip(truth.places, truth.table.series, strict=True)
        ])  # fmt: skip
        bands = answers[..., 1:] if self.levels else None
        came = truth.inverse(truth.outputs())
        numbers = truth.index[:, 0]
        return Forecasts(came, answers[..., 0], truth.spread, naive[numbers], truth.moments, self.shown, bands)

    def notes(self, evidence: Any) -> tuple[str, ...]:
        """Whether the interval contains the share of true values that it should."""
        if len(self.levels) < 2:
            return ()
        held = intervals(evidence, ("coverage",))
        return (*(coverage_verdict(each, self.level) for each in held.values()), *self.doubts())

    def simple(self, inputs: Windows, evidence: Any) -> Iterator[Simple]:
        """The naive forecasts."""
        seasons = {"the last value": 1}
        if 1 < self.season <= inputs.context:
            seasons["the last season"] = self.season
        for label, season in seasons.items():
            yield self.simply(label, inputs, evidence, naive_forecast(inputs.past(), inputs.horizon, season))

    @staticmethod
    def simply(label: str, inputs: Windows, evidence: Any, scaled: np.ndarray) -> Simple:
        """A simple forecast, still scaled. Following the series is not a constant answer, even for a constant series."""
        found = dataclasses.replace(evidence, prediction=inputs.inverse(scaled), levels=(), bands=None)
        return Simple(label, found, constant=False)

    def beside(self, answers: np.ndarray, truth: Windows, rows: Any = None) -> pl.DataFrame:
        """The forecasts that do not overlap."""
        chosen = np.arange(0, len(truth), max(1, truth.horizon // truth.apart))
        some = truth.take(chosen)
        return self.frame(answers[chosen], some, some.inverse(some.outputs()))

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        told, arrays = super().state()
        told.pop("asked")
        return told, arrays

    def check(self, network: Any, encoder: Any) -> None:
        targets = len(encoder.columns.targets)
        if self.season < 1 or self.naive.shape != (len(encoder.names), targets):
            raise ArtifactError("the saved season or errors of the series are not valid")
        if self.widen.shape != (encoder.horizon,) or not (self.widen > 0).all():
            raise ArtifactError("the saved widths of the intervals are not valid")
        kept = self.scores, self.counts
        fits = all(each is None for each in kept) or all(
            each is not None and each.shape[:1] == (encoder.horizon,) and each.ndim == rank and (each > 0).all()
            for each, rank in zip(kept, (2, 1), strict=True)
        )
        if not fits or (self.scores is not None and not (self.scores.size and np.isfinite(self.scores).all())):
            raise ArtifactError("the saved scores of the intervals are not valid")
        shape = out_shape_of(network, encoder)
        expected = (encoder.horizon, targets, 1 + len(self.levels))
        if shape != expected or tuple(getattr(real(network), "quantiles", ())) != self.levels:
            raise ArtifactError("the saved network does not forecast the saved columns and steps")


class Widths(NamedTuple):
    """What is kept of windows that were not learnt from.

    Attributes:
        widen: ``(horizon,)``: the factor for the share between the outer quantiles, see :func:`widening`.
        scores: ``(horizon, n)``: of each step, growing; of many an even sample.
        counts: ``(horizon,)``.
    """

    widen: np.ndarray
    scores: np.ndarray
    counts: np.ndarray


def widening(answers: np.ndarray, truth: np.ndarray, levels: Sequence[float], moments: np.ndarray) -> Widths:
    """How much the quantiles must be widened so that the outer ones contain their share on windows not used for training.

    Quantiles fitted to the training windows are too near each other elsewhere. The score of a value is how often its
    distance from the middle quantile contains that of the outer one on its side; of each step's scores a quantile is taken, see
    :func:`~danlu.evaluate.following.band_factor`. In simulations of sums of noise, even and with a spread that
    varies, 80 % intervals 96 steps ahead so fitted to 300 to 2,000 windows contained 77 to 86 % in the mean, and 73 to 80 % without the
    allowance for windows that overlap.

    Args:
        answers: as of :class:`Quantiles`, not spread, in the scale of each series.
        truth: ``(windows, horizon, targets)``.
        moments: the step of each window's origin, ``(windows,)``.

    Series are not exchangeable over time: the share is only as sure as the future is like the validation part.
    """
    horizon = truth.shape[1]
    if len(levels) < 2:
        return Widths(np.ones(horizon), np.ones((horizon, 1)), np.ones(horizon))
    low, middle, high = (answers[..., index] for index in (1, 1 + len(levels) // 2, -1))
    scores = band_scores(truth, low, middle, high).swapaxes(0, 1).reshape(horizon, -1)
    counts = independent(moments, horizon)
    few = np.quantile(scores, np.linspace(0, 1, min(scores.shape[1], _SCORES)), axis=1).T
    return Widths(band_factor(scores, counts, levels[-1] - levels[0]), np.maximum(few, 1e-6), counts)
