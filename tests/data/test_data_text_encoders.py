"""Texts and sentences for networks of tokens: records, tokens and the lines they stand on, and what is saved."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from danlu.data.text import Corpus, CorpusEncoder, SentenceEncoder, Tokenizer, lines_of, tokens_of, unknown_in
from danlu.errors import ArtifactError, SchemaError

TEXT = "the cat sat.\n\n\n  the dog,\nthe very old dog \nran"
WORDS = Tokenizer.fit(["red dog", "roter Hund"], kind="word")
SENTENCES = SentenceEncoder(WORDS, Tokenizer.fit(["Hund"], kind="char"), ("en", "de"), 6)


def tokenizer_of(kind: str) -> Tokenizer:
    return Tokenizer.fit([TEXT], kind=kind, size=280 if kind == "bpe" else None)


@pytest.mark.parametrize("kind", ["char", "word", "bpe"])
def test_each_token_stands_on_the_line_that_it_begins_on(kind: str) -> None:
    tokenizer = tokenizer_of(kind)
    encoder = CorpusEncoder(tokenizer, 8, lines=False)
    found = encoder.transform([TEXT, "the cat\ndog"])
    whole = tokens_of(Corpus((TEXT,), False), tokenizer)
    assert found.tokens[: found.bounds[1]].tolist() == whole.tokens.tolist()
    assert found.characters == whole.characters + len("the cat\ndog") - len(tokenizer.decode(found.tokens[:1]))
    assert found.line is not None
    assert (np.diff(found.line) >= 0).all()
    for number, line in enumerate([*lines_of(TEXT), *lines_of("the cat\ndog")]):
        begun = tokenizer.decode(found.tokens[found.line == number])
        assert begun.strip().replace(" ", "") == line.strip().replace(" ", "").replace("\n", "")
    (last,) = np.flatnonzero(found.line == 7)[:1]
    assert tokenizer.decode(found.tokens[last:]) == "dog"


def test_lines_begin_and_end() -> None:
    encoder = CorpusEncoder(tokenizer_of("char"), 8, lines=True)
    found = encoder.transform(["cat", "dog"])
    assert found.line is not None
    assert found.line.tolist() == [0] * 5 + [1] * 5
    assert found.tokens[0] == encoder.tokenizer.begin_id
    assert encoder.rows([{"text": " cat "}], print) == ["cat"]
    with pytest.raises(SchemaError, match=r"record 2 is 'cat.*expected a single line"):
        encoder.rows([{"text": "cat"}, {"text": "cat\ndog"}], print)


def test_the_text_of_a_record_has_a_line_end_where_that_is_known() -> None:
    assert CorpusEncoder(tokenizer_of("char"), 8, lines=False).rows([{"text": "cat"}, {"text": "a\n"}], print) == [
        "cat\n",
        "a\n",
    ]
    assert CorpusEncoder(Tokenizer.fit(["cat"], kind="char"), 8, lines=False).rows([{"text": "cat"}], print) == ["cat"]


def test_what_is_not_in_the_vocabulary_is_named() -> None:
    assert unknown_in(WORDS, ["red blue dog", "blue, Green!"]) == "'blue', ',', 'Green', '!'"
    assert unknown_in(WORDS, ["a b c d e f"]) == "'a', 'b', 'c', 'd', 'e' and more"
    assert unknown_in(tokenizer_of("bpe"), ["Ж"]) == ""
    with pytest.raises(SchemaError, match="'source' of record 2 holds 'blue', not in the model's vocabulary"):
        SENTENCES.rows([{"source": "red dog"}, {"source": "blue dog"}], print)
    with pytest.raises(SchemaError, match="'text' of record 1 holds 'Q'"):
        CorpusEncoder(tokenizer_of("char"), 8, lines=False).rows([{"text": "the Q"}], print)


def test_sentences_are_padded_to_a_width_and_cut_at_the_last() -> None:
    found = SENTENCES.transform(["red dog", "", "dog " * 600])
    assert {name: each.shape for name, each in found.items()} == {
        "source": (3, 512), "source_mask": (3, 512), "target": (3, 1)
    }  # fmt: skip
    assert found["source_mask"].sum(axis=1).tolist() == [3, 1, 512]
    assert (found["source"][[0, 1, 2], [2, 0, 511]] == WORDS.end_id).all()
    assert SENTENCES.transform(["red dog"])["source"].shape == (1, 8)
    assert SENTENCES.lengths(["red dog", ""]).tolist() == [3, 1]


@pytest.mark.parametrize(
    ("encoder", "damage"),
    [
        (CorpusEncoder(tokenizer_of("char"), 8, lines=True), [{"context": 3}, {"lines": "no"}, {"tokenizer": None}]),
        (SENTENCES, [{"longest": 0}, {"languages": ["en"]}, {"source": {}}, {"target": "de"}]),
        (SentenceEncoder(WORDS, WORDS, ("en", "de"), 6), [{"languages": "en"}]),
    ],
)
def test_an_encoder_comes_back_as_it_was(encoder: Any, damage: list[dict[str, Any]]) -> None:
    plain, arrays = encoder.state()
    plain = json.loads(json.dumps(plain))
    assert type(encoder).from_state(plain, arrays) == encoder
    for change in damage:
        with pytest.raises(ArtifactError, match="damaged"):
            type(encoder).from_state({**plain, **change}, {})
