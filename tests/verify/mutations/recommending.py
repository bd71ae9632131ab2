"""Recommenders: what was had, what is drawn, and how a ranking is measured."""

from __future__ import annotations

from mutations.mutation import of

MUTATIONS = [
    *of(
        "recommend/baselines.py",
        ("diagonal-left", "np.fill_diagonal(weights, 0.0)", "pass", "recommend.ease"),
        ("divided-by-rows", "-np.diag(inverse)[None]", "-np.diag(inverse)[:, None]", "recommend.ease"),
    ),
    *of(
        "recommend/networks.py",
        (
            "sum-without-its-scale",
            'params["vector"] + state["scale"][:, None] * said',
            'params["vector"] + said',
            "recommend.svdpp",
        ),
        (
            "item-bias-left-out",
            'state["offset"] + users[..., -1] + items[..., -1]',
            'state["offset"] + users[..., -1]',
            "recommend.svdpp",
        ),
    ),
    *of(
        "recommend/objectives.py",
        ("bpr-turned-round", "others - wanted[:, None]", "wanted[:, None] - others", "recommend.bpr"),
        ("draws-not-corrected", "others - log_q[None] - jnp.log", "others - jnp.log", "recommend.sampled_softmax"),
        ("hits-counted-twice", "jnp.where(hit, -jnp.inf, others)", "others", "recommend.sampled_softmax"),
        (
            "penalty-of-items-alone",
            "jnp.square(users[:, :-1]).sum(1) + jnp.square(items",
            "jnp.square(items",
            "recommend.rated",
        ),
    ),
    *of(
        "evaluate/recommendation.py",
        (
            "discount-from-one",
            "1 / np.log2(ranks + 1), 0)) / ideal",
            "1 / np.log2(ranks + 2), 0)) / ideal",
            "recommend.rankings",
        ),
        ("precision-of-all-places", "(place + 1) / ranks", "1 / ranks", "recommend.rankings"),
    ),
]
