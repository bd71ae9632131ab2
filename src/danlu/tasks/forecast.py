"""Forecasting time series: the settings, the recipe, the training, and what makes forecasts of a network's outputs."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import jax
import numpy as np
import polars as pl

from danlu.blueprint import Blueprint, setting
from danlu.data.series import SeriesEncoder, Windows
from danlu.engine import Callback, enable_compilation_cache, fit
from danlu.engine.initial import initial_weights
from danlu.errors import ArtifactError, ConfigError, DataError
from danlu.evaluate.forecast import (
    Forecasts,
    coverage_verdict,
    mase_scale,
    naive_forecast,
    ridge_forecast,
    ridge_weights,
)
from danlu.evaluate.intervals import intervals
from danlu.evaluate.judgement import Simple
from danlu.nn import Forecaster
from danlu.nn.losses import ForecastLoss, centre_error
from danlu.tasks.recipe import Recipe
from danlu.trained import Head, Learned, Trained
from danlu.trained.head import namespace, out_shape_of

__all__ = [
    "Forecast",
    "Quantiles",
    "choose_context",
    "forecast_recipe",
    "learn_forecast",
    "start",
    "widening",
]

_SEASONS = 21  # of context: three weeks of hours
_CONTEXT = (8, 512)
_ALPHAS = (0.01, 1.0, 100.0, 10_000.0)  # strengths of ridge regression
_STEPS = 1000  # updates of a training, about
_EPOCHS = (4, 60)


class Forecast(Blueprint):
    """What is forecast, and from what; naming ``columns`` makes ``danlu train`` forecast.

    Args:
        columns: to be forecast; ``("all",)`` are all columns of numbers that are nothing else.
        horizon: steps to forecast.
        context: steps that a forecast is made from; None takes 21 seasons, at least the horizon, at most 512, and no more than
            the training part can spare.
        time: the column with the moments; None finds it.
        series: the column that names the series a row belongs to, where there are several.
        known: columns whose future is known; :meth:`Model.predict` needs rows with it.
        observed: columns that help to forecast, known up to now only.
        season: steps of a season, for the seasonal naive forecast and MASE; None finds it.
        refit: whether, once the validation part has chosen the epoch, training is done again with it: the model that is tested
            and kept has learnt from all that comes before the test.
    """

    columns: tuple[str, ...] = ()
    horizon: int = setting(default=24, minimum=1, integer=True)
    context: int | None = setting(default=None, minimum=2, integer=True, optional=True)
    time: str | None = None
    series: str | None = None
    known: tuple[str, ...] = ()
    observed: tuple[str, ...] = ()
    season: int | None = setting(default=None, minimum=1, integer=True, optional=True)
    refit: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("columns", "known", "observed"):
            value = getattr(self, name)
            object.__setattr__(self, name, (value,) if isinstance(value, str) else tuple(value))


def choose_context(steps: int, horizon: int, season: int) -> int:
    """The steps of a context for a training part of ``steps``.

    Raises:
        DataError: a part too short for any.

    Example:
        >>> choose_context(8640, 96, 24), choose_context(100, 12, 12), choose_context(8640, 24, 1)
        (504, 44, 96)
    """
    wanted = max(_SEASONS * season if season > 1 else 0, 4 * horizon, _CONTEXT[0])
    spare = (steps - horizon) // 2  # as many windows as a window has steps
    found = min(wanted, max(_CONTEXT[1], horizon), spare)
    if found < 2:
        raise DataError(
            f"the training part has {steps} steps, too few to learn to forecast {horizon} ahead; expected {horizon + 4} or more",
            hint="forecast fewer steps, or bring more rows",
        )
    return found


def forecast_recipe(windows: Windows, *, network: dict[str, Any] | None = None, **changes: Any) -> Recipe:
    """The default recipe for training windows: a linear map in each window's own scale, about 1,000 updates from a closed form on.

    Its ``loss`` is that of the forecast itself, ``"mse"`` or ``"mae"``; the pinball loss of the quantiles is added to it.

    Args:
        network: fields of the :class:`~danlu.nn.Forecaster` to set instead of the defaults.
        **changes: fields of the :class:`Recipe` to set instead of the defaults.

    Raises:
        ConfigError: an unknown field or a value out of range.
    """
    unknown = sorted(set(changes) - set(Recipe.__dataclass_fields__))
    if unknown:
        raise ConfigError(f"forecast_recipe() received the settings {unknown}; expected fields of a Recipe")
    if changes.get("loss", "mse") not in ("mse", "mae"):
        raise ConfigError(f"trainer.loss is {changes['loss']!r}; a forecast is trained by mse or mae")
    observed = len(windows.table.columns.observed)
    model = Forecaster(windows.horizon, windows.targets, observed=observed, known=windows.known, **(network or {}))
    batch_size = int(changes.get("batch_size", 32 if len(windows) >= 1024 else max(1, min(16, len(windows) // 4))))
    epochs = math.ceil(_STEPS / math.ceil(max(len(windows), 1) / batch_size))
    fields: dict[str, Any] = {
        "model": model,
        "loss": "mse",
        "batch_size": batch_size,
        "epochs": max(_EPOCHS[0], min(epochs, _EPOCHS[1])),
        "patience": max(3, min(epochs, _EPOCHS[1]) // 4),
        "learning_rate": 1e-3,
        "weight_decay": 0.01,
    }
    return Recipe(**{**fields, **changes})


@functools.partial(jax.tree_util.register_dataclass, data_fields=["naive", "widen"], meta_fields=["levels", "season"])
@dataclasses.dataclass(frozen=True, eq=False)
class Quantiles(Head):
    """The mean and quantiles of each step ahead. The answers are ``(windows, horizon, targets, 1 + quantiles)``, the mean first.

    Called with outputs, which are in the scale of each series, it leaves them there; the answers are in the targets' own units.

    Attributes:
        levels: the quantiles that are forecast, growing.
        season: steps of a season, 1 without one.
        naive: ``(series, targets)``: the seasonal naive error in training, see :func:`~danlu.evaluate.forecast.mase_scale`.
        widen: ``(horizon,)``: what the distance of the quantiles from the middle one is multiplied by, see :func:`widening`.
    """

    kind = "quantiles"

    levels: tuple[float, ...]
    season: int
    naive: Any
    widen: Any

    @property
    def task(self) -> str:
        return "forecast"

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
        """A row a window, column and step; ``low`` and ``high`` are the lowest and the highest quantile.

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
        """A list a number that is forecast, one value a step; where there are several columns, such lists by their names."""
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
        """Whether the interval holds as much of what comes as it is to."""
        if len(self.levels) < 2:
            return ()
        held = intervals(evidence, ("coverage",))
        return tuple(coverage_verdict(each, self.levels[-1] - self.levels[0]) for each in held.values())

    def simple(self, inputs: Windows, evidence: Any) -> Iterator[Simple]:
        """The naive forecasts."""
        for season, label in ((1, "the last value"), (self.season, "the last season")):
            if label == "the last value" or 1 < season <= inputs.context:
                yield self.simply(label, inputs, evidence, naive_forecast(inputs.past(), inputs.horizon, season))

    @staticmethod
    def simply(label: str, inputs: Windows, evidence: Any, scaled: np.ndarray) -> Simple:
        """A simple forecast, still scaled. What follows the series is no constant answer, even of one that stands still."""
        found = dataclasses.replace(evidence, prediction=inputs.inverse(scaled), levels=(), bands=None)
        return Simple(label, found, constant=False)

    def beside(self, answers: np.ndarray, truth: Windows, rows: Any = None) -> pl.DataFrame:
        """Of the forecasts those that do not overlap."""
        chosen = np.arange(0, len(truth), max(1, truth.horizon // truth.apart))
        some = truth.take(chosen)
        return self.frame(answers[chosen], some, some.inverse(some.outputs()))

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        arrays = {"naive": np.asarray(self.naive), "widen": np.asarray(self.widen)}
        return {"levels": list(self.levels), "season": self.season}, arrays

    @classmethod
    def from_state(cls, data: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Self:
        levels, season = data.get("levels"), data.get("season")
        if not isinstance(levels, list | tuple) or not all(isinstance(each, float) for each in levels):
            raise ArtifactError(f"the saved quantiles are {str(levels)[:80]}; expected numbers")
        if type(season) is not int or season < 1 or not {"naive", "widen"} <= set(arrays):
            raise ArtifactError("the saved season or errors of the series are not valid")
        return cls(tuple(levels), season, arrays["naive"], arrays["widen"])

    def check(self, network: Any, encoder: Any) -> None:
        targets = len(encoder.columns.targets)
        if self.naive.shape != (len(encoder.names), targets):
            raise ArtifactError("the saved season or errors of the series are not valid")
        if self.widen.shape != (encoder.horizon,) or not (self.widen > 0).all():
            raise ArtifactError("the saved widths of the intervals are not valid")
        shape = out_shape_of(network, encoder)
        expected = (encoder.horizon, targets, 1 + len(self.levels))
        if shape != expected or tuple(getattr(network, "quantiles", ())) != self.levels:
            raise ArtifactError("the saved network does not forecast the saved columns and steps")


def widening(answers: np.ndarray, truth: np.ndarray, levels: Sequence[float]) -> np.ndarray:
    """By how much the quantiles must be spread for the outer ones to hold their share of windows not learnt from, ``(horizon,)``.

    Quantiles fitted to the training windows are too near each other elsewhere. The score of a value ``y`` is how often its
    distance from the middle quantile ``m`` contains that of the outer one on its side: ``(y − m)/(q_high − m)`` or
    ``(m − y)/(m − q_low)``; of each step's scores the quantile at the nominal share is taken.

    Args:
        answers: as of :class:`Quantiles`, not spread, in the scale of each series.
        truth: ``(windows, horizon, targets)``.

    Reference: Romano, Patterson & Candès (2019), "Conformalized quantile regression", arXiv:1905.03222, with a factor instead
    of their distance. Series are not exchangeable over time: the share is only as sure as the future is like the validation part.
    """
    horizon = truth.shape[1]
    if len(levels) < 2:
        return np.ones(horizon)
    low, middle, high = (answers[..., index] for index in (1, 1 + len(levels) // 2, -1))
    room = np.where(truth >= middle, high - middle, middle - low)
    scores = np.abs(truth - middle) / np.maximum(room, 1e-9)
    found = np.quantile(scores.swapaxes(0, 1).reshape(horizon, -1), levels[-1] - levels[0], axis=1)
    return np.clip(found, 0.1, 10.0)


def start(
    network: Forecaster, params: Any, train: Windows, validation: Windows, alphas: Sequence[float] = _ALPHAS
) -> tuple[Any, float]:
    """``params`` from which training starts where a linear forecast can get in closed form, and the ``α`` of it.

    The linear map of the mean and of each quantile becomes that of ridge regression (in the window's own scale, which cancels);
    of several strengths, the one that forecasts the validation windows best. Each quantile's bias becomes the quantile of what
    ridge regression leaves of the validation windows, in units of their spread. From there on everything is learnt by
    gradient descent.
    """
    judged = validation.take(np.linspace(0, len(validation) - 1, min(len(validation), 4000)).round().astype(np.int64))
    past, truth = judged.past(), judged.outputs()
    found = []
    for alpha, weights in zip(alphas, ridge_weights(train, targets=network.channels, alphas=alphas), strict=True):
        rest = truth - ridge_forecast(weights, past, targets=network.channels)
        found.append((float(np.square(rest).mean()), alpha, weights, rest))
    _, alpha, weights, rest = min(found, key=lambda each: each[0])
    spread = np.sqrt(past.var(axis=1, keepdims=True) + network.epsilon)
    relative = (rest / spread).swapaxes(0, 1).reshape(network.horizon, -1)
    bias = np.zeros((network.horizon, network.outputs), np.float32)
    if network.quantiles:
        bias[:, 1:] = np.quantile(relative, network.quantiles, axis=1).T
    kernel = np.repeat(weights.astype(np.float32), network.outputs, axis=1)
    begun = list(params)
    for index, (name, _) in enumerate(network.children()):
        if name == "linear":
            begun[index] = {"kernel": kernel, "bias": bias.ravel()}
        elif name == "trend":
            begun[index] = {"kernel": kernel}
    return tuple(begun), alpha


def learn_forecast(
    train: Windows,
    *,
    encoder: SeriesEncoder,
    plan: Recipe,
    validation: Windows,
    season: int,
    naive: np.ndarray,
    refit: bool = True,
    seed: int = 0,
    callbacks: Sequence[Callback] = (),
    checkpoint: str | Path | None = None,
    resume: bool = False,
    display: str = "none",
) -> Learned:
    """Train the recipe's network on windows.

    Args:
        train, validation: windows of the two parts; the weights of the epoch that forecasts the validation part best are kept.
        season, naive: see :class:`Quantiles`.
        refit: see :class:`Forecast`; the second training takes as many epochs as the first one's best.
        seed: decides the initial weights and every random draw.
        callbacks, checkpoint, resume, display: see :func:`danlu.fit`.
    """
    enable_compilation_cache()
    network: Any = plan.model
    drawn, state = initial_weights(network, encoder.in_shape, jax.random.key(seed))
    params, alpha = start(network, drawn, train, validation)
    common: dict[str, Any] = {
        "loss": ForecastLoss(network.quantiles, plan.loss),
        "metrics": [centre_error],
        "resume": resume,
        "batch_size": plan.batch_size,
        "seed": seed,
        "precision": plan.precision,
        "devices": plan.devices,
    }
    monitor = "val_centre_error" if plan.loss == "mse" else "val_loss"
    judged = validation.for_training(seed)
    fitted = fit(
        network,
        train.for_training(seed),
        optimizer=plan.optimizer(len(train)),
        validation=judged,
        callbacks=callbacks,
        initial=(params, state),
        checkpoint=checkpoint,
        epochs=plan.epochs,
        patience=plan.patience,
        monitor=monitor,
        display=display,
        **common,
    )
    begun = dataclasses.replace(fitted, params=params, state=state).evaluate(judged)
    best = min((row[monitor] for row in fitted.history), default=math.inf)
    epochs = 0 if begun[monitor.removeprefix("val_")] <= best else (fitted.best_epoch or 0) + 1
    head = Quantiles(network.quantiles, season, naive, np.ones(encoder.horizon))
    model = Trained(network, fitted.params, fitted.state, encoder, head)
    if not epochs:  # nothing that was learnt from there on is better than the closed form
        model = dataclasses.replace(model, params=params, state=state)
    answers = head(model.outputs(validation.inputs()))
    head = dataclasses.replace(head, widen=widening(answers, validation.outputs(), head.levels))
    model = dataclasses.replace(model, head=head)
    if not refit:
        return Learned(model, fitted)
    both = train.joined(validation)
    begun_again, _ = start(network, drawn, both, validation, (alpha,))
    # What is left of windows not learnt from says how far off a forecast is; of the same windows, learnt from, it would be less.
    params = ({**begun_again[0], "bias": params[0]["bias"]}, *begun_again[1:])
    if epochs:
        again = fit(
            network,
            both.for_training(seed),
            optimizer=plan.optimizer(len(both)),
            initial=(params, state),
            checkpoint=None if checkpoint is None else Path(checkpoint) / "refit",
            epochs=epochs,
            display="none",
            **common,
        )
        params, state = again.params, again.state
    return Learned(dataclasses.replace(model, params=params, state=state), fitted)
