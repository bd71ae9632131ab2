"""Agents, which learn by acting in an environment instead of from data."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import polars as pl

from danlu.artifact import Artifact, load_artifact
from danlu.artifact.signing import TRUSTED
from danlu.blueprint import Blueprint
from danlu.data import read_table
from danlu.errors import ConfigError, SchemaError
from danlu.evaluate import Sample
from danlu.evaluate.judgement import Judgement
from danlu.pipeline.config import TrainConfig
from danlu.pipeline.domain import Domain, Prepared, Simple
from danlu.pipeline.piped import model_folder
from danlu.pipeline.space import Choice, Place, Span, rounded
from danlu.rl.acting import Acting, Beginnings, parts_of
from danlu.rl.agent import Agent
from danlu.rl.begun import policy_of
from danlu.rl.constraint import Constraint
from danlu.rl.dataset import OfflineDataset, load_buffer
from danlu.rl.environment import Environment
from danlu.rl.evaluation import Episodes, has_expert, play_at_random, play_expert
from danlu.rl.fit import LearnedAgent, check_limits, check_run, fit
from danlu.rl.observations import KIND, Observations
from danlu.rl.recipes import AgentSettings, agent_recipe
from danlu.rl.registry import is_environment, make, make_allowed, modules_in
from danlu.trained import Learned, Read, Say, Trained
from danlu.trained.load import load as load_trained

__all__ = ["Agents"]

TEST = 1_000_003
"""Added to the seed: the test's episodes begin elsewhere than those of training and of its evaluations."""


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class PreparedEnvironment(Prepared):
    """An environment, ready for use.

    Attributes:
        recorded: experience to learn from instead of acting.
        policy: the agent whose policy this one begins with.
        learned: what training left, once it has: of several seeds, the test is of each.
        played: of an environment with costs, the episodes of the test, the agent's and those of whom it is compared with, by name.
    """

    env: Environment
    recorded: OfflineDataset | None = None
    policy: Trained | None = None
    learned: list[LearnedAgent] = dataclasses.field(default_factory=list)
    played: dict[str, Episodes] = dataclasses.field(default_factory=dict)
    unit: str = "steps"

    def lines(self) -> Iterable[str]:
        kind = "compiled" if self.env.pure else "on the host"
        yield f"environment: {self.env.id} ({kind}), episodes of up to {self.env.max_steps:,} steps"
        if self.policy is not None:
            yield f"begins with the policy of {type(self.policy.head.agent).__name__}, which was trained before"
        if self.recorded is not None:
            returns = self.recorded.returns
            told = (
                f", {len(returns):,} whole episodes with a mean return of {returns.mean():.4g}" if len(returns) else ""
            )
            yield f"recording: {self.recorded.transitions.reward.size:,} transitions{told}"


@dataclasses.dataclass(frozen=True)
class AgentPlan:
    """An agent, the number of its training steps, and its seeds."""

    agent: Agent
    steps: int
    seeds: tuple[int, ...]


class Agents(Domain):
    """Environments, and the agents that learn to act in them."""

    kind = KIND
    noun = "environments"
    instead_of_why = "danlu play RUN films what it does"
    encoder = Observations
    head = Acting
    sections: ClassVar[Mapping[str, type[Blueprint]]] = {"agent": AgentSettings}
    sources = ("agent.data",)
    model_name = "the agent"
    uses = (
        "agent.*",
        "data.source",
        "evaluate.baselines|report",
        "track.experiment|mlflow",
        "trainer.devices|learning_rate|seed",
    )
    instead: ClassVar[Mapping[str, str]] = {
        "data.target": "an agent learns by acting: there is no target; leave --target out",
        "data.test": "an agent learns by acting: there is no test file; leave --test out",
        "trainer.epochs": "agent.steps says how long an agent is trained",
        "trainer.batch_size": "agent.settings.batch_size (or minibatches) says it",
        "track.tensorboard": "the curves and the weights are drawn without it",
        "trainer.patience": "an agent keeps the best of its evaluations",
        "model.width": "agent.settings.hidden=[64,64] says it",
        "model.depth": "agent.settings.hidden=[64,64] says it",
        "model.members": "agent.seeds trains several",
        "model.dropout": "agents have none",
    }
    reads_files = False

    def claims(self, config: TrainConfig, source: Any) -> bool:
        return isinstance(source, Environment) or is_environment(source)

    def prepare(self, config: TrainConfig, source: Any) -> PreparedEnvironment:
        parameters = dict(config.agent.environment)
        env = source.replace(**parameters) if isinstance(source, Environment) else make_allowed(source, **parameters)
        if not env.pure:
            from danlu.rl.check_env import check_env

            check_env(env)
        recorded = None if config.agent.data is None else load_buffer(config.agent.data)
        plan = self.plan_for(config, env)
        check_run(plan.agent, env, recorded, len(plan.seeds), config.trainer.devices)
        check_limits(Constraint.of(config.agent.cost_limit), env, recorded)
        policy = None if config.agent.policy is None else self._begun(config.agent.policy)
        policy_of(policy, plan.agent, plan.agent.within(env))
        steps = plan.steps
        split = f"the test is {config.agent.episodes} new episodes"
        unit = "steps" if recorded is None else "updates"
        return PreparedEnvironment(
            env=env,
            recorded=recorded,
            policy=policy,
            rows={"training": steps * config.agent.seeds},
            split=split,
            unit=unit,
        )

    def _begun(self, run: str) -> Trained:
        """The agent of a run, or of a folder of a saved model."""
        found = load_artifact(model_folder(run), trusted=os.environ.get(TRUSTED))
        if found.task.get("kind") != self.kind:
            raise ConfigError(f"{run} is no run of an agent; expected one whose policy this agent can begin with")
        return load_trained(found, self, self)

    def plan_for(self, config: TrainConfig, env: Environment) -> AgentPlan:
        """The agent for an environment, with the config's settings."""
        settings = {**config.agent.settings}
        if config.trainer.learning_rate is not None:
            settings.setdefault("learning_rate", config.trainer.learning_rate)
        agent, steps = agent_recipe(env, config.agent.algorithm, begun=bool(config.agent.policy), **settings)
        first = config.trainer.seed
        return AgentPlan(agent, config.agent.steps or steps, tuple(range(first, first + config.agent.seeds)))

    def plan(self, config: TrainConfig, prepared: PreparedEnvironment) -> AgentPlan:
        return self.plan_for(config, prepared.env)

    def space(self, config: TrainConfig, plan: AgentPlan) -> Mapping[str, Place]:
        rate = getattr(plan.agent, "learning_rate", None)
        if not isinstance(rate, float):
            return {}
        found: dict[str, Place] = {"trainer.learning_rate": Span(rounded(rate / 10), rounded(rate * 5), log=True)}
        for name, values in (("entropy_weight", (0.0, 0.003, 0.01, 0.03)), ("gae_lambda", (0.9, 0.95, 0.98))):
            if getattr(plan.agent, name, 1.0) != 1.0:  # at 1 there is nothing to choose (REINFORCE)
                found[f"agent.settings.{name}"] = Choice(values)
        return found

    def learn(self, config: TrainConfig, prepared: PreparedEnvironment, plan: AgentPlan, **how: Any) -> Learned:
        learned = fit(
            plan.agent,
            prepared.env,
            steps=plan.steps,
            seed=plan.seeds if len(plan.seeds) > 1 else plan.seeds[0],
            evaluations=config.agent.evaluations,
            data=prepared.recorded,
            cost_limit=config.agent.cost_limit,
            policy=prepared.policy,
            devices=config.trainer.devices,
            **how,
        )
        prepared.learned.append(learned)
        return learned

    def test(self, config: TrainConfig, prepared: PreparedEnvironment, trained: Trained) -> Judgement:
        episodes, seed = config.agent.episodes, config.trainer.seed
        begun = Beginnings(prepared.env, episodes, seed + TEST)
        own = trained.judge(begun, None, seed=seed)
        drawn = trained.answer(dataclasses.replace(begun, greedy=False)).returns
        more = [Sample(drawn, "sampled_return")]
        if prepared.env.costs:
            prepared.played[self.model_name] = played = trained.answer(begun)
            more.append(Sample(sum(played.costs.values()), "episode_cost"))
        (learned,) = prepared.learned
        if len(learned.seeds) > 1:
            each = (learned.member(number).answer(begun).returns for number in range(len(learned.seeds)))
            more.append(Sample(np.array([returns.mean() for returns in each], np.float64), "iqm_return"))
        scores = {**own.scores, **{each.name: each.interval(seed=seed) for each in more}}
        return dataclasses.replace(own, scores=scores, name=self.model_name, rows_are="test episodes")

    def simple(
        self, config: TrainConfig, prepared: PreparedEnvironment, trained: Trained, ours: Any
    ) -> Iterable[Simple]:
        how = {"episodes": config.agent.episodes, "seed": config.trainer.seed + TEST}
        players: dict[str, Callable[..., Episodes]] = {"acting at random": play_at_random}
        if prepared.policy is not None:
            players["the policy that it began with"] = functools.partial(_played_by, prepared.policy)
        if has_expert(prepared.env):
            players["the expert"] = play_expert
        for name, play in players.items():
            prepared.played[name] = play(prepared.env, **how)
            yield Simple(name, Sample(prepared.played[name].returns, "return"), yardstick=name == "the expert")
        if prepared.recorded is not None and len(prepared.recorded.returns) > 1:
            yield Simple("the recording", Sample(prepared.recorded.returns, "return"))

    def read(self, trained: Trained, source: Any, *, lenient: bool, say: Say, truth: bool = False) -> Read:
        """A table of observations, one per row, with one column per number in the environment's order; or with ``truth``, 100 episodes.

        The episodes are in the environment that the agent was trained in, by its name, or in another with the same spaces.
        """
        head = trained.head
        if truth:
            env = _place(head, source)
            return Read(Beginnings(env, 100, TEST), truth=env, noun="episodes")
        space = head.env.observation_space
        width = int(np.prod(space.shape)) if isinstance(space.shape, tuple) else 0
        if not width and space.shape != ():
            raise SchemaError(
                f"{head.env.id} shows {space}, which a table cannot hold", hint="danlu play lets the agent act"
            )
        try:
            frame = read_table(source).frame if isinstance(source, str | Path) else pl.DataFrame(source)
        except (TypeError, ValueError, pl.exceptions.PolarsError) as error:
            raise SchemaError(f"a {type(source).__name__} is not a table of observations") from error
        width = max(width, 1)
        if frame.width != width or any(not kind.is_numeric() for kind in frame.dtypes):
            raise SchemaError(
                f"the observations have the columns {', '.join(frame.columns[:8])}; expected {width} columns of numbers, as "
                f"{head.env.id} shows them"
            )
        seen = frame.to_numpy().astype(space.dtype).reshape(-1, *space.shape)
        if not np.isfinite(seen.astype(np.float64)).all():
            raise SchemaError("the observations hold empty cells or NaN; expected numbers")
        return Read(seen, given=frame)

    def purpose(self, trained: Trained) -> str:
        return f"acting in {trained.head.env.id}, by {type(trained.head.agent).__name__}"

    def next_steps(self, trained: Trained, run: str, source: str) -> tuple[tuple[str, ...], ...]:
        allowed = [word for module in modules_in(trained.head.env.id) for word in ("--allow", module)]
        return (("play", run, *allowed), ("play", run, "--episodes", "100", *allowed))

    def old_encoder(self, artifact: Artifact) -> Any:
        head = Acting.from_state(*self.old_head(artifact))
        return parts_of(head.agent, head.env)[1].state()[0]

    def old_head(self, artifact: Artifact) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        return {"agent": artifact.encoder["agent"], "environment": artifact.task["environment"]}, {}

    def report(self, prepared: PreparedEnvironment, trained: Trained, judgement: Judgement | None) -> dict[str, Any]:
        from danlu.report.agents import agent_sections

        (learned,) = prepared.learned
        facts = {
            "algorithm": type(learned.agent).__name__,
            "environments": f"{learned.agent.environments} side by side"
            if prepared.recorded is None
            else "none: a recording",
        }
        if len(learned.seeds) > 1:
            facts["seeds"] = ", ".join(map(str, learned.seeds))
        played = None if judgement is None else judgement.predictions
        return {
            "target": f"what to do in {learned.env.id}",
            "task": self.kind,
            "facts": facts,
            "sections": agent_sections(trained, learned.fitted.history, played, prepared.played),
        }


def _played_by(model: Trained, env: Environment, *, episodes: int, seed: int) -> Episodes:
    """Whole episodes of a trained agent in an environment that may differ from its own in its parameters."""
    found: Episodes = model.answer(Beginnings(model.head.agent.within(env), episodes, seed))
    return found


def _place(head: Acting, source: Any) -> Environment:
    """The environment to be tested in; the name alone of that of the training means its parameters too."""
    if not isinstance(source, Environment):
        if source == head.env.id:
            return head.env
        source = make(source)
    env = head.agent.within(source)
    if (env.observation_space, env.action_space) != (head.env.observation_space, head.env.action_space):
        raise SchemaError(
            f"{env.id} shows {env.observation_space} and takes {env.action_space}; the agent was trained in {head.env.id}, "
            f"which shows {head.env.observation_space} and takes {head.env.action_space}"
        )
    return env
