"""What was usual in a training, kept with its model for what watches it in use; see :mod:`danlu.watch`."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np

from danlu.data.series import Origins
from danlu.pipeline.divided import PreparedParts
from danlu.pipeline.domain import Prepared
from danlu.trained import Trained
from danlu.watch import profile_of

__all__ = ["profiled"]

_ROWS = 2000


def profiled(prepared: Prepared, model: Trained) -> Trained:
    """The model with the profile of its training rows, and of its answers to rows that it did not learn from; agents, language models
    and translations have none."""
    if isinstance(prepared, PreparedParts):
        rows = getattr(prepared, "background", None)
        hidden = prepared.owners is not None and prepared.owners.hidden
        if hidden or (rows is None and model.provenance.get("privacy")):
            return model  # what was usual would be told of private rows
        inputs = prepared.sample(_ROWS)[0] if rows is None else None
        judged, shown = _judged(prepared)
        if judged is not None and model.head.needs and shown is None:
            judged = None  # it decides by a column that was not kept
        found = profile_of(model, rows=rows, inputs=inputs, judged=judged, shown=shown)
    elif isinstance(getattr(prepared, "train", None), Origins):
        found = profile_of(model, rows=_some(prepared.train))  # type: ignore[attr-defined]
    else:
        return model
    return dataclasses.replace(model, profile=found)


def _judged(prepared: PreparedParts) -> tuple[Any, Any]:
    for part, shown in ((prepared.test, prepared.shown), (prepared.validation, None)):
        if isinstance(part, tuple):
            return jax.tree.map(lambda leaf: leaf[:_ROWS], part[0]), None if shown is None else shown[:_ROWS]
    return None, None


def _some(origins: Origins) -> Origins:
    return origins.take(np.arange(0, len(origins), -(-len(origins) // _ROWS) or 1))
