"""AlphaZero: a network learns the results of a search that uses the same network."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from danlu.blueprint import setting
from danlu.engine.loop import loop_steps
from danlu.engine.state import TrainState
from danlu.errors import ConfigError
from danlu.nn.layer import Layer
from danlu.nn.losses import Loss
from danlu.optim import Optimizer, adamw, chain, clip_by_global_norm
from danlu.optim.schedules import Cosine
from danlu.rl.agent import Agent, AgentProgram, Sums, World
from danlu.rl.environment import Environment, Envs
from danlu.rl.games.board import Game
from danlu.rl.games.match import Match
from danlu.rl.games.network import BODIES, Gated, board_network
from danlu.rl.games.players import Choose, play_match
from danlu.rl.games.search import PUCT, Evaluate, Gumbel, Search, masked
from danlu.rl.games.selfplay import SelfPlay, Turned, known_outcomes

__all__ = ["AlphaZero", "BoardLoss", "agreement", "outcome_error"]

SEARCHES: dict[str, type[Search]] = {"gumbel": Gumbel, "puct": PUCT}


def outcome_error(outputs: Any, targets: Any) -> jax.Array:
    """``(v − z)²``, ``(batch,)``."""
    return jnp.square(outputs["value"][:, 0] - targets["outcome"])


def agreement(outputs: Any, targets: Any) -> jax.Array:
    """1 where the network's likeliest legal move is the search's, 0 where not, ``(batch,)``."""
    own = jnp.argmax(masked(outputs["policy"], targets["legal"]), axis=-1)
    return (own == jnp.argmax(targets["policy"], axis=-1)).astype(jnp.float32)


class BoardLoss(Loss):
    """``−Σ_a π_a log p_a + c·(v − z)²``: the cross-entropy to the search's policy over the legal moves, and the error of the value.

    Args:
        value_weight: c.

    Targets: ``{"policy": π (batch, actions), "legal": (batch, actions) bool, "outcome": z (batch,)}``.

    Reference: Silver et al. (2018), eq. 1; the penalty on the weights is the optimizer's decay here.

    Example:
        >>> outputs = {"policy": jnp.zeros((1, 3)), "value": jnp.zeros((1, 1))}
        >>> targets = {"policy": jnp.float32([[0.5, 0.5, 0]]), "legal": jnp.array([[True, True, False]]), "outcome": jnp.ones(1)}
        >>> round(float(BoardLoss(1.0)(outputs, targets)[0]), 4)  # log 2 + 1
        1.6931
    """

    value_weight: float = setting(default=1.0, minimum=0)

    def __call__(self, outputs: Any, targets: Any) -> jax.Array:
        log_prob = jax.nn.log_softmax(masked(outputs["policy"], targets["legal"]))
        cross_entropy = -(targets["policy"] * jnp.where(targets["legal"], log_prob, 0.0)).sum(axis=-1)
        return cross_entropy + self.value_weight * outcome_error(outputs, targets)


class AlphaZero(Agent):
    """Self-play by search, and a network that learns to predict the search's policy and the game's result; the next search uses it.

    One iteration: ``n_steps`` moves in each of ``environments`` games, then ``minibatches`` gradient steps on rows drawn from the last
    ``memory`` moves of each, boards turned and mirrored as the game allows. It learns nothing from the match's opponent, which is only
    there to measure it.

    Args:
        search: ``"gumbel"`` or ``"puct"``: how moves are found (:mod:`danlu.rl.games.search`).
        simulations: of a move in self-play; ``play_simulations``: of one that counts, None is the same.
        n_steps: moves of each game in an iteration.
        memory: moves of each game that are remembered.
        minibatches: gradient steps in an iteration; ``batch_size`` is how many rows each is of.
        value_weight: see :class:`BoardLoss`.
        estimate: the share of the search's value in what the value is to learn, beside the game's result: 0 in AlphaZero; more is
            less noise and some bias.
        weight_decay: λ of AdamW; ``clip_norm``: the gradient's largest global norm; ``anneal``: whether the learning rate falls to 0.
        body, channels, blocks: of the network, beside ``hidden``; see :func:`~danlu.rl.games.network.board_network`.
        gate_every: after so many iterations the network plays ``gate_games`` games against the one in use and takes its place if it scores
            at least ``gate`` (a draw is half a point); None: what was learnt last is in use.
        max_moves, openings, resign, played_out, false_positives: see :class:`~danlu.rl.games.selfplay.SelfPlay`.

    Reference: Silver et al. (2018), "A general reinforcement learning algorithm that masters chess, shogi, and Go through self-play",
    Science 362; the gate is AlphaGo Zero's (2017); the search is Gumbel AlphaZero's unless told otherwise.

    Example:
        >>> agent = AlphaZero(environments=4, n_steps=2, memory=8, simulations=4, hidden=(8,))
        >>> agent.frames, sorted(agent.network(Match()).out_shape((3, 3, 2)))
        (8, ['policy', 'value'])
    """

    tallies: ClassVar[tuple[str, ...]] = ("draws", "resigned", "misjudged")
    keeps_last: ClassVar[bool] = True
    _renamed: ClassVar[Mapping[str, str]] = {"steps": "n_steps", "rows": "batch_size"}

    environments: int = setting(default=128, minimum=1, integer=True)
    discount: float = setting(default=1.0, minimum=1, maximum=1)
    learning_rate: float = setting(default=1e-3, above=0)
    hidden: tuple[int, ...] = (256, 256)
    search: str = setting(default="gumbel", choices=SEARCHES)
    simulations: int = setting(default=32, minimum=1, integer=True)
    play_simulations: int | None = setting(default=None, minimum=1, integer=True, optional=True)
    n_steps: int = setting(default=16, minimum=1, integer=True)
    memory: int = setting(default=256, minimum=1, integer=True)
    minibatches: int = setting(default=16, minimum=1, integer=True)
    batch_size: int = setting(default=512, minimum=1, integer=True)
    value_weight: float = setting(default=1.0, minimum=0)
    estimate: float = setting(default=0.0, minimum=0, maximum=1)
    weight_decay: float = setting(default=1e-4, minimum=0)
    clip_norm: float = setting(default=1.0, above=0)
    anneal: bool = True
    body: str = setting(default="auto", choices=BODIES)
    channels: int = setting(default=64, minimum=2, integer=True)
    blocks: int = setting(default=3, minimum=0, integer=True)
    gate_every: int | None = setting(default=None, minimum=1, integer=True, optional=True)
    gate_games: int = setting(default=64, minimum=2, integer=True)
    gate: float = setting(default=0.55, minimum=0, maximum=1)
    max_moves: int = setting(default=512, minimum=1, integer=True)
    openings: int = setting(default=0, minimum=0, integer=True)
    resign: float | None = setting(default=None, above=-1, below=0, optional=True)
    played_out: float = setting(default=0.1, above=0, maximum=1)
    false_positives: float = setting(default=0.05, minimum=0, maximum=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.memory < self.n_steps:
            raise ConfigError(
                f"AlphaZero.memory is {self.memory} and n_steps is {self.n_steps}; expected at least as much memory"
            )

    @property
    def frames(self) -> int:
        return self.environments * self.n_steps

    @property
    def updates(self) -> int:
        return self.minibatches

    def check(self, env: Environment) -> None:
        _game_of(env)

    def network(self, env: Environment) -> Layer:
        game = _game_of(env)
        net = board_network(game, body=self.body, hidden=self.hidden, channels=self.channels, blocks=self.blocks)
        return net if self.gate_every is None else Gated(net)

    def in_shape(self, env: Environment) -> Any:
        return _game_of(env).board_shape

    def loss(self, env: Environment) -> Loss:
        return BoardLoss(self.value_weight)

    def metrics(self, env: Environment) -> tuple[tuple[str, Any], ...]:
        return (("agreement", agreement), ("outcome_error", outcome_error))

    def optimizer(self, updates: int) -> Optimizer:
        rate = Cosine(self.learning_rate, max(updates, 1)) if self.anneal else self.learning_rate
        return chain(clip_by_global_norm(self.clip_norm), adamw(rate, weight_decay=self.weight_decay))

    def act(self, env: Environment, params: Any, state: Any, observation: Any, key: jax.Array | None) -> Any:
        """The action without search; see :meth:`choose`."""
        logits = self.network(env).apply(params, state, observation["board"])[0]["policy"]
        logits = masked(logits, observation["legal"] > 0)
        return (jnp.argmax(logits, -1) if key is None else jax.random.categorical(key, logits)).astype(jnp.int32)

    def choose(self, env: Environment, params: Any, state: Any, envs: Envs, key: jax.Array | None) -> Any:
        """The action by search from the games' positions."""
        find = self.player(env, params, state, noise=key is not None)
        return find(envs.state.position, jax.random.key(0) if key is None else key)

    def player(self, env: Environment, params: Any, state: Any, *, noise: bool = False) -> Choose:
        """``(positions, key) -> actions`` by search, as in real play; without noise each position has one answer."""
        game, evaluate = _game_of(env), self.evaluator(env, params, state)
        search = SEARCHES[self.search](self.play_simulations or self.simulations)
        return lambda positions, key: search.find(game, evaluate, positions, key, noise=noise).action

    def evaluator(self, env: Environment, params: Any, state: Any) -> Evaluate:
        """The network's policy and value for positions, in the form that a search needs."""
        game, network = _game_of(env), self.network(env)

        def evaluate(positions: Any, key: jax.Array) -> tuple[jax.Array, jax.Array]:
            outputs, _ = network.apply(params, state, jax.vmap(game.observation)(positions))
            return outputs["policy"], outputs["value"][:, 0]

        return evaluate

    def describe(self, env: Environment, params: Any, state: Any, observation: Any) -> dict[str, jax.Array]:
        outputs = self.network(env).apply(params, state, observation["board"])[0]
        policy = jax.nn.softmax(masked(outputs["policy"], observation["legal"] > 0))
        return {"value": outputs["value"][:, 0], "probabilities": policy}

    def self_play(self, game: Game) -> SelfPlay:
        """The self-play of this agent."""
        search = SEARCHES[self.search](self.simulations)
        return SelfPlay(game, search, self.max_moves, self.openings, self.resign, self.played_out, self.false_positives)

    def begin(self, program: AgentProgram, params: Any, model_state: Any, key: jax.Array) -> tuple[Any, World]:
        play = self.self_play(_game_of(program.env))
        zero = jnp.zeros((), jnp.int32)
        return model_state, World(
            play.begin(self.environments), zero, zero, play.memory(self.environments, self.memory, key)
        )

    def iterate(self, program: AgentProgram, state: TrainState) -> tuple[TrainState, Sums]:
        env, world, game = program.env, state.world, _game_of(program.env)
        play_key, draw_key, gate_key = jax.random.split(program.key(state), 3)
        evaluate = self.evaluator(env, state.params, state.model_state)
        envs, memory, played = self.self_play(game).play(evaluate, world.envs, world.memory, play_key, self.n_steps)
        replay = memory["replay"]
        outcome, known = known_outcomes(replay)
        rows = replay.rows
        target = (1 - self.estimate) * outcome + self.estimate * rows["estimate"]
        y = {"policy": rows["policy"], "legal": rows["legal"], "outcome": target}
        chunk = {"x": rows["board"], "y": y, "weight": known.astype(jnp.float32)}
        chunk = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), chunk)  # (slots·games, …)
        order = replay.draw(draw_key, self.updates * self.batch_size).astype(jnp.int32)
        learner = dataclasses.replace(program.learner, augment=Turned(game))
        after, sums = loop_steps(learner, state, learner.zero_sums(), chunk, order, 0, self.updates)
        world = World(envs, world.frames + self.frames, world.iterations + 1, memory)
        model_state = self._gated(env, after, gate_key, due=world.iterations)
        return dataclasses.replace(after, model_state=model_state, world=world), {**sums, **played}

    def _gated(self, env: Environment, state: TrainState, key: jax.Array, *, due: jax.Array) -> Any:
        """The network's state after a match of what was learnt against what is in use, where one is due: after ``due`` iterations."""
        network = self.network(env)
        if not isinstance(network, Gated) or self.gate_every is None:
            return state.model_state
        candidate = network.keep(state.params, state.model_state)
        both = jax.tree.map(lambda new, old: jnp.stack([new, old]), candidate, state.model_state)

        def choose(variables: Any, positions: Any, key: jax.Array) -> jax.Array:
            return self.player(env, state.params, variables, noise=True)(positions, key)

        def contest(_: Any) -> Any:
            results = play_match(_game_of(env), choose, both, key, games=self.gate_games // 2, max_moves=self.max_moves)
            won = 0.5 + 0.5 * results.mean() >= self.gate
            return jax.tree.map(lambda new, old: jnp.where(won, new, old), candidate, state.model_state)

        return jax.lax.cond(due % self.gate_every == 0, contest, lambda _: state.model_state, None)


def _game_of(env: Environment) -> Game:
    if not isinstance(env, Match):
        raise ConfigError(
            f"AlphaZero received {type(env).__name__}; expected a board game",
            hint='such as Match(game=Game("connect-four")); for other environments there are PPO and DQN',
        )
    return env.game
