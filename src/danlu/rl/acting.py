"""A trained agent: the head of a model that acts."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import jax
import numpy as np
import polars as pl

from danlu.blueprint import from_json, to_json
from danlu.engine import predict_outputs
from danlu.errors import ArtifactError, DanluError, UntrustedError, first_line
from danlu.evaluate import Sample
from danlu.nn.layer import Layer
from danlu.prose import percent
from danlu.rl.agent import Agent
from danlu.rl.dataset import save_buffer
from danlu.rl.environment import Environment
from danlu.rl.evaluation import Episodes, collect_transitions, play_episodes
from danlu.rl.observations import KIND, Observations
from danlu.rl.recording import RecordedEpisode, record_episode
from danlu.trained import Head, Trained

if TYPE_CHECKING:
    from danlu.rl.games.against import Turn

__all__ = ["Acting", "Beginnings", "parts_of", "trained_agent"]


@dataclasses.dataclass(frozen=True)
class Beginnings:
    """Episodes to play: the rows of an agent's test, which asks for whole episodes instead of single actions.

    Attributes:
        env: where.
        episodes: how many.
        seed: decides the beginnings and all chance.
        greedy: see :func:`~danlu.rl.play_episodes`.
    """

    env: Environment
    episodes: int
    seed: int = 0
    greedy: bool = True


@dataclasses.dataclass(frozen=True)
class _Decided:
    """The likeliest action, and what the agent thinks the observation is worth, in the network's place."""

    agent: Agent
    env: Environment

    def apply(self, params: Any, state: Any, x: Any, *, train: bool = False) -> tuple[dict[str, Any], Any]:
        action = self.agent.act(self.env, params, state, x, None)
        value = self.agent.describe(self.env, params, state, x).get("value")
        found = dict(action) if isinstance(action, dict) else {"action": action}
        return found if value is None else {**found, "value": value}, state


class Acting(Head):
    """The head of an agent's model.

    The answer to observations is ``{"action", "value"}``, arrays with one row per observation; to :class:`Beginnings`, the
    :class:`~danlu.rl.Episodes` that were played.

    Attributes:
        agent, env: who acts, and where it was trained.
    """

    kind = task = KIND
    verbs = ("account", "play", "record", "turn", "write_buffer")

    agent: Agent
    env: Environment

    def __call__(self, outputs: Any) -> Any:
        """The likeliest action of each, where the network's outputs alone say it; see :meth:`Agent.greedy_action`."""
        found = self.agent.greedy_action(self.env, outputs)
        traced = any(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(outputs))
        return found if traced else jax.tree.map(np.asarray, found)

    def answer(self, trained: Trained, inputs: Any) -> Any:
        if isinstance(inputs, Beginnings):
            how: dict[str, Any] = {"episodes": inputs.episodes, "greedy": inputs.greedy, "seed": inputs.seed}
            return play_episodes(self.agent, inputs.env, trained.params, trained.state, **how)
        decided: Any = _Decided(self.agent, self.env)
        return predict_outputs(decided, trained.params, trained.state, inputs, batch_size=self.batch)

    def frame(self, answers: Any, rows: Any = None) -> pl.DataFrame:
        """``action`` (``action 0``, ``action 1``, … where it has several numbers) and, of an agent that has one, ``value``; or a row
        an episode."""
        if isinstance(answers, Episodes):
            return answers.frame()
        columns: dict[str, np.ndarray] = {}
        for name, values in answers.items():
            flat = values.reshape(len(values), -1).T  # (numbers, rows)
            columns |= {name: values} if values.ndim == 1 else {f"{name} {i}": part for i, part in enumerate(flat)}
        return pl.DataFrame(columns)

    def evidence(self, answers: Episodes, truth: Any = None) -> Sample:
        return Sample(answers.returns, "return")

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        return {"agent": to_json(self.agent), "environment": to_json(self.env)}, {}

    @classmethod
    def from_state(cls, data: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Self:
        try:
            env, agent = (from_json(data.get(name)) for name in ("environment", "agent"))
        except UntrustedError:
            raise
        except DanluError as error:
            raise ArtifactError(f"the saved agent is damaged: {first_line(error)}") from error
        if not isinstance(env, Environment) or not isinstance(agent, Agent):
            raise ArtifactError(
                f"the saved agent is a {type(agent).__name__} in a {type(env).__name__}; expected an agent in an environment"
            )
        return cls(agent, env)

    def check(self, network: Any, encoder: Any) -> None:
        own, seen = parts_of(self.agent, self.env)
        if own != network:
            raise ArtifactError("the saved network is not the one that the saved agent has in its environment")
        shown, known = ((each.space.shape, each.space.dtype, each.in_shape) for each in (seen, encoder))
        if shown != known:  # bounds may change from one version of an environment to the next
            raise ArtifactError(f"the saved agent sees {encoder.space}; its environment shows {seen.space}")

    # What only agents do.

    def play(self, trained: Trained, *, episodes: int = 1, seed: int = 0, greedy: bool = True) -> Episodes:
        """Whole episodes, see :func:`~danlu.rl.play_episodes`."""
        found: Episodes = self.answer(trained, Beginnings(self.env, episodes, seed, greedy))
        return found

    def account(self, trained: Trained, *, episodes: int, seed: int = 0, greedy: bool = True) -> str:
        """Episodes as lines of text: the return of each, and the mean."""
        found = self.play(trained, episodes=episodes, seed=seed, greedy=greedy)
        shown = [
            f"  {number:3d}  return {value:10.4g}  {length:6,} steps  {'ended' if over else 'time was up'}"
            for number, (value, length, over) in enumerate(
                zip(found.returns[:20], found.lengths, found.terminated, strict=False), 1
            )
        ]
        more = [f"  … and {episodes - 20:,} more"] if episodes > 20 else []
        mean = f"mean return {found.returns.mean():.4g} of {episodes:,} episodes in {self.env.id}"
        costs = [
            f"  {kind.replace('_', ' ')}: {percent(float((cost > 0).mean()))} of the episodes, {cost.mean():.4g} an episode"
            for kind, cost in found.costs.items()
        ]
        return "\n".join([mean, *costs, *shown, *more])

    def record(self, trained: Trained, *, seed: int = 0, greedy: bool = True, pictures: int = 400) -> RecordedEpisode:
        """One episode with its pictures, see :func:`~danlu.rl.recording.record_episode`."""
        variables = trained.params, trained.state
        return record_episode(self.agent, self.env, *variables, seed=seed, greedy=greedy, pictures=pictures)

    def turn(self, trained: Trained, moves: Sequence[int], *, agent_begins: bool = False) -> Turn:
        """A board game against a person, one move of the agent further; see :func:`~danlu.rl.games.against.answered`."""
        from danlu.rl.games.against import answered

        env: Any = self.env
        return answered(self.agent, env, trained.params, trained.state, moves, agent_begins=agent_begins)

    def write_buffer(
        self, trained: Trained, path: str | Path, *, steps: int = 1000, seed: int = 0, greedy: bool = False
    ) -> int:
        """Record ``steps`` steps in 8 environments to a file, for training without an environment.

        Returns:
            How many transitions were written.
        """
        env, variables = self.env, (trained.params, trained.state)
        found = collect_transitions(self.agent, env, *variables, steps=steps, seed=seed, greedy=greedy)
        note = {"environment": env.id, "agent": type(self.agent).__name__}
        spaces: dict[str, Any] = {"observation_space": env.observation_space, "action_space": env.action_space}
        save_buffer(path, found, note=note, **spaces)
        return int(found.reward.size)


def parts_of(agent: Agent, env: Environment) -> tuple[Layer, Observations]:
    """The network and the encoder of a saved agent.

    Raises:
        ArtifactError: the agent cannot act in the environment.
        UntrustedError: the environment needs a module that is not allowed.
    """
    try:
        return agent.network(env), Observations(env.observation_space, agent.in_shape(env))
    except UntrustedError:
        raise
    except DanluError as error:
        raise ArtifactError(
            f"the saved agent does not fit its environment: {error.message}", hint=error.hint
        ) from error


def trained_agent(agent: Agent, env: Environment, params: Any, state: Any, **more: Any) -> Trained:
    """The trained model of an agent with its variables.

    Args:
        **more: further fields of :class:`~danlu.trained.Trained`.
    """
    encoder = Observations(env.observation_space, agent.in_shape(env))
    return Trained(agent.network(env), params, state, encoder, Acting(agent, env), **more)
