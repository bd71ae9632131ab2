"""A recurrent policy: PPO with a recurrent network, for partially observed environments.

Its memory is the state of a GRU. It is carried in the environment (:class:`WithMemory`): each observation holds what was remembered,
each action what to remember, and an episode begins with nothing. So acting, judging and filming are those of any agent. Learning goes
over whole sequences, by backpropagation through time, and forgets where an episode ended.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from danlu.blueprint import setting
from danlu.errors import ConfigError
from danlu.nn import Dense, Sequential
from danlu.nn.initializers import Orthogonal
from danlu.nn.layer import Layer, Params, Shape, State
from danlu.nn.losses import Loss
from danlu.rl.distributions import Distribution, distribution_for
from danlu.rl.environment import Environment, Envs, Transition
from danlu.rl.networks import encoder, mlp, policy_head
from danlu.rl.on_policy import PPO
from danlu.rl.policy_losses import PPOLoss, entropy, value_error
from danlu.rl.spaces import Box, DictSpace
from danlu.rl.wrappers import Wrapper

__all__ = ["OverTime", "RecurrentActorCritic", "RecurrentPPO", "Remembering", "WithMemory", "WithMemoryState"]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class WithMemoryState:
    """The state of the inner environment, and the agent's memory, ``(units,)``."""

    inner: Any
    memory: jax.Array


class WithMemory(Wrapper):  # type: ignore[misc]
    """An environment that keeps the agent's memory: observations are ``{"memory", "observation"}``, actions ``{"action", "memory"}``.

    Args:
        env: the environment within.
        units: numbers of the memory, zeros at the start of an episode.
    """

    units: int = setting(default=64, minimum=1, integer=True)

    @property
    def observation_space(self) -> DictSpace:
        return DictSpace((("memory", Box(-1.0, 1.0, (self.units,))), ("observation", self.env.observation_space)))

    @property
    def action_space(self) -> DictSpace:
        return DictSpace((("action", self.env.action_space), ("memory", Box(-1.0, 1.0, (self.units,)))))

    def reset(self, key: jax.Array) -> tuple[Any, Any]:
        inner, seen = self.env.reset(key)
        memory = jnp.zeros(self.units)
        return WithMemoryState(inner, memory), {"memory": memory, "observation": seen}

    def step(self, state: Any, action: Any, key: jax.Array) -> tuple[Any, Any]:
        inner, outcome = self.env.step(state.inner, action["action"], key)
        seen = {"memory": action["memory"], "observation": outcome.observation}
        return WithMemoryState(inner, action["memory"]), dataclasses.replace(outcome, observation=seen)

    def begin(self, key: jax.Array, count: int) -> Envs:
        inner = self.env.begin(key, count)
        memory = jnp.zeros((count, self.units))
        seen = {"memory": memory, "observation": inner.observation}
        return dataclasses.replace(inner, state=WithMemoryState(inner.state, memory), observation=seen)

    def advance(self, envs: Envs, action: Any, key: jax.Array) -> tuple[Envs, Transition]:
        before = dataclasses.replace(envs, state=envs.state.inner, observation=envs.observation["observation"])
        inner, transition = self.env.advance(before, action["action"], key)
        kept = jnp.where(transition.ended[:, None], 0.0, action["memory"])
        transition = dataclasses.replace(
            transition,
            observation=envs.observation,
            action=action,
            next_observation={"memory": action["memory"], "observation": transition.next_observation},
        )
        seen = {"memory": kept, "observation": inner.observation}
        return dataclasses.replace(inner, state=WithMemoryState(inner.state, kept), observation=seen), transition

    def frame(self, state: Any) -> np.ndarray | None:
        return self.env.frame(state.inner)


class Remembering(Layer):
    """A gated recurrent unit that resets its state where an episode begins.

    With ``h = 0`` where a step is the first of an episode, and ``[z_r z_u z_n] = x·W + b``::

        r = σ(z_r + h·U_r)    u = σ(z_u + h·U_u)    n = tanh(z_n + (r ⊙ h)·U_n)    h ← (1 − u) ⊙ n + u ⊙ h

    Inputs: ``{"features": (batch, time, inputs), "first": (batch, time), "memory": (batch, units)}``, the memory before the first step.
    Output: ``(batch, time, units)``. Params: ``{"kernel": (inputs, 3·units), "recurrent_kernel": (units, 3·units), "bias": (3·units,)}``.

    Reference: Cho et al., "Learning phrase representations using RNN encoder-decoder" (2014), eqs. 5 to 8.
    """

    units: int = setting(minimum=1, integer=True)

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        shape: Any = in_shape
        time, inputs = shape["features"]
        keys = jax.random.split(key, 4)
        recurrent = jnp.concatenate([Orthogonal()(each, (self.units, self.units)) for each in keys[1:]], axis=1)
        kernel = Orthogonal(2**0.5)(keys[0], (inputs, 3 * self.units))
        params = {"kernel": kernel, "recurrent_kernel": recurrent, "bias": jnp.zeros(3 * self.units)}
        return params, {}, (time, self.units)

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        features, batch = x["features"], x["features"].shape[0]
        # (batch·time, 3·units)
        flat = features.reshape(-1, features.shape[-1]) @ params["kernel"] + params["bias"][None]
        gates = flat.reshape(batch, -1, 3 * self.units).swapaxes(0, 1)  # (time, batch, 3·units)
        across, candidate = (
            params["recurrent_kernel"][:, : 2 * self.units],
            params["recurrent_kernel"][:, 2 * self.units :],
        )

        def step(h: jax.Array, at: Any) -> tuple[jax.Array, jax.Array]:
            z, first = at
            h = jnp.where(first[:, None] > 0, 0.0, h)
            r, u = jnp.split(jax.nn.sigmoid(z[:, : 2 * self.units] + h @ across), 2, axis=1)
            n = jnp.tanh(z[:, 2 * self.units :] + (r * h) @ candidate)
            h = (1 - u) * n + u * h
            return h, h

        _, hs = jax.lax.scan(step, x["memory"], (gates, x["first"].T))
        return hs.swapaxes(0, 1), state


class RecurrentActorCritic(Layer):
    """An encoder and a memory, followed by a policy and a value function.

    Inputs: ``{"first": (batch, time), "memory": (batch, units), "observation": (batch, time, …)}``. Outputs: ``{"memory": (batch, time,
    units), "policy": (batch, time, numbers), "value": (batch, time, 1)}``.
    """

    encode: Layer
    remember: Remembering
    policy: Layer
    value: Layer

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        shape: Any = in_shape
        (time,), units = shape["first"], self.remember.units
        seen = jax.tree.map(lambda one: one[1:], shape["observation"], is_leaf=lambda one: isinstance(one, tuple))
        keys = [jax.random.fold_in(key, i) for i in range(4)]
        encoded: Any
        first = self.encode.init(keys[0], seen)
        encoded = first[2]
        second = self.remember.init(keys[1], {"features": (time, *encoded), "first": (time,), "memory": (units,)})
        heads = [layer.init(each, (units,)) for layer, each in zip((self.policy, self.value), keys[2:], strict=True)]
        parts = [first, second, *heads]
        out: Any = {"memory": (time, units), "policy": (time, *heads[0][2]), "value": (time, *heads[1][2])}
        return tuple(part[0] for part in parts), tuple(part[1] for part in parts), out

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[Any, State]:
        batch, time = x["first"].shape
        flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), x["observation"])  # (batch·time, …)
        features = self.encode.apply(params[0], state[0], flat)[0].reshape(batch, time, -1)  # (batch, time, features)
        inputs = {"features": features, "first": x["first"], "memory": x["memory"]}
        hs = self.remember.apply(params[1], state[1], inputs)[0]
        rows = hs.reshape(-1, hs.shape[-1])  # (batch·time, units)
        policy = self.policy.apply(params[2], state[2], rows)[0]
        value = self.value.apply(params[3], state[3], rows)[0]
        # (batch, time, numbers) and (batch, time, 1)
        shaped = {"policy": policy.reshape(batch, time, -1), "value": value.reshape(batch, time, -1)}
        return {"memory": hs, **shaped}, state


class OverTime(Loss):
    """The mean over time of a loss of single steps: outputs and targets ``(batch, time, …)`` to ``(batch,)``."""

    loss: Any

    def __call__(self, outputs: Any, targets: Any) -> jax.Array:
        batch, time = targets["advantage"].shape
        flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), (outputs, targets))  # (batch·time, …)
        return self.loss(*flat).reshape(batch, time).mean(axis=1)


class RecurrentPPO(PPO):
    """PPO whose policy and value function have a memory of the episode so far.

    A row to learn from is one environment's whole sequence of ``steps``; the memory at its beginning is what it was when it was collected.

    Args:
        memory: units of the GRU.

    Reference: Hausknecht & Stone, "Deep recurrent Q-learning for partially observable MDPs" (2015), arXiv:1507.06527, with PPO's loss.
    """

    minibatches: int = setting(default=4, minimum=1, integer=True)
    standardise: bool = False
    policy_at: ClassVar[tuple[tuple[int | str, ...], ...]] = ()

    memory: int = setting(default=64, minimum=1, integer=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.environments % self.minibatches:
            raise ConfigError(
                f"RecurrentPPO has {self.environments} environments and {self.minibatches} minibatches; expected minibatches that "
                "divide the environments, whose sequences stay whole"
            )
        if self.standardise:
            raise ConfigError("RecurrentPPO.standardise is True; expected False: it does not standardise observations")

    @property
    def batch_size(self) -> int:
        return self.environments // self.minibatches

    def within(self, env: Environment) -> Environment:
        return env if isinstance(env, WithMemory) else WithMemory(env=env, units=self.memory)

    def check(self, env: Environment) -> None:
        self.distribution(env)
        encoder(_inner(env).observation_space)

    def distribution(self, env: Environment) -> Distribution:
        return distribution_for(_inner(env).action_space)

    def network(self, env: Environment) -> Layer:
        distribution = self.distribution(env)
        body = (Dense(units, self.activation, Orthogonal(2**0.5)) for units in self.hidden)
        encode = Sequential((encoder(_inner(env).observation_space), *body))
        policy = policy_head(distribution, (), log_std=self.log_std)
        return RecurrentActorCritic(encode, Remembering(self.memory), policy, mlp((), 1))

    def in_shape(self, env: Environment) -> Any:
        seen = jax.tree.map(
            lambda one: (self.n_steps, *one),
            _inner(env).observation_space.shape,
            is_leaf=lambda one: isinstance(one, tuple),
        )
        return {"first": (self.n_steps,), "memory": (self.memory,), "observation": seen}

    def loss(self, env: Environment) -> Loss:
        return OverTime(PPOLoss(self.distribution(env), self.clip, self.value_weight, self.entropy_weight))

    def metrics(self, env: Environment) -> tuple[tuple[str, Any], ...]:
        return (("entropy", OverTime(entropy(self.distribution(env)))), ("value_error", OverTime(value_error)))

    def outputs(self, env: Environment, params: Any, state: Any, observation: Any) -> dict[str, jax.Array]:
        memory = observation["memory"]
        seen = jax.tree.map(lambda leaf: leaf[:, None], observation["observation"])
        x = {"first": jnp.zeros((memory.shape[0], 1)), "memory": memory, "observation": seen}
        found: dict[str, jax.Array] = self.network(env).apply(params, state, x)[0]
        return {name: leaf[:, 0] for name, leaf in found.items()}

    def env_action(self, env: Environment, action: Any, outputs: dict[str, jax.Array]) -> Any:
        return {"action": self.distribution(env).to_env(action), "memory": outputs["memory"]}

    def rows(self, rollout: Transition, targets: dict[str, jax.Array], weight: jax.Array) -> dict[str, Any]:
        """Each environment's sequence is one row."""

        def by_environment(tree: Any) -> Any:
            return jax.tree.map(lambda leaf: leaf.swapaxes(0, 1), tree)

        ended = jnp.concatenate([jnp.zeros_like(rollout.ended[:1]), rollout.ended[:-1]])
        x = {
            "first": ended.T.astype(jnp.float32),
            "memory": rollout.observation["memory"][0],
            "observation": by_environment(rollout.observation["observation"]),
        }
        return {"x": x, "y": by_environment(targets), "weight": jnp.ones(weight.shape[1])}


def _inner(env: Environment) -> Environment:
    """The environment that is acted in, without the memory round it."""
    return env.env if isinstance(env, WithMemory) else env
