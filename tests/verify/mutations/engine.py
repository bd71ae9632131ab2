"""The trainer: sums, keys, orders, resuming."""

from __future__ import annotations

from mutations.mutation import of

MUTATIONS = [
    *of(
        "engine/sources.py",
        ("part-of-another", "stop - 1) - first + part * room", "stop - 1) - first", "engine.shares"),
    ),
    *of(
        "engine/average.py",
        (
            "average-trails-from-zero",
            "self.decay * self.mass, 0) + 1",
            "self.decay * self.mass, 0 * self.mass + 9) + 1",
            "engine.ema engine.swa",
        ),
        ("mean-of-all-epochs", "jnp.where(epoch > self.start,", "jnp.where(epoch >= 0,", "engine.swa"),
    ),
    *of(
        "engine/examine.py",
        (
            "examined-in-one-row",
            "still = jnp.all(y == 0, axis=0)",
            "still = jnp.any(y == 0, axis=0)",
            "engine.examination",
        ),
        (
            "update-is-the-gradient",
            "for tree in (grads, updates, state.params)]",
            "for tree in (grads, grads, state.params)]",
            "engine.examination",
        ),
    ),
    *of(
        "engine/causes.py",
        ("always-too-high", "if not share > (_HIGH if not rising else 0.02)", "if not share > 0", "engine.diagnosis"),
        (
            "dead-below-the-limit",
            "units.idle >= _IDLE]\n    if not dead:",
            "units.idle <= _IDLE]\n    if not dead:",
            "engine.diagnosis",
        ),
    ),
    *of(
        "engine/case.py",
        (
            "mean-without-weights",
            "mean = float((share * values).sum())",
            "mean = float(values.mean())",
            "engine.examination",
        ),
    ),
    *of(
        "engine/seen.py",
        (
            "seen-first-batch",
            "batch_at(chunk, order, number,",
            "batch_at(chunk, order, 0 * number,",
            "engine.examination",
        ),
    ),
    *of(
        "engine/snapshots.py",
        (
            "one-snapshot-for-all",
            "all_.at[(*place, number)].set(own)",
            "all_.at[place].set(own[None])",
            "engine.snapshots",
        ),
    ),
    *of(
        "engine/statistics.py",
        (
            "statistics-of-the-last-weights",
            "params=average.params, average=None)",
            "average=None)",
            "engine.averaged_statistics",
        ),
    ),
    *of(
        "engine/step.py",
        (
            "one-key-for-all-steps",
            "key = jax.random.fold_in(state.key, state.step)",
            "key = jax.random.fold_in(state.key, 0)",
            "engine.randomness",
        ),
        (
            "padding-row-counts",
            '"weight": batch["weight"] * mask}',
            '"weight": batch["weight"]}',
            "engine.ragged_batch",
        ),
        (
            "devices-not-summed",
            "added, sums = total((own, sums), program.shares, tensor=program.tensor)",
            "added, sums = own, total(sums, program.shares)",
            "engine.devices",
        ),
        (
            "penalty-coefficients-swapped",
            '_PENALTIES = {"l1": l1, "l2": l2}',
            '_PENALTIES = {"l1": l2, "l2": l1}',
            "engine.penalties",
        ),
    ),
    *of(
        "engine/gradient.py",
        (
            "mean-by-rows",
            'scale = 1.0 / jnp.maximum(sums["weight"], jnp.finfo(jnp.float32).tiny)',
            "scale = jnp.float32(1.0 / 16)",
            "engine.sample_weights",
        ),
        (
            "micro-batches-share-a-key",
            "jax.random.fold_in(key, i))(jnp.arange(self.parts))",
            "jax.random.fold_in(key, 0 * i))(jnp.arange(self.parts))",
            "engine.randomness",
        ),
        (
            "last-micro-batch-only",
            "return (jax.tree.map(jnp.add, added, part), model_state), sums",
            "return (part, model_state), sums",
            "engine.accumulation",
        ),
    ),
    *of(
        "engine/objective.py",
        (
            "term-weights-ignored",
            "sums[name] * weights[name] if name in weights else sums[name]",
            "sums[name]",
            "engine.terms",
        ),
        (
            "metric-unweighted",
            'sums[name], counts[name] = _weighed(value, batch["weight"], complete=name in objective.complete)',
            'sums[name], counts[name] = _weighed(value, jnp.ones_like(batch["weight"]), complete=name in objective.complete)',
            "engine.measures",
        ),
    ),
    *of(
        "engine/order.py",
        (
            "same-order-each-epoch",
            "return rng.permutation(rows)",
            "return np.arange(rows) if np.ndim(rows) == 0 else rows",
            "engine.orders",
        ),
        ("filler-is-real", "np.where(filler >= 0, ~filler, filler)", "filler", "engine.ragged_batch engine.orders"),
    ),
    *of(
        "engine/sources.py",
        ("epoch-not-in-the-order", "s(epoch, rng_for(seed, epoch))", "s(epoch, rng_for(seed, 0))", "engine.orders"),
        ("seed-not-in-the-order", "s(epoch, rng_for(seed, epoch))", "s(epoch, rng_for(0, epoch))", "engine.orders"),
    ),
    *of(
        "engine/training.py",
        (
            "resume-from-the-first-batch",
            'self.epoch, self._piece, self._start = note["epoch"], note["piece"], note["start"]',
            'self.epoch, self._piece, self._start = note["epoch"], 0, 0',
            "engine.resume_mid_epoch",
        ),
        (
            "resume-forgets-sums",
            'self._sums = self._place(tree["sums"]) if note["mid_epoch"] else None',
            "self._sums = None",
            "engine.resume_mid_epoch",
        ),
        (
            "resume-forgets-best",
            'self.judge.take(tree["best"], self.layout)',
            "pass",
            "engine.resume_best",
        ),
    ),
    *of(
        "engine/state.py",
        ("best-is-worst", "value < best.value - min_delta", "value > best.value - min_delta", "engine.early_stopping"),
        ("least-gain-ignored", "(value < best.value - min_delta)", "(value < best.value)", "engine.best_weights"),
    ),
    *of(
        "engine/precision.py",
        (
            "narrow-outputs",
            "return _cast(outputs, jnp.float32), jax.tree.map",
            "return outputs, jax.tree.map",
            "engine.bfloat16_casts",
        ),
    ),
    *of(
        "engine/per_example.py",
        (
            "rows-not-clipped",
            "jnp.minimum(1.0, bound / jnp.sqrt(jnp.maximum(s, tiny)))",
            "jnp.maximum(1.0, 0 * bound / jnp.sqrt(jnp.maximum(s, tiny)))",
            "engine.row_gradients",
        ),
    ),
    *of(
        "engine/gathering.py",
        (
            "gradients-of-one-part",
            "jax.lax.psum_scatter(a, DATA, scatter_dimension=axis, tiled=True), spec)(whole)",
            "jax.lax.psum_scatter(a, DATA, scatter_dimension=axis, tiled=True) / 2, spec)(whole)",
            "engine.fsdp",
        ),
    ),
    *of(
        "engine/population.py",
        (
            "one-model-judged-by-its-first-member",
            "{name: np.sum(value, axis=0) for name, value in sums.items()}",
            "{name: value[0] for name, value in sums.items()}",
            "engine.together",
        ),
        (
            "members-swap-orders",
            "(DIVIDED, WHOLE, DIVIDED, WHOLE))(state, chunk, order, index)",
            "(DIVIDED, WHOLE, DIVIDED, WHOLE))(state, chunk, order[::-1], index)",
            "engine.population_orders",
        ),
    ),
    *of(
        "engine/alternate.py",
        (
            "both-change-everything",
            "params = {**state.params, part: after.params[part]}",
            "params = after.params",
            "engine.turns",
        ),
        ("one-optimizer-for-both", "kept[turn] = after.opt_state", "kept = [after.opt_state] * 2", "engine.turns"),
    ),
    *of(
        "engine/loop.py",
        (
            "no-gradient-through-steps",
            "return jax.lax.scan(functools.partial(step, program), state, batches)",
            "return jax.lax.scan(functools.partial(step, program), jax.lax.stop_gradient(state), batches)",
            "engine.unrolled",
        ),
    ),
]
