"""Several modalities: fused towers, contrasts of pairs, ranks of retrieval and shares of a score, against loops over their definitions."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.evaluate.modalities import shapley_of_sets
from danlu.evaluate.retrieval import Retrieved, ranks_of
from danlu.nn import Dense, Fusion, TabularNet, TwoTowers
from danlu.tasks.pairs import contrast
from danlu.verify.case import Check, case
from danlu.verify.oracles import draw, finite_difference


@case("fusion.late")
def verify_late(check: Check) -> None:
    head = TabularNet(2, members=3, width=6, depth=1, dropout=0.0)
    net = Fusion(("a", "b"), (Dense(4, "tanh"), Dense(4)), head, 4, False)
    params, state, _ = net.init(jax.random.key(0), {"parts": {"a": (5,), "b": (3,)}, "present": (2,)})
    a, b, here = draw(6, 5), draw(6, 3, seed=1), np.tile([[1.0, 1], [0, 1], [1, 0]], (2, 1))
    params[-1]["absent"] |= {
        "a": jnp.asarray(draw(4, seed=2), jnp.float32),
        "b": jnp.asarray(draw(4, seed=3), jnp.float32),
    }
    ours = net.apply(
        params, state, {"parts": {"a": jnp.float32(a), "b": jnp.float32(b)}, "present": jnp.float32(here)}
    )[0]
    one, two, own, learnt = (jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), each) for each in params)
    features = [np.tanh(a @ one["kernel"] + one["bias"]), b @ two["kernel"] + two["bias"]]
    kept = [
        np.where(here[:, [i]] > 0, each, learnt["absent"][name])
        for i, (name, each) in enumerate(zip("ab", features, strict=True))
    ]
    row = np.concatenate([*kept, here], axis=1)
    expected = [
        np.maximum((row * own["scale"][m]) @ own["kernel_0"] + own["bias_0"][m], 0) @ own["head"][m]
        + own["head_bias"][m]
        for m in range(3)
    ]
    check(ours, np.stack(expected, axis=1))


@case("loss.contrast")
def verify_contrast(check: Check) -> None:
    z = 3 * draw(6, 6)
    others = ~np.eye(6, dtype=bool)
    others[0, 1] = others[1, 0] = False  # two captions of one picture
    others[:, 5] = False  # a row of weight 0

    def formula(z: np.ndarray) -> np.ndarray:
        found = []
        for i in range(6):
            kept = [j for j in range(6) if j == i or others[i, j]]
            forth, back = (
                np.log(sum(np.exp(value) for value in side))
                for side in ([z[i, j] for j in kept], [z[j, i] for j in kept])
            )
            found.append(0.5 * (forth + back) - z[i, i])
        return np.array(found)

    mask = jnp.asarray(others)
    check(contrast(jnp.float32(z), mask), formula(z))
    slope = jax.grad(lambda z: contrast(z, mask).sum())(jnp.float32(z))
    check(slope, finite_difference(lambda z: formula(z).sum(), z), oracle="finite differences")
    # All alike: each is one of n. Two of scaled cosine s and −s: log(1 + e^(−2s)).
    check(contrast(jnp.zeros((8, 8)), ~jnp.eye(8, dtype=bool)), np.full(8, np.log(8)), oracle="closed form")
    pair = jnp.asarray([[2.0, -2.0], [-2.0, 2.0]])
    check(contrast(pair, ~jnp.eye(2, dtype=bool)), np.full(2, np.log1p(np.exp(-4.0))), oracle="closed form")


@case("layer.two_towers")
def verify_two_towers(check: Check) -> None:
    net = TwoTowers(("a", "b"), (Dense(4), Dense(4)), 4)
    params, state, _ = net.init(jax.random.key(0), {"parts": {"a": (5,), "b": (3,)}})
    a, b = draw(6, 5), draw(7, 3, seed=1)[:6]
    out = net.apply(params, state, {"parts": {"a": jnp.float32(a), "b": jnp.float32(b)}})[0]
    own = [{name: np.asarray(leaf, np.float64) for name, leaf in each.items()} for each in params[:2]]
    for side, x, each in zip(("first", "second"), (a, b), own, strict=True):
        plain = x @ each["kernel"] + each["bias"]
        check(out[side], plain / np.linalg.norm(plain, axis=1, keepdims=True) / np.sqrt(0.07))


@case("metric.retrieval")
def verify_retrieval(check: Check) -> None:
    rng = np.random.default_rng(0)
    first, second = np.array([0, 0, 1, 2, 3, 3, 4, 5]), np.array([0, 1, 2, 3, 4, 2, 5, 6])
    u, v = rng.normal(size=(6, 4))[first], rng.normal(size=(7, 4))[second]

    def rank(row: int) -> int:
        right = set(second[first == first[row]].tolist())
        scores = {code: float(u[row] @ v[np.flatnonzero(second == code)[0]]) for code in set(second.tolist())}
        best = max(scores[code] for code in right)
        return 1 + sum(score >= best for code, score in scores.items() if code not in right)

    expected = np.array([rank(row) for row in range(8)])
    forth = ranks_of(u, v, first, second)
    check(forth, expected)
    found: Any = Retrieved(forth, np.ones(8, int), (7, 6)).measures(np.array([1, 1, 0, 2, 1, 1, 1, 1]))
    counted = np.delete(np.append(expected, expected[3]), 2)
    check(found["forth_recall_5"], np.mean(counted <= 5))
    check(found["forth_median_rank"], np.median(counted))


@case("metric.modality_shares")
def verify_shares(check: Check) -> None:
    rng = np.random.default_rng(0)
    sets = [frozenset(s) for n in range(5) for s in itertools.combinations(range(4), n)]
    value = dict(zip(sets, rng.normal(size=len(sets)).tolist(), strict=True))
    orders = list(itertools.permutations(range(4)))
    gained = np.zeros(4)
    for order in orders:
        for place, player in enumerate(order):
            gained[player] += value[frozenset(order[: place + 1])] - value[frozenset(order[:place])]
    check(np.array(shapley_of_sets(value, 4)), gained / len(orders))
