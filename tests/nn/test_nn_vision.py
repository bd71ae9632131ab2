"""The ready networks for images: published parameter counts, PyTorch's numbers, shapes, messages, and that they learn."""

from __future__ import annotations

import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from danlu.blueprint import from_json, to_json
from danlu.errors import ConfigError
from danlu.nn import ConvNeXt, LeNet, Residual, ResNet, Sequential, UNet, summary

KEY = jax.random.key(3)


@pytest.mark.parametrize(
    ("net", "in_shape", "parameters"),
    [
        (LeNet(10), (28, 28, 1), 61_706),
        (ResNet(1000, 18), (224, 224, 3), 11_689_512),
        (ResNet(1000, 34), (224, 224, 3), 21_797_672),
        (ResNet(1000, 50), (224, 224, 3), 25_557_032),
        (ResNet(10, 18, "cifar"), (32, 32, 3), 11_173_962),
        (ConvNeXt(1000), (224, 224, 3), 28_589_128),
        (UNet(1), (64, 64, 3), 31_037_633),
    ],
)
def test_published_parameter_counts(net: Any, in_shape: Any, parameters: int) -> None:
    out: list[Any] = []
    params = jax.eval_shape(lambda: (lambda p, s, o: (out.append(o), p)[1])(*net.init(KEY, in_shape)))
    assert sum(a.size for a in jax.tree.leaves(params)) == parameters
    assert out == [(*in_shape[:-1], net.outputs) if isinstance(net, UNet) else (net.outputs,)]


def test_resnet_18_costs_what_it_is_known_to() -> None:
    flops = ResNet(1000).flops((224, 224, 3))
    assert flops is not None
    assert 1.81e9 < flops / 2 < 1.84e9, "1.8 billion multiply-adds"


def _torch_block(torch: Any, params: Any, shortcut: bool) -> Any:
    """PyTorch's own layers with the weights of one basic block."""
    functional = torch.nn.functional

    def tensor(a: Any) -> Any:
        return torch.tensor(np.asarray(a))

    def conv(x: Any, p: Any, stride: int) -> Any:
        kernel = tensor(p["kernel"]).permute(3, 2, 0, 1)
        return functional.conv2d(x, kernel, stride=stride, padding=kernel.shape[-1] // 2)

    def norm(x: Any, p: Any) -> Any:
        return functional.batch_norm(x, None, None, tensor(p["scale"]), tensor(p["bias"]), training=True)

    def run(x: Any) -> Any:
        path, side = params[0]
        h = norm(conv(x, path[0], 2), path[1]).relu()
        h = norm(conv(h, path[3], 1), path[4])
        return (h + norm(conv(x, side[0], 2), side[1])).relu()

    return run


def test_a_residual_block_is_pytorchs(golden: Any) -> None:
    block = ResNet(10, 18, width=4).expanded.layers[2].layers[0]
    assert isinstance(block, Sequential)
    assert isinstance(block.layers[0], Residual)
    params, state, out_shape = block.init(KEY, (6, 7, 4))
    assert out_shape == (3, 4, 8)
    x = np.random.default_rng(0).normal(size=(3, 6, 7, 4)).astype(np.float32)
    ours, _ = block.apply(params, state, jnp.asarray(x), train=True)

    def theirs(torch: Any) -> dict[str, Any]:
        y = _torch_block(torch, params, shortcut=True)(torch.tensor(x).permute(0, 3, 1, 2))
        return {"y": y.permute(0, 2, 3, 1)}

    np.testing.assert_allclose(ours, golden("torch", theirs)["y"], rtol=1e-4, atol=1e-5)


NETS = [
    (LeNet(3), (12, 12, 1)),
    (ResNet(3, 18, "cifar", width=2), (8, 8, 2)),
    (ConvNeXt(3, (1, 1), (4, 8), patch=2, scale=0.5), (8, 8, 1)),
    (UNet(3, (4, 8)), (4, 4, 1)),
    (UNet(3, (4,), "none"), (5, 2)),
]


# Deep networks take long to compile.
SLOW = {ResNet, UNet}
LEARNERS = [
    pytest.param(
        net, shape, id=f"{type(net).__name__}{i}", marks=[pytest.mark.slow] if type(net) in SLOW and i < 4 else []
    )
    for i, (net, shape) in enumerate(NETS)
]


@pytest.mark.parametrize(("net", "in_shape"), LEARNERS)
def test_is_json_and_its_expansion_and_every_parameter_learns(net: Any, in_shape: Any) -> None:
    assert from_json(json.loads(json.dumps(to_json(net)))) == net
    x = jax.random.normal(KEY, (4, *in_shape))

    @jax.jit
    def run(key: jax.Array) -> Any:
        params, state, _ = net.init(key, in_shape)

        def total(params: Any) -> Any:
            y, _ = net.apply(params, state, x, train=True)
            return jnp.sum(jnp.square(y - 1)), y

        return jax.grad(total, has_aux=True)(params)

    gradients, y = run(KEY)
    assert y.shape == (4, *net.out_shape(in_shape))
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradients):
        assert jnp.isfinite(leaf).all(), path
        assert jnp.any(leaf != 0), f"{path} has no gradient"


def test_summary_shows_the_parts() -> None:
    text = str(summary(LeNet(10), (28, 28, 1)))
    assert "Conv(6, kernel_size=5, activation=relu)" in text or "Conv(6" in text
    assert "14×14×6" in text


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ResNet(10, 20), "ResNet.depth is 20; expected one of: 18, 34"),
        (lambda: ResNet(10, stem="mnist"), "one of: cifar, imagenet"),
        (lambda: ConvNeXt(10, (1, 1), (4,)), "2 depths and 1 dims"),
        (lambda: ConvNeXt(10, 3, (4,)), "ConvNeXt.depths is 3"),
        (lambda: UNet(1, ()), "UNet.widths"),
        (lambda: UNet(1, (4, 8)).init(KEY, (7, 8, 3)), "expected multiples of 2"),
        (lambda: LeNet(10).init(KEY, (4, 4, 1)), "expected it to fit"),
    ],
)
def test_errors(make: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()
