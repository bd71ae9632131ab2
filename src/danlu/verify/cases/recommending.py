"""Recommenders: EASE by constrained least squares, SVD++ by hand, BPR and the corrected softmax, the measures of rankings."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.evaluate.recommendation import Rankings
from danlu.recommend.baselines import ease
from danlu.recommend.networks import CodeTower, ImplicitTower, Matcher
from danlu.recommend.objectives import Rated, bpr, corrected_softmax
from danlu.verify.case import Check, case
from danlu.verify.oracles import draw, finite_difference

__all__: list[str] = []


@case("recommend.ease")
def ease_weights(check: Check) -> None:
    """Each column by itself: ridge regression of one item on all others."""
    had = np.asarray(draw(12, 6) > 0, np.float64)
    expected = np.zeros((6, 6))
    for item in range(6):
        others = [each for each in range(6) if each != item]
        x = had[:, others]
        expected[others, item] = np.linalg.solve(x.T @ x + 2.5 * np.eye(5), x.T @ had[:, item])
    check(ease(had, 2.5), expected, oracle="least squares")


USERS = np.array([1, 1, 2, 3, 3, 3])
ITEMS = np.array([1, 3, 2, 1, 2, 4])


def svdpp() -> tuple[Matcher, Any, Any]:
    """A network with vectors of some size, and who had what."""
    network = Matcher(ImplicitTower(4, 2, 5, len(USERS)), CodeTower(5, 2))
    params, state, _ = network.init(jax.random.key(0), {"user": (), "item": ()})
    leaves, form = jax.tree.flatten(params)
    params = jax.tree.unflatten(
        form, [jnp.asarray(draw(*leaf.shape, seed=k), jnp.float32) for k, leaf in enumerate(leaves)]
    )
    counts = np.bincount(USERS, minlength=4)
    own = {
        "users": jnp.asarray(USERS, jnp.int32),
        "items": jnp.asarray(ITEMS, jnp.int32),
        "scale": jnp.asarray(1 / np.sqrt(np.maximum(counts, 1)), jnp.float32),
    }
    return network, params, {**state, "user": own, "offset": jnp.asarray(3.5)}


def by_hand(params: Any, user: int, item: int) -> float:
    """``μ + b_u + b_i + q_i·(p_u + |N(u)|^(−1/2)·Σ y_j)``."""
    p: Any = {name: {key: np.asarray(leaf, np.float64) for key, leaf in part.items()} for name, part in params.items()}
    had = [j for u, j in zip(USERS, ITEMS, strict=True) if u == user]
    vector = p["user"]["vector"][user].copy()
    for j in had:
        vector += p["user"]["had"][j] / np.sqrt(len(had))
    said = 3.5 + p["user"]["bias"][user] + p["item"]["bias"][item]
    return float(said + sum(a * b for a, b in zip(vector, p["item"]["vector"][item], strict=True)))


@case("recommend.svdpp")
def implicit(check: Check) -> None:
    network, params, state = svdpp()
    pairs = list(itertools.product(range(4), range(5)))
    x = {
        name: jnp.asarray(values, jnp.int32)
        for name, values in zip(("user", "item"), zip(*pairs, strict=True), strict=True)
    }
    expected = [by_hand(params, *pair) for pair in pairs]
    check(network.apply(params, state, x)[0], expected, oracle="by hand")
    tower, own = network.user.folded(params["user"], state["user"])  # type: ignore[attr-defined]
    plain = network.replace(user=tower)
    check(plain.apply({**params, "user": own}, {**state, "user": {}}, x)[0], expected, oracle="by hand")


@case("recommend.rated")
def rated(check: Check) -> None:
    network, params, state = svdpp()
    truth, both = draw(len(USERS), seed=9), (USERS, ITEMS)
    batch = {
        "x": {"user": jnp.asarray(USERS), "item": jnp.asarray(ITEMS)},
        "y": jnp.asarray(truth, jnp.float32),
        "weight": jnp.ones(len(USERS)),
    }

    def loss(params: Any) -> Any:
        return Rated(network, 0.2, 0.05)(params, state, batch, jax.random.key(0), train=True)[0]

    def formula(items: Any) -> Any:
        own = {**params, "item": {**params["item"], "vector": items}}
        p: Any = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), own)
        found = []
        for user, item, value in zip(*both, truth, strict=True):
            had = [p["user"]["had"][j] for u, j in zip(*both, strict=True) if u == user]
            whole = p["user"]["vector"][user] + np.sum(had, 0) / np.sqrt(len(had))
            size = (whole**2).sum() + (p["item"]["vector"][item] ** 2).sum()
            bias = p["user"]["bias"][user] ** 2 + p["item"]["bias"][item] ** 2
            found.append((by_hand(own, user, item) - value) ** 2 + 0.2 * size + 0.05 * bias)
        return np.array(found)

    items = np.asarray(params["item"]["vector"], np.float64)
    check(loss(params), formula(items), oracle="by hand")
    got = jax.grad(lambda params: loss(params).sum())(params)["item"]["vector"]
    numeric = finite_difference(lambda items: float(formula(items).sum()), items)
    check(got, numeric, oracle="finite differences", floor=0.01)


@case("recommend.bpr")
def ranked_pairs(check: Check) -> None:
    wanted, others = draw(5), draw(5, 3, seed=1)

    def formula(s: Any, o: Any) -> Any:
        return np.log1p(np.exp(-(s[:, None] - o))).mean(1)

    s, o = jnp.asarray(wanted, jnp.float32), jnp.asarray(others, jnp.float32)
    check(bpr(s, o), formula(wanted, others))
    got = jax.grad(lambda s, o: bpr(s, o).sum(), (0, 1))(s, o)
    check(
        got[0],
        finite_difference(lambda s: float(formula(s, others).sum()), wanted),
        oracle="finite differences",
        floor=0.01,
    )
    check(
        got[1],
        finite_difference(lambda o: float(formula(wanted, o).sum()), others),
        oracle="finite differences",
        floor=0.01,
    )


@case("recommend.sampled_softmax")
def unbiased(check: Check) -> None:
    """The mean over all draws, each by its chance, of what stands for the sum over the catalogue is that sum."""
    scores, q, wanted = draw(4), np.array([0.1, 0.2, 0.3, 0.4]), 2
    total = 0.0
    for drawn in itertools.product(range(4), repeat=3):
        chosen = np.array(drawn)
        loss = corrected_softmax(
            jnp.asarray(scores[[wanted]], jnp.float32),
            jnp.asarray(scores[chosen][None], jnp.float32),
            jnp.asarray(np.log(q[chosen]), jnp.float32),
            jnp.asarray(chosen[None] == wanted),
        )
        total += float(np.prod(q[chosen])) * float(np.exp(float(loss[0]) + scores[wanted]))
    check(total, np.exp(scores).sum(), oracle="every draw")


@case("recommend.rankings")
def rankings(check: Check) -> None:
    """Three users: one with two true items at 1 and 4, one whose item is 12th, one with an item that is not known, and one at 2."""
    ranks, owner = np.array([4.0, 1.0, 12.0, np.inf, 2.0]), np.array([0, 0, 1, 2, 2])
    top = np.array([[*range(10)], [*range(10)], [*range(5, 15)]])
    got = Rankings(ranks, owner, top, np.full(20, 0.25)).measures()
    ideal = 1 + 1 / np.log2(3)
    expected = {
        "ndcg": ((1 + 1 / np.log2(5)) / ideal + 0 + (1 / np.log2(3)) / ideal) / 3,
        "hit_rate": 2 / 3,
        "reciprocal_rank": (1 + 1 / 12 + 1 / 2) / 3,
        "ranking_precision": ((1 + 2 / 4) / 2 + 0 + (1 / 2) / 2) / 3,
        "recall_at_10": (1 + 0 + 1 / 2) / 3,
        "catalogue_coverage": 15 / 20,
        "novelty": 2.0,
    }
    check([got[name] for name in expected], list(expected.values()), oracle="by hand")
    if module := check.module("sklearn.metrics"):
        scores = draw(6, 30)
        wanted = np.argsort(draw(6, 30, seed=1), axis=1)[:, :4]
        truth = np.zeros((6, 30))
        np.put_along_axis(truth, wanted, 1, 1)
        own = np.take_along_axis(scores, wanted, 1)
        ours = Rankings(
            (scores[:, None] >= own[:, :, None]).sum(2).ravel().astype(float),
            np.repeat(np.arange(6), 4),
            np.argsort(-scores, axis=1)[:, :10],
            np.full(30, 0.5),
        )
        check(ours.measures(None, ("ndcg",))["ndcg"], module.ndcg_score(truth, scores, k=10), oracle="sklearn")
