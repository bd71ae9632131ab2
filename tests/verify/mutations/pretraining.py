"""Learning without labels."""

from __future__ import annotations

from mutations.mutation import of

MUTATIONS = [
    *of(
        "tasks/pretrain.py",
        (
            "itself-is-another",
            "(jnp.tile(there, 2)[None] | own) & ~itself",
            "jnp.tile(there, 2)[None] | own",
            "loss.nt_xent",
        ),
        ("one-view-alone", "0.5 * (values[:count] + values[count:])", "values[:count]", "loss.nt_xent"),
        ("pixels-apart", ".transpose(0, 1, 3, 2, 4, 5)", "", "loss.hidden_cells"),
        ("what-is-seen-counts", "jnp.where(hidden, error, 0)", "error", "loss.hidden_cells"),
    ),
]
