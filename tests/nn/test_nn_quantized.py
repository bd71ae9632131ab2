"""Numbers of a few bits: the affine map against other libraries, products of whole numbers against real ones, and what is refused."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from danlu.errors import ConfigError
from danlu.nn import GPT, GRU, LSTM, MLP, Conv, Dense, Ensemble, Flatten, MaxPool, Quantized, Sequential
from danlu.nn.quantized import Simulated, weights_of
from danlu.nn.quantized.affine import affine, codes, fake, limits, repeated_scale, symmetric, values, weight_scale
from danlu.nn.quantized.ranges import RANGES, Seen, calibrated

# torch 2.13: quantize_per_channel(w, |w|.amax(0)/127, 0, axis=1, qint8)
WEIGHT = np.array([[0.3, -1.27, 0.015], [0.9, 0.635, -0.005], [-0.4, 1.0, 0.011]], np.float32)
TORCH_CODES = [[42, -127, 127], [127, 64, -42], [-56, 100, 93]]
# torch 2.13: fake_quantize_per_tensor_affine(x, 0.1, -8, -32, 15), and the gradient of its sum
X = np.array([-0.7, -0.05, 0.0, 0.05, 0.15, 0.62, 2.4, 3.1], np.float32)
TORCH_FAKE = [-0.7, 0.0, 0.0, 0.0, 0.2, 0.6, 2.3, 2.3]
TORCH_SLOPE = [1, 1, 1, 1, 1, 1, 0, 0]


def test_codes_of_a_channel_are_torchs() -> None:
    scale = weight_scale(WEIGHT, (1,))
    found = codes(WEIGHT, scale, symmetric=True)
    assert found.tolist() == TORCH_CODES
    assert found.dtype == jnp.int8
    # torch: quantize_per_tensor(x, 0.02, -90, qint8)
    assert codes(X, 0.02, -90).tolist() == [-125, -92, -90, -88, -82, -59, 30, 65]


def test_codes_and_values_are_those_of_onnx() -> None:
    reference = pytest.importorskip("onnx.reference")
    from onnx import helper

    rng = np.random.default_rng(0)
    x = rng.normal(size=(5, 7)).astype(np.float32)
    x[0] = (np.arange(7) - 3.5) * 0.25  # halves
    for scale, zero in ((np.float32(0.25), np.int8(3)), (np.float32(0.013), np.int8(-128))):
        to = reference.ReferenceEvaluator(helper.make_node("QuantizeLinear", ["x", "s", "z"], ["y"]))
        whole = to.run(None, {"x": x, "s": scale, "z": zero})[0]
        back = reference.ReferenceEvaluator(helper.make_node("DequantizeLinear", ["x", "s", "z"], ["y"]))
        assert np.array_equal(codes(x, scale, zero), whole)
        real = back.run(None, {"x": whole, "s": scale, "z": zero})[0]
        np.testing.assert_allclose(values(whole, scale, jnp.asarray(zero)), real, rtol=1e-6)


def test_a_half_goes_to_the_even_neighbour() -> None:
    assert codes(np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5]), 1.0).tolist() == [-2, -2, 0, 0, 2, 2]


def test_zero_is_exact_and_the_ends_are_inside() -> None:
    for low, high in ((-1.0, 1.0), (-1.0, 3.0), (0.5, 6.0), (-7.0, -2.0), (0.0, 0.0)):
        scale, zero = affine(low, high)
        assert float(values(codes(np.zeros(1), scale, zero), scale, zero)[0]) == 0
        ends = np.array([min(low, 0), max(high, 0)], np.float32)
        assert np.abs(values(codes(ends, scale, zero), scale, zero) - ends).max() <= float(scale) / 2 + 1e-6
    assert float(symmetric(0.0)) == 1


@pytest.mark.parametrize(
    ("bits", "group", "kept"), [(8, None, (1,)), (4, 32, (1,)), (4, 7, (0,)), (8, None, ()), (8, 16, (1,))]
)
def test_no_weight_is_off_by_more_than_half_a_step(bits: int, group: int | None, kept: tuple[int, ...]) -> None:
    weight = np.random.default_rng(1).normal(size=(70, 9)).astype(np.float32)
    scale = weight_scale(weight, kept, bits=bits, group=group)
    steps = np.broadcast_to(repeated_scale(scale, weight.shape, group), weight.shape)
    whole = codes(weight, steps, bits=bits, symmetric=True)
    assert np.abs(np.asarray(values(whole, steps)) - weight).max() <= steps.max() / 2 + 1e-7
    assert (np.abs(np.asarray(values(whole, steps)) - weight) <= steps / 2 + 1e-7).all()
    assert np.abs(np.asarray(whole).astype(int)).max() == limits(bits)[1]  # the largest number has the last code


def test_groups_follow_the_weights_that_they_hold() -> None:
    weight = np.repeat([[1.0], [100.0]], 32, axis=0).astype(np.float32)  # two groups
    np.testing.assert_allclose(weight_scale(weight, (1,), bits=4, group=32)[:, 0], [1 / 7, 100 / 7], rtol=1e-6)
    assert weight_scale(weight, (1,), bits=4, group=64).shape == (1, 1)


def test_rounding_has_the_gradient_of_torch() -> None:
    x = jnp.asarray(X)
    found, slope = jax.vjp(lambda x: _forty_eight(x, 0.1), x)
    np.testing.assert_allclose(found, TORCH_FAKE, atol=1e-6)
    assert slope(jnp.ones_like(x))[0].tolist() == TORCH_SLOPE


def _forty_eight(x: Any, scale: Any) -> Any:
    """48 codes from −32 to 15 around a zero point of −8, as 8 bits would be: those of 8 bits, cut."""
    low, high = (-32 + 8) * 0.1, (15 + 8) * 0.1
    return fake(jnp.clip(x, low, high), scale, -8)


def test_the_largest_number_has_its_whole_gradient() -> None:
    assert jax.grad(lambda x: fake(x, 0.5, symmetric=True).sum())(jnp.array([63.5, -63.5])).tolist() == [1, 1]


def test_the_step_has_the_gradient_of_lsq() -> None:
    # torch 2.13: _fake_quantize_learnable_per_tensor_affine(x, 0.1, 0, −128, 127): 0.3; with a step of 0.01: 254
    for step, slope in ((0.1, 0.3), (0.01, 254.0)):
        assert float(jax.grad(lambda s: fake(jnp.asarray(X), s).sum())(step)) == pytest.approx(slope, abs=1e-4)


def _network(name: str) -> tuple[Any, Any]:
    key = jax.random.key(0)
    pictures = jax.random.normal(key, (3, 6, 6, 4))
    return {
        "dense": lambda: (MLP((16,), 3), jax.random.normal(key, (5, 12))),
        "conv": lambda: (
            Sequential(
                (Conv(8, 3, stride=2), Conv(8, 3, padding=2, dilation=2, groups=2), MaxPool(2), Flatten(), Dense(2))
            ),
            pictures,
        ),
        "lstm": lambda: (LSTM(12), jax.random.normal(key, (2, 4, 8))),
        "gpt": lambda: (GPT(29, 6, dim=16, num_layers=1, num_heads=2), jax.random.randint(key, (2, 6), 0, 29)),
    }[name]()


@pytest.fixture(scope="module", params=["dense", "conv", "lstm", "gpt"])
def trained(request: pytest.FixtureRequest) -> Any:
    net, x = _network(request.param)
    params, state, _ = net.init(jax.random.key(1), x.shape[1:])
    return net, params, state, x, weights_of(net, params, state, x)


def test_products_of_whole_numbers_are_those_of_rounded_ones(trained: Any) -> None:
    net, params, state, x, weights = trained
    ranges = calibrated(net, params, state, x, weights)
    whole = Quantized(net, weights, activations="static", sites=len(ranges))
    given = {"scale": jnp.array([s for s, _ in ranges]), "zero": jnp.array([z for _, z in ranges], jnp.int8)}
    made = whole.adapt(params, state, given)
    found = jax.jit(whole.apply)(*made, x)[0]
    real = jax.jit(Simulated(net, weights, activations="static", ranges=ranges).apply)(params, state, x)[0]
    largest = np.abs(real).max()
    assert np.abs(found - real).max() <= 2e-5 * largest
    plain = net.apply(params, state, x)[0]
    assert 1e-6 * largest < np.abs(found - plain).max() < 0.05 * largest
    # The int8 codes are what the products are made of.
    text = str(jax.make_jaxpr(lambda x: whole.apply(*made, x)[0])(x))
    assert "preferred_element_type=int32" in text


def test_weights_alone_are_the_network_with_rounded_weights(trained: Any) -> None:
    net, params, state, x, weights = trained
    whole = Quantized(net, weights, bits=4, group=8)
    made = whole.adapt(params, state)
    plain, inner = whole.merge(*made)
    assert np.array_equal(whole.apply(*made, x)[0], net.apply(plain, inner, x)[0])
    assert {str(each.dtype) for each in made[1]["codes"].values()} == {"int4"}


def test_weights_are_found_by_what_sums_over_them() -> None:
    net, x = _network("gpt")
    params, state, _ = net.init(jax.random.key(1), x.shape[1:])
    found = dict(weights_of(net, params, state, x))
    assert found["0/table"] == (0,)  # looked up by row, and multiplied from the other side
    assert all(axes == (1,) for path, axes in found.items() if "table" not in path)
    gates = GRU(8)
    sequence = jnp.ones((1, 3, 8))
    params, state, _ = gates.init(jax.random.key(1), (3, 8))
    assert all(axes == (1,) for _, axes in weights_of(gates, params, state, sequence))
    assert len(weights_of(gates, params, state, sequence)) == sum(leaf.ndim > 1 for leaf in jax.tree.leaves(params))


def test_a_row_does_not_depend_on_its_neighbours() -> None:
    net, x = _network("dense")
    params, state, _ = net.init(jax.random.key(1), (12,))
    whole = Quantized(net, weights_of(net, params, state, x), activations="dynamic")
    made = whole.adapt(params, state)
    beside = x.at[1:].multiply(1000.0)
    run = jax.jit(whole.apply)
    assert np.array_equal(run(*made, x)[0][0], run(*made, beside)[0][0])
    assert np.isfinite(run(*made, jnp.zeros_like(x))[0]).all()


def test_the_gradient_of_whole_numbers_is_that_of_the_real_network() -> None:
    net, x = _network("dense")
    params, state, _ = net.init(jax.random.key(1), (12,))
    weights = weights_of(net, params, state, x)
    whole = Quantized(net, weights, activations="dynamic")
    made = whole.adapt(params, state)
    learning = Simulated(net, weights, activations="dynamic")
    found = jax.grad(lambda x: whole.apply(*made, x)[0].sum())(x)
    real = jax.grad(lambda x: learning.apply(params, state, x)[0].sum())(x)
    np.testing.assert_allclose(found, real, rtol=1e-4, atol=1e-5)


def test_copies_have_codes_of_their_own() -> None:
    net, x = _network("dense")
    keys = jax.random.split(jax.random.key(2), 2)
    each = [net.init(key, (12,))[:2] for key in keys]
    whole = Quantized(net, weights_of(net, *each[0], x), activations="dynamic")
    made = [whole.adapt(*one) for one in each]
    both = jax.tree.map(lambda *leaves: jnp.stack(leaves), *made)
    found = Ensemble(whole, 2).apply(*both, x)[0]
    for place, one in enumerate(made):
        np.testing.assert_allclose(found[:, place], whole.apply(*one, x)[0], rtol=1e-5, atol=1e-6)


def test_training_feels_the_rounding() -> None:
    """A weight between two codes is drawn to where the loss is least *after* rounding."""
    net = Simulated(Dense(1, use_bias=False), (("kernel", (1,)),), bits=4)
    params = {"kernel": jnp.array([[7.0], [2.4]])}  # steps of 1
    x = jnp.array([[0.0, 1.0]])
    descend = jax.jit(jax.grad(lambda p: jnp.square(net.apply(p, {}, x)[0] - 3.0).sum()))
    for _ in range(40):
        slope = descend(params)
        params = jax.tree.map(lambda p, g: p - 0.05 * g, params, slope)
    assert float(net.apply(params, {}, x)[0][0, 0]) == pytest.approx(3.0)


def test_ranges_leave_an_outlier_out_as_they_say() -> None:
    seen = Seen()
    seen.add(np.append(np.random.default_rng(0).normal(size=60_000), 100.0))
    reach = {name: RANGES[name](seen)[1] for name in RANGES}
    assert reach["whole"] == 100
    assert reach["percentile"] == pytest.approx(3.72, abs=0.3)  # 1 − Φ(3.72) = 1e-4
    assert reach["error"] < 100
    assert reach["entropy"] < 100
    flat = Seen()
    flat.add(np.linspace(0, 1, 10_001))
    assert RANGES["error"](flat)[1] > 0.95


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"bits": 5}, "expected 8 or 4"),
        ({"bits": 4, "activations": "dynamic"}, "weights of 8 bits without groups"),
        ({"activations": "static"}, "expected sites"),
        ({"sites": 2}, "expected sites"),
    ],
)
def test_what_makes_no_sense_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Quantized(Dense(2), (("kernel", (1,)),), **given)


def test_a_missing_weight_is_named() -> None:
    params, state, _ = Dense(2).init(jax.random.key(0), (3,))
    with pytest.raises(ConfigError, match="names 'kernal'"):
        Quantized(Dense(2), (("kernal", (1,)),)).adapt(params, state)
