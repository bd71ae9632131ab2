"""Decision trees in place of a network: gradient boosting's answers, in pure JAX."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from danlu.blueprint import setting
from danlu.errors import ConfigError
from danlu.nn.layer import Layer, Params, Shape, State
from danlu.nn.table_linear import columns_of, matrix

__all__ = ["CODES", "Forest"]

CODES = 256  # codes of a categorical column that a question can tell apart; the last stands for all others
_WORD = 32


class Forest(Layer):
    """Sums of the values of trees: ``y[m, u] = start[m, u] + Σ_t value[m, u, t, leaf(x)]``.

    No tree is walked. All its questions are answered at once; a question "is column ≤ threshold?" that is answered with no
    excludes the leaves on its yes side, which is an *and* with a mask of bits, and the first leaf left is where a walk would have
    ended. Equally long sums of the same few operations suit vectors better than walks of different lengths.

    A question about a categorical column is whether its code is in a set of codes, at most 255 of them; codes from 255 on are
    one, "others".

    Args:
        columns: of the encoded rows, numeric, categorical and text side by side.
        units: outputs of each member.
        rounds: trees of a member for each unit that has trees.
        grown: the units that have trees; of two classes, the second one alone has them.
        members: forests side by side.
        leaves: of a tree, at most 32.
        sets: questions about categories in a round, at most.

    Input: a dict as a table encoder gives it, without missing values. Output: ``(batch, members, units)``.

    Params: none; trees do not learn by gradients. State: ``{"column", "threshold", "mask": (rounds, trees, leaves − 1)``,
    ``"value": (rounds, trees, leaves)``, ``"start": (members, units)``, ``"set": (rounds, sets, 8)`` words of 32 bits,
    ``"set_column": (rounds, sets)}`` with ``trees = members · len(grown)``. A column from ``columns`` on is a set: it is 0
    for a code inside and 1 for one outside. At the start nothing is asked and all is 0.

    Reference:
        Lucchese et al., "QuickScorer: a fast algorithm to rank documents with additive ensembles of regression trees" (SIGIR
        2015), section 3.

    Example:
        >>> net = Forest(columns=1, units=1, rounds=1, leaves=2)
        >>> _, state, _ = net.init(jax.random.key(0), {"numeric": (1,)})
        >>> state |= {"mask": jnp.full((1, 1, 1), 0b10, jnp.uint32), "value": jnp.asarray([[[5.0, 7.0]]])}
        >>> net.apply({}, state, {"numeric": jnp.asarray([[-1.0], [0.0], [1.0]])})[0][:, 0, 0].tolist()
        [5.0, 5.0, 7.0]
    """

    columns: int = setting(minimum=1, integer=True)
    units: int = setting(minimum=1, integer=True)
    rounds: int = setting(minimum=0, integer=True)
    grown: tuple[int, ...] = (0,)
    members: int = setting(default=1, minimum=1, integer=True)
    leaves: int = setting(default=31, minimum=2, maximum=_WORD, integer=True)
    sets: int = setting(default=0, minimum=0, integer=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.grown or not all(0 <= unit < self.units for unit in self.grown):
            raise ConfigError(f"Forest.grown is {self.grown}; expected some of the units 0 to {self.units - 1}")

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        columns = columns_of("Forest", in_shape)
        if columns != self.columns:
            raise ConfigError(f"Forest.columns is {self.columns}; the rows have {columns}")
        trees, questions = self.members * len(self.grown), self.leaves - 1
        state = {
            "column": jnp.zeros((self.rounds, trees, questions), jnp.int32),
            "threshold": jnp.zeros((self.rounds, trees, questions)),
            "mask": jnp.full((self.rounds, trees, questions), 0xFFFFFFFF, jnp.uint32),
            "value": jnp.zeros((self.rounds, trees, self.leaves)),
            "start": jnp.zeros((self.members, self.units)),
            "set": jnp.zeros((self.rounds, self.sets, CODES // _WORD), jnp.uint32),
            "set_column": jnp.zeros((self.rounds, self.sets), jnp.int32),
        }
        return {}, state, (self.members, self.units)

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        columns = matrix(x).T  # (columns, batch): a question takes a whole row of it
        batch = columns.shape[1]
        codes = jnp.clip(columns, 0, CODES - 1).astype(jnp.uint32)

        def one(total: jax.Array, trees: Any) -> tuple[jax.Array, None]:
            asked = columns
            if self.sets:
                code = codes[trees["set_column"]]
                words = jnp.take_along_axis(trees["set"], (code // _WORD).astype(jnp.int32), axis=1)
                outside = 1 - (words >> (code % _WORD) & 1)
                asked = jnp.concatenate([columns, outside.astype(columns.dtype)])
            no = asked[trees["column"]] > trees["threshold"][..., None]  # (trees, questions, batch)
            left = jnp.where(no, trees["mask"][..., None], jnp.uint32(0xFFFFFFFF))
            left = jax.lax.reduce(left, jnp.uint32(0xFFFFFFFF), jax.lax.bitwise_and, (1,))
            leaf = jax.lax.population_count((left & (~left + 1)) - 1).astype(jnp.int32)  # its lowest bit
            return total + jnp.take_along_axis(trees["value"], leaf, axis=1).astype(exact), None

        exact = jnp.promote_types(state["value"].dtype, jnp.float32)
        begun = jnp.zeros((self.members * len(self.grown), batch), exact)
        rounds = {name: state[name] for name in ("column", "threshold", "mask", "value", "set", "set_column")}
        total, _ = jax.lax.scan(one, begun, rounds)
        # (members · grown, batch) to (batch, members, grown)
        own = jnp.moveaxis(total.reshape(self.members, len(self.grown), batch), 2, 0)
        y = jnp.broadcast_to(state["start"].astype(exact), (batch, self.members, self.units))
        return y.at[..., jnp.asarray(self.grown)].add(own), state

    def flops(self, in_shape: Shape) -> int | None:
        return self.rounds * self.members * len(self.grown) * (3 * self.leaves + 1)
