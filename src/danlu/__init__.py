"""danlu: model training without the alchemy.

The names below are loaded when first used: ``import danlu`` itself loads only the errors and the language that they are said in.
"""

from __future__ import annotations

import importlib
from typing import Any

import danlu.language  # noqa: F401  (errors are said in the reader's language)

__version__ = "0.1.0"

_HOMES = {
    "Callback": "danlu.engine",
    "CSVLogger": "danlu.engine",
    "Classifier": "danlu.estimators",
    "Regressor": "danlu.estimators",
    "EarlyStopping": "danlu.engine",
    "Film": "danlu.film",
    "FitOptions": "danlu.engine",
    "Fitted": "danlu.engine",
    "GradualUnfreezing": "danlu.engine",
    "LambdaCallback": "danlu.engine",
    "LearningRateScheduler": "danlu.engine",
    "ModelCheckpoint": "danlu.engine",
    "ReduceLROnPlateau": "danlu.engine",
    "audit": "danlu.pipeline",
    "card": "danlu.pipeline",
    "compare_runs": "danlu.pipeline",
    "compress": "danlu.compression",
    "cross_validate": "danlu.pipeline",
    "diagnose": "danlu.pipeline",
    "fit": "danlu.engine",
    "fit_folds": "danlu.engine",
    "fit_population": "danlu.engine",
    "load": "danlu.pipeline",
    "log_to_mlflow": "danlu.pipeline",
    "replay": "danlu.film",
    "train": "danlu.pipeline",
    "tune": "danlu.tuning",
    "verify": "danlu.verify",
    "xray": "danlu.film",
}
_ROOMS = (
    "artifact",
    "auditing",
    "compression",
    "data",
    "engine",
    "errors",
    "estimators",
    "evaluate",
    "explain",
    "export",
    "film",
    "nn",
    "optim",
    "pipeline",
    "report",
    "rl",
    "tasks",
    "tuning",
    "weights",
)

__all__ = [
    "CSVLogger",
    "Callback",
    "Classifier",
    "EarlyStopping",
    "Film",
    "FitOptions",
    "Fitted",
    "GradualUnfreezing",
    "LambdaCallback",
    "LearningRateScheduler",
    "ModelCheckpoint",
    "ReduceLROnPlateau",
    "Regressor",
    "__version__",
    "artifact",
    "audit",
    "auditing",
    "card",
    "compare_runs",
    "compress",
    "compression",
    "cross_validate",
    "data",
    "diagnose",
    "engine",
    "errors",
    "estimators",
    "evaluate",
    "explain",
    "export",
    "film",
    "fit",
    "fit_folds",
    "fit_population",
    "load",
    "log_to_mlflow",
    "nn",
    "optim",
    "pipeline",
    "replay",
    "report",
    "rl",
    "tasks",
    "train",
    "tune",
    "tuning",
    "verify",
    "weights",
    "xray",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:  # kept, since the import itself has set danlu.verify to the module
        globals()[name] = getattr(importlib.import_module(_HOMES[name]), name)
        return globals()[name]
    if name in _ROOMS:
        return importlib.import_module(f"danlu.{name}")
    close = [each for each in __all__ if each.lower() == name.lower()]
    raise AttributeError(f"module 'danlu' has no attribute {name!r}" + (f"; did you mean {close[0]}?" if close else ""))


def __dir__() -> list[str]:
    return __all__
