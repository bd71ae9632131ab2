"""Rows of several modalities: what a column is, files that are not there, and what each encoder is given."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import jax
import numpy as np
import polars as pl
import pytest
from PIL import Image

from danlu.data.composite import Composite
from danlu.data.media import names_media
from danlu.data.mixed import MixedSet, read_mixed
from danlu.errors import ArtifactError, DataError, SchemaError
from danlu.serve.openapi import field_schema

WORDS = "the cat saw a dog and then bird sang in tree near an old house".split()  # noqa: SIM905


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, rng = tmp_path_factory.mktemp("cards"), np.random.default_rng(0)
    (folder / "in").mkdir()
    lines = []
    for row in range(30):
        Image.fromarray(rng.integers(0, 255, (6, 8), np.uint8)).save(folder / "in" / f"{row}.png")
        lines.append((f"in/{row}.png", f"{' '.join(rng.choice(WORDS, 5))} {row}", float(row % 7), "ab"[row % 2]))
    (folder / "in" / "3.png").write_bytes(b"no picture")
    (folder / "in" / "4.png").unlink()
    pl.DataFrame(lines, schema=["photo", "about", "n", "y"], orient="row").write_csv(folder / "cards.csv")
    return folder / "cards.csv"


@pytest.fixture(scope="module")
def found(table: Path) -> MixedSet:
    return read_mixed(table, target="y", kinds={})


@pytest.fixture(scope="module")
def encoder(found: MixedSet) -> Composite:
    return Composite.fit(found.frame, found.schema)


def test_columns_of_files_are_found_with_evidence_and_what_is_missing_is_named(table: Path, found: MixedSet) -> None:
    assert names_media(table)
    assert [column.kind for column in found.schema.features] == ["image", "text", "numeric"]
    assert found.schema["photo"].reason == "29 of 30 values name a picture that is there"
    assert found.schema["photo"].examples[0] == "in/0.png"
    told = "\n".join(found.notices)
    assert "column photo holds a picture in each row (29 of 30 values name a picture that is there)" in told
    assert "column about holds a text in each row (6 words in a value, few values repeated)" in told
    assert (
        "2 of 30 files cannot be read: in/3.png (not an image), in/4.png (not there); 2 rows are taken as without"
        in told
    )
    assert found.frame["photo"].is_null().arg_true().to_list() == [3, 4]


def test_what_names_no_files_is_a_plain_table(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("photo,y\n" + "".join(f"no{i}.png,{i % 2}\n" for i in range(30)))
    assert not names_media(tmp_path / "t.csv")
    with pytest.raises(
        DataError, match=r"not one of the 30 files that it names can be read; the first, 'no0.png': not there"
    ):
        read_mixed(tmp_path / "t.csv", target="y", kinds={"photo": "image"})


def test_each_encoder_gets_its_column_and_says_who_has_it(found: MixedSet, encoder: Composite) -> None:
    x = encoder.transform(found.frame)
    assert (encoder.modalities, encoder.kinds) == (("columns", "photo", "about"), ("table", "image", "text"))
    assert x["present"].sum(axis=0).tolist() == [30, 28, 30]
    shapes = jax.tree.map(lambda leaf: leaf.shape[1:], x)
    assert shapes == encoder.in_shape
    own = dict(encoder.parts)["photo"]
    np.testing.assert_array_equal(x["parts"]["photo"][5], own.one(np.asarray(Image.open(found.frame["photo"][5]))))
    one = encoder.transform(found.frame[7:8])
    jax.tree.map(lambda some, all_: np.testing.assert_array_equal(some[0], all_[7]), one, x)
    for names in (["photo"], ["columns", "about"]):
        fewer = encoder.only(names)
        assert fewer.modalities == tuple(name for name in encoder.modalities if name in names)
        jax.tree.map(np.testing.assert_array_equal, fewer.transform(found.frame), encoder.chosen(x, names))


def test_saved_and_loaded_it_is_the_same(found: MixedSet, encoder: Composite) -> None:
    data, arrays = encoder.state()
    again = Composite.from_state(json.loads(json.dumps(data)), arrays)
    jax.tree.map(np.testing.assert_array_equal, again.transform(found.frame), encoder.transform(found.frame))
    assert again.fields == encoder.fields
    with pytest.raises(ArtifactError, match="its parts do not fit its schema"):
        Composite.from_state({**data, "parts": data["parts"][:1]}, arrays)


def test_records_hold_files_in_base64_or_lack_them_and_never_name_them(found: MixedSet, encoder: Composite) -> None:
    file = Path(found.frame["photo"][5])
    bytes64 = base64.b64encode(file.read_bytes()).decode()
    said: list[str] = []
    records = [{"n": 5.0, "photo": bytes64, "about": found.frame["about"][5]}, {"n": None, "about": None}]
    x, true = encoder.transform(encoder.rows(records, said.append)), encoder.transform(found.frame[5:6])
    jax.tree.map(lambda some, all_: np.testing.assert_array_equal(some[:1], all_), x, true)
    assert x["present"].tolist() == [[1, 1, 1], [0, 0, 0]]
    for field in encoder.fields[:2]:  # a service says so too
        assert field_schema(field, table=False)["anyOf"][-1] == {"type": "null"}
    assert said[0].startswith("1 of 2 rows has no photo (row 2): answered without it")
    with pytest.raises(SchemaError, match="'photo' of record 1 is"):
        encoder.rows([{"n": 1.0, "photo": str(file), "about": "x"}], said.append)
    with pytest.raises(SchemaError, match="'about' is '3'; expected a text"):
        encoder.rows([{"n": 1.0, "about": 3}], said.append)
