"""Learning from few examples."""

from __future__ import annotations

from mutations.mutation import of

MUTATIONS = [
    *of(
        "fewshot/metric.py",
        (
            "triplet-nearest-like",
            "farthest = jnp.max(jnp.where(same, distance, -jnp.inf)",
            "farthest = jnp.min(jnp.where(same, distance, jnp.inf)",
            "fewshot.triplet",
        ),
        (
            "contrastive-not-squared",
            "jnp.square(jax.nn.relu(self.margin - distance))",
            "jax.nn.relu(self.margin - distance)",
            "fewshot.contrastive",
        ),
        ("supcon-with-itself", "jnp.where(jnp.eye(len(y), dtype=bool), -jnp.inf, logits)", "logits", "fewshot.supcon"),
        (
            "arcface-past-pi",
            "jnp.where(true > jnp.cos(jnp.pi - self.margin), moved, true - self.margin * jnp.sin(self.margin))",
            "moved",
            "fewshot.arcface",
        ),
    ),
    *of(
        "fewshot/learners.py",
        ("maml-first-order", 'Whole() if self.order == "second" else FirstOrder()', "FirstOrder()", "fewshot.maml"),
        (
            "fomaml-second-order",
            "return jax.lax.stop_gradient(grads), after, sums",
            "return grads, after, sums",
            "fewshot.fomaml",
        ),
    ),
    *of(
        "fewshot/objective.py",
        (
            "reptile-upwards",
            "lambda old, new: old - jax.lax.stop_gradient(new), params[0]",
            "lambda old, new: new - old, params[0]",
            "fewshot.reptile",
        ),
    ),
    *of(
        "evaluate/episodes.py",
        (
            "pairs-strictly-nearer",
            'np.searchsorted(distance, self.threshold, side="right")',
            'np.searchsorted(distance, self.threshold, side="left")',
            "metric.pairs",
        ),
    ),
]
