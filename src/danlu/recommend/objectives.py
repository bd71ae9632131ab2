"""What a recommender makes small: the error of ratings, or how far the items that a user had stand below others.

Items that the user did not have are drawn from the step's key, which is made of the seed and the step: a run that is resumed draws
the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from danlu.blueprint import setting
from danlu.engine.objective import Objective
from danlu.errors import ConfigError
from danlu.recommend.networks import Matcher

__all__ = ["Ranked", "Rated", "bpr", "corrected_softmax"]


def bpr(wanted: jax.Array, others: jax.Array) -> jax.Array:
    """Bayesian personalised ranking: ``−log σ(s_i − s_j)``, the mean over the drawn items ``j``.

    Args:
        wanted: ``s_i``, ``(batch,)``.
        others: ``s_j``, ``(batch, drawn)``.

    Reference: Rendle et al. (2009), "BPR: Bayesian personalized ranking from implicit feedback", UAI.

    >>> round(float(bpr(jnp.array([1.0]), jnp.array([[1.0]]))[0]), 4)
    0.6931
    """
    return jax.nn.softplus(others - wanted[:, None]).mean(axis=1)


def corrected_softmax(wanted: jax.Array, others: jax.Array, log_q: jax.Array, hit: jax.Array) -> jax.Array:
    """``−log`` of the softmax over an item and drawn ones: ``−s_i + log(e^{s_i} + Σ_j e^{s_j}/(n·q_j))``.

    Item ``j`` is drawn with probability ``q_j``, ``n`` times; divided by how often it is drawn, the sum over the drawn items is, in the
    mean over draws, the one over the whole catalogue.

    Args:
        wanted: ``s_i``, ``(batch,)``.
        others: ``s_j``, ``(batch, n)``.
        log_q: ``log q_j``, ``(n,)``.
        hit: which drawn items are the wanted one, ``(batch, n)``: they are left out, being there already.

    Reference: Bengio & Senécal (2008), "Adaptive importance sampling to accelerate training of a neural probabilistic language model";
    Yi et al. (2019), "Sampling-bias-corrected neural modeling for large corpus item recommendations", RecSys.

    >>> one = corrected_softmax(jnp.zeros(1), jnp.zeros((1, 2)), jnp.log(jnp.full(2, 0.5)), jnp.zeros((1, 2), bool))
    >>> round(float(one[0]), 4)  # log(1 + 1/(2·½) + 1/(2·½))
    1.0986
    """
    others = others - log_q[None] - jnp.log(jnp.asarray(others.shape[1], others.dtype))
    rest = jax.nn.logsumexp(jnp.where(hit, -jnp.inf, others), axis=1)
    return jnp.logaddexp(wanted, rest) - wanted


class Rated(Objective):
    """The squared error of a rating, and what its vectors weigh: ``(r − r̂)² + λ·(‖p_u‖² + ‖q_i‖²) + λ_b·(b_u² + b_i²)``.

    The penalty is of the vectors that a pair uses, so that those of many pairs weigh more, as in the references of
    :class:`~danlu.recommend.networks.Matcher`. Of SVD++ ``p_u`` is the whole of a user, with what it had: a penalty of each part by
    itself, as Koren has it, learns by heart here what the sum of many small parts can say.

    Args:
        model: the network.
        penalty: ``λ``.
        bias_penalty: ``λ_b``.
    """

    model: Matcher
    penalty: float = setting(default=0.1, minimum=0)
    bias_penalty: float = setting(default=0.01, minimum=0)

    directions: ClassVar[Mapping[str, str]] = {"squared_error": "min"}

    def __call__(
        self, params: Any, state: Any, batch: dict[str, Any], key: jax.Array, *, train: bool
    ) -> tuple[Any, Any, dict[str, jax.Array]]:
        model, x = self.model, batch["x"]
        one, two = jax.random.split(key)
        users = model.users(params, state, x, train=train, key=one)
        items = model.items(params, state, x, train=train, key=two)
        error = jnp.square(model.match(params, state, users, items) - batch["y"])
        weigh = jnp.square(users[:, :-1]).sum(1) + jnp.square(items[:, :-1]).sum(1)
        bias = jnp.square(users[:, -1]) + jnp.square(items[:, -1])
        loss = error + self.penalty * weigh + self.bias_penalty * bias
        return loss, state, {"squared_error": error}


class Ranked(Objective):
    """How far the item that a user had stands above others: softmax over all items or over drawn ones, or BPR.

    Args:
        model: the network.
        items: numbers of items, of which 0 is none.
        loss: ``"softmax"`` or ``"bpr"``.
        drawn: how many items are drawn a batch, by :func:`corrected_softmax`'s rule from the items' ``"log_q"`` in the state; 0 takes
            all of them, without drawing. BPR draws as many for each row, evenly.
        penalty: of the squared size of the vectors that a row uses.

    A row is a user and an item, or of a sequence a user's items in order, of which each is to be foretold from those before it.
    ``ndcg`` is the mean of ``1/log₂(r + 1)`` of the ranks up to 10: in training among the items that are compared, to judge among all
    that are not in the row's ``"history"``.
    """

    model: Matcher
    items: int = setting(minimum=2, integer=True)
    loss: str = setting(default="softmax", choices=("softmax", "bpr"))
    drawn: int = setting(default=0, minimum=0, integer=True)
    penalty: float = setting(default=0.0, minimum=0)

    directions: ClassVar[Mapping[str, str]] = {"ndcg": "max"}

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.loss == "bpr" and not self.drawn:
            raise ConfigError("Ranked.drawn is 0, and BPR compares with items that are drawn; expected 1 or more")

    def __call__(
        self, params: Any, state: Any, batch: dict[str, Any], key: jax.Array, *, train: bool
    ) -> tuple[Any, Any, dict[str, jax.Array]]:
        x, wanted = batch["x"], batch["y"]
        keys = jax.random.split(key, 3)
        if not train:
            return self._judged(params, state, x, wanted)
        if self.model.reads_history:
            vectors = self.model.along(params, state, x["history"], train=True, key=keys[0])
            rows, length = wanted.shape
            found = self._loss(
                params, state, vectors.reshape(rows * length, -1), wanted.ravel(), keys
            )  # (rows·length,)
            loss, gain = (jnp.where(wanted > 0, each.reshape(rows, length), 0) for each in found)  # (rows, length)
            values, gains = loss.sum(1) / length, gain.sum(1) / jnp.maximum((wanted > 0).sum(1), 1)
        else:
            users = self.model.users(params, state, x, train=True, key=keys[0])
            values, gains = self._loss(params, state, users, wanted, keys)
        return values, state, {"ndcg": gains}

    def _loss(
        self, params: Any, state: Any, users: jax.Array, wanted: jax.Array, keys: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """The loss and the gain, both ``(rows,)``, of each user's vector ``(rows, dim + 1)`` and the item that it is to find ``(rows,)``.

        The gain is of the rank among the items that it is compared with.
        """
        model, number = self.model, self.items
        if self.loss == "softmax" and not self.drawn:
            items = model.items(params, state, {"item": jnp.arange(1, number)}, train=True, key=keys[1])
            scores = model.all_items(params, state, users, items)
            values = jax.nn.logsumexp(scores, axis=1) - jnp.take_along_axis(scores, wanted[:, None] - 1, 1)[:, 0]
            own = items[jnp.maximum(wanted - 1, 0)]
            rank = (scores >= jnp.take_along_axis(scores, wanted[:, None] - 1, 1)).sum(1)
        else:
            own = model.items(params, state, {"item": wanted}, train=True, key=keys[1])
            found = model.match(params, state, users, own)
            if self.loss == "bpr":
                others = jax.random.randint(keys[2], (len(wanted), self.drawn), 1, number)
                flat = model.items(params, state, {"item": others.ravel()}, train=True, key=keys[1])
                vectors = flat.reshape(len(wanted), self.drawn, -1)  # (rows, drawn, dim + 1)
                said = jnp.where(
                    others == wanted[:, None], -jnp.inf, model.match(params, state, users[:, None], vectors)
                )
                values = bpr(found, said)
            else:
                log_q = state["log_q"]
                others = jax.random.categorical(keys[2], log_q, shape=(self.drawn,))
                vectors = model.items(params, state, {"item": others}, train=True, key=keys[1])
                said = model.all_items(params, state, users, vectors)
                values = corrected_softmax(found, said, log_q[others], others[None] == wanted[:, None])
            rank = 1 + (said >= found[:, None]).sum(1)
        weigh = jnp.square(own[:, :-1]).sum(1) + jnp.square(users[:, :-1]).sum(1)
        return values + self.penalty * weigh, _gain(rank)

    def _judged(self, params: Any, state: Any, x: Any, wanted: jax.Array) -> tuple[Any, Any, dict[str, jax.Array]]:
        model = self.model
        wanted = wanted[:, -1] if wanted.ndim == 2 else wanted  # of a sequence that is learnt from, its last item
        users = model.users(params, state, x)
        items = model.items(params, state, {"item": jnp.arange(self.items)})
        scores = model.all_items(params, state, users, items).at[:, 0].set(-jnp.inf)
        own = jnp.take_along_axis(scores, wanted[:, None], 1)
        values = jax.nn.logsumexp(scores, axis=1) - own[:, 0]
        rows = jnp.arange(len(wanted))[:, None]
        if "history" in x:
            scores = scores.at[rows, x["history"]].set(-jnp.inf).at[rows, wanted[:, None]].set(own)
        rank = (scores >= own).sum(1)
        return values, state, {"ndcg": _gain(rank)}


def _gain(rank: jax.Array) -> jax.Array:
    """``1/log₂(r + 1)`` of a rank up to 10, else 0."""
    return jnp.where(rank <= 10, 1 / jnp.log2(rank + 1.0), 0.0)
