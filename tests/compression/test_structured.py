"""Units that are taken out: every row and column of theirs goes, what stays computes what it did, and outputs stay."""

import jax
import numpy as np
import pytest
from made_networks import answers, numbers

from danlu import nn
from danlu.compression.techniques.structured import taken_out
from danlu.compression.units import units_of
from danlu.errors import ConfigError

TOKENS = np.array([[1, 2, 3, 4, 5, 6]] * 2)
DEPTHWISE = nn.Sequential(
    (
        nn.Conv(4, 3, activation="relu"),
        nn.Conv(4, 3, groups=4),
        nn.BatchNorm(),
        nn.Conv(4, 1),
        nn.GlobalAveragePool(),
        nn.Dense(2),
    )
)
FLAT = nn.Sequential((nn.Conv(4, 3, activation="relu"), nn.MaxPool(2), nn.Flatten(), nn.Dense(6, "tanh"), nn.Dense(3)))
TABLE = {"numeric": np.ones((3, 2), np.float32), "categorical": np.zeros((3, 1), np.int32)}
CASES = {
    "dense": (nn.MLP((6, 4), 3, norm="batch"), (5,), None, {"0": 6, "3": 4}),
    "flattened": (FLAT, (4, 4, 2), None, {"0": 4, "3": 6}),
    "depthwise": (DEPTHWISE, (4, 4, 2), None, {"0": 4, "3": 4}),
    "side by side": (
        nn.TextCNN(9, 2, dim=4, filters=4, widths=(1, 2)),
        (6,),
        TOKENS,
        {"2/0/0/layer": 4, "2/1/0/layer": 4},
    ),
    "recurrent": (nn.CharRNN(9, dim=3, units=4, cell="gru"), (6,), TOKENS, {"1": 4}),
    "heads": (
        nn.GPT(9, 6, dim=8, num_heads=4, num_layers=1),
        (6,),
        TOKENS,
        {"body/1/0/layer": 4, "body/1/1/layer": 32},
    ),
    "shortcut": (nn.Residual(nn.MLP((4,), 3)), (3,), None, {"layer/0": 4}),
}


def drawn(net, shape, inputs):
    x = np.random.default_rng(1).normal(size=(2, *shape)).astype(np.float32) if inputs is None else inputs
    return *numbers(net, shape), x


def silenced(net, params, state):
    """The params with every second unit read by nothing."""
    params = jax.tree.map(np.array, params)
    groups, variables = units_of(net, params, state)
    for group in groups:
        for cut in group.cuts:
            if cut.role == "out":
                array = variables[cut.path][0][cut.name]
                unit = cut.unit_of(array.shape[cut.axis])
                np.moveaxis(array, cut.axis, 0)[(unit >= 0) & (unit % 2 == 1)] = 0
    return params


@pytest.mark.parametrize(("net", "shape", "inputs", "expected"), CASES.values(), ids=CASES)
def test_units_that_nothing_reads_are_taken_out_and_nothing_changes(net, shape, inputs, expected):
    params, state, x = drawn(net, shape, inputs)
    groups, _ = units_of(net, params, state)
    assert {group.path: group.count for group in groups} == expected
    params = silenced(net, params, state)
    small, fewer, kept = taken_out(net, params, state, 0.5)
    want = jax.eval_shape(lambda: small.init(jax.random.key(0), shape)[:2])
    assert jax.tree.map(np.shape, (fewer, kept)) == jax.tree.map(np.shape, want)
    np.testing.assert_allclose(answers(small, fewer, kept, x), answers(net, params, state, x), rtol=1e-5, atol=1e-5)
    count = [sum(leaf.size for leaf in jax.tree.leaves(each)) for each in (params, fewer)]
    assert count[1] < count[0]


def test_a_tables_network_keeps_one_width():
    net = nn.TabularNet(3, vocabularies=(4,), members=2, width=6, depth=2)
    params, state = numbers(net, {"numeric": (2,), "categorical": (1,)})
    params = silenced(net, params, state)
    for by in ("layer", "global"):
        small, fewer, kept = taken_out(net, params, state, 0.5, by=by)
        assert small == net.replace(width=3)
    np.testing.assert_allclose(
        answers(small, fewer, kept, TABLE), answers(net, params, state, TABLE), rtol=1e-4, atol=1e-4
    )


def test_the_unit_that_matters_least_goes():
    net = nn.MLP((3,), 1)
    params = (
        {"kernel": np.array([[1.0, 9.0, 1.0]]), "bias": np.zeros(3)},
        {"kernel": np.array([[1.0], [0.01], [2.0]]), "bias": np.zeros(1)},
    )
    _, fewer, _ = taken_out(net, params, ({}, {}), 0.34)
    assert fewer[1]["kernel"].ravel().tolist() == [1.0, 2.0]  # ‖in‖·‖out‖: 1, 0.09 and 2


def test_the_least_of_all_layers_go_but_one_of_each_stays():
    net = nn.MLP((4, 4), 2)
    params, state = numbers(net, (3,))
    params[0]["kernel"][:, 1:] = 1e-6  # but one unit
    small, _, _ = taken_out(net, params, state, 0.6, by="global")
    assert small.layers[0].units == 1
    assert small.layers[1].units in (2, 3)


def test_copies_of_an_ensemble_lose_units_of_their_own():
    net = nn.Ensemble(nn.MLP((4,), 2), 2)
    params, state = numbers(net, (3,))
    params[1]["kernel"][0, [0, 1]] = 0
    params[1]["kernel"][1, [2, 3]] = 0
    x = np.ones((2, 3), np.float32)
    small, fewer, kept = taken_out(net, params, state, 0.5)
    assert small.network.layers[0].units == 2
    np.testing.assert_allclose(answers(small, fewer, kept, x), answers(net, params, state, x), atol=1e-5)


def test_layers_to_keep_stay_and_a_network_without_units_is_refused():
    net = nn.MLP((4, 4), 2)
    params, state = numbers(net, (3,))
    small, _, _ = taken_out(net, params, state, 0.5, keep=("0",))
    assert [layer.units for layer in small.layers] == [4, 2, 2]
    line = nn.Dense(2)
    params, state = numbers(line, (3,))
    with pytest.raises(ConfigError, match="Dense has no units that could be taken out"):
        taken_out(line, params, state, 0.5)
