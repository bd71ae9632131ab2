"""Convolution, pooling and their norms: against PyTorch, against XLA's own code, by finite differences, and messages."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from danlu.errors import ConfigError, DataError
from danlu.nn import (
    AdaptiveAveragePool,
    AveragePool,
    BatchNorm,
    Conv,
    ConvTranspose,
    Dense,
    Flatten,
    GlobalMaxPool,
    GroupNorm,
    MaxPool,
    Sequential,
    SqueezeExcite,
    conv_ops,
    pool_ops,
)
from danlu.nn.backprop import gradient_check
from danlu.nn.conv_ops import Window, convolve
from danlu.nn.losses import CategoricalCrossEntropy
from danlu.nn.pool_ops import max_pool

pytestmark = pytest.mark.usefixtures("no_silent_broadcasting")
KEY = jax.random.key(5)
RNG = np.random.default_rng(5)


def draw(*shape: int) -> np.ndarray[Any, Any]:
    return RNG.normal(size=shape).astype(np.float32)


def first(a: Any) -> Any:
    """Channels first, as PyTorch has them."""
    return np.moveaxis(a, -1, 1).copy()


def last(tensor: Any) -> Any:
    return np.moveaxis(tensor.detach().numpy(), 1, -1)


def close(left: Any, right: Any, rtol: float = 1e-4, atol: float = 1e-5) -> None:
    np.testing.assert_allclose(left, right, rtol=rtol, atol=atol)


# layer, shape of the images; PyTorch's arguments follow from the layer
CONVS = {
    "1d": (Conv(4, 3, 2, padding=1), (2, 9, 3)),
    "2d valid": (Conv(4, 3, padding="valid"), (2, 7, 6, 3)),
    "2d strided": (Conv(4, (3, 2), (2, 1), padding=(1, 0), use_bias=False), (2, 7, 6, 3)),
    "2d dilated groups": (Conv(4, 3, padding=2, dilation=2, groups=2), (2, 7, 6, 4)),
    "2d many channels": (Conv(4, 3, padding="valid", stride=2), (6, 7, 6, 32)),
    "depthwise": (Conv(3, 3, 2, padding=1, groups=3), (2, 7, 6, 3)),
    "depthwise large": (Conv(3, 5, padding=2, groups=3), (2, 7, 6, 3)),
    "3d": (Conv(2, 2, padding=1), (2, 4, 3, 5, 2)),
}


@pytest.mark.parametrize("name", sorted(CONVS))
def test_conv_agrees_with_pytorch(name: str, golden: Any) -> None:
    layer, shape = CONVS[name]
    params, _, out_shape = layer.init(KEY, shape[1:])
    x, params = draw(*shape), {key: draw(*a.shape) for key, a in params.items()}
    dy = draw(shape[0], *out_shape)

    @jax.jit
    def run(params: Any, x: Any, dy: Any) -> Any:
        y, back = jax.vjp(lambda params, x: layer.apply(params, {}, x)[0], params, x)
        return y, *back(dy)

    y, by_params, by_x = run(params, x, dy)

    def theirs(torch: Any) -> dict[str, Any]:
        image = torch.tensor(first(x), requires_grad=True)
        kernel = torch.tensor(np.moveaxis(params["kernel"], (-1, -2), (0, 1)).copy(), requires_grad=True)
        bias = torch.tensor(params["bias"], requires_grad=True) if layer.use_bias else None
        how = {"stride": layer.stride, "padding": layer.padding, "dilation": layer.dilation, "groups": layer.groups}
        out = getattr(torch.nn.functional, f"conv{len(shape) - 2}d")(image, kernel, bias, **how)
        out.backward(torch.tensor(first(dy)))
        kernel_grad = np.moveaxis(kernel.grad.numpy(), (0, 1), (-1, -2))
        found = {"y": last(out), "x": last(image.grad), "kernel": kernel_grad}
        return found if bias is None else {**found, "bias": bias.grad}

    expected = golden("torch", theirs)
    for name, ours in {"y": y, "x": by_x, **by_params}.items():
        close(ours, expected[name])


@pytest.mark.parametrize(("size", "stride", "padding"), [(2, 2, "valid"), (3, 2, 1), (3, 1, "valid"), (2, 3, 0)])
def test_conv_transpose_agrees_with_pytorch(size: int, stride: int, padding: Any, golden: Any) -> None:
    layer = ConvTranspose(3, size, stride, padding)
    params, _, out_shape = layer.init(KEY, (4, 3, 2))
    x, params = draw(2, 4, 3, 2), {key: draw(*a.shape) for key, a in params.items()}

    def theirs(torch: Any) -> dict[str, Any]:
        weight = torch.tensor(np.moveaxis(params["kernel"], (-2, -1), (0, 1)).copy())
        args = torch.tensor(first(x)), weight, torch.tensor(params["bias"]), stride
        return {"y": last(torch.nn.functional.conv_transpose2d(*args, 0 if padding == "valid" else padding))}

    y, _ = layer.apply(params, {}, jnp.asarray(x))
    assert y.shape[1:] == out_shape
    close(y, golden("torch", theirs)["y"])


def test_same_padding_is_keras_at_any_stride() -> None:
    """For odd totals the extra zero goes after: with stride 2 on 4 positions a window of 3 starts at 0."""
    layer = Conv(1, 3, 2, initializer="ones", use_bias=False)
    params, _, _ = layer.init(KEY, (4, 1))
    y, _ = layer.apply(params, {}, jnp.asarray([[1.0, 10, 100, 1000]])[..., None])
    assert y.ravel().tolist() == [111.0, 1100.0]
    up = ConvTranspose(1, 3, 2, initializer="ones", use_bias=False)
    params, _, out_shape = up.init(KEY, (2, 1))
    assert out_shape == (4, 1)
    assert up.apply(params, {}, jnp.asarray([[[1.0], [10.0]]]))[0].ravel().tolist() == [1, 1, 11, 10]


def test_causal_padding_never_looks_ahead() -> None:
    layer = Conv(2, 3, padding=((2, 0),))
    params, _, out_shape = layer.init(KEY, (6, 1))
    assert out_shape == (6, 2)
    slope = jax.jacrev(lambda x: layer.apply(params, {}, x[None, :, None])[0][0, :, 0])(jnp.zeros(6))
    assert not np.triu(np.asarray(slope), 1).any()
    assert (np.asarray(slope)[2, :3] != 0).all()


WINDOWS = {
    "crop": ((4, 8, 7, 3), (3, 3, 3, 5), Window((1, 1), ((0, 0), (0, 0)), (1, 1))),
    "patches": ((6, 6, 7, 32), (3, 2, 32, 4), Window((2, 1), ((1, 0), (0, 1)), (1, 1))),
    "blocks": ((3, 9, 8, 2), (4, 2, 2, 3), Window((2, 2), ((1, 0), (0, 1)), (1, 1))),
    "blocks of a sequence": ((3, 11, 2), (6, 2, 3), Window((3,), ((2, 1),), (1,))),
    "depthwise": ((3, 6, 7, 4), (3, 2, 1, 4), Window((2, 1), ((1, 0), (0, 1)), (1, 2), 4)),
    "depthwise rows": ((3, 9, 8, 4), (4, 4, 1, 4), Window((1, 2), ((1, 2), (2, 1)), (2, 1), 4)),
}


@pytest.mark.parametrize("name", sorted(WINDOWS))
def test_quick_paths_equal_xlas_own(name: str) -> None:
    x_shape, kernel_shape, how = WINDOWS[name]
    x, kernel = jnp.asarray(draw(*x_shape)), jnp.asarray(draw(*kernel_shape))
    dy = jnp.asarray(draw(x_shape[0], *how.out(x_shape[1:-1], kernel_shape[:-2]), kernel_shape[-1]))

    @jax.jit
    def both(x: Any, kernel: Any, dy: Any) -> Any:
        y, back = jax.vjp(lambda x, kernel: convolve(x, kernel, how), x, kernel)
        z, plain = jax.vjp(lambda x, kernel: conv_ops._plain(x, kernel, how), x, kernel)
        return (y, *back(dy)), (z, *plain(dy))

    ours, xlas = both(x, kernel, dy)
    for a, b in zip(ours, xlas, strict=True):
        close(a, b, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("name", ["blocks", "crop", "depthwise"])
def test_gradients_of_each_image_equal_those_of_images_alone(name: str) -> None:
    """``vmap`` over rows, as for privacy, and over members of a population around it."""
    x_shape, kernel_shape, how = WINDOWS[name]
    x, kernels = jnp.asarray(draw(*x_shape)), jnp.asarray(draw(2, *kernel_shape))

    def each(conv: Any) -> Any:
        def loss(kernel: Any, row: Any) -> Any:
            return jnp.sum(jnp.tanh(conv(row[None], kernel, how)))

        rows = jax.vmap(jax.grad(loss, (0, 1)), (None, 0))
        return jax.jit(rows)(kernels[0], x), jax.jit(jax.vmap(rows, (0, None)))(kernels, x)

    for ours, plain in zip(jax.tree.leaves(each(convolve)), jax.tree.leaves(each(conv_ops._plain)), strict=True):
        close(ours, plain, rtol=2e-5, atol=2e-5)


def test_the_chain_rule_closes() -> None:
    """Gradients of gradients, in every array, and over members of a population."""
    how = Window((2, 1), ((1, 0), (0, 1)), (1, 1))
    x, kernels = jnp.asarray(draw(2, 5, 4, 2)), jnp.asarray(draw(2, 3, 2, 2, 3))

    def penalty(conv: Any) -> Any:
        def loss(x: Any, kernel: Any) -> Any:
            return jnp.sum(jnp.tanh(conv(x, kernel, how)))

        def total(x: Any, kernel: Any) -> Any:
            by_x, by_kernel = jax.grad(loss, (0, 1))(x, kernel)
            return jnp.sum(by_x**2) + jnp.sum(by_kernel**3)

        return jax.jit(jax.vmap(jax.grad(total, (0, 1)), (None, 0)))(x, kernels)

    for ours, plain in zip(penalty(convolve), penalty(conv_ops._plain), strict=True):
        close(ours, plain, rtol=1e-3, atol=1e-3)


POOLS = [((2, 2), (2, 2), 0, (7, 6)), ((3, 3), (2, 2), 1, (7, 6)), ((3, 2), (1, 3), 0, (7, 6)), ((2,), (2,), 0, (9,))]


@pytest.mark.parametrize(("window", "stride", "pad", "spatial"), POOLS)
def test_max_pool_agrees_with_xla_and_pytorch_at_ties(
    window: Any, stride: Any, pad: int, spatial: Any, golden: Any
) -> None:
    x = RNG.integers(-2, 2, (3, *spatial, 2)).astype(np.float32)  # few values: many ties
    how = Window(stride, ((pad, pad),) * len(window), (1,) * len(window))
    y, back = jax.vjp(lambda x: max_pool(x, window, how), jnp.asarray(x))
    z, plain = jax.vjp(lambda x: pool_ops._plain_max(x, window, how), jnp.asarray(x))
    dy = draw(*y.shape)
    np.testing.assert_array_equal(y, z)
    close(back(dy)[0], plain(dy)[0], atol=1e-6)

    def theirs(torch: Any) -> dict[str, Any]:
        tensor = torch.tensor(first(x), requires_grad=True)
        out = getattr(torch.nn.functional, f"max_pool{len(window)}d")(tensor, window, stride, pad)
        out.backward(torch.tensor(first(dy)))
        return {"y": last(out), "x": last(tensor.grad)}

    expected = golden("torch", theirs)
    np.testing.assert_array_equal(y, expected["y"])
    close(back(dy)[0], expected["x"], atol=1e-6)


@pytest.mark.parametrize(("window", "stride", "pad"), [(2, None, 0), (3, 2, 1), (3, 1, 0)])
def test_average_pools_agree_with_pytorch(window: int, stride: int | None, pad: int, golden: Any) -> None:
    x = draw(2, 7, 6, 3)
    y, _ = AveragePool(window, stride, pad).apply({}, {}, jnp.asarray(x))
    sizes = list(itertools.product((1, 3), (2, 4)))

    def theirs(torch: Any) -> dict[str, Any]:
        pools, given = torch.nn.functional, torch.tensor(first(x))
        found = {str(cells): last(pools.adaptive_avg_pool2d(given, cells)) for cells in sizes}
        return {**found, "y": last(pools.avg_pool2d(given, window, stride, pad, count_include_pad=False))}

    expected = golden("torch", theirs)
    close(y, expected["y"])
    for cells in sizes:
        y, _ = AdaptiveAveragePool(cells).apply({}, {}, jnp.asarray(x))
        close(y, expected[str(cells)])


@pytest.mark.parametrize("groups", [1, 2, None])
def test_group_norm_agrees_with_pytorch(groups: int | None, golden: Any) -> None:
    x, scale, bias = 3 + draw(2, 5, 4, 6), draw(6), draw(6)
    y, _ = GroupNorm(groups).apply({"scale": jnp.asarray(scale), "bias": jnp.asarray(bias)}, {}, jnp.asarray(x))

    def theirs(torch: Any) -> dict[str, Any]:
        args = (torch.tensor(first(x)), groups or 6, torch.tensor(scale), torch.tensor(bias))
        return {"y": last(torch.nn.functional.group_norm(*args))}

    close(y, golden("torch", theirs)["y"])


def test_batch_norm_of_images_agrees_with_pytorch(golden: Any) -> None:
    x, layer = draw(4, 5, 3, 6) * 2 + 1, BatchNorm()

    def theirs(torch: Any) -> dict[str, Any]:
        norm = torch.nn.BatchNorm2d(6)
        return {"y": last(norm(torch.tensor(first(x)))), "variance": norm.running_var}

    expected = golden("torch", theirs)
    params, state, _ = layer.init(KEY, (5, 3, 6))
    y, state = layer.apply(params, state, jnp.asarray(x), train=True)
    close(y, expected["y"])
    close(state["variance"], expected["variance"])


def test_squeeze_excite_is_its_formula() -> None:
    layer = SqueezeExcite(2)
    params, state, _ = layer.init(KEY, (3, 2, 4))
    x = draw(2, 3, 2, 4)
    _, one, two = jax.tree.map(np.asarray, params)
    hidden = np.maximum(x.mean((1, 2)) @ one["kernel"] + one["bias"], 0)
    gates = 1 / (1 + np.exp(-(hidden @ two["kernel"] + two["bias"])))
    close(layer.apply(params, state, jnp.asarray(x))[0], x * gates[:, None, None, :])


def test_gradients_by_finite_differences() -> None:
    net = Sequential(
        (
            Conv(4, 3, padding="valid", activation="tanh"),
            Conv(4, 3, groups=4),
            MaxPool(2),
            ConvTranspose(3, 2),
            GroupNorm(3),
            Flatten(),
            Dense(3),
        )
    )
    params, state, _ = net.init(KEY, (6, 6, 2))
    x, y = jnp.asarray(draw(3, 6, 6, 2)), jnp.asarray([0, 1, 2])
    report = gradient_check(net, params, state=state, x=x, y=y, loss=CategoricalCrossEntropy())
    assert report.ok, str(report)


def test_a_moved_image_moves_the_map() -> None:
    layer = Conv(3, 3, activation="relu")
    params, _, _ = layer.init(KEY, (10, 10, 2))
    x = np.zeros((1, 10, 10, 2), np.float32)
    x[:, 2:6, 2:6] = draw(1, 4, 4, 2)
    y, moved = (np.asarray(layer.apply(params, {}, jnp.asarray(a))[0]) for a in (x, np.roll(x, (2, 1), (1, 2))))
    close(np.roll(y, (2, 1), (1, 2)), moved)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Conv(0), "Conv.features is 0"),
        (lambda: Conv(4, 0), r"Conv.kernel_size is 0; expected a whole number >= 1"),
        (lambda: Conv(4, 3, stride=(1, 0)), "Conv.stride"),
        (lambda: Conv(4, 3, padding="full"), 'expected "same", "valid"'),
        (lambda: Conv(4, 3, padding=-1), "Conv.padding is -1"),
        (lambda: Conv(4, 3, groups=3), "4 features in 3 groups"),
        (lambda: Conv(4, 3, activation="relo"), "did you mean 'relu'"),
        (lambda: Conv(4, 3, groups=2).init(KEY, (8, 8, 3)), "3 channels for 2 groups"),
        (lambda: Conv(4, (3, 3)).init(KEY, (8, 2)), "the input has 1 spatial axes"),
        (lambda: Conv(4, 9, padding="valid").init(KEY, (8, 8, 2)), "expected it to fit"),
        (lambda: Conv(4, 3).init(KEY, (8,)), "one to three spatial axes"),
        (lambda: MaxPool(2, padding=2).init(KEY, (8, 8, 2)), "expected less than the window"),
        (lambda: MaxPool(9).init(KEY, (8, 8, 2)), "expected it to fit"),
        (lambda: GlobalMaxPool().init(KEY, (8,)), "one to three spatial axes"),
        (lambda: GroupNorm(4).init(KEY, (8, 8, 6)), "expected a divisor of the channels"),
        (lambda: ConvTranspose(3, 2, 1, padding=4).init(KEY, (3, 3, 1)), "cuts everything off"),
    ],
)
def test_errors(make: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()


def test_images_of_other_channels_or_rank_are_refused() -> None:
    for layer in (Conv(3, 3), ConvTranspose(3)):
        params, _, _ = layer.init(KEY, (4, 4, 2))
        with pytest.raises(DataError, match=r"expected \(batch, ..., 2\)"):
            layer.apply(params, {}, jnp.ones((1, 4, 4, 3)))
        with pytest.raises(DataError, match=r"expected \(batch, n, n, channels"):
            layer.apply(params, {}, jnp.ones((1, 4, 2)))
