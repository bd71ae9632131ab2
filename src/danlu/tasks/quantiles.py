"""The head that turns a network's outputs into forecasts with intervals."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from danlu.data.series import Windows
from danlu.errors import ArtifactError
from danlu.evaluate.forecast import Forecasts, coverage_verdict, mase_scale, naive_forecast
from danlu.evaluate.intervals import intervals
from danlu.evaluate.judgement import Simple
from danlu.trained import Head
from danlu.trained.head import namespace, out_shape_of

if TYPE_CHECKING:
    from danlu.trained import Trained

__all__ = ["Quantiles", "widening"]


class Quantiles(Head, fitted=("naive", "widen"), eq=False):
    """The mean and quantiles of each step ahead. The answers are ``(windows, horizon, targets, 1 + quantiles)``, the mean first.

    Called with outputs, which are in the scale of each series, it leaves them there; the answers are in the targets' own units.

    Attributes:
        levels: the quantiles that are forecast, growing.
        season: steps of a season, 1 without one.
        naive: ``(series, targets)``: the seasonal naive error in training, see :func:`~danlu.evaluate.forecast.mase_scale`.
        widen: ``(horizon,)``: the factor for the distance of the quantiles from the middle one, see
            :func:`~danlu.tasks.quantiles.widening`.
    """

    kind, task = "quantiles", "forecast"
    instead = "forecasts have the interval of their lowest and highest quantile: the columns low and high"

    levels: tuple[float, ...]
    season: int
    naive: Any
    widen: Any

    def __call__(self, outputs: Any) -> Any:
        """Quantiles that the network crosses are put in order, which never makes them worse, and then spread.

        Reference: Chernozhukov, Fernández-Val & Galichon (2010), "Quantile and probability curves without crossing",
        Econometrica 78.
        """
        if not self.levels:
            return outputs
        xp, half = namespace(outputs), len(self.levels) // 2
        bands = xp.sort(outputs[..., 1:], axis=-1)
        middle = bands[..., half : half + 1]
        bands = middle + (bands - middle) * self.widen[None, :, None, None]
        return xp.concatenate([outputs[..., :1], bands], axis=-1)

    def answer(self, trained: Trained, inputs: Windows) -> np.ndarray:
        """The forecasts of windows, float64."""
        return inputs.inverse(self(trained.outputs(inputs.inputs())))

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
        return Forecasts(came, answers[..., 0], truth.spread, naive[numbers], truth.moments, self.levels, bands)

    def notes(self, evidence: Any) -> tuple[str, ...]:
        """Whether the interval contains the share of true values that it should."""
        if len(self.levels) < 2:
            return ()
        held = intervals(evidence, ("coverage",))
        return tuple(coverage_verdict(each, self.levels[-1] - self.levels[0]) for each in held.values())

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

    def check(self, network: Any, encoder: Any) -> None:
        targets = len(encoder.columns.targets)
        if self.season < 1 or self.naive.shape != (len(encoder.names), targets):
            raise ArtifactError("the saved season or errors of the series are not valid")
        if self.widen.shape != (encoder.horizon,) or not (self.widen > 0).all():
            raise ArtifactError("the saved widths of the intervals are not valid")
        shape = out_shape_of(network, encoder)
        expected = (encoder.horizon, targets, 1 + len(self.levels))
        if shape != expected or tuple(getattr(network, "quantiles", ())) != self.levels:
            raise ArtifactError("the saved network does not forecast the saved columns and steps")


def widening(answers: np.ndarray, truth: np.ndarray, levels: Sequence[float], moments: np.ndarray) -> np.ndarray:
    """How much the quantiles must be widened so that the outer ones contain their share on windows not used for training, ``(horizon,)``.

    Quantiles fitted to the training windows are too near each other elsewhere. The score of a value ``y`` is how often its
    distance from the middle quantile ``m`` contains that of the outer one on its side: ``(y − m)/(q_high − m)`` or
    ``(m − y)/(m − q_low)``; of each step's scores a quantile is taken.

    Of ``n`` independent scores NumPy's quantile at ``p`` contains the share ``((n − 1)·p + 1)/(n + 1)`` of new ones in the mean, less than
    ``p``; so it is taken at ``p = ((n + 1)·level − 1)/(n − 1)``, or at 1 where ``n`` is too small for the level. Windows that overlap are
    not independent: at ``h`` steps ahead they count as three in each ``h`` steps of their moments, and columns and series of one moment
    as one (with fewer windows than series, as many as there are series). In simulations of sums of noise, even and with a spread that
    varies, 80 % intervals 96 steps ahead so fitted to 300 to 2,000 windows contained 77 to 86 % in the mean, and 73 to 80 % without.

    Args:
        answers: as of :class:`Quantiles`, not spread, in the scale of each series.
        truth: ``(windows, horizon, targets)``.
        moments: the step of each window's origin, ``(windows,)``.

    Reference: Romano, Patterson & Candès (2019), "Conformalized quantile regression", arXiv:1905.03222, with a factor instead
    of their distance. Series are not exchangeable over time: the share is only as sure as the future is like the validation part.
    """
    horizon = truth.shape[1]
    if len(levels) < 2:
        return np.ones(horizon)
    low, middle, high = (answers[..., index] for index in (1, 1 + len(levels) // 2, -1))
    room = np.where(truth >= middle, high - middle, middle - low)
    scores = np.abs(truth - middle) / np.maximum(room, 1e-9)
    span, beside = float(np.ptp(moments)), len(moments) / len(np.unique(moments))
    count = np.maximum(1 + 3 * span / np.arange(1, horizon + 1), max(beside, 1 + 1e-9))
    place = np.minimum(((count + 1) * (levels[-1] - levels[0]) - 1) / (count - 1), 1)
    by_step = scores.swapaxes(0, 1).reshape(horizon, -1)
    found = [np.quantile(own, max(share, 0.0)) for own, share in zip(by_step, place, strict=True)]
    return np.clip(found, 0.1, 10.0)
