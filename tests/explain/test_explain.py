"""Attributions against closed forms, and a network that must look where the answer is."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import danlu
from danlu import nn, optim
from danlu.errors import ConfigError, DataError
from danlu.explain import attention_maps, grad_cam, integrated_gradients, split_at_maps

RNG = np.random.default_rng(0)


def test_of_a_line_each_input_adds_its_share() -> None:
    x, b, w = (RNG.normal(size=shape).astype(np.float32) for shape in ((5, 3), (3,), (3,)))
    found = integrated_gradients(lambda x: x @ jnp.asarray(w), x, b, steps=1)
    np.testing.assert_allclose(found.values, (x - b) * w, rtol=1e-5)
    np.testing.assert_allclose(found.gap, 0, atol=1e-5)


def test_of_a_polynomial_the_integral_has_a_closed_form() -> None:
    x = RNG.uniform(0.5, 2, size=(4, 2)).astype(np.float32)
    found = integrated_gradients(lambda x: x[:, 0] ** 2 * x[:, 1], x, steps=256)
    # along αx the slopes are 2α²·x₀x₁ and α²·x₀², whose means are 2/3 and 1/3
    product = x[:, 0] ** 2 * x[:, 1]
    np.testing.assert_allclose(found.values, np.stack([2 * product / 3, product / 3], 1), rtol=1e-4)


def test_completeness_and_trees_and_dummies() -> None:
    net = nn.MLP((16,), 1, activation="tanh")
    params, state, _ = net.init(jax.random.key(0), (4,))

    def score(x: Any) -> jax.Array:
        return net.apply(params, state, jnp.concatenate([x["a"], x["b"][:, :2] * 3], axis=1))[0][:, 0]

    x = {"a": RNG.normal(size=(6, 2)).astype(np.float32), "b": RNG.normal(size=(6, 3)).astype(np.float32)}
    for power in (1, 3):
        found = integrated_gradients(score, x, {"a": 0.5, "b": np.zeros(3)}, steps=200, power=power)
        assert np.abs(found.gap).max() < 1e-3 < np.abs(found.gained).max()
    assert not found.values["b"][:, 2].any()  # what the score does not read gets nothing


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: integrated_gradients(lambda x: x[:, 0], np.ones((2, 2), np.int32)), DataError, "type int32"),
        (lambda: integrated_gradients(lambda x: x, np.ones((2, 2), np.float32)), DataError, "one number per example"),
        (
            lambda: integrated_gradients(lambda x: x[:, 0], np.ones((2, 2), np.float32), np.ones(3)),
            DataError,
            "broadcasts",
        ),
        (lambda: integrated_gradients(lambda x: x[:, 0], np.ones((2, 2), np.float32), steps=0), ConfigError, "steps=0"),
        (lambda: split_at_maps(nn.MLP((4,), 2), (8,)), ConfigError, "convolutional"),
        (lambda: grad_cam(nn.MLP((4,), 2), (), (), np.ones((2, 8), np.float32)), DataError, "batch, height"),
    ],
)
def test_errors(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_grad_cam_of_a_mean_and_a_dense_layer_is_the_class_activation_map() -> None:
    net = nn.Sequential((nn.Conv(5, 3, padding="same", activation="relu"), nn.GlobalAveragePool(), nn.Dense(3)))
    params, state, _ = net.init(jax.random.key(1), (8, 6, 1))
    images = RNG.normal(size=(4, 8, 6, 1)).astype(np.float32)
    maps = np.asarray(net.layers[0].apply(params[0], state[0], images)[0])
    classes = np.array([0, 1, 2, 1])
    expected = np.maximum(np.einsum("nhwk,kn->nhw", maps, np.asarray(params[2]["kernel"])[:, classes]), 0)
    expected /= np.maximum(expected.max(axis=(1, 2), keepdims=True), 1e-12)
    np.testing.assert_allclose(grad_cam(net, params, state, images, classes), expected, atol=1e-5)
    with pytest.raises(DataError, match="from 0 to 2"):
        grad_cam(net, params, state, images, [0, 1, 2, 3])


def test_a_trained_network_looks_at_what_tells_the_classes_apart() -> None:
    labels = RNG.integers(0, 2, 128)
    images = RNG.normal(0, 0.3, size=(128, 12, 12, 1)).astype(np.float32)
    corners = RNG.integers(0, 7, size=(128, 2))
    for image, label, (row, column) in zip(images, labels, corners, strict=True):
        square = image[row : row + 5, column : column + 5, 0]
        square += 1.5 if label else 1.5 * (np.indices((5, 5)).sum(0) % 2 * 2 - 1)
    net = nn.Sequential((nn.Conv(8, 3, padding="same", activation="relu"), nn.GlobalAveragePool(), nn.Dense(2)))
    fitted = danlu.fit(
        net, (images, labels.astype(np.int32)), loss="categorical_cross_entropy", optimizer=optim.adam(0.02),
        metrics=["accuracy"], epochs=25, batch_size=32, display="none",
    )  # fmt: skip
    assert fitted.evaluate((images, labels.astype(np.int32)))["accuracy"] > 0.9
    seen = grad_cam(net, fitted.params, fitted.state, images, labels)
    inside = np.mean(
        [m[r : r + 5, c : c + 5].sum() / max(m.sum(), 1e-9) for m, (r, c) in zip(seen, corners, strict=True)]
    )
    assert inside > 2 * 25 / 144


def test_attention_maps_of_every_layer_see_no_padding_and_no_future() -> None:
    net = nn.GPT(9, 8, dim=8, num_layers=2, num_heads=2)
    params, state, _ = net.init(jax.random.key(0), (5,))
    x = jnp.asarray(RNG.integers(0, 9, (3, 5)))
    mask = jnp.arange(5)[None] < jnp.array([5, 3, 1])[:, None]
    found = attention_maps(net, params, state, {"x": x, "mask": mask})
    assert [path.split("/")[-1] for path in found] == ["layer", "layer"]
    visible = np.tril(np.ones((5, 5), bool)) & np.asarray(mask)[:, None, None, :]
    for maps in found.values():
        assert maps.shape == (3, 2, 5, 5)
        assert not np.asarray(maps)[~np.broadcast_to(visible, maps.shape)].any()
        np.testing.assert_allclose(maps.sum(-1), 1, rtol=1e-5)
    low = nn.LoRA(net, 2, targets=("*query",))
    wrapped = attention_maps(low, *low.init(jax.random.key(0), (5,))[:2], {"x": x, "mask": mask})
    assert list(wrapped) == list(found)
    with pytest.raises(ConfigError, match="Dense has no attention"):
        attention_maps(nn.Dense(2), {}, {}, x)
