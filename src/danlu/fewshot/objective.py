"""What training by episodes makes small."""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from danlu.engine import Objective
from danlu.fewshot.episodes import Episode
from danlu.fewshot.learners import Learner
from danlu.fewshot.metric import MetricLoss
from danlu.nn import Dense, Layer, Sequential

__all__ = ["Episodic", "Reptile", "with_last"]


def with_last(network: Layer, units: int) -> Sequential:
    """The network that is trained: the one that gives vectors, and a last layer of so many units; 0 has none."""
    last = Dense(units, use_bias=False, initializer="glorot_uniform") if units else Sequential()
    return Sequential((network, last))


class Episodic(Objective):
    """The cross-entropy of the queries of a batch of episodes, or in training a loss of all vectors with their labels.

    What is judged is always the cross-entropy of the queries, and the share of them that is told rightly.

    Args:
        network: gives the vectors; the trained model is :func:`with_last` of it.
        learner: how a support answers.
        episode: the form of the episodes that a batch is made of.
        loss: of vectors with labels, which is trained by instead.
        judged: the form of the episodes that it is judged by; None is that of the training.
    """

    directions: ClassVar[dict[str, str]] = {"accuracy": "max"}

    network: Layer
    learner: Learner
    episode: Episode
    loss: MetricLoss | None = None
    judged: Episode | None = None

    def __call__(
        self, params: Any, state: Any, batch: dict[str, Any], key: jax.Array, *, train: bool
    ) -> tuple[Any, Any, dict[str, jax.Array]]:
        if not train and self.judged is not None:
            return self.replace(episode=self.judged, judged=None)(params, state, batch, key, train=False)
        x, vectors = batch["x"], None
        if self.learner.compares:
            vectors, after = self.network.apply(params[0], state[0], x, train=train, key=key)
            state, x = (after, state[1]), vectors
        logits = self.logits(params, state, x, key)
        right = jnp.arange(self.episode.ways)[None, :, None]
        count = len(batch["x"])
        hits = self.episode.of_rows((logits.argmax(-1) == right).astype(jnp.float32), count)
        if train and self.loss is not None:
            classes = params[1]["kernel"] if self.loss.of_classes else None
            return self.loss(vectors, batch["y"], classes), state, {"accuracy": hits}
        return self.cross_entropy(logits, count), state, {"accuracy": hits}

    def cross_entropy(self, logits: Any, rows: int) -> Any:
        """One value a row, of ``(episodes, ways, queries, ways)``."""
        own = jnp.einsum("eiqi->eiq", logits)  # (episodes, ways, queries), of the true class
        return self.episode.of_rows(jax.nn.logsumexp(logits, axis=-1) - own, rows)

    def logits(self, params: Any, state: Any, x: Any, key: jax.Array) -> Any:
        """``(episodes, ways, queries, ways)`` of a batch of pictures, or of their vectors where the learner compares."""
        e = self.episode
        rows = e.divided(x)

        def one(rows: Any) -> Any:
            queries = rows[:, e.shots :].reshape(-1, *rows.shape[2:])  # (ways * queries, ...)
            found = self.learner.logits(self.network, params, state, rows[:, : e.shots], queries, key)
            return found.reshape(e.ways, e.queries, e.ways)  # (ways, queries, ways)

        return jax.vmap(one)(rows)


class Reptile(Episodic):
    """``½·Σ‖θ − θ′‖²`` for the parameters θ′ after the inner steps on all rows of an episode, which count as given.

    The gradient of that is ``θ − θ′``: gradient descent on it moves the weights towards what each episode would have made of them.

    Reference: Nichol, Achiam & Schulman, "On first-order meta-learning algorithms" (2018), algorithm 1 and section 2.
    """

    def __call__(
        self, params: Any, state: Any, batch: dict[str, Any], key: jax.Array, *, train: bool
    ) -> tuple[Any, Any, dict[str, jax.Array]]:
        value, after, measures = super().__call__(params, state, batch, key, train=train)
        if not train:
            return value, after, measures
        learner: Any = self.learner
        rows = self.episode.divided(batch["x"])

        def moved(rows: Any) -> jax.Array:
            x = rows.reshape(-1, *rows.shape[2:])  # (ways * (shots + queries), ...)
            y = jnp.repeat(jnp.arange(self.episode.ways), self.episode.each)
            _, (network, last), _ = learner.taught(self.network, params, state, x, y, self.episode.ways, key)
            change = jax.tree.map(lambda old, new: old - jax.lax.stop_gradient(new), params[0], network)
            vector = params[1]["kernel"] - jax.lax.stop_gradient(last["kernel"].mean(1, keepdims=True))
            return 0.5 * jnp.sum(jnp.stack([jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves((change, vector))]))

        each = jax.vmap(moved)(rows)  # (episodes,)
        return jnp.repeat(each, self.episode.size), after, measures
