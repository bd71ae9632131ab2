"""danlu: model training without the alchemy.

The names below are loaded when first used, so that ``import danlu`` costs little more than ``import jax``.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "Callback": "danlu.engine",
    "CSVLogger": "danlu.engine",
    "Classifier": "danlu.estimators",
    "Regressor": "danlu.estimators",
    "EarlyStopping": "danlu.engine",
    "FitOptions": "danlu.engine",
    "Fitted": "danlu.engine",
    "GradualUnfreezing": "danlu.engine",
    "LambdaCallback": "danlu.engine",
    "LearningRateScheduler": "danlu.engine",
    "ModelCheckpoint": "danlu.engine",
    "ReduceLROnPlateau": "danlu.engine",
    "cross_validate": "danlu.engine",
    "fit": "danlu.engine",
    "fit_population": "danlu.engine",
    "load": "danlu.pipeline",
    "train": "danlu.pipeline",
    "verify": "danlu.verify",
}
_ROOMS = ("data", "engine", "errors", "nn", "optim", "weights")

__all__ = [
    "CSVLogger",
    "Callback",
    "Classifier",
    "EarlyStopping",
    "FitOptions",
    "Fitted",
    "GradualUnfreezing",
    "LambdaCallback",
    "LearningRateScheduler",
    "ModelCheckpoint",
    "ReduceLROnPlateau",
    "Regressor",
    "__version__",
    "cross_validate",
    "data",
    "engine",
    "errors",
    "fit",
    "fit_population",
    "load",
    "nn",
    "optim",
    "train",
    "verify",
    "weights",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name in _ROOMS:
        return importlib.import_module(f"danlu.{name}")
    raise AttributeError(f"module 'danlu' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
