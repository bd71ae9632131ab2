"""Evaluation of an agent: whole new episodes, separate from training."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.rl.agent import Agent
from danlu.rl.environment import Environment, Envs, Transition
from danlu.rl.external import raise_if_broken

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Episodes", "collect_transitions", "has_expert", "play_at_random", "play_episodes", "play_expert"]


@dataclasses.dataclass(frozen=True)
class Episodes:
    """Finished episodes.

    Attributes:
        returns: sum of the rewards of each, float32.
        lengths: steps of each, int32.
        terminated: whether the world ended each; the others were cut when time was up.
        costs: what each cost, by kind, float32; of a world without costs empty.
        moments: for each kind of cost that was met, a state of the world just before it, for a picture.
    """

    returns: np.ndarray
    lengths: np.ndarray
    terminated: np.ndarray
    costs: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    moments: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def frame(self) -> pl.DataFrame:
        """One row per episode."""
        import polars as pl

        names = ("returns", "lengths", "terminated")
        columns = {name.removesuffix("s"): getattr(self, name) for name in names}
        return pl.DataFrame({"episode": np.arange(1, len(self.returns) + 1), **columns, **self.costs})


def _first_episodes(
    env: Environment, decide: Callable[[Envs, jax.Array], Any], key: jax.Array, episodes: int
) -> dict[str, jax.Array]:
    """``episodes`` environments side by side until each has ended its first episode."""

    def going(carry: Any) -> jax.Array:
        step, _, found = carry
        return (step < env.max_steps) & ~found["ended"].all()

    def move(carry: Any) -> Any:
        step, envs, found = carry
        act_key, env_key = jax.random.split(jax.random.fold_in(key, step + 1))
        before = envs
        envs, transition = env.advance(envs, decide(envs, act_key), env_key)
        now = transition.ended & ~found["ended"]
        met = _met(env, before, transition, found)
        found = {
            **met,
            "returns": jnp.where(now, transition.score, found["returns"]),
            "lengths": jnp.where(now, transition.steps, found["lengths"]),
            "terminated": jnp.where(now, transition.terminated, found["terminated"]),
            "ended": found["ended"] | transition.ended,
        }
        return step + 1, envs, found

    empty = {
        "returns": jnp.zeros(episodes),
        "lengths": jnp.zeros(episodes, jnp.int32),
        "terminated": jnp.zeros(episodes, bool),
        "ended": jnp.zeros(episodes, bool),
    }
    begun = env.begin(jax.random.fold_in(key, 0), episodes)
    if env.costs:
        empty["spent"] = jnp.zeros((episodes, len(env.costs)))
        empty["met"] = jnp.zeros(len(env.costs), bool)
        empty["moments"] = jax.tree.map(lambda leaf: jnp.stack([leaf[0]] * len(env.costs)), begun.state)
    return jax.lax.while_loop(going, move, (jnp.int32(0), begun, empty))[2]


def _met(env: Environment, before: Envs, transition: Transition, found: dict[str, Any]) -> dict[str, Any]:
    """Of a world with costs: what the first episodes have cost, ``"spent"`` ``(episodes, kinds)``; which kinds were met, ``"met"``
    ``(kinds,)``; and for each the state before it was met for the first time, ``"moments"``, a tree of arrays ``(kinds, …)``."""
    if not env.costs:
        return {}
    going = ~found["ended"]
    spent = jnp.where(going[:, None], transition.spent, found["spent"])
    now = (transition.cost > 0) & going[:, None]  # (episodes, kinds)
    fresh, which = now.any(axis=0) & ~found["met"], jnp.argmax(now, axis=0)

    def taken(new: jax.Array, old: jax.Array) -> jax.Array:
        return jnp.where(fresh.reshape(-1, *(1 for _ in old.shape[1:])), new[which], old)  # (kinds, 1, …)

    moments = jax.tree.map(taken, before.state, found["moments"])
    return {"spent": spent, "met": found["met"] | fresh, "moments": moments}


@functools.partial(jax.jit, static_argnames=("agent", "env", "episodes", "greedy"))
def run_episodes(
    agent: Agent, env: Environment, params: Any, state: Any, key: jax.Array, *, episodes: int, greedy: bool
) -> dict[str, jax.Array]:
    """Whole episodes of an agent, compiled: ``{"returns", "lengths", "terminated", "ended"}``, each ``(episodes,)``."""

    def decide(envs: Envs, key: jax.Array) -> Any:
        return agent.choose(env, params, state, envs, None if greedy else key)

    return _first_episodes(env, decide, key, episodes)


@functools.partial(jax.jit, static_argnames=("env", "episodes"))
def _run_at_random(env: Environment, key: jax.Array, *, episodes: int) -> dict[str, jax.Array]:
    return _first_episodes(env, env.draw, key, episodes)


@functools.partial(jax.jit, static_argnames=("env", "episodes"))
def _run_expert(env: Environment, key: jax.Array, *, episodes: int) -> dict[str, jax.Array]:
    return _first_episodes(env, lambda envs, key: jax.vmap(env.expert)(envs.state), key, episodes)


def _episodes(env: Environment, found: dict[str, Any]) -> Episodes:
    returns, lengths, terminated = (np.asarray(found[name]) for name in ("returns", "lengths", "terminated"))
    if not env.costs:
        return Episodes(returns, lengths, terminated)
    spent, met = np.asarray(found["spent"]), np.asarray(found["met"])
    moments = {
        kind: jax.tree.map(lambda leaf: np.asarray(leaf)[number], found["moments"])  # noqa: B023
        for number, kind in enumerate(env.costs)
        if met[number]
    }
    costs = {kind: spent[:, number] for number, kind in enumerate(env.costs)}
    return Episodes(returns, lengths, terminated, costs, moments)


def has_expert(env: Environment) -> bool:
    """Whether somebody knows what to do in an environment (:meth:`Environment.expert`)."""
    return env.pure and jax.eval_shape(lambda key: env.expert(env.reset(key)[0]), jax.random.key(0)) is not None


def play_expert(env: Environment, *, episodes: int = 100, seed: int = 0) -> Episodes:
    """Whole episodes of the expert of an environment that has one (:meth:`Environment.expert`)."""
    return _episodes(env, _run_expert(env, jax.random.key(seed), episodes=episodes))


def play_at_random(env: Environment, *, episodes: int = 100, seed: int = 0) -> Episodes:
    """Whole episodes of random legal actions: the baseline that an agent must beat to have learnt anything."""
    return _episodes(env, _run_at_random(env, jax.random.key(seed), episodes=episodes))


def play_episodes(
    agent: Agent,
    env: Environment,
    params: Any,
    state: Any,
    *,
    episodes: int = 100,
    greedy: bool = True,
    seed: int = 0,
) -> Episodes:
    """Let an agent play ``episodes`` whole episodes, without learning.

    Args:
        params, state: the variables of its network.
        greedy: whether it takes its likeliest action, or draws as in training (without exploration beyond that).
        seed: decides the beginnings and all chance.
    """
    key = jax.random.key(seed)
    return _episodes(env, run_episodes(agent, env, params, state, key, episodes=episodes, greedy=greedy))


@functools.partial(jax.jit, static_argnames=("agent", "env", "steps", "environments", "greedy"))
def _collect(
    agent: Agent,
    env: Environment,
    params: Any,
    state: Any,
    key: jax.Array,
    *,
    steps: int,
    environments: int,
    greedy: bool,
) -> Transition:
    def move(envs: Envs, key: jax.Array) -> tuple[Envs, Transition]:
        act_key, env_key = jax.random.split(key)
        return env.advance(envs, agent.choose(env, params, state, envs, None if greedy else act_key), env_key)

    begun = env.begin(jax.random.fold_in(key, 0), environments)
    return jax.lax.scan(move, begun, jax.random.split(jax.random.fold_in(key, 1), steps))[1]


def collect_transitions(
    agent: Agent,
    env: Environment,
    params: Any,
    state: Any,
    *,
    steps: int = 1000,
    environments: int = 8,
    greedy: bool = False,
    seed: int = 0,
) -> Transition:
    """A recording of an agent in ``environments`` environments for ``steps`` steps each, one episode after another.

    Args:
        params, state, greedy, seed: as of :func:`play_episodes`.

    Returns:
        The transitions, arrays ``(steps, environments, …)``: what :func:`danlu.rl.save_buffer` writes.
    """
    found = _collect(
        agent, env, params, state, jax.random.key(seed), steps=steps, environments=environments, greedy=greedy
    )
    raise_if_broken(env)
    return found
