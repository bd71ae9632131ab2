"""Counts beside counts: bins, distances by hand and by SciPy, false alarms, and files."""

import numpy as np
import polars as pl
import pytest
from scipy import stats

from danlu.errors import ArtifactError
from danlu.evaluate.histograms import Histogram, drifts, profile_bytes, profile_from

RANDOM = np.random.default_rng(0)


def of(*values: object, name: str = "x") -> pl.Series:
    return pl.Series(name, values, strict=False)


def test_values_of_few_numbers_have_a_bin_each_and_the_ends_are_outside() -> None:
    found = Histogram.of(of(1.0, 2.0, 2.0, 5.0, None))
    assert found.counts.tolist() == [0, 1, 2, 1, 0]
    assert found.missing == 1
    assert found.count(of(0.9, 1.0, 5.0, 5.1, float("nan"))).counts.tolist() == [1, 1, 0, 1, 1]


def test_counts_add_up_in_pieces() -> None:
    values = pl.Series("x", RANDOM.normal(size=1000))
    whole = Histogram.of(values)
    pieces = whole.count(values[:300]) + whole.count(values[300:])
    assert pieces.counts.tolist() == whole.counts.tolist()
    assert len(whole.counts) == 66


def test_psi_of_levels_is_the_sum_by_hand() -> None:
    before = Histogram.of(pl.Series("x", ["a"] * 800 + ["b"] * 200))
    now = before.count(pl.Series("x", ["a"] * 500 + ["b"] * 500))
    p, q = np.array([800.5, 200.5]) / 1001, np.array([500.5, 500.5]) / 1001
    by_hand = ((q - p) * np.log(q / p)).sum() - (1 / 1000 + 1 / 1000)
    [found] = drifts([before], {"x": now})
    assert found.psi == pytest.approx(by_hand)
    assert found.distance == pytest.approx(0.3)
    assert found.sure
    assert "'b' in 20 % before, in 50 % now" in found.said or "'a' in 80 % before, in 50 % now" in found.said


def test_the_distance_of_numbers_is_that_of_scipy_to_the_width_of_a_bin() -> None:
    one, two = RANDOM.normal(size=2000), RANDOM.normal(0.4, 1.2, 500)
    before = Histogram.of(pl.Series("x", one))
    [found] = drifts([before], {"x": before.count(pl.Series("x", two))})
    theirs = stats.ks_2samp(one, two, method="asymp")
    assert theirs.statistic - 1 / 64 <= found.distance <= theirs.statistic + 1e-12
    assert found.sure


def test_values_that_are_gone_are_a_change() -> None:
    before = Histogram.of(pl.Series("x", RANDOM.normal(size=500)))
    now = before.count(pl.Series("x", [*RANDOM.normal(size=250), *[None] * 250], strict=False))
    [found] = drifts([before], {"x": now})
    assert found.sure
    assert "missing in 0 % before, in 50 % now" in found.said


def test_rows_of_the_same_kind_raise_no_alarm() -> None:
    alarms = 0
    for _ in range(40):
        names = [f"c{i}" for i in range(20)]
        before = [Histogram.of(pl.Series(name, RANDOM.normal(size=500))) for name in names]
        before += [Histogram.of(pl.Series(f"l{i}", RANDOM.integers(0, 8, 500).astype(str))) for i in range(5)]
        now = {each.name: each.count(pl.Series(RANDOM.normal(size=60))) for each in before if each.edges is not None}
        now |= {
            each.name: each.count(pl.Series(RANDOM.integers(0, 8, 60).astype(str))) for each in before if each.levels
        }
        alarms += any(each.sure for each in drifts(before, now))
    assert alarms <= 2  # a level of 0.01 for each set of 25


def test_a_large_sample_is_not_an_alarm_where_hardly_anything_changed() -> None:
    before = Histogram.of(pl.Series("x", RANDOM.normal(size=100_000)))
    [found] = drifts([before], {"x": before.count(pl.Series("x", RANDOM.normal(0.05, 1, 100_000)))})
    assert found.chance < 1e-6
    assert not found.sure


def test_few_rows_tell_nothing() -> None:
    before = Histogram.of(pl.Series("x", RANDOM.normal(size=500)))
    [found] = drifts([before], {"x": before.count(pl.Series("x", [100.0] * 10))})
    assert not found.enough
    assert not found.sure


def test_a_profile_comes_back_from_its_file_and_a_damaged_one_is_refused() -> None:
    profile = (Histogram.of(of(1.0, None, 3.0)), Histogram.of(of("a", "b", name="city")))
    found = profile_from(profile_bytes(profile))
    assert [each.as_dict() for each in found] == [each.as_dict() for each in profile]
    for bad in (b"{", b"[1]", b'[{"name": "x", "edges": [2, 1], "counts": [0, 0, 0], "missing": 0}]', b'{"a": 1}'):
        with pytest.raises(ArtifactError, match="damaged"):
            profile_from(bad)
