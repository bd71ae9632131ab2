"""``rl.fit``: train an agent in an environment, by the engine's own loop."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.engine import Callback, FitOptions, Fitted, Population, enable_compilation_cache
from danlu.engine import train as train_program
from danlu.engine.initial import RUN_ONCE
from danlu.engine.mesh import check_shares, need_devices
from danlu.engine.sources import Piece
from danlu.engine.state import TrainState, owned
from danlu.errors import ConfigError, unknown_name
from danlu.nn.layer import Layer
from danlu.rl.acting import trained_agent
from danlu.rl.agent import Agent, AgentProgram, learner_of
from danlu.rl.begun import placed, policy_of
from danlu.rl.constraint import Constraint, costs_of
from danlu.rl.dataset import OfflineDataset, load_buffer, save_buffer
from danlu.rl.environment import Environment
from danlu.rl.evaluation import Episodes, play_episodes, run_episodes
from danlu.rl.external import raise_if_broken
from danlu.rl.off_policy import OffPolicy
from danlu.rl.registry import make
from danlu.trained import Learned, Trained

__all__ = ["LearnedAgent", "check_run", "fit"]

_OPTIONS = ("checkpoint_every", "devices", "display", "min_delta", "mode", "monitor", "patience", "restore_best")
_MOST = 2**31 - 1
_EVALUATION = 2**31 + 1  # folded into the run's key beside its updates and iterations


class Iterations:
    """Iterations of collecting and learning, in epochs; a source without rows.

    Args:
        count: iterations of an epoch; the last one has what is left of ``total``.
        total: iterations in all.
        batch_size: steps of the environments in an iteration.
        in_shape: of the network.
        members: agents side by side; None is one.
    """

    def __init__(self, count: int, total: int, batch_size: int, in_shape: Any, members: int | None = None) -> None:
        self.steps_per_epoch: int | None = count
        self.order = np.zeros((0,) if members is None else (members, 0), np.int32)
        self.count, self.total, self.batch_size, self.in_shape = count, total, batch_size, in_shape

    def check_with(self, check: Any) -> None:
        """Checks nothing: an agent computes its own targets."""

    def pieces(self, epoch: int, start: int) -> Iterator[Piece]:
        """One piece without rows: the agent collects its own."""
        if start == 0:
            yield Piece({}, self.order, min(self.count, self.total - epoch * self.count), self.batch_size)


class _Watch(Callback):
    """Ends the training when an environment on the host has failed."""

    def __init__(self, env: Environment) -> None:
        self.env = env

    def on_progress(self, done: int, total: int | None, logs: Any) -> None:
        raise_if_broken(self.env)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class LearnedAgent(Learned):
    """The result of training: the trained model, which acts, and the record of the training.

    Attributes:
        model: with the variables of the best evaluation in training; of several seeds, of the best of them.
        fitted: the record; its ``params`` have a leading axis of seeds where there were several.
        seeds: of the runs.
        best: which of them the model is of.
    """

    seeds: tuple[int, ...] = (0,)
    best: int = 0

    def __repr__(self) -> str:
        return f"LearnedAgent({type(self.agent).__name__}, {self.env.id}, {self.fitted!r})"

    @property
    def agent(self) -> Agent:
        """The agent that was trained."""
        head: Any = self.model.head
        return head.agent

    @property
    def env(self) -> Environment:
        """The environment it was trained in."""
        head: Any = self.model.head
        return head.env

    @property
    def network(self) -> Layer:
        """The network's blueprint."""
        return self.model.network

    @property
    def params(self) -> Any:
        """The model's parameters."""
        return self.model.params

    @property
    def state(self) -> Any:
        """The state that goes with them."""
        return self.model.state

    def variables(self, member: int) -> tuple[Any, Any]:
        """``(params, state)`` of the run with the seed ``seeds[member]``."""
        return _variables(self.fitted, self.seeds, member)

    def member(self, number: int) -> Trained:
        """The model of the run with the seed ``seeds[number]``."""
        params, state = self.variables(number)
        return dataclasses.replace(self.model, params=params, state=state)

    def save_buffer(self, path: str | Path, *, note: dict[str, Any] | None = None) -> None:
        """Write the agent's replay memory to a file, for :func:`danlu.rl.load_buffer` and training without an environment.

        Raises:
            ConfigError: an agent without a memory, or several seeds.
        """
        memory = getattr(getattr(self.fitted.train_state, "world", None), "memory", None)
        replay: Any = memory.get("replay") if isinstance(memory, dict) else None
        if len(self.seeds) > 1 or replay is None or not isinstance(self.agent, OffPolicy):
            raise ConfigError(
                f"there is no replay memory of {type(self.agent).__name__} to write; expected an agent with a replay that "
                "was just trained, with one seed"
            )
        rows = getattr(replay, "replay", replay).in_time_order()
        rows = {**rows, "action": self.agent.env_action(self.env, rows["action"])}
        spaces = {"observation_space": self.env.observation_space, "action_space": self.env.action_space}
        save_buffer(path, rows, note=note, **spaces)

    def save(
        self,
        folder: str | Path,
        *,
        metrics: Mapping[str, Any] | None = None,
        provenance: Mapping[str, Any] | None = None,
    ) -> Path:
        """Write the agent to ``folder``, for :func:`danlu.load` and ``danlu play``; no code is saved.

        Args:
            metrics, provenance: plain data to record with it.

        Raises:
            ArtifactError: an agent or environment that is more than a blueprint, or a folder that cannot be written.
        """
        return self.model.save(folder, metrics=metrics, provenance={**(provenance or {}), **self.model.provenance})

    def play(self, *, episodes: int = 100, greedy: bool = True, seed: int = 1_000_000) -> Episodes:
        """Whole episodes of the trained agent; see :func:`~danlu.rl.evaluation.play_episodes`."""
        return play_episodes(self.agent, self.env, self.params, self.state, episodes=episodes, greedy=greedy, seed=seed)


def _variables(fitted: Fitted, seeds: tuple[int, ...], member: int) -> tuple[Any, Any]:
    found = fitted.params, fitted.state
    return found if len(seeds) == 1 else jax.tree.map(lambda leaf: leaf[member], found)


@functools.partial(jax.jit, static_argnums=(0, 1), compiler_options=RUN_ONCE)
def _initial(
    program: AgentProgram, updates: int, key: jax.Array, recorded: Any = None, policy: Any = None
) -> TrainState:
    """The state before the first iteration, the environments' beginnings included."""
    agent, env = program.agent, program.env
    params, model_state, _ = program.model.init(jax.random.fold_in(key, 0), agent.in_shape(env))
    if policy is not None:
        params, model_state = placed(agent, (params, model_state), policy)
    own = jax.random.fold_in(key, 1)
    if recorded is None:
        model_state, world = agent.begin(program, params, model_state, jax.random.fold_in(key, 2))
        if program.constraint is not None:
            world = dataclasses.replace(world, multipliers=program.constraint.begin())
    else:
        offline: Any = agent
        model_state, world = offline.begin_offline(program, params, model_state, recorded)
    opt_state = agent.optimizer(updates).init(params)
    return TrainState(jnp.int32(0), own, params, model_state, opt_state, {}, world)


def _with_rates(agent: Agent, params: Any, rates: Sequence[float], members: int | None, updates: int) -> Any:
    """The members' optimizer states, each with a learning rate of its own."""
    if members is None or len(rates) != members:
        raise ConfigError(
            f"rl.fit received {len(rates)} learning rates for {members or 1} seeds; expected one for each of several"
        )
    states = []
    for member, rate in enumerate(rates):
        own = jax.tree.map(lambda leaf: leaf[member], params)  # noqa: B023
        states.append(agent.replace(learning_rate=float(rate)).optimizer(updates).init(own))
    return owned(jax.tree.map(lambda *leaves: jnp.stack(leaves), *states))


@functools.partial(jax.jit, static_argnames=("population", "episodes"))
def _side_by_side(
    population: Population, params: Any, state: Any, key: jax.Array, *, episodes: int
) -> dict[str, jax.Array]:
    """Episodes of likeliest actions of several agents, each in the same worlds."""
    agent, env = population.program.agent, population.program.env
    one = functools.partial(run_episodes, agent, env, episodes=episodes, greedy=True)
    return population.each(one, key)(params, state)


def check_run(agent: Agent, env: Environment, data: OfflineDataset | None, seeds: int, devices: int = 1) -> None:
    """Refuse seeds that cannot be trained side by side, a recording that the agent cannot use, or an agent that needs one and has none.

    Raises:
        ConfigError: see above.
    """
    if seeds > 1 and not env.pure:
        raise ConfigError(
            f"{seeds} seeds cannot be trained side by side in {env.id}, which is not a compiled environment",
            hint="train them one after the other",
        )
    if seeds > 1:
        check_shares(f"{seeds} seeds", seeds, devices)
    elif devices > 1:
        if not env.pure or data is not None:
            why = (
                f"acts in {env.id}, which is not a compiled environment" if data is None else "learns from a recording"
            )
            raise ConfigError(
                f"devices is {devices}, and the agent {why}; expected 1",
                hint="several devices share the compiled environments of an agent, or its seeds",
            )
        check_shares(f"{agent.worlds} environments", agent.worlds, devices, hint="agent.environments is their number")
        check_shares(f"an update of {agent.batch_size} rows", agent.batch_size, devices)
    if data is None:
        if agent.offline:
            raise ConfigError(
                f"{type(agent).__name__} learns from a recording, but none was given",
                hint="danlu play RUN --buffer FILE writes one; then agent.data=FILE (in Python data=danlu.rl.load_buffer(FILE))",
            )
        return
    if not isinstance(agent, OffPolicy):
        raise ConfigError(
            f"{type(agent).__name__} learns from what it does itself, not from a recording",
            hint="use BehaviourCloning or CQL, or another agent with a memory",
        )
    if seeds > 1:
        raise ConfigError("a recording trains one seed at a time", hint="train the seeds one after the other")
    for what in ("observation_space", "action_space"):
        here, there = getattr(env, what), getattr(data, what)
        if here != there:
            raise ConfigError(f"the recording's {what} is {there}; that of {env.id} is {here}")


def check_limits(constraint: Constraint | None, env: Environment, data: OfflineDataset | None) -> None:
    """Refuse limits of costs that the environment does not have, or for a recording, which holds none.

    Raises:
        ConfigError: see above.
    """
    if constraint is None:
        return
    constraint.check(env)
    if data is not None:
        raise ConfigError("a cost limit was given, and a recording holds no costs", hint="leave cost_limit out")


def fit(
    agent: Agent,
    env: Environment | str,
    *,
    steps: int,
    seed: int | Sequence[int] = 0,
    learning_rate: Sequence[float] | None = None,
    evaluations: int = 20,
    episodes: int | None = None,
    data: OfflineDataset | str | Path | None = None,
    cost_limit: float | Mapping[str, float] | Constraint | None = None,
    policy: Trained | Learned | None = None,
    callbacks: Sequence[Callback] = (),
    checkpoint: str | Path | None = None,
    resume: bool = False,
    **options: Any,
) -> LearnedAgent:
    """Train ``agent`` in ``env``.

    Args:
        agent: the algorithm, with its settings.
        env: where it acts, or its name; see :func:`danlu.rl.make`.
        steps: of the environments, all together, those of random actions before the first update included; rounded up to whole
            iterations, of which there is at least one. Of several seeds, each takes so many.
        seed: decides everything that is left to chance; several train as many agents side by side, in one compiled program.
        learning_rate: one for each of the seeds, instead of the agent's; nothing else needs to be compiled for them.
        evaluations: epochs of the training (fewer where there are not as many iterations, or they do not come out even): after each,
            the agent plays ``episodes`` episodes with its likeliest actions. The variables of the best evaluation are kept.
        episodes: of an evaluation; None is 100 in a compiled environment, where they cost little, and 10 on the host.
        data: recorded experience to learn from instead of acting, or its file (see :func:`danlu.rl.load_buffer`); then ``steps`` counts
            updates, and the agent acts in evaluations alone.
        cost_limit: the most that an episode may cost in the mean: of all kinds together, or by their names; or a
            :class:`~danlu.rl.constraint.Constraint`. For environments with costs. Of the evaluations that keep it the best is kept.
        policy: a trained agent whose policy this one begins with, such as a clone of an expert, instead of one that is drawn; see
            :func:`~danlu.rl.begun.policy_of`.
        callbacks, checkpoint, resume: as of :func:`danlu.fit`. A checkpoint holds the environments and the agent's memory too.
        **options: further fields of :class:`~danlu.engine.FitOptions`: ``checkpoint_every``, ``devices`` (the seeds, or of one
            the environments, are divided among them), ``display``, ``min_delta``, ``mode``, ``monitor``, ``patience`` and ``restore_best``.

    Returns:
        The :class:`LearnedAgent`; its ``model`` is the :class:`~danlu.trained.Trained` that acts.

    Raises:
        ConfigError: an environment that this agent cannot act in, or a setting out of range.
        TrainingError: the loss stopped being finite.

    Example:
        >>> from danlu import rl
        >>> agent = rl.PPO(environments=4, n_steps=32)
        >>> trained = rl.fit(agent, rl.make("CartPole-v1"), steps=256, evaluations=1, episodes=2, display="none")
        >>> trained.play(episodes=3).returns.shape
        (3,)
    """
    enable_compilation_cache()
    env = make(env) if isinstance(env, str) else env
    episodes = (100 if env.pure else 10) if episodes is None else episodes
    if steps < 1 or evaluations < 1 or episodes < 1:
        raise ConfigError(
            f"rl.fit received steps={steps}, evaluations={evaluations} and episodes={episodes}; expected 1 or more of each"
        )
    for name in options:
        if name not in _OPTIONS:
            raise unknown_name("option of rl.fit", name, _OPTIONS)
    if isinstance(data, str | Path):
        data = load_buffer(data)
    seeds = (int(seed),) if isinstance(seed, int | np.integer) else tuple(int(each) for each in seed)
    if not seeds:
        raise ConfigError("rl.fit received no seed; expected at least one")
    devices = FitOptions(devices=options.pop("devices", 1)).devices
    need_devices(devices)
    env = agent.within(env)
    agent.check(env)
    members = None if len(seeds) == 1 else len(seeds)
    check_run(agent, env, data, len(seeds), devices)
    constraint = Constraint.of(cost_limit)
    check_limits(constraint, env, data)
    acting = data is None
    iterations = max(math.ceil((steps - agent.prelude) / agent.frames if acting else steps / agent.updates), 1)
    each = math.ceil(iterations / evaluations)
    epochs = math.ceil(iterations / each)
    updates = iterations * agent.updates
    if max(iterations * agent.frames + agent.prelude, updates) > _MOST:
        raise ConfigError(
            f"rl.fit received steps={steps:,}, with {updates:,} updates; expected at most {_MOST:,} of either, which are counted in 32 bits"
        )
    learner = learner_of(agent, env, updates)
    if members is None:
        learner = dataclasses.replace(learner, devices=devices)
    program = AgentProgram(agent, env, learner, acting, constraint)
    population = None if members is None else Population(program, members, devices)
    recorded = None if data is None else jax.tree.map(jnp.asarray, data.transitions)
    begun = policy_of(getattr(policy, "model", policy), agent, env)
    one = functools.partial(_initial, program, updates, recorded=recorded, policy=begun)
    keys = jnp.stack([jax.random.key(number) for number in seeds])
    state = owned(one(keys[0]) if members is None else jax.vmap(one)(keys))
    if learning_rate is not None:
        state = dataclasses.replace(state, opt_state=_with_rates(agent, state.params, learning_rate, members, updates))

    places = jax.random.fold_in(jax.random.key(seeds[0]), _EVALUATION)
    judged: Any = functools.partial(run_episodes, agent, env, greedy=True)  # which tests the agent afterwards too
    if population is not None:
        judged = functools.partial(_side_by_side, population)

    def measure(state: TrainState) -> dict[str, Any]:
        found = judged(state.params, state.model_state, places, episodes=episodes)
        raise_if_broken(env)
        means = {name: np.asarray(found[f"{name}s"]).mean(axis=-1) for name in ("return", "length")}
        spent = np.asarray(found["spent"]).mean(axis=-2) if env.costs else np.zeros((*means["return"].shape, 0))
        means |= {name: spent[..., kind] for kind, name in enumerate(costs_of(env))}
        if constraint is not None:
            means["constrained"] = np.vectorize(constraint.told, signature="(),(k)->()", excluded={2})(
                means["return"], spent, env.costs
            )
        return means if population is None else population.told(means)

    # Of evaluations that are equal (a return of 500 is the most there is) the last is kept: it has learnt more.
    monitor = "val_return" if constraint is None else "val_constrained"
    usual = FitOptions(monitor=monitor, min_delta=-1e-3, restore_best=not agent.keeps_last)
    fitted = train_program(
        population or program,
        Iterations(each, iterations, agent.frames, agent.in_shape(env), members),
        state,
        measure=measure,
        callbacks=[*callbacks, *([] if env.pure else [_Watch(env)])],
        checkpoint=checkpoint,
        resume=resume,
        **{"options": usual, **options, "epochs": epochs, "seed": seeds[0]},
    )
    best = int(np.argmin(np.asarray(fitted.best.value))) if members is not None and fitted.best is not None else 0
    model = trained_agent(agent, env, *_variables(fitted, seeds, best), provenance={"seed": seeds[best]})
    return LearnedAgent(model, fitted, seeds=seeds, best=best)
