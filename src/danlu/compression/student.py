"""The network that learns from a run's model: the run's own recipe with another size."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from danlu.errors import ConfigError, unknown_name
from danlu.nn.layer import Layer
from danlu.pipeline.again import Again
from danlu.pipeline.config import TrainConfig, config_from, override
from danlu.pipeline.used import uses
from danlu.tasks.recipe import Recipe

__all__ = ["SIZES", "alone", "student_of"]

SIZES: Mapping[str, float] = {"same": 1.0, "small": 1 / 4, "tiny": 1 / 16}
"""The share of the parameters that depend on the width, by its name."""

_STEP, _WIDEST = 4, 256  # widths are multiples of the first, and at most so many of it


def alone(again: Again) -> Again:
    """The run with one network that learns from all rows, and rows that judge it: in place of folds one part of the rows is held out.

    Raises:
        ConfigError: folds of rows whose groups have a say; an agent.
    """
    if not isinstance(again.plan, Recipe):
        raise ConfigError(
            f"{again.domain.noun} cannot be distilled: their networks are a part of how they act",
            hint="pruning and quantisation can make them smaller: danlu compress RUN --prune 0.8",
        )
    config = again.config.with_setting("model.ensemble", None).with_setting("trainer.snapshots", None)
    prepared, folds = again.prepared, getattr(again.prepared, "folds", None)
    if folds is not None:
        if prepared.sensitive is not None:
            raise ConfigError(
                "the run learnt in folds and with groups of rows, and its student would need both divided anew",
                hint="train it with split.folds=1, which has rows that judge",
            )
        train, held = (
            jax.tree.map(lambda leaf, rows=rows: np.asarray(leaf)[rows], prepared.train)
            for rows in (folds != 0, folds == 0)
        )
        counts = {**prepared.rows, "train": len(train[1]), "validation": len(held[1])}
        learnt = None if prepared.learnt is None else prepared.learnt[folds != 0]
        prepared = dataclasses.replace(
            prepared, train=train, validation=held, folds=None, refold=None, rows=counts, learnt=learnt
        )
    config = again.domain.for_trial(config)
    return dataclasses.replace(again, config=config, prepared=prepared, plan=again.domain.plan(config, prepared))


def student_of(size: str, again: Again, shape: Any) -> Layer:
    """The network of a size: see :class:`~danlu.compression.Distil`.

    Args:
        again: the run, as :func:`alone` gives it.
        shape: of one encoded row.

    Raises:
        ConfigError: a size that there is not, or a kind of data whose networks have no width.
    """
    if "=" in size:
        wanted = override({}, [each.strip() for each in size.split(",")])
        if set(wanted) != {"model"} or not set(wanted["model"]) <= {"members", "width", "depth", "dropout"}:
            raise ConfigError(
                f"the size of a student is {size!r}; expected settings of the model, such as model.width=32"
            )
        return _planned(again, wanted["model"])
    if size not in SIZES:
        raise unknown_name("size of a student", size, (*SIZES, "model.width=32"))
    whole: Layer = again.plan.model
    if size == "same":
        return whole
    if not uses(again.domain, "model.width"):
        raise ConfigError(
            f"the networks of {again.domain.noun} have no width that could be smaller",
            hint="--distill same; in Python Distil(student=…) takes any network",
        )
    least = _parameters(_planned(again, {"width": _STEP}), shape)
    if least >= _parameters(whole, shape):
        raise ConfigError(
            f"the run's network has {_parameters(whole, shape):,} parameters, and no smaller one of its kind is there",
            hint="--distill same; in Python Distil(student=…) takes any network",
        )
    most = least + SIZES[size] * (_parameters(whole, shape) - least)
    low, high = 1, _WIDEST  # the widest that has at most so many
    while high - low > 1:
        middle = (low + high) // 2
        fits = _parameters(_planned(again, {"width": _STEP * middle}), shape) <= most
        low, high = (middle, high) if fits else (low, middle)
    return _planned(again, {"width": _STEP * low})


def _planned(again: Again, model: Mapping[str, Any]) -> Layer:
    """The network that the run's recipe has with other settings of the model."""
    values = again.config.as_dict()
    config: TrainConfig = config_from({**values, "model": {**values["model"], **model}})
    for name in model:
        if not uses(again.domain, f"model.{name}"):
            raise ConfigError(f"model.{name} is not used for {again.domain.noun}")
    found: Layer = again.domain.plan(config, again.prepared).model
    return found


def _parameters(network: Layer, shape: Any) -> int:
    drawn = jax.eval_shape(lambda key: network.init(key, shape)[0], jax.random.key(0))
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(drawn))
