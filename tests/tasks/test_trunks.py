"""Towers that begin with trained layers: what is taken over, where it stands, and how fast it learns."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

from danlu import nn, optim
from danlu.data.images import ImageEncoder
from danlu.data.seen import known_rows, row_hashes
from danlu.data.text import TextEncoder
from danlu.engine.precision import apply_in
from danlu.errors import ConfigError
from danlu.tasks.fusion import tower_of
from danlu.tasks.image import image_network
from danlu.tasks.recipe import Recipe
from danlu.tasks.text import text_network
from danlu.tasks.trunks import Trunk, placed, rates_of, trunk_of

KEY, PIXELS = jax.random.key(0), ImageEncoder(8, 8, 1)
TEXTS = TextEncoder.fit(["a red cat", "a blue dog", "a red dog"])


def drawn(network: nn.Layer, shape: Any) -> tuple[Any, Any]:
    """Variables of a network, none of which is as it begins."""
    shapes, rng = jax.eval_shape(lambda: network.init(KEY, shape)[:2]), np.random.default_rng(0)
    found: tuple[Any, Any] = jax.tree.map(lambda leaf: rng.uniform(0.1, 1, leaf.shape).astype(leaf.dtype), shapes)
    return found


def same(one: Any, other: Any) -> bool:
    leaves = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(np.array_equal(a, b) for a, b in leaves)


def test_the_layers_up_to_the_mean_over_places_are_taken_over() -> None:
    network = image_network((8, 8, 1), 3, width=2)
    params, state = drawn(network, (8, 8, 1))
    found = trunk_of(network, params, state, PIXELS)
    assert isinstance(found.layer.layers[0], nn.Conv)  # type: ignore[attr-defined]
    assert isinstance(found.layer.layers[-1], nn.GlobalAveragePool)  # type: ignore[attr-defined]
    assert same(found.params, params[1:-2])
    assert same(found.state, state[1:-2])
    tower = tower_of(PIXELS, 4, trunk=found)
    own = drawn(tower, (8, 8, 1))
    begun = placed(((own[0], own[0]), (own[1], own[1])), ("one", "other"), {"other": found})
    assert same(begun[0][0], own[0])  # the tower of another column is fresh
    assert same(begun[0][1][-1], own[0][-1])
    again = trunk_of(tower, begun[0][1], begun[1][1], PIXELS)  # a tower that began so is one to begin with
    assert same((again.params, again.state), (found.params, found.state))
    side_by_side = jax.tree.map(lambda leaf: np.stack([leaf, leaf + 1]), (params, state))
    assert same(trunk_of(nn.Ensemble(network, 2), *side_by_side, PIXELS).params, found.params)


def test_of_texts_both_parts_are_taken_over_without_their_last_layers() -> None:
    network = text_network(TEXTS.tokenizer.size, 16, 2, width=3)
    params, state = drawn(network, TEXTS.in_shape)
    found = trunk_of(network, params, state, TEXTS)
    assert same(found.params, (params[0][:-1], params[1][:-2]))
    tower = tower_of(TEXTS, 4, trunk=found)
    assert tower.out_shape(TEXTS.in_shape) == (4,)
    assert same(trunk_of(tower, (found.params, {}), (found.state, {}), TEXTS).params, found.params)
    with pytest.raises(ConfigError, match="without n-grams beside convolutions over words"):
        trunk_of(nn.Parallel((nn.Sequential((nn.Dense(2),)),), inputs=("grams",)), ((),), ((),), TEXTS)
    with pytest.raises(ConfigError, match="without a body of convolutions"):
        trunk_of(nn.MLP((3,), 2), (), (), PIXELS)


def test_of_several_modalities_the_tower_of_the_column_is_taken_over() -> None:
    towers = tower_of(PIXELS, 4), tower_of(TEXTS, 4)
    network = nn.TwoTowers(("photo", "note"), towers, 4)
    shape = {"parts": {"photo": (8, 8, 1), "note": TEXTS.in_shape}}
    params, state = drawn(network, shape)
    assert same(trunk_of(network, params, state, PIXELS, "photo").params, params[0][1:-1])
    assert same(trunk_of(network, params, state, TEXTS, "note").params, params[1][0])


def test_frozen_layers_do_not_learn_and_others_learn_slower() -> None:
    network = image_network((8, 8, 1), 3, width=2)
    found = trunk_of(network, *drawn(network, (8, 8, 1)), PIXELS)
    frozen = Trunk(PIXELS, found.layer, found.params, found.state, rate=0.0)
    tower = tower_of(PIXELS, 4, trunk=frozen)
    [params], [state] = placed(tuple((part,) for part in drawn(tower, (8, 8, 1))), ("one",), {"one": frozen})  # type: ignore[arg-type]
    x = np.random.default_rng(1).integers(0, 256, (6, 8, 8, 1)).astype(np.uint8)
    one, after = jax.jit(lambda x: tower.apply(params, state, x, train=True, key=KEY))(x)
    two, _ = jax.jit(lambda x: tower.apply(params, state, x))(x)
    np.testing.assert_allclose(one, two, rtol=1e-6)  # as in use: statistics are not those of the batch
    assert same(after, state)
    assert jax.tree.leaves(params[1]) == []
    half = jax.jit(lambda x: apply_in("bfloat16", tower, params, state, x, key=KEY))(x)
    np.testing.assert_allclose(half[0], one, rtol=0.03, atol=0.03)
    assert same(half[1], state)

    slower = Trunk(PIXELS, found.layer, found.params, found.state, rate=0.25)
    model = nn.TwoTowers(("one", "two"), (tower_of(PIXELS, 4, trunk=slower), tower_of(PIXELS, 4)), 4)
    rates = rates_of(model, {"one": slower})
    assert rates == (("0/1", 0.25),)
    assert rates_of(model, {"one": frozen}) == ()
    plan = Recipe(model, "mse", rates=rates, epochs=1, batch_size=4)
    weights = drawn(model, {"parts": {"one": (8, 8, 1), "two": (8, 8, 1)}})[0]
    state = plan.optimizer(8).init(weights)
    known = {path: float(each) for path, each in optim.multipliers(state).items()}
    assert {value for path, value in known.items() if path.startswith("0/1/")} == {0.25}
    assert {value for path, value in known.items() if not path.startswith("0/1/")} == {1.0}


def test_rows_that_the_layers_learnt_from_are_known_again_whatever_their_label() -> None:
    x = np.random.default_rng(2).integers(0, 256, (5, 8, 8, 1)).astype(np.uint8)
    seen = known_rows(row_hashes(x[:3], np.array([0, 2, 1], np.int32)))
    trunk = Trunk(PIXELS, nn.Dense(1), {}, {}, seen=seen, classes=3)
    assert trunk.learnt_from(x[1:]) == 2
    assert Trunk(PIXELS, nn.Dense(1), {}, {}).learnt_from(x) is None
