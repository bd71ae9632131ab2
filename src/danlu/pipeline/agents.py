"""Agents: what learns by acting in an environment instead of from data."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from danlu.artifact import Artifact, save_artifact
from danlu.blueprint import from_json, to_json
from danlu.errors import ArtifactError, ConfigError, DanluError, SchemaError
from danlu.evaluate import MEASURES, Interval
from danlu.evaluate.compare import compared
from danlu.evaluate.runs import run_intervals
from danlu.pipeline.config import TrainConfig
from danlu.pipeline.domain import Domain, Prepared
from danlu.pipeline.judge import Judgement
from danlu.pipeline.model import Model, Say, warn
from danlu.rl.agent import Agent
from danlu.rl.environment import Environment
from danlu.rl.evaluation import Episodes, play_at_random, play_episodes
from danlu.rl.fit import TrainedAgent, fit
from danlu.rl.recipes import agent_recipe
from danlu.rl.recording import Recording, record_episode
from danlu.rl.registry import is_environment, make

__all__ = ["Agents", "Player"]

_TEST = (
    1_000_003  # added to the seed: the test's episodes begin elsewhere than those of training and of its evaluations
)


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class PreparedEnvironment(Prepared):
    """An environment that is ready to be acted in."""

    env: Environment
    unit: str = "steps"

    def lines(self) -> Iterable[str]:
        kind = "compiled" if self.env.pure else "on the host"
        yield f"environment: {self.env.id} ({kind}), episodes of up to {self.env.max_steps:,} steps"


@dataclasses.dataclass(frozen=True)
class AgentPlan:
    """An agent, for how many steps it is trained, and with which seeds."""

    agent: Agent
    steps: int
    seeds: tuple[int, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class AgentLearned:
    """What training gave: the agent, and the record of the training."""

    model: TrainedAgent
    fitted: Any


class Agents(Domain):
    """Environments, and the agents that learn to act in them."""

    kind = "agent"

    def claims(self, config: TrainConfig, source: Any) -> bool:
        return isinstance(source, Environment) or is_environment(source)

    def prepare(self, config: TrainConfig, source: Any) -> PreparedEnvironment:
        if config.data.target or config.data.test is not None:
            raise ConfigError(
                f"{source} is an environment, where an agent learns by acting: there is no target and no test file",
                hint="leave out --target and --test",
            )
        parameters = dict(config.agent.environment)
        env = source.replace(**parameters) if isinstance(source, Environment) else make(source, **parameters)
        if not env.pure:
            from danlu.rl.check_env import check_env

            check_env(env)
        steps = self.plan_for(config, env).steps
        split = f"each test episode begins anew; {config.agent.episodes} of them"
        return PreparedEnvironment(env=env, rows={"training": steps * config.agent.seeds}, split=split)

    def plan_for(self, config: TrainConfig, env: Environment) -> AgentPlan:
        """The agent for an environment, with the config's settings."""
        settings = {**config.agent.settings}
        if config.trainer.learning_rate is not None:
            settings.setdefault("learning_rate", config.trainer.learning_rate)
        agent, steps = agent_recipe(env, config.agent.algorithm, **settings)
        first = config.trainer.seed
        return AgentPlan(agent, config.agent.steps or steps, tuple(range(first, first + config.agent.seeds)))

    def plan(self, config: TrainConfig, prepared: PreparedEnvironment) -> AgentPlan:
        for section, name, instead in (
            ("trainer", "epochs", "agent.steps says how long an agent is trained"),
            ("trainer", "batch_size", "agent.settings.rows (or minibatches) says it"),
            ("trainer", "patience", "an agent keeps the best of its evaluations"),
            ("model", "width", "agent.settings.hidden=[64,64] says it"),
            ("model", "depth", "agent.settings.hidden=[64,64] says it"),
            ("model", "members", "agent.seeds trains several"),
            ("model", "dropout", "agents have none"),
        ):
            if getattr(getattr(config, section), name) is not None:
                raise ConfigError(f"{section}.{name} is for data, not for an environment", hint=instead)
        if config.agent.seeds > 1 and not prepared.env.pure:
            raise ConfigError(
                f"agent.seeds is {config.agent.seeds}; {prepared.env.id} is no compiled environment, and agents in it are not trained "
                "side by side",
                hint="train them one after the other, with trainer.seed",
            )
        return self.plan_for(config, prepared.env)

    def learn(self, config: TrainConfig, prepared: PreparedEnvironment, plan: AgentPlan, **how: Any) -> Any:
        trained = fit(
            plan.agent,
            prepared.env,
            steps=plan.steps,
            seed=plan.seeds if len(plan.seeds) > 1 else plan.seeds[0],
            evaluations=config.agent.evaluations,
            **how,
        )
        return AgentLearned(trained, trained.fitted)

    def judge(self, config: TrainConfig, prepared: PreparedEnvironment, trained: TrainedAgent) -> Judgement | None:
        seed, options = (
            config.trainer.seed + _TEST,
            {"resamples": config.evaluate.resamples, "seed": config.trainer.seed},
        )
        episodes = config.agent.episodes
        own, drawn = (
            play_episodes(
                trained.agent, trained.env, trained.params, trained.state, episodes=episodes, greedy=greedy, seed=seed
            )
            for greedy in (True, False)
        )
        scores = {
            "return": mean_interval(own.returns, **options),
            "sampled_return": mean_interval(drawn.returns, **options),
        }
        if len(trained.seeds) > 1:
            each = [
                play_episodes(
                    trained.agent, trained.env, *trained.variables(member), episodes=episodes, seed=seed
                ).returns.mean()
                for member in range(len(trained.seeds))
            ]
            scores["iqm_return"] = run_intervals(np.array(each, np.float64), **options)["iqm"]
        tested = f"{episodes:,} test episodes"
        if not config.evaluate.baselines:
            return Judgement(scores, tested=tested, predictions=own.frame())
        chance = play_at_random(trained.env, episodes=episodes, seed=seed)
        ends = difference_interval(own.returns, chance.returns, **options)
        comparison = compared(
            MEASURES["return"],
            float(own.returns.mean()),
            float(chance.returns.mean()),
            ends,
            "random actions",
            name="the agent",
        )
        others = {"random actions": {"return": mean_interval(chance.returns, **options)}}
        return Judgement(scores, others=others, comparisons=(comparison,), tested=tested, predictions=own.frame())

    def save(
        self, folder: str | Path, trained: TrainedAgent, *, metrics: Mapping[str, Any], provenance: Mapping[str, Any]
    ) -> None:
        save_artifact(
            folder,
            model=trained.network,
            variables=(trained.params, trained.state),
            task={"task": self.kind, "environment": to_json(trained.env)},
            encoder={"kind": self.kind, "agent": to_json(trained.agent)},
            metrics=metrics,
            provenance={**provenance, "seed": trained.seeds[trained.best]},
        )

    def load(self, artifact: Artifact) -> Player:
        task, encoder = artifact.task, artifact.encoder
        try:
            env = from_json(task["environment"])
            agent = from_json(encoder["agent"])
        except (DanluError, KeyError, TypeError) as error:
            raise ArtifactError(f"the saved agent is damaged: {str(error).splitlines()[0][:200]}") from error
        if not isinstance(env, Environment) or not isinstance(agent, Agent):
            raise ArtifactError(
                f"the saved agent is a {type(agent).__name__} in a {type(env).__name__}; expected an agent in an environment"
            )
        try:
            network = agent.network(env)
        except DanluError as error:
            raise ArtifactError(
                f"the saved agent does not fit its environment: {error.message}", hint=error.hint
            ) from error
        if network != artifact.model:
            raise ArtifactError("the saved network is not the one that the saved agent has in its environment")
        trained = TrainedAgent(agent, env, artifact.params, artifact.state, None)
        return self.model(trained, artifact.metrics, artifact.provenance)

    def model(self, trained: TrainedAgent, metrics: Mapping[str, Any], provenance: Mapping[str, Any]) -> Player:
        return Player(trained, metrics, provenance)

    def report(
        self, prepared: PreparedEnvironment, trained: TrainedAgent, judgement: Judgement | None
    ) -> dict[str, Any]:
        from danlu.report.agents import agent_sections

        facts = {
            "algorithm": type(trained.agent).__name__,
            "environments": f"{trained.agent.environments} side by side",
            "seeds": ", ".join(map(str, trained.seeds)),
        }
        history = [] if trained.fitted is None else trained.fitted.history
        return {
            "target": f"what to do in {trained.env.id}",
            "task": self.kind,
            "facts": facts,
            "sections": agent_sections(trained, history, None if judgement is None else judgement.predictions),
        }


def mean_interval(values: np.ndarray, *, resamples: int, seed: int) -> Interval:
    """The mean with the interval of its bootstrap."""
    draws = np.random.default_rng(seed).integers(len(values), size=(resamples, len(values)))
    low, high = np.quantile(np.asarray(values, np.float64)[draws].mean(axis=1), [0.025, 0.975])
    return Interval(float(np.mean(values, dtype=np.float64)), float(low), float(high))


def difference_interval(ours: np.ndarray, theirs: np.ndarray, *, resamples: int, seed: int) -> tuple[float, float]:
    """The ends of the interval of the difference of two means of episodes that have nothing to do with each other."""
    rng = np.random.default_rng(seed)
    drawn = [
        np.asarray(v, np.float64)[rng.integers(len(v), size=(resamples, len(v)))].mean(axis=1) for v in (ours, theirs)
    ]
    low, high = np.quantile(drawn[0] - drawn[1], [0.025, 0.975])
    return float(low), float(high)


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

    def next_steps(self, run: Any) -> str:
        return f"  danlu play {run}"

    def record(self, *, seed: int = 0, greedy: bool = True, pictures: int = 400) -> Recording:
        """One episode with its pictures, see :func:`~danlu.rl.recording.record_episode`."""
        trained = self.predictor
        return record_episode(
            trained.agent, trained.env, trained.params, trained.state, seed=seed, greedy=greedy, pictures=pictures
        )

    def predict(self, source: Any, *, lenient: bool = False, say: Say = warn) -> pl.DataFrame:
        """The action for each observation of a table: a row an observation, a column a number of it, in the environment's sequence.

        Returns:
            ``action`` (``action 0``, ``action 1``, … where it has several numbers) and ``value``.
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
        value = np.asarray(trained.agent.describe(trained.env, trained.params, trained.state, seen)["value"])
        parts = (
            {"action": action} if action.ndim == 1 else {f"action {i}": action[:, i] for i in range(action.shape[1])}
        )
        return pl.DataFrame({**parts, "value": value})

    def evaluate(self, source: Any, *, lenient: bool = False, say: Say = warn, resamples: int = 1000) -> Judgement:
        """100 episodes in an environment: the one it was trained in, by its name, or another that shows and takes the same."""
        env = source if isinstance(source, Environment) else make(source)
        trained = self.predictor
        if (env.observation_space, env.action_space) != (trained.env.observation_space, trained.env.action_space):
            raise SchemaError(
                f"{env.id} shows {env.observation_space} and takes {env.action_space}; the agent was trained in {trained.env.id}, "
                f"which shows {trained.env.observation_space} and takes {trained.env.action_space}"
            )
        own = play_episodes(trained.agent, env, trained.params, trained.state, episodes=100, seed=_TEST)
        return Judgement(
            {"return": mean_interval(own.returns, resamples=resamples, seed=0)},
            tested="100 episodes",
            predictions=own.frame(),
        )
