"""The detector's own rules: shapes, padding that cannot matter, boxes that stay on their objects, a fixed number of finds."""

from __future__ import annotations

import functools
import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from danlu.blueprint import from_json, to_json
from danlu.errors import ConfigError, DataError
from danlu.nn import Detector, MoveBoxes
from danlu.nn.cells import find_objects
from danlu.nn.losses import DetectionLoss, assign_cells

pytestmark = pytest.mark.usefixtures("no_silent_broadcasting")
RNG = np.random.default_rng(0)
LOSS = DetectionLoss(stride=8, size=10.0)


def test_the_blueprint_is_json_has_a_grid_of_its_stride_and_refuses_odd_sides() -> None:
    for stride in (4, 8):
        net = Detector(3, stride=stride, width=2)
        assert from_json(json.loads(json.dumps(to_json(net)))) == net
        assert net.out_shape((32, 48, 3)) == (32 // stride, 48 // stride, 8)
        assert (net.flops((32, 48, 3)) or 0) > 0
    with pytest.raises(ConfigError, match="multiples of 16"):
        Detector(3).out_shape((40, 32, 3))
    with pytest.raises(ConfigError, match="expected 4 or 8"):
        Detector(3, stride=5)


@pytest.mark.slow
def test_every_parameter_learns() -> None:
    net = Detector(3, width=2)
    x = jnp.asarray(RNG.normal(size=(2, 16, 32, 1)), jnp.float32)
    targets = {"boxes": jnp.array([[[1.0, 2.0, 9.0, 12.0]]] * 2), "labels": jnp.array([[0], [2]])}

    @jax.jit
    def slopes(key: jax.Array) -> Any:
        params, state, _ = net.init(key, (16, 32, 1))

        def total(params: Any) -> jax.Array:
            return jnp.sum(LOSS(net.apply(params, state, x, train=True)[0], targets))

        return jax.grad(total)(params)

    for path, slope in jax.tree_util.tree_leaves_with_path(slopes(jax.random.key(0))):
        assert np.isfinite(slope).all(), path
        assert np.asarray(slope).any(), path


def test_padding_does_not_count_and_images_do_not_meet() -> None:
    run = jax.jit(LOSS)
    z = RNG.normal(size=(3, 2, 3, 7)).astype(np.float32)
    boxes = np.zeros((3, 4, 4), np.float32)
    boxes[0, :2], boxes[1, 0] = [[1, 1, 9, 11], [12, 2, 20, 9]], [3, 3, 8, 8]
    labels = np.array([[0, 1, -1, -1], [1, -1, -1, -1], [-1, -1, -1, -1]], np.int32)
    values = run(z, {"boxes": boxes, "labels": labels})
    assert values.shape == (3,)
    filled = np.where((labels < 0)[..., None], np.float32(7), boxes)
    turned = {"boxes": np.roll(filled, 2, axis=1), "labels": np.roll(labels, 2, axis=1)}
    np.testing.assert_allclose(run(z, turned), values, rtol=1e-6)
    others = np.where(np.arange(3)[:, None, None, None] == 1, z, z + 1)
    changed = run(others, {"boxes": boxes, "labels": labels})
    assert changed[1] == values[1]
    assert changed[0] != values[0]
    wrong = np.where(labels == 0, 2, labels)
    assert np.isnan(run(z, {"boxes": boxes, "labels": wrong})).tolist() == [True, False, False]
    for targets, said in (
        (labels, "expected a dict"),
        ({"boxes": boxes[:, :1], "labels": labels}, r"\(batch, objects, 4\)"),
        ({"boxes": boxes, "labels": boxes[..., 0]}, "class numbers"),
    ):
        with pytest.raises(DataError, match=said):
            LOSS(z, targets)


def test_every_object_has_a_cell_and_a_cell_takes_the_smallest() -> None:
    tiny = jnp.array([[7.5, 7.5, 8.5, 8.5], [31.0, 31.0, 32.0, 32.0]])
    assign = jax.jit(functools.partial(assign_cells, rows=4, columns=4, stride=8))
    chosen = assign(tiny, jnp.array([0, 0]))
    assert chosen.reshape(4, 4)[1, 1] == 0
    assert chosen.reshape(4, 4)[3, 3] == 1
    assert int((chosen >= 0).sum()) == 2
    nested = jnp.array([[0.0, 0.0, 32.0, 32.0], [8.0, 8.0, 24.0, 24.0]])
    chosen = assign(nested, jnp.array([0, 1]), radius=1.0)
    assert (chosen.reshape(4, 4)[1:3, 1:3] == 1).all()
    whole = assign(nested, jnp.array([0, -1]), radius=9.0)
    assert (whole == 0).all()


def test_boxes_stay_on_their_objects() -> None:
    images, boxes = np.zeros((40, 32, 48, 1), np.uint8), np.zeros((40, 2, 4), np.float32)
    for image, own in zip(images, boxes, strict=True):
        x, y, width, height = RNG.integers(12, 24), RNG.integers(8, 14), RNG.integers(6, 12), RNG.integers(6, 12)
        image[y : y + height, x : x + width] = 200
        own[0] = x, y, x + width, y + height
    batch = {"x": jnp.asarray(images), "y": {"boxes": jnp.asarray(boxes), "labels": jnp.array([[3, -1]] * 40)}}
    move = MoveBoxes(flip=True, scale=0.3, translate=0.1, fill=0.0)
    moved = jax.jit(move)(jax.random.key(0), {**batch, "weight": jnp.ones(40)})
    assert moved["y"]["labels"].tolist() == [[3, -1]] * 40
    assert not (moved["y"]["boxes"][:, 1] != 0).any()
    for image, own in zip(np.asarray(moved["x"]), np.asarray(moved["y"]["boxes"][:, 0]), strict=True):
        rows, columns = (np.flatnonzero((image[..., 0] > 100).any(axis=axis)) for axis in (1, 0))
        seen = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
        np.testing.assert_allclose(own, seen, atol=1.01)
    flipped = np.abs(np.asarray(moved["y"]["boxes"])[:, 0] - boxes[:, 0]).max(axis=1)
    assert len(set(flipped.round(3).tolist())) > 30, "each image is moved by itself"
    at_edge = {**batch, "y": {**batch["y"], "boxes": batch["y"]["boxes"].at[:, 0].set(jnp.array([0.0, 0.0, 4.0, 4.0]))}}
    gone = jax.jit(MoveBoxes(scale=0, translate=1.0, least=0.5))(jax.random.key(1), at_edge)["y"]
    assert 10 < int((gone["labels"][:, 0] == -1).sum()) < 40
    assert not np.asarray(gone["boxes"])[np.asarray(gone["labels"]) == -1].any()
    with pytest.raises(DataError, match="not of images with boxes"):
        MoveBoxes()(jax.random.key(0), {"x": batch["x"], "y": jnp.zeros(40)})


def test_a_fixed_number_of_objects_is_found_the_best_first() -> None:
    z = jnp.zeros((1, 4, 4, 7)).at[0, 1, 1, 4].set(9.0).at[0, 1, 2, 4].set(8.0).at[0, 1, 2, 0].set(-0.9)
    z = z.at[0, 1, 1, 6].set(4.0).at[0, 3, 3, 4].set(7.0).at[0, 3, 3, 3].set(5.0)
    found = jax.jit(functools.partial(find_objects, stride=8, size=8.0, max_detections=20))(z)
    assert [leaf.shape for leaf in found] == [(1, 20, 4), (1, 20), (1, 20)]
    assert found.classes[0, 0] == 1
    np.testing.assert_allclose(found.boxes[0, 0], [8, 8, 16, 16])
    assert found.scores[0, 1] < 0.5, "the second-best cell has the first one's object; the third's class is undecided"
    assert (jnp.diff(found.scores[0]) <= 0).all()
    assert float(found.boxes.min()) >= 0, "boxes are cut off at the image's edge"
    assert float(found.boxes.max()) <= 32
    away = z.at[0, 1, 1, 0].set(-40.0)  # far to the left of the image
    found = jax.jit(functools.partial(find_objects, stride=8, size=8.0, max_detections=20))(away)
    shown = found.boxes[0][found.scores[0] > 0]
    assert len(shown), "the other objects are still there"
    assert (shown[:, 2:] > shown[:, :2]).all(), "a box without an area is no object"
