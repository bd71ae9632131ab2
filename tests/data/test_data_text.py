"""Texts to tokens and back, in every alphabet, and what a damaged tokenizer or an odd text is answered."""

import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from danlu.data.text import Tokenizer
from danlu.errors import ArtifactError, ConfigError, DataError

TEXTS = [
    "The food was good , and quick !",
    "味道好，送餐快",
    "naïve café — 3.5 stars 😀\n\n  twice the price",
    "don't",
] * 2
BPE = Tokenizer.fit(TEXTS, kind="bpe", size=300)
WORDS = Tokenizer.fit(TEXTS, kind="word")


@pytest.mark.parametrize("kind", ["char", "bpe"])
def test_characters_and_byte_pairs_give_the_text_back(kind):
    tokenizer = Tokenizer.fit(TEXTS, kind=kind)
    for text in TEXTS:
        tokens = tokenizer.encode_one(text, begin=True, end=True)
        assert tokenizer.decode(tokens) == text
        assert tokens[0] == tokenizer.begin_id
        assert tokens[-1] == tokenizer.end_id
    assert len(BPE.encode_one("the price")) < len("the price"), "nothing was joined"


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_byte_pairs_give_any_text_back_and_never_a_special_token(text):
    for given_text in (text, f"<pad>{text}<end>"):
        tokens = BPE.encode_one(given_text)
        assert BPE.decode(tokens) == given_text
        assert not {0, 1, 2, 3} & set(tokens)


def test_words_are_words_marks_and_single_chinese_characters():
    def cut(text):
        tokenizer = Tokenizer.fit([text])
        return [tokenizer.vocabulary[token] for token in tokenizer.encode_one(text)]

    assert cut("Don't pay 3.5 €, wo n't!") == ["Don't", "pay", "3.5", "€", ",", "wo", "n't", "!"]
    assert cut("很快，A1套餐ok") == ["很", "快", "，", "A1", "套", "餐", "ok"]
    assert cut("हिन्दी 한국어 ひら") == ["हिन्दी", "한국어", "ひ", "ら"]
    assert WORDS.decode(WORDS.encode_one("味道好，送餐快")) == "味道好，送餐快"
    assert WORDS.decode(WORDS.encode_one("the unheard price")) == "the � price"


def test_the_most_frequent_words_are_kept():
    texts = ["a a a b b c", "a b d"]
    assert Tokenizer.fit(texts, size=6).vocabulary[4:] == ("a", "b")
    assert Tokenizer.fit(texts, min_count=3).vocabulary[4:] == ("a", "b")
    assert Tokenizer.fit(["A a"], lowercase=True).vocabulary[4:] == ("a",)
    assert Tokenizer.fit(["Ab"], kind="char", lowercase=True).encode_one("AB") == [4, 5]


def test_rows_are_padded_and_cut():
    tokens, mask = WORDS.encode(["the food", "", "the food was good"], 3)
    assert tokens.dtype == np.int32
    assert tokens.shape == mask.shape == (3, 3)
    assert mask.sum(axis=1).tolist() == [2, 0, 3]
    assert (tokens[~mask] == WORDS.pad_id).all()
    assert tokens[2].tolist() == WORDS.encode_one("the food was good")[:3]
    assert WORDS.encode(["the food was good"], end=True)[0][0, -1] == WORDS.end_id
    assert WORDS.encode([])[0].shape == (0, 1)


def test_the_vocabulary_is_the_same_in_another_process():
    call = (
        "from danlu.data.text import Tokenizer\n"
        f"print([Tokenizer.fit({TEXTS!r}, kind=kind, size=400).vocabulary for kind in ('word', 'bpe')])"
    )
    runs = [
        subprocess.run([sys.executable, "-c", call], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]
    assert runs[0] == runs[1] != ""


@pytest.mark.parametrize("tokenizer", [BPE, WORDS, Tokenizer.fit(TEXTS, kind="char", lowercase=True)])
def test_a_tokenizer_survives_json(tokenizer):
    again = Tokenizer.from_json(json.loads(json.dumps(tokenizer.to_json())))
    assert again == tokenizer
    assert hash(again) == hash(tokenizer)
    assert again.encode_one(TEXTS[0]) == tokenizer.encode_one(TEXTS[0])


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "pickle"},
        {"kind": ["bpe"]},
        {"lowercase": 1},
        {"vocabulary": None},
        {"vocabulary": ["<pad>", "<unknown>", "<begin>", "<end>"]},
        {"vocabulary": ["a", "b", "c", "d", "e"]},
        {"vocabulary": [*BPE.vocabulary, "a"]},
        {"vocabulary": [*BPE.vocabulary, 7]},
        {"vocabulary": [*BPE.vocabulary, "x" * 5000]},
        {"vocabulary": list(BPE.vocabulary[:100]), "merges": []},
        {"merges": "ab"},
        {"merges": [["a", "b", "c"]]},
        {"merges": [[{}, "b"]]},
        {"merges": [["zz", "qq"]]},
        {"kind": "word"},
        {"kind": "char", "merges": []},
        {"code": "import os"},
    ],
)
def test_a_damaged_tokenizer_is_refused(change):
    with pytest.raises(ArtifactError, match="damaged"):
        Tokenizer.from_json({**BPE.to_json(), **change})


def test_bad_values_are_one_message():
    with pytest.raises(ConfigError, match="did you mean 'word'"):
        Tokenizer.fit(TEXTS, kind="words")
    with pytest.raises(ConfigError, match="from 260 to"):
        Tokenizer.fit(TEXTS, kind="bpe", size=100)
    with pytest.raises(ConfigError, match="min_count is 0"):
        Tokenizer.fit(TEXTS, min_count=0)
    with pytest.raises(DataError, match="hold no character"):
        Tokenizer.fit(["", ""])
    with pytest.raises(DataError, match=r"text 2 is 3 \(int\)"):
        WORDS.encode(["a", 3])
    with pytest.raises(DataError, match="text 2 holds half of a surrogate pair"):
        WORDS.encode(["a", "\ud800"])
    with pytest.raises(ConfigError, match="length is 0"):
        WORDS.encode(["a"], 0)
    with pytest.raises(DataError, match="-1 is no token"):
        WORDS.decode([-1])
