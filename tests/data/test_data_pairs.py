"""Pairs of sentences: reading them from what people have, dividing them, and batches that waste little padding."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from danlu.data.text import (
    Buckets,
    Pairs,
    PairTokens,
    Tokenizer,
    bucket_widths,
    read_pairs,
    read_sources,
    split_pairs,
    tokens_of_pairs,
)
from danlu.data.text.pairs import sentence_tokens
from danlu.errors import DataError

EN, DE = ["good day", 'a "red" house', "one more"], ["guten Tag", 'ein "rotes" Haus', "noch eins"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "train.en").write_text("\n".join(EN) + "\n")
    (tmp_path / "train.de").write_bytes("\r\n".join(DE).encode())
    frame = pl.DataFrame({"id": [1, 2, 3], "en": EN, "de": DE})
    (tmp_path / "p.tsv").write_text("".join(f"{a}\t{b}\n" for a, b in zip(["en", *EN], ["de", *DE], strict=True)))
    frame.write_csv(tmp_path / "p.csv")
    frame.write_csv(tmp_path / "quoted.tsv", separator="\t")
    frame.write_ndjson(tmp_path / "p.jsonl")
    frame.write_parquet(tmp_path / "p.parquet")
    return tmp_path


@pytest.mark.parametrize("name", ["train", "p.tsv", "quoted.tsv", "p.csv", "p.jsonl", "p.parquet"])
def test_pairs_are_read_from_every_form(folder: Path, name: str) -> None:
    found = read_pairs(folder / name, ("en", "de"))
    assert (list(found.sources), list(found.targets), found.notices) == (EN, DE, ())
    assert list(read_pairs(str(folder / name), ("de", "en")).sources) == DE
    assert read_sources(folder / name, "de") == DE


def test_what_is_not_in_order_is_told_in_one_message(folder: Path) -> None:
    def refused(source: Any, languages: tuple[str, str] = ("en", "de")) -> str:
        with pytest.raises(DataError) as caught:
            read_pairs(source, languages)
        return str(caught.value)

    (folder / "bad.en").write_text("a\nb\n")
    (folder / "bad.de").write_text("a\n\nb\n")
    assert "bad.en has 2 lines and " in refused(folder / "bad")
    assert "has 3; expected the same number" in refused(folder / "bad")
    assert "there is " in (said := refused(folder / "train", ("en", "fr")))
    assert "no " in said
    assert "train.fr" in said
    assert "there is no file" in refused(folder / "nothing")
    assert "give their common beginning" in refused(folder / "train.en")
    assert refused(folder).endswith("train"), "a folder: which files are meant?"
    assert "no column 'fr' and no column 'it'; there are: 'en', 'de'" in refused(folder / "p.tsv", ("fr", "it"))
    assert "write a line with the names above it" in refused(folder / "p.tsv", ("fr", "it"))
    (folder / "odd.tsv").write_text("en\tde\na\tb\nc\n")
    assert "line 3 of" in refused(folder / "odd.tsv")
    assert "not texts" in refused({"en": [1, 2], "de": ["a", "b"]})
    assert "both languages are 'en'" in refused(folder / "train", ("en", "en"))
    assert "no pair with text" in refused({"en": ["a", ""], "de": [" ", "b"]})


def test_empty_sides_are_left_out_and_equal_ones_are_doubted() -> None:
    found = read_pairs({"a": ["x  y", None, "z", "w"], "b": ["x y", "u", " ", "w"]}, ("a", "b"))
    assert (found.sources, found.targets) == (("x y", "w"), ("x y", "w"))
    assert found.notices[0] == "2 of 4 pairs have an empty side and are left out"
    assert "in 2 of 2 pairs both sides are the same" in found.notices[1]
    assert read_sources(["a  b", ""], "en") == ["a b", ""], "a line to translate keeps its place"


def test_pairs_of_one_source_stay_together() -> None:
    rng = np.random.default_rng(0)
    sources = tuple(f"sentence {i}" for i in rng.integers(60, size=200))
    pairs = Pairs(sources, tuple(map(str, range(200))))
    parts, _ = split_pairs(pairs, validation=0.2, test=0.2, seed=1)
    assert sorted(t for part in parts.values() for t in part.targets) == sorted(pairs.targets)
    sets = [set(part.sources) for part in parts.values()]
    assert sum(map(len, sets)) == len(set.union(*sets)) == len(set(sources))
    assert [round(len(s) / len(set(sources)), 1) for s in sets] == [0.6, 0.2, 0.2]
    assert len(split_pairs(pairs, validation=0.2, test=0.0)[0]["test"]) == 0
    with pytest.raises(DataError, match="too few to divide"):
        split_pairs(pairs.rows(range(3)), validation=0.2, test=0.2)


def test_widths_waste_as_little_as_any() -> None:
    for seed in range(8):
        lengths = np.random.default_rng(seed).integers(1, 12, size=30)
        sizes = sorted(set(lengths.tolist()))
        for most in (1, 2, 3, 20):
            found = bucket_widths(lengths, most)
            assert len(found) <= most
            assert found[-1] == sizes[-1]
            assert list(found) == sorted(set(found))

            def cost(widths: tuple[int, ...], lengths: np.ndarray = lengths) -> int:
                return int(np.array(widths)[np.searchsorted(widths, lengths)].sum())

            if most <= 3:
                tried = [(*some, sizes[-1]) for some in itertools.combinations(sizes[:-1], min(most, len(sizes)) - 1)]
                assert cost(found) == min(map(cost, tried))


def test_an_epoch_has_every_pair_once_and_begins_where_asked() -> None:
    rng = np.random.default_rng(0)
    rows = [tuple(rng.integers(4, 99, n).astype(np.int32) for n in rng.integers(0, 9, 2)) for _ in range(133)]
    tokens = PairTokens(*(tuple(row[i] for row in rows) for i in (0, 1)))
    buckets = Buckets(tokens, bucket_widths(tokens.lengths, 3), batch_size=4, seed=5)
    chunks = list(buckets.chunks(1, 0))
    seen = []
    for chunk in chunks:
        x, y = chunk["x"], chunk["y"]
        for source, mask, target, wanted, weight in zip(
            x["source"], x["source_mask"], x["target"], y, chunk["weight"], strict=False
        ):
            n = int((wanted >= 0).sum())
            assert weight == n
            assert source[mask][-1] == 3
            assert not source[~mask].any()
            assert target[0] == 2
            assert wanted[n - 1] == 3
            assert target[1:n].tolist() == wanted[: n - 1].tolist()
            seen.append((source[mask][:-1].tolist(), wanted[: n - 1].tolist()))
    assert sorted(seen) == sorted((a.tolist(), b.tolist()) for a, b in rows)
    assert sum(-(-len(chunk["y"]) // 4) for chunk in chunks) == buckets.steps
    assert 0.6 < buckets.filled <= 1
    assert max(len(chunk["y"]) for chunk in chunks) == len(next(buckets.chunks(0, 0))["y"])
    later = list(buckets.chunks(1, 2))
    assert [chunk["y"].tolist() for chunk in later] == [chunk["y"].tolist() for chunk in chunks[2:]]
    assert next(buckets.chunks(2, 0))["y"].tolist() != chunks[0]["y"].tolist()
    with pytest.raises(DataError, match="expected up to 3"):
        Buckets(tokens, (3,), batch_size=4)


def test_byte_pairs_write_a_word_the_same_wherever_it_stands() -> None:
    pairs = Pairs(("红色的房子 很大", "很大"), ("house red", "red"))
    tokenizer = Tokenizer.fit([" " + text for text in (*pairs.sources, *pairs.targets)] * 3, kind="bpe", size=300)
    tokens = tokens_of_pairs(pairs, tokenizer, tokenizer)
    assert tokens.targets[0][-len(tokens.targets[1]) :].tolist() == tokens.targets[1].tolist()
    assert [tokenizer.decode(row).strip() for row in tokens.sources] == list(pairs.sources)
    assert len(sentence_tokens(tokenizer, "")) == 0, "nothing is nothing, and not a space"
