"""Initializers: moments and quantiles of many draws against the closed forms; orthogonality of the orthogonal one."""

from __future__ import annotations

from functools import partial
from statistics import NormalDist
from typing import Any

import jax
import numpy as np

from danlu.nn.initializers import INITIALIZERS
from danlu.verify.case import Check, case

__all__: list[str] = []

SHAPE = (400, 600)
STATISTICAL = "240,000 draws: the error of a standard deviation is 0.0015 by chance"
CUT = 2.0  # the truncated normal's, in standard deviations of the normal that is cut


def drawn(name: str) -> Any:
    return np.asarray(INITIALIZERS[name](jax.random.key(0), SHAPE), np.float64)


def normal_quantiles(at: Any, *, truncated: bool) -> Any:
    """Quantiles of a distribution of standard deviation 1: a normal, cut at ±2 and rescaled or not."""
    normal = NormalDist()
    if not truncated:
        return np.array([normal.inv_cdf(p) for p in at])
    tail = normal.cdf(-CUT)
    variance = 1 - 2 * CUT * normal.pdf(CUT) / (1 - 2 * tail)
    return np.array([normal.inv_cdf(tail + p * (1 - 2 * tail)) for p in at]) / np.sqrt(variance)


def compare(check: Check, name: str, stddev: float, shape: str) -> None:
    """Mean, standard deviation, quantiles and range, in units of the closed form's standard deviation."""
    values = drawn(name).ravel() / stddev
    at = np.array([0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98])
    if shape == "uniform":
        quantiles, largest = np.sqrt(3) * (2 * at - 1), np.sqrt(3)
    else:
        truncated = shape == "truncated"
        quantiles = normal_quantiles(at, truncated=truncated)
        largest = normal_quantiles(np.array([1 - 1e-12]), truncated=True)[0] if truncated else np.inf
    check([values.mean()], [0.0], oracle="closed form", floor=1.0)
    check([values.std()], [1.0], oracle="closed form")
    check(np.quantile(values, at), quantiles, oracle="closed form", floor=1.0)
    check([max(np.abs(values).max(), largest)], [largest], oracle="closed form")


def _register(name: str, stddev: float, shape: str) -> None:
    @case(f"initializer.{name}", tolerance=1e-2, reason=STATISTICAL)
    def run(check: Check) -> None:
        compare(check, name, stddev, shape)


INPUTS, OUTPUTS = SHAPE
_register("normal", 0.02, "normal")
_register("truncated_normal", 0.02, "truncated")
_register("glorot_normal", np.sqrt(2 / (INPUTS + OUTPUTS)), "truncated")
_register("glorot_uniform", np.sqrt(2 / (INPUTS + OUTPUTS)), "uniform")
_register("he_normal", np.sqrt(2 / INPUTS), "truncated")
_register("he_uniform", np.sqrt(2 / INPUTS), "uniform")
_register("lecun_normal", np.sqrt(1 / INPUTS), "truncated")
_register("lecun_uniform", np.sqrt(1 / INPUTS), "uniform")


@case("initializer.zeros")
def zeros(check: Check) -> None:
    check(drawn("zeros"), np.zeros(SHAPE), oracle="closed form")


@case("initializer.ones")
def ones(check: Check) -> None:
    check(drawn("ones"), np.ones(SHAPE), oracle="closed form")


@case("initializer.orthogonal")
def orthogonal(check: Check) -> None:
    for shape in ((40, 24), (24, 40), (3, 3, 4, 12)):
        q = jax.jit(partial(INITIALIZERS["orthogonal"].__call__, shape=shape))(jax.random.key(1))
        q = np.asarray(q, np.float64).reshape(-1, shape[-1])
        gram = q.T @ q if q.shape[0] >= q.shape[1] else q @ q.T
        check(gram, np.eye(len(gram)), oracle="closed form", floor=1.0)
