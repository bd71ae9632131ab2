"""Forecasting time series: the settings, the recipe and the training."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from danlu.blueprint import Blueprint, setting
from danlu.data.series import SeriesEncoder, Windows
from danlu.engine import Callback, enable_compilation_cache
from danlu.engine.initial import initial_weights
from danlu.errors import ConfigError, DataError
from danlu.evaluate.forecast import ridge_forecast, ridge_weights
from danlu.nn import Forecaster
from danlu.nn.losses import ForecastLoss, centre_error
from danlu.tasks.quantiles import Quantiles, widening
from danlu.tasks.recipe import Recipe, epochs_of
from danlu.trained import Learned, Trained

__all__ = ["Forecast", "choose_context", "forecast_recipe", "learn_forecast", "start"]

_SEASONS = 21  # of context: three weeks of hours
_CONTEXT = (8, 512)
_ALPHAS = (0.01, 1.0, 100.0, 10_000.0)  # strengths of ridge regression
_STEPS = 1000  # updates of a training, about
_EPOCHS = (4, 60)


class Forecast(Blueprint):
    """What is forecast, and from which inputs; naming ``columns`` makes ``danlu train`` forecast.

    Args:
        columns: to be forecast; ``("all",)`` are all columns of numbers that are nothing else.
        horizon: steps to forecast.
        context: steps that a forecast is made from; None takes 21 seasons, at least the horizon, at most 512, and no more than
            the training part can spare.
        time: the column with the moments; None finds it.
        series: the column that names the series a row belongs to, where there are several.
        known: columns whose future is known; :meth:`Trained.predict <danlu.trained.Trained.predict>` needs rows with it.
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
            hint="forecast fewer steps, or give more rows",
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
    if changes.get("loss", "mse") not in ("mse", "mae"):
        raise ConfigError(f"trainer.loss is {changes['loss']!r}; a forecast is trained by mse or mae")
    observed = len(windows.table.columns.observed)
    model = Forecaster(windows.horizon, windows.targets, observed=observed, known=windows.known, **(network or {}))
    batch_size = int(changes.get("batch_size", 32 if len(windows) >= 1024 else max(1, min(16, len(windows) // 4))))
    epochs = epochs_of(_STEPS, max(len(windows), 1), batch_size)
    fields: dict[str, Any] = {
        "model": model,
        "loss": "mse",
        "batch_size": batch_size,
        "epochs": max(_EPOCHS[0], min(epochs, _EPOCHS[1])),
        "patience": max(3, min(epochs, _EPOCHS[1]) // 4),
        "learning_rate": 1e-3,
        "weight_decay": 0.01,
    }
    return Recipe.changed("forecast_recipe", fields, changes)


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
        season, naive: see :class:`~danlu.tasks.Quantiles`.
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
        "seed": seed,
    }
    monitor = "val_centre_error" if plan.loss == "mse" else "val_loss"
    judged = validation.for_training(seed)
    fitted = plan.fit(
        train.for_training(seed),
        rows=len(train),
        validation=judged,
        callbacks=callbacks,
        initial=(params, state),
        checkpoint=checkpoint,
        monitor=monitor,
        display=display,
        **common,
    )
    epochs = (fitted.best_epoch or 0) + 1
    if plan.anew:
        begun = dataclasses.replace(fitted, params=params, state=state).evaluate(judged)
        best = min((row[monitor] for row in fitted.history), default=math.inf)
        epochs = 0 if begun[monitor.removeprefix("val_")] <= best else epochs
    head = Quantiles(network.quantiles, season, naive, np.ones(encoder.horizon))
    model = Trained(fitted.model, fitted.params, fitted.state, encoder, head)
    if not epochs:  # nothing that was learnt from there on is better than the closed form
        model = dataclasses.replace(model, params=params, state=state)
    answers = head(model.outputs(validation.inputs()))
    kept = widening(answers, validation.outputs(), head.levels, validation.moments)
    since = int(validation.moments.max()) + encoder.horizon
    head = dataclasses.replace(head, **kept._asdict(), since=since)
    model = dataclasses.replace(model, head=head)
    if not refit:
        return Learned(model, fitted)
    both = train.joined(validation)
    begun_again, _ = start(network, drawn, both, validation, (alpha,))
    # What is left of windows not learnt from says how far off a forecast is; of the same windows, learnt from, it would be less.
    params = ({**begun_again[0], "bias": params[0]["bias"]}, *begun_again[1:])
    if epochs:
        again = plan.fit(
            both.for_training(seed),
            rows=len(both),
            initial=(params, state),
            checkpoint=None if checkpoint is None else Path(checkpoint) / "refit",
            epochs=epochs,
            display="none",
            **common,
            **plan.refitted(epochs),
        )
        params, state = again.params, again.state
    return Learned(dataclasses.replace(model, params=params, state=state), fitted)
