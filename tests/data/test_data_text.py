"""Texts to tokens and back, in every alphabet, and what a damaged tokenizer or an odd text is answered."""

import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from danlu.data.text import TextEncoder, Tokenizer, is_text_source, read_texts
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
    with pytest.raises(DataError, match="hold no characters"):
        Tokenizer.fit(["", ""])
    with pytest.raises(DataError, match=r"text 2 is 3 \(int\)"):
        WORDS.encode(["a", 3])
    with pytest.raises(DataError, match="text 2 holds half of a surrogate pair"):
        WORDS.encode(["a", "\ud800"])
    with pytest.raises(ConfigError, match="length is 0"):
        WORDS.encode(["a"], 0)
    with pytest.raises(DataError, match="-1 is not a token"):
        WORDS.decode([-1])


def lines(count):
    return "".join(f"{row % 2} a text of number {row}\n" for row in range(count))


def test_lines_that_begin_with_a_label_are_told_from_plain_text(tmp_path):
    labelled, plain = tmp_path / "labelled.txt", tmp_path / "plain.txt"
    labelled.write_text(lines(40) + "1\n", encoding="utf-8")
    plain.write_text("\n".join(f"word{row} and more" for row in range(40)), encoding="utf-8")
    found = read_texts(labelled)
    assert (len(found), found.labels[1], found.texts[1]) == (40, "1", "a text of number 1")
    assert "1 lines of" in found.notices[0]
    assert is_text_source(labelled)
    assert not is_text_source(plain)
    assert read_texts(plain).texts[1] == "word1 and more"
    assert read_texts(plain).labels is None
    assert not is_text_source(tmp_path)
    labelled.rename(tmp_path / "train.txt")
    (tmp_path / "dev.txt").write_text("__label__1 other\n", encoding="utf-8")
    found = read_texts(tmp_path)
    assert sorted(found.parts.tolist()) == ["train"] * 40 + ["validation"]
    assert found.labels.to_list().count("1") == 21


def test_a_folder_for_each_class_and_odd_encodings(tmp_path):
    for label, text in (("pos", "很好吃，味道足"), ("neg", "难吃")):
        (tmp_path / label).mkdir()
        (tmp_path / label / "a.txt").write_text(text, encoding="utf-8-sig")
        (tmp_path / label / "b.txt").write_text(text, encoding="utf-16")
    assert is_text_source(tmp_path)
    found = read_texts(tmp_path)
    assert found.labels.to_list() == ["neg", "neg", "pos", "pos"]
    assert found.texts == ["难吃"] * 2 + ["很好吃，味道足"] * 2
    for part in ("train", "test"):
        (tmp_path / "all" / part).mkdir(parents=True)
        for label in ("pos", "neg"):
            (tmp_path / "all" / part / label).symlink_to(tmp_path / label)
    found = read_texts(tmp_path / "all")
    assert sorted(found.parts.tolist()) == ["test"] * 4 + ["train"] * 4
    with pytest.raises(DataError, match=r"no \.txt files in folders"):
        read_texts(tmp_path / "pos")


def test_columns_of_tables(tmp_path):
    (tmp_path / "a.csv").write_text('label,review\n1,"很快，好吃"\n0,\n1,  \n', encoding="utf-8")
    found = read_texts(tmp_path / "a.csv", target="label")
    assert found.texts[0] == "很快，好吃"
    assert found.empty().tolist() == [1, 2]
    assert found.rows(np.array([2])).labels.to_list() == [1]
    assert read_texts(["a", None]).texts == ["a", None]
    with pytest.raises(DataError, match=r"b' \(bytes\) in row 1"):
        read_texts([b"b"])
    with pytest.raises(DataError, match="no column of texts was named"):
        read_texts({"a": ["x"], "b": ["y"]})
    with pytest.raises(DataError, match="not texts"):
        read_texts({"a": [1, 2]}, text="a")
    with pytest.raises(DataError, match="no file or folder"):
        read_texts(tmp_path / "none")


def test_the_encoder_gives_words_in_order_and_a_set_of_ngrams():
    encoder = TextEncoder.fit(["the good food", "the bad food", "味道好 味道好"] * 3)
    found = encoder.transform(["the good food", "food good the", "THE GOOD FOOD", ""])
    words, grams = found["words"], found["grams"]
    assert words["x"][0, :3].tolist() == encoder.tokenizer.encode_one("the good food")
    assert np.array_equal(grams["x"][0], grams["x"][2]), "case is ignored"
    sets = [set(row[row > 0].tolist()) for row in grams["x"]]
    assert len(sets[0] ^ sets[1]) > 0, "runs of words tell their order"
    assert len(sets[0]) == grams["mask"][0].sum(), "each once"
    assert not grams["mask"][3].any()
    assert not words["mask"][3].any()
    letters = encoder.transform(["goodness"])["grams"]["x"]
    assert len(set(letters[letters > 0].tolist()) & sets[0]) >= 4, "an unknown word shares characters with a known one"
    assert grams["x"].max() < encoder.buckets


def test_the_encoder_survives_json_and_damage_is_refused():
    encoder = TextEncoder.fit(["the good food", "the bad food"], column="review")
    plain = json.loads(json.dumps(encoder.state()[0]))
    assert TextEncoder.from_state(plain, {}) == encoder
    for damage in (
        {"words": 0},
        {"grams": 10**9},
        {"buckets": True},
        {"column": 3},
        {"tokenizer": None},
        {"tokenizer": BPE.to_json()},
    ):
        with pytest.raises(ArtifactError, match="damaged"):
            TextEncoder.from_state({**plain, **damage}, {})
    with pytest.raises(ArtifactError, match="damaged"):
        TextEncoder.from_state(None, {})
