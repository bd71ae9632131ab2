"""What a column is, and what task a target poses."""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl
import pytest

from danlu.data import Schema, infer_schema, infer_task
from danlu.data.describe import told_of
from danlu.data.kinds import as_kind
from danlu.errors import ArtifactError, ConfigError, DataError

DAY = dt.datetime(2024, 1, 1)
ROWS = 60
TEXTS = [f"the {word} was number {i} on the list" for i, word in enumerate(["room", "meal", "view"] * 20)]
REVIEWS = ["这家店的味道很好" + "啊" * (i % 7) + str(i) for i in range(ROWS)]


@pytest.mark.parametrize(
    ("name", "values", "kind", "used"),
    [
        ("age", list(range(20, 50)) * 2, "numeric", True),
        ("level", [1, 2, 3] * 20, "numeric", True),
        ("price", np.linspace(0, 1, ROWS), "numeric", True),
        ("member", [True, False, None] * 20, "boolean", True),
        ("city", ["Bern", "Oslo", "Rome"] * 20, "categorical", True),
        ("when", [DAY + dt.timedelta(hours=i) for i in range(ROWS)], "datetime", True),
        ("review", TEXTS, "text", True),
        ("chinese", REVIEWS, "text", True),
        ("order", [f"A-{i * 7919 % 1000:04}" for i in range(ROWS)], "identifier", False),
        ("PassengerId", [i * 17 for i in range(ROWS)], "identifier", False),
        ("row", list(range(ROWS)), "identifier", False),
        ("Lfd. Nr.", [i * 17 for i in range(ROWS)], "identifier", False),
        ("编号", [i * 17 for i in range(ROWS)], "identifier", False),
        ("用户ID", [None, 17, *range(40, ROWS + 38)], "identifier", False),
        ("case no", [7, 7, *range(40, ROWS + 38)], "identifier", False),
        ("rooms no more", [i * 17 for i in range(ROWS)], "numeric", True),
        ("counter", list(range(1, ROWS + 1)), "identifier", False),
        ("same", [7] * ROWS, "numeric", False),
        ("empty", [None] * ROWS, "categorical", False),
        ("seldom", ["x", *[None] * (ROWS - 1)], "categorical", True),
    ],
)
def test_the_kind_of_a_column(name: str, values: list, kind: str, used: bool) -> None:
    frame = pl.DataFrame({name: values, "other": [0.5, 1.5] * 30, "y": ["a", "b"] * 30})
    column = infer_schema(frame, target="y")[name]
    assert (column.kind, column.used) == (kind, used)
    assert bool(column.reason) == (not used or kind == "text")


def test_what_is_recorded_of_a_column() -> None:
    frame = pl.DataFrame({"x": [1, 2, None, 5], "c": ["a", "b", "b", None], "y": [0, 1, 0, 1]})
    schema = infer_schema(frame, target="y")
    x, c = schema["x"], schema["c"]
    assert (x.minimum, x.maximum, x.mean, x.whole, x.missing, x.distinct) == (1, 5, pytest.approx(8 / 3), True, 1, 3)
    assert (c.categories, c.missing, c.distinct, c.is_open) == (("b", "a"), 1, 2, False)
    assert schema.rows == 4
    assert [column.name for column in schema.features] == ["x", "c"]
    assert schema.target == "y"


def test_a_column_of_many_levels_is_open() -> None:
    frame = pl.DataFrame({"c": [f"level {i % 150}" for i in range(600)], "y": [0, 1] * 300})
    column = infer_schema(frame, target="y")["c"]
    assert column.is_open
    assert len(column.categories) == 100


def test_the_user_knows_better() -> None:
    frame = pl.DataFrame(
        {"zip": [1, 2, 3] * 4, "id": [f"u{i}" for i in range(12)], "x": [1.5, 2.5] * 6, "y": [0, 1] * 6}
    )
    schema = infer_schema(frame, target="y", kinds={"zip": "categorical", "id": "categorical"}, drop=["x"])
    assert schema["zip"].categories == ("1", "2", "3")
    assert schema["id"].used
    assert (schema["x"].used, schema["x"].reason) == (False, "you left it out")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"target": "Y"}, DataError, "unknown column 'Y'; expected one of: x, y\nHint: did you mean 'y'"),
        (
            {"kinds": {"x": "number"}},
            ConfigError,
            "unknown kind of column 'x': 'number'.*\nHint: did you mean 'numeric'",
        ),
        ({"drop": ["z"]}, DataError, "unknown column 'z'"),
        ({"target": "y", "drop": ["x"]}, DataError, r"no column is left to predict 'y' from \(x: you left it out\)"),
    ],
)
def test_options_that_do_not_fit(options: dict, error: type[Exception], message: str) -> None:
    frame = pl.DataFrame({"x": [1.5, 2.5, 3.5], "y": [0, 1, 1]})
    with pytest.raises(error, match=message):
        infer_schema(frame, **options)


def test_a_lone_counter_is_what_there_is_to_learn_from() -> None:
    frame = pl.DataFrame({"t": range(50), "y": np.sin(np.arange(50))})
    assert infer_schema(frame, target="y")["t"].kind == "numeric"


def test_schema_survives_json_and_shows_itself() -> None:
    import json

    frame = pl.DataFrame(
        {"名<b>": ["a", None, "b"] * 5, "x": [0.1, 2.0, None] * 5, "when": [DAY] * 15, "y": [0, 1, 1] * 5}
    )
    schema = infer_schema(frame, target="y")
    assert Schema.from_json(json.loads(json.dumps(schema.to_json()))) == schema
    text = str(schema)
    assert "15 rows, 4 columns, 2 used" in text
    assert "it is constant" in text
    assert "名&lt;b&gt;" in schema._repr_html_()
    assert max(len(line) for line in text.splitlines()) <= 80
    many = infer_schema(pl.DataFrame({"who": list("abcdef") * 5, "y": [0, 1] * 15}), target="y")
    assert "6: a, b, c, d, …" in str(many)


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.pop("columns"),
        lambda data: data["columns"][0].pop("kind"),
        lambda data: data["columns"][0].update(kind="colour"),
        lambda data: data["columns"][0].update(kind=["numeric"]),
        lambda data: data["columns"][0].update(extra=1),
        lambda data: data["columns"].append(7),
        lambda data: data.update(rows="many"),
        lambda data: data.update(columns=None),
    ],
)
def test_damaged_schemas_are_refused(change) -> None:
    data = infer_schema(pl.DataFrame({"x": [1.5, 2.5], "y": [0, 1]}), target="y").to_json()
    change(data)
    with pytest.raises(ArtifactError, match="the saved schema is not valid"):
        Schema.from_json(data)


OPTIONAL = ("minimum", "maximum", "mean", "format")


@pytest.mark.parametrize("value", [None, "evil:Thing", 0.5, ["x"], {"type": "evil"}, [0], True], ids=str)
def test_a_field_of_another_type_is_refused_and_not_used(value) -> None:
    """Any field of any column: it is as it was, or refused when the model is loaded."""
    frame = pl.DataFrame({"x": [1.5, 2.5, 4.0] * 5, "word": ["a", "b", "b"] * 5, "y": [0, 1, 1] * 5})
    saved = infer_schema(frame, target="y").to_json()
    for number, column in enumerate(saved["columns"]):
        for name, right in column.items():
            body = {**column, name: value}
            columns = [*saved["columns"][:number], body, *saved["columns"][number + 1 :]]
            if type(value) is type(right) or (right is None and value == 0.5) or (value is None and name in OPTIONAL):
                continue
            if isinstance(right, float) and isinstance(value, float | int) and not isinstance(value, bool):
                continue
            with pytest.raises(ArtifactError):
                Schema.from_json({**saved, "columns": columns})
    if not isinstance(value, str | None):
        with pytest.raises(ArtifactError):
            Schema.from_json({**saved, "target": value})


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        (["1,234", "x", " 2 ", "?"], "numeric", [1234.0, None, 2.0, None]),
        ([True, False, None], "numeric", [1, 0, None]),
        ([DAY, None], "numeric", [1704067200.0, None]),
        (["Yes", "n", "T", "0", "maybe"], "boolean", [True, False, True, False, None]),
        ([1, 0, 2, None], "boolean", [True, False, None, None]),
        ([1.0, 0.0], "boolean", [True, False]),
        (["2024-01-01", "oops"], "datetime", [DAY, None]),
        ([1704067200, None], "datetime", [DAY, None]),
        ([1.0, 2.5, None], "categorical", ["1", "2.5", None]),
        ([True, False], "text", ["true", "false"]),
        ([DAY, DAY + dt.timedelta(hours=1)], "categorical", ["2024-01-01", "2024-01-01T01:00:00"]),
    ],
)
def test_values_in_the_type_of_a_kind(values: list, kind: str, expected: list) -> None:
    assert as_kind(pl.Series("x", values), kind).to_list() == expected


# --- the task ---


@pytest.mark.parametrize(
    ("values", "task", "classes"),
    [
        (["no", "yes"] * 10, "binary", ("no", "yes")),
        ([True, False] * 10, "binary", ("false", "true")),
        ([0, 1] * 10, "binary", ("0", "1")),
        ([1.0, 2.0] * 10, "binary", ("1", "2")),
        ([-1, 1] * 10, "binary", ("-1", "1")),
        (["a10", "a9", "b"] * 10, "multiclass", ("a9", "a10", "b")),
        ([3, 4, 5, 6] * 20, "multiclass", ("3", "4", "5", "6")),
        ([1.5, 2.5, 3.5] * 10, "regression", ()),
        (list(range(21)) * 10, "regression", ()),
        ([0, 10, 1000] * 10, "regression", ()),
        ([1, 2, 3, 4], "regression", ()),
    ],
)
def test_the_task_of_a_target(values: list, task: str, classes: tuple[str, ...]) -> None:
    found = infer_task(pl.Series("y", values))
    assert (found.task, found.classes) == (task, classes)
    assert found.reason
    assert infer_task(pl.Series("y", [*values, None])).task == task


@pytest.mark.parametrize(
    ("values", "task", "message"),
    [
        ([None, None], None, "the target 'y' has no values"),
        (["", " "], None, "the target 'y' has no values"),
        ([3, 3, 3], None, "the same value in every row: '3'"),
        ([DAY, DAY + dt.timedelta(1)], None, "is a date-time; expected numbers or classes"),
        ([f"id{i}" for i in range(100)], None, "100 different values in 100 rows; too many to be classes"),
        (["a", "b", "c"], None, "3 classes and one row of each"),
        (["a", "b", "a"], "regression", "holds texts .'a', 'b'.; regression needs numbers"),
        (["a", "b", "c"] * 5, "binary", "3 classes; a binary task has two"),
        ([1.0, float("inf"), 2.5], None, "holds infinite values"),
    ],
)
def test_targets_that_cannot_be_learnt(values: list, task: str | None, message: str) -> None:
    with pytest.raises(DataError, match=message):
        infer_task(pl.Series("y", values), task=task)


def test_the_users_task_is_kept() -> None:
    assert infer_task(pl.Series("y", [1, 2, 3, 4] * 10), task="regression").task == "regression"
    assert infer_task(pl.Series("y", ["a", "b"] * 10), task="multiclass").task == "multiclass"
    with pytest.raises(ConfigError, match="unknown task 'classify'"):
        infer_task(pl.Series("y", [0, 1]), task="classify")


def test_a_class_of_one_row_is_told() -> None:
    assert infer_task(pl.Series("y", ["a", "b", "b"])).notices == ("1 classes of y have one row only: a",)


def test_the_extent_of_a_column_is_readable() -> None:
    moments = [dt.datetime(2024, 1, 5), dt.datetime(2023, 12, 31)]
    frame = pl.DataFrame({"price": [14_690, 1_986_231], "size": [0.5, 20.25], "day": moments, "kind": ["a", "b"]})
    schema = infer_schema(frame)
    assert [column.extent for column in schema.columns] == [
        "14690 … 1986231",
        "0.5 … 20.25",
        "2023-12-31 … 2024-01-05",
        "",
    ]
    assert "2023-12-31 … 2024-01-05" in str(schema)
    later = frame.with_columns(pl.col("day").dt.offset_by("90m"))
    assert infer_schema(later)["day"].extent == "2023-12-31 01:30 … 2024-01-05 01:30"


def test_infinite_numbers_are_told_of() -> None:
    frame = pl.DataFrame({"x": [1.5, float("inf"), 2.5, -float("inf")], "y": [0, 1, 0, 1]})
    (note,) = told_of(frame, infer_schema(frame, target="y"))
    assert note == "column x: 2 of 4 values are infinite and count as missing"
