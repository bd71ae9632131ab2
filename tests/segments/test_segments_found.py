"""Segments: how they are described, what is asked for, and that a target has no part in them."""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl
import pytest

from danlu.data import TableEncoder, infer_schema
from danlu.data.seen import row_hashes
from danlu.errors import ConfigError, DataError
from danlu.pipeline import segments as pipeline_segments
from danlu.pipeline.config import config_from
from danlu.pipeline.domain import Domain
from danlu.pipeline.domains import with_options
from danlu.pipeline.segments import Segmented
from danlu.pipeline.synthesize import MadeRows
from danlu.segments import choose, described
from danlu.segments.alone import without_segments
from danlu.segments.head import Segmenting
from danlu.trained import Trained
from danlu.trained.learned import Learned

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


def test_one_hill_yes_or_no_and_a_bent_network_make_no_segments() -> None:
    """One number, and one column of two values, are divided reliably, and rows without segments are too."""
    rng, rows = np.random.default_rng(0), 120
    for columns, least, clear in (
        ({"x": rng.normal(size=rows)}, 0.4, False),
        ({"x": rng.normal(size=rows), "flag": rng.choice(["yes", "no"], rows)}, 0.9, False),
        ({"x": np.where(rng.random(rows) < 0.5, 0, 9) + rng.normal(size=rows)}, 0.9, True),
    ):
        frame = pl.DataFrame(columns)
        encoder = TableEncoder.fit(frame, infer_schema(frame))
        encoded = encoder.transform(frame)
        draw = without_segments(encoder, encoded)

        def bent(rows: dict[str, np.ndarray]) -> np.ndarray:
            x = rows["numeric"].astype(float)
            codes = 3.0 * rows["categorical"] if "categorical" in rows else np.maximum(x, 0.3)
            return np.concatenate([x, codes], axis=1)

        found = choose(bent(encoded), k=2, cloud=lambda rng, count, draw=draw: bent(draw(rng, count)))
        assert found.strength[0] > least
        assert found.clear is clear


def test_rows_without_segments_keep_gaps_and_shares() -> None:
    rng = np.random.default_rng(1)
    x = [None if rng.random() < 0.4 else float(value) for value in rng.normal(size=ROWS)]
    frame = pl.DataFrame({"x": x, "kind": rng.choice(["a", "b", "c"], ROWS, p=[0.7, 0.2, 0.1])})
    encoder = TableEncoder.fit(frame, infer_schema(frame))
    encoded = encoder.transform(frame)
    drawn = without_segments(encoder, encoded)(rng, ROWS)
    for given, found in (
        (encoded["numeric"][:, 1], drawn["numeric"][:, 1]),
        *zip(encoded["categorical"].T, drawn["categorical"].T, strict=True),
    ):
        assert np.array_equal(np.sort(given), np.sort(found))
    gap = drawn["numeric"][:, 1] > 0
    assert np.ptp(drawn["numeric"][gap, 0]) == 0
    assert np.isin(drawn["numeric"], encoded["numeric"]).all()


def test_a_day_is_told_as_a_day_and_a_gap_as_missing() -> None:
    group = np.arange(200) % 2
    days = [dt.date(2020, 1, 1) + dt.timedelta(days=int(900 * each + at % 30)) for at, each in enumerate(group)]
    other = [None if each and at % 3 else float(at % 7) for at, each in enumerate(group)]
    frame = pl.DataFrame({"day": days, "x": other})
    encoder = TableEncoder.fit(frame, infer_schema(frame))
    first, second = described(encoder, frame, group, frame, group)
    assert "day 2020-01-14 (2020-01-12 to 2020-01-16), others 2022-07-03" in " ".join(first.differs)
    assert any(each.startswith("x is missing in ") for each in second.differs)
    assert "above 2021-" in second.rule or "above 2022-" in second.rule or "x is missing" in second.rule


def test_rows_that_were_divided_are_known_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that danlu evaluate says which rows are new."""
    untrained = Trained(None, None, None, None, Segmenting(("all",), "", False))  # type: ignore[arg-type]
    monkeypatch.setattr(pipeline_segments, "learn_segments", lambda *parts, **how: Learned(untrained, None))  # type: ignore[arg-type]
    config = config_from({"data": {"target": "churn"}, "segments": {"k": 0}})
    prepared = Segmented().prepare(config, table()[0])
    seen = Segmented().learn(config, prepared, None).model.seen
    known = [
        np.isin(row_hashes(prepared.encoded(place), np.zeros(prepared.shown[place].height)), seen) for place in range(3)
    ]
    assert known[0].all()
    assert known[1].all()
    assert not known[2].any()


@pytest.mark.parametrize(
    ("domain", "section"),
    [(Segmented(), {"segments": {"k": 0}}), (MadeRows(), {"synthesize": {"model": "autoregressive"}})],
)
def test_rows_of_few_kinds_are_in_every_part_as_often_as_they_are(domain: Domain, section: dict[str, object]) -> None:
    """Equal rows in one part would leave kinds of rows out of what is learnt from."""
    frame = pl.DataFrame(
        {name: np.random.default_rng(7).choice(["y", "n"], (600, 4))[:, k] for k, name in enumerate("abcd")}
    )
    prepared = domain.prepare(config_from(section), frame)
    part = prepared.encoded(0)["categorical"] if isinstance(domain, Segmented) else prepared.train["cell"]
    kinds, counts = np.unique(part, axis=0, return_counts=True)
    assert len(kinds) == 16
    assert counts.min() > 10
