"""Forecasting time series: the settings, the recipe, the training, and a trained model that forecasts."""

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
from danlu.engine import Callback, Fitted, enable_compilation_cache, fit, predict_outputs
from danlu.engine.initial import initial_weights
from danlu.errors import ConfigError, DataError
from danlu.nn import Forecaster
from danlu.nn.layer import Layer
from danlu.nn.losses import ForecastLoss, centre_error
from danlu.tasks.recipe import Recipe

__all__ = ["Forecast", "ForecastLearned", "ForecastModel", "choose_context", "forecast_recipe", "learn_forecast"]

_BATCH = 256  # of predictions; one size, so that a forecast does not depend on the windows beside it
_SEASONS = 21  # of context: three weeks of hours
_CONTEXT = (8, 512)
_STEPS = 2000  # updates of a training, about
_EPOCHS = (4, 100)


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
    """

    columns: tuple[str, ...] = ()
    horizon: int = setting(default=24, minimum=1, integer=True)
    context: int | None = setting(default=None, minimum=2, integer=True, optional=True)
    time: str | None = None
    series: str | None = None
    known: tuple[str, ...] = ()
    observed: tuple[str, ...] = ()
    season: int | None = setting(default=None, minimum=1, integer=True, optional=True)

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
    """The default recipe for training windows: a linear map in each window's own scale, about 2,000 updates.

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
    """

    network: Layer
    params: Any
    state: Any
    encoder: SeriesEncoder
    season: int
    naive: np.ndarray

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
        return values[..., 0], np.sort(values[..., 1:], axis=-1)


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
    season: int,
    naive: np.ndarray,
    seed: int = 0,
    callbacks: Sequence[Callback] = (),
    checkpoint: str | Path | None = None,
    resume: bool = False,
    display: str = "none",
) -> ForecastLearned:
    """Train the recipe's network on windows.

    Args:
        train, validation: windows of the two parts; the weights of the epoch that forecasts the validation part best are kept.
        season, naive: see :class:`ForecastModel`.
        seed: decides the initial weights and every random draw.
        callbacks, checkpoint, resume, display: see :func:`danlu.fit`.
    """
    enable_compilation_cache()
    network: Any = plan.model
    fitted = fit(
        network,
        train.for_training(seed),
        loss=ForecastLoss(network.quantiles, plan.loss),
        optimizer=plan.optimizer(len(train)),
        validation=validation.for_training(seed),
        metrics=[centre_error],
        callbacks=callbacks,
        initial=initial_weights(network, train.in_shape, jax.random.key(seed)),
        checkpoint=checkpoint,
        resume=resume,
        epochs=plan.epochs,
        batch_size=plan.batch_size,
        patience=plan.patience,
        monitor="val_centre_error" if plan.loss == "mse" else "val_loss",
        seed=seed,
        display=display,
    )
    model = ForecastModel(network, fitted.params, fitted.state, encoder, season, naive)
    return ForecastLearned(model, fitted)
