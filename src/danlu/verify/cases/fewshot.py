"""Few examples: losses of vectors by their papers' formulas, and what is learnt to learn, in float64 by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu import nn
from danlu.evaluate import Episodes
from danlu.fewshot import (
    Adapting,
    ArcFace,
    Comparing,
    Contrastive,
    Drawings,
    Episode,
    Episodic,
    Reptile,
    SupCon,
    Triplet,
)
from danlu.fewshot.compare import attention, cosine, prototypes
from danlu.verify.case import Check, case
from danlu.verify.oracles import draw, finite_difference

__all__: list[str] = []

Z, Y = draw(7, 3), np.array([0, 1, 0, 2, 1, 0, 2])
SUPPORT, QUERIES = draw(3, 2, 4), draw(5, 4, seed=1)


def unit(z: Any) -> Any:
    return z / np.linalg.norm(z, axis=-1, keepdims=True)


def compare(check: Check, loss: Any, formula: Callable[[Any], Any], classes: Any = None) -> None:
    """The value of each row and the gradient of their sum, against the formula and its finite differences."""
    given = None if classes is None else jnp.asarray(classes, jnp.float32)

    def total(z: Any) -> tuple[Any, Any]:
        values = loss(z, jnp.asarray(Y), given)
        return values.sum(), values

    gradient, values = jax.jit(jax.grad(total, has_aux=True))(jnp.asarray(Z, jnp.float32))
    check(values, formula(Z), floor=0.1)
    check(gradient, finite_difference(lambda z: formula(z).sum(), Z), oracle="finite differences", floor=0.1)


def distances(z: Any) -> Any:
    z = unit(z)
    return np.linalg.norm(z[:, None] - z[None], axis=-1)


@case("fewshot.triplet")
def triplet(check: Check) -> None:
    """Batch hard, a row at a time."""

    def formula(z: Any) -> Any:
        far = distances(z)
        found = []
        for row in range(len(Y)):
            like = [far[row, other] for other in range(len(Y)) if other != row and Y[other] == Y[row]]
            unlike = [far[row, other] for other in range(len(Y)) if Y[other] != Y[row]]
            found.append(max(0.0, max(like) - min(unlike) + 0.5))
        return np.array(found)

    compare(check, Triplet(0.5), formula)


@case("fewshot.contrastive")
def contrastive(check: Check) -> None:
    def formula(z: Any) -> Any:
        far, found = distances(z), []
        for row in range(len(Y)):
            like = [far[row, other] ** 2 for other in range(len(Y)) if other != row and Y[other] == Y[row]]
            unlike = [max(0.0, 1.2 - far[row, other]) ** 2 for other in range(len(Y)) if Y[other] != Y[row]]
            found.append(np.mean(like) + np.mean(unlike))
        return np.array(found)

    compare(check, Contrastive(1.2), formula)


@case("fewshot.supcon")
def supcon(check: Check) -> None:
    """Equation 2 of the paper, term by term."""

    def formula(z: Any) -> Any:
        alike = np.exp(unit(z) @ unit(z).T / 0.5)
        found = []
        for i in range(len(Y)):
            others = [a for a in range(len(Y)) if a != i]
            like = [p for p in others if Y[p] == Y[i]]
            found.append(-np.mean([np.log(alike[i, p] / sum(alike[i, a] for a in others)) for p in like]))
        return np.array(found)

    compare(check, SupCon(0.5), formula)


@case("fewshot.arcface")
def arcface(check: Check) -> None:
    """Equation 3 of the paper, with one row whose angle and margin pass π."""
    classes = draw(3, 4, seed=2)
    classes[:, 3] = -Z[3]  # the class of no row; of row 3 the farthest direction

    def formula(z: Any, labels: Any = Y) -> Any:
        angle = np.arccos(np.clip(unit(z) @ unit(classes.T).T, -1, 1))
        found = []
        for row, label in enumerate(labels):
            cosines = np.cos(angle[row])
            own = np.cos(angle[row, label] + 0.4)
            if angle[row, label] + 0.4 > np.pi:
                own = cosines[label] - 0.4 * np.sin(0.4)
            others = sum(np.exp(5 * cosines[k]) for k in range(4) if k != label)
            found.append(-np.log(np.exp(5 * own) / (np.exp(5 * own) + others)))
        return np.array(found)

    compare(check, ArcFace(0.4, 5.0), formula, classes)
    turned = np.array([3] * len(Y))
    near = Z.copy()
    near[:, 0] += 0.05
    values = ArcFace(0.4, 5.0)(jnp.asarray(near, jnp.float32), jnp.asarray(turned), jnp.asarray(classes, jnp.float32))
    check(values, formula(near, turned), floor=0.1)


@case("fewshot.prototypes")
def prototypical(check: Check) -> None:
    """Squared distances to the means; and softmax of them is that of the linear classifier of section 2.4 of the paper."""
    means = SUPPORT.mean(axis=1)
    far = ((QUERIES[:, None] - means[None]) ** 2).sum(-1)
    given = jnp.asarray(SUPPORT, jnp.float32), jnp.asarray(QUERIES, jnp.float32)
    check(prototypes(*given), -far)
    linear = QUERIES @ (2 * means.T) - (means**2).sum(1)
    check(
        jax.nn.softmax(prototypes(*given), axis=1),
        np.exp(linear) / np.exp(linear).sum(1, keepdims=True),
        oracle="linear classifier",
    )


@case("fewshot.matching")
def matching(check: Check) -> None:
    """Attention over the examples, added up by class; and cosines with the mean of vectors of length 1."""
    given = jnp.asarray(SUPPORT, jnp.float32), jnp.asarray(QUERIES, jnp.float32)
    weight = np.exp(3 * np.einsum("qd,wsd->qws", unit(QUERIES), unit(SUPPORT)))  # (queries, ways, shots)
    weight /= weight.sum(axis=(1, 2), keepdims=True)
    check(jnp.exp(attention(*given, 3.0)), weight.sum(axis=2))
    check(cosine(*given, 3.0), 3 * unit(QUERIES) @ unit(unit(SUPPORT).mean(axis=1)).T, floor=0.1)


# Learning to learn: a network of a layer of tanh, two classes, two steps, in float64 by hand.

RATE, STEPS, EPISODE = 0.7, 2, Episode(2, 2, 1)
NETWORK = nn.Dense(3, "tanh")
ROWS = 1.5 * draw(6, 2, seed=3)  # (ways * (shots + queries), 2)
THETA = np.concatenate([0.8 * draw(12, seed=4)])


def parts(theta: Any) -> tuple[Any, ...]:
    return theta[:6].reshape(2, 3), theta[6:9], theta[9:].reshape(3, 1)


def steps_by_hand(theta: Any, x: Any, y: Any) -> tuple[Any, Any, Any, Any]:
    w, b, v = parts(theta)
    k, c = np.repeat(v, 2, axis=1), np.zeros(2)
    for _ in range(STEPS):
        h = np.tanh(x @ w + b)
        p = np.exp(h @ k + c)
        slope = (p / p.sum(1, keepdims=True) - np.eye(2)[y]) / len(y)
        down = slope @ k.T * (1 - h**2)
        w, b, k, c = w - RATE * x.T @ down, b - RATE * down.sum(0), k - RATE * h.T @ slope, c - RATE * slope.sum(0)
    return w, b, k, c


def error(weights: Any, x: Any, y: Any) -> float:
    w, b, k, c = weights
    z = np.tanh(x @ w + b) @ k + c
    return float(np.mean(np.log(np.exp(z).sum(1)) - z[np.arange(len(y)), y]))


SHOWN, ASKED = ROWS[[0, 1, 3, 4]], ROWS[[2, 5]]


def gradient_of(objective: Any) -> Any:
    w, b, v = (jnp.asarray(part, jnp.float32) for part in parts(THETA))
    batch = {"x": jnp.asarray(ROWS, jnp.float32), "y": jnp.zeros(6, jnp.int32), "weight": jnp.ones(6)}

    def value(params: Any) -> Any:
        return objective(params, ({}, {}), batch, jax.random.key(0), train=True)[0].mean()

    found = jax.jit(jax.grad(value))(({"kernel": w, "bias": b}, {"kernel": v}))
    return np.concatenate([np.ravel(found[0]["kernel"]), np.ravel(found[0]["bias"]), np.ravel(found[1]["kernel"])])


@case("fewshot.maml")
def maml(check: Check) -> None:
    """The gradient of the error after steps in the weights before them: second order, by finite differences."""

    def after(theta: Any) -> float:
        return error(steps_by_hand(theta, SHOWN, np.array([0, 0, 1, 1])), ASKED, np.array([0, 1]))

    found = gradient_of(Episodic(NETWORK, Adapting(STEPS, RATE), EPISODE))
    check(found, finite_difference(after, THETA), oracle="finite differences", floor=0.05)


@case("fewshot.fomaml")
def fomaml(check: Check) -> None:
    """The gradient at the weights after the steps."""
    learnt = steps_by_hand(THETA, SHOWN, np.array([0, 0, 1, 1]))

    def moved(change: Any) -> float:
        w, b, v = parts(change)
        return error((learnt[0] + w, learnt[1] + b, learnt[2] + v, learnt[3]), ASKED, np.array([0, 1]))

    found = gradient_of(Episodic(NETWORK, Adapting(STEPS, RATE, "first"), EPISODE))
    check(found, finite_difference(moved, np.zeros(12)), oracle="finite differences", floor=0.05)


@case("fewshot.reptile")
def reptile(check: Check) -> None:
    """The weights before minus those after the steps on all rows."""
    w, b, k, _ = steps_by_hand(THETA, ROWS, np.array([0, 0, 0, 1, 1, 1]))
    after = np.concatenate([w.ravel(), b, k.mean(1)])
    check(gradient_of(Reptile(NETWORK, Adapting(STEPS, RATE, "first"), EPISODE)), THETA - after, floor=0.05)


@case("fewshot.episodes")
def episodes(check: Check) -> None:
    """The cross-entropy and the hits of a batch of two episodes, query by query."""
    episode, rows = Episode(3, 1, 2), draw(18, 4, seed=5)
    batch = {"x": jnp.asarray(rows, jnp.float32), "y": jnp.zeros(18, jnp.int32), "weight": jnp.ones(18)}
    same = nn.Sequential()
    value, _, told = Episodic(same, Comparing(), episode)(((), {}), ((), {}), batch, jax.random.key(0), train=False)
    losses, hits = [], []
    for place in (rows[:9], rows[9:]):
        shown = place[[0, 3, 6]]
        for row, true in ((1, 0), (2, 0), (4, 1), (5, 1), (7, 2), (8, 2)):
            far = ((place[row] - shown) ** 2).sum(1)
            losses.append(far[true] + np.log(np.exp(-far).sum()))
            hits.append(float(far.argmin() == true))
    check([float(value.mean()), float(told["accuracy"].mean())], [np.mean(losses), np.mean(hits)])


@case("metric.pairs")
def pairs(check: Check) -> None:
    """ROC-AUC and equal error rate of pairs, by counting; the AUC by scikit-learn too."""
    rng = np.random.default_rng(0)
    first, second = rng.integers(6, size=(2, 400))
    distance = (rng.random(400) + 0.5 * (first != second)).round(2)
    found = Episodes(
        np.array([[0, 1]]), np.full((1, 2, 1, 2), 0.5), first, second, distance, 0.8, rows=np.arange(6)
    ).measures()
    same = first == second
    near, far = distance[same][:, None], distance[~same][None]
    check([found["pair_auc"]], [np.mean(near < far) + 0.5 * np.mean(near == far)])
    check([found["pair_accuracy"]], [(np.mean(near <= 0.8) + np.mean(far > 0.8)) / 2])
    at = np.unique(distance)
    misses, alarms = (np.array([1 - np.mean(near <= d) for d in at]), np.array([np.mean(far <= d) for d in at]))
    place = int(np.argmax(alarms >= misses))
    gap = misses[place - 1] - alarms[place - 1]
    share = gap / (gap - (misses[place] - alarms[place]))
    check([found["equal_error"]], [alarms[place - 1] + share * (alarms[place] - alarms[place - 1])])
    if module := check.module("sklearn.metrics"):
        check([found["pair_auc"]], [module.roc_auc_score(same, -distance)], oracle="sklearn")


@case("fewshot.hausdorff")
def hausdorff(check: Check) -> None:
    """The modified Hausdorff distance of drawings, point by point."""
    images = np.full((3, 9, 9, 1), 255, np.uint8)
    images[0, 2:7, 4] = images[1, 4, 2:7] = 0
    images[2, 3:6, 3:6] = 0
    points = [np.argwhere(image[..., 0] == 0) - np.argwhere(image[..., 0] == 0).mean(0) for image in images]
    expected = np.zeros((3, 3))
    for i, a in enumerate(points):
        for j, b in enumerate(points):
            far = np.linalg.norm(a[:, None] - b[None], axis=-1)
            expected[i, j] = max(far.min(1).mean(), far.min(0).mean())
    check(Drawings(images)(np.arange(3), np.arange(3)), expected)
