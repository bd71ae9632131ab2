"""A scorecard: each column's value falls into a bin, each bin has a value of its own, and their weighted sum is the answer."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.blueprint import setting
from danlu.errors import ConfigError
from danlu.nn.layer import Layer, Params, Shape, State
from danlu.nn.table_linear import columns_of, single

__all__ = ["Scorecard"]


class Scorecard(Layer):
    """The logits ``(0, (c − s)/d)`` of two classes by a score ``s = Σ_j max(w_j, 0) · v_j(x_j)``, where ``v_j`` is constant in a bin.

    A high score speaks for the first class. With weights of evidence as values this is logistic regression on them, whose weights are
    kept from below 0; with points as values, weights of 1 and ``d = PDO / ln 2`` it is the card as it is printed.

    Args:
        numbers: numeric columns, the first ones of ``"numeric"``.
        gaps: of each of them the place in ``"numeric"`` of the column that says whether it is missing; −1 where none says so.
        edges: the most edges between bins that a numeric column has.
        vocabularies: codes of each categorical column.

    Input: a dict as a table encoder gives it. Output: ``(batch, 2)``.

    Params: ``{"weight": (columns,), "centre": (1,)}``, of the numeric columns, then the categorical ones. State: ``"edges"`` and
    ``"steps"`` ``(numbers, edges)``, how much the value rises from each edge on; ``"first"`` and ``"missing"`` ``(numbers,)``, below the
    first edge and for a missing value; ``"level"`` ``(codes of all columns,)``; ``"scale"`` ``(1,)``. What the card tells of its bins, and
    computes nothing from: ``"rows"`` ``(numbers, edges + 2, 2)`` of both classes, those of missing values last; ``"level_rows"``
    ``(codes, 2)`` in the bin of each code, whose number is ``"group"`` ``(codes,)``; and ``"anchor"`` ``(2,)``, a score and its odds.

    Reference: Siddiqi, "Credit risk scorecards" (2006), chapter 6.

    Example:
        >>> net = Scorecard(1, gaps=(-1,), edges=2)
        >>> params, state, out_shape = net.init(jax.random.key(0), {"numeric": (1,)})
        >>> state |= {"edges": jnp.array([[0.0, 2.0]]), "steps": jnp.array([[1.0, 3.0]])}
        >>> y, _ = net.apply(params, state, {"numeric": jnp.array([[-1.0], [0.0], [5.0]])})
        >>> out_shape, y[:, 1].tolist()
        ((2,), [0.0, -1.0, -4.0])
    """

    numbers: int = setting(minimum=0, integer=True)
    gaps: tuple[int, ...] = ()
    edges: int = setting(default=1, minimum=1, integer=True)
    vocabularies: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.gaps) != self.numbers or not self.columns:
            raise ConfigError(
                f"Scorecard received {self.numbers} numeric columns, {len(self.gaps)} gaps and {len(self.vocabularies)} vocabularies; "
                "expected a gap (or -1) for each numeric column, and a column or more"
            )

    @property
    def columns(self) -> int:
        """How many columns have points."""
        return self.numbers + len(self.vocabularies)

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        columns_of("Scorecard", in_shape)
        shapes: Any = in_shape
        given = shapes.get("numeric", (0,))[0], shapes.get("categorical", (0,))[0]
        if given[0] < max(self.numbers, *(gap + 1 for gap in self.gaps), 0) or given[1] != len(self.vocabularies):
            raise ConfigError(
                f"Scorecard was made for {self.numbers} numeric and {len(self.vocabularies)} categorical columns; the rows have {given}"
            )
        state = {
            "edges": jnp.zeros((self.numbers, self.edges)),
            "steps": jnp.zeros((self.numbers, self.edges)),
            "first": jnp.zeros(self.numbers),
            "missing": jnp.zeros(self.numbers),
            "level": jnp.zeros(sum(self.vocabularies)),
            "scale": jnp.ones(1),
            "rows": jnp.zeros((self.numbers, self.edges + 2, 2)),
            "level_rows": jnp.zeros((sum(self.vocabularies), 2)),
            "group": jnp.zeros(sum(self.vocabularies), jnp.int32),
            "anchor": jnp.ones(2),
        }
        return {"weight": jnp.ones(self.columns), "centre": jnp.zeros(1)}, state, (2,)

    def values(self, state: State, x: Any) -> jax.Array:
        """The value of each column's bin, ``(batch, columns)``."""
        found, held = [], {name: single(each)[None] for name, each in state.items()}
        if self.numbers:
            numbers = single(x["numeric"])
            passed = numbers[:, : self.numbers, None] >= held["edges"]  # (batch, numbers, edges)
            value = held["first"] + jnp.where(passed, held["steps"], 0.0).sum(axis=-1)
            known = np.asarray(self.gaps)[None] >= 0
            if known.any():
                lost = (numbers[:, np.maximum(self.gaps, 0)] > 0.5) & known
                value = jnp.where(lost, held["missing"], value)
            found.append(value)
        if self.vocabularies:
            sizes = np.asarray(self.vocabularies)[None]
            codes = jnp.where(x["categorical"] < sizes, x["categorical"], 0)  # one that there was not is an unknown one
            found.append(single(state["level"])[codes + sizes.cumsum(axis=1) - sizes])
        return jnp.concatenate(found, axis=1)

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        weight, centre = jnp.maximum(single(params["weight"]), 0.0), single(params["centre"])
        # (batch, columns)·(columns,): (batch,)
        score = jnp.einsum("bc,c->b", self.values(state, x), weight, precision=jax.lax.Precision.HIGHEST)
        logit = (centre - score) / single(state["scale"])
        return jnp.stack([jnp.zeros_like(logit), logit], axis=-1), state

    def decays(self, params: Params) -> Any:
        """None: the weights are of few columns, whose values are evidence already."""
        return jax.tree.map(lambda leaf: False, params)

    def flops(self, in_shape: Shape) -> int | None:
        return 2 * self.numbers * self.edges + 3 * self.columns
