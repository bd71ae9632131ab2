"""Attribution against closed forms, and beam search against the enumeration of every continuation."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np

from danlu.explain import (
    accumulated_effects,
    attention_maps,
    grad_cam,
    integrated_gradients,
    interactions,
    last_layer_influence,
    partial_dependence,
    shapley_values,
    smooth_gradients,
)
from danlu.nn import GPT, Conv, Dense, Embedding, GlobalAveragePool, PerToken, Sequential, TransformerBlock
from danlu.nn.transformer import beam_search
from danlu.verify.case import Check, case
from danlu.verify.cases.composites import started
from danlu.verify.oracles import draw

__all__: list[str] = []


@case("explain.integrated_gradients")
def path(check: Check) -> None:
    x, b = draw(6, 3), draw(6, 3, seed=1)
    w = draw(3, seed=2)
    found = integrated_gradients(
        lambda z: jnp.square(z @ jnp.asarray(w, jnp.float32)), jnp.asarray(x, jnp.float32), jnp.asarray(b, jnp.float32)
    )
    # of (w·z)² the slope along a line is itself a line, so its mean is its value in the middle
    check(found.values, (x - b) * w * ((x + b) @ w)[:, None], floor=0.1)


@case("explain.shapley")
def shapley(check: Check) -> None:
    """The mean over all orders of what a column changes when it joins; and where they are sampled, the line between."""
    row, background = draw(1, 5), draw(3, 5, seed=1)
    background[1, 2] = row[0, 2]

    def score(x: np.ndarray) -> np.ndarray:
        return np.asarray(x[:, 0] * x[:, 1] * x[:, 2] + np.exp(x[:, 3]) * x[:, 4], np.float64)

    expected = np.zeros(5)
    for order in itertools.permutations(range(5)):
        mixed = background.copy()
        for column in order:
            before = score(mixed).mean()
            mixed[:, column] = row[0, column]
            expected[column] += (score(mixed).mean() - before) / 120
    check(shapley_values(score, row, background).values, expected)
    found = shapley_values(score, row, background, exact=False, evaluations=400)
    check(found.values.sum(), score(row)[0] - score(background).mean(), oracle="closed form")
    check(bool((np.abs(found.values - expected) <= 4 * found.errors + 1e-12).all()), True)


@case("explain.smooth_gradients")
def smooth(check: Check) -> None:
    x, w = draw(4, 3), draw(3, seed=1)
    found = smooth_gradients(
        lambda z: jnp.square(z @ jnp.asarray(w, jnp.float32)), jnp.asarray(x, jnp.float32), samples=2
    )
    check(found, 2 * (x @ w)[:, None] * w, floor=0.1)  # what the noise adds in one direction, it takes in the other


@case("explain.partial_dependence")
def dependence(check: Check) -> None:
    rows = draw(6, 3)

    def score(x: np.ndarray) -> np.ndarray:
        return np.asarray(x[:, 0] * x[:, 1] + np.exp(x[:, 2]), np.float64)

    found = partial_dependence(score, rows, 0)
    curves = [[value * row[1] + np.exp(row[2]) for value in sorted(rows[:, 0])] for row in rows]
    check(found.curves, np.array(curves))
    check(found.mean, np.mean(curves, axis=0))


@case("explain.accumulated_effects")
def effects(check: Check) -> None:
    """Of ``a(x0) + x0 x1`` by its definition; with an additive score it is the column's own term, whatever goes together."""
    rows = np.stack([np.arange(9.0), np.arange(9.0) ** 2 / 8], axis=1)

    def score(x: np.ndarray) -> np.ndarray:
        return np.asarray(np.sin(x[:, 0]) + x[:, 0] * x[:, 1], np.float64)

    found = accumulated_effects(score, rows, 0, points=4)
    ends = np.array(found.points.values)
    values, middle = [0.0], 0.0
    for low, high in itertools.pairwise(ends):
        own = [row for row in rows if low < row[0] <= high or (low == ends[0] == row[0])]
        steps = [np.sin(high) + high * row[1] - np.sin(low) - low * row[1] for row in own]
        values.append(values[-1] + float(np.mean(steps)))
        middle += len(own) * (values[-1] + values[-2]) / 2 / len(rows)
    check(found.values, np.array(values) - middle)
    alone = accumulated_effects(lambda x: np.sin(x[:, 0]) + x[:, 1], rows, 0, points=9).values
    check(np.diff(alone), np.diff(np.sin(rows[:, 0])), oracle="closed form")


@case("explain.interactions")
def pairs(check: Check) -> None:
    """Of ``a x0 + b x1 + c x0 x1`` on all corners of a cube H² is ``c² / (a² + b² + c²)``; by its definition elsewhere."""
    corners = np.array(list(itertools.product((-1.0, 1.0), repeat=3)))
    [found] = interactions(lambda x: 2 * x[:, 0] - x[:, 1] + 3 * x[:, 0] * x[:, 1] + x[:, 2], corners, [0, 1])
    check(found.strength**2, 9 / 14, oracle="closed form")
    check(found.size, 3.0, oracle="closed form")
    rows = draw(5, 3)

    def score(x: np.ndarray) -> np.ndarray:
        return np.asarray(x[:, 0] * x[:, 1] * x[:, 2] + x[:, 0], np.float64)

    def mean(columns: list[int], point: np.ndarray) -> float:
        mixed = rows.copy()
        mixed[:, columns] = point[columns]
        return float(score(mixed).mean())

    one, other, both = (np.array([mean(columns, row) for row in rows]) for columns in ([0], [1], [0, 1]))
    one, other, both = (each - each.mean() for each in (one, other, both))
    [found] = interactions(score, rows, [0, 1])
    check(found.strength, np.sqrt(((both - one - other) ** 2).sum() / (both**2).sum()))
    check(
        interactions(lambda x: x[:, 0] + np.exp(x[:, 1] * x[:, 2]), rows, [0, 1])[0].strength, 0.0, oracle="closed form"
    )


@case("explain.last_layer_influence")
def influence(check: Check) -> None:
    """Least squares fitted again without each row; and of classes one step of Newton's method from where the fit is."""
    known, asked, values = draw(7, 2), draw(2, 2, seed=1), draw(7, seed=2)
    x, own = (np.concatenate([each, np.ones((len(each), 1))], axis=1) for each in (known, asked))
    fit = np.linalg.lstsq(x, values)[0]
    found = last_layer_influence(known, x @ fit[:, None], values, asked, np.ones((2, 1)), damping=1e-12)
    for row in range(7):
        left = np.delete(np.arange(7), row)
        again = np.linalg.lstsq(x[left], values[left])[0]
        check(found[:, row], own @ (again - fit), floor=0.01)
    labels, weights, slopes = np.array([0, 1, 2, 1, 0, 2, 1]), draw(3, 3, seed=3), draw(2, 3, seed=4)
    found = last_layer_influence(known, x @ weights.T, labels, asked, slopes, damping=0.1)
    p = np.exp(x @ weights.T)
    p /= p.sum(axis=1, keepdims=True)
    bends = [
        np.kron(np.diag(each) - np.outer(each, each), np.outer(row, row)) / 7 for each, row in zip(p, x, strict=True)
    ]
    whole = sum(bends)
    damped = whole + 0.1 * np.trace(whole) / 9 * np.eye(9)
    for row in range(7):
        slope = np.kron(p[row] - np.eye(3)[labels[row]], x[row]) / 7
        step = np.linalg.solve(damped - bends[row], slope)
        check(
            found[:, row],
            [np.kron(own_slope, each) @ step for own_slope, each in zip(slopes, own, strict=True)],
            floor=0.01,
        )


@case("explain.grad_cam")
def maps(check: Check) -> None:
    net = Sequential((Conv(4, 1, activation="tanh"), GlobalAveragePool(), Dense(3)))
    params, state, p = started(net, (5, 6, 2))
    images, classes = draw(3, 5, 6, 2, seed=3), np.array([2, 0, 1])
    seen = np.tanh(images @ p[0]["kernel"].reshape(2, 4) + p[0]["bias"])
    expected = np.maximum(np.einsum("nhwk,kn->nhw", seen, p[2]["kernel"][:, classes]), 0)
    expected /= expected.max(axis=(1, 2), keepdims=True)
    check(grad_cam(net, params, state, jnp.asarray(images, jnp.float32), classes), expected, floor=0.1)


@case("sampling.beam_search")
def beams(check: Check) -> None:
    net, alpha, begun = GPT(3, 6, dim=4, num_layers=1, num_heads=1), 1.2, [2, 1]
    params, state, _ = started(net, (2,))
    written = [list(rest) for rest in itertools.product(range(3), repeat=3)]
    rows = jnp.array([begun + rest[:2] for rest in written])
    logits = np.asarray(jax.jit(lambda x: net.apply(params, state, x)[0])(rows), np.float64)[:, 1:]
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    scores = []
    for rest, each in zip(written, log_p, strict=True):
        count = rest.index(0) + 1 if 0 in rest else 3
        scores.append(sum(each[i, rest[i]] for i in range(count)) / ((5 + count) / 6) ** alpha)
    best = written[int(np.argmax(scores))]
    best = best[: best.index(0)] + [0] * (3 - best.index(0)) if 0 in best else best
    tokens, score = beam_search(net, params, state, jnp.array([begun]), length=3, end=0, beams=27, length_penalty=alpha)
    check(tokens, np.array([best]))
    check(score, np.array([max(scores)]), floor=0.1)
    greedy: list[int] = []  # one beam takes the likeliest token at each step
    while len(greedy) < 3 and 0 not in greedy:
        row = next(i for i, rest in enumerate(written) if rest[: len(greedy)] == greedy)
        greedy.append(int(np.argmax(log_p[row, len(greedy)])))
    tokens, _ = beam_search(net, params, state, jnp.array([begun]), length=3, end=0, beams=1, length_penalty=alpha)
    check(tokens, np.array([greedy + [0] * (3 - len(greedy))]))
    other = beam_search(net, params, state, jnp.array([begun]), length=3, end=0, beams=27, forbidden=(best[0],))[0]
    check(bool((np.asarray(other) == best[0]).any()), False, oracle="closed form")


@case("explain.attention_maps")
def attention(check: Check) -> None:
    """The first layer's weights by hand, with padding, causal and not, and grouped key heads."""
    tokens, mask = np.array([[1, 4, 2, 0], [3, 3, 5, 6]]), np.array([[1, 1, 1, 0], [1, 1, 1, 1]], bool)
    for causal in (False, True):
        block = TransformerBlock(4, 6, num_kv_heads=2, causal=causal)
        net = Sequential((PerToken(Embedding(7, 8)), block, block))
        params, state, p = started(net, {"x": (4,), "mask": (4,)})
        found = attention_maps(net, params, state, {"x": jnp.asarray(tokens), "mask": jnp.asarray(mask)})
        h = p[0][0]["table"][tokens]
        norm, q = p[1][0]
        centred = h - h.mean(-1, keepdims=True)
        h = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * norm["scale"] + norm["bias"]
        query = (h @ q["query"] + q["query_bias"]).reshape(2, 4, 4, 2)
        key = (h @ q["key"] + q["key_bias"]).reshape(2, 4, 2, 2).repeat(2, axis=2)
        seen = mask[:, None, None, :] & (np.tril(np.ones((4, 4), bool)) if causal else True)
        e = np.exp(np.einsum("nthd,nshd->nhts", query, key) / np.sqrt(2)) * seen
        first, second = found.values()
        check(first, e / e.sum(-1, keepdims=True), floor=0.01)
        check(np.where(seen, 0, second), np.zeros(second.shape), oracle="closed form")
        check(np.asarray(second, np.float64).sum(-1), np.ones((2, 4, 4)), oracle="closed form")
