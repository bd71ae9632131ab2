"""scikit-learn's own checks: all of them, none excused."""

from collections.abc import Iterator
from typing import Any

import jax
import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from danlu import Classifier, Regressor

SMALL = {"members": 2, "width": 16, "depth": 1}


@pytest.fixture(autouse=True)
def quick_compiles(request: pytest.FixtureRequest) -> Iterator[None]:
    """The checks fit some fifty tables of different shapes: nearly all the time is XLA's, so it is told to hurry."""
    slow = request.node.get_closest_marker("slow") is not None
    jax.config.update("jax_disable_most_optimizations", not slow)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@parametrize_with_checks([Classifier(**SMALL), Regressor(**SMALL)])
def test_a_small_network_passes_every_check(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.mark.slow
@parametrize_with_checks([Classifier(), Regressor()])
def test_the_defaults_pass_every_check(estimator: Any, check: Any) -> None:
    check(estimator)
