"""Random changes to images: against SciPy, NumPy, and what they must leave alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from danlu.errors import ConfigError
from danlu.nn import RandomAffine, RandomColor, RandomErase, RandomFlip, Rescale
from danlu.nn.augment.geometry import bilinear

X = jnp.asarray(np.random.default_rng(0).normal(size=(4, 6, 7, 3)), jnp.float32)
LAYERS = [RandomFlip(vertical=True), RandomAffine(20.0, 0.3, 10.0, 0.2), RandomErase(0.4), RandomColor()]


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: type(layer).__name__)
def test_contract(layer):
    assert layer.out_shape((6, 7, 3)) == (6, 7, 3)
    assert layer.apply({}, {}, X)[0] is X, "nothing outside training"
    apply = jax.jit(lambda x, key: layer.apply({}, {}, x, train=True, key=key)[0])
    one, again, other = apply(X, jax.random.key(1)), apply(X, jax.random.key(1)), apply(X, jax.random.key(2))
    assert_array_equal(one, again)
    assert one.shape == X.shape
    assert one.dtype == X.dtype
    assert (one != other).any()
    assert len({np.asarray(each - same).round(5).tobytes() for each, same in zip(one, X, strict=True)}) > 1
    with pytest.raises(ConfigError, match="no key"):
        layer.apply({}, {}, X, train=True)
    with pytest.raises(ConfigError, match="expected images"):
        layer.init(jax.random.key(0), (6,))


def test_bilinear_is_scipys():
    from scipy.ndimage import map_coordinates

    rng = np.random.default_rng(1)
    row, column = rng.uniform(-1, 6, (4, 6, 7)), rng.uniform(-1, 7, (4, 6, 7))
    of_batch = jax.vmap(lambda *image: bilinear(*image, 0.5))
    got = of_batch(X, jnp.asarray(row, jnp.float32), jnp.asarray(column, jnp.float32))
    for image in range(4):
        for channel in range(3):
            where = [row[image], column[image]]
            expected = map_coordinates(X[image, :, :, channel], where, order=1, mode="grid-constant", cval=0.5)
            assert_allclose(got[image, :, :, channel], expected, atol=2e-6)


def test_affine_of_nothing_is_the_image():
    same, _ = RandomAffine(0.0, 0.0, 0.0, 0.0).apply({}, {}, X, train=True, key=jax.random.key(0))
    assert_allclose(same, X, atol=1e-6)


def test_a_turned_disk_is_a_disk():
    """A turn about the middle keeps what depends on the distance from the middle alone."""
    distance = np.hypot(*np.mgrid[-10:11, -10:11])
    disk = jnp.asarray(np.exp(-((distance / 4) ** 2)), jnp.float32)[None, :, :, None]
    turned, _ = RandomAffine(180.0, 0.0, 0.0, 0.0).apply({}, {}, disk, train=True, key=jax.random.key(3))
    assert_allclose(turned, disk, atol=0.03)  # bilinear values fall short at the peak by h²/8·|∇²f| ≈ 0.03


def test_flips_are_flips():
    flipped, _ = RandomFlip().apply({}, {}, X, train=True, key=jax.random.key(0))
    for image, before in zip(np.asarray(flipped), np.asarray(X), strict=True):
        assert np.array_equal(image, before) or np.array_equal(image, before[:, ::-1])


def test_erase_blanks_one_square():
    erased, _ = RandomErase(0.5, fill=9.0).apply({}, {}, X, train=True, key=jax.random.key(0))
    blank = np.asarray(erased == 9.0).all(-1)
    assert blank.any(axis=(1, 2)).all()
    for image in blank:
        rows, columns = np.flatnonzero(image.any(1)), np.flatnonzero(image.any(0))
        assert image[np.ix_(rows, columns)].all()
        assert image.sum() == rows.size * columns.size <= 16


def test_colour_keeps_the_mean_and_grey_stays_grey():
    layer = RandomColor(brightness=0.0)
    changed, _ = layer.apply({}, {}, X, train=True, key=jax.random.key(0))
    assert_allclose(jnp.mean(changed, (1, 2, 3)), jnp.mean(X, (1, 2, 3)), atol=1e-6)
    grey = jnp.repeat(X[..., :1], 3, axis=3)
    changed, _ = RandomColor().apply({}, {}, grey, train=True, key=jax.random.key(0))
    assert_allclose(changed[..., 0], changed[..., 2], atol=1e-6)


def test_rescale():
    y, _ = Rescale(0.5, 1.0).apply({}, {}, jnp.array([[0, 4]], jnp.uint8))
    assert_allclose(y, [[1.0, 3.0]])
    assert y.dtype == jnp.float32
