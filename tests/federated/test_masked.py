"""Rounds with secure sums and lost clients: the same mean as without masks, of those whose vectors arrived."""

import jax
import numpy as np
import pytest

from danlu import nn
from danlu.errors import ConfigError
from danlu.federated import Private, fit_clients

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3)).astype(np.float32)
Y = (X @ np.float32([1, -2, 0.5]) + 0.3).astype(np.float32)
CLIENTS = [np.arange(0, 4), np.arange(4, 20), np.arange(20, 32), np.arange(32, 40)]
COMMON = {"loss": "mse", "display": "none", "learning_rate": 0.05, "batch_size": 8, "rounds": 3}


def close(one, other, tolerance=2e-6):
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def trained(**how):
    return fit_clients(nn.Dense(1), (X, Y), CLIENTS, **{**COMMON, **how})


def test_masked_rounds_with_a_lost_client_are_plain_rounds_without_it() -> None:
    pytest.importorskip("cryptography")
    plain, masked = trained(lost=0.25), trained(lost=0.25, secure=True)
    close(masked.params, plain.params)
    assert [row["clients"] for row in masked.history] == [3.0] * 3


def test_a_round_without_its_lost_client_is_a_round_of_the_others() -> None:
    found = []
    for left in range(4):
        rest = [rows for number, rows in enumerate(CLIENTS) if number != left]
        # The keys of clients follow their numbers, and plain steps draw nothing.
        found.append(
            fit_clients(nn.Dense(1), (X, Y), rest, **{**COMMON, "rounds": 1, "batch_size": 40, "local_epochs": 2})
        )
    lost = trained(lost=0.25, rounds=1, batch_size=40, local_epochs=2)
    gaps = [abs(lost.params["kernel"] - one.params["kernel"]).max() for one in found]
    assert min(gaps) < 1e-6 < sorted(gaps)[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    "how",
    [{"method": "scaffold"}, {"method": "fedadam"}, {"together": 2}, {"clients_per_round": 3, "lost": 0.34, "together": 2},
     {"private": Private(noise=0.5, clip=0.5)}, {"private": Private(noise=0.5, clip=0.5), "clients_per_round": 3, "lost": 1 / 3}],
    ids=str,
)  # fmt: skip
def test_masks_change_no_method(how) -> None:
    pytest.importorskip("cryptography")
    how = {"lost": 0.25, **how}
    if how["lost"] > 0.3:
        how["lost"] = 1 / 3
    plain, masked = trained(**how), trained(**how, secure=True)
    close(masked.params, plain.params, 1e-5)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"lost": 0.5, "secure": True}, "secure sums need 3 of them"),
        ({"lost": 0.1}, "that is none"),
        ({"lost": 1.0}, "from 0 to below 1"),
        ({"secure": True, "clients_per_round": 1}, "at least 2"),
    ],
    ids=str,
)
def test_what_no_sum_can_do_without_is_refused(how, said) -> None:
    with pytest.raises(ConfigError, match=said):
        trained(**how)
