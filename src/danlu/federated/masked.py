"""Secure sums and lost clients within a compiled round: the protocol of :mod:`~danlu.federated.secure`, all of whose members are here.

Of a round's clients those that are lost have agreed on masks with the others and trained, and then fall silent; the sum of the others
is opened without them. It is exact, so that a round with masks gives what one without them does, up to the rounding to whole numbers.
"""

from __future__ import annotations

from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from danlu.errors import ConfigError, TrainingError
from danlu.federated.secure import Terms, need_package, secure_mean

__all__ = ["check_lost", "fallen", "silent", "summed"]

_SILENT = 2**32 - 4  # folded into the key of the training, for which clients are lost
_NEARLY = 0.01  # 0.33 of 3 clients is one


def fallen(lost: float, clients: int) -> int:
    """How many of so many clients are lost.

    >>> fallen(0.3, 10), fallen(0.3, 5), fallen(0.3, 3)
    (3, 1, 0)
    """
    return int(lost * clients + _NEARLY)


def silent(lost: float, key: jax.Array, step: Any, asked: jax.Array, *, secure: bool = False) -> jax.Array:
    """Which of a round's clients fall silent: :func:`fallen` of those that were asked, drawn by the training's key and the round.

    Args:
        secure: whether no more may than a secure sum does without, where draws of their own decide how many were asked.
    """
    own = jax.random.fold_in(jax.random.fold_in(key, _SILENT), step)
    drawn = jnp.where(asked, jax.random.uniform(own, asked.shape), jnp.inf)
    count = jnp.floor(lost * asked.sum() + _NEARLY)
    return jnp.argsort(jnp.argsort(drawn)) < (jnp.minimum(count, asked.sum() // 3) if secure else count)


def summed(sent: Any, counts: jax.Array, asked: jax.Array, here: jax.Array) -> Any:
    """:func:`secure_mean` within a compiled round.

    Args:
        sent: a tree of the clients' arrays, ``(clients, …)``.
        counts: the weight of each, whole numbers.
        asked: which took part; the others fill the round up.
        here: whose vectors arrived; the others are lost after their masks are agreed on.

    Returns:
        The mean of those that arrived; of fewer than two that were asked zeros, since a sum of one is its vector; NaN where numbers are
        too large for whole ones.
    """
    leaves, form = jax.tree.flatten(sent)
    # (clients, …) to (clients, numbers)
    flat = jnp.concatenate([leaf.reshape(leaf.shape[0], -1).astype(jnp.float32) for leaf in leaves], axis=1)

    def on_host(flat: Any, counts: Any, asked: Any, here: Any) -> np.ndarray:
        rows, counts, asked, here = (np.asarray(each) for each in (flat, counts, asked, here))
        if asked.sum() < 2:
            return np.zeros_like(rows[0])
        lost = np.flatnonzero(~here[asked]).tolist()
        rows = np.where(here[asked, None], rows[asked], 0)  # what is lost is never sent, whatever it is
        try:
            mean, _ = secure_mean(rows, counts[asked].tolist(), lost={"vectors": lost})
        except TrainingError:
            return np.full_like(rows[0], np.nan)
        return cast("np.ndarray", mean)

    shape = jax.ShapeDtypeStruct(flat.shape[1:], flat.dtype)
    mean = jax.pure_callback(on_host, shape, flat, counts, asked, here)
    cuts = np.cumsum([leaf[0].size for leaf in leaves])[:-1].tolist()
    parts = [
        part.reshape(leaf.shape[1:]).astype(leaf.dtype)
        for part, leaf in zip(jnp.split(mean, cuts), leaves, strict=True)
    ]
    return jax.tree.unflatten(form, parts)


def check_lost(lost: float, per_round: int, *, secure: bool) -> None:
    """Refuse a share of lost clients that no round, or no secure sum, can do without.

    Raises:
        ConfigError: see above; secure sums of one client.
        MissingExtraError: the package for keys is not installed.
    """
    if not 0 <= lost < 1:
        raise ConfigError(f"lost is {lost:g}; expected a share of a round's clients, from 0 to below 1")
    if lost and fallen(lost, per_round) == 0:
        raise ConfigError(
            f"lost is {lost:g}, and of a round's {per_round} client{'s' * (per_round > 1)} that is none",
            hint=f"lost={1 / per_round:.4g} loses one" if per_round > 1 else "more clients in a round",
        )
    if secure:
        needed = Terms(per_round).threshold
        if per_round - fallen(lost, per_round) < needed:
            raise ConfigError(
                f"lost is {lost:g} of {per_round} clients in a round; secure sums need {needed} of them, two thirds",
                hint=f"lost={(per_round - needed) / per_round:.4g} at most",
            )
        need_package()
