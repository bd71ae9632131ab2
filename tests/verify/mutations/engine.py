"""The trainer: sums, keys, orders, resuming."""

from __future__ import annotations

from mutations.mutation import of

MUTATIONS = [
    *of(
        "engine/step.py",
        (
            "one-key-for-all-steps",
            "key = jax.random.fold_in(state.key, state.step)",
            "key = jax.random.fold_in(state.key, 0)",
            "engine.randomness",
        ),
        (
            "micro-batches-share-a-key",
            "jax.random.fold_in(key, i))(jnp.arange(program.accumulate))",
            "jax.random.fold_in(key, 0 * i))(jnp.arange(program.accumulate))",
            "engine.randomness",
        ),
        (
            "last-micro-batch-only",
            "return (jax.tree.map(jnp.add, added, part), model_state), sums",
            "return (part, model_state), sums",
            "engine.accumulation",
        ),
        (
            "mean-by-rows",
            "scale = _per_weight(sums)",
            "scale = jnp.float32(1.0 / program.batch_size)",
            "engine.sample_weights",
        ),
        (
            "padding-row-counts",
            '"weight": batch["weight"] * mask}',
            '"weight": batch["weight"]}',
            "engine.ragged_batch",
        ),
        (
            "devices-not-summed",
            "added, sums = total((added, sums), program.devices)",
            "sums = total(sums, program.devices)",
            "engine.devices",
        ),
        (
            "metric-unweighted",
            "sums[name], own = weighed(of, weight, complete=complete)",
            "sums[name], own = weighed(of, jnp.ones_like(weight), complete=complete)",
            "engine.measures",
        ),
        (
            "penalty-coefficients-swapped",
            '{"l1": l1, "l2": l2}[n](params)',
            '{"l1": l2, "l2": l1}[n](params)',
            "engine.penalties",
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
            'self.state, self.best = self._place(tree["state"]), self._place(tree["best"])',
            'self.state = self._place(tree["state"])',
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
        "engine/population.py",
        (
            "members-swap-orders",
            "in_axes=(0, None, 0, None))(state, chunk, order, index)",
            "in_axes=(0, None, 0, None))(state, chunk, order[::-1], index)",
            "engine.population_orders",
        ),
    ),
]
