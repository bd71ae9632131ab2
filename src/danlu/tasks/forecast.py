"""Forecasting time series: the settings, the recipe, the training, and a trained model that forecasts."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from danlu.blueprint import Blueprint, setting
from danlu.data.series import SeriesEncoder, Windows
from danlu.engine import Callback, Fitted, enable_compilation_cache, fit, predict_outputs
from danlu.engine.initial import initial_weights
from danlu.errors import ConfigError, DataError
from danlu.evaluate.forecast import ridge_forecast, ridge_weights
from danlu.nn import Forecaster
from danlu.nn.layer import Layer
from danlu.nn.losses import ForecastLoss, centre_error
from danlu.tasks.recipe import Recipe

__all__ = [
    "Forecast",
    "ForecastLearned",
    "ForecastModel",
    "choose_context",
    "forecast_recipe",
    "learn_forecast",
    "start",
    "widening",
]

_BATCH = 256  # of predictions; one size, so that a forecast does not depend on the windows beside it
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
        known: columns whose future is known; :meth:`~danlu.pipeline.Model.predict` needs rows with it.
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
    observed = windows.values[0].shape[1] - windows.known - windows.targets
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


@dataclasses.dataclass(frozen=True, eq=False)
class ForecastModel:
    """A trained forecaster with all that stands between it and the user's rows.

    Attributes:
        network: the blueprint, a :class:`~danlu.nn.Forecaster`.
        params, state: its variables.
        encoder: scales the series.
        season: steps of a season, 1 without one.
        naive: ``(series, targets)``: the seasonal naive error in training, see :func:`~danlu.evaluate.forecast.mase_scale`.
        widen: ``(horizon,)``: what the distance of the quantiles from the middle one is multiplied by, see :func:`widening`.
    """

    network: Layer
    params: Any
    state: Any
    encoder: SeriesEncoder
    season: int
    naive: np.ndarray
    widen: np.ndarray

    @property
    def in_shape(self) -> Any:
        """The shape of one input, what the network's ``init`` takes."""
        return self.encoder.in_shape

    @property
    def levels(self) -> tuple[float, ...]:
        """The quantiles that are forecast."""
        network: Any = self.network
        found: tuple[float, ...] = network.quantiles
        return found

    def forecast(self, windows: Windows, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The forecast ``(windows, horizon, targets)`` and its quantiles ``(…, quantiles)`` in the targets' own units, float64.

        Quantiles that the network crosses are put in order, which never makes them worse.

        Args:
            places: the number of each window's series in the encoder.

        Reference: Chernozhukov, Fernández-Val & Galichon (2010), "Quantile and probability curves without crossing",
        Econometrica 78.
        """
        outputs = predict_outputs(self.network, self.params, self.state, windows.inputs(), batch_size=_BATCH)
        values = self.encoder.inverse(outputs, places)
        bands = np.sort(values[..., 1:], axis=-1)
        if bands.shape[-1]:
            middle = bands[..., [bands.shape[-1] // 2]]
            bands = middle + (bands - middle) * self.widen[:, None, None]
        return values[..., 0], bands


def widening(model: ForecastModel, windows: Windows, places: np.ndarray) -> np.ndarray:
    """By how much the quantiles must be spread for the outer ones to hold their share of windows not learnt from, ``(horizon,)``.

    Quantiles fitted to the training windows are too near each other elsewhere. The score of a value ``y`` is how often its
    distance from the middle quantile ``m`` contains that of the outer one on its side: ``(y − m)/(q_high − m)`` or
    ``(m − y)/(m − q_low)``; of each step's scores the quantile at the nominal share is taken.

    Reference: Romano, Patterson & Candès (2019), "Conformalized quantile regression", arXiv:1905.03222, with a factor instead
    of their distance. Series are not exchangeable over time: the share is only as sure as the future is like the validation part.
    """
    levels = model.levels
    if len(levels) < 2:
        return np.ones(windows.horizon)
    plain = dataclasses.replace(model, widen=np.ones(windows.horizon))
    _, bands = plain.forecast(windows, places)
    truth = model.encoder.inverse(windows.outputs(), places)
    low, middle, high = (bands[..., index] for index in (0, len(levels) // 2, -1))
    room = np.where(truth >= middle, high - middle, middle - low)
    least = 1e-9 * model.encoder.scale[places, : windows.targets][:, None]
    scores = np.abs(truth - middle) / np.maximum(room, least)
    found = np.quantile(scores.swapaxes(0, 1).reshape(windows.horizon, -1), levels[-1] - levels[0], axis=1)
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
    inputs, truth = judged.inputs(), judged.outputs()
    past = (inputs["past"] if isinstance(inputs, Mapping) else inputs)[:, :, : network.channels]
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


@dataclasses.dataclass(frozen=True)
class ForecastLearned:
    """What training gave: the model, and the record of the training."""

    model: ForecastModel
    fitted: Fitted


def learn_forecast(
    train: Windows,
    *,
    encoder: SeriesEncoder,
    plan: Recipe,
    validation: Windows,
    series: Sequence[str],
    season: int,
    naive: np.ndarray,
    refit: bool = True,
    seed: int = 0,
    callbacks: Sequence[Callback] = (),
    checkpoint: str | Path | None = None,
    resume: bool = False,
    display: str = "none",
) -> ForecastLearned:
    """Train the recipe's network on windows.

    Args:
        train, validation: windows of the two parts; the weights of the epoch that forecasts the validation part best are kept.
        series: the name of each series of the windows.
        season, naive: see :class:`ForecastModel`.
        refit: see :class:`Forecast`; the second training takes as many epochs as the first one's best.
        seed: decides the initial weights and every random draw.
        callbacks, checkpoint, resume, display: see :func:`danlu.fit`.
    """
    enable_compilation_cache()
    network: Any = plan.model
    drawn, state = initial_weights(network, train.in_shape, jax.random.key(seed))
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
    model = ForecastModel(network, fitted.params, fitted.state, encoder, season, naive, np.ones(encoder.horizon))
    if not epochs:  # nothing that was learnt from there on is better than the closed form
        model = dataclasses.replace(model, params=params, state=state)
    places = np.array([encoder.place(each) for each in series])
    model = dataclasses.replace(model, widen=widening(model, validation, places[validation.index[:, 0]]))
    if not refit:
        return ForecastLearned(model, fitted)
    both = dataclasses.replace(train, index=np.concatenate([train.index, validation.index]))
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
    return ForecastLearned(dataclasses.replace(model, params=params, state=state), fitted)
