"""scikit-learn's own checks: all of them, none excused."""

from typing import Any

import pytest
from sklearn.utils.estimator_checks import estimator_checks_generator, parametrize_with_checks

from danlu import Classifier, Regressor

SMALL = {
    "members": 2,
    "width": 16,
    "depth": 1,
    "epochs": 75,
    "kind": "network",
}  # the blend of the defaults is for the slow checks


@parametrize_with_checks([Classifier(**SMALL)])
def test_a_small_classifier_passes_every_check(estimator: Any, check: Any) -> None:
    check(estimator)


def test_a_small_regressor_passes_the_checks_of_regressors() -> None:
    own = [(each, check) for each, check in estimator_checks_generator(Regressor(**SMALL)) if "regressor" in str(check)]
    assert len(own) >= 4
    for estimator, check in own:
        check(estimator)


@pytest.mark.slow
@parametrize_with_checks([Regressor(**SMALL)])
def test_a_small_regressor_passes_every_check(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.mark.slow
@parametrize_with_checks([Classifier(), Regressor()])
def test_the_defaults_pass_every_check(estimator: Any, check: Any) -> None:
    check(estimator)
