"""Rounds of clients: whom the mean counts how, what keeps clients together, and what hides them."""

from __future__ import annotations

from mutations.mutation import of

MUTATIONS = [
    *of(
        "federated/program.py",
        ("clients-count-alike", 'whose["share"], 0)', "1.0, 0)", "federated.fedavg"),
        (
            "server-goes-back",
            "jax.tree.map(jnp.negative, changes",
            "jax.tree.map(jnp.positive, changes",
            "federated.server",
        ),
        ("shared-first", "self._turned(after, mine=True)", "self._turned(after, mine=False)", "federated.fedrep"),
        ("control-per-step", "(x - y) / (steps * rate) - s", "(x - y) / rate - s", "federated.scaffold"),
        (
            "private-by-who-came",
            ".astype(share.dtype) / self.expected",
            ".astype(share.dtype) / 2",
            "federated.private",
        ),
    ),
    *of(
        "federated/rounds.py",
        ("first-row-of-all", "rows[places], ~rows.max()", "rows[0], ~rows.max()", "federated.rows"),
    ),
    *of(
        "federated/drift.py",
        ("pushed-away", "(mu * (p - s))", "(mu * (s - p))", "federated.fedprox"),
        (
            "drift-doubled",
            "lambda g, c: g + c.astype(g.dtype)",
            "lambda g, c: g - c.astype(g.dtype)",
            "federated.scaffold",
        ),
    ),
    *of(
        "federated/private.py",
        ("not-bounded", "jnp.minimum(1, clip /", "jnp.maximum(1, clip /", "federated.private"),
        ("half-the-noise", "leaf + (size * jax", "leaf + (0.5 * size * jax", "federated.private"),
    ),
    *of(
        "optim/adam.py",
        (
            "yogi-is-adam",
            "v - (1 - beta2) * jnp.sign(v - square) * square",
            "v - (1 - beta2) * (v - square)",
            "optimizer.yogi",
        ),
    ),
]
