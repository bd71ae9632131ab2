"""From pairs of users and items to a trained recommender."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.engine import Callback, enable_compilation_cache
from danlu.engine.initial import initial_weights
from danlu.recommend.encoder import RecommendEncoder
from danlu.recommend.head import RecommendHead
from danlu.recommend.interactions import Interactions, by_users
from danlu.recommend.networks import FeatureTower, ImplicitTower, Matcher
from danlu.recommend.settings import Recommend, objective_of
from danlu.tasks import Recipe
from danlu.trained import Learned, Trained

__all__ = ["begin", "learn_recommend", "lessons", "pieces_of"]

_JUDGED = 10_000  # pairs by which the epoch is chosen, at most
_SEEN = 256  # of a user's last items that are not ranked while an epoch is judged
_NEVER = -1e4  # the logarithm of the chance of what is no item
_POWER = 0.75  # of how often an item was had, by which it is drawn


def pieces_of(pairs: Interactions, length: int) -> np.ndarray:
    """The items of each user in order, cut from the last one back into pieces that overlap by one, ``(pieces, length + 1)``, padded with 0
    on the left: in each piece an item is to be foretold from those before it.

    Example:
        >>> pairs = Interactions(np.array([1, 1, 1, 1]), np.array([5, 6, 7, 8]))
        >>> pieces_of(pairs, 2).tolist()
        [[6, 7, 8], [0, 5, 6]]
    """
    pairs = pairs.in_order()
    found = []
    for own in np.split(pairs.item, np.flatnonzero(np.diff(pairs.user)) + 1):
        for end in range(len(own), 1, -length):
            piece = own[max(0, end - length - 1) : end]
            found.append(np.pad(piece, (length + 1 - len(piece), 0)))
    return np.array(found, np.int32).reshape(-1, length + 1)  # (pieces, length + 1)


def lessons(settings: Recommend, pairs: Interactions) -> tuple[Any, np.ndarray]:
    """The rows of a training: what a network reads, and what it is to find."""
    if settings.model == "sequence":
        pieces = pieces_of(pairs, settings.history)
        return {"history": pieces[:, :-1]}, pieces[:, 1:]
    x = {"user": pairs.user.astype(np.int32)}
    if settings.loss != "squared":
        return x, pairs.item.astype(np.int32)
    return {**x, "item": pairs.item.astype(np.int32)}, np.asarray(pairs.rating, np.float32)


def _judging(settings: Recommend, encoder: RecommendEncoder, pairs: Interactions, seed: int) -> tuple[Any, np.ndarray]:
    """The rows by which an epoch is chosen."""
    if settings.loss == "squared":
        return lessons(settings, pairs)
    if len(pairs) > _JUDGED:
        pairs = pairs.take(np.sort(np.random.default_rng(seed).permutation(len(pairs))[:_JUDGED]))
    x = {"user": pairs.user.astype(np.int32)}
    length = (
        settings.history if settings.model == "sequence" else min(_SEEN, int(np.diff(encoder.starts).max(initial=1)))
    )
    return {**x, "history": encoder.history(pairs.user, length)}, pairs.item.astype(np.int32)


def begin(
    network: Matcher, encoder: RecommendEncoder, pairs: Interactions, settings: Recommend, key: jax.Array
) -> tuple[Any, Any]:
    """``(params, state)`` from which a training on these pairs starts."""
    params, state = initial_weights(network, encoder.in_shape, key)
    state = dict(state)
    if settings.loss == "squared":
        state["offset"] = jnp.asarray(np.mean(np.asarray(pairs.rating)), jnp.float32)
    else:
        counts = np.bincount(pairs.item, minlength=len(encoder.items) + 1).astype(np.float64)
        log_q = _POWER * np.log(np.maximum(counts, 0.5))
        log_q[0] = _NEVER
        state["log_q"] = jnp.asarray(log_q - np.logaddexp.reduce(log_q), jnp.float32)
    for name, tower, features in (
        ("user", network.user, encoder.user_features),
        ("item", network.item, encoder.item_features),
    ):
        if isinstance(tower, FeatureTower):
            state[name] = {**state[name], "features": jnp.asarray(features)}
    if isinstance(network.user, ImplicitTower):
        known = pairs.in_order()
        counts = np.diff(by_users(known, network.user.count))
        state["user"] = {
            "users": jnp.asarray(known.user, jnp.int32),
            "items": jnp.asarray(known.item, jnp.int32),
            "scale": jnp.asarray(1 / np.sqrt(np.maximum(counts, 1)), jnp.float32),
        }
    return params, state


def learn_recommend(
    train: Interactions,
    *,
    encoder: RecommendEncoder,
    settings: Recommend,
    plan: Recipe,
    validation: Interactions,
    head: RecommendHead,
    refit: bool = True,
    seed: int = 0,
    callbacks: Sequence[Callback] = (),
    checkpoint: str | Path | None = None,
    resume: bool = False,
    display: str = "none",
) -> Learned:
    """Train the recipe's network.

    Args:
        train, validation: pairs of the two parts; the weights of the epoch that is best on the second are kept, or, with ``refit``,
            training is done again for as many epochs with both.
        encoder: knows the numbers of users and items; the model's knows what they had in both parts.
        settings: settled ones.
        seed: decides the initial weights and every random draw.
        callbacks, checkpoint, resume, display: see :func:`danlu.fit`.
    """
    enable_compilation_cache()
    network: Any = plan.model
    key = jax.random.key(seed)
    monitor = "val_squared_error" if settings.loss == "squared" else "val_ndcg"
    both = train.joined(validation)
    known = encoder.knowing(train)

    def fit(pairs: Interactions, network: Matcher, **how: Any) -> Any:
        x, y = lessons(settings, pairs)
        weight = np.ones(len(y), np.float32)
        return plan.replace(model=network).fit(
            (x, y, weight),
            rows=len(y),
            seed=seed,
            loss=objective_of(settings, network, len(encoder.items)),
            metrics=(),
            initial=begin(network, encoder, pairs, settings, key),
            **how,
        )

    fitted = fit(
        train,
        network,
        validation=_judging(settings, known, validation, seed),
        monitor=monitor,
        mode="min" if settings.loss == "squared" else "max",
        callbacks=callbacks,
        checkpoint=checkpoint,
        resume=resume,
        display=display,
    )
    final = fitted
    if refit and fitted.stopped_by is None:
        epochs = (fitted.best_epoch or 0) + 1
        if isinstance(network.user, ImplicitTower):
            network = network.replace(user=network.user.replace(pairs=len(both)))
        final = fit(
            both,
            network,
            checkpoint=None if checkpoint is None else Path(checkpoint) / "refit",
            resume=resume,
            epochs=epochs,
            patience=None,
            display="none",
            **plan.refitted(epochs),
        )
    params, state = final.params, final.state
    if isinstance(network.user, ImplicitTower):
        tower, own = network.user.folded(params["user"], state["user"])
        network, params, state = network.replace(user=tower), {**params, "user": own}, {**state, "user": {}}
    return Learned(Trained(network, params, state, encoder.knowing(both), head), fitted)
