"""Measuring translations: corpus BLEU and chrF from counts of n-grams, with intervals and paired comparisons."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import ClassVar, Self

import numpy as np

from danlu.errors import ConfigError, DataError, unknown_name
from danlu.evaluate.evidence import Evidence
from danlu.evaluate.families import PERCENT
from danlu.evaluate.measures import Measure, register

__all__ = ["SMOOTHING", "TOKENIZATIONS", "TranslationCounts", "bleu", "chrf", "tokenization_for", "words_of"]

register(Measure("bleu", "BLEU", True, PERCENT), Measure("chrf", "chrF", True, PERCENT))

TOKENIZATIONS = ("13a", "zh", "char", "none")
SMOOTHING = ("exp", "floor", "add-k", "none")
_ORDER = 4  # of BLEU's n-grams of words
_CHARACTERS, _BETA = 6, 2.0  # of chrF's n-grams, and how much more recall weighs than precision

_ENTITIES = (("&quot;", '"'), ("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">"))
_MARKS = (
    (re.compile(r"([\{-\~\[-\` -\&\(-\+\:-\@\/])"), r" \1 "),  # punctuation, but for ' , - .
    (re.compile(r"([^0-9])([\.,])"), r"\1 \2 "),  # a full stop or comma that no digit is before
    (re.compile(r"([\.,])([^0-9])"), r" \1 \2"),  # or behind
    (re.compile(r"([0-9])(-)"), r"\1 \2 "),  # a dash behind a digit
)
# CJK ideographs, radicals, strokes and punctuation, bopomofo, full-width forms; general punctuation and symbols, as sacrebleu.
_CHINESE = re.compile(
    "([\u2001-\u2a6d\u2e80-\u2fdf\u2ff0-\u303f\u3100-\u312f\u31a0-\u31ef\u3200-\u4db5\u4e00-\u9fbb\uf900-\ufad9"
    "\ufe10-\ufe1f\ufe30-\ufe4f\uff00-\uffef\U00020000-\U0002a6d6\U0002f800-\U0002fa1d])"
)
_KANA = re.compile("[\u3040-\u30ff]")


def words_of(text: str, tokenization: str = "13a") -> list[str]:
    """A sentence in the words that BLEU counts.

    Args:
        text: one sentence.
        tokenization: ``"13a"``: at spaces and punctuation, as WMT's ``mteval-v13a``; ``"zh"``: so, and each Chinese character by
            itself; ``"char"``: every character; ``"none"``: at spaces alone, of texts that are in words already.

    Example:
        >>> words_of("Costs 1,000 euros, he said."), words_of("我吃了3.5个。", "zh")
        (['Costs', '1,000', 'euros', ',', 'he', 'said', '.'], ['我', '吃', '了', '3.5', '个', '。'])
    """
    if tokenization not in TOKENIZATIONS:
        raise unknown_name("tokenization", tokenization, TOKENIZATIONS)
    if tokenization == "none":
        return text.split()
    if tokenization == "char":
        return [character for character in text if not character.isspace()]
    if tokenization == "zh":
        text = _CHINESE.sub(r" \1 ", text.strip())
    else:
        text = (
            text.rstrip().replace("<skipped>", "").replace("-\n", "").replace("\n", " ")
        )  # words broken by a hyphen are joined
        for entity, character in _ENTITIES:
            text = text.replace(entity, character)
        text = f" {text} "
    for pattern, replacement in _MARKS:
        text = pattern.sub(replacement, text)
    return text.split()


def tokenization_for(references: Sequence[str]) -> str:
    """``"char"`` for Japanese, ``"zh"`` for Chinese, else ``"13a"``: by the script of most letters.

    >>> tokenization_for(["你好"]), tokenization_for(["good day"])
    ('zh', '13a')
    """
    text = "".join(references[:1000])
    chinese, kana = (len(pattern.findall(text)) for pattern in (_CHINESE, _KANA))
    if 2 * (chinese + kana) <= sum(not character.isspace() for character in text):
        return "13a"
    return "char" if kana > chinese // 4 else "zh"


@dataclasses.dataclass(frozen=True, eq=False)
class TranslationCounts(Evidence):
    """The counts of a test's translations, from which BLEU and chrF of all or some of them are computed.

    Attributes:
        matches: float64 ``(sentences, 4)``: n-grams of 1 to 4 words that the reference has as well, each at most as often
            as there.
        totals: ``(sentences, 4)``, n-grams of the translation.
        lengths: ``(sentences, 2)``, words of the translation and of the reference.
        characters: ``(sentences, 3, 6)``, n-grams of 1 to 6 characters without white space: of the translation (0 of an order that the
            reference is too short for), of the reference, of both.
        tokenization: see :func:`words_of`.

    Example:
        >>> found = TranslationCounts.of(["the cat sat on a mat"], ["the cat sat on the mat"])
        >>> round(found.bleu(), 2), round(found.chrf(), 2)
        (53.73, 65.98)
    """

    matches: np.ndarray
    totals: np.ndarray
    lengths: np.ndarray
    characters: np.ndarray
    tokenization: str

    primary: ClassVar[str] = "bleu"
    noun: ClassVar[str] = "test sentences"
    unlike: ClassVar[str] = "the two translations are for different sentences; expected the same references"

    @classmethod
    def of(
        cls, translations: Sequence[str], references: Sequence[str], *, tokenization: str | None = None
    ) -> TranslationCounts:
        """Count.

        Args:
            translations, references: sentence by sentence.
            tokenization: None takes that of :func:`tokenization_for`.

        Raises:
            DataError: none, or not as many of each.
            ConfigError: an unknown tokenization.
        """
        if len(translations) != len(references) or not len(references):
            raise DataError(f"{len(translations)} translations for {len(references)} references; expected one for each")
        tokenization = tokenization or tokenization_for(references)
        counts, characters, lengths = [], [], []
        for ours, theirs in zip(translations, references, strict=True):
            words = words_of(ours, tokenization), words_of(theirs, tokenization)
            lengths.append([len(side) for side in words])
            counts.append(_common(*words, _ORDER))
            of_ours, of_theirs, both = _common("".join(ours.split()), "".join(theirs.split()), _CHARACTERS)
            # An order that the reference is too short for says nothing about its translation.
            of_ours = [count if there else 0 for count, there in zip(of_ours, of_theirs, strict=True)]
            characters.append([of_ours, of_theirs, both])
        of_words, of_characters = (np.array(each, np.float64) for each in (counts, characters))
        return cls(of_words[:, 2], of_words[:, 0], np.array(lengths, np.float64), of_characters, tokenization)

    def __len__(self) -> int:
        return len(self.lengths)

    def bleu(
        self,
        weights: np.ndarray | None = None,
        *,
        smoothing: str = "exp",
        k: float | None = None,
        effective_order: bool = False,
    ) -> float:
        """Corpus BLEU, 0 to 100; see :func:`bleu`. ``weights`` says how often each sentence counts."""
        by = np.ones(len(self)) if weights is None else weights
        matches, totals, (ours, theirs) = by @ self.matches, by @ self.totals, by @ self.lengths
        return _bleu(matches, totals, float(ours), float(theirs), smoothing, k, effective_order)

    def chrf(self, weights: np.ndarray | None = None) -> float:
        """Corpus chrF2, 0 to 100; see :func:`chrf`."""
        by = np.ones(len(self)) if weights is None else weights
        ours, theirs, both = np.tensordot(by, self.characters, 1)
        defined = (ours > 0) & (theirs > 0)
        if not defined.any():
            return 0.0
        precision, recall = (both[defined] / each[defined] for each in (ours, theirs))
        means = float(precision.mean()), float(recall.mean())
        below = _BETA**2 * means[0] + means[1]
        return 100 * (1 + _BETA**2) * means[0] * means[1] / below if below else 0.0

    def measures(self, weights: np.ndarray | None = None, names: Sequence[str] | None = None) -> Mapping[str, float]:
        """BLEU and chrF."""
        of = {"bleu": self.bleu, "chrf": self.chrf}
        return {name: of[name](weights) for name in (of if names is None else names)}

    def _take(self, rows: np.ndarray) -> Self:
        return dataclasses.replace(
            self,
            matches=self.matches[rows],
            totals=self.totals[rows],
            lengths=self.lengths[rows],
            characters=self.characters[rows],
        )

    def _same(self, other: Self) -> bool:
        return self.tokenization == other.tokenization and np.array_equal(self.lengths[:, 1], other.lengths[:, 1])

    def by_sentence(self) -> np.ndarray:
        """chrF of each sentence, float64 ``(sentences,)``: used to find the worst ones."""
        one = np.ones(1)
        each = (dataclasses.replace(self, characters=row[None]) for row in self.characters)
        return np.array([sentence.chrf(one) for sentence in each])


def bleu(
    translations: Sequence[str],
    references: Sequence[str],
    *,
    tokenization: str | None = None,
    smoothing: str = "exp",
    k: float | None = None,
    effective_order: bool = False,
) -> float:
    """Corpus BLEU: ``100 · min(1, e^(1 − r/c)) · (p₁·p₂·p₃·p₄)^¼``.

    ``p_n`` is the share of the translations' n-grams of words that stand in the reference too (each counts at most as often as
    there), ``c`` and ``r`` are the words of all translations and of all references: short translations are punished.

    Args:
        translations, references: sentence by sentence; one reference each.
        tokenization: see :func:`words_of`; None goes by the script. BLEU of other tokenizations cannot be compared.
        smoothing: of an order without a match, which would make BLEU 0: ``"exp"`` takes ½, ¼, … of a match for the first, second,
            … such order; ``"floor"`` takes ``k`` matches; ``"add-k"`` adds ``k`` to matches and n-grams of the orders from 2;
            ``"none"`` leaves the 0.
        k: of ``"floor"`` (0.1) and of ``"add-k"`` (1).
        effective_order: whether only the orders count of which the translations have n-grams, the mean being over these: for a
            single short sentence, whose BLEU would be 0 otherwise.

    Raises:
        DataError: no translations, or not one for each reference.
        ConfigError: an unknown tokenization or smoothing.

    Reference:
        Papineni et al., "BLEU: a method for automatic evaluation of machine translation" (ACL 2002); smoothing: Chen & Cherry (2014),
        methods 1 to 3; the tokenization and its name: Post, "A call for clarity in reporting BLEU scores" (2018), arXiv:1804.08771.

    Example:
        >>> round(bleu(["the cat is on the mat"], ["there is a cat on the mat"]), 2)
        29.06
    """
    return TranslationCounts.of(translations, references, tokenization=tokenization).bleu(
        smoothing=smoothing, k=k, effective_order=effective_order
    )


def chrf(translations: Sequence[str], references: Sequence[str]) -> float:
    """Corpus chrF2: the F-score of n-grams of 1 to 6 characters, recall counting twice as much as precision, 0 to 100.

    ``F = 5·P·R / (4·P + R)``, where ``P`` and ``R`` are means over n of the precision and recall of the characters' n-grams, white
    space left out. It needs no tokenization and sees that a word is nearly right.

    Reference: Popović, "chrF: character n-gram F-score for automatic MT evaluation" (WMT 2015).

    Example:
        >>> round(chrf(["the cat sat"], ["the cats sat"]), 1)
        68.7
    """
    return TranslationCounts.of(translations, references, tokenization="none").chrf()


def _common(ours: Sequence[str], theirs: Sequence[str], most: int) -> list[list[int]]:
    """How many n-grams of each order there are in ours, in theirs, and in both."""
    sizes = range(1, most + 1)
    counts = [[max(len(side) - n + 1, 0) for n in sizes] for side in (ours, theirs)]
    both = [sum((_grams(ours, n) & _grams(theirs, n)).values()) for n in sizes]
    return [*counts, both]


def _grams(items: Sequence[str], n: int) -> Counter[object]:
    if isinstance(items, str):
        return Counter(items[i : i + n] for i in range(len(items) - n + 1))
    return Counter(tuple(items[i : i + n]) for i in range(len(items) - n + 1))


def _bleu(
    matches: np.ndarray,
    totals: np.ndarray,
    ours: float,
    theirs: float,
    smoothing: str,
    k: float | None,
    effective_order: bool,
) -> float:
    if smoothing not in SMOOTHING:
        raise unknown_name("smoothing", smoothing, SMOOTHING)
    if k is not None and (smoothing not in ("floor", "add-k") or k <= 0):
        raise ConfigError(f"k is {k} with smoothing {smoothing!r}; expected a number above 0, with 'floor' or 'add-k'")
    if not matches.any() or not ours:
        return 0.0
    logs, missed, orders = 0.0, 0, _ORDER
    for order, (found, total) in enumerate(zip(matches, totals, strict=True)):
        if smoothing == "add-k" and order:
            found, total = found + (k or 1.0), total + (k or 1.0)
        if not total:  # no translation has so many words
            if effective_order:
                break
            return 0.0
        orders = order + 1 if effective_order else _ORDER
        if not found:
            missed += 1
            found = {"exp": 0.5**missed, "floor": k or 0.1}.get(smoothing, 0.0)
        if not found:
            return 0.0
        logs += np.log(found / total)
    brevity = min(0.0, 1 - theirs / ours)
    return float(100 * np.exp(brevity + logs / orders))
