"""Networks that match users with items: a vector of each, and what the two say together.

All of them are a :class:`Matcher`: a tower for users, a tower for items, and their dot product or a network on the pair. The towers are

- :class:`CodeTower`: a vector of each number, with its bias (matrix factorisation);
- :class:`ImplicitTower`: such a vector and the mean of those of all that the user had (SVD++);
- :class:`FeatureTower`: a vector and what is known about it, through a network (two towers);
- :class:`SequenceTower`: what the user had, in its order, through a causal Transformer (SASRec).

A user's input is a dict with ``"user"``, its number, and, for those that read them, ``"user_features"`` and ``"history"``; an item's
has ``"item"`` and ``"item_features"``. Number 0 is who or what is not known.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from danlu.blueprint import setting
from danlu.errors import ConfigError
from danlu.nn.attention.positions import LearnedPositions
from danlu.nn.combine import Sequential
from danlu.nn.dropout import Dropout
from danlu.nn.initializers import Normal
from danlu.nn.layer import Layer, Params, Shape, State
from danlu.nn.mlp import MLP
from danlu.nn.norm import LayerNorm
from danlu.nn.transformer.block import TransformerBlock

__all__ = ["CodeTower", "FeatureTower", "ImplicitTower", "Matcher", "SequenceTower"]

_SPREAD = 0.1  # of the first vectors


def _table(key: jax.Array, rows: int, dim: int, spread: float = _SPREAD) -> jax.Array:
    """Vectors ``(rows, dim)``; that of number 0, who is not known, is 0."""
    return Normal(spread)(key, (rows, dim)).at[0].set(0.0)


def _rows(table: Any, numbers: Any) -> jax.Array:
    """The rows of a table with these numbers."""
    return jnp.take(table, numbers, axis=0, mode="clip")


class CodeTower(Layer):
    """A vector and a bias of each number: ``[v_n, b_n]``.

    Args:
        count: numbers from 0, which is what is not known: its vector begins, and by itself stays, 0.
        dim: size of a vector.

    Params: ``{"vector": (count, dim), "bias": (count,)}``.
    """

    count: int = setting(minimum=1, integer=True)
    dim: int = setting(minimum=1, integer=True)

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        return {"vector": _table(key, self.count, self.dim), "bias": jnp.zeros(self.count)}, {}, (self.dim + 1,)

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        number = x["number"]
        return jnp.concatenate([_rows(params["vector"], number), _rows(params["bias"], number)[:, None]], axis=1), state


class ImplicitTower(Layer):
    """A user's vector, and the mean of what having an item says: ``p_u + |N(u)|^(−1/2)·Σ_{j ∈ N(u)} y_j``, and its bias.

    The pairs of :math:`N` are in the state, so that a user is still a number; ``y_j`` counts for every pair that the user had.

    Args:
        count, dim: see :class:`CodeTower`.
        items: numbers of items from 0.
        pairs: how many pairs of a user and an item there are.

    Params: as :class:`CodeTower`, and ``{"had": (items, dim)}``. State: ``{"users", "items": (pairs,) int32, "scale": (count,)}``.

    Reference: Koren (2008), "Factorization meets the neighborhood", KDD, equation 15.
    """

    count: int = setting(minimum=1, integer=True)
    dim: int = setting(minimum=1, integer=True)
    items: int = setting(minimum=1, integer=True)
    pairs: int = setting(minimum=1, integer=True)

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        own, more = jax.random.split(key)
        params, _, shape = CodeTower(self.count, self.dim).init(own, in_shape)
        params["had"] = _table(more, self.items, self.dim, 0.01)
        of_pair = jnp.zeros(self.pairs, jnp.int32)
        return params, {"users": of_pair, "items": of_pair, "scale": jnp.zeros(self.count)}, shape

    def summed(self, params: Params, state: State) -> jax.Array:
        """``p_u + |N(u)|^(−1/2)·Σ y_j`` of all users, ``(count, dim)``."""
        said = jax.ops.segment_sum(
            _rows(params["had"], state["items"]), state["users"], self.count, indices_are_sorted=True
        )  # (count, dim)
        whole: jax.Array = params["vector"] + state["scale"][:, None] * said
        return whole

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        number = x["number"]
        vector, bias = _rows(self.summed(params, state), number), _rows(params["bias"], number)
        return jnp.concatenate([vector, bias[:, None]], axis=1), state

    def folded(self, params: Params, state: State) -> tuple[CodeTower, Params]:
        """The same, once it is trained, as one vector of each user."""
        return CodeTower(self.count, self.dim), {"vector": self.summed(params, state), "bias": params["bias"]}


class FeatureTower(Layer):
    """A vector from a number and from what is known about it: ``v = W₂·relu(W₁·[e_n, f]) + e_n``, and a bias.

    In training a number is taken as not known with a chance of ``forget``, so that the features can say all of it: who comes anew, and
    has number 0, is answered from them.

    Args:
        count, dim: see :class:`CodeTower`.
        features: how many numbers are known about each.
        forget: the chance, in [0, 1).

    Params: ``{"code", "mix"}``. State: ``{"features": (count, features)}``, of each number; an input's own ``"features"`` come before it.

    Reference: Covington et al. (2016), "Deep neural networks for YouTube recommendations"; Volkovs et al. (2017), "DropoutNet", for
    numbers that are left out.
    """

    count: int = setting(minimum=1, integer=True)
    dim: int = setting(minimum=1, integer=True)
    features: int = setting(minimum=0, integer=True)
    forget: float = setting(default=0.1, minimum=0, below=1)

    @property
    def mix(self) -> MLP:
        """The network on a vector beside its features."""
        return MLP((2 * self.dim,), self.dim + 1)

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        own, more = jax.random.split(key)
        code = CodeTower(self.count, self.dim).init(own, in_shape)[0]
        mixed, state, shape = self.mix.init(more, (self.dim + self.features,))
        return {"code": code, "mix": mixed}, {"features": jnp.zeros((self.count, self.features)), "mix": state}, shape

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        number = x["number"]
        features = x["features"] if "features" in x else _rows(state["features"], number)
        if train and key is not None and self.forget:
            number = jnp.where(jax.random.bernoulli(key, self.forget, number.shape), 0, number)
        own, _ = CodeTower(self.count, self.dim).apply(params["code"], {}, {"number": number})
        mixed, _ = self.mix.apply(
            params["mix"], state["mix"], jnp.concatenate([own[:, :-1], features], axis=1), train=train
        )
        return own + mixed, state


class SequenceTower(Layer):
    """A user as what it had, in its order: the last output of a causal Transformer over the vectors of these items.

    Args:
        dim: features of an item's vector.
        length: how many of the last items are read.
        layers, heads: of the Transformer.
        dropout: rate in [0, 1).

    Input ``{"x": (batch, length, dim), "mask": (batch, length)}``, padded on the left. Output ``(batch, length, dim)``.

    Reference: Kang & McAuley (2018), "Self-attentive sequential recommendation", ICDM; the loss here is over all items instead of one
    drawn one, see Petrov & Macdonald (2023), "gSASRec".
    """

    dim: int = setting(minimum=1, integer=True)
    length: int = setting(minimum=1, integer=True)
    layers: int = setting(default=2, minimum=1, integer=True)
    heads: int = setting(default=2, minimum=1, integer=True)
    dropout: float = setting(default=0.2, minimum=0, below=1)

    @property
    def network(self) -> Sequential:
        """The Transformer."""
        drop: tuple[Layer, ...] = (Dropout(self.dropout),) if self.dropout else ()
        block = TransformerBlock(
            self.heads, 2 * self.dim, causal=True, dropout=self.dropout, attention_dropout=self.dropout
        )
        return Sequential((LearnedPositions(self.length), *(_OnTokens(each) for each in drop), *(block,) * self.layers))

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        shape = {"x": (self.length, self.dim), "mask": (self.length,)}
        params, state, _ = self.network.init(key, shape)
        norm = LayerNorm().init(key, (self.length, self.dim))
        return {"network": params, "norm": norm[0]}, {"network": state, "norm": norm[1]}, (self.length, self.dim)

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        y, after = self.network.apply(params["network"], state["network"], x, train=train, key=key)
        y, _ = LayerNorm().apply(params["norm"], state["norm"], y["x"], train=train)
        return y, {**state, "network": after}


class _OnTokens(Layer):
    """A layer on the tokens of a sequence, which keeps the mask."""

    layer: Layer

    def init(self, key: jax.Array, in_shape: Any) -> tuple[Params, State, Any]:
        params, state, _ = self.layer.init(key, in_shape["x"])
        return params, state, in_shape

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[Any, State]:
        y, state = self.layer.apply(params, state, x["x"], train=train, key=key)
        return {**x, "x": y}, state


class Matcher(Layer):
    """What a user and an item say together.

    With the towers' ``[p_u, b_u]`` and ``[q_i, b_i]`` it is ``μ + b_u + b_i + p_u·q_i``; with ``hidden`` units a network on
    ``[p_u, q_i, p_u ∘ q_i]`` takes the place of the product (neural collaborative filtering). A user who is a sequence has no bias.

    Args:
        user, item: the towers.
        hidden: units of the network on the pair; () is the dot product.

    Input ``{"user", "item": (batch,)}`` and what the towers read beside. Output ``(batch,)``.

    Params: ``{"user", "item", "pair"}``. State: the same, ``"offset"``, which is ``μ``, and ``"log_q" (items,)``, by which items are drawn
    in training.

    Reference: Koren, Bell & Volinsky (2009), "Matrix factorization techniques for recommender systems", Computer 42; He et al. (2017),
    "Neural collaborative filtering"; Rendle et al. (2020), "Neural collaborative filtering vs. matrix factorization revisited".

    Example:
        >>> net = Matcher(CodeTower(4, 2), CodeTower(6, 2))
        >>> params, state, _ = net.init(jax.random.key(0), {"user": (), "item": ()})
        >>> net.apply(params, state, {"user": jnp.array([1, 0]), "item": jnp.array([5, 3])})[0].shape
        (2,)
    """

    user: Layer
    item: Layer
    hidden: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.user, CodeTower | ImplicitTower | FeatureTower | SequenceTower) or not isinstance(
            self.item, CodeTower | FeatureTower
        ):
            raise ConfigError(
                "a Matcher takes a tower of users and one of items, such as CodeTower(943, 32) and CodeTower(1682, 32)"
            )

    @property
    def pair(self) -> MLP:
        """The network on a pair."""
        return MLP(self.hidden, 1)

    @property
    def reads_history(self) -> bool:
        """Whether a user is what it had."""
        return isinstance(self.user, SequenceTower)

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        keys = jax.random.split(key, 3)
        user, item = self.user.init(keys[0], ()), self.item.init(keys[1], ())
        params, state = {"user": user[0], "item": item[0]}, {"user": user[1], "item": item[1]}
        if self.hidden:
            params["pair"], state["pair"], _ = self.pair.init(keys[2], (3 * self.item.dim,))  # type: ignore[attr-defined]
        return params, {**state, "offset": jnp.zeros(()), "log_q": jnp.zeros(self.item.count)}, ()  # type: ignore[attr-defined]

    def items(
        self, params: Params, state: State, x: Mapping[str, Any], *, train: bool = False, key: Any = None
    ) -> jax.Array:
        """The vectors of items with their biases, ``(batch, dim + 1)``."""
        given = _given(x, "item")
        found: jax.Array = self.item.apply(params["item"], state["item"], given, train=train, key=key)[0]
        return found

    def users(
        self, params: Params, state: State, x: Mapping[str, Any], *, train: bool = False, key: Any = None
    ) -> jax.Array:
        """The vectors of users with their biases, ``(batch, dim + 1)``."""
        if self.reads_history:
            return self.along(params, state, x["history"], train=train, key=key)[:, -1]
        found: jax.Array = self.user.apply(params["user"], state["user"], _given(x, "user"), train=train, key=key)[0]
        return found

    def along(
        self, params: Params, state: State, history: jax.Array, *, train: bool = False, key: Any = None
    ) -> jax.Array:
        """Of a sequence, the user after each item, ``(batch, length, dim + 1)``; padding in ``history (batch, length)`` is 0."""
        batch, length = history.shape
        flat = self.items(params, state, {"item": history.ravel()})[:, :-1]
        vectors = flat.reshape(batch, length, -1)  # (batch, length, dim)
        scale = float(vectors.shape[-1]) ** 0.5
        mask = history > 0
        found, _ = self.user.apply(
            params["user"], state["user"], {"x": scale * vectors, "mask": mask}, train=train, key=key
        )
        found = jnp.where(mask[..., None], found, 0)
        return jnp.concatenate([found, jnp.zeros((batch, length, 1), found.dtype)], axis=2)

    def match(self, params: Params, state: State, users: jax.Array, items: jax.Array) -> jax.Array:
        """What vectors of users and of items say together, pair by pair: both ``(…, dim + 1)``, which broadcast, to ``(…,)``."""
        p, q = users[..., :-1], items[..., :-1]
        bias = state["offset"] + users[..., -1] + items[..., -1]
        if not self.hidden:
            return bias + jnp.sum(p * q, axis=-1)
        p, q = jnp.broadcast_arrays(p, q)
        both = jnp.concatenate([p, q, p * q], axis=-1)
        said, _ = self.pair.apply(params["pair"], state["pair"], both.reshape(-1, both.shape[-1]))  # (pairs, 1)
        return bias + said.reshape(both.shape[:-1])  # as the vectors broadcast

    def all_items(self, params: Params, state: State, users: jax.Array, items: jax.Array) -> jax.Array:
        """What each user's vector says with each item's: ``(users, dim + 1)`` and ``(items, dim + 1)`` to ``(users, items)``."""
        if self.hidden:
            return self.match(params, state, users[:, None], items[None])
        return state["offset"] + users[:, -1:] + items[:, -1][None] + users[:, :-1] @ items[:, :-1].T

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        one, two = (None, None) if key is None else jax.random.split(key)
        users = self.users(params, state, x, train=train, key=one)
        items = self.items(params, state, x, train=train, key=two)
        return self.match(params, state, users, items), state


def _given(x: Mapping[str, Any], whose: str) -> dict[str, Any]:
    """The input of a tower."""
    features = f"{whose}_features"
    return {"number": x[whose], **({"features": x[features]} if features in x else {})}
