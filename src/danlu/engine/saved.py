"""A trained model back from disk: what :mod:`danlu.engine.save` wrote."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax

from danlu.artifact import Artifact
from danlu.blueprint import from_json
from danlu.engine.fitted import Fitted
from danlu.engine.measures import Part, measure_of
from danlu.engine.objective import Objective, Supervised
from danlu.engine.save import KEPT, KIND
from danlu.engine.step import Program
from danlu.errors import ArtifactError, ConfigError, DanluError
from danlu.nn.layer import Layer
from danlu.nn.losses import METRICS

__all__ = ["KIND", "fitted_from"]


@dataclasses.dataclass(frozen=True)
class _Function:
    """A loss or metric that was a function: its name, which is all that a file holds of it."""

    name: str

    def __call__(self, outputs: Any, targets: Any) -> jax.Array:
        raise ConfigError(
            f"the model was measured by {self.name}, a function, and a saved model holds no code",
            hint="its predict works; a subclass of danlu.nn.losses.Loss is saved and found again by its name",
        )


def _measure(described: Mapping[str, Any]) -> Any:
    if "terms" in described:
        return tuple((str(name), _measure(each)) for name, each in described["terms"])
    if "output" in described:
        return Part.of(str(described["output"]), _measure(described["measure"]))
    if "metric" in described:
        return METRICS[described["metric"]]
    if "function" in described:
        return _Function(str(described["function"])[:200])
    try:
        found = from_json(described)
    except ArtifactError:  # of a class of the user's that is not imported: it still predicts
        return _Function(str(described.get("blueprint"))[:200])
    return found if isinstance(found, Objective) else measure_of(found, "loss")


def fitted_from(artifact: Artifact) -> Fitted:
    """The inverse of :func:`~danlu.engine.save.save_fitted`: it predicts and evaluates to the same bits; its ``train_state`` is None.

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
        kept = {name: from_json(given[name]) for name in KEPT}
        loss = _measure(said["loss"])
        objective = loss if isinstance(loss, Objective) else Supervised(artifact.model, loss, metrics)
        program = Program(artifact.model, objective, _trained, **kept)
        weights = {str(name): float(weight) for name, weight in said.get("weights", {}).items()}
        in_shape, history = from_json(said["in_shape"]), [dict(row) for row in said["history"]]
        best_epoch, because = said["best_epoch"], said["stopped_because"]
    except (DanluError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise ArtifactError(f"the saved model is damaged: {type(error).__name__}: {str(error)[:200]}") from error
    if not isinstance(artifact.model, Layer):
        raise ArtifactError(f"the saved model is a {type(artifact.model).__name__}; expected a layer")
    state: Any = None  # the optimizer's and the rest are not saved
    return Fitted(
        program,
        artifact.params,
        artifact.state,
        history,
        state,
        best_epoch,
        because,
        in_shape=in_shape,
        loaded_weights=weights,
    )


def _trained(*_: Any) -> Any:
    """The update of a model that was loaded, which has no optimizer."""
    raise ConfigError("a loaded model has no optimizer; train on with danlu.fit(model, …, initial=(params, state))")
