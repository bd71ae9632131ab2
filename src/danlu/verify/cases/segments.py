"""Segments: likeness of divisions, prediction strength, the number of segments, probabilities, what an autoencoder loses."""

from __future__ import annotations

import itertools
import math

import jax
import numpy as np

from danlu.evaluate.clustered import Clustered, adjusted_rand
from danlu.segments.choose import Choice, _strength, choose, labels_by
from danlu.segments.head import Segmenting
from danlu.segments.network import TableAutoencoder
from danlu.verify.case import Check, case

__all__: list[str] = []


@case("segments.adjusted_rand")
def likeness(check: Check) -> None:
    """Beside scikit-learn's; and its mean over every order of one division, which is 0: that is what beyond chance means."""
    from sklearn.metrics import adjusted_rand_score

    rng = np.random.default_rng(0)
    for count in (2, 5):
        one, other = rng.integers(0, count, 40), rng.integers(0, 3, 40)
        check(adjusted_rand(one, other), adjusted_rand_score(one, other), oracle="scikit-learn")
    one, other = np.array([0, 0, 1, 1, 2, 0]), np.array([0, 1, 1, 0, 0, 0])
    every = [adjusted_rand(one, other[list(order)]) for order in itertools.permutations(range(6))]
    check(float(np.mean(every)), 0.0, oracle="by enumeration")
    weights = np.array([1.0, 2.0, 0.0, 1.0, 3.0, 1.0])
    told = np.repeat(np.arange(6), weights.astype(int))
    check(adjusted_rand(one, other, weights), adjusted_rand_score(one[told], other[told]), oracle="scikit-learn")


@case("segments.explained")
def explained(check: Check) -> None:
    """R² of the columns by segment, as sums of squares."""
    rng = np.random.default_rng(1)
    flat, own = rng.normal(size=(30, 4)), rng.integers(0, 3, 30)
    means = np.stack([flat[own == each].mean(axis=0) for each in range(3)])
    within, total = ((flat - means[own]) ** 2).sum(axis=1), ((flat - flat.mean(axis=0)) ** 2).sum(axis=1)
    between = sum((own == each).sum() * ((means[each] - flat.mean(axis=0)) ** 2).sum() for each in range(3))
    found = Clustered(np.zeros((30, 1, 2), int), within, total).measures()
    check(found["segment_explained"], float(between / total.sum()), oracle="by hand")
    check(found["segment_stability"], 0.0, oracle="by hand")


@case("segments.prediction_strength")
def strength(check: Check) -> None:
    """The least share of pairs that stay together, counted pair by pair."""
    rng = np.random.default_rng(2)
    own, told = rng.integers(0, 3, 30), rng.integers(0, 3, 30)
    shares = []
    for each in range(3):
        pairs = list(itertools.permutations(np.flatnonzero(own == each), 2))
        shares.append(sum(told[i] == told[j] for i, j in pairs) / len(pairs))
    check(_strength(own, told, 3), min(shares), oracle="by hand")


@case("segments.number")
def number(check: Check) -> None:
    """Three clouds are three; an oblong cloud, which is cut in two as reliably, is none."""
    rng = np.random.default_rng(3)
    clouds = rng.normal(size=(240, 3)) + 5 * np.eye(3)[rng.integers(0, 3, 240)]
    oblong = choose(rng.normal(size=(240, 2)) * [5.0, 1.0], most=2)
    found: list[Choice] = [choose(clouds, most=4), oblong]
    check([each.k for each in found], [3, 1], oracle="by how it was made")
    check(float(oblong.strength[0] > 0.8), 1.0, oracle="by how it was made")


@case("segments.probability")
def probability(check: Check) -> None:
    """Those of normal distributions of one spread; the likeliest is the nearest centre; the distance is in spreads."""
    from scipy.stats import multivariate_normal

    rng = np.random.default_rng(4)
    codes, centres, spread = rng.normal(size=(20, 2)), rng.normal(size=(3, 2)), 0.7
    head = Segmenting(("a", "b", "c"), "", True, centres, spread, None, None, None)
    found = head(codes)
    density = np.stack([multivariate_normal(centre, spread**2).pdf(codes) for centre in centres], axis=1)
    check(found["probability"], density / density.sum(axis=1, keepdims=True), oracle="SciPy")
    check(found["probability"].argmax(axis=1), labels_by(centres, codes), oracle="by hand")
    near = np.array([min(math.dist(row, centre) for centre in centres) for row in codes])
    check(found["distance"], near / (spread * math.sqrt(2)), oracle="by hand")


@case("segments.misfit")
def misfit(check: Check) -> None:
    """Squares of numbers and cross-entropies of categories, column by column."""
    net = TableAutoencoder(numeric=1, vocabularies=(3,), codes=2, width=4)
    x = {"numeric": np.array([[0.5], [9.0]], np.float32), "categorical": np.array([[2], [0]], np.int32)}
    flat = net.flat(x)
    check(flat, [[0.5, 0, 0, 1], [4.0, 1, 0, 0]], oracle="by hand")
    said = np.array([[0.0, 1.0, -1.0, 0.5], [3.0, 0.2, 0.0, 0.0]])
    expected = []
    for row, logits, number, code in ((0, said[0, 1:], 0.5, 2), (1, said[1, 1:], 4.0, 0)):
        entropy = math.log(sum(math.exp(each) for each in logits)) - logits[code]
        expected.append((0.5 * (number - said[row, 0]) ** 2 + entropy / math.log(3)) / 2)
    check(net.misfit(flat, jax.numpy.asarray(said)), expected, oracle="by hand")
