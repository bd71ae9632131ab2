"""The change that leaving out a training row makes: against training again without it, all at once as one population."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr

from danlu import nn, optim
from danlu.engine import fit_population
from danlu.errors import ConfigError, DataError
from danlu.explain import last_layer_influence, representation


def _correlations(network: Any, rows: int, *, epochs: int, rate: float, l2: float) -> list[float]:
    """The rank correlation of what is told and what training again says, for each of eight scores."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, 3)).astype(np.float32)
    y = (x[:, 0] - x[:, 1] * x[:, 2] / 2 + rng.logistic(size=rows) > 0).astype(np.int32)
    asked = rng.normal(size=(8, 3)).astype(np.float32)
    every = np.arange(rows)
    how: dict[str, Any] = {
        "loss": "categorical_cross_entropy",
        "optimizers": optim.momentum(rate),
        "batch_size": rows,
        "epochs": epochs,
        "l2": l2,
        "display": "none",
    }
    orders = [every, *(np.where(every == row, ~every, every) for row in every)]  # ~row is the row with the weight 0
    samplers = [lambda epoch, rng, order=order: order for order in orders]
    whole, *without = fit_population(network, (x, y), seeds=[0] * len(orders), samplers=samplers, **how)

    def score(fitted: Any) -> np.ndarray:
        outputs = np.asarray(network.apply(fitted.params, fitted.state, asked)[0], np.float64)
        return np.asarray(outputs[:, 1] - outputs[:, 0])

    true = np.stack([score(each) - score(whole) for each in without], axis=1)

    def seen(inputs: np.ndarray) -> np.ndarray:
        return inputs if isinstance(network, nn.Dense) else representation(network, whole.params, whole.state, inputs)

    outputs = np.asarray(network.apply(whole.params, whole.state, x)[0])
    told = last_layer_influence(seen(x), outputs, y, seen(asked), np.tile([-1.0, 1.0], (8, 1)))
    return [float(spearmanr(a, b).statistic) for a, b in zip(told, true, strict=True)]


def test_of_logistic_regression_it_ranks_rows_as_training_again_does() -> None:
    found = _correlations(nn.Dense(2), 40, epochs=120, rate=1.0, l2=0.0)
    assert min(found) >= 0.95


@pytest.mark.slow
def test_of_a_small_network_it_ranks_rows_nearly_so() -> None:
    found = _correlations(nn.MLP((8,), 2, activation="tanh"), 60, epochs=500, rate=0.1, l2=0.02)
    assert np.mean(found) >= 0.6


@pytest.mark.parametrize(("change", "error"), [({"damping": 0.0}, ConfigError), ({"truth": np.zeros(3)}, DataError)])
def test_what_does_not_fit_is_one_message(change: dict[str, Any], error: type[Exception]) -> None:
    given = {"known": np.ones((4, 2)), "outputs": np.ones((4, 1)), "truth": np.zeros(4), "asked": np.ones((1, 2)),
             "slopes": np.ones((1, 1))}  # fmt: skip
    with pytest.raises(error):
        last_layer_influence(**(given | change))
