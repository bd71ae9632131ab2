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
from danlu.engine.measures import Part, TakesWeights, measure_of, name_of
from danlu.engine.objective import Objective, Supervised
from danlu.engine.step import Program
from danlu.errors import ArtifactError, ConfigError, DanluError
from danlu.nn.layer import Layer
from danlu.nn.losses import METRICS

__all__ = ["KIND", "read", "write"]

KIND = "fitted"
_KEPT = ("batch_size", "of_batch", "measures", "terms")  # of the program: what the means of an evaluation depend on


@dataclasses.dataclass(frozen=True)
class _Unknown:
    """A loss or metric that a file cannot give back: why, for who wants to evaluate."""

    why: str
    hint: str | None

    def __call__(self, outputs: Any, targets: Any) -> jax.Array:
        raise ConfigError(self.why, hint=self.hint)


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


def _measure(described: Mapping[str, Any]) -> Any:
    if "terms" in described:
        return tuple((str(name), _measure(each)) for name, each in described["terms"])
    if "output" in described:
        return Part.of(str(described["output"]), _measure(described["measure"]))
    if "metric" in described:
        return METRICS[described["metric"]]
    if "function" in described:
        return _Unknown(
            f"the model was measured by {str(described['function'])[:200]}, a function, and a saved model holds no code",
            "its predict works; a subclass of danlu.nn.losses.Loss is saved and found again by its name",
        )
    try:
        found = from_json(described)
    except ArtifactError as error:  # such as a class of the user's that is not imported: it still predicts
        return _Unknown(f"the model predicts, and cannot be evaluated: {error.message}", error.hint)
    return found if isinstance(found, Objective) else measure_of(found, "loss")


def write(
    folder: str | os.PathLike[str], program: Any, variables: Any, weights: Mapping[str, Any], facts: Mapping[str, Any]
) -> Path:
    """Write the model of a program so that :func:`danlu.load` gives it back.

    Args:
        variables: ``(params, state)``.
        weights: of the objective's terms and penalties.
        facts: of the training, plain data: the fields of a :class:`~danlu.engine.fitted.Fitted` by name.

    Raises:
        ArtifactError: a model of functions, which cannot be written, or a folder that cannot be.
        ConfigError: the record of something else than a network that learnt from rows.
    """
    if not isinstance(program, Program):
        raise ConfigError(
            f"this is the record of a training by {type(program).__name__}; expected what danlu.fit returned",
            hint="of an agent, save it itself: trained.save(folder); of several networks, one: fitted.save(folder)",
        )
    objective: Any = program.objective
    supervised = isinstance(objective, Supervised)
    extra = {
        **facts,
        "loss": _described(objective.loss if supervised else objective),
        "metrics": [[name, _described(metric)] for name, metric in objective.metrics] if supervised else [],
        "weights": {name: float(weight) for name, weight in weights.items()},
        "program": {name: getattr(program, name) for name in _KEPT},
    }
    variables = jax.tree.map(np.asarray, variables)
    return save_artifact(
        folder, model=program.model, variables=variables, task=KIND, encoder={"kind": KIND}, extra=extra
    )


def read(artifact: Artifact) -> dict[str, Any]:
    """What :func:`write` wrote: the fields of a :class:`~danlu.engine.fitted.Fitted`; its ``train_state`` is None.

    Raises:
        ArtifactError: the document is damaged.
    """
    said = artifact.extra
    try:
        metrics = tuple((str(name), _measure(described)) for name, described in said["metrics"])
        given = {
            "measures": [name for name, _ in metrics],
            "terms": [],
            **said["program"],
        }  # the first saved models lack these
        kept = {name: from_json(given[name]) for name in _KEPT}
        loss = _measure(said["loss"])
        objective = loss if isinstance(loss, Objective) else Supervised(artifact.model, loss, metrics)
        found = {
            "program": Program(artifact.model, objective, _trained, **kept),
            "loaded_weights": {str(name): float(weight) for name, weight in said.get("weights", {}).items()},
            "in_shape": from_json(said["in_shape"]),
            "history": [dict(row) for row in said["history"]],
            "best_epoch": said["best_epoch"],
            "stopped_because": said["stopped_because"],
        }
    except (DanluError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise ArtifactError(f"the saved model is damaged: {type(error).__name__}: {str(error)[:200]}") from error
    if not isinstance(artifact.model, Layer):
        raise ArtifactError(f"the saved model is a {type(artifact.model).__name__}; expected a layer")
    return {**found, "params": artifact.params, "state": artifact.state, "train_state": None}


def _trained(*_: Any) -> Any:
    """The update of a model that was loaded, which has no optimizer."""
    raise ConfigError("a loaded model has no optimizer; train on with danlu.fit(model, …, initial=(params, state))")
