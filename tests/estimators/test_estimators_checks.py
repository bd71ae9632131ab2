"""scikit-learn's own checks: all of them, none excused. Those that train only to see what another test sees too are slow."""

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
REPEATED = {  # and what sees the same in each run
    "check_class_weight_classifiers": "test_answers_to_imbalance_find_more_of_the_rare_class",
    "check_classifiers_train(readonly_memmap=True)": "check_classifiers_train, check_readonly_memmap_input",
    "check_classifiers_train(readonly_memmap=True,X_dtype=float32)": "check_classifiers_train, check_estimators_dtypes",
    "check_fit_check_is_fitted": "check_estimators_unfitted, and each test that predicts",
    "check_fit_idempotent": "check_sample_weight_equivalence_on_dense_data: equal data give equal predictions",
    "check_n_features_in": "check_n_features_in_after_fitting",
    "check_positive_only_tag_during_fit": "check_fit_score_takes_y: negative inputs are fitted",
    "check_regressor_data_not_an_array": "check_classifier_data_not_an_array",
    "check_regressors_no_decision_function": "test_a_small_regressor_passes_the_checks_of_regressors",
    "check_regressors_train(readonly_memmap=True)": "check_regressors_train",
    "check_regressors_train(readonly_memmap=True,X_dtype=float32)": "check_regressors_train",
    "check_sample_weights_list": "check_sample_weights_pandas_series, check_sample_weights_shape",
}


def name_of(check: Any) -> str:
    """Its name with its settings, as scikit-learn's own ids have it."""
    settings = ",".join(f"{name}={getattr(value, '__name__', value)}" for name, value in check.keywords.items())
    return check.func.__name__ + (f"({settings})" if settings else "")


def checks_of(estimator: Any) -> list[Any]:
    """scikit-learn's checks of an estimator, those that repeat another marked as slow."""
    return [
        pytest.param(each, check, id=name_of(check), marks=[pytest.mark.slow] if name_of(check) in REPEATED else [])
        for each, check in estimator_checks_generator(estimator)
    ]


@pytest.mark.parametrize(("estimator", "check"), checks_of(Classifier(**SMALL)))
def test_a_small_classifier_passes_every_check(estimator: Any, check: Any) -> None:
    check(estimator)


def test_a_small_regressor_passes_the_checks_of_regressors() -> None:
    own = [(each, check) for each, check in estimator_checks_generator(Regressor(**SMALL)) if "regressor" in str(check)]
    assert len(own) >= 4
    assert not hasattr(Regressor, "decision_function")
    for estimator, check in own:
        if name_of(check) not in REPEATED:
            check(estimator)


def test_what_is_said_to_be_repeated_is_a_check() -> None:
    names = {name_of(check) for each in (Classifier(), Regressor()) for _, check in estimator_checks_generator(each)}
    assert set(REPEATED) <= names


@pytest.mark.slow
@parametrize_with_checks([Regressor(**SMALL)])
def test_a_small_regressor_passes_every_check(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.mark.slow
@parametrize_with_checks([Classifier(), Regressor()])
def test_the_defaults_pass_every_check(estimator: Any, check: Any) -> None:
    check(estimator)
