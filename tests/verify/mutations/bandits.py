"""Logs of bandits: estimators, scores of actions, models of rewards."""

from __future__ import annotations

from mutations.mutation import of

MUTATIONS = [
    *of(
        "evaluate/logged.py",
        (
            "propensity-upside-down",
            "chance / self._placed(self.propensity)",
            "self._placed(self.propensity) / np.maximum(chance, 1e-9)",
            "bandits.unbiased",
        ),
        (
            "residual-unweighted",
            "direct + self.by_place * (reward -",
            "direct + (reward -",
            "bandits.unbiased",
        ),
        ("snips-over-rows", "(over := dot(by, weight))", "(over := float(by.sum()))", "bandits.estimators"),
        ("places-apart", "return each.cumprod(axis=1)", "return each", "bandits.pages"),
        ("page-by-place", "each.prod(axis=1, keepdims=True)", "each", "bandits.pages"),
        ("pages-averaged", "each.sum(axis=1) for name", "each.mean(axis=1) for name", "bandits.pages"),
        ("effective-rows-unsquared", "float(w.sum() ** 2 / (w @ w))", "float(w.sum() / (w @ w))", "bandits.estimators"),
    ),
    *of(
        "bandits/losses.py",
        (
            "value-turned-round",
            "-(softmax(outputs) * (scores -",
            "(softmax(outputs) * (scores -",
            "bandits.policy_value",
        ),
        ("entropy-turned-round", "scores - self.entropy", "scores + self.entropy", "bandits.policy_value"),
        ("weights-without-limit", "np.minimum(1 / propensity, most)", "(1 / propensity)", "bandits.policy_value"),
        ("every-action-learnt", "* done[between]).sum(-1)  #", ").sum(-1)  #", "bandits.logged_reward"),
        (
            "logging-left-out",
            "values = values - (log_softmax(outputs",
            "values = values - 0 * (log_softmax(outputs",
            "bandits.logged_reward",
        ),
    ),
    *of(
        "bandits/losses.py",
        (
            "places-all-looked-at",
            "jnp.full_like(u[..., :1], _SURELY), u]",
            "jnp.full_like(u[..., :1], _SURELY), 0 * u + _SURELY]",
            "bandits.page_reward",
        ),
        (
            "page-summed",
            "/ jnp.maximum(there.sum(-1), 1))",
            "/ jnp.maximum(there.sum(-1) * 0, 1))",
            "bandits.page_reward",
        ),
        ("missed-as-seen", "(1 - reward) * missed", "(1 - reward) * seen", "bandits.page_reward"),
        ("mean-of-what-is-not-seen", "(z + self.offset) - self.offset", "z", "bandits.page_reward"),
        (
            "logits-of-items-first",
            "logits.reshape(shape)",
            "jnp.swapaxes(logits.reshape(shape), -1, -2)",
            "bandits.page_reward",
        ),
    ),
    *of(
        "rl/arms.py",
        (
            "all-arms-learn",
            "pulled = jax.nn.one_hot(arm, self.arms, dtype=phi.dtype) *",
            "pulled = jnp.ones((len(arm), self.arms)) *",
            "bandits.linucb",
        ),
        ("width-without-root", "return jnp.sqrt(jnp.maximum(", "return (jnp.maximum(", "bandits.linucb"),
        ("places-looked-at-alike", "jnp.square(looked), state", "looked, state", "bandits.places"),
        ("looks-without-prior", "(self.penalty + with_it) / (", "with_it / (", "bandits.places"),
        ("first-place-learnt", "looked.at[0].set(1.0)", "looked", "bandits.places"),
        ("factor-not-turned", "lower=True, trans=1)", "lower=True, trans=0)", "bandits.thompson"),
    ),
    *of(
        "rl/distributions.py",
        ("items-shown-twice", "left = left - 1e9 * there", "left = left - 0 * there", "bandits.slates"),
    ),
    *of(
        "rl/environments/shop.py",
        ("cascade-looks-on", "liked * jnp.concatenate(", "liked + 0 * jnp.concatenate(", "bandits.cascade"),
        ("every-liked-item-clicked", "clicks &= jnp.cumsum(clicks, axis=-1) == 1", "clicks &= True", "bandits.cascade"),
    ),
]
