"""Agents as files: what is seen in, what is done out, with its value and the preferences among actions.

The function is the agent's own :meth:`~danlu.rl.agent.Agent.act` and :meth:`~danlu.rl.agent.Agent.describe`, so that observations are
standardised and actions scaled inside.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.blueprint import to_json
from danlu.errors import ConfigError
from danlu.export.functions import NEXT, PAST, Function, Run, Trial
from danlu.export.primitives import Input
from danlu.export.runtime import TOLERANCE
from danlu.rl.agent import Agent
from danlu.rl.environment import Environment, Envs
from danlu.rl.external import raise_if_broken
from danlu.rl.games.alphazero import AlphaZero
from danlu.rl.games.match import Match
from danlu.rl.games.players import RandomPlayer
from danlu.rl.observations import assembled, parts
from danlu.rl.recurrent import WithMemory
from danlu.trained import Trained

__all__ = ["policy"]

_SEEN = 512  # observations of episodes that a file is tried on
_SIDE_BY_SIDE = 8
_MADE = 128  # observations that are made up
_FAR = (0.0, 10.0, -10.0)


def policy(trained: Trained) -> Function:
    """The function of an agent: an observation to the likeliest ``action``, ``value``, ``probabilities`` and ``values``, where it has them.

    Observations of several parts are several inputs, by their names. A memory is ``past.memory`` and ``next.memory``, zeros where an
    episode begins.
    """
    agent, env = trained.head.agent, trained.head.env
    params, state = jax.tree.map(jnp.asarray, (trained.params, trained.state))
    spaces = dict(parts(env.observation_space))
    names = {_entry(env, name): name for name in spaces}
    inputs = tuple(Input(entry, spaces[name].dtype, spaces[name].shape) for entry, name in names.items())

    def call(x: dict[str, Any]) -> dict[str, Any]:
        seen = assembled(env.observation_space, (x[entry] for entry in names))
        done = agent.act(env, params, state, seen, None)
        found = {
            **(done if isinstance(done, Mapping) else {"action": done}),
            **agent.describe(env, params, state, seen),
        }
        return {(NEXT + name if name == "memory" else name): each for name, each in found.items()}

    def tried(run: Run, sources: Sequence[str]) -> Iterator[Trial]:
        own = jax.jit(call)
        seen = jax.tree.leaves(_seen(agent, env, params, state))
        for said, rows in ((f"of episodes in {env.id}", seen), ("that are made up, with odd values", _made(spaces))):
            given = dict(zip(names, rows, strict=True))
            yield Trial(len(rows[0]), _compared(own(given), run(given)), f"tried on {len(rows[0])} observations {said}")

    simulations = (agent.play_simulations or agent.simulations) if isinstance(agent, AlphaZero) else None
    about = {
        "environment": env.id,
        "algorithm": type(agent).__name__,
        "observation_space": _plain(to_json(env.observation_space)),
        "action_space": _plain(to_json(env.action_space)),
        "search": None if simulations is None else {"kind": agent.search, "simulations": simulations},
    }
    said = ["its actions are as the environment takes them, the likeliest for each observation"]
    if simulations is not None:
        said.append(
            f"the search is not inside: the file answers with what the network alone says of a board, as the player to move sees it; "
            f"danlu plays better, by a search of {simulations} simulations a move"
        )
    return Function(call, inputs, tried, (), about, {}, tuple(said))


def _entry(env: Environment, name: str) -> str:
    """What a part of an observation is called in the file."""
    if not isinstance(env, WithMemory):
        return name
    return PAST + name if name == "memory" else name


def _plain(told: Any) -> Any:
    """As JSON has it: what has no bound is null."""
    if isinstance(told, dict):
        return {name: _plain(each) for name, each in told.items()}
    if isinstance(told, list):
        return [_plain(each) for each in told]
    return None if isinstance(told, float) and not np.isfinite(told) else told


def _seen(agent: Agent, env: Environment, params: Any, state: Any) -> Any:
    """What an agent sees in episodes that it plays with some chance; in a game, random legal moves on both sides."""
    plain = env.replace(opponent=RandomPlayer()) if isinstance(env, Match) else env
    steps = _SEEN // _SIDE_BY_SIDE

    def move(envs: Envs, key: jax.Array) -> tuple[Envs, Any]:
        act_key, env_key = jax.random.split(key)
        if isinstance(plain, Match):
            action = plain.draw(envs, act_key)
        else:
            action = agent.act(plain, params, state, envs.observation, act_key)
        return plain.advance(envs, action, env_key)[0], envs.observation

    @jax.jit
    def play(key: jax.Array) -> Any:
        return jax.lax.scan(move, plain.begin(jax.random.fold_in(key, 0), _SIDE_BY_SIDE), jax.random.split(key, steps))[
            1
        ]

    found = play(jax.random.key(0))
    raise_if_broken(env)
    return jax.tree.map(lambda leaf: np.asarray(leaf).reshape(_SEEN, *leaf.shape[2:]), found)  # (steps·side by side, …)


def _made(spaces: Mapping[str, Any]) -> list[np.ndarray]:
    """Observations anywhere in their spaces, and some far out where there are no bounds."""
    found = []
    random = np.random.default_rng(0)
    for number, space in enumerate(spaces.values()):
        drawn = np.array(jax.vmap(space.sample)(jax.random.split(jax.random.key(number), _MADE)))
        if drawn.dtype == np.float32 and drawn.size:
            odd = np.clip(random.choice(_FAR, drawn.shape), space.low_array, space.high_array).astype(np.float32)
            drawn = np.where(random.random(drawn.shape) < 0.1, odd, drawn)
        found.append(drawn)
    return found


def _compared(own: Mapping[str, Any], given: Mapping[str, np.ndarray]) -> float:
    """The greatest difference of a number, over the greater of its size and 1.

    Raises:
        ConfigError: another action, unless the agent thinks as much of it.
    """
    worst = 0.0
    for name, one in own.items():
        mine, other = np.asarray(one), given[name]
        if np.issubdtype(mine.dtype, np.floating):
            scale = np.maximum(np.abs(mine), 1)
            worst = max(worst, float((np.abs(other - mine) / scale).max(initial=0)))
            continue
        unlike = np.flatnonzero((mine != other).reshape(len(mine), -1).any(axis=1))  # rows
        unlike = unlike[~_as_good(own, mine, other, unlike)]
        if len(unlike):
            raise ConfigError(
                f"the file's {name} is {other[unlike[0]].tolist()} where danlu's is {mine[unlike[0]].tolist()}, for {len(unlike)} of "
                f"{len(mine)} observations; nothing was written",
                hint="this is a fault of danlu; please report it with the run's config.json",
            )
    return worst


def _as_good(own: Mapping[str, Any], mine: np.ndarray, other: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Whether the agent prefers one of two actions by less than can be told."""
    for name in ("values", "probabilities"):
        if name in own and mine.ndim == 1:
            worth = np.asarray(own[name])
            first, second = worth[rows, mine[rows]], worth[rows, other[rows]]
            return np.asarray(np.abs(first - second) <= TOLERANCE * np.maximum(np.abs(first), 1))
    return np.zeros(len(rows), bool)
