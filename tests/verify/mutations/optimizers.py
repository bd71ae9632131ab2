"""Optimizers, their options and schedules."""

from __future__ import annotations

from mutations.mutation import of

MUTATIONS = [
    *of(
        "optim/adam.py",
        ("adamw-mask", "like(u - rate * on * p, u)", "like(u - rate * p, u)", "option.weight_decay_mask"),
        (
            "adam-schedule-late",
            "(current(getattr(state, name), state.step) for name in state.hyperparameters)",
            "(current(getattr(state, name), new.step) for name in state.hyperparameters)",
            "option.schedules",
        ),
        ("adam-without-correction", "return rate / _correction(beta1, new.step)", "return rate", "optimizer.adam"),
        (
            "adam-epsilon-inside",
            "(jnp.sqrt(v) * scale + epsilon)",
            "(jnp.sqrt(v + epsilon) * scale)",
            "option.schedules",
        ),
        (
            "adamw-decay-without-rate",
            "rate = current(state.adam.learning_rate, state.step) * current(state.weight_decay, state.step)",
            "rate = current(state.weight_decay, state.step)",
            "optimizer.adamw",
        ),
        (
            "adamw-decay-late",
            "current(state.weight_decay, state.step)\n    if",
            "current(state.weight_decay, state.step + 1)\n    if",
            "option.other_schedules",
        ),
    ),
    *of(
        "optim/momentum.py",
        ("nesterov-is-momentum", "like(-rate * (g + mu * v), v)", "like(-rate * v, v)", "optimizer.nesterov"),
        (
            "momentum-damped",
            "like(mu * v + g, v), grads, state.velocity)\n    updates = jax.tree.map(lambda v:",
            "like(mu * v + (1 - mu) * g, v), grads, state.velocity)\n    updates = jax.tree.map(lambda v:",
            "optimizer.momentum",
        ),
    ),
    *of(
        "optim/rmsprop.py",
        ("rmsprop-epsilon-inside", "(jnp.sqrt(s) + epsilon)", "jnp.sqrt(s + epsilon)", "option.schedules"),
    ),
    *of(
        "optim/adagrad.py",
        ("adagrad-starts-at-zero", "jnp.zeros_like(p) + initial_accumulator", "jnp.zeros_like(p)", "optimizer.adagrad"),
    ),
    *of(
        "optim/decay.py",
        ("decay-mask", "like(g + decay * on * p, g)", "like(g + decay * p, g)", "option.weight_decay_mask"),
        (
            "weights-by-one-axis",
            "jnp.float32(jnp.ndim(p) >= 2)",
            "jnp.float32(jnp.ndim(p) >= 1)",
            "option.weight_decay_mask",
        ),
    ),
    *of(
        "optim/chain.py",
        (
            "chain-turned",
            "part.init for part in optimizers)), ChainUpdate(tuple(part.update for part in optimizers))",
            "part.init for part in optimizers[::-1])), ChainUpdate(tuple(part.update for part in optimizers[::-1]))",
            "optimizer.weight_decay",
        ),
    ),
    *of(
        "optim/clip.py",
        (
            "global-norm-of-the-last",
            "square_norm = sum((_square_norm(g) for g in jax.tree.leaves(grads)), jnp.zeros((), jnp.float32))",
            "square_norm = _square_norm(jax.tree.leaves(grads)[-1])",
            "clipping.by_global_norm",
        ),
    ),
    *of(
        "optim/hyperparameters.py",
        (
            "rate-not-set",
            "return node._replace(**{name: _fit(value, getattr(node, name))}) if name in _names(node) else node",
            "return node",
            "option.updates",
        ),
    ),
    *of(
        "optim/schedules/decay.py",
        (
            "steps-rounded-up",
            "as_array(count) // as_array(self.every)",
            "-(-as_array(count) // as_array(self.every))",
            "schedule.step",
        ),
    ),
    *of(
        "optim/schedules/warmup.py",
        (
            "warm-up-not-shifted",
            "self.schedule(jnp.maximum(count - steps, 0))",
            "self.schedule(count)",
            "schedule.warm_up",
        ),
    ),
    *of(
        "optim/schedules/plateau.py",
        (
            "plateau-never-resets",
            "waited=jnp.where(reduce, 0, waited)",
            "waited=waited",
            "schedule.reduce_on_plateau engine.plateau",
        ),
    ),
    *of(
        "optim/adam.py",
        ("adamw-decay-of-a-tenth", "weight_decay: Any = 0.01", "weight_decay: Any = 0.1", "option.defaults"),
    ),
    *of(
        "optim/schedules/warmup.py",
        (
            "what-is-observed-is-lost",
            "return dataclasses.replace(self, schedule=self.schedule.observe(value))",
            "return self",
            "schedule.reduce_on_plateau",
        ),
    ),
    *of(
        "engine/callbacks.py",
        (
            "an-epoch-more-of-patience",
            "if self.stale >= self.patience:",
            "if self.stale > self.patience:",
            "schedule.reduce_on_plateau",
        ),
    ),
]
