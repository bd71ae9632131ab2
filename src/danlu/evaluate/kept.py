"""The baselines, kept: scikit-learn's fitted models as plain arrays, and as networks of danlu's.

No pickle and no code: a linear model is its coefficients, gradient boosting its trees. The predictions are those of scikit-learn, in
single precision.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from danlu.errors import ArtifactError, DanluError
from danlu.nn.forest import CODES, Forest
from danlu.nn.layer import Layer
from danlu.nn.table_linear import TableLinear

__all__ = ["Kept", "kept_bytes", "kept_from", "kept_of", "network_of", "stacked"]

_BATCH = 512

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
        shapes = {name: np.shape(part)[1:] for name, part in inputs.items()}
        layer, params, state = network_of([self], shapes)
        rows = len(next(iter(inputs.values())))
        raw = np.zeros((rows, self.classes or 1))
        for low in range(0, rows, _BATCH):
            piece = {name: np.asarray(part[low : low + _BATCH]) for name, part in inputs.items()}
            count = min(_BATCH, rows - low)
            padded = {name: np.resize(part, (_BATCH, *part.shape[1:])) for name, part in piece.items()}
            raw[low : low + count] = np.asarray(_forward(layer, params, state, padded))[:count, 0]
        if not self.classes:
            return raw[:, 0]
        raw = np.exp(raw - raw.max(axis=1, keepdims=True))
        return np.asarray(raw / raw.sum(axis=1, keepdims=True))

    def outputs(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """The prediction as a network would give it: ``ln p`` of each class, or standardised values ``(rows, 1)``."""
        found = self.predict(inputs)
        with np.errstate(divide="ignore"):
            return np.log(found) if self.classes else found[:, None]


@functools.partial(jax.jit, static_argnums=0)
def _forward(layer: Layer, params: Any, state: Any, inputs: Any) -> jax.Array:
    return layer.apply(params, state, inputs)[0]


def kept_of(name: str, label: str, model: Any, classes: int, *, rounds: int | None = None) -> Kept | None:
    """A fitted scikit-learn model as arrays; None for an unknown model.

    Args:
        rounds: how many rounds of gradient boosting are kept; None is all.
    """
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
        return Kept(name, label, "trees", classes, own | _forest(last, rounds))
    return None


def _forest(model: Any, rounds: int | None) -> dict[str, np.ndarray]:
    """The trees of scikit-learn's gradient boosting, one after the other."""
    trees = [tree for iteration in model._predictors[:rounds] for tree in iteration]
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


def network_of(models: Sequence[Kept], shapes: Mapping[str, tuple[int, ...]]) -> tuple[Layer, Any, Any]:
    """The network ``(layer, params, state)`` whose members are these models, of one kind and of the same classes.

    Args:
        shapes: of one encoded row.

    Raises:
        ArtifactError: the arrays do not fit each other or such rows.
    """
    first = models[0]
    make = _grown if first.kind == "trees" else _lines
    try:
        layer, params, state = make(models, shapes)
        layer.out_shape(shapes)
        return layer, params, state
    except (ArithmeticError, DanluError, IndexError, KeyError, TypeError, ValueError) as error:
        raise ArtifactError(
            f"the kept {first.label} does not fit the model's rows: {error}",
            hint="the artifact was damaged or changed; copy the whole folder again, or train again",
        ) from error


_NEVER = -1e9  # the logit of a class that a model has not met


def _units(model: Kept, outputs: int) -> list[int]:
    """The unit of each of a model's raw outputs; of two classes only the second has one."""
    if not model.classes:
        return [0]
    known = [int(code) for code in model.arrays["classes"]]
    return known[1:] if outputs == 1 and len(known) == 2 else known


def _begun(models: Sequence[Kept]) -> np.ndarray:
    """Outputs ``(members, units)`` before anything is added: 0, and never for a class that was not met."""
    start = np.zeros((len(models), models[0].classes or 1), np.float32)
    for own, model in zip(start, models, strict=True):
        if model.classes:
            own[np.setdiff1d(np.arange(model.classes), model.arrays["classes"])] = _NEVER
    return start


def _lines(models: Sequence[Kept], shapes: Mapping[str, tuple[int, ...]]) -> tuple[Layer, Any, Any]:
    """Linear models, and constants, which are linear models without a slope."""
    numbers, coded = (
        sum(shapes[k][0] for k in names if k in shapes) for names in (("numeric", "text"), ("categorical",))
    )
    vocabularies = np.ones(coded, np.int64)
    for each in models:
        for place, levels in _levels(each.arrays).items():
            vocabularies[place] = max(vocabularies[place], int(levels.max()) + 1)
    offset = _begun(models)
    slope = np.zeros((len(models), numbers, offset.shape[1]), np.float32)
    level = np.zeros((len(models), int(vocabularies.sum()), offset.shape[1]), np.float32)
    before = np.cumsum([0, *vocabularies[:-1]])
    for member, each in enumerate(models):
        if each.kind == "constant":
            value = each.arrays["value"]
            with np.errstate(divide="ignore"):
                offset[member, _units(each, 0)] = np.maximum(np.log(value), _NEVER) if each.classes else value
            continue
        units, slopes = _units(each, len(each.arrays["offset"])), each.arrays["slope"]
        offset[member, units] = each.arrays["offset"]
        seen = 0
        for place, levels in _levels(each.arrays).items():
            codes = before[place] + levels.astype(np.int64)
            level[member, codes[:, None], units] = slopes[:, seen : seen + len(levels)].T
            seen += len(levels)
        slope[member][:, units] = slopes[:, seen:].T
    params = {"offset": offset, **({"slope": slope} if numbers else {}), **({"level": level} if coded else {})}
    return TableLinear(offset.shape[1], tuple(vocabularies.tolist()), len(models)), params, {}


def _levels(arrays: Arrays) -> dict[int, np.ndarray]:
    """The codes of the categorical columns that were told apart, by the column's place among the categorical ones."""
    counts = arrays.get("counts", np.zeros(0, np.int64))
    apart = np.split(arrays.get("levels", np.zeros(0)), np.cumsum(counts)[:-1]) if len(counts) else []
    columns = arrays.get("columns", np.zeros(0, np.int64))
    return {int(column) - int(columns[0]): levels for column, levels in zip(columns, apart, strict=True)}


def _grown(models: Sequence[Kept], shapes: Mapping[str, tuple[int, ...]]) -> tuple[Layer, Any, Any]:
    """Gradient boosting: the questions of each tree in the order in which they were asked, and its leaves from left to right."""
    width = sum(shape[0] for shape in shapes.values())
    units = [_units(each, len(each.arrays["start"])) for each in models]
    grown = tuple(sorted({unit for own in units for unit in own}))
    start, told = _begun(models), []
    for member, (each, own) in enumerate(zip(models, units, strict=True)):
        start[member, own] = each.arrays["start"]
        told.append(_questions(each.arrays, width, [member * len(grown) + grown.index(unit) for unit in own]))
    rounds = max(len(each.arrays["roots"]) // len(own) for each, own in zip(models, units, strict=True))
    questions, leaves, sets = (np.concatenate(parts) for parts in zip(*told, strict=True))
    leaf, most = int(leaves["place"].max(initial=0)) + 1, int(questions["place"].max(initial=0)) + 1
    leaf = max(leaf, most + 1, 2)
    slot = np.zeros(len(sets), np.int64)
    for number in range(rounds):
        slot[sets["round"] == number] = np.arange(np.count_nonzero(sets["round"] == number))
    asked = int(slot.max(initial=-1)) + 1
    layer = Forest(width, start.shape[1], rounds, grown, len(models), leaf, asked)
    _, state, _ = layer.init(jax.random.key(0), shapes)
    state = {name: np.array(array) for name, array in state.items()} | {"start": start}
    at = questions["round"], questions["tree"], questions["place"]
    columns = questions["column"].copy()
    columns[questions["set"]] = width + slot
    state["column"][at], state["threshold"][at], state["mask"][at] = columns, questions["threshold"], questions["mask"]
    state["value"][leaves["round"], leaves["tree"], leaves["place"]] = leaves["value"]
    state["set"][sets["round"], slot], state["set_column"][sets["round"], slot] = sets["words"], sets["column"]
    return layer, {}, state


def _questions(arrays: Arrays, width: int, slots: list[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What is asked, the leaves, and the sets of codes that are asked about, of all trees of a model, one row each.

    The nodes of a tree stand in the order of a walk that goes left first, so the leaves below a node are neighbours, and
    those on its left side are the ones that stand before its right child.
    """
    roots, leaf = arrays["roots"], arrays["leaf"] > 0
    nodes = np.arange(len(leaf))
    tree = np.searchsorted(roots, nodes, side="right") - 1
    right = arrays["right"]
    _check_order(arrays)
    leaves_before = np.append(0, np.cumsum(leaf))
    asked_before = np.append(0, np.cumsum(~leaf))
    if (np.bincount(tree[leaf]) > 32).any():
        raise ValueError("a tree has more than 32 leaves")
    place = np.where(
        leaf, leaves_before[:-1] - leaves_before[roots[tree]], asked_before[:-1] - asked_before[roots[tree]]
    )
    where = {"round": tree // len(slots), "tree": np.asarray(slots)[tree % len(slots)], "place": place}
    first = leaves_before[:-1] - leaves_before[roots[tree]]
    after = leaves_before[right[~leaf]] - leaves_before[roots[tree]][~leaf]
    one = np.uint64(1)
    excluded = ((one << after.astype(np.uint64)) - one) ^ ((one << first[~leaf].astype(np.uint64)) - one)
    columns = arrays.get("columns", np.zeros(0, np.int64))  # trees see the categorical columns first
    seen = np.concatenate([columns, np.setdiff1d(np.arange(width), columns)])[arrays["feature"]]
    in_set = arrays["set"] >= 0
    about = np.flatnonzero(~leaf & in_set)
    questions = _table(
        {name: values[~leaf] for name, values in where.items()}
        | {
            "column": seen[~leaf],
            "threshold": np.where(in_set, 0.5, _down(arrays["threshold"]))[~leaf].astype(np.float32),
            "mask": ~excluded.astype(np.uint32),
            "set": in_set[~leaf],
        }
    )
    leaves = _table({name: values[leaf] for name, values in where.items()} | {"value": arrays["value"][leaf]})
    sets = _table(
        {
            "round": where["round"][about],
            "column": seen[about],
            "words": _words(arrays, about, arrays["feature"][about]),
        }
    )
    return questions, leaves, sets


def _check_order(arrays: Arrays) -> None:
    """Refuse trees whose nodes are not in the order of a walk that goes left first."""
    roots, leaf = arrays["roots"], arrays["leaf"] > 0
    nodes = np.arange(len(leaf))
    ends = np.append(roots[1:], len(leaf))[np.searchsorted(roots, nodes, side="right") - 1]
    left, right = arrays["left"], arrays["right"]
    if not (leaf | (left == nodes + 1) & (right > left) & (right < ends)).all():
        raise ValueError("a tree is not in the order of its walk")


def _down(thresholds: np.ndarray) -> np.ndarray:
    """The largest finite number in single precision that is no larger: the same question for numbers in single precision."""
    most = np.finfo(np.float32).max
    near = np.clip(thresholds, -most, most).astype(np.float32)
    return np.where(near > thresholds, np.nextafter(near, np.float32(-np.inf)), near)


def _words(arrays: Arrays, about: np.ndarray, features: np.ndarray) -> np.ndarray:
    """The codes of a category that go left, as words of 32 bits, for the nodes ``about``: ``(nodes, 8)``."""
    inside = np.repeat(arrays["missing_left"][about, None] > 0, CODES, axis=1)  # codes that were not met
    of = arrays["sets"][arrays["set"][about]]
    for feature, levels in enumerate(_levels(arrays).values()):
        rows = np.flatnonzero(features == feature)
        places = np.arange(len(levels))
        bits = of[rows][:, places // 32] >> (places % 32).astype(np.uint32) & np.uint32(1)
        inside[rows[:, None], levels.astype(np.int64)] = bits > 0
    return np.packbits(inside, axis=1, bitorder="little").view("<u4")


def _table(columns: Mapping[str, np.ndarray]) -> np.ndarray:
    kinds = [(name, values.dtype, values.shape[1:]) for name, values in columns.items()]
    rows = np.empty(len(next(iter(columns.values()))), kinds)
    for name, values in columns.items():
        rows[name] = values
    return rows


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
                _check_order(each.arrays)
        return found
    except Exception as error:
        raise ArtifactError(f"the kept baselines are damaged: {error}") from error
