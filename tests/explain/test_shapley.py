"""Shapley values against shap's, closed forms and the definition; samples against their own standard errors."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from danlu.errors import ConfigError, DataError
from danlu.explain import shapley_values

RNG = np.random.default_rng(0)
Function = Callable[[np.ndarray], np.ndarray]


@functools.cache
def adult() -> np.ndarray:
    """33 rows of adult's test part with 12 of its columns: numbers as they are, codes of levels. Becker & Kohavi (1996), CC BY 4.0."""
    frame = pl.read_csv(Path(__file__).with_name("adult.csv"))
    columns = [
        frame[name] if frame[name].dtype.is_numeric() else frame[name].rank("dense").cast(pl.Float64)
        for name in frame.columns
    ]
    return np.stack([column.cast(pl.Float64).to_numpy() for column in columns], axis=1)


def network(rows: np.ndarray) -> np.ndarray:
    """A fixed network of two layers on adult's rows, with products of columns in it."""
    rng = np.random.default_rng(7)
    x = (rows - adult().mean(axis=0)) / np.maximum(adult().std(axis=0), 1e-9)
    hidden = np.tanh(x @ rng.normal(size=(12, 16)) / 2)
    return 1 / (1 + np.exp(-(hidden @ rng.normal(size=16) + x[:, 0] * x[:, 3] * x[:, 10] / 4)))


def test_exact_values_of_adult_rows_are_those_of_shap(golden: Any) -> None:
    rows, background = adult()[:3], adult()[3:13]

    def shap(shap: Any) -> dict[str, np.ndarray]:
        masker = shap.maskers.Independent(background, max_samples=len(background))
        exact = shap.explainers.Exact(network, masker)(rows, max_evals=2**13)
        kernel = shap.KernelExplainer(network, background).shap_values(rows[:1], nsamples=2**12, l1_reg=0, silent=True)
        return {"exact": exact.values, "kernel": kernel, "base": exact.base_values}

    expected = golden("shap", shap)
    for place in range(3):
        found = shapley_values(network, rows[place : place + 1], background, exact=True)
        np.testing.assert_allclose(found.values, expected["exact"][place], atol=1e-8)
        np.testing.assert_allclose(found.base, expected["base"][place], atol=1e-12)
        assert found.is_exact
        assert abs(found.gap) < 1e-12
        assert found.scored <= found.coalitions
        if place == 0:
            np.testing.assert_allclose(found.values, expected["kernel"][0], atol=1e-5)


def by_definition(score: Function, row: np.ndarray, background: np.ndarray) -> np.ndarray:
    players = range(row.shape[1])

    def value(chosen: tuple[int, ...]) -> float:
        mixed = background.copy()
        mixed[:, list(chosen)] = row[0, list(chosen)]
        return float(score(mixed).mean())

    found = np.zeros(len(players))
    for i in players:
        others = [j for j in players if j != i]
        for size in range(len(players)):
            weight = math.factorial(size) * math.factorial(len(players) - size - 1) / math.factorial(len(players))
            for chosen in itertools.combinations(others, size):
                found[i] += weight * (value((*chosen, i)) - value(chosen))
    return found


def cubic(x: np.ndarray) -> np.ndarray:
    found: np.ndarray = x[:, 0] * x[:, 1] * x[:, 2] + np.sin(x[:, 3]) * x[:, 4] + x[:, 1]
    return found


def test_equal_columns_and_equal_rows_change_nothing() -> None:
    row, background = RNG.normal(size=(1, 5)), RNG.normal(size=(6, 5))
    background[0], background[1, 2], background[2, 1:4] = row[0], row[0, 2], row[0, 1:4]
    found = shapley_values(cubic, row, background)
    np.testing.assert_allclose(found.values, by_definition(cubic, row, background), atol=1e-12)
    assert found.coalitions == 1 + 16 + 4 + 3 * 32


@pytest.mark.parametrize("seed", range(3))
def test_samples_lie_within_three_standard_errors_and_add_up(seed: int) -> None:
    rng = np.random.default_rng(seed)
    row, background = rng.normal(size=(1, 5)), rng.normal(size=(4, 5))
    exact = shapley_values(cubic, row, background)
    found = shapley_values(cubic, row, background, exact=False, evaluations=600, seed=seed)
    assert not found.is_exact
    assert abs(found.gap) < 1e-12
    assert (np.abs(found.values - exact.values) <= 3 * found.errors + 1e-12).all()
    assert (found.errors[:3] > 1e-4).all()


def test_the_standard_errors_are_what_the_values_vary_by() -> None:
    row, background = np.random.default_rng(5).normal(size=(1, 5)), np.random.default_rng(6).normal(size=(3, 5))
    exact = shapley_values(cubic, row, background).values
    tries = [shapley_values(cubic, row, background, exact=False, evaluations=300, seed=seed) for seed in range(60)]
    apart = np.stack([(each.values - exact)[:3] for each in tries])
    said = np.sqrt(np.mean([each.errors[:3] ** 2 for each in tries], axis=0))
    np.testing.assert_allclose(np.sqrt((apart**2).mean(axis=0)) / said, 1, atol=0.3)


def test_of_a_line_and_of_a_sum_each_column_has_its_own_part() -> None:
    row, background, slope = RNG.normal(size=(1, 30)), RNG.normal(size=(9, 30)), RNG.normal(size=30)
    found = shapley_values(lambda x: x @ slope, row, background)  # 30 columns: sampled, and exact all the same
    np.testing.assert_allclose(found.values, slope * (row[0] - background.mean(axis=0)), atol=1e-12)
    added = shapley_values(lambda x: (x**3).sum(axis=1), row, background)
    np.testing.assert_allclose(added.values, (row[0] ** 3 - (background**3).mean(axis=0)), atol=1e-9)


def test_columns_of_one_group_are_one_player_and_others_are_no_ones() -> None:
    row = {"a": RNG.normal(size=(1, 3)), "b": RNG.integers(0, 9, (1, 2))}
    background = {"a": RNG.normal(size=(4, 3)), "b": RNG.integers(10, 19, (4, 2))}
    groups = {"a": np.array([0, 1, 0]), "b": np.array([1, -1])}

    def score(x: Any) -> np.ndarray:
        found: np.ndarray = x["a"][:, 0] * x["a"][:, 2] * x["b"][:, 0] + x["a"][:, 1] * x["b"][:, 1]
        return found

    found = shapley_values(score, row, background, groups)
    mixed = [{"a": background["a"].copy(), "b": background["b"].copy()} for _ in range(4)]
    for each in mixed:
        each["b"][:, 1] = row["b"][0, 1]
    for place in (1, 3):
        mixed[place]["a"][:, [0, 2]] = row["a"][0, [0, 2]]
    for place in (2, 3):
        mixed[place]["a"][:, 1], mixed[place]["b"][:, 0] = row["a"][0, 1], row["b"][0, 0]
    nobody, first, second, both = (score(each).mean() for each in mixed)
    np.testing.assert_allclose(
        found.values, [(first - nobody + both - second) / 2, (second - nobody + both - first) / 2]
    )


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: shapley_values(cubic, np.ones((1, 13)), np.zeros((2, 13)), exact=True), ConfigError, "13 columns"),
        (lambda: shapley_values(cubic, np.ones((1, 5)), np.zeros((0, 5))), DataError, "no background"),
        (lambda: shapley_values(cubic, np.ones((2, 5)), np.zeros((2, 5))), DataError, r"expected \(1, …\)"),
        (lambda: shapley_values(lambda x: x, np.ones((1, 5)), np.zeros((2, 5))), DataError, "one number a row"),
    ],
)
def test_errors(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
