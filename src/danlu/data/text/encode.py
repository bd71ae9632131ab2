"""Whole texts as two inputs of a network: their words in order, and the set of their n-grams."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from danlu.data.fields import Field, texts_of
from danlu.data.text.tokenizer import Tokenizer
from danlu.errors import ArtifactError

__all__ = ["TextEncoder"]

_BUCKETS = 2**17
_MOST_WORDS = 256
_MOST_GRAMS = 1024
_MOST_BUCKETS = 2**24
_WORDS = (2, 3)  # sizes of the n-grams of words
_LETTERS = (2, 3, 4, 5)  # and of those of a word's characters
_BEGIN, _END, _BETWEEN = "\x02", "\x03", "\x1f"


@dataclasses.dataclass(frozen=True)
class TextEncoder:
    """Turns texts into words in order and hashed n-grams, case ignored.

    The n-grams of a text are its words, its runs of 2 and 3 words, and the runs of 2 to 5 characters within each word,
    its ends marked; each different one once. An n-gram's number is its CRC-32 modulo the number of buckets: any n-gram
    has one, without a vocabulary. A Chinese character is a word, so that runs of words are runs of characters there.

    Attributes:
        tokenizer: of the words; those seen once in training are unknown.
        words: words of a text that are kept, the first ones.
        grams: n-grams of a text that are kept; runs of characters at the text's end go first.
        buckets: numbers of n-grams, 0 (no n-gram) included.
        column: the name of the column of texts, for messages.

    Example:
        >>> encoder = TextEncoder.fit(["good food", "bad food", "味道好"])
        >>> {name: part["x"].shape for name, part in encoder.transform(["good"]).items()}
        {'words': (1, 8), 'grams': (1, 32)}

    Reference: Weinberger et al. 2009 (feature hashing); Bojanowski et al. 2017, section 3.2 (n-grams of a word's characters).
    """

    tokenizer: Tokenizer
    words: int
    grams: int
    buckets: int = _BUCKETS
    column: str = "text"

    @classmethod
    def fit(cls, texts: Sequence[str], *, column: str = "text") -> TextEncoder:
        """The encoder for training texts: sizes that hold 98 % of them whole, up to 256 words and 1,024 n-grams.

        Raises:
            DataError: no text, or one that is not text.
        """
        tokenizer = Tokenizer.fit(texts, kind="word", lowercase=True, min_count=2)
        if tokenizer.size < 8:  # too few texts for a word to come twice
            tokenizer = Tokenizer.fit(texts, kind="word", lowercase=True)
        some = cls(tokenizer, _MOST_WORDS, _MOST_GRAMS, column=column)
        sample = texts[:: max(len(texts) // 2000, 1)]
        words = np.quantile([len(tokenizer.cut(text)) for text in sample], 0.98)
        grams = np.quantile([len(row) for row in some._hashed(sample)], 0.98)
        return cls(tokenizer, _rounded(words, 8, _MOST_WORDS), _rounded(grams, 32, _MOST_GRAMS), column=column)

    @classmethod
    def of_any(cls, *, column: str = "text", buckets: int = 2**13, grams: int = 40) -> TextEncoder:
        """An encoder that is not fitted to any texts: no word has a number of its own, n-grams alone are told apart.

        Args:
            column: see :class:`TextEncoder`.
            buckets, grams: numbers of n-grams, and how many of a text are kept: words first.
        """
        return cls(Tokenizer.fit(["-"], kind="word", lowercase=True), 8, grams, buckets, column)

    @property
    def in_shape(self) -> dict[str, dict[str, tuple[int, ...]]]:
        """What a network's ``init`` takes."""
        return {name: {"x": (size,), "mask": (size,)} for name, size in (("words", self.words), ("grams", self.grams))}

    def transform(self, texts: Sequence[str]) -> dict[str, dict[str, np.ndarray]]:
        """``{"words": {"x": int32 (rows, words), "mask": bool}, "grams": {"x": int32 (rows, grams), "mask": bool}}``.

        Raises:
            DataError: a text that is not text.
        """
        texts = list(texts)
        tokens, mask = self.tokenizer.encode(texts, self.words)
        found = np.zeros((len(texts), self.grams), np.int32)
        for row, numbers in enumerate(self._hashed(texts)):
            kept = numbers[: self.grams]
            found[row, : len(kept)] = kept
        return {"words": {"x": tokens, "mask": mask}, "grams": {"x": found, "mask": found > 0}}

    def _hashed(self, texts: Sequence[str]) -> list[list[int]]:
        inside: dict[str, list[int]] = {}  # a word's own n-grams: most words come many times
        rows = []
        for text in texts:
            words = self.tokenizer.cut(text)
            numbers = [self._number(word) for word in words]
            for size in _WORDS:
                numbers += [self._number(_BETWEEN.join(words[i : i + size])) for i in range(len(words) - size + 1)]
            for word in words:
                if word not in inside:
                    inside[word] = self._within(word)
                numbers += inside[word]
            rows.append(list(dict.fromkeys(numbers)))
        return rows

    def places(self, text: str) -> dict[int, list[tuple[int, ...]]]:
        """The position of each n-gram of a text, in the order of :meth:`transform`: by its number, the runs of words (from 0).

        Example:
            >>> encoder = TextEncoder.fit(["no no", "yes"])
            >>> list(encoder.places("no no").values())[:2]
            [[(0,), (1,)], [(0, 1)]]
        """
        words = self.tokenizer.cut(text)
        found: dict[int, list[tuple[int, ...]]] = {}
        for size in (1, *_WORDS):
            for i in range(len(words) - size + 1):
                run = self._number(_BETWEEN.join(words[i : i + size]))
                found.setdefault(run, []).append(tuple(range(i, i + size)))
        for i, word in enumerate(words):
            for number in self._within(word):
                runs = found.setdefault(number, [])
                if (i,) not in runs:
                    runs.append((i,))
        return found

    def _within(self, word: str) -> list[int]:
        if len(word) == 1:
            return []
        marked = f"{_BEGIN}{word[:64]}{_END}"
        runs = [marked[i : i + size] for size in _LETTERS for i in range(len(marked) - size + 1) if size < len(marked)]
        return [self._number(run) for run in runs]

    def _number(self, gram: str) -> int:
        return zlib.crc32(gram.encode()) % (self.buckets - 1) + 1

    @property
    def fields(self) -> tuple[Field, ...]:
        """One text."""
        return (Field(self.column, "text"),)

    def rows(self, records: Sequence[Mapping[str, Any]], say: Callable[[str], None]) -> list[str]:
        """The texts of records; see :func:`danlu.data.fields.texts_of`."""
        return texts_of(records, self.fields[0])

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Plain data and arrays (none), for the artifact."""
        plain = {name: getattr(self, name) for name in ("words", "grams", "buckets", "column")}
        return {"kind": "text", **plain, "tokenizer": self.tokenizer.to_json()}, {}

    @classmethod
    def from_state(cls, data: Any, arrays: Mapping[str, np.ndarray]) -> TextEncoder:
        """The encoder that :meth:`state` described.

        Raises:
            ArtifactError: it is damaged.
        """
        most = {"words": _MOST_WORDS, "grams": _MOST_GRAMS, "buckets": _MOST_BUCKETS}
        sizes: list[Any] = [data.get(name) if isinstance(data, Mapping) else None for name in most]
        fine = all(type(size) is int and 1 < size <= top for size, top in zip(sizes, most.values(), strict=True))
        if not fine or not isinstance(data.get("column"), str):
            raise ArtifactError(f"the text encoder is damaged: {str(data)[:80]!r}")
        tokenizer = Tokenizer.from_json(data.get("tokenizer"))
        if tokenizer.kind != "word":
            raise ArtifactError(f"the text encoder is damaged: its tokens are of kind {tokenizer.kind!r}")
        return cls(tokenizer, sizes[0], sizes[1], sizes[2], data["column"])


def _rounded(size: float, step: int, most: int) -> int:
    return int(min(-(-max(size, 1) // step) * step, most))
