"""Slices: planted ones are found and sure, chance is not, and the search is that of brute force."""

from __future__ import annotations

import dataclasses
import itertools
import json

import numpy as np
import polars as pl
import pytest

from danlu.errors import ConfigError, DataError
from danlu.evaluate import Rows, Slices, worst_slices
from danlu.evaluate.slice_lines import slice_lines
from danlu.evaluate.slices import _atoms, _search


def drawn(rows: int, seed: int = 0) -> tuple[pl.DataFrame, np.random.Generator]:
    rng = np.random.default_rng(seed)
    frame = pl.DataFrame(
        {
            "age": rng.integers(18, 90, rows),
            "sex": rng.choice(["f", "m"], rows),
            "town": [[*"abc", None][code] for code in rng.integers(0, 4, rows)],
            "name": [f"n{i}" for i in range(rows)],
        }
    )
    return frame, rng


def classes(wrong: np.ndarray, rng: np.random.Generator) -> Rows:
    """Two classes, of which a row is answered wrongly with this probability."""
    truth = rng.integers(0, 2, len(wrong))
    sure = np.where(rng.random(len(wrong)) < wrong, 0.3, 0.7)
    p = np.where(truth == 1, sure, 1 - sure)
    return Rows("binary", truth, np.stack([1 - p, p], axis=1))


def test_a_planted_slice_of_two_conditions_is_first_and_sure():
    frame, rng = drawn(1600)
    planted = ((frame["sex"] == "f") & (frame["town"] == "b")).fill_null(value=False).to_numpy()
    found = worst_slices(classes(np.where(planted, 0.6, 0.1), rng), frame)
    first = found.slices[0]
    assert set(first.conditions) == {"sex is f", "town is b"}
    assert first.worse
    assert first.right.value < 0.55 < found.right
    assert first.rows == pytest.approx(planted.sum() / 2, rel=0.25)
    assert found.searched + found.judged == 1600
    again = Slices.from_dict(json.loads(json.dumps(found.as_dict())))
    assert slice_lines(again) == slice_lines(found)
    assert max(len(line) for text in slice_lines(found) for line in text.split("\n")) <= 80
    turned = dataclasses.replace(
        first, difference=dataclasses.replace(first.difference, value=-0.1, low=-0.3, high=0.2)
    )
    told = " ".join("\n".join(slice_lines(dataclasses.replace(found, slices=(turned,)))).split())
    assert "0.1 better (−0.2 to 0.3)" in told
    assert "the one slice that looked worst was judged" in told
    surely = dataclasses.replace(found, slices=tuple(each for each in found.slices if each.worse))
    assert slice_lines(found, "danlu show r")[1:] == slice_lines(surely)[1:]
    short = slice_lines(dataclasses.replace(found, slices=(turned,)), "danlu show r")
    assert len(short) == 1
    assert "is surely worse than the other rows; those that looked worst: danlu show r" in " ".join(short[0].split())


def test_numbers_and_missing_values_are_conditions():
    frame, rng = drawn(1200)
    old = (frame["age"] >= 72).to_numpy()
    lost = frame["town"].is_null().to_numpy()
    error = rng.normal(size=1200) * np.where(old | lost, 4, 1)
    names = {each.name for each in worst_slices(Rows("regression", np.zeros(1200), error), frame).slices if each.worse}
    assert "town is missing" in names
    assert any(name.startswith("age ") and name.endswith("or more") for name in names)


def test_chance_is_not_told_as_worse():
    alarms = 0
    for seed in range(20):
        frame, rng = drawn(400, seed)
        found = worst_slices(classes(np.full(400, 0.2), rng), frame)
        assert found.slices, "something always looks worst"
        alarms += any(each.worse for each in found.slices)
    assert alarms <= 3, "5 of 100, and what chance adds"


def test_the_search_finds_what_brute_force_finds():
    frame, rng = drawn(300, 3)
    loss = rng.exponential(size=300) * np.where(frame["age"] > 60, 2, 1)
    atoms = _atoms(frame)
    found, _ = _search(loss, atoms, 3, 20)

    def score(mask: np.ndarray) -> float:
        if min(mask.sum(), (~mask).sum()) < 20:
            return -np.inf
        parts = loss[mask], loss[~mask]
        return (parts[0].mean() - parts[1].mean()) / np.sqrt(sum(part.var(ddof=1) / len(part) for part in parts))

    every = [
        score(np.logical_and.reduce([mask for _, mask in some]))
        for count in (1, 2, 3)
        for some in itertools.combinations(atoms, count)
    ]
    assert found[0].score == pytest.approx(max(every), rel=1e-4)


def test_rows_that_belong_together_are_in_one_half_and_widen_the_intervals():
    frame, rng = drawn(600)
    town = frame["sex"].to_numpy() == "f"
    error = np.repeat(rng.normal(size=120), 5) * np.where(town, 3, 1)
    alone, together = (
        worst_slices(Rows("regression", np.zeros(600), error, groups=own), frame.select("sex"))
        for own in (None, np.repeat(np.arange(120), 5))
    )
    assert together.searched % 5 == 0
    width = [each.slices[0].difference.high - each.slices[0].difference.low for each in (alone, together)]
    assert width[1] > 1.4 * width[0]


def test_too_few_rows_and_wrong_arguments_are_said():
    frame, rng = drawn(60)
    found = worst_slices(classes(np.full(60, 0.2), rng), frame)
    assert not found.slices
    assert "60 rows are too few" in slice_lines(found)[0]
    with pytest.raises(DataError, match="columns of 60 rows for 2 rows"):
        worst_slices(Rows("regression", [0.0, 1.0], [0.0, 1.0]), frame)
    with pytest.raises(ConfigError, match="expected at least 1"):
        worst_slices(classes(np.full(60, 0.2), rng), frame, conditions=0)
