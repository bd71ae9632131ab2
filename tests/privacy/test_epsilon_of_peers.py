"""ε of ten settings as Opacus counts it (recorded; see ``verify/cases/privacy.py`` for how) and as ``dp-accounting`` does."""

from __future__ import annotations

import pytest

from danlu.privacy import Ledger
from danlu.verify.cases.privacy import SETTINGS

counts = pytest.importorskip("dp_accounting")


@pytest.mark.slow
@pytest.mark.parametrize(("noise", "sampling", "steps", "delta", "by_rdp", "by_prv"), SETTINGS)
def test_epsilon_is_opacus_s(noise, sampling, steps, delta, by_rdp, by_prv):
    ledger = Ledger().with_steps("training", noise=noise, sampling=sampling, steps=steps)
    assert ledger.epsilon(delta, by="rdp") == pytest.approx(by_rdp, rel=1e-3)
    assert by_prv - 0.011 <= ledger.epsilon(delta) <= by_prv, "Opacus adds the 0.01 that it may be wrong by"


@pytest.mark.slow
@pytest.mark.parametrize(("noise", "sampling", "steps", "delta"), [each[:4] for each in SETTINGS[::3]])
def test_epsilon_is_dp_accountings(noise, sampling, steps, delta):
    from dp_accounting import pld, rdp

    ledger = Ledger().with_steps("training", noise=noise, sampling=sampling, steps=steps)
    for by, other in (("rdp", rdp.RdpAccountant()), ("pld", pld.PLDAccountant())):
        event = counts.GaussianDpEvent(noise)
        other.compose(event if sampling == 1 else counts.PoissonSampledDpEvent(sampling, event), steps)
        assert ledger.epsilon(delta, by=by) == pytest.approx(other.get_epsilon(delta), rel=1e-9)


def test_epsilon_by_renyi_divergences_is_opacus_s():
    for noise, sampling, steps, delta, by_rdp, _ in SETTINGS[1:4]:
        ledger = Ledger().with_steps("training", noise=noise, sampling=sampling, steps=steps)
        assert ledger.epsilon(delta, by="rdp") == pytest.approx(by_rdp, rel=1e-3)
