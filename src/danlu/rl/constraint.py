"""Learning under a limit on costs: multipliers that rise while a limit is exceeded, and fall while it is kept.

A world may say what each step costs beside what it brings (:attr:`Environment.costs <danlu.rl.Environment>`). To make the return as
large as can be with an episode's expected cost J_k at most d_k is ``max_π min_{λ ≥ 0} J(π) − Σ_k λ_k (J_k(π) − d_k)``. The agent
learns from the reward
``(r − Σ_k λ_k c_k) / (1 + Σ_k λ_k)``, and after each of its iterations λ takes a step up the other way::

    λ_k ← max(0, λ_k + η·(J_k − d_k)/u_k),   u_k = max(d_k, J_k/10)

J_k is the mean cost of the episodes that ended in the iteration, and u_k makes the step the same in whatever unit a cost is counted: a
limit of 0.02 collisions that is exceeded five times over raises its price as fast as one of 20 steps. The tenth bounds it by 10 η.
Agents know nothing of it: what they see as the reward is changed, in one place, and an agent with a replay memory sees remembered steps
at the prices of today.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np

from danlu.blueprint import Blueprint, setting
from danlu.errors import ConfigError, unknown_name
from danlu.rl.environment import Environment

__all__ = ["Constraint", "costs_of"]

TOTAL = "total"


class Constraint(Blueprint):
    """Limits of an episode's costs, with a multiplier for each.

    Args:
        limits: ``((kind, most), …)``, the most that an episode may cost in the mean; the kind ``"total"`` is the sum of all.
        rate: η, how fast a multiplier follows.

    Reference: Ray, Achiam & Amodei, "Benchmarking safe exploration in deep reinforcement learning" (2019), section 5, whose
        PPO-Lagrangian divides by 1 + λ too; one value function of the priced reward stands for its two, as in Tessler, Mankowitz &
        Mannor, "Reward constrained policy optimization" (2019), arXiv:1805.11074: advantages are linear in the reward.

    Example:
        >>> limited = Constraint((("collision", 0.1),), rate=0.5)
        >>> limited.priced(jnp.array([2.0]), jnp.array(1.0), jnp.array([1.0, 7.0]), ("collision", "speeding"))
        Array(-0.33333334, dtype=float32)
        >>> sums = {"episodes": 10.0, "cost_collision": 3.0, "cost_speeding": 9.0}
        >>> limited.ascended(jnp.array([2.0]), sums, ("collision", "speeding"))
        Array([3.], dtype=float32)
    """

    limits: tuple[tuple[str, float], ...]
    rate: float = setting(default=0.05, above=0)

    @classmethod
    def of(cls, limit: float | Mapping[str, float] | Constraint | None, rate: float = 0.05) -> Self | None:
        """A limit as users write it: a number for the sum of all costs, or a number for each of some kinds; None is none."""
        if limit is None or isinstance(limit, Constraint):
            return limit  # type: ignore[return-value]
        limits = limit if isinstance(limit, Mapping) else {TOTAL: limit}
        for name, most in limits.items():
            if isinstance(most, bool) or not isinstance(most, int | float) or not most >= 0:
                raise ConfigError(
                    f"the cost limit of {name} is {most!r}; expected a number of 0 or more, the most that an episode may cost"
                )
        return cls(tuple((name, float(most)) for name, most in limits.items()), rate) if limits else None

    def check(self, env: Environment) -> None:
        """Refuse a world without costs, or a kind of cost that it does not have.

        Raises:
            ConfigError: see above.
        """
        if not env.costs:
            raise ConfigError(
                f"a cost limit was given, and {env.id} has no costs beside its reward",
                hint="leave cost_limit out, or take an environment with costs, such as driving",
            )
        for name, _ in self.limits:
            if name not in (*env.costs, TOTAL):
                raise unknown_name(f"cost of {env.id}", name, (*env.costs, TOTAL))

    @property
    def names(self) -> tuple[str, ...]:
        """The kinds that are limited."""
        return tuple(name for name, _ in self.limits)

    def begin(self) -> jax.Array:
        """The multipliers before training, ``(limits,)``: 0."""
        return jnp.zeros(len(self.limits))

    def priced(self, multipliers: jax.Array, reward: jax.Array, cost: jax.Array, kinds: tuple[str, ...]) -> jax.Array:
        """``(r − Σ_k λ_k c_k) / (1 + Σ_k λ_k)`` for rewards ``(…)`` and costs ``(…, kinds)``."""
        return (reward - cost @ (self._shares(kinds).T @ multipliers)) / (1 + multipliers.sum())

    def ascended(self, multipliers: jax.Array, sums: Mapping[str, Any], kinds: tuple[str, ...]) -> jax.Array:
        """The multipliers after an iteration; as they were where no episode ended in it."""
        totals = jnp.stack([jnp.asarray(sums[f"cost_{kind}"], jnp.float32) for kind in kinds])
        episodes = jnp.asarray(sums["episodes"], jnp.float32)
        mean = self._shares(kinds) @ totals / jnp.maximum(episodes, 1e-6)
        most = jnp.array([most for _, most in self.limits])
        unit = jnp.maximum(jnp.maximum(most, mean / 10), 1e-9)
        moved = jnp.maximum(multipliers + self.rate * (mean - most) / unit, 0.0)
        return jnp.where(episodes > 0, moved, multipliers)

    def told(self, value: float, spent: np.ndarray, kinds: tuple[str, ...]) -> float:
        """By what an evaluation is judged: its return where all limits are kept; else lower than any return, and the lower the more
        they are exceeded."""
        most = np.array([most for _, most in self.limits])
        over = float(np.maximum(self._shares(kinds) @ spent - most, 0).sum())
        return float(value) if over == 0 else -1e6 * (1 + over)

    def _shares(self, kinds: tuple[str, ...]) -> np.ndarray:
        """Which kinds each limit counts, 0 and 1, ``(limits, kinds)``."""
        return np.array([[name in (kind, TOTAL) for kind in kinds] for name in self.names], np.float32)


def costs_of(env: Environment) -> tuple[str, ...]:
    """The names of the sums of a world's costs: ``"cost_collision"``, ….

    >>> from danlu.rl.environments import CartPole
    >>> costs_of(CartPole())
    ()
    """
    return tuple(f"cost_{kind}" for kind in env.costs)
