"""BLEU and chrF beside sacrebleu and by hand, their intervals and comparisons, and the dictionary."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from danlu.errors import ConfigError, DataError
from danlu.evaluate import compare
from danlu.evaluate.bleu import SMOOTHING, TranslationCounts, bleu, chrf, tokenization_for, words_of
from danlu.evaluate.dictionary import WordByWord

RNG = random.Random(0)
WORDS = [
    "der",
    "die",
    "mann",
    "frau",
    "hund",
    "läuft,",
    "steht",
    "und",
    "sagt:",
    "„hallo“",
    "3,5",
    "1.000",
    "e-mail",
    "(rot)",
    "don't",
    "&amp;",
    "$5",
    "我们",
    "苹果。",
    "ja!",
    "10-",
    "a/b",
]
THEIRS = [" ".join(RNG.choices(WORDS, k=RNG.randint(3, 15))) for _ in range(60)]


def worse(text: str, share: float) -> str:
    """The text without some of its words."""
    return " ".join(word for word in text.split() if RNG.random() > share) or "x"


OURS = [worse(text, 0.2) for text in THEIRS]


@pytest.mark.parametrize("tokenization", ["13a", "zh", "char", "none"])
def test_bleu_is_that_of_sacrebleu(tokenization: str) -> None:
    sacrebleu = pytest.importorskip("sacrebleu")
    for low in (0, 3):  # all sentences, and a few, which lack longer n-grams in common
        ours, theirs = OURS[low or None :: 20 if low else 1], THEIRS[low or None :: 20 if low else 1]
        for smoothing in SMOOTHING:
            expected = sacrebleu.corpus_bleu(ours, [theirs], tokenize=tokenization, smooth_method=smoothing, force=True)
            assert bleu(ours, theirs, tokenization=tokenization, smoothing=smoothing) == pytest.approx(expected.score)
    expected = sacrebleu.corpus_bleu(OURS, [THEIRS], tokenize=tokenization, smooth_method="floor", smooth_value=0.5)
    assert bleu(OURS, THEIRS, tokenization=tokenization, smoothing="floor", k=0.5) == pytest.approx(expected.score)
    assert chrf(OURS, THEIRS) == pytest.approx(sacrebleu.corpus_chrf(OURS, [THEIRS]).score)


SHORT = st.text(st.sampled_from("ab,.1 -&;中か\t\n"), max_size=9)


@given(
    st.lists(st.tuples(SHORT, SHORT), min_size=1, max_size=4),
    st.sampled_from(["13a", "zh", "char", "none"]),
    st.sampled_from(SMOOTHING),
)
@example([("ab cd efgh", "ab c")], "13a", "exp")
@example([("the cats", "cat"), ("a", "a mat")], "none", "floor")
@example([("", "a"), (" ", ""), ("a", "")], "13a", "add-k")
def test_short_sentences_score_as_in_sacrebleu(pairs: list[tuple[str, str]], tokenization: str, smoothing: str) -> None:
    metrics = pytest.importorskip("sacrebleu.metrics")
    ours, theirs = ([pair[side] for pair in pairs] for side in (0, 1))
    options = {"tokenize": tokenization, "smooth_method": smoothing, "force": True}
    own = {"tokenization": tokenization, "smoothing": smoothing}
    assert chrf(ours, theirs) == pytest.approx(metrics.CHRF().corpus_score(ours, [theirs]).score)
    assert bleu(ours, theirs, **own) == pytest.approx(metrics.BLEU(**options).corpus_score(ours, [theirs]).score)
    one = metrics.BLEU(effective_order=True, **options).sentence_score(ours[0], theirs[:1]).score
    assert bleu(ours[:1], theirs[:1], effective_order=True, **own) == pytest.approx(one)
    by_sentence = TranslationCounts.of(ours, theirs, tokenization="none").by_sentence()
    expected = [metrics.CHRF().sentence_score(a, [b]).score for a, b in pairs]
    assert by_sentence == pytest.approx(expected)


def test_bleu_by_hand() -> None:
    # 1-grams 3 of 5, 2-grams 2 of 4, 3-grams 1 of 3, no 4-gram: half a match of 2; as long as the reference.
    found = bleu(["a b c x y"], ["a b c d e"], tokenization="none")
    assert found == pytest.approx(100 * (3 / 5 * 2 / 4 * 1 / 3 * 0.5 / 2) ** 0.25)
    assert bleu(["a b c x y"], ["a b c d e"], smoothing="none") == 0
    short = bleu(["a b c d"], ["a b c d e"])
    assert short == pytest.approx(100 * np.exp(1 - 5 / 4)), "all is right, but too short"
    assert bleu(THEIRS, THEIRS) == pytest.approx(100) == chrf(THEIRS, THEIRS)
    assert bleu([""], ["a b"]) == 0 == chrf([""], ["a b"])


def test_words() -> None:
    assert words_of("I don't, 3.5% - 1,000!") == ["I", "don't", ",", "3.5", "%", "-", "1,000", "!"]
    assert words_of("我吃了 3.5 个apple。", "zh") == ["我", "吃", "了", "3.5", "个", "apple", "。"]
    assert words_of("ab c", "char") == ["a", "b", "c"]
    assert tokenization_for(["これはペンです。"]) == "char"
    assert tokenization_for(["这是一支笔。", "good"]) == "zh"
    for wrong, error in (({"tokenization": "13"}, "13a"), ({"smoothing": "add"}, "add-k"), ({"k": 1.0}, "k is 1.0")):
        with pytest.raises(ConfigError, match=error):
            bleu(["a"], ["a"], **wrong)
    with pytest.raises(DataError, match="2 translations for 1 references"):
        bleu(["a", "b"], ["a"])


def test_intervals_and_comparisons_are_of_sentences() -> None:
    ours, worst = TranslationCounts.of(OURS, THEIRS), TranslationCounts.of([worse(t, 0.5) for t in THEIRS], THEIRS)
    scores = ours.scores()
    for name in ("bleu", "chrf"):
        assert scores[name].low < scores[name].value < scores[name].high
    by = np.bincount([1, 1, 5, 7], minlength=60).astype(float)
    some = [1, 1, 5, 7]
    assert ours.bleu(by) == pytest.approx(bleu([OURS[i] for i in some], [THEIRS[i] for i in some], tokenization="13a"))
    assert ours.chrf(by) == pytest.approx(chrf([OURS[i] for i in some], [THEIRS[i] for i in some]))
    assert ours.by_sentence()[7] == pytest.approx(chrf([OURS[7]], [THEIRS[7]]))
    assert compare(ours, worst, "a worse one").verdict == "better"
    assert compare(worst, ours, "a better one").verdict == "worse"
    assert compare(ours, ours, "itself").verdict == "undecided"
    few = TranslationCounts.of(OURS[:5], THEIRS[:5])
    assert "no clear difference" in compare(few, few, "itself").sentence
    with pytest.raises(DataError, match="different sentences"):
        compare(ours, few, "another test")


def test_a_dictionary_is_counted() -> None:
    nouns = {"house": "Haus", "book": "Buch", "dog": "Hund", "tree": "Baum"}
    verbs = {"sees": "sieht", "eats": "frisst", "has": "hat"}
    pairs = [
        (f"the {a} {v} the {b}", f"das {nouns[a]} {verbs[v]} das {nouns[b]}")
        for a in nouns
        for b in nouns
        for v in verbs
    ]
    counted = WordByWord([pair[0] for pair in pairs], [pair[1] for pair in pairs])
    assert counted.translate(["the dog eats the cat", "house", ""]) == ["das Hund frisst das cat", "Haus", ""]
    entry = counted.entry("tree")
    assert next(iter(entry)) == "Baum"
    assert sum(entry.values()) == pytest.approx(1)
    assert counted.entry("cat") == {} == counted.entry("the dog")
    assert WordByWord(["我 好"], ["I good"]).translate(["好 猫"])[0].split()[-1] == "猫"
    with pytest.raises(DataError, match="at least one"):
        WordByWord([], [])
