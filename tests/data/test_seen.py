"""Rows are recognised by their hash, wherever they stand and however they are padded; the hash gives nothing else away."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.data import TableEncoder, TargetEncoder, infer_schema, read_table, seen
from danlu.data.seen import known_rows, row_hashes, seen_bytes, seen_from
from danlu.errors import ArtifactError


def drawn(rows, seed=0):
    rng = np.random.default_rng(seed)
    inputs = {"numeric": rng.normal(size=(rows, 3)).astype("f4"), "categorical": rng.integers(0, 9, (rows, 2))}
    return inputs, rng.integers(0, 2, rows)


@given(st.integers(0, 10**6), st.integers(1, 40))
def test_the_same_rows_have_the_same_hash_in_any_order(seed, rows):
    inputs, labels = drawn(rows, seed)
    order = np.random.default_rng(seed).permutation(rows)
    again = row_hashes({name: values[order] for name, values in inputs.items()}, labels[order])
    assert (row_hashes(inputs, labels)[order] == again).all()


def test_other_rows_have_other_hashes():
    inputs, labels = drawn(50_000)
    found = row_hashes(inputs, labels)
    assert len(np.unique(found)) == 50_000
    for name, place in (("numeric", 0), ("categorical", 1)):
        changed = {key: value.copy() for key, value in inputs.items()}
        changed[name][:, place] += 1
        assert not np.isin(row_hashes(changed, labels), found).any()
    assert not np.isin(row_hashes(inputs, 1 - labels), found).any(), "the label is part of the row"
    swapped = {"numeric": inputs["numeric"][:, ::-1], "categorical": inputs["categorical"]}
    assert not np.isin(row_hashes(swapped, labels), found).any()


def test_padding_and_chunks_do_not_matter(monkeypatch):
    words, labels = np.random.default_rng(0).integers(1, 99, (200, 7)), np.arange(200) % 3
    plain = row_hashes({"words": words}, labels)
    assert (plain == row_hashes({"words": np.pad(words, ((0, 0), (0, 5)))}, labels)).all()
    monkeypatch.setattr(seen, "_CHUNK", 50)
    assert (plain == row_hashes({"words": words}, labels)).all()
    nested = {"words": {"x": words, "mask": words > 0}, "grams": {"x": words[:, ::-1], "mask": words > 0}}
    assert len(np.unique(row_hashes(nested, labels))) == 200, "texts are dicts of dicts"
    pixels = np.random.default_rng(0).integers(0, 256, (5, 4, 4, 3)).astype(np.uint8)
    assert len(np.unique(row_hashes(pixels, np.zeros(5)))) == 5
    zero = row_hashes(np.array([[0.0], [-0.0]], "f4"), np.zeros(2))
    assert zero[0] == zero[1]


def test_hashes_are_kept_bounded_and_whole(monkeypatch):
    found = known_rows(row_hashes(*drawn(300)))
    assert (np.diff(found.astype(object)) > 0).all()
    assert (seen_from(seen_bytes(found)) == found).all()
    monkeypatch.setattr(seen, "SEEN_MOST", 100)
    assert len(known_rows(found)) == 100
    with pytest.raises(ArtifactError, match="damaged"):
        seen_from(b"x")


def test_the_same_rows_are_known_in_any_kind_of_file(tmp_path):
    rng = np.random.default_rng(0)
    frame = pl.DataFrame(
        {"x": rng.normal(50, 10, 90).round(2), "word": rng.choice(["a", "b"], 90), "y": rng.normal(size=90).round(3)}
    )
    schema = infer_schema(frame, target="y")
    encoder, target = TableEncoder.fit(frame, schema), TargetEncoder.fit(frame["y"])
    narrow = frame.with_columns(pl.col("x", "y").cast(pl.Float32))
    frame.write_csv(tmp_path / "t.csv", float_scientific=True)
    frame.sample(fraction=1, shuffle=True, seed=1).select("y", "word", "x").write_ndjson(tmp_path / "t.jsonl")
    narrow.write_parquet(tmp_path / "t.parquet")
    known = row_hashes(encoder.transform(frame), target.transform(frame["y"]))
    for name in ("t.csv", "t.jsonl", "t.parquet"):
        read = read_table(tmp_path / name).frame
        found = row_hashes(encoder.transform(read), target.transform(read["y"]))
        assert np.isin(found, known).all(), name
    assert np.isin(row_hashes(encoder.transform(narrow), target.transform(narrow["y"])), known).all()
