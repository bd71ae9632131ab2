"""Agents, their targets, memories and worlds; explanation."""

from __future__ import annotations

from mutations.mutation import of

MUTATIONS = [
    *of(
        "rl/returns.py",
        (
            "truncated-is-terminated",
            "next_value = jnp.where(terminated, 0.0, next_value)\n    mixed",
            "next_value = jnp.where(terminated | truncated, 0.0, next_value)\n    mixed",
            "rl.lambda_returns",
        ),
        (
            "gae-through-ends",
            "jnp.where(jnp.logical_or(terminated, truncated), 0.0, discount * lambda_)",
            "jnp.where(terminated, 0.0, discount * lambda_)",
            "rl.generalized_advantages",
        ),
        (
            "n-step-bootstrap",
            "jnp.power(jnp.asarray(discount, reward.dtype), last + 1)",
            "jnp.power(jnp.asarray(discount, reward.dtype), last)",
            "rl.n_step_returns rl.targets_of_dqn",
        ),
    ),
    *of(
        "rl/targets.py",
        (
            "td-after-the-end",
            "return reward + discount * jnp.where(terminated, 0.0, next_value)",
            "return reward + discount * next_value",
            "rl.td_target",
        ),
        ("polyak-turned", "((1 - rate) * old + rate * new)", "(rate * old + (1 - rate) * new)", "rl.polyak"),
        ("quantile-weight-turned", "- (u < 0).astype(u.dtype))", "- (u > 0).astype(u.dtype))", "rl.quantile_huber"),
    ),
    *of("rl/corrections.py", ("rho-not-clipped", "jnp.minimum(rho_clip, ratio)", "ratio", "rl.vtrace")),
    *of(
        "rl/replay.py",
        (
            "window-over-the-write-position",
            "starts = jnp.maximum(self.filled - n + 1, 1)",
            "starts = jnp.maximum(self.filled, 1)",
            "rl.replay",
        ),
        (
            "newest-never-drawn",
            "oldest = self.position - self.filled\n",
            "oldest = self.position - self.filled - 1\n",
            "rl.replay",
        ),
    ),
    *of(
        "rl/prioritised.py",
        (
            "priority-without-alpha",
            "(jnp.abs(errors) + self.epsilon) ** self.alpha",
            "(jnp.abs(errors) + self.epsilon)",
            "rl.prioritised_replay",
        ),
        (
            "weights-turned",
            "(priority.min() / priority) ** beta",
            "(priority / priority.max()) ** beta",
            "rl.prioritised_replay",
        ),
    ),
    *of(
        "rl/policy_losses.py",
        (
            "clip-takes-the-better",
            "-jnp.minimum(ratio * advantage, near * advantage)",
            "-jnp.maximum(ratio * advantage, near * advantage)",
            "rl.ppo",
        ),
    ),
    *of(
        "rl/on_policy.py",
        (
            "returns-of-scaled-advantages",
            '"return": advantage + value',
            '"return": (advantage - mean) / (spread + 1e-8) + value',
            "rl.targets_on_policy",
        ),
        (
            "later-episodes-count",
            "return (ended == 0).astype(jnp.float32)",
            "return (ended >= 0).astype(jnp.float32)",
            "rl.targets_on_policy",
        ),
        (
            "running-sum-through-ends",
            "return jnp.where(ended, 0.0, total), total",
            "return total, total",
            "rl.scaled_rewards",
        ),
    ),
    *of("rl/dqn.py", ("not-double", "if self.double else after", "if not self.double else after", "rl.targets_of_dqn")),
    *of(
        "rl/environment.py",
        (
            "cut-without-a-word",
            "truncated = (steps >= self.max_steps) & ~outcome.terminated",
            "truncated = (steps > self.max_steps) & ~outcome.terminated",
            "rl.episodes",
        ),
        (
            "next-episode-seen",
            "next_observation=outcome.observation",
            "next_observation=envs.observation",
            "rl.episodes",
        ),
    ),
    *of(
        "rl/exploration.py",
        (
            "epsilon-turned",
            "return (1 - progress) * self.start + progress * self.end",
            "return progress * self.start + (1 - progress) * self.end",
            "rl.exploration",
        ),
        ("noise-by-interval", "self.sigma * self.dt**0.5", "self.sigma * self.dt", "rl.exploration"),
    ),
    *of(
        "rl/distributions.py",
        (
            "squash-forgotten",
            "return jnp.tanh(u), -jnp.sum(normal + 2 * (math.log(2) - u - jax.nn.softplus(-2 * u)), axis=-1)",
            "return jnp.tanh(u), -jnp.sum(normal, axis=-1)",
            "rl.TanhGaussian",
        ),
    ),
    *of(
        "rl/environments/driving.py",
        ("chord-along-the-end", "middle = heading + turned / 2", "middle = heading + turned", "rl.bicycle"),
        (
            "half-of-the-lane",
            "outside = jnp.abs(offset) > self.lane_width / 2",
            "outside = jnp.abs(offset) > self.lane_width",
            "environment.Driving",
        ),
    ),
    *of(
        "rl/constraint.py",
        ("multiplier-turned", "self.rate * (mean - most)", "self.rate * (most - mean)", "rl.constraint"),
        ("price-not-divided", ") / (1 + multipliers.sum())", ")", "rl.constraint"),
    ),
    *of(
        "rl/environments/cart_pole.py",
        ("pole-of-another-mass", "(4 / 3 - self.pole_mass", "(1 - self.pole_mass", "environment.CartPole"),
    ),
    *of(
        "explain/shapley.py",
        (
            "size-of-coalitions",
            "weight[np.maximum(size - 1, 0)], weight",
            "weight[np.maximum(size - 2, 0)], weight",
            "explain.shapley",
        ),
    ),
    *of(
        "explain/dependence.py",
        ("mean-of-curves", "self.curves.mean(axis=0)", "np.median(self.curves, axis=0)", "explain.partial_dependence"),
        (
            "centred-without-rows",
            "values - middle @ counts / counts.sum(), counts)",
            "values - middle.mean(), counts)",
            "explain.accumulated_effects",
        ),
    ),
    *of(
        "explain/influence.py",
        (
            "row-left-in-the-hessian",
            "np.eye(units) - curve @ reach",
            "np.eye(units) - 0 * reach",
            "explain.last_layer_influence",
        ),
    ),
    *of(
        "explain/interaction.py",
        ("one-effect-left-in", "rest = both - one - other", "rest = both - one", "explain.interactions"),
    ),
    *of(
        "explain/smooth.py",
        ("noise-in-one-direction", "(jnp.add, jnp.subtract)", "(jnp.add, jnp.add)", "explain.smooth_gradients"),
    ),
    *of("explain/path.py", ("path-not-averaged", "t / steps * d", "t * d", "explain.integrated_gradients")),
]
