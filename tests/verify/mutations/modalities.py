"""Several modalities."""

from __future__ import annotations

from mutations.mutation import of

MUTATIONS = [
    *of(
        "nn/fusion.py",
        ("absent-is-zero", 'repeated(own["absent"][name][None], found.shape)', "jnp.zeros_like(found)", "fusion.late"),
        ("no-flags", "flags = here.astype", "flags = 0 * here.astype", "fusion.late"),
    ),
    *of(
        "tasks/pairs.py",
        ("one-way", "0.5 * (forth + back) - own", "forth - own", "loss.contrast"),
        ("shared-are-others", "jnp.where(kept, logits.T, -jnp.inf)", "logits.T", "loss.contrast"),
    ),
    *of("nn/two_towers.py", ("scale-twice", "jnp.exp(0.5 * ", "jnp.exp(", "layer.two_towers")),
    *of(
        "evaluate/retrieval.py",
        ("ties-count-for-it", "(scores >= best) & ~true", "(scores >= best)", "metric.retrieval"),
    ),
    *of(
        "evaluate/modalities.py",
        ("weights-of-orders", "math.factorial(count - size - 1)", "1", "metric.modality_shares"),
    ),
]
