"""Bandit: arms with different mean rewards, which are learnt by pulling them."""

from __future__ import annotations

import dataclasses
import math
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from danlu.blueprint import setting
from danlu.errors import ConfigError
from danlu.rl.environment import Environment, Outcome
from danlu.rl.environments.drawing import BLUE, GOLD, INK, MUTED, Canvas
from danlu.rl.spaces import Box, Discrete

__all__ = ["Bandit", "BanditState"]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class BanditState:
    """The arms' mean rewards, how often each was pulled, and its total reward; float32 ``(arms,)``."""

    means: jax.Array
    pulls: jax.Array
    paid: jax.Array


class Bandit(Environment):
    """Pull one of ``arms``; its reward is drawn from a distribution of its own.

    ``"gaussian"``: means from N(0, 1), rewards from N(mean, 1). ``"bernoulli"``: means uniform in [0, 1], rewards 1 with that probability
    and else 0. The means are drawn anew at the start of each episode, unless they are given. An episode terminates after ``horizon`` pulls.

    An observation holds what has been learnt of each arm in this episode, all that the best decision depends on. So with ``horizon=1`` and
    given means it is the plain bandit, and with a long horizon the agent learns how to explore.

    Args:
        max_steps: the steps after which an episode is truncated, at least ``horizon`` unless that is meant.
        arms: how many there are.
        kind: ``"gaussian"`` or ``"bernoulli"``.
        horizon: the pulls in an episode.
        means: what the arms pay on average, one number an arm; ``()`` draws them.

    Observation: ``[mean reward of each arm so far (0 of one not yet pulled)…, pulls of each arm / horizon…]``, ``(2 · arms,)`` float32.

    Reference: Sutton & Barto, "Reinforcement Learning", 2nd edition, section 2.3 (the 10-armed testbed).

    Example:
        >>> world = Bandit(arms=2, kind="bernoulli", means=(1.0, 0.0), horizon=2)
        >>> state, _ = world.reset(jax.random.key(0))
        >>> state, outcome = jax.jit(world.step)(state, 0, jax.random.key(1))
        >>> float(outcome.reward), outcome.observation.tolist(), bool(outcome.terminated)
        (1.0, [1.0, 0.0, 0.5, 0.0], False)
    """

    id: ClassVar[str | None] = "danlu/Bandit-v0"

    max_steps: int = setting(default=1000, minimum=1, integer=True)
    arms: int = setting(default=10, minimum=1, integer=True)
    kind: str = setting(default="gaussian", choices=("gaussian", "bernoulli"))
    horizon: int = setting(default=100, minimum=1, integer=True)
    means: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.means and len(self.means) != self.arms:
            raise ConfigError(
                f"Bandit.means has {len(self.means)} numbers for {self.arms} arms", hint="give arms=… too"
            )
        if self.kind == "bernoulli" and not all(0 <= mean <= 1 for mean in self.means):
            raise ConfigError(f"Bandit.means is {self.means}; expected probabilities for kind='bernoulli'")

    @property
    def observation_space(self) -> Box:
        low, high = (-math.inf, math.inf) if self.kind == "gaussian" else (0.0, 1.0)
        return Box((low,) * self.arms + (0.0,) * self.arms, (high,) * self.arms + (1.0,) * self.arms, (2 * self.arms,))

    @property
    def action_space(self) -> Discrete:
        return Discrete(self.arms)

    def reset(self, key: jax.Array) -> tuple[BanditState, jax.Array]:
        if self.means:
            means = jnp.array(self.means, jnp.float32)
        elif self.kind == "gaussian":
            means = jax.random.normal(key, (self.arms,))
        else:
            means = jax.random.uniform(key, (self.arms,))
        state = BanditState(means, jnp.zeros(self.arms), jnp.zeros(self.arms))
        return state, self._seen(state)

    def step(self, state: BanditState, action: jax.Array, key: jax.Array) -> tuple[BanditState, Outcome]:
        arm = jax.nn.one_hot(jnp.clip(action, 0, self.arms - 1), self.arms, dtype=jnp.float32)
        mean = (arm * state.means).sum()
        if self.kind == "gaussian":
            reward = mean + jax.random.normal(key)
        else:
            reward = (jax.random.uniform(key) < mean).astype(jnp.float32)
        after = BanditState(state.means, state.pulls + arm, state.paid + arm * reward)
        return after, Outcome(self._seen(after), reward, after.pulls.sum() >= self.horizon)

    def frame(self, state: BanditState) -> np.ndarray:
        """The arms' means (bars), their observed means (dots), and how often each was pulled (below)."""
        means, pulls, paid = (np.asarray(array) for array in (state.means, state.pulls, state.paid))
        low, high = (-3.0, 3.0) if self.kind == "gaussian" else (0.0, 1.0)
        side = max(min(30, 290 // self.arms), 2)
        canvas = Canvas(side * self.arms + 10, 160, left=-5, bottom=-30, scale=1)

        def height(value: float) -> float:
            return 5 + 115 * (min(max(value, low), high) - low) / (high - low)

        canvas.line([(-5, height(0)), (side * self.arms + 5, height(0))], MUTED, 1)
        for arm in range(self.arms):
            left, right = side * arm + 0.2 * side, side * arm + 0.8 * side
            bottom, top = sorted((height(0), height(float(means[arm]))))
            canvas.box((left, bottom), (right, max(top, bottom + 1)), BLUE)
            if pulls[arm]:
                canvas.circle((side * (arm + 0.5), height(float(paid[arm] / pulls[arm]))), max(side / 7, 1.5), GOLD)
            if side >= 16:
                canvas.text((side * (arm + 0.5), -16), str(int(pulls[arm])), INK, size=11, anchor="mm")
        return canvas.pixels()

    def _seen(self, state: BanditState) -> jax.Array:
        return jnp.concatenate([state.paid / jnp.maximum(state.pulls, 1), state.pulls / self.horizon])
