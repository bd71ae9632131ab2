"""Texts for a language model: one stream, or short lines; split, tokenized, and given as windows of tokens."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from danlu.data.folders import files_like, is_pattern
from danlu.data.share import Chunked, Portion
from danlu.data.sniff import decode
from danlu.data.text.tokenizer import Tokenizer
from danlu.errors import ConfigError, DataError

__all__ = ["Corpus", "Tokens", "Windows", "read_corpus", "split_corpus", "tokens_of"]

IGNORED = -1  # the target of padding: what TokenCrossEntropy does not count
_SHORT = 40  # characters of the longest line in a file of lines
_PIECE = 50_000  # characters that the tokenizer gets at a time
_CHUNK = 2**20  # tokens of the windows that are in memory at once


@dataclasses.dataclass(frozen=True, eq=False)
class Corpus:
    """Texts: one stream, or lines that are independent texts.

    Attributes:
        texts: the stream alone, or the lines without their ends.
        lines: which of the two.
        notices: what the user should know.
    """

    texts: tuple[str, ...]
    lines: bool
    notices: tuple[str, ...] = ()

    @property
    def characters(self) -> int:
        """The number of characters; line ends included."""
        return sum(map(len, self.texts)) + (len(self.texts) if self.lines else 0)

    def pieces(self) -> Iterator[str]:
        """The lines, or the stream in pieces that end where a line or a word ends, if there is one in reach."""
        if self.lines:
            yield from self.texts
            return
        for text in self.texts:
            yield from _pieces(text)


def read_corpus(source: str | Path, *, lines: bool | None = None) -> Corpus:
    """Read a text file, or the files of a pattern such as ``"part-*.txt"``, one after the other.

    Args:
        source: the file, or the pattern.
        lines: whether each line is a text of its own (names, words) or the file is one stream. None looks: lines if
            none is longer than 40 characters, none between the first and the last is empty, and there are at least 10.

    Raises:
        DataError: a file that cannot be read, is not text, or holds none.
    """
    texts, notices = list[str](), tuple[str, ...]()
    for file in files_like(source) if is_pattern(source) else [Path(source)]:
        try:
            data = file.read_bytes()
        except OSError as error:
            raise DataError(f"the text {file} cannot be read: {error.strerror or error}") from error
        encoded, notice = decode(data, source=str(file))
        notices += (notice,) if notice else ()
        texts.append(encoded.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n"))
    text = "".join(part if part.endswith("\n") else f"{part}\n" for part in texts[:-1]) + "".join(texts[-1:])
    if not text.strip():
        raise DataError(f"{source} holds no text")
    cut = text.strip("\n").split("\n")
    if lines is None:
        lines = len(cut) >= 10 and all(line.strip() and len(line) <= _SHORT for line in cut)
    if not lines:
        return Corpus((text,), False, notices)
    kept = tuple(line.strip() for line in cut if line.strip())
    if len(kept) < len(cut):
        notices = (*notices, f"{len(cut) - len(kept):,} empty lines are left out")
    return Corpus(kept, True, notices)


def split_corpus(corpus: Corpus, *, validation: float, test: float, seed: int = 0) -> tuple[dict[str, Corpus], str]:
    """Divide a corpus into ``"train"``, ``"validation"`` and ``"test"``.

    A stream is cut by position, the test last: what follows is predicted from what went before. Lines are drawn at
    random, and equal lines go to the same part, so that no test line was learnt from.

    Args:
        validation, test: shares, of the characters of a stream or of the different lines; ``test`` may be 0.
        seed: decides which lines.

    Returns:
        The parts, and how it was done, in a sentence.

    Raises:
        DataError: too little text for the shares.
    """
    shares = {"validation": validation, "test": test}
    if corpus.lines:
        drawn = drawn_parts(corpus.texts, **shares, seed=seed, noun="different lines")
        found = {name: tuple(corpus.texts[row] for row in rows) for name, rows in drawn.items()}
        return {name: Corpus(texts, True) for name, texts in found.items()}, "lines at random, equal ones together"
    (text,) = corpus.texts
    cut = {name: text[low:high] for name, (low, high) in part_bounds(len(text), **shares, noun="characters").items()}
    parts = {name: Corpus((part,) if part else (), False) for name, part in cut.items()}
    return parts, "by position, the test at the end"


def part_bounds(known: int, *, validation: float, test: float, noun: str) -> dict[str, tuple[int, int]]:
    """Where each part begins and ends, of so many things.

    Raises:
        DataError: they are too few for the shares.
    """
    ends = 0, round(known * (1 - validation - test)), round(known * (1 - test)), known
    bounds = dict(zip(("train", "validation", "test"), itertools.pairwise(ends), strict=True))
    wanted = {"train": 1.0, "validation": validation, "test": test}
    if any(share and bounds[name][1] - bounds[name][0] < 2 for name, share in wanted.items()):
        there = f"{known:,} {noun}"
        raise DataError(f"{there} are too few to divide; expected at least 2 for each part")
    return bounds


def drawn_parts(texts: Sequence[str], *, validation: float, test: float, seed: int, noun: str) -> dict[str, np.ndarray]:
    """The row numbers of each part, drawn at random; equal texts are in one part.

    Args:
        texts: one a row.
        validation, test: shares of the different texts.
        seed: decides which.
        noun: what the different texts are called.

    Raises:
        DataError: they are too few for the shares.
    """
    different, which = np.unique(np.array(texts), return_inverse=True)
    place = np.random.default_rng(seed).permutation(len(different))[which]
    bounds = part_bounds(len(different), validation=validation, test=test, noun=noun)
    return {name: np.flatnonzero((place >= low) & (place < high)) for name, (low, high) in bounds.items()}


@dataclasses.dataclass(frozen=True, eq=False)
class Tokens:
    """Sequences of tokens, one after the other.

    Attributes:
        tokens: int32 ``(tokens,)``.
        bounds: int64 ``(sequences + 1,)``: sequence ``i`` is ``tokens[bounds[i]:bounds[i + 1]]``. All but the first token
            of a sequence are predicted.
        characters: how many characters the predicted tokens stand for.
        line: int64 ``(tokens,)``, the line that each token stands on, from 0; None where nobody asks for lines.
    """

    tokens: np.ndarray
    bounds: np.ndarray
    characters: int
    line: np.ndarray | None = None

    @property
    def predicted(self) -> int:
        """How many tokens are predicted."""
        return int(np.maximum(np.diff(self.bounds) - 1, 0).sum())

    @property
    def longest(self) -> int:
        """The largest number of predictions in a sequence."""
        return max(int(np.diff(self.bounds).max(initial=0)) - 1, 0)


def tokens_of(corpus: Corpus, tokenizer: Tokenizer) -> Tokens:
    """The tokens of a corpus. A line begins with the begin token and ends with the end token; a stream has neither."""
    if corpus.lines:
        rows = [tokenizer.encode_one(line, begin=True, end=True) for line in corpus.texts]
        bounds = np.cumsum([0, *map(len, rows)], dtype=np.int64)
        flat = np.fromiter((token for row in rows for token in row), np.int32, int(bounds[-1]))
        return Tokens(flat, bounds, corpus.characters)
    found = [np.asarray(tokenizer.encode_one(piece), np.int32) for piece in corpus.pieces()]
    flat = np.concatenate([np.zeros(0, np.int32), *found])
    first = len(tokenizer.decode(flat[:1]))
    return Tokens(flat, np.array([0, len(flat)], np.int64), max(corpus.characters - first, 0))


def _pieces(text: str) -> Iterator[str]:
    """The text in pieces that the tokenizer can take, cut before a line's end, or else before a space."""
    start = 0
    while start < len(text):
        stop = start + _PIECE
        if stop < len(text):
            ends = [text.rfind(mark, start + 1, stop) for mark in ("\n", " ")]
            stop = next((end for end in ends if end > start), stop)  # the mark begins the next piece
        yield text[start:stop]
        start = stop


class Windows(Chunked):
    """Windows of tokens with the token that follows each as its target: a stream of chunks for the trainer.

    A pass lays windows end to end over all sequences and visits them in random order; in a single stream it starts at
    a random place, so that each pass cuts it elsewhere. An epoch is ``rows`` windows of the endless row of passes. The
    tokens are in memory once, the windows as they are used, so a text may be as large as its tokens fit.

    Args:
        tokens: what to learn from.
        context: tokens of a window; the rest of a shorter one is padding, with targets of −1.
        rows: windows an epoch; None is one pass.
        seed: decides places and orders; None leaves both as they are (for evaluation).
        multiple: chunks have a multiple of so many windows, such as the batch size.
        stride: how far the next window begins after one, 1 to ``context``, the default. With a smaller one windows overlap, and
            each predicts only what the one before did not: every token but the first ones is predicted from
            at least ``context − stride`` others.

    Raises:
        DataError: no sequence has two tokens.
        ConfigError: a stride out of range.

    Example:
        >>> chunk = next(Windows(Tokens(np.arange(6), np.array([0, 6]), 5), 3, seed=None).chunks(0, 0))
        >>> chunk["x"].tolist(), chunk["y"].tolist(), chunk["weight"].tolist()
        ([[0, 1, 2], [3, 4, 0]], [[1, 2, 3], [4, 5, -1]], [3.0, 2.0])
    """

    def __init__(
        self,
        tokens: Tokens,
        context: int,
        *,
        rows: int | None = None,
        seed: int | None = 0,
        multiple: int = 1,
        stride: int | None = None,
    ) -> None:
        if not tokens.predicted:
            raise DataError("no text has two tokens, so there is no token to predict", hint="give more text")
        if stride is not None and not 1 <= stride <= context:
            raise ConfigError(f"stride is {stride}; expected 1 to {context}, the context")
        self.tokens, self.context, self.seed, self.stride = tokens, context, seed, stride or context
        single = seed is not None and len(tokens.bounds) == 2
        self._slack = min(context - 1, max(tokens.predicted - context, 0)) if single else 0
        self.per_pass = len(self._cut(self._slack))
        self.rows = rows or self.per_pass
        self._chunk = max(_CHUNK // context // multiple, 1) * multiple

    def _cut(self, offset: int) -> np.ndarray:
        """Of each window where it starts, which of its tokens is the first to be predicted, and how many it has.

        The first window starts ``offset`` tokens in. The result is int64, ``(windows, 3)``.
        """
        begin, predicted = self.tokens.bounds[:-1], np.maximum(np.diff(self.tokens.bounds) - 1 - offset, 0)
        each = np.where(predicted > 0, 1 - (-np.maximum(predicted - self.context, 0) // self.stride), 0)
        number = np.arange(each.sum()) - np.repeat(np.cumsum(each) - each, each)
        starts = np.repeat(begin + offset, each) + self.stride * number
        first = np.where(number > 0, self.context - self.stride, 0)
        count = np.minimum(np.repeat(predicted, each) - self.stride * number, self.context)
        return np.stack([starts, first, count], axis=1)

    def _pass(self, number: int) -> np.ndarray:
        if self.seed is None:
            return self._cut(0)
        rng = np.random.default_rng([self.seed, number])
        return rng.permutation(self._cut(int(rng.integers(self._slack + 1))))[: self.per_pass]

    def _windows(self, first: int, count: int) -> np.ndarray:
        """Windows ``first`` to ``first + count`` of the endless row of passes."""
        parts = []
        while count:
            number, place = divmod(first, self.per_pass)
            parts.append(self._pass(number)[place : place + count])
            first, count = first + len(parts[-1]), count - len(parts[-1])
        return np.concatenate(parts)

    def portions(self, epoch: int, start: int, portion: Portion) -> Iterator[tuple[int, dict[str, Any]]]:
        """The windows of each chunk that ``portion`` names; a window weighs as many tokens as it predicts."""
        windows = self._windows(epoch * self.rows, self.rows)
        for low in range(start * self._chunk, self.rows, self._chunk):
            chunk = windows[low : low + self._chunk]
            yield len(chunk), self._gather(*chunk[portion(len(chunk))].T)

    def _gather(self, starts: np.ndarray, first: np.ndarray, count: np.ndarray) -> dict[str, Any]:
        places = starts[:, None] + np.arange(self.context + 1)
        taken = self.tokens.tokens[np.minimum(places, len(self.tokens.tokens) - 1)].astype(np.int32)
        place = np.arange(self.context)
        real = place < count[:, None]
        x, y = np.where(real, taken[:, :-1], 0), np.where(real & (place >= first[:, None]), taken[:, 1:], IGNORED)
        return {"x": x.astype(np.int32), "y": y.astype(np.int32), "weight": (count - first).astype(np.float32)}
