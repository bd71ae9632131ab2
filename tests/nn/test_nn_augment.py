"""Random changes to images: against SciPy, NumPy, and what they must leave alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from danlu.blueprint import from_json, to_json
from danlu.errors import ConfigError, DataError
from danlu.nn import (
    CutMix,
    MixUp,
    OneOf,
    RandomAffine,
    RandomChoice,
    RandomColor,
    RandomErase,
    RandomFlip,
    Rescale,
    rand_augment,
)
from danlu.nn.augment.geometry import bilinear

X = jnp.asarray(np.random.default_rng(0).normal(size=(4, 6, 7, 3)), jnp.float32)
LAYERS = [
    RandomFlip(vertical=True),
    RandomAffine(20.0, 0.3, 10.0, 0.2),
    RandomErase(0.4),
    RandomColor(),
    RandomChoice((RandomErase(0.4), RandomFlip()), count=1),
]


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: type(layer).__name__)
def test_contract(layer):
    assert layer.out_shape((6, 7, 3)) == (6, 7, 3)
    assert from_json(to_json(layer)) == layer
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


def test_a_choice_takes_each_change_equally_often():
    """Of two changes drawn twice: one erases to 9 and one doubles nothing, so a quarter of the images stays as it is."""
    many = jnp.zeros((4000, 2, 2, 1))
    still = RandomAffine(0.0, 0.0, 0.0, 0.0)
    y, _ = RandomChoice((RandomErase(1.0, fill=9.0), still)).apply({}, {}, many, train=True, key=jax.random.key(5))
    untouched = float(np.mean(np.asarray(y == 0).all((1, 2, 3))))
    assert abs(untouched - 0.25) < 4 * (0.25 * 0.75 / 4000) ** 0.5


def test_rand_augment_grows_with_its_magnitude():
    key = jax.random.key(0)
    moved = [
        float(jnp.abs(rand_augment(2, magnitude).apply({}, {}, X, train=True, key=key)[0] - X).mean())
        for magnitude in (0.0, 0.3, 1.0)
    ]
    assert moved[0] < 1e-6 < moved[1] < moved[2]
    for bad in (lambda: rand_augment(2, 1.5), lambda: rand_augment(0), lambda: RandomChoice((Rescale(),))):
        with pytest.raises(ConfigError):
            bad()


ROWS = 600  # everywhere, so that the draws compile once
LABELS = jnp.asarray(np.random.default_rng(2).integers(0, 3, ROWS))


def painted(*shape):
    """Images of one value each, their class, so that what an image was mixed of can be read off it."""
    x = jnp.broadcast_to(LABELS.reshape(-1, 1, 1, 1).astype(jnp.float32), (ROWS, *shape))
    return {"x": x, "y": LABELS, "weight": jnp.ones(ROWS)}


@pytest.mark.parametrize("change", [MixUp(0.4, 3), CutMix(0.7, 3), OneOf((MixUp(1.0, 3), CutMix(1.0, 3)))], ids=repr)
def test_labels_are_mixed_as_the_pixels_are(change):
    batch = painted(7, 5, 1)
    mixed = change(jax.random.key(1), batch)
    assert_allclose(mixed["y"].sum(1), 1.0, atol=1e-6)
    assert (mixed["y"] >= 0).all()
    assert_allclose(mixed["y"] @ jnp.arange(3.0), mixed["x"].mean((1, 2, 3)), atol=1e-5)
    assert_allclose(mixed["y"].sum(0), jax.nn.one_hot(LABELS, 3).sum(0), rtol=0.15)
    assert_array_equal(mixed["weight"], batch["weight"])
    assert from_json(to_json(change)) == change
    assert hash(change) == hash(from_json(to_json(change)))


def test_cutmix_pastes_one_rectangle_at_the_same_place():
    rng = np.random.default_rng(3)
    x = jnp.asarray(rng.integers(0, 255, (ROWS, 9, 11, 1)), jnp.uint8)
    batch = {"x": x, "y": jnp.arange(ROWS), "weight": jnp.ones(ROWS)}
    mixed = CutMix(1.0, ROWS)(jax.random.key(0), batch)
    assert mixed["x"].dtype == jnp.uint8
    for i, (image, label) in enumerate(zip(np.asarray(mixed["x"]), np.asarray(mixed["y"]), strict=True)):
        others = [j for j in np.flatnonzero(label) if j != i]
        if not others:
            assert_array_equal(image, x[i])
            continue
        [j] = others
        changed = image != np.asarray(x[i])
        inside = np.zeros((9, 11), bool)
        where = np.argwhere(changed[..., 0])
        (top, left), (bottom, right) = where.min(0), where.max(0)
        inside[top : bottom + 1, left : right + 1] = True
        assert_array_equal(image[inside], np.asarray(x[j])[inside])
        assert inside.sum() <= round(float(label[j]) * 99), "pixels that were equal anyway may lie on its edge"


def test_shares_are_beta():
    from scipy.stats import beta, kstest

    for alpha in (0.3, 2.0):
        batch = {"x": jnp.zeros((ROWS, 1)), "y": jnp.eye(ROWS), "weight": jnp.ones(ROWS)}
        mixed = MixUp(alpha)(jax.random.key(4), batch)
        own = np.asarray(mixed["y"])[np.arange(ROWS), np.arange(ROWS)]
        alone = own == 1.0
        assert alone.mean() < 0.02, "few rows are their own partner"
        assert kstest(own[~alone], beta(alpha, alpha).cdf).pvalue > 1e-3


def test_rows_of_weight_zero_neither_give_nor_take():
    weight = jnp.asarray(np.random.default_rng(5).choice([0.0, 1.0, 3.0], ROWS), jnp.float32)
    x = jnp.where(weight > 0, 0.0, 1e6)[:, None] + jnp.arange(float(ROWS))[:, None]
    mixed = MixUp(1.0)(jax.random.key(6), {"x": x, "y": x[:, 0], "weight": weight})
    none = np.asarray(weight == 0)
    assert_array_equal(mixed["x"][none], x[none])
    assert_array_equal(mixed["weight"][none], 0.0)
    assert (mixed["x"][~none] < 1e6).all()
    assert (mixed["weight"][~none] > 0).all()
    assert_allclose(mixed["y"], mixed["x"][:, 0], rtol=1e-6)


def test_what_cannot_be_mixed_is_refused():
    key, weight = jax.random.key(0), jnp.ones(4)
    whole, image = jnp.zeros((4, 3), jnp.int32), jnp.zeros((4, 3, 3, 1))
    for change, x, y, message in (
        (MixUp(), whole, jnp.zeros(4), "codes cannot be mixed"),
        (CutMix(), whole, jnp.zeros(4), "expected images"),
        (MixUp(1.0, 3), image, jnp.zeros(4), "expected class numbers"),
    ):
        with pytest.raises(DataError, match=message):
            change(key, {"x": x, "y": y, "weight": weight})
    with pytest.raises(ConfigError, match=r"OneOf\.changes"):
        OneOf(())
