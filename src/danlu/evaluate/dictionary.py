"""A dictionary counted from pairs of sentences: IBM model 1, and its word-by-word translation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from danlu.data.text.tokenizer import Tokenizer, join_words
from danlu.errors import DataError

__all__ = ["WordByWord"]

_LINKS = 8_000_000  # pairs of a source and a target word that are gone through at most


class WordByWord:
    """IBM model 1: ``t(f|e)``, how likely the source word ``e`` becomes the target word ``f``, wherever it stands.

    Each target word of a pair comes from one of the source's words, or from none (an empty word ``e₀`` stands in every
    source). Expectation-maximisation finds the ``t`` that makes the targets likeliest::

        δ(e, f | pair) = t(f|e) / Σ_e' t(f|e')        e' over the source's words and e₀
        t(f|e)         = Σ_pairs δ(e, f) / Σ_pairs,f δ(e, f)

    A sentence is translated word by word, each by its likeliest target word, in the source's order; a word that was
    never seen stays as it is.

    Args:
        sources, targets: sentences and their translations; of many the last ones are counted.
        rounds: of expectation-maximisation, ≥ 1.

    Raises:
        DataError: no pairs.

    Reference:
        Brown et al., "The mathematics of statistical machine translation" (1993), section 4.

    Example:
        >>> pairs = ["the house", "the book", "a book"], ["das Haus", "das Buch", "ein Buch"]
        >>> WordByWord(*pairs).translate(["a house", "a cat"])
        ['ein Haus', 'ein cat']
    """

    def __init__(self, sources: Sequence[str], targets: Sequence[str], *, rounds: int = 8) -> None:
        if len(sources) != len(targets) or not len(sources):
            raise DataError(f"{len(sources)} sources and {len(targets)} targets; expected one for each, at least one")
        self._source, self._target = (Tokenizer.fit(texts, kind="word", size=200_000) for texts in (sources, targets))
        links, rows = 0, list[tuple[list[int], list[int]]]()
        for source, target in zip(reversed(sources), reversed(targets), strict=True):
            row = self._source.encode_one(source), self._target.encode_one(target)
            links += (len(row[0]) + 1) * len(row[1])
            if rows and links > _LINKS:
                break
            rows.append(row)
        # A link for each target word and each word it may come from; number 0 is the empty word.
        lengths = np.array([[len(source) + 1, len(target)] for source, target in rows])
        froms = np.concatenate([np.tile([0, *source], len(target)) for source, target in rows]).astype(np.int64)
        words = np.concatenate([np.repeat(target, len(source) + 1) for source, target in rows]).astype(np.int64)
        place = np.repeat(np.arange(lengths[:, 1].sum()), np.repeat(lengths[:, 0], lengths[:, 1]))
        kinds, which = np.unique(froms * self._target.size + words, return_inverse=True)
        start, end = np.divmod(kinds, self._target.size)
        t = np.full(len(kinds), 1.0)
        for _ in range(rounds):
            share = t[which]
            share /= np.bincount(place, share)[place]
            expected = np.bincount(which, share, len(kinds))
            t = expected / np.bincount(start, expected)[start]
        order = np.lexsort((-t, start))
        self._start, self._end, self._t = start[order], end[order], t[order]
        words, first = np.unique(self._start, return_index=True)
        self._best = dict(zip(words.tolist(), self._end[first].tolist(), strict=True))

    def entry(self, word: str) -> dict[str, float]:
        """``t(f|word)`` of each target word ``f`` that it was seen with, the likeliest first; empty for an unseen word.

        >>> pairs = ["the house", "the book", "a book"], ["das Haus", "das Buch", "ein Buch"]
        >>> list(WordByWord(*pairs).entry("book"))
        ['Buch', 'ein', 'das']
        """
        number = self._source.encode_one(word)
        low, high = np.searchsorted(self._start, [number[0], number[0] + 1]) if len(number) == 1 else (0, 0)
        names = (self._target.vocabulary[i] for i in self._end[low:high])
        return dict(zip(names, self._t[low:high].tolist(), strict=True))

    def translate(self, texts: Sequence[str]) -> list[str]:
        """Each sentence word by word."""
        return [join_words(self._words(text)) for text in texts]

    def _words(self, text: str) -> list[str]:
        pieces, numbers = self._source.cut(text), self._source.encode_one(text)
        known = [self._best.get(number) for number in numbers]
        return [
            piece if best is None else self._target.vocabulary[best] for piece, best in zip(pieces, known, strict=True)
        ]
