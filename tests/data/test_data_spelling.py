"""One word in several spellings: merged in training, read alike at predict, and always told of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.data import TableEncoder, TargetEncoder, check_frame, infer_schema, infer_task
from danlu.data.levels import LevelCoder
from danlu.data.schema import Schema
from danlu.data.spelling import match_names, plain, spellings
from danlu.errors import SchemaError
from danlu.pipeline.config import config_from
from danlu.pipeline.domains import domain_of

WORDS = ["gold", "DE", "full time", "北京 市", "São Paulo"]


@st.composite
def respelt(draw: st.DrawFn) -> tuple[str, str]:
    """A word and a spelling of it."""
    word = draw(st.sampled_from(WORDS))
    case = draw(st.sampled_from([str, str.upper, str.lower, str.title]))
    gap = draw(st.sampled_from([" ", "  ", "\u00a0", "\t", " \u200b", "\u3000"]))
    wide = "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in word) if draw(st.booleans()) else word
    return word, draw(st.sampled_from(["", " ", "\ufeff"])) + case(wide).replace(" ", gap) + draw(
        st.sampled_from(["", "\u00a0"])
    )


@given(st.lists(respelt(), min_size=1, max_size=30))
def test_spellings_of_a_word_have_one_key_and_one_code(pairs: list[tuple[str, str]]) -> None:
    words, written = (pl.Series("w", list(each)) for each in zip(*pairs, strict=True))
    assert plain(words).to_list() == plain(written).to_list()
    assert plain(words).n_unique() == words.n_unique()
    coder = LevelCoder.fit(pl.Series("w", WORDS * 3), merged=True)
    coder = LevelCoder.from_json(coder.to_json())
    np.testing.assert_array_equal(coder.transform(words), coder.transform(written))
    assert (coder.transform(written) > 0).all()
    merged = written.replace(spellings(written))
    assert merged.n_unique() == words.n_unique()


def test_single_letters_are_codes_and_old_artifacts_are_exact() -> None:
    assert spellings(pl.Series(["a", "A", "a", "ä", "Ä", "x ", "x"])) == {"x ": "x"}
    old = LevelCoder.from_json({"levels": ["gold"], "has_missing": False})
    assert old.transform(pl.Series(["gold", "Gold"])).tolist() == [1, 0]


def table(rows: int = 60) -> pl.DataFrame:
    plans = ["gold", "Gold", "gold", "silver", "silver\u00a0", "full  time", "full time"]
    labels = ["yes", "Yes", "no", "NO", "yes", "no"]
    return pl.DataFrame(
        {
            "plan": [plans[i % len(plans)] for i in range(rows)],
            "size": [float(i * i % 37) for i in range(rows)],
            "y": [labels[i % len(labels)] for i in range(rows)],
        }
    )


def prepared(frame: pl.DataFrame, **settings):
    config = config_from({"data": {"target": "y", **settings}})
    return domain_of(config, frame).prepare(config, frame)


def test_categories_and_classes_are_merged_and_told_of(tmp_path: Path) -> None:
    found = prepared(table())
    assert found.target.classes == ("no", "yes")
    assert set(found.schema["plan"].categories) == {"gold", "silver", "full time"}
    text = " ".join(found.notices)
    for old, new in (("'Gold'", "'gold'"), ("'NO'", "'no'")):
        assert f"{old} as {new}" in text
    coder = {name: each for name, _, each in found.encoder.levels}["plan"]
    assert len(coder.levels) == 3
    kept = prepared(table(), spellings="keep")
    assert len(kept.target.classes) == 4
    assert kept.schema["plan"].distinct > 3
    assert any("some classes differ only in case or white space" in notice for notice in kept.notices)


def test_other_spellings_are_read_at_predict_with_a_note() -> None:
    found = prepared(table())
    schema = Schema.from_json(found.schema.to_json())
    encoder = TableEncoder.from_state(*found.encoder.state())
    known = pl.DataFrame({"plan": ["gold", "full time"], "size": [1.0, 2.0]})
    new = pl.DataFrame({"plan": ["GOLD ", "Full\tTime"], "size": [1.0, 2.0]})
    checked, notices = check_frame(new, schema)
    np.testing.assert_array_equal(encoder.transform(checked)["categorical"], encoder.transform(known)["categorical"])
    assert any("'GOLD ' as 'gold'" in notice or "'GOLD' as 'gold'" in notice for notice in notices)
    assert check_frame(known, schema)[1] == ()
    with pytest.raises(SchemaError, match="never seen in training: 'bronze'"):
        check_frame(new.with_columns(plan=pl.Series(["bronze", "gold"])), schema)
    exact = infer_schema(table(), target="y")
    with pytest.raises(SchemaError, match="never seen in training"):
        check_frame(new, exact)


def test_names_in_another_spelling_are_taken_with_a_note() -> None:
    schema = infer_schema(pl.DataFrame({"net income": [1, 2], "City": ["a", "b"], "y": [0, 1]}), target="y")
    frame = pl.DataFrame({" Net  Income": [1], "city": ["a"], "Y": [0], "more": [1]})
    checked, notices = check_frame(frame, schema)
    assert checked.columns == ["net income", "City", "y"]
    assert "' Net  Income' as 'net income'" in notices[0]
    assert "'city' as 'City'" in notices[0]
    with pytest.raises(SchemaError, match="column 'City' is missing"):
        check_frame(frame.with_columns(CITY=pl.Series(["b"])), schema)
    same, said = match_names(frame, frame.columns)
    assert same is frame
    assert said == ()


def test_classes_of_other_domains_are_told_of() -> None:
    assert infer_task(pl.Series("y", ["cat", "Cat", "dog"] * 3)).notices == (
        "some classes differ only in case or white space: 'cat' and 'Cat'; are they the same?",
    )
    encoder = TargetEncoder.fit(pl.Series("y", ["yes please", "no"] * 3))
    labels, notices = encoder.normalise(pl.Series("y", ["Yes\u00a0 please.", "NO"]))
    assert labels.to_list() == ["yes please", "no"]
    assert notices


def test_the_test_files_columns_and_labels_may_be_spelt_otherwise(tmp_path: Path) -> None:
    table(20).rename({"plan": "Plan ", "y": "Y"}).write_csv(tmp_path / "test.csv")
    found = prepared(table(), test=str(tmp_path / "test.csv"))
    assert found.rows["test"] == 20
    assert any("columns were matched by another spelling" in notice for notice in found.notices)
