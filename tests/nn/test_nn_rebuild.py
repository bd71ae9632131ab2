"""A network made into another one: the walk asks every layer, keeps what does not change, and refuses what cannot be."""

import jax
import numpy as np
import pytest

from danlu import nn
from danlu.errors import ConfigError
from danlu.nn.rebuild import rebuild, with_children


def made(net, shape):
    """The network with numbers as its variables."""
    rng, shapes = np.random.default_rng(0), jax.eval_shape(lambda: net.init(jax.random.key(0), shape)[:2])
    return net, *jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(leaf.dtype), shapes)


NETWORKS = [
    (nn.MLP((4,), 2, dropout=0.1, norm="batch"), (3,)),
    (nn.LeNet(3), (14, 14, 1)),
    (nn.TextCNN(9, 2, dim=4, filters=2), (6,)),
    (nn.ResNet(2, width=4, stem="cifar"), (8, 8, 1)),
    (nn.GPT(9, 8, dim=8, num_heads=2, num_layers=1), (8,)),
    (nn.Blend(("a", "b"), (nn.Dense(2), nn.Dense(2, use_bias=False))), (3,)),
    (nn.Bidirectional(nn.LSTM(3)), (5, 2)),
]


@pytest.mark.parametrize(("net", "shape"), NETWORKS, ids=[type(net).__name__ for net, _ in NETWORKS])
def test_nothing_changes_where_nothing_is_changed(net, shape):
    before = jax.eval_shape(lambda: net.init(jax.random.key(0), shape)[:2])
    layers = []
    found = rebuild(net, *before, lambda path, layer, params, state: layers.append((path, layer)))
    assert found[0] == net
    assert jax.tree.structure(found[1:]) == jax.tree.structure(before)
    assert len({path for path, _ in layers}) == len(layers), "each layer is asked once, by a path of its own"


def test_parts_that_change_are_in_the_place_of_the_old_ones():
    net, params, state = made(nn.MLP((4, 4), 2), (3,))

    def relu_to_tanh(path, layer, own, kept):
        plain = isinstance(layer, nn.Dense) and layer.activation == "relu"
        return (layer.replace(activation="tanh"), own, kept) if plain else None

    found, after, _ = rebuild(net, params, state, relu_to_tanh)
    assert [layer.activation for layer in found.layers] == ["tanh", "tanh", "identity"]
    x = np.ones((2, 3), np.float32)
    first, second, last = (lambda x, own=own: x @ own["kernel"] + own["bias"] for own in after)
    by_hand = last(np.tanh(second(np.tanh(first(x)))))
    np.testing.assert_allclose(found.apply(after, state, x)[0], by_hand, rtol=1e-5)


def test_the_copies_of_an_ensemble_are_asked_one_by_one():
    net, params, state = made(nn.Ensemble(nn.Dense(2), 3), (4,))
    seen = []

    def double(path, layer, own, kept):
        if isinstance(layer, nn.Dense):
            seen.append(own["kernel"].shape)
            return layer, jax.tree.map(lambda leaf: leaf * len(seen), own), kept
        return None

    _, after, _ = rebuild(net, params, state, double)
    assert seen == [(4, 2)] * 3
    np.testing.assert_allclose(after["kernel"][2], 3 * params["kernel"][2])


def test_copies_that_become_different_are_refused():
    net, params, state = made(nn.Ensemble(nn.Dense(2), 2), (4,))
    sizes = iter((1, 2))

    def cut(path, layer, own, kept):
        return (layer.replace(units=next(sizes)), own, kept) if isinstance(layer, nn.Dense) else None

    with pytest.raises(ConfigError, match="became different networks"):
        rebuild(net, params, state, cut)


def test_what_has_no_place_for_another_part_says_so():
    both = nn.Bidirectional(nn.LSTM(3))
    with pytest.raises(ConfigError, match="part of Bidirectional cannot become LSTM"):
        with_children(both, [both.layer, nn.LSTM(4, reverse=True)])


def test_a_forecaster_has_fewer_hidden_units_but_no_other_parts():
    net = nn.Forecaster(2, hidden=4, dropout=0.1)
    parts = [layer for _, layer in net.children()]
    *first, hidden = parts
    fewer = hidden.replace(layers=(hidden.layers[0].replace(units=3), *hidden.layers[1:]))
    assert with_children(net, [*first, fewer]) == net.replace(hidden=3)
    with pytest.raises(ConfigError, match="its parts follow from its settings"):
        with_children(net, [nn.Dense(1), *parts[1:]])


def test_equal_parts_are_told_apart_by_their_order():
    net = nn.Sequential((nn.Dense(3), nn.Dense(3), nn.Dense(3)))
    assert with_children(net, [nn.Dense(3), nn.Dense(5), nn.Dense(3)]).layers[1] == nn.Dense(5)
