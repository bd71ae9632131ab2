"""Checks once, before training, that the loss is defined for the targets."""

from __future__ import annotations

import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.engine.measures import value_of
from danlu.errors import ConfigError, DataError

__all__ = ["TargetCheck", "check_broadcast"]

_ROWS = 1009  # a batch that no other axis is likely to be as long as


class TargetCheck:
    """Refuses targets (and weights) for which the program's loss and metrics are not defined; takes a chunk on the host.

    Args:
        program: whose objective's measures may have ``check_targets(outputs, targets)``; see :mod:`danlu.nn.losses.targets`.
        outputs: the shapes of the network's outputs.
        variables: ``(params, state)`` of the network, from which ``outputs`` follow where they are not given.
    """

    def __init__(self, program: Any, *, outputs: Any = None, variables: Any = None) -> None:
        self.model, self.outputs, self.variables, self.unweighted = program.model, outputs, variables, ""
        measures = program.objective.measures
        for name in program.of_batch:
            if name in program.objective.complete:
                self.unweighted = "the loss" if name == "loss" else f"the metric {name}"
        self.checks = [m.check_targets for m in measures.values() if hasattr(m, "check_targets")]

    def __call__(self, chunk: dict[str, Any]) -> None:
        weight = np.asarray(chunk["weight"])
        if self.unweighted and weight.size and weight.min() != weight.max():
            raise ConfigError(
                f"{self.unweighted} is one number of the whole batch and takes no weights, but the rows' weights differ",
                hint="add an argument for them: (outputs, targets, weights)",
            )
        if self.checks and self.outputs is None:
            apply = lambda variables, x: self.model.apply(*variables, x, train=False)[0]  # noqa: E731
            self.outputs = jax.eval_shape(apply, self.variables, chunk["x"])
        for check in self.checks:
            check(self.outputs, chunk["y"])


def check_broadcast(said: str, measure: Any, outputs: Any, targets: Any) -> None:
    """Refuse a function that combines ``(batch,)`` with ``(batch, 1)``: broadcast to ``(batch, batch)``, each target meets every output.

    The function is traced with a batch of an odd size, so that a batch can be told from any other axis. A trace that fails otherwise
    (a function may be written for one size of batch) says nothing.

    Raises:
        DataError: see above.
    """

    def resized(tree: Any) -> Any:
        return jax.tree.map(lambda a: jax.ShapeDtypeStruct((_ROWS, *a.shape[1:]), a.dtype), tree)

    weight = jax.ShapeDtypeStruct((_ROWS,), jnp.float32)
    try:
        with jax.numpy_rank_promotion("raise"):
            jax.eval_shape(lambda o, t, w: value_of(measure, o, t, w), resized(outputs), resized(targets), weight)
    except Exception as error:
        found = [tuple(map(int, re.findall(r"\d+", shape))) for shape in re.findall(r"\([\d, ]+\)", str(error))]
        flat = [shape for shape in found if shape == (_ROWS,)]
        tall = [shape for shape in found if len(shape) > 1 and shape[0] == _ROWS and shape[-1] == 1]
        if flat and tall:
            raise DataError(
                f"{said} combines an array of shape (batch,) with one of shape (batch{', …' if len(tall[0]) > 2 else ''}, 1), which "
                f"broadcasts to (batch, batch): every target against every output. Outputs are {_told(outputs)}, targets {_told(targets)}",
                hint="use outputs[:, 0], or targets[:, None]",
            ) from error


def _told(tree: Any) -> str:
    shapes = [
        "(" + ", ".join(["batch", *map(str, a.shape[1:])]) + ("," if a.ndim == 1 else "") + ")"
        for a in jax.tree.leaves(tree)
    ]
    return " and ".join(shapes)
