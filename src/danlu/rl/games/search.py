"""Tree search with the game itself as its model."""

from __future__ import annotations

import abc
import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from danlu.blueprint import Blueprint, setting
from danlu.errors import MissingExtraError
from danlu.rl.games.board import Game

__all__ = ["PUCT", "Evaluate", "Found", "Gumbel", "Search", "chosen", "masked"]

Evaluate = Callable[[Any, jax.Array], tuple[jax.Array, jax.Array]]
"""``(positions, key) -> (logits, values)``, for the players to move: ``(batch, actions)`` and ``(batch,)``."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Found:
    """The result of a search for each of a batch of positions.

    Attributes:
        action: the move to make, ``(batch,)`` int32.
        weights: a better policy than the one it began with: what the network is to learn, ``(batch, actions)``; illegal moves have 0.
        value: what the player to move may expect, ``(batch,)``.
    """

    action: jax.Array
    weights: jax.Array
    value: jax.Array


def masked(logits: jax.Array, legal: jax.Array) -> jax.Array:
    """Logits ``(…, moves)`` in which illegal moves have probability 0; the largest legal one is 0."""
    lowest = jnp.finfo(logits.dtype).min
    logits = logits - jnp.max(jnp.where(legal, logits, lowest), axis=-1, keepdims=True)
    return jnp.where(legal, logits, lowest)


def chosen(values: jax.Array, index: jax.Array) -> jax.Array:
    """``values[i, index[i]]``, ``(batch,)``."""
    return jnp.take_along_axis(values, index[:, None], axis=1)[:, 0]


class Search(Blueprint, abc.ABC):
    """Simulations from a position onwards, each one step further into the tree of what may come; base of the searches.

    The tree's nodes are positions, valued for the player to move in them. A simulation goes down from the root by a rule, plays one move
    that was not in the tree, has the new position evaluated, and takes that value back up: what is good for one player is as bad for the
    other, so it changes its sign at each move. Positions in which the game is over have their true value.

    Args:
        simulations: positions evaluated beyond the root.
    """

    simulations: int = setting(default=32, minimum=1, integer=True)

    @abc.abstractmethod
    def policy(self, root: Any, model: Any, key: jax.Array, illegal: jax.Array, noise: bool) -> Any:
        """mctx's ``PolicyOutput``."""

    def find(self, game: Game, evaluate: Evaluate, positions: Any, key: jax.Array, *, noise: bool = False) -> Found:
        """Search from each of a batch of positions.

        Args:
            evaluate: what a position looks like without looking further.
            positions: with a leading axis.
            key: what chance draws from.
            noise: whether to try out what looks second best, as in self-play; if not, the same position has the same answer, unless
                ``evaluate`` draws.
        """
        mctx = _mctx()
        step, player, ended = jax.vmap(game.step), jax.vmap(game.player), jax.vmap(game.ended)

        def model(params: Any, key: jax.Array, action: jax.Array, positions: Any) -> Any:
            mover, after = player(positions), step(positions, action)
            over = ended(after)
            logits, value = evaluate(after, key)
            reward = jnp.where(ended(positions), 0.0, jax.vmap(game.result)(after, mover))
            found = mctx.RecurrentFnOutput(
                reward=reward,
                discount=jnp.where(over, 0.0, jnp.where(player(after) == mover, 1.0, -1.0)),
                prior_logits=masked(logits, jax.vmap(game.legal)(after)),
                value=jnp.where(over, 0.0, value),
            )
            return found, after

        root_key, search_key = jax.random.split(key)
        logits, value = evaluate(positions, root_key)
        legal = jax.vmap(game.legal)(positions)
        root = mctx.RootFnOutput(prior_logits=masked(logits, legal), value=value, embedding=positions)
        with jax.numpy_rank_promotion("allow"):
            output = self.policy(root, model, search_key, ~legal, noise)
        weights = jnp.where(legal, output.action_weights, 0.0)
        return Found(output.action.astype(jnp.int32), weights, output.search_tree.summary().value)


class Gumbel(Search):
    """Gumbel AlphaZero's search: the moves most worth a look share the simulations, and half of them drop out at each turn.

    Of the moves drawn without replacement from the policy (by Gumbel noise ``g``), sequential halving keeps those with the largest
    ``g + logits + σ(q)``, ``σ(q) = (50 + max visits) · scale · q``. The weights to learn are ``softmax(logits + σ(q))``, with the
    network's opinion mixed in for moves that were not tried: they improve on the policy however few the simulations.

    Args:
        simulations: as of every search.
        max_num_considered_actions: the moves that sequential halving begins with, at most.
        scale: of σ. Values are in −1 … 1 here, and are not rescaled: 0.5 is the paper's setting for Go and chess.

    Reference: Danihelka et al. (2022), "Policy improvement by planning with Gumbel", section 3, algorithm 2; eq. 8 for σ.
    """

    _renamed: ClassVar[Mapping[str, str]] = {"considered": "max_num_considered_actions"}

    max_num_considered_actions: int = setting(default=16, minimum=1, integer=True)
    scale: float = setting(default=0.25, above=0)

    def policy(self, root: Any, model: Any, key: jax.Array, illegal: jax.Array, noise: bool) -> Any:
        mctx = _mctx()
        transform = functools.partial(
            mctx.qtransform_completed_by_mix_value, value_scale=self.scale, rescale_values=False
        )
        return mctx.gumbel_muzero_policy(
            (),
            key,
            root,
            model,
            self.simulations,
            invalid_actions=illegal,
            max_num_considered_actions=self.max_num_considered_actions,
            gumbel_scale=1.0 if noise else 0.0,
            qtransform=transform,
        )


class PUCT(Search):
    """AlphaZero's search: go where ``q + c · policy · √(parent's visits) / (1 + visits)`` is largest.

    ``c`` grows slowly with the visits, from ``exploration``; the weights to learn are the root's visits. With noise, Dirichlet noise is
    mixed into the root's policy and the move is drawn from the visits; without, the most visited one is played.

    Args:
        simulations: as of every search.
        exploration: ``c`` at the start.
        dirichlet_fraction: of the noise in the root's policy.
        dirichlet_alpha: α of the Dirichlet distribution.

    Reference: Silver et al. (2018), "A general reinforcement learning algorithm that masters chess, shogi, and Go through self-play",
    supplementary materials, "Search".
    """

    _renamed: ClassVar[Mapping[str, str]] = {"fraction": "dirichlet_fraction", "concentration": "dirichlet_alpha"}

    exploration: float = setting(default=1.25, above=0)
    dirichlet_fraction: float = setting(default=0.25, minimum=0, maximum=1)
    dirichlet_alpha: float = setting(default=1.0, above=0)

    def policy(self, root: Any, model: Any, key: jax.Array, illegal: jax.Array, noise: bool) -> Any:
        mctx = _mctx()
        return mctx.muzero_policy(
            (),
            key,
            root,
            model,
            self.simulations,
            invalid_actions=illegal,
            dirichlet_fraction=self.dirichlet_fraction if noise else 0.0,
            dirichlet_alpha=self.dirichlet_alpha,
            pb_c_init=self.exploration,
            temperature=1.0 if noise else 0.0,
            qtransform=functools.partial(mctx.qtransform_by_min_max, min_value=-1.0, max_value=1.0),
        )


def _mctx() -> Any:
    try:
        with jax.ensure_compile_time_eval():
            import mctx
    except ImportError:
        raise MissingExtraError(
            "tree search needs mctx, which is not installed", hint='pip install "danlu[rl]"'
        ) from None
    return mctx
