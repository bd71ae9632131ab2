"""A trained agent as the user meets it: it plays, is filmed, and answers for observations."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from danlu.errors import SchemaError
from danlu.evaluate import Sample
from danlu.pipeline.judge import Judgement
from danlu.pipeline.model import Model, Say, warn
from danlu.rl.dataset import save_buffer
from danlu.rl.environment import Environment
from danlu.rl.evaluation import Episodes, collect_transitions, play_episodes
from danlu.rl.recording import Recording, record_episode
from danlu.rl.registry import make, modules_in

__all__ = ["TEST", "Player"]

TEST = 1_000_003
"""Added to the seed: the test's episodes begin elsewhere than those of training and of its evaluations."""


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Player(Model):
    """A trained agent as the user meets it."""

    @property
    def purpose(self) -> str:
        return f"acting in {self.predictor.env.id}, by {type(self.predictor.agent).__name__}"

    def play(self, *, episodes: int = 1, seed: int = 0, greedy: bool = True) -> Episodes:
        """Whole episodes, see :func:`~danlu.rl.play_episodes`."""
        found: Episodes = self.predictor.play(episodes=episodes, seed=seed, greedy=greedy)
        return found

    def account(self, *, episodes: int, seed: int = 0, greedy: bool = True) -> str:
        """Episodes told in lines: what each brought, and the mean."""
        found = self.play(episodes=episodes, seed=seed, greedy=greedy)
        shown = [
            f"  {number:3d}  return {value:10.4g}  {length:6,} steps  {'ended' if over else 'time was up'}"
            for number, (value, length, over) in enumerate(
                zip(found.returns[:20], found.lengths, found.terminated, strict=False), 1
            )
        ]
        more = [f"  … and {episodes - 20:,} more"] if episodes > 20 else []
        mean = f"mean return {found.returns.mean():.4g} of {episodes:,} episodes in {self.predictor.env.id}"
        return "\n".join([mean, *shown, *more])

    def next_steps(self, run: str, source: str) -> tuple[tuple[str, ...], ...]:
        allowed = [word for module in modules_in(self.predictor.env.id) for word in ("--allow", module)]
        return (("play", run, *allowed), ("play", run, "--episodes", "100", *allowed))

    def record(self, *, seed: int = 0, greedy: bool = True, pictures: int = 400) -> Recording:
        """One episode with its pictures, see :func:`~danlu.rl.recording.record_episode`."""
        trained = self.predictor
        return record_episode(
            trained.agent, trained.env, trained.params, trained.state, seed=seed, greedy=greedy, pictures=pictures
        )

    def write_buffer(self, path: str | Path, *, steps: int = 1000, seed: int = 0, greedy: bool = False) -> int:
        """Write what it does for ``steps`` steps in 8 environments, for learning from it without an environment.

        Returns:
            How many transitions were written.
        """
        trained, env = self.predictor, self.predictor.env
        found = collect_transitions(
            trained.agent, env, trained.params, trained.state, steps=steps, seed=seed, greedy=greedy
        )
        note = {"environment": env.id, "agent": type(trained.agent).__name__}
        spaces: dict[str, Any] = {"observation_space": env.observation_space, "action_space": env.action_space}
        save_buffer(path, found, note=note, **spaces)
        return int(found.reward.size)

    def predict(self, source: Any, *, lenient: bool = False, say: Say = warn) -> pl.DataFrame:
        """The action for each observation of a table: a row an observation, a column a number of it, in the environment's sequence.

        Returns:
            ``action`` (``action 0``, ``action 1``, … where it has several numbers) and, of an agent that has one, ``value``.
        """
        from danlu.data import read_table

        space = self.predictor.env.observation_space
        width = int(np.prod(space.shape)) if isinstance(space.shape, tuple) else 0
        if not width and space.shape != ():
            raise SchemaError(
                f"{self.predictor.env.id} shows {space}, which no table holds", hint="danlu play lets the agent act"
            )
        frame = read_table(source).frame if isinstance(source, str | Path) else pl.DataFrame(source)
        width = max(width, 1)
        if frame.width != width or any(not kind.is_numeric() for kind in frame.dtypes):
            raise SchemaError(
                f"the observations have the columns {', '.join(frame.columns[:8])}; expected {width} columns of numbers, as "
                f"{self.predictor.env.id} shows them"
            )
        seen = frame.to_numpy().astype(space.dtype).reshape(-1, *space.shape)
        if not np.isfinite(seen.astype(np.float64)).all():
            raise SchemaError("the observations hold empty cells or NaN; expected numbers")
        trained = self.predictor
        action = np.asarray(trained.agent.act(trained.env, trained.params, trained.state, seen, None))
        value = trained.agent.describe(trained.env, trained.params, trained.state, seen).get("value")
        parts = (
            {"action": action} if action.ndim == 1 else {f"action {i}": action[:, i] for i in range(action.shape[1])}
        )
        return pl.DataFrame(parts if value is None else {**parts, "value": np.asarray(value)})

    def evaluate(self, source: Any, *, lenient: bool = False, say: Say = warn) -> Judgement:
        """100 episodes in an environment: the one it was trained in, by its name, or another that shows and takes the same."""
        trained = self.predictor
        if isinstance(source, Environment):
            env = trained.agent.within(source)
        else:  # its name alone means its parameters too
            env = trained.env if source == trained.env.id else trained.agent.within(make(source))
        if (env.observation_space, env.action_space) != (trained.env.observation_space, trained.env.action_space):
            raise SchemaError(
                f"{env.id} shows {env.observation_space} and takes {env.action_space}; the agent was trained in {trained.env.id}, "
                f"which shows {trained.env.observation_space} and takes {trained.env.action_space}"
            )
        own = play_episodes(trained.agent, env, trained.params, trained.state, episodes=100, seed=TEST)
        return Judgement(
            {"return": Sample(own.returns, "return").interval()},
            tested="100 episodes",
            predictions=own.frame(),
        )
