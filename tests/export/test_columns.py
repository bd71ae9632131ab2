"""The encoder of a table within a graph gives what the encoder itself gives, for usual and odd values of every kind of column."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

from danlu.data import infer_schema
from danlu.data.encode import TableEncoder
from danlu.export.graph import Graph
from danlu.export.kinds import kind_of

ort = pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

ROWS = 60


def frame() -> pl.DataFrame:
    random = np.random.default_rng(1)
    gap = pl.Series(random.random(ROWS) < 0.2)
    return pl.DataFrame(
        {
            "age": pl.Series(random.normal(40, 10, ROWS)).set(gap, None),
            "income": random.lognormal(8, 2, ROWS),
            "same": np.ones(ROWS),
            "city": random.choice(["Full Time", "New  York", "bern", "ＤＥ", "a", "A"], ROWS),
            "member": random.choice(["yes", "no"], ROWS),
            "day": [
                f"2024-{1 + place % 12:02}-{1 + place % 28:02} {place % 24:02}:{place:02}" for place in range(ROWS)
            ],
            "remark": [
                f"it's a {'good' if place % 2 else 'bad'} don't 北京{place % 3}, nr. {place}!" for place in range(ROWS)
            ],
            "cabin": pl.Series([f"{'ABC'[place % 3]}{place}" for place in range(ROWS)]).set(gap, None),
        }
    )


KINDS = {"member": "boolean", "remark": "text", "cabin": "categorical", "day": "datetime", "city": "categorical"}
ODD = pl.DataFrame(
    {
        "age": [np.nan, np.inf, 1e300, -1e300, 40.0, 5e-324, None, 1e9],
        "income": [0.0, -1.0, 1e308, np.nan, 3e3, None, -np.inf, 1.5],
        "same": [1.0, 2.0, None, np.nan, 1e300, -1e300, 0.0, 1.0],
        "city": ["full\u00a0 time", " BERN\t", "ｄｅ", "A", "a", "nowhere", None, "NEW YORK"],
        "member": ["TRUE", " n", "1", "0.0", "maybe", "", None, "No"],
        "day": [
            "2024-02-29",
            "2023-02-29",
            "1999-1-3 7:05",
            "2001-09-09T01:46:40.5",
            "soon",
            "",
            None,
            "1969-12-31 23:59:59",
        ],
        "remark": ["GOOD", "goods", "'good'", "x good-bad", "北", "don't bad's", None, "isn't it's"],
        "cabin": ["A1", " b 2", "ABC", "7", "C", "", None, "Ä"],
    }
)


def encoder(scaling: str) -> TableEncoder:
    schema = infer_schema(frame().with_columns(y=pl.Series([0, 1] * (ROWS // 2))), target="y", kinds=KINDS)
    columns = tuple(dataclasses.replace(each, merged=each.name == "city") for each in schema.columns)  # as a file's are
    schema = dataclasses.replace(schema, columns=columns)
    return TableEncoder.fit(frame(), schema, scaling=scaling, min_count=2)


def graph_of(fitted: TableEncoder) -> Callable[[pl.DataFrame], dict[str, np.ndarray]]:
    """What a graph with the encoder alone gives for rows."""
    graph, kind = Graph(), kind_of(fitted)
    for name, each in kind.encode(graph, fitted).items():
        graph.output(f"to {name}", each.name, each.dtype, ("rows", *each.shape))
    data = graph.model("encoder", {}, "0").SerializeToString()
    session = ort.InferenceSession(data, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_outputs()]

    def run(rows: pl.DataFrame) -> dict[str, np.ndarray]:
        found = session.run(names, kind.feed(fitted, rows))
        return {name.removeprefix("to "): each for name, each in zip(names, found, strict=True)}

    return run


@pytest.mark.parametrize("scaling", ["standard", "robust", "quantile"])
def test_graph_encodes_as_the_encoder_does(scaling: str) -> None:
    fitted = encoder(scaling)
    assert {name for name, _ in fitted.words} == {"remark"}
    assert {name for name, _ in fitted.dates} == {"day"}
    assert (fitted.transform(ODD)["categorical"][:, 0] > 0).sum() == 6, "other spellings of cities are read as them"
    run = graph_of(fitted)
    for rows in (frame(), ODD, *(ODD[place : place + 1] for place in range(ODD.height))):
        expected, found = fitted.transform(rows), run(rows)
        assert found.keys() == expected.keys() == {"numeric", "categorical", "text"}
        np.testing.assert_array_equal(found["categorical"], expected["categorical"])
        np.testing.assert_array_equal(found["text"], expected["text"])
        np.testing.assert_allclose(found["numeric"], expected["numeric"], rtol=1e-6, atol=1e-6)
