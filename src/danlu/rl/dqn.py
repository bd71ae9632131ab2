"""Deep Q-learning and its later extensions, each a setting: double, dueling, n-step, prioritised, distributional."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from danlu.blueprint import setting
from danlu.engine.state import TrainState
from danlu.errors import ConfigError
from danlu.nn import Dense, Parallel, Sequential
from danlu.nn.layer import Layer, Params, Shape, State
from danlu.nn.losses import Loss
from danlu.optim import Optimizer, adam, chain, clip_by_global_norm, flatten
from danlu.optim.schedules import Cosine
from danlu.rl.environment import Environment, Envs
from danlu.rl.exploration import Epsilon
from danlu.rl.networks import encoder
from danlu.rl.off_policy import OffPolicy
from danlu.rl.spaces import Discrete
from danlu.rl.value_heads import Expected, ValueHead

__all__ = ["DQN", "Dueling", "QLoss"]


class Dueling(Layer):
    """``Q(s, a) = V(s) + A(s, a) − mean_a A(s, a)``, from ``{"value": (batch, size), "advantage": (batch, actions · size)}``.

    Args:
        actions: how many there are.
        size: numbers an action (see :class:`~danlu.rl.value_heads.ValueHead`).

    Output: ``(batch, actions · size)``. Params and state: ``{}``.

    Reference: Wang et al., "Dueling network architectures for deep reinforcement learning" (2016), arXiv:1511.06581, eq. 9.
    """

    actions: int = setting(minimum=1, integer=True)
    size: int = setting(default=1, minimum=1, integer=True)

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        return {}, {}, (self.actions * self.size,)

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        advantage = x["advantage"].reshape(-1, self.actions, self.size)  # (batch, actions, size)
        q = x["value"][:, None, :] + advantage - advantage.mean(axis=1, keepdims=True)
        return q.reshape(q.shape[0], -1), state  # (batch, actions·size)


class QLoss(Loss):
    """The value head's loss of the action that was taken; targets are ``{"action": (batch,), "target": (batch, size)}``."""

    head: ValueHead

    def __call__(self, outputs: Any, targets: Any) -> jax.Array:
        numbers = outputs.reshape(outputs.shape[0], -1, self.head.size)  # (batch, actions, size)
        return self.head.loss(_chosen(numbers, targets["action"]), targets["target"])


def _chosen(numbers: jax.Array, action: jax.Array) -> jax.Array:
    """``(batch, actions, size)`` to ``(batch, size)``."""
    return jnp.take_along_axis(numbers, action[:, None, None], axis=1)[:, 0]


class DQN(OffPolicy):
    """Deep Q-learning: learn each action's value from the best next one's value, and mostly take the best action.

    The target of ``Q(s, a)`` is ``r + γ·max_a' Q⁻(s', a')``, with Q⁻ the target network, and ``r`` alone where the episode terminated.
    It explores by an action at random with probability ε, which falls in a line from ``epsilon_start`` to ``epsilon_end`` over
    ``epsilon_steps`` steps.

    Args:
        double: whether the online network chooses a' (the target network still says what it is worth), which keeps values from growing
            too large.
        dueling: whether the network says apart what a state is worth and what an action adds.
        head: what is said of an action: :class:`~danlu.rl.value_heads.Expected`, :class:`~danlu.rl.value_heads.Histogram` (C51) or
            :class:`~danlu.rl.value_heads.Quantiles` (QR-DQN).
        epsilon_start, epsilon_end, epsilon_steps: see above.
        clip_norm: global norm above which a gradient is scaled down.
        standardise: whether observations are standardised by those of the warm-up.
        anneal: whether the learning rate falls to 0 over the training, on half a cosine.

    Reference: Mnih et al. (2015), doi:10.1038/nature14236, algorithm 1; double: van Hasselt, Guez & Silver (2016), arXiv:1509.06461; all
        together: Hessel et al., "Rainbow" (2018), arXiv:1710.02298, without its noisy networks.

    Example:
        >>> from danlu.rl.environments import CartPole
        >>> DQN(dueling=True).network(CartPole()).out_shape((4,))
        (2,)
    """

    hidden: tuple[int, ...] = (128, 128)
    train_freq: int = setting(default=4, minimum=1, integer=True)
    gradient_steps: int = setting(default=2, minimum=1, integer=True)
    batch_size: int = setting(default=64, minimum=1, integer=True)
    tau: float = setting(default=0.01, above=0, maximum=1)
    double: bool = True
    dueling: bool = False
    head: ValueHead = Expected()
    epsilon_start: float = setting(default=1.0, minimum=0, maximum=1)
    epsilon_end: float = setting(default=0.05, minimum=0, maximum=1)
    epsilon_steps: int = setting(default=10_000, minimum=1, integer=True)
    clip_norm: float = setting(default=10.0, above=0)
    anneal: bool = True
    standardise: bool = True

    _renamed: ClassVar[Mapping[str, str]] = {"exploration": "epsilon_steps"}

    def check(self, env: Environment) -> None:
        if not isinstance(env.action_space, Discrete):
            raise ConfigError(
                f"DQN chooses one of several actions; the actions here are {env.action_space}",
                hint="for continuous actions use SAC, TD3, DDPG or PPO",
            )
        encoder(env.observation_space)

    def actions(self, env: Environment) -> int:
        """How many actions there are."""
        space = env.action_space
        return space.n if isinstance(space, Discrete) else 0

    def network(self, env: Environment) -> Layer:
        actions, size = self.actions(env), self.head.size
        body = tuple(Dense(units, "relu") for units in self.hidden)
        last: tuple[Layer, ...] = (Dense(actions * size),)
        if self.dueling:
            streams = Parallel((Dense(size), Dense(actions * size)), merge="dict", outputs=("value", "advantage"))
            last = (streams, Dueling(actions, size))
        return Sequential((encoder(env.observation_space, standardise=self.standardise), *body, *last))

    def loss(self, env: Environment) -> Loss:
        return QLoss(self.head)

    def optimizer(self, updates: int) -> Optimizer:
        rate = Cosine(self.learning_rate, max(updates, 1)) if self.anneal else self.learning_rate
        return flatten(chain(clip_by_global_norm(self.clip_norm), adam(rate)))

    def numbers(self, env: Environment, params: Any, state: Any, observation: Any) -> jax.Array:
        """The network's outputs for each action, ``(batch, actions, size)``."""
        outputs, _ = self.network(env).apply(params, state, observation)
        return outputs.reshape(outputs.shape[0], -1, self.head.size)

    def epsilon(self, frames: jax.Array) -> jax.Array:
        """ε after this many steps, ``()``."""
        return Epsilon(self.epsilon_start, self.epsilon_end, self.epsilon_steps)(frames)

    def explore(
        self, env: Environment, state: TrainState, envs: Envs, frames: jax.Array, wandering: Any, key: jax.Array
    ) -> tuple[Any, Any]:
        action = self._dither(env, state.params, state.model_state, envs.observation, self.epsilon(frames), key)
        return action, wandering

    def _dither(
        self, env: Environment, params: Any, state: Any, observation: Any, epsilon: Any, key: jax.Array
    ) -> jax.Array:
        best = jnp.argmax(self.head.mean(self.numbers(env, params, state, observation)), axis=-1).astype(jnp.int32)
        coin_key, action_key = jax.random.split(key)
        other = jax.random.randint(action_key, best.shape, 0, self.actions(env))
        return jnp.where(jax.random.uniform(coin_key, best.shape) < epsilon, other, best)

    def targets(
        self, env: Environment, state: TrainState, target: Any, batch: dict[str, Any], key: jax.Array
    ) -> tuple[Any, Any]:
        after = self.numbers(env, target, state.model_state, batch["next_observation"])
        judge = self.numbers(env, state.params, state.model_state, batch["next_observation"]) if self.double else after
        best = jnp.argmax(self.head.mean(judge), axis=-1)
        worth = self.head.target(_chosen(after, best), batch["reward"], batch["discount"])
        return batch["observation"], {"action": batch["action"], "target": worth}

    def td_error(self, outputs: Any, targets: Any) -> jax.Array:
        numbers = outputs.reshape(outputs.shape[0], -1, self.head.size)  # (batch, actions, size)
        return self.head.td_error(_chosen(numbers, targets["action"]), targets["target"])

    def act(self, env: Environment, params: Any, state: Any, observation: Any, key: jax.Array | None) -> Any:
        if key is not None:
            return self._dither(env, params, state, observation, self.epsilon_end, key)
        return self.greedy_action(env, self.network(env).apply(params, state, observation)[0])

    def greedy_action(self, env: Environment, outputs: Any) -> Any:
        numbers = outputs.reshape(outputs.shape[0], -1, self.head.size)  # (batch, actions, size)
        return jnp.argmax(self.head.mean(numbers), axis=-1).astype(jnp.int32)

    def describe(self, env: Environment, params: Any, state: Any, observation: Any) -> dict[str, jax.Array]:
        values = self.head.mean(self.numbers(env, params, state, observation))
        return {"value": values.max(axis=-1), "values": values}
