"""Segments: how they are described, what is asked for, and that a target has no part in them."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from danlu.data import TableEncoder, infer_schema
from danlu.errors import ConfigError, DataError
from danlu.pipeline.config import config_from
from danlu.pipeline.domains import with_options
from danlu.pipeline.segments import Segmented
from danlu.segments import described

ROWS = 300


def table(seed: int = 0) -> tuple[pl.DataFrame, np.ndarray]:
    rng = np.random.default_rng(seed)
    group = rng.integers(0, 2, ROWS)
    spend = np.where(group == 0, rng.normal(100, 10, ROWS), rng.normal(300, 20, ROWS)).round(2)
    city = np.where(rng.random(ROWS) < 0.9, np.where(group == 0, "Bern", "Oslo"), "Roma")
    frame = pl.DataFrame(
        {"id": [f"c{i}" for i in range(ROWS)], "spend": spend, "city": city, "noise": rng.normal(size=ROWS)}
    )
    return frame.with_columns(pl.Series("churn", rng.choice(["yes", "no"], ROWS))), group


def test_a_segment_is_told_by_what_makes_it_different() -> None:
    (frame, group), (other, other_group) = table(0), table(1)
    columns = frame.drop("churn")
    encoder = TableEncoder.fit(columns, infer_schema(columns))
    first, second = described(encoder, frame, group, other, other_group, target=frame["churn"])
    assert first.differs[0].startswith("spend 98")
    assert "others 30" in first.differs[0]
    assert first.differs[1].startswith("city is ")
    assert len(first.differs) == 2
    assert second.rule.startswith("spend above ")
    assert second.precision.value > 0.95
    assert second.found > 0.95
    assert 0 < second.precision.low < 1
    assert first.target.startswith("churn: ")
    assert first.share == pytest.approx((group == 0).mean())


def test_a_target_and_what_names_rows_have_no_part() -> None:
    frame, _ = table()
    config = config_from({"data": {"target": "churn"}, "segments": {"k": 0}})
    prepared = Segmented().prepare(config, frame)
    assert [column.name for column in prepared.encoder.schema.features] == ["spend", "city", "noise"]
    assert prepared.target is not None
    assert prepared.target.name == "churn"
    said = " ".join(prepared.notices)
    assert "target 'churn' is not used to divide the rows" in said
    assert "column 'id' is left out: a different value" in said


@pytest.mark.parametrize(("given", "found"), [("", 0), ("4", 4), ("0", 0)])
def test_the_option_says_how_many(given: str, found: int) -> None:
    assert with_options({}, {"--segments": given})["segments"] == {"k": found}


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigError, match="--segments is 'four'; expected a whole number"):
        with_options({}, {"--segments": "four"})
    frame, _ = table()
    with pytest.raises(ConfigError, match=r"segments\.k is 1; expected 2 or more"):
        Segmented().prepare(config_from({"segments": {"k": 1}}), frame)
    with pytest.raises(DataError, match="expected 40 or more"):
        Segmented().prepare(config_from({"segments": {"k": 2}}), frame.head(40))
