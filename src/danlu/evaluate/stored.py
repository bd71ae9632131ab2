"""Evidence as arrays and plain data, so that a test can be kept with its run and compared with another one's later."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from danlu.errors import DataError
from danlu.evaluate.bleu import TranslationCounts
from danlu.evaluate.clustered import Clustered
from danlu.evaluate.detection import DetectionCounts, OfClass
from danlu.evaluate.drawn import DrawnRows
from danlu.evaluate.episodes import Episodes
from danlu.evaluate.evidence import Evidence
from danlu.evaluate.forecast import Forecasts
from danlu.evaluate.generated import Drawings, RowScores
from danlu.evaluate.labels import LabelRows
from danlu.evaluate.logged import Logged
from danlu.evaluate.quantiles import Quantiles
from danlu.evaluate.recommendation import Rankings
from danlu.evaluate.retrieval import Retrieved
from danlu.evaluate.rows import Rows
from danlu.evaluate.sample import Sample
from danlu.evaluate.segmentation import MaskCounts
from danlu.evaluate.tokens import TokenLosses
from danlu.evaluate.uplift import Campaign

__all__ = ["restored", "stored"]

_KINDS = {
    each.__name__: each
    for each in (
        *(DetectionCounts, Episodes, Forecasts, LabelRows, MaskCounts, OfClass, Quantiles, Rows, Sample),
        *(Drawings, DrawnRows, RowScores, TokenLosses, TranslationCounts),
        *(Campaign, Clustered, Logged, Rankings, Retrieved),
    )
}


def stored(evidence: Evidence) -> tuple[dict[str, np.ndarray], Any]:
    """The arrays of some evidence by name, and plain data that says where each belongs.

    An array of float64 whose numbers are all those of float32 is kept as float32.

    Raises:
        DataError: evidence that holds something else than numbers and texts.

    Example:
        >>> arrays, told = stored(Rows("regression", [1.0, 2.0], [1.5, 2.5]))
        >>> sorted(arrays), restored(arrays, told).measures()["mae"]
        (['prediction', 'truth'], 0.5)
    """
    arrays: dict[str, np.ndarray] = {}

    def plain(value: Any, name: str) -> Any:
        if dataclasses.is_dataclass(value) and type(value).__name__ in _KINDS:
            fields = {each.name: getattr(value, each.name) for each in dataclasses.fields(value)}
            return {
                "kind": type(value).__name__,
                "fields": {key: plain(own, f"{name}/{key}".strip("/")) for key, own in fields.items()},
            }
        if isinstance(value, np.ndarray):
            if value.dtype.kind not in "biuf":
                raise DataError(f"{name} holds values of the type {value.dtype}; expected numbers")
            arrays[name] = _smaller(value)
            return {"array": name, "type": value.dtype.str}
        if isinstance(value, tuple | list):
            return [plain(own, f"{name}/{place}") for place, own in enumerate(value)]
        return value.item() if isinstance(value, np.generic) else value

    return arrays, plain(evidence, "")


def _smaller(array: np.ndarray) -> np.ndarray:
    if array.dtype == np.float64:
        with np.errstate(over="ignore"):
            half = array.astype(np.float32)
        if np.array_equal(half.astype(np.float64), array, equal_nan=True):
            return half
    return np.ascontiguousarray(array)


def restored(arrays: Mapping[str, np.ndarray], told: Any) -> Any:
    """The inverse of :func:`stored`.

    Raises:
        DataError: what is no evidence, or does not belong together.
    """
    try:
        return _restored(arrays, told)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"the kept test is damaged: {type(error).__name__} {str(error)[:80]}") from error


def _restored(arrays: Mapping[str, np.ndarray], told: Any) -> Any:
    if isinstance(told, Mapping) and "array" in told:
        return np.asarray(arrays[told["array"]]).astype(np.dtype(told["type"]))
    if isinstance(told, Mapping):
        return _KINDS[told["kind"]](**{name: _restored(arrays, own) for name, own in told["fields"].items()})
    return tuple(_restored(arrays, own) for own in told) if isinstance(told, list) else told
