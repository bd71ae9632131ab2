"""Records that do not fit: each is refused in words, or answered with finite numbers."""

from __future__ import annotations

import base64
import io
import math
import re
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest
from kinds import KINDS, asked
from PIL import Image
from scipy.io import wavfile
from test_contract import LAST, asked_records, model_of

from danlu.data.fields import Field, check_records
from danlu.errors import ConfigError, DanluError, DataError, SchemaError

ODD = (None, 10**400, 1e308, math.inf, math.nan, -1, True, "", "火", "12", [], {}, [[]], [None], [10**400], b"x")


@pytest.mark.parametrize("kind", KINDS)
def test_an_odd_value_is_refused_or_answered_in_finite_numbers(kind: str) -> None:
    model, record = model_of(kind), asked_records(kind)[0]
    for field in model.fields:
        given = record[field.name]
        filled = [[value] * len(given) for value in ODD] if isinstance(given, list) else []
        for value in (*ODD, *filled):
            try:
                answer = model.respond([{**record, field.name: value}])
            except DanluError as error:
                said = str(error)
                answer = []
            else:
                said = ""
            assert "lenient" not in said, "respond has no such argument"
            assert all(math.isfinite(leaf) for leaf in jax.tree.leaves(answer) if isinstance(leaf, float)), value


@pytest.mark.parametrize("kind", KINDS)
def test_null_is_proposed_only_where_it_is_taken(kind: str) -> None:
    model = model_of(kind)
    with pytest.raises(SchemaError) as caught:
        model.respond([{}])
    assert ("null" in str(caught.value.hint)) == (
        kind in ("table", "quantity", "table-blend", "table-card", "bandit", "pages", "uplift", "segments", "rows")
    )


def _file(pixels: np.ndarray, **options: Any) -> str:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", **options)
    return base64.b64encode(file.getvalue()).decode()


def test_a_picture_in_base64_is_read_as_a_file_is() -> None:
    record, model = asked_records("image")[0], model_of("image")
    pixels, turned = np.array(record["image"], np.uint8)[..., 0], Image.Exif()
    turned[0x112] = 6  # to be turned by 90 degrees
    clear = np.dstack([np.zeros((12, 12, 3), np.uint8), 255 - pixels])  # black, which the white ground shows through
    same = (_file(pixels), _file(pixels.astype(np.uint16) * 257), _file(np.rot90(pixels), exif=turned), _file(clear))
    assert model.respond([{"image": each} for each in same]) == model.respond([record]) * 4
    with pytest.raises(SchemaError, match="truncated"):
        model.respond([{"image": same[0][:60]}])
    with pytest.raises(SchemaError, match="1, 3 or 4 channels"):
        model.respond([{"image": np.zeros((12, 12, 7), int).tolist()}])


def test_what_is_too_large_or_no_text_is_named() -> None:
    file = io.BytesIO()
    wavfile.write(file, 8000, np.full(1600, 1e30, np.float32))
    for sound, why in ((base64.b64encode(file.getvalue()).decode(), "not finite, or above"), (None, "not a text")):
        with pytest.raises(SchemaError, match=why):
            model_of("sound").respond([{"sound": sound}])
    record = asked_records("series")[0]
    with pytest.raises(SchemaError, match=r"'warm' holds 1e\+30, which is too far from its mean"):
        model_of("series").respond([{**record, "warm": [*record["warm"][:-1], 1e30]}])
    with pytest.raises(SchemaError, match="'load' holds a number that is too large"):
        model_of("series").respond([{**record, "load": [10**400, *record["load"][1:]]}])
    record = asked_records("sequence")[0]
    with pytest.raises(SchemaError, match="'a' of record 1 holds an infinite value"):
        model_of("sequence").respond([{**record, "a": [math.inf, *record["a"][1:]]}])


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("language", "translation")])
def test_what_is_no_source_is_refused_by_its_type(kind: str) -> None:
    model = model_of(kind)
    for source in (None, 3, {1, 2}, asked_records(kind)):
        with pytest.raises(DanluError) as caught:
            model.predict(source, say=lambda line: None)
        if model.reader.takes:
            assert f"received a {type(source).__name__}" in str(caught.value)
            assert "respond" in str(caught.value)


@pytest.mark.parametrize("kind", ["image", "multilabel", "segmentation", "detection"])
def test_an_array_of_pictures_has_no_true_answers(kind: str) -> None:
    with pytest.raises(SchemaError, match="the data lacks the t"):
        model_of(kind).evaluate(asked(kind, LAST / kind), say=lambda line: None)


def test_columns_to_keep_are_names() -> None:
    with pytest.raises(ConfigError, match="keep is 3; expected names of columns"):
        model_of("table").answers(str(LAST / "table" / "asked.csv"), keep=3, say=lambda line: None)


def test_a_number_is_no_date() -> None:
    """It would be seconds since 1970: 2024 a moment of that year."""
    model, record = model_of("table"), asked_records("table")[0]
    with pytest.raises(SchemaError, match="the number 2024 as 'day'; expected a date as a text"):
        model.respond([{**record, "day": 2024}])
    assert model.respond([{**record, "day": None}])


_DOUBTFUL: dict[str, tuple[Callable[[Any], Any], str]] = {
    "table": (lambda record: record | {"size": 1e6}, "column 'size': 1 value far outside the training range"),
    "quantity": (lambda record: record | {"city": "oslo"}, "column city: 1 value is read as .* 'oslo' as 'Oslo'"),
    "series": (lambda record: {name: values[::-1] for name, values in record.items()}, "record 1: .* were sorted"),
    "sequence": (lambda record: {name: values * 9 for name, values in record.items()}, "longer than the .* trained on"),
    "translation": (lambda record: {"source": "red " * 90}, "longer than any in training"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_doubtful_of_a_record_is_said(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    model, record, said = model_of(kind), asked_records(kind)[0], []
    model.respond([record], say=said.append)
    assert not said
    model.respond([{**record, "strange": 1}], say=said.append)
    assert said == ["the records have entries that the model does not use, which are ignored: 'strange'"]
    if kind in _DOUBTFUL:
        change, told = _DOUBTFUL[kind]
        model.respond([change(record)], say=said.append)
        assert re.search(told, said[-1])
        model.respond([change(record)])
        assert said[-1][:20] in capsys.readouterr().err


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_name_is_not_the_current_folder(kind: str) -> None:
    for asked_of in (model_of(kind).predict, model_of(kind).evaluate):
        with pytest.raises(DataError, match="the name of the data is empty"):
            asked_of("", say=lambda line: None)


def test_empty_texts_of_a_table_are_named_and_null_is_not():
    fields = (Field("age", "number"), Field("town", "category"), Field("story", "text"))
    records = [{"age": " ", "town": None, "story": ""}, {"age": 3, "town": "", "story": "x"}]
    (said,) = check_records(records, fields)
    assert said.endswith("'age' of record 1, 'town' of record 2")
    assert check_records([{"age": None, "town": "a", "story": ""}], fields) == ()
