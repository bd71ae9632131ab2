"""How answers depend on columns: against scikit-learn and closed forms."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import polars as pl
import pytest

from danlu.errors import ConfigError, DataError
from danlu.explain import accumulated_effects, interactions, partial_dependence, surrogate_tree

RNG = np.random.default_rng(0)


def test_partial_dependence_and_curves_are_those_of_scikit_learn() -> None:
    from sklearn.inspection import partial_dependence as theirs
    from sklearn.tree import DecisionTreeRegressor

    rows = RNG.normal(size=(40, 3))
    tree = DecisionTreeRegressor(max_depth=4, random_state=0).fit(rows, rows[:, 0] * rows[:, 1] + rows[:, 2])
    found = partial_dependence(tree.predict, rows, 1, points=7)
    values = np.array(found.points.values)
    expected = theirs(tree, rows, [1], custom_values={1: values}, kind="both", method="brute")
    np.testing.assert_allclose(found.mean, expected["average"][0])
    np.testing.assert_allclose(found.curves, expected["individual"][0])
    assert set(values) <= set(rows[:, 1])
    assert (values[0], values[-1]) == (rows[:, 1].min(), rows[:, 1].max())
    assert found.points.rows.sum() == 40
    assert partial_dependence(tree.predict, rows, 1, curves=9).curves.shape == (9, 20)


def _mixed(count: int = 60) -> pl.DataFrame:
    size = RNG.normal(size=count)
    return pl.DataFrame(
        {
            "size": [None if place % 7 == 0 else float(each) for place, each in enumerate(size)],
            "kind": [
                ("small", "middle", "large")[int(np.searchsorted([-0.5, 0.5], each + noise))]
                for each, noise in zip(size, RNG.normal(size=count) / 2, strict=True)
            ],
            "new": RNG.random(count) < 0.5,
            "day": [
                datetime.date(2024, 1, 1) + datetime.timedelta(days=int(each)) for each in RNG.integers(0, 90, count)
            ],
        }
    )


def _added(frame: pl.DataFrame) -> np.ndarray:
    """A term for each column, none with another."""
    kinds = frame["kind"].replace_strict({"small": 0.0, "middle": 5.0, "large": 1.0}, return_dtype=pl.Float64)
    days = frame["day"].dt.ordinal_day().cast(pl.Float64).sqrt()
    size = (frame["size"] ** 2).fill_null(-3.0)
    return np.asarray((size + kinds + frame["new"].cast(pl.Float64) * 2 + days).to_numpy(), np.float64)


def test_what_adds_up_has_its_own_terms_as_effects_and_no_interaction() -> None:
    frame = _mixed()
    for name in frame.columns:
        mean = partial_dependence(_added, frame, name, points=90)
        local = accumulated_effects(_added, frame, name, points=90)
        np.testing.assert_allclose(np.diff(local.values), np.diff(mean.mean), atol=1e-9)
    sizes = partial_dependence(_added, frame, "size")
    assert sizes.points.missing == 9
    level = float(_added(frame).mean()) - float((frame["size"] ** 2).fill_null(-3.0).mean())  # type: ignore[arg-type]
    assert sizes.missing == pytest.approx(level - 3.0)
    np.testing.assert_allclose(sizes.mean, level + np.square(sizes.points.values))
    kinds = accumulated_effects(_added, frame, "kind")
    assert kinds.values @ kinds.points.rows == pytest.approx(0)
    kinds = accumulated_effects(_added, _mixed(600), "kind")
    named = [kinds.points.values[place] for place in kinds.order]
    assert named in (["small", "middle", "large"], ["large", "middle", "small"])  # as they are alike in size
    some = frame.with_columns(new=pl.when(pl.col("kind") == "large").then(None).otherwise("new"))
    unknown = accumulated_effects(lambda rows: _added(rows.with_columns(new=rows["new"].fill_null(False))), some, "new")
    assert unknown.rows.tolist() == [some["new"].count()]
    pairs = interactions(_added, frame[:20], frame.columns)
    assert [each.strength for each in pairs] == [0.0] * 6
    assert not any(each.matters for each in pairs)


def test_local_effects_do_not_ask_of_rows_that_there_are_not() -> None:
    both = np.linspace(0, 1, 50)
    rows = np.stack([both, both], axis=1)

    def wild(x: np.ndarray) -> np.ndarray:  # where the two columns differ, as in no row, it says anything
        return np.asarray(x[:, 0] + 100 * np.maximum(np.abs(x[:, 0] - x[:, 1]) - 0.2, 0))

    assert np.ptp(accumulated_effects(wild, rows, 0, points=11).values) == pytest.approx(1)
    assert np.ptp(partial_dependence(wild, rows, 0, points=11).mean) > 5


def test_a_planted_interaction_comes_first_with_its_error() -> None:
    rows = RNG.normal(size=(40, 4))
    found = interactions(lambda x: x[:, 1] * x[:, 3] + x[:, 0] + 0.01 * x[:, 0] * x[:, 2], rows, [0, 1, 2, 3])
    assert found[0].columns == (1, 3)
    assert found[0].matters
    assert found[0].strength > 0.9
    assert found[0].size == pytest.approx(rows[:, 1].std() * rows[:, 3].std(), rel=0.5)
    assert {each.columns for each in found if each.size > 0} == {(1, 3), (0, 2)}
    other = interactions(lambda x: x[:, 1] * x[:, 3], RNG.normal(size=(40, 4)), [1, 3])[0]
    assert abs(other.size - found[0].size) < 4 * np.hypot(other.error, found[0].error)


def test_a_tree_finds_planted_rules_says_them_truly_and_does_not_boast() -> None:
    frame = _mixed(300)
    said = np.where((frame["kind"] == "large") | (frame["size"].fill_null(-9.0) < -1.2), "dear", "cheap")
    found = surrogate_tree(frame, said)
    assert found.fidelity > 0.95 > found.simple
    assert set(found.columns) == {"kind", "size"}
    assert "kind = large" in str(found)
    leaves = [rule for rule in found.rules if rule.answer is not None]
    assert sum(rule.rows for rule in leaves) == found.learnt == 200
    assert (found.predict(frame) == said).mean() > 0.97
    noise = surrogate_tree(frame, RNG.normal(size=300))
    assert noise.measure == "R²"
    assert noise.fidelity < 0.2
    days = surrogate_tree(
        frame.select("day"), (frame["day"] > datetime.date(2024, 2, 10)).cast(pl.Float64).to_numpy(), leaves=2
    )
    assert str(days).splitlines()[0] == "day ≤ 2024-02-10: 0.0"
    times = surrogate_tree(
        frame.select(pl.col("day").cast(pl.Datetime)),
        (frame["day"] > datetime.date(2024, 2, 10)).to_numpy().astype(str),
        leaves=2,
    )
    assert str(times).splitlines()[0] in ("day ≤ 2024-02-10: False", "day ≤ 2024-02-11: False")
    cuts = pl.DataFrame({"a": np.repeat(np.arange(60) * 0.3713, 5)})
    cut = surrogate_tree(cuts, (cuts["a"] > 10).cast(pl.Float64).to_numpy(), leaves=2)
    assert (
        str(cut).splitlines()[0] == "a ≤ 10: 0.0"
    )  # 9.65 and 10.03 are neighbours, and no digit is more than is needed
    assert (cut.predict(cuts) == (cuts["a"] > 10).to_numpy()).all()
    whole = surrogate_tree(frame, np.full(300, "cheap"))
    assert [(rule.condition, rule.answer) for rule in whole.rules] == [("always", "cheap")]


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda f, x: partial_dependence(f, x, "b"), ConfigError, "no column 'b'"),
        (lambda f, x: partial_dependence(f, x, "a", points=1), ConfigError, "points is 1"),
        (lambda f, x: accumulated_effects(f, x.with_columns(a=pl.lit(1.0)), "a"), DataError, "two different values"),
        (lambda f, x: partial_dependence(lambda rows: np.zeros(3), x, "a"), DataError, "one finite number a row"),
        (lambda f, x: interactions(f, x[:3], ["a", "c"]), DataError, "at least 4"),
        (lambda f, x: surrogate_tree(x, np.zeros(5)), DataError, "12 or more"),
        (lambda f, x: surrogate_tree(x, np.zeros(9), leaves=1), ConfigError, "leaves is 1"),
    ],
)
def test_what_cannot_be_is_one_message(call: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        call(lambda rows: rows["a"].to_numpy(), pl.DataFrame({"a": np.arange(9.0), "c": np.arange(9.0) % 2}))
