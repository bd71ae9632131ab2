"""Agents: what learns by acting in an environment instead of from data."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from danlu.artifact import Artifact
from danlu.blueprint import from_json
from danlu.errors import ArtifactError, DanluError, UntrustedError
from danlu.evaluate import Sample, compare
from danlu.evaluate.compare import counted
from danlu.pipeline.config import TrainConfig
from danlu.pipeline.domain import Domain, Prepared
from danlu.pipeline.judge import Judgement
from danlu.pipeline.player import TEST, Player
from danlu.rl.agent import Agent
from danlu.rl.dataset import Recording, load_buffer
from danlu.rl.environment import Environment
from danlu.rl.evaluation import play_at_random, play_episodes
from danlu.rl.fit import KIND, TrainedAgent, check_run, fit
from danlu.rl.recipes import agent_recipe
from danlu.rl.registry import is_environment, make_allowed

__all__ = ["Agents", "Player"]


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class PreparedEnvironment(Prepared):
    """An environment that is ready to be acted in."""

    env: Environment
    recorded: Recording | None = None
    unit: str = "steps"

    def lines(self) -> Iterable[str]:
        kind = "compiled" if self.env.pure else "on the host"
        yield f"environment: {self.env.id} ({kind}), episodes of up to {self.env.max_steps:,} steps"
        if self.recorded is not None:
            returns = self.recorded.returns
            told = (
                f", {len(returns):,} whole episodes with a mean return of {returns.mean():.4g}" if len(returns) else ""
            )
            yield f"recording: {self.recorded.transitions.reward.size:,} transitions{told}"


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

    kind = KIND
    noun = "environments"
    uses = (
        "agent.*",
        "data.source",
        "evaluate.baselines",
        "evaluate.report",
        "trainer.devices",
        "trainer.learning_rate",
        "trainer.seed",
    )
    instead: ClassVar[Mapping[str, str]] = {
        "data.target": "an agent learns by acting: there is no target; leave --target out",
        "data.test": "an agent learns by acting: there is no test file; leave --test out",
        "trainer.epochs": "agent.steps says how long an agent is trained",
        "trainer.batch_size": "agent.settings.rows (or minibatches) says it",
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
        steps = plan.steps
        split = f"each test episode begins anew; {config.agent.episodes} of them"
        unit = "steps" if recorded is None else "updates"
        return PreparedEnvironment(
            env=env, recorded=recorded, rows={"training": steps * config.agent.seeds}, split=split, unit=unit
        )

    def plan_for(self, config: TrainConfig, env: Environment) -> AgentPlan:
        """The agent for an environment, with the config's settings."""
        settings = {**config.agent.settings}
        if config.trainer.learning_rate is not None:
            settings.setdefault("learning_rate", config.trainer.learning_rate)
        agent, steps = agent_recipe(env, config.agent.algorithm, **settings)
        first = config.trainer.seed
        return AgentPlan(agent, config.agent.steps or steps, tuple(range(first, first + config.agent.seeds)))

    def plan(self, config: TrainConfig, prepared: PreparedEnvironment) -> AgentPlan:
        return self.plan_for(config, prepared.env)

    def learn(self, config: TrainConfig, prepared: PreparedEnvironment, plan: AgentPlan, **how: Any) -> Any:
        trained = fit(
            plan.agent,
            prepared.env,
            steps=plan.steps,
            seed=plan.seeds if len(plan.seeds) > 1 else plan.seeds[0],
            evaluations=config.agent.evaluations,
            data=prepared.recorded,
            devices=config.trainer.devices,
            **how,
        )
        return AgentLearned(trained, trained.fitted)

    def judge(self, config: TrainConfig, prepared: PreparedEnvironment, trained: TrainedAgent) -> Judgement | None:
        seed = config.trainer.seed + TEST
        options: dict[str, Any] = {"seed": config.trainer.seed}
        episodes = config.agent.episodes
        own, drawn = (
            play_episodes(
                trained.agent, trained.env, trained.params, trained.state, episodes=episodes, greedy=greedy, seed=seed
            )
            for greedy in (True, False)
        )
        scores = {
            "return": Sample(own.returns, "return").interval(**options),
            "sampled_return": Sample(drawn.returns, "sampled_return").interval(**options),
        }
        if len(trained.seeds) > 1:
            each = [
                play_episodes(
                    trained.agent, trained.env, *trained.variables(member), episodes=episodes, seed=seed
                ).returns.mean()
                for member in range(len(trained.seeds))
            ]
            scores["iqm_return"] = Sample(np.array(each, np.float64), "iqm_return").interval(**options)
        plain = Judgement(
            scores,
            tested=counted(episodes, "test episodes"),
            predictions=own.frame(),
            name="the agent",
            rows_are="test episodes",
        )
        if not config.evaluate.baselines:
            return plain
        beside = {"acting at random": play_at_random(trained.env, episodes=episodes, seed=seed).returns}
        if prepared.recorded is not None and len(prepared.recorded.returns) > 1:
            beside["the recording"] = prepared.recorded.returns
        comparisons = tuple(
            compare(Sample(own.returns, "return"), Sample(returns, "return"), label, name=plain.name, **options)
            for label, returns in beside.items()
        )
        others = {label: {"return": Sample(returns, "return").interval(**options)} for label, returns in beside.items()}
        return dataclasses.replace(plain, others=others, comparisons=comparisons)

    def save(
        self, folder: str | Path, trained: TrainedAgent, *, metrics: Mapping[str, Any], provenance: Mapping[str, Any]
    ) -> None:
        trained.save(folder, metrics=metrics, provenance=provenance)

    def load(self, artifact: Artifact) -> Player:
        task, encoder = artifact.task, artifact.encoder
        try:
            env = from_json(task["environment"])
            agent = from_json(encoder["agent"])
        except UntrustedError:
            raise
        except (DanluError, KeyError, TypeError) as error:
            raise ArtifactError(f"the saved agent is damaged: {str(error).splitlines()[0][:200]}") from error
        if not isinstance(env, Environment) or not isinstance(agent, Agent):
            raise ArtifactError(
                f"the saved agent is a {type(agent).__name__} in a {type(env).__name__}; expected an agent in an environment"
            )
        try:
            network = agent.network(env)
        except UntrustedError:
            raise
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
            "environments": f"{trained.agent.environments} side by side"
            if prepared.recorded is None
            else "none: a recording",
        }
        if len(trained.seeds) > 1:
            facts["seeds"] = ", ".join(map(str, trained.seeds))
        history = [] if trained.fitted is None else trained.fitted.history
        return {
            "target": f"what to do in {trained.env.id}",
            "task": self.kind,
            "facts": facts,
            "sections": agent_sections(trained, history, None if judgement is None else judgement.predictions),
        }
