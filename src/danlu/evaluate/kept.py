"""The baselines, kept: scikit-learn's fitted models as plain arrays, and their predictions from these in NumPy.

No pickle and no code: a linear model is its coefficients, gradient boosting its trees. The predictions are those of scikit-learn.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from danlu.errors import ArtifactError

__all__ = ["Kept", "kept_bytes", "kept_from", "kept_of", "stacked"]

Arrays = Mapping[str, np.ndarray]


def stacked(inputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """Encoded rows as one matrix, ``(rows, columns)``."""
    return np.concatenate(
        [np.asarray(inputs[k], np.float32) for k in ("numeric", "categorical", "text") if k in inputs], 1
    )


@dataclasses.dataclass(frozen=True, eq=False)
class Kept:
    """A fitted simple model.

    Attributes:
        name: what the user calls it: ``"logistic"``, ``"ridge"``, ``"boosting"``, ``"commonest"``.
        label: what it is, in words.
        kind: ``"constant"``, ``"linear"`` or ``"trees"``.
        classes: columns of a prediction; 0 for a quantity.
        arrays: what was fitted.
    """

    name: str
    label: str
    kind: str
    classes: int
    arrays: Arrays

    def predict(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """Probabilities ``(rows, classes)``, or standardised values ``(rows,)``, for encoded rows.

        Raises:
            ArtifactError: the arrays do not fit each other or the rows.
        """
        try:
            return self._predict(stacked(inputs))
        except (ArithmeticError, IndexError, KeyError, TypeError, ValueError) as error:
            raise ArtifactError(
                f"the kept {self.label} does not fit the model's rows: {error}",
                hint="the artifact was damaged or changed; copy the whole folder again, or train again",
            ) from error

    def _predict(self, x: np.ndarray) -> np.ndarray:
        raw = {"constant": _constant, "linear": _linear, "trees": _trees}[self.kind](self.arrays, x)
        if not self.classes:
            return raw[:, 0]
        known = raw if self.kind == "constant" else _probabilities(raw)
        found = np.zeros((len(x), self.classes))
        found[:, self.arrays["classes"]] = known
        return found

    def outputs(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """The prediction as a network would give it: ``ln p`` of each class, or standardised values ``(rows, 1)``."""
        found = self.predict(inputs)
        with np.errstate(divide="ignore"):
            return np.log(found) if self.classes else found[:, None]


def kept_of(name: str, label: str, model: Any, classes: int) -> Kept | None:
    """A fitted scikit-learn model as arrays; None for an unknown model."""
    last = model.steps[-1][1] if hasattr(model, "steps") else model
    own: dict[str, np.ndarray] = {}
    if hasattr(last, "classes_"):
        own["classes"] = np.asarray(last.classes_, np.int64)
    kind = type(last).__name__
    if kind in ("DummyClassifier", "DummyRegressor"):
        own["value"] = np.atleast_1d(
            np.asarray(getattr(last, "class_prior_", getattr(last, "constant_", 0.0)), float).ravel()
        )
        return Kept(name, label, "constant", classes, own)
    if kind in ("LogisticRegression", "Ridge"):
        own |= {
            "slope": np.atleast_2d(last.coef_).astype(float),
            "offset": np.atleast_1d(last.intercept_).astype(float),
        }
        if last is not model:
            encoder = model.steps[0][1]
            ((_, onehot, columns),) = [each for each in encoder.transformers_ if each[0] == "onehotencoder"]
            own["columns"] = np.asarray(columns, np.int64)
            own["levels"] = np.concatenate([np.asarray(each, float) for each in onehot.categories_])
            own["counts"] = np.array([len(each) for each in onehot.categories_], np.int64)
        return Kept(
            name if name != "linear" else {"Ridge": "ridge"}.get(kind, "logistic"), label, "linear", classes, own
        )
    if kind.startswith("HistGradientBoosting"):
        return Kept(name, label, "trees", classes, own | _forest(last))
    return None


def _constant(arrays: Arrays, x: np.ndarray) -> np.ndarray:
    return np.tile(arrays["value"], (len(x), 1))


def _linear(arrays: Arrays, x: np.ndarray) -> np.ndarray:
    slope, offset = arrays["slope"], arrays["offset"]
    columns = arrays.get("columns", np.zeros(0, np.int64))
    raw, first = np.tile(offset, (len(x), 1)), 0
    for column, count in zip(columns, arrays.get("counts", columns), strict=True):
        levels = arrays["levels"][first : first + count]
        place = np.minimum(np.searchsorted(levels, x[:, column]), count - 1)
        known = levels[place] == x[:, column]
        raw += slope[:, first + place].T * known[:, None]
        first += count
    rest = np.setdiff1d(np.arange(x.shape[1]), columns)
    return np.asarray(raw + x[:, rest].astype(float) @ slope[:, first:].T)


def _probabilities(raw: np.ndarray) -> np.ndarray:
    if raw.shape[1] == 1:
        raw = np.concatenate([np.zeros_like(raw), raw], axis=1)
    raw = np.exp(raw - raw.max(axis=1, keepdims=True))
    return np.asarray(raw / raw.sum(axis=1, keepdims=True))


def _forest(model: Any) -> dict[str, np.ndarray]:
    """The trees of scikit-learn's gradient boosting, one after the other."""
    trees = [tree for iteration in model._predictors for tree in iteration]
    sizes = [len(tree.nodes) for tree in trees]
    first = np.cumsum([0, *sizes])
    nodes = np.concatenate([tree.nodes for tree in trees])
    shift = np.repeat(first[:-1], sizes)
    bits = np.cumsum([0, *(len(tree.raw_left_cat_bitsets) for tree in trees)])
    found = {
        "roots": first[:-1].astype(np.int64),
        "feature": nodes["feature_idx"].astype(np.int32),
        "threshold": nodes["num_threshold"].astype(np.float64),
        "left": (nodes["left"] + shift).astype(np.int64),
        "right": (nodes["right"] + shift).astype(np.int64),
        "value": nodes["value"].astype(np.float64),
        "leaf": nodes["is_leaf"].astype(np.uint8),
        "missing_left": nodes["missing_go_to_left"].astype(np.uint8),
        "set": np.where(nodes["is_categorical"] > 0, nodes["bitset_idx"] + np.repeat(bits[:-1], sizes), -1).astype(
            np.int64
        ),
        "sets": np.concatenate([tree.raw_left_cat_bitsets.reshape(-1, 8) for tree in trees]).astype(np.uint32),
        "start": np.asarray(model._baseline_prediction, float).ravel(),
    }
    categorical = model.is_categorical_
    if categorical is not None and categorical.any():
        encoder = model._preprocessor.named_transformers_["encoder"]
        found["columns"] = np.flatnonzero(categorical).astype(np.int64)  # they stand first in what the trees see
        found["levels"] = np.concatenate([np.asarray(each, float) for each in encoder.categories_])
        found["counts"] = np.array([len(each) for each in encoder.categories_], np.int64)
    return found


def _trees(arrays: Arrays, x: np.ndarray) -> np.ndarray:
    columns, first = arrays.get("columns", np.zeros(0, np.int64)), 0
    coded = []
    for column, count in zip(columns, arrays.get("counts", columns), strict=True):
        levels = arrays["levels"][first : first + count]
        place = np.minimum(np.searchsorted(levels, x[:, column]), count - 1)
        coded.append(np.where(levels[place] == x[:, column], place, np.nan))
        first += count
    rest = np.setdiff1d(np.arange(x.shape[1]), columns)
    seen = np.column_stack([*coded, x[:, rest].astype(np.float64)])
    outputs, start = len(arrays["start"]), arrays["start"]
    raw = np.tile(start, (len(x), 1))
    rows = np.arange(len(x))
    for number, root in enumerate(arrays["roots"]):
        node = np.full(len(x), root)
        while not (leaf := arrays["leaf"][node].astype(bool)).all():
            value = seen[rows, arrays["feature"][node]]
            left = value <= arrays["threshold"][node]
            which = arrays["set"][node]
            if (which >= 0).any():
                code = np.nan_to_num(value).astype(np.int64).clip(0, 255)
                inside = arrays["sets"][np.maximum(which, 0), code // 32] >> (code % 32).astype(np.uint32) & np.uint32(
                    1
                )
                left = np.where(which >= 0, inside.astype(bool), left)
            left = np.where(np.isnan(value), arrays["missing_left"][node].astype(bool), left)
            node = np.where(leaf, node, np.where(left, arrays["left"][node], arrays["right"][node]))
        raw[:, number % outputs] += arrays["value"][node]
    return raw


def _check_trees(arrays: Arrays) -> None:
    """Refuse trees that would never end: a node's children come after it, and are there."""
    nodes = np.arange(len(arrays["leaf"]))
    for side in ("left", "right"):
        child = arrays[side]
        if not ((child > nodes) & (child < len(nodes)) | (arrays["leaf"] > 0)).all():
            raise ValueError("a tree has a cycle")


def kept_bytes(models: Mapping[str, Kept]) -> bytes:
    """The file of an artifact that holds models."""
    from safetensors.numpy import save

    told = {name: {"label": each.label, "kind": each.kind, "classes": each.classes} for name, each in models.items()}
    arrays = {
        f"{name}/{key}": np.ascontiguousarray(a) for name, each in models.items() for key, a in each.arrays.items()
    }
    return save(arrays, metadata={"models": json.dumps(told)})


def kept_from(data: bytes) -> dict[str, Kept]:
    """The models that :func:`kept_bytes` wrote.

    Raises:
        ArtifactError: the file is damaged.
    """
    from safetensors.numpy import load

    try:
        size = int.from_bytes(data[:8], "little")
        told = json.loads(json.loads(data[8 : 8 + size])["__metadata__"]["models"])
        arrays = load(data)
        found = {
            name: Kept(
                name,
                str(each["label"]),
                str(each["kind"]),
                int(each["classes"]),
                {key.split("/", 1)[1]: value for key, value in arrays.items() if key.startswith(f"{name}/")},
            )
            for name, each in told.items()
        }
        for each in found.values():
            if each.kind == "trees":
                _check_trees(each.arrays)
        return found
    except Exception as error:
        raise ArtifactError(f"the kept baselines are damaged: {error}") from error
