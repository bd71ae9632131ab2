"""Texts for networks of tokens: texts whose next token is predicted, and sentences to translate."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from danlu.data.fields import Field, texts_of
from danlu.data.text.corpus import Corpus, Tokens, tokens_of
from danlu.data.text.pairs import sentence_tokens
from danlu.data.text.tokenizer import Tokenizer
from danlu.errors import ArtifactError, SchemaError

__all__ = ["WIDTHS", "CorpusEncoder", "SentenceEncoder", "lines_of", "unknown_in"]

WIDTHS = (8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
"""Tokens that encoded sentences are padded to, the end token included; longer sentences are cut."""


def lines_of(text: str) -> list[str]:
    """The lines of a text with their ends.

    >>> lines_of("a\\n\\nb")
    ['a\\n', '\\n', 'b']
    """
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def unknown_in(tokenizer: Tokenizer, texts: Sequence[str]) -> str:
    """The tokens of the texts that are not in the vocabulary, as text: the first five; empty if there are none."""
    found: dict[str, None] = {}
    for text in texts:
        numbers = tokenizer.encode_one(text)
        if tokenizer.unknown_id in numbers:
            pieces = zip(tokenizer.cut(text), numbers, strict=True)
            found |= {piece: None for piece, number in pieces if number == tokenizer.unknown_id}
    shown = ", ".join(map(repr, list(found)[:5]))
    return f"{shown} and more" if len(found) > 5 else shown


def _known_texts(records: Sequence[Mapping[str, Any]], field: Field, tokenizer: Tokenizer) -> list[str]:
    """The texts of records, of known characters or words alone."""
    texts = texts_of(records, field)
    for number, text in enumerate(texts, 1):
        strange = unknown_in(tokenizer, [text])
        if strange:
            raise SchemaError(f"{field.name!r} of record {number} holds {strange}, not in the model's vocabulary")
    return texts


@dataclasses.dataclass(frozen=True)
class CorpusEncoder:
    """Texts as sequences of tokens; a network sees one window at a time.

    Attributes:
        tokenizer: cuts texts.
        context: tokens of a window.
        lines: whether a text is a line, which begins and ends, or a stream.
    """

    tokenizer: Tokenizer
    context: int
    lines: bool

    @property
    def in_shape(self) -> tuple[int]:
        """The shape of one window."""
        return (self.context,)

    @property
    def fields(self) -> tuple[Field, ...]:
        """One text."""
        return (Field("text", "text", example=_example(self.tokenizer)),)

    def rows(self, records: Sequence[Mapping[str, Any]], say: Callable[[str], None]) -> list[str]:
        """The texts of records. That of a stream is taken as a line of a file is: with its end, where the model knows of lines' ends.

        Raises:
            SchemaError: a value that is not a text, or has characters or words outside the vocabulary.
        """
        texts = _known_texts(records, self.fields[0], self.tokenizer)
        if not self.lines:
            known = self.tokenizer.unknown_id not in self.tokenizer.encode_one("\n")
            return [text if text.endswith("\n") or not known else text + "\n" for text in texts]
        for number, text in enumerate(texts, 1):
            if "\n" in text.strip():
                raise SchemaError(f"'text' of record {number} is {text[:60]!r}; expected a single line")
        return [text.strip() for text in texts]

    def transform(self, rows: Sequence[str]) -> Tokens:
        """The tokens of each text, and the lines that they stand on."""
        if self.lines:
            found = tokens_of(Corpus(tuple(rows), True), self.tokenizer)
            return dataclasses.replace(found, line=np.repeat(np.arange(len(rows)), np.diff(found.bounds)))
        tokens, line, sizes, before, characters = [np.zeros(0, np.int32)], [np.zeros(0, np.int64)], [0], 0, 0
        for text in rows:
            ends, at, parts = np.cumsum([len(each) for each in lines_of(text)]), 0, [np.zeros(0, np.int32)]
            for piece in Corpus((text,), False).pieces():
                numbers, places = self.tokenizer.placed(piece)
                parts.append(np.asarray(numbers, np.int32))
                line.append(before + np.searchsorted(ends, at + np.asarray(places, np.int64), "right"))
                at += len(piece)
            tokens.append(np.concatenate(parts))
            sizes.append(len(tokens[-1]))
            before += len(ends)
            characters += max(len(text) - len(self.tokenizer.decode(tokens[-1][:1])), 0)
        return Tokens(np.concatenate(tokens), np.cumsum(sizes, dtype=np.int64), characters, np.concatenate(line))

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Plain data and arrays (none), for the artifact."""
        plain = {"kind": "language", "tokenizer": self.tokenizer.to_json()}
        return {**plain, "context": self.context, "lines": self.lines}, {}

    @classmethod
    def from_state(cls, data: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> CorpusEncoder:
        """The encoder that :meth:`state` described.

        Raises:
            ArtifactError: it is damaged.
        """
        context, lines = data.get("context"), data.get("lines")
        if type(context) is not int or not 4 <= context <= 1_000_000 or type(lines) is not bool:
            raise ArtifactError(
                f"the saved language model is damaged: its context is {str(context)[:40]!r}, its lines {str(lines)[:40]!r}"
            )
        return cls(Tokenizer.from_json(data.get("tokenizer")), context, lines)


@dataclasses.dataclass(frozen=True)
class SentenceEncoder:
    """Sentences of one language, as the source of a translation.

    Attributes:
        source, target: the tokenizers of the two languages.
        languages: what they are called.
        longest: the tokens of the longest sentence that was learnt from, its end included.
    """

    source: Tokenizer
    target: Tokenizer
    languages: tuple[str, str]
    longest: int

    @property
    def in_shape(self) -> dict[str, tuple[int]]:
        """The shape of one pair."""
        return dict.fromkeys(("source", "source_mask", "target"), (self.longest,))

    @property
    def fields(self) -> tuple[Field, ...]:
        """One sentence."""
        return (Field("source", "text", example=_example(self.source)),)

    def rows(self, records: Sequence[Mapping[str, Any]], say: Callable[[str], None]) -> list[str]:
        """The sentences of records.

        Raises:
            SchemaError: a value that is not a text, or has characters or words outside the vocabulary.
        """
        rows = [" ".join(text.split()) for text in _known_texts(records, self.fields[0], self.source)]
        for notice in self.long(rows):
            say(notice)
        return rows

    def lengths(self, rows: Sequence[str]) -> np.ndarray:
        """The tokens of each sentence, its end included, int64 ``(rows,)``."""
        return np.array([len(sentence_tokens(self.source, text)) + 1 for text in rows], np.int64)

    def long(self, rows: Sequence[str]) -> tuple[str, ...]:
        """The notice about sentences that are longer than those in training, if there are any."""
        long = int(np.count_nonzero(self.lengths(rows) > self.longest))
        if not long:
            return ()
        are = "sentence is" if long == 1 else "sentences are"
        return (f"{long:,} {are} longer than any in training ({self.longest} tokens): do not rely on the translation",)

    def transform(self, rows: Sequence[str]) -> dict[str, np.ndarray]:
        """``source`` int32 and ``source_mask`` bool ``(rows, width)``, of the least of :data:`WIDTHS`; ``target``: that it begins."""
        found = [sentence_tokens(self.source, text)[: WIDTHS[-1] - 1] for text in rows]
        longest = max(map(len, found), default=0) + 1
        source = np.full(
            (len(found), next(width for width in WIDTHS if width >= longest)), self.source.pad_id, np.int32
        )
        for each, row in zip(source, found, strict=True):
            each[: len(row)], each[len(row)] = row, self.source.end_id
        begun = np.full((len(found), 1), self.target.begin_id, np.int32)
        return {"source": source, "source_mask": source != self.source.pad_id, "target": begun}

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Plain data and arrays (none), for the artifact."""
        shared = self.source == self.target
        sides = {"source": self.source.to_json(), "target": None if shared else self.target.to_json()}
        return {"kind": "translation", **sides, "languages": list(self.languages), "longest": self.longest}, {}

    @classmethod
    def from_state(cls, data: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> SentenceEncoder:
        """The encoder that :meth:`state` described.

        Raises:
            ArtifactError: it is damaged.
        """
        languages, longest = data.get("languages"), data.get("longest")
        named = isinstance(languages, list) and len(languages) == 2 and all(isinstance(name, str) for name in languages)
        if not named or type(longest) is not int or not 1 <= longest <= 100_000:
            raise ArtifactError(
                f"the saved translation model is damaged: its languages are {str(languages)[:40]!r}, its longest sentence "
                f"has {str(longest)[:40]!r} tokens"
            )
        source = Tokenizer.from_json(data.get("source"))
        target = source if data.get("target") is None else Tokenizer.from_json(data["target"])
        return cls(source, target, (languages[0], languages[1]), longest)  # type: ignore[index]


def _example(tokenizer: Tokenizer) -> str | None:
    """A text of the first words or characters that a vocabulary has; None of pieces of words, which may be no text."""
    join = {"word": " ", "char": ""}.get(tokenizer.kind)
    if join is None:
        return None
    return " ".join(join.join(token for token in tokenizer.vocabulary[4:7] if token.isprintable()).split()) or None
