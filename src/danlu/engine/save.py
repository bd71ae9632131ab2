"""A trained model to disk: the blueprint, the variables, what it was measured by and its history; no code."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from danlu.artifact import save_artifact
from danlu.blueprint import Blueprint, to_json
from danlu.engine.measures import Part, TakesWeights, name_of
from danlu.engine.objective import Supervised
from danlu.engine.step import Program
from danlu.errors import ConfigError
from danlu.nn.losses import METRICS

if TYPE_CHECKING:
    from danlu.engine.fitted import Fitted

__all__ = ["KEPT", "KIND", "save_fitted"]

KIND = "fitted"
KEPT = ("batch_size", "of_batch", "measures", "terms")  # of the program: what the means of an evaluation depend on


def _described(measure: Any) -> Any:
    measure = measure.function if isinstance(measure, TakesWeights) else measure
    if isinstance(measure, tuple):
        return {"terms": [[name, _described(each)] for name, each in measure]}
    if isinstance(measure, Part):
        return {"output": measure.name, "measure": _described(measure.measure)}
    known = [name for name, function in METRICS.items() if function is measure]
    if known:
        return {"metric": known[0]}
    return to_json(measure) if isinstance(measure, Blueprint) else {"function": name_of(measure)}


def save_fitted(fitted: Fitted, folder: str | os.PathLike[str]) -> Path:
    """Write what :func:`danlu.fit` returned so that :func:`danlu.load` gives it back.

    Raises:
        ArtifactError: a model of functions, which cannot be written, or a folder that cannot be.
        ConfigError: the record of something else than a network that learnt from rows.
    """
    program: Any = fitted.program
    if not isinstance(program, Program):
        raise ConfigError(
            f"this is the record of a training by {type(program).__name__}; expected what danlu.fit returned",
            hint="of an agent, save it itself: trained.save(folder); of several networks, one: fitted.save(folder)",
        )
    objective: Any = program.objective
    supervised = isinstance(objective, Supervised)
    extra = {
        "in_shape": to_json(fitted.in_shape),
        "loss": _described(objective.loss if supervised else objective),
        "metrics": [[name, _described(metric)] for name, metric in objective.metrics] if supervised else [],
        "weights": {name: float(weight) for name, weight in fitted.weights.items()},
        "program": {name: getattr(program, name) for name in KEPT},
        "history": fitted.history,
        "best_epoch": fitted.best_epoch,
        "stopped_because": fitted.stopped_because,
    }
    variables = jax.tree.map(np.asarray, (fitted.params, fitted.state))
    return save_artifact(
        folder, model=fitted.model, variables=variables, task=KIND, encoder={"kind": KIND}, extra=extra
    )
