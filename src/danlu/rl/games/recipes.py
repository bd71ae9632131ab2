"""Which settings for which game: the defaults of ``danlu train connect-four``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from danlu.errors import ConfigError
from danlu.rl.games.alphazero import AlphaZero
from danlu.rl.games.board import Game
from danlu.rl.games.match import make_match

if TYPE_CHECKING:
    from danlu.rl.fit import LearnedAgent

__all__ = ["GAME_RECIPES", "game_recipe", "train_game"]

_SMALL = {
    "environments": 64,
    "memory": 512,
    "body": "residual",
    "channels": 32,
    "blocks": 3,
    "hidden": (64,),
    "batch_size": 256,
}

GAME_RECIPES: Mapping[str, tuple[int, dict[str, Any]]] = {
    "tic-tac-toe": (
        86_400,
        {
            "environments": 64,
            "n_steps": 9,
            "memory": 135,
            "minibatches": 8,
            "batch_size": 256,
            "hidden": (64, 64),
            "learning_rate": 3e-3,
            "openings": 4,
        },
    ),
    "connect-four": (
        4_915_200,
        {"memory": 1024, "learning_rate": 2e-3, "estimate": 0.3, "openings": 4, "play_simulations": 128},
    ),
    "othello": (1_000_000, {**_SMALL, "openings": 4}),
    "go-9x9": (1_000_000, {**_SMALL, "openings": 4}),
    "chess": (200_000, {**_SMALL, "environments": 16, "memory": 128, "simulations": 16}),
}
"""Of each game: for how many moves of self-play an agent is trained, and what differs from AlphaZero's own defaults."""


def game_recipe(game: Game, **settings: Any) -> tuple[AlphaZero, int]:
    """The default agent for a game, and the number of moves of self-play to train it for.

    Args:
        **settings: fields of :class:`~danlu.rl.games.alphazero.AlphaZero` to set instead.

    Raises:
        ConfigError: an unknown field, or a value out of range.

    Example:
        >>> agent, steps = game_recipe(Game("tic-tac-toe"), simulations=16)
        >>> agent.simulations, agent.hidden, steps
        (16, (64, 64), 86400)
    """
    steps, tuned = GAME_RECIPES[game.name]
    return AlphaZero.of({**tuned, **settings}), steps


def train_game(
    name: str, *, steps: int | None = None, seed: int = 0, settings: Mapping[str, Any] | None = None, **options: Any
) -> LearnedAgent:
    """Train AlphaZero on a game: :func:`danlu.rl.fit` with the game's recipe.

    Args:
        name: of the game.
        steps: moves of self-play; None leaves it to the recipe.
        seed: decides everything that is left to chance.
        settings: fields of :class:`~danlu.rl.games.alphazero.AlphaZero` to set instead of the recipe's.
        **options: of :func:`danlu.rl.fit`, such as ``checkpoint``, ``resume`` and ``display``.

    Example:
        >>> small = {"environments": 8, "simulations": 4, "hidden": (16,), "minibatches": 2, "batch_size": 16}
        >>> trained = train_game("tic-tac-toe", steps=36, settings=small)  # doctest: +SKIP
        >>> trained.play(episodes=2).returns.shape  # doctest: +SKIP
        (2,)
    """
    from danlu.rl.fit import fit

    match = make_match(name)
    agent, usual = game_recipe(match.game, **(settings or {}))
    if steps is not None and steps < 1:
        raise ConfigError(f"train_game received steps={steps}; expected 1 or more")
    return fit(agent, match, steps=steps or usual, seed=seed, **options)
