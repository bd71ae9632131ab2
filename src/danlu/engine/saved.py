"""A trained model on disk and back: the blueprint, the variables, what it was measured by and its history; no code."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from danlu.artifact import Artifact, save_artifact
from danlu.blueprint import Blueprint, from_json, to_json
from danlu.engine.fitted import Fitted
from danlu.engine.measures import TakesWeights, name_of
from danlu.engine.step import Program
from danlu.errors import ArtifactError, ConfigError, DanluError
from danlu.nn.layer import Layer
from danlu.nn.losses import METRICS

__all__ = ["KIND", "fitted_from", "save_fitted"]

KIND = "fitted"
_KEPT = ("batch_size", "of_batch")  # of the program: what the means of an evaluation depend on


@dataclasses.dataclass(frozen=True)
class _Function:
    """A loss or metric that was a function: its name, which is all that a file holds of it."""

    name: str

    def __call__(self, outputs: Any, targets: Any) -> jax.Array:
        raise ConfigError(
            f"the model was measured by {self.name}, a function, and a saved model holds no code",
            hint="its predict works; a subclass of danlu.nn.losses.Loss is saved and found again by its name",
        )


def _described(measure: Any) -> Any:
    measure = measure.function if isinstance(measure, TakesWeights) else measure
    known = [name for name, function in METRICS.items() if function is measure]
    if known:
        return {"metric": known[0]}
    return to_json(measure) if isinstance(measure, Blueprint) else {"function": name_of(measure)}


def _measure(described: Mapping[str, Any]) -> Any:
    if "metric" in described:
        return METRICS[described["metric"]]
    if "function" in described:
        return _Function(str(described["function"])[:200])
    try:
        return from_json(described)
    except ArtifactError:  # of a class of the user's that is not imported: it still predicts
        return _Function(str(described.get("blueprint"))[:200])


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
            hint="save the trained agent itself: trained.save(folder)",
        )
    extra = {
        "in_shape": to_json(fitted.in_shape),
        "loss": _described(program.loss),
        "metrics": [[name, _described(metric)] for name, metric in program.metrics if metric is not None],
        "program": {name: getattr(program, name) for name in _KEPT},
        "history": fitted.history,
        "best_epoch": fitted.best_epoch,
        "stopped_because": fitted.stopped_because,
    }
    variables = jax.tree.map(np.asarray, (fitted.params, fitted.state))
    return save_artifact(
        folder, model=fitted.model, variables=variables, task=KIND, encoder={"kind": KIND}, extra=extra
    )


def fitted_from(artifact: Artifact) -> Fitted:
    """The inverse of :func:`save_fitted`: it predicts and evaluates to the same bits; its ``train_state`` is None.

    Raises:
        ArtifactError: the document is damaged.
    """
    said = artifact.extra
    try:
        metrics = tuple((str(name), _measure(described)) for name, described in said["metrics"])
        kept = {name: from_json(said["program"][name]) for name in _KEPT}
        program = Program(artifact.model, _measure(said["loss"]), _trained, metrics, **kept)
        in_shape, history = from_json(said["in_shape"]), [dict(row) for row in said["history"]]
        best_epoch, because = said["best_epoch"], said["stopped_because"]
    except (DanluError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise ArtifactError(f"the saved model is damaged: {type(error).__name__}: {str(error)[:200]}") from error
    if not isinstance(artifact.model, Layer):
        raise ArtifactError(f"the saved model is a {type(artifact.model).__name__}; expected a layer")
    state: Any = None  # the optimizer's and the rest are not saved
    return Fitted(program, artifact.params, artifact.state, history, state, best_epoch, because, in_shape=in_shape)


def _trained(*_: Any) -> Any:
    """The update of a model that was loaded, which has no optimizer."""
    raise ConfigError("a loaded model has no optimizer; train on with danlu.fit(model, …, initial=(params, state))")
