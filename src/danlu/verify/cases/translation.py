"""BLEU, chrF, IBM model 1 and cross-attention's weights against loops over their definitions, and sacrebleu."""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp
import numpy as np

from danlu.evaluate.bleu import TranslationCounts, bleu, chrf
from danlu.evaluate.dictionary import WordByWord
from danlu.explain import cross_attention
from danlu.nn import Transformer
from danlu.verify.case import Check, case
from danlu.verify.cases.composites import started

OURS = ["The cat sat on a mat, (really) 3.5 times.", "a man is reading", "two dogs two dogs run", "nothing else"]
THEIRS = ["The cat sat on the mat - really - 3.5 times.", "a man reads a book", "two dogs run", "something else here"]


def by_hand(ours: list[list[str]], theirs: list[list[str]]) -> float:
    """BLEU of sentences in words, from the definition."""
    logs = 0.0
    for n in range(1, 5):
        found = total = 0
        for one, other in zip(ours, theirs, strict=True):
            grams = [one[i : i + n] for i in range(len(one) - n + 1)]
            left = [other[i : i + n] for i in range(len(other) - n + 1)]
            total += len(grams)
            for gram in grams:
                if gram in left:
                    left.remove(gram)
                    found += 1
        logs += math.log(found / total) / 4
    c, r = sum(map(len, ours)), sum(map(len, theirs))
    return 100 * math.exp(min(0.0, 1 - r / c) + logs)


@case("metric.bleu")
def verify_bleu(check: Check) -> None:
    words = [[text.split() for text in side] for side in (OURS, THEIRS)]
    check(bleu(OURS, THEIRS, tokenization="none"), by_hand(*words))
    counted = TranslationCounts.of(OURS, THEIRS, tokenization="none").bleu(np.array([2.0, 1.0, 0.0, 1.0]))
    check(counted, by_hand(*[[side[0], side[0], side[1], side[3]] for side in words]))
    # The first paper's example of why matches are clipped: 2 of 7 words, and no pair of words.
    check(bleu(["the " * 7], ["the cat is on the mat"], smoothing="none"), 0.0, oracle="Papineni et al.")
    if sacrebleu := check.module("sacrebleu"):
        for tokenization in ("13a", "zh", "char", "none"):
            expected = sacrebleu.corpus_bleu(OURS, [THEIRS], tokenize=tokenization, force=True).score
            check(bleu(OURS, THEIRS, tokenization=tokenization), expected, oracle="sacrebleu")
        for smoothing in ("exp", "floor", "add-k", "none"):
            expected = sacrebleu.corpus_bleu(OURS[1:2], [THEIRS[1:2]], smooth_method=smoothing).score
            check(bleu(OURS[1:2], THEIRS[1:2], smoothing=smoothing), expected, oracle="sacrebleu")


@case("metric.chrf")
def verify_chrf(check: Check) -> None:
    ours, theirs = "abcab", "abca"
    shares = [(4 / 5, 4 / 4), (3 / 4, 3 / 3), (2 / 3, 2 / 2), (1 / 2, 1 / 1)]  # the reference has no longer n-grams
    p, r = (sum(each[i] for each in shares) / 4 for i in (0, 1))
    check(chrf([ours], [theirs]), 100 * 5 * p * r / (4 * p + r))
    if sacrebleu := check.module("sacrebleu"):
        check(chrf(OURS, THEIRS), sacrebleu.corpus_chrf(OURS, [THEIRS]).score, oracle="sacrebleu")


@case("metric.ibm_model_1")
def verify_model_1(check: Check) -> None:
    pairs = [("the house", "das Haus"), ("the old book", "das alte Buch"), ("a book", "ein Buch")]
    words = [([None, *source.split()], target.split()) for source, target in pairs]
    t = {(e, f): 1.0 for source, target in words for e in source for f in target}
    for _ in range(8):
        count = dict.fromkeys(t, 0.0)
        for source, target in words:
            for f in target:
                for e in source:
                    count[e, f] += t[e, f] / sum(t[other, f] for other in source)
        t = {(e, f): value / sum(count[key] for key in count if key[0] == e) for (e, f), value in count.items()}
    counted = WordByWord(*([pair[side] for pair in pairs] for side in (0, 1)))
    for word in ("the", "old", "book"):
        entry = counted.entry(word)
        check(np.array(list(entry.values())), np.array([t[word, f] for f in entry]))
        check(len(entry), sum(e == word for e, _ in t))


@case("explain.cross_attention")
def verify_attention(check: Check) -> None:
    """The first layer's weights by hand, from the encoder's output."""
    net = Transformer(7, dim=4, num_layers=2, num_heads=2, hidden=6)
    params, state, p = started(net, {"source": (5,), "target": (3,), "source_mask": (5,)})
    source, target = np.array([[1, 2, 3, 4, 0]]), np.array([[2, 5, 6]])
    mask = np.array([[True, True, True, True, False]])
    x = {"source": jnp.asarray(source), "source_mask": jnp.asarray(mask), "target": jnp.asarray(target)}
    found = np.asarray(cross_attention(net, params, state, x), np.float64)
    whole: Any = net.expanded
    encoded = np.asarray(whole.encoder.apply(params[0], state[0], whole.source(x))[0]["x"], np.float64)[0]
    # The first layer's query, by hand: tokens and positions, self-attention, and the norm in front of the cross-attention.
    half = np.arange(0, 4, 2)
    angle = np.arange(3)[:, None] / 10000 ** (half / 4)
    places = np.zeros((3, 4))
    places[:, 0::2], places[:, 1::2] = np.sin(angle), np.cos(angle)
    h = p[1][0]["table"][target[0]] * 2 + places
    _, block, *_ = p[1][1]

    def norm(z: np.ndarray, q: dict[str, np.ndarray]) -> np.ndarray:
        centred = z - z.mean(-1, keepdims=True)
        return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * q["scale"] + q["bias"]

    def weights(query: np.ndarray, key: np.ndarray, q: dict[str, np.ndarray], seen: np.ndarray) -> np.ndarray:
        a, b = ((z @ q[name] + q[f"{name}_bias"]).reshape(len(z), 2, 2) for z, name in ((query, "query"), (key, "key")))
        e = np.exp(np.einsum("thd,shd->hts", a, b) / math.sqrt(2)) * seen
        return e / e.sum(-1, keepdims=True)

    q = block[0][1]
    normed = norm(h, block[0][0])
    look = weights(normed, normed, q, np.tril(np.ones((3, 3))))
    values = (normed @ q["value"] + q["value_bias"]).reshape(3, 2, 2)
    h = h + np.einsum("hts,shd->thd", look, values).reshape(3, 4) @ q["output"] + q["output_bias"]
    check(found[0, 0], weights(norm(h, block[1][0]), encoded, block[1][1], mask[0]), floor=0.01)
    check(found[:, 0].sum(-1), np.ones((2, 2, 3)), oracle="closed form")
