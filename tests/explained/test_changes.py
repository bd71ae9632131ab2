"""What would change an answer, where it is known: of models whose answer is linear."""

from typing import Any

import numpy as np
import polars as pl
import pytest
from golden_rows import GOLDEN, of_size_alone

import danlu
from danlu.explain import counterfactuals
from danlu.pipeline.explain import explain_records

quiet: Any = lambda notice: None  # noqa: E731


def linear(weights: np.ndarray, lacks: float, *, most: float = 1.0) -> Any:
    """Changes of a row at 0 whose score, ``weights · x``, is to rise by ``lacks``; each column may go from −most to most."""
    names = [f"x{place}" for place in range(len(weights))]
    margin = lambda changes: np.array(  # noqa: E731
        [sum(w * each.get(name, 0.0) for w, name in zip(weights, names, strict=True)) - lacks for each in changes]
    )
    choices = [(float(value), abs(float(value))) for value in np.linspace(-most, most, 11) if value]

    def finer(name: str, near: Any, far: Any) -> list[tuple[float, float]]:
        return [(float(value), abs(float(value))) for value in np.linspace(near or 0.0, far, 12)[1:]]

    return counterfactuals(margin, dict.fromkeys(names, choices), finer=finer)


def test_the_nearest_change_of_a_linear_answer_is_that_of_the_steepest_column() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        weights = rng.normal(size=4)
        steepest = int(np.argmax(np.abs(weights)))
        lacks = 0.7 * float(np.abs(weights[steepest]))
        best = linear(weights, lacks)[0]
        assert best.columns == {f"x{steepest}"}
        assert best.cost == pytest.approx(0.7, abs=1e-4)  # |Δ| = lacks / |w|, exactly


def test_of_two_columns_the_steeper_one_is_changed_as_far_as_it_goes() -> None:
    best = linear(np.array([2.0, 1.0]), 2.5)[0]
    assert best.values["x0"] == pytest.approx(1.0)
    assert best.values["x1"] == pytest.approx(0.5, abs=1e-4)  # the least Σ|Δ| with 2·Δ0 + Δ1 = 2.5
    assert best.cost == pytest.approx(1.5, abs=1e-4)


def test_of_a_table_the_boundary_is_found_in_the_digits_of_its_column() -> None:
    model = of_size_alone()  # "dear" where the scaled size is above 0
    rows = pl.read_csv(GOLDEN / "table-blend" / "asked.csv", try_parse_dates=True)
    background = pl.concat([rows, rows.with_columns(size=pl.lit(23.0)), rows.with_columns(size=pl.lit(73.9))])
    record = {**rows.row(0, named=True), "size": 30, "day": "2024-03-05"}  # a whole number, in a column that has others
    [found] = explain_records(model, [record], background=background, attributions=False, say=quiet)
    [best, *_] = found["counterfactuals"]
    assert set(best["changes"]) == {"size"}
    said = lambda size: model.respond([{**record, "size": size}], say=quiet)[0]["price"]  # noqa: E731
    value = best["changes"]["size"]
    assert round(value, 1) == value
    assert said(value) == best["answer"]["price"] == "dear"
    assert said(round(value - 0.1, 1)) == "cheap"  # a step less is not enough


def test_what_is_kept_is_not_changed() -> None:
    model = of_size_alone()
    rows = pl.read_csv(GOLDEN / "table-blend" / "asked.csv", try_parse_dates=True)
    record = {**rows.row(0, named=True), "day": "2024-03-05"}
    how: dict[str, Any] = {"background": rows, "say": quiet}
    [found] = explain_records(model, [record], keep=["size"], **how)
    assert found["counterfactuals"] == []
    assert found["row"] == "record 1"
    assert sum(part["added"] for part in found["parts"]) == pytest.approx(found["value"] - found["base"])


def test_no_training_row_is_shown_to_who_asks_a_service() -> None:
    model = danlu.load(GOLDEN / "table" / "model")
    rows = pl.read_csv(GOLDEN / "table" / "asked.csv", try_parse_dates=True)
    record = {**rows.row(0, named=True), "day": "2024-03-05"}
    how: dict[str, Any] = {"background": rows, "changes": 0, "say": quiet}
    explain: Any = danlu.explain
    assert "alike" in explain(model, rows, rows=[1], **how)[0].data, "which its owner sees"
    assert "alike" not in explain_records(model, [record], **how)[0]
