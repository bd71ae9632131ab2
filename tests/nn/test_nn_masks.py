"""Moving masks with their images, and the loss that leaves out pixels: what the verified rows do not say."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from danlu.blueprint import from_json, to_json
from danlu.errors import ConfigError, DataError
from danlu.nn import MoveMasks, RandomAffine, RandomErase, RandomFlip
from danlu.nn.losses import Dice, SegmentationLoss, get_loss

X = jnp.asarray(np.random.default_rng(0).normal(size=(4, 6, 7, 3)), jnp.float32)
Y = jnp.asarray(np.random.default_rng(1).integers(0, 3, (4, 6, 7)), jnp.uint8)
BATCH = {"x": X, "y": Y, "weight": jnp.ones(4)}


@pytest.mark.parametrize(
    "move", [RandomFlip(vertical=True), RandomAffine(20.0, 0.3, 10.0, 0.2)], ids=["flip", "affine"]
)
def test_images_move_as_the_layer_moves_them(move):
    key = jax.random.key(3)
    moved = jax.jit(MoveMasks((move,)))(key, BATCH)
    keys = jax.vmap(lambda each: jax.random.fold_in(each, 0))(jax.random.split(key, 4))
    assert_allclose(moved["x"], jax.vmap(move.changed)(keys, X), atol=1e-5)
    assert moved["y"].dtype == jnp.uint8
    assert_array_equal(moved["weight"], BATCH["weight"])


def test_what_cannot_be_moved_is_refused():
    with pytest.raises(ConfigError, match=r"MoveMasks.moves is .*; expected a list of RandomMoves"):
        MoveMasks((RandomErase(),))
    with pytest.raises(DataError, match=r"y of shape \(4,\)"):
        MoveMasks((RandomFlip(),))(jax.random.key(0), {"x": X, "y": jnp.zeros(4)})
    change = MoveMasks((RandomFlip(), RandomAffine()), fill=3.0)
    assert from_json(to_json(change)) == change


def test_the_loss_is_the_sum_of_two_where_all_pixels_count():
    parts = get_loss("categorical_cross_entropy")(X, Y) + Dice()(X, Y)
    assert_allclose(SegmentationLoss()(X, Y), parts, rtol=1e-5)
    nothing = SegmentationLoss(dice=0.0)(X, jnp.full_like(Y, 255))
    assert nothing.tolist() == [0.0] * 4
    assert np.isnan(SegmentationLoss()(X, Y.at[1, 0, 0].set(7))).tolist() == [False, True, False, False]
    slope = jax.grad(lambda z: SegmentationLoss()(z, Y.at[:, :2].set(255)).sum())(X)
    assert not slope[:, :2].any(), "pixels that do not count pull at nothing"
    assert np.abs(slope[:, 2:]).min() > 0
    for targets in (Y[:, 0], Y.astype(jnp.float32)):
        with pytest.raises(DataError, match="SegmentationLoss received"):
            SegmentationLoss()(X, targets)
