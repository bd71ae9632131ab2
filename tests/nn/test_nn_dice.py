"""The Dice loss: against NumPy in float64, and learning to find small shapes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from danlu.engine import fit
from danlu.errors import ConfigError, DataError
from danlu.nn import UNet, backprop, get_loss
from danlu.nn.losses import Dice, accuracy

RNG = np.random.default_rng(0)
Z = RNG.normal(size=(4, 5, 6, 3))
Y = RNG.integers(0, 3, (4, 5, 6))


def by_hand(p, y, smooth):
    overlap, total = (p * y).sum((1, 2)), (p + y).sum((1, 2))
    return 1 - ((2 * overlap + smooth) / (total + smooth)).mean(-1)


def test_it_is_the_formula():
    p = np.exp(Z) / np.exp(Z).sum(-1, keepdims=True)
    one_hot = np.eye(3)[Y]
    z = jnp.asarray(Z, jnp.float32)
    assert_allclose(Dice(0.5)(z, jnp.asarray(Y)), by_hand(p, one_hot, 0.5), rtol=1e-5)
    assert_allclose(Dice(0.5)(z, jnp.asarray(one_hot, jnp.float32)), by_hand(p, one_hot, 0.5), rtol=1e-5)
    single = 1 / (1 + np.exp(-Z[..., :1]))
    binary = (Y == 1).astype(np.float64)
    for targets in (binary, binary[..., None]):
        assert_allclose(
            get_loss("dice")(z[..., :1], jnp.asarray(targets)), by_hand(single, binary[..., None], 1.0), rtol=1e-5
        )


def test_bounds_and_invalid_labels():
    sure = 50.0 * (2 * jax.nn.one_hot(Y, 3) - 1)
    assert_allclose(Dice()(sure, jnp.asarray(Y)), 0.0, atol=1e-6)
    assert (Dice(1e-3)(sure, jnp.asarray((Y + 1) % 3)) > 0.99).all()
    wrong = jnp.asarray(Y).at[1, 0, 0].set(3)
    assert jnp.isnan(Dice()(sure, wrong)).tolist() == [False, True, False, False]


def test_its_gradient():
    z, y = jnp.asarray(Z), jnp.asarray(Y)
    check = backprop.gradient_check(lambda z: Dice()(z, y).sum(), z)
    assert check.ok, str(check)
    alone = jax.vmap(lambda z, y: Dice()(z[None], y[None])[0])(z, y)
    assert_allclose(alone, Dice()(z, y), rtol=1e-6)


def test_bad_input():
    with pytest.raises(ConfigError, match="smooth"):
        Dice(0.0)
    for targets in (Y[:, 0], Y[:, 0, 0]):
        with pytest.raises(DataError, match="Dice received"):
            Dice()(jnp.asarray(Z), jnp.asarray(targets))


def scenes(number, seed):
    """Grey 16×16 pictures with a small disk (1) and a small square (2), brighter than the noise around them."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:16, :16]
    y = np.zeros((number, 16, 16), np.int32)
    for mask in y:
        (r, c), (top, left) = rng.integers(3, 13, 2), rng.integers(0, 12, 2)
        mask[(rows - r) ** 2 + (columns - c) ** 2 <= 6] = 1
        mask[top : top + 4, left : left + 4] = 2
    x = np.array([0.0, 1.0, 2.0])[y] + 0.3 * rng.normal(size=y.shape)
    return x[..., None].astype(np.float32), y


@pytest.mark.slow
def test_a_unet_finds_small_shapes():
    fitted = fit(
        UNet(3, widths=(8, 16)),
        scenes(96, 0),
        loss=Dice(),
        metrics=[accuracy],
        validation=scenes(32, 1),
        batch_size=16,
        epochs=15,
        learning_rate=0.01,
        display="none",
    )
    x, y = scenes(32, 2)
    found = fitted.predict(x).argmax(-1)
    for shape in (1, 2):
        overlap = 2 * np.sum((found == shape) & (y == shape)) / (np.sum(found == shape) + np.sum(y == shape))
        assert overlap > 0.85, f"Dice coefficient {overlap:.2f}"
    assert fitted.evaluate((x, y))["accuracy"] == pytest.approx(np.mean(found == y), abs=1e-6)
