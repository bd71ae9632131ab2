"""The ledger's ε is dp-accounting's, the noise keeps to the budget, and what cannot be is refused in words."""

import math

import dp_accounting
import pytest

from danlu.errors import ArtifactError, ConfigError
from danlu.privacy import Budget, Ledger, Mechanism, default_delta, together

LEDGER = Ledger().with_steps("training", noise=1.3, sampling=0.01, steps=400)


def test_epsilon_is_the_librarys():
    event = dp_accounting.SelfComposedDpEvent(
        dp_accounting.PoissonSampledDpEvent(0.01, dp_accounting.GaussianDpEvent(1.3)), 400
    )
    pld = dp_accounting.pld.PLDAccountant().compose(event).get_epsilon(1e-5)
    rdp = dp_accounting.rdp.RdpAccountant().compose(event).get_epsilon(1e-5)
    assert LEDGER.epsilon(1e-5) == pytest.approx(pld, abs=1e-9)
    assert LEDGER.epsilon(1e-5, by="rdp") == pytest.approx(rdp, abs=1e-9)
    assert pld < rdp


def test_epsilon_of_one_gaussian_is_the_closed_form():
    """Balle & Wang (2018), theorem 8: δ(ε) of a Gaussian mechanism, exactly."""
    sigma, epsilon = 2.0, Ledger().with_steps("means", noise=2.0).epsilon(1e-5)
    phi = lambda t: 0.5 * math.erfc(-t / math.sqrt(2))  # noqa: E731
    delta = phi(0.5 / sigma - epsilon * sigma) - math.exp(epsilon) * phi(-0.5 / sigma - epsilon * sigma)
    assert delta == pytest.approx(1e-5, rel=2e-3)


def test_two_sums_over_the_same_rows_are_one_mechanism():
    both = Ledger().with_steps("a", noise=3.0).with_steps("b", noise=4.0)
    assert Ledger().with_steps("ab", noise=together(3.0, 4.0)).epsilon(1e-6) == pytest.approx(
        both.epsilon(1e-6), rel=1e-3
    )
    assert together(1.0, 0.0) == 0.0


@pytest.mark.parametrize("by", ["rdp", pytest.param("pld", marks=pytest.mark.slow)])
def test_noise_is_the_least_that_keeps_to_the_budget(by):
    budget = Budget(epsilon=2.0, delta=1e-5, by=by)
    plan = lambda z: Ledger().with_steps("training", noise=z, sampling=0.02, steps=300)  # noqa: E731
    noise = budget.noise(plan)
    assert budget.spent(plan(noise)) <= 2.0 < budget.spent(plan(noise * 0.995))


def test_further_steps_of_the_last_mechanism_are_counted_with_it():
    more = LEDGER.with_steps("training", noise=1.3, sampling=0.01, steps=100)
    assert more.mechanisms == (Mechanism(what="training", noise=1.3, sampling=0.01, steps=500),)
    assert (LEDGER + LEDGER).epsilon(1e-5, by="rdp") == pytest.approx(
        LEDGER.with_steps("training", noise=1.3, sampling=0.01, steps=400).epsilon(1e-5, by="rdp")
    )


def test_failures_are_taken_from_delta():
    fails = Ledger().with_steps("categories", noise=5.0, failure=9e-6)
    assert fails.epsilon(1e-5) == pytest.approx(Ledger().with_steps("categories", noise=5.0).epsilon(1e-6))
    assert fails.epsilon(9e-6) == math.inf


def test_no_noise_is_no_privacy_and_no_look_costs_nothing():
    assert Ledger().with_steps("training", noise=0.0, sampling=0.1).epsilon(1e-5) == math.inf
    assert Ledger().epsilon(1e-5) == 0 == Ledger().with_steps("training", noise=1.0, steps=0).epsilon(1e-5)


def test_a_ledger_is_plain_data_and_back():
    assert Ledger.read(LEDGER.record()) == LEDGER
    with pytest.raises(ArtifactError, match="the ledger of privacy is damaged"):
        Ledger.read({"mechanisms": [{"noise": -1}]})
    with pytest.raises(ConfigError, match="each row and the other each client"):
        LEDGER + LEDGER.replace(unit="client")


def test_budgets_that_cannot_be():
    assert default_delta(1000) < 1e-3
    with pytest.raises(ConfigError, match="expected less than 1/100"):
        Budget(epsilon=1.0, delta=0.01).check_rows(100)
    spent = Ledger().with_steps("means", noise=0.5)
    with pytest.raises(ConfigError, match="whatever the noise"):
        Budget(epsilon=1.0, delta=1e-5, by="rdp").noise(lambda z: spent.with_steps("training", noise=z))
    with pytest.raises(ConfigError, match="unknown accountant"):
        LEDGER.epsilon(1e-5, by="moments")
    with pytest.raises(ConfigError, match="above 0 and below 1"):
        LEDGER.epsilon(0)
