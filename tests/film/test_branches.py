"""Forks of a network, as the X-ray draws them: every layer that is traced stands on one row of each fork that it is under."""

import jax
import numpy as np

from danlu import nn
from danlu.film.branches import branches
from danlu.nn.backprop import trace


def under(path: str, of: str) -> bool:
    return path == of or path.startswith(f"{of}/")


def test_rows_of_a_fork_hold_the_traced_layers():
    inner = nn.Residual(nn.Sequential((nn.Dense(4, "relu"), nn.Dense(4))))
    network = nn.Sequential(
        (
            nn.Dense(4),
            nn.Residual(nn.Sequential((inner, nn.Dense(3))), shortcut=nn.Dense(3)),
            nn.Parallel((nn.Dense(2), nn.Dense(1))),
        )
    )
    params, state, _ = network.init(jax.random.key(0), (5,))
    found = trace(
        network, params, state, np.ones((2, 5), np.float32), np.array([0, 1]), nn.losses.CategoricalCrossEntropy()
    )
    forks = branches(network)
    assert [(each["sign"], len(each["rows"])) for each in forks] == [("+", 2), ("+", 2), ("∥", 2)]
    on = [
        [[r.path for r in found.records if any(under(r.path, place) for place in row)] for row in each["rows"] if row]
        for each in forks
    ]
    assert on[0] == [["1/layer/0/layer/0", "1/layer/0/layer/1", "1/layer/1"], ["1/shortcut"]]
    assert on[1] == [["1/layer/0/layer/0", "1/layer/0/layer/1"]]
    assert forks[1]["rows"][1] is None
    assert on[2] == [["2/0"], ["2/1"]]


def test_the_shortcut_of_a_table_network_stands_beside_its_chain():
    network = nn.TabularNet(members=2, width=4, depth=2, vocabularies=(3,), units=1)
    forks = branches(network)
    chain, shortcut = forks[0]["rows"]
    assert shortcut == ["shortcut"]
    assert chain[-4:] == ["scale", "hidden_0", "hidden_1", "head"]
    assert forks[1] == {"rows": [["categorical"], ["numeric"]], "sign": "∥"}
