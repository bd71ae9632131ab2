"""The training step of a small convolutional network, danlu and PyTorch in turn: ``python benchmarks/cnn.py``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness import Recipe, as_danlu_starts  # the files beside this one
from step import Part, StepBenchmark

ROWS, BATCH, CLASSES = 1024, 64, 10
# Multiply-adds count 2; the first layer passes no error on, the others run three products of the forward's size.
CONV1, CONV2 = BATCH * 2 * 26 * 26 * 9 * 32, BATCH * 2 * 24 * 24 * 9 * 32 * 64
DENSE1, DENSE2 = BATCH * 2 * 9216 * 128, BATCH * 2 * 128 * CLASSES


def make_data() -> tuple[Any, Any]:
    """Fixed images ``(rows, 28, 28, 1)`` with one bright square each, whose place is the label."""
    import numpy as np

    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(ROWS, 28, 28, 1)).astype(np.float32), rng.integers(0, CLASSES, ROWS)
    for image, label in zip(x, y, strict=True):
        row, column = divmod(int(label), 4)
        image[8 * row : 8 * row + 6, 7 * column : 7 * column + 5] += 1
    return x, y.astype(np.int32)


def danlu_net() -> Any:
    """The network out of danlu's layers."""
    from danlu import nn

    convolutions = [nn.Conv(features, 3, padding="valid", activation="relu") for features in (32, 64)]
    return nn.Sequential((*convolutions, nn.MaxPool(2), nn.Flatten(), nn.Dense(128, "relu"), nn.Dense(CLASSES)))


def contiguous(x: Any) -> tuple[Any, Any]:
    """PyTorch's network in its default layout, channels before rows and columns."""
    from torch import nn

    convolutions = nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()
    model = nn.Sequential(*convolutions, nn.Linear(9216, 128), nn.ReLU(), nn.Linear(128, CLASSES))
    return as_danlu_starts(model), x.permute(0, 3, 1, 2).contiguous()


def channels_last(x: Any) -> tuple[Any, Any]:
    """The same in the other layout."""
    import torch

    model, inputs = (a.to(memory_format=torch.channels_last) for a in contiguous(x))
    return model, inputs


def parts() -> Mapping[str, Part]:
    """The convolutions' three products each, and what else takes time."""
    import jax
    import jax.numpy as jnp

    from danlu import optim
    from danlu.nn.conv_ops import Window, convolve, input_gradient, kernel_gradient, max_pool

    key = jax.random.key(0)

    def drawn(*shape: int) -> Any:
        return jax.random.normal(key, shape)

    how, two = Window((1, 1), ((0, 0), (0, 0)), (1, 1)), Window((2, 2), ((0, 0), (0, 0)), (1, 1))
    image, x, k1, k2 = drawn(BATCH, 28, 28, 1), drawn(BATCH, 26, 26, 32), drawn(3, 3, 1, 32), drawn(3, 3, 32, 64)
    dy1, dy2, dp = drawn(BATCH, 26, 26, 32), drawn(BATCH, 24, 24, 64), drawn(BATCH, 12, 12, 64)
    params, _, _ = danlu_net().init(key, (28, 28, 1))
    adam = optim.adam()
    return {
        "conv 2 forward": Part(lambda x, k: convolve(x, k, how), (x, k2), CONV2),
        "conv 2 input gradient": Part(lambda d, k: input_gradient(d, k, x.shape, how), (dy2, k2), CONV2),
        "conv 2 kernel gradient": Part(lambda x, d: kernel_gradient(x, d, k2.shape, how), (x, dy2), CONV2),
        "conv 1 forward": Part(lambda x, k: convolve(x, k, how), (image, k1), CONV1),
        "conv 1 kernel gradient": Part(lambda x, d: kernel_gradient(x, d, k1.shape, how), (image, dy1), CONV1),
        "dense 1, three products": Part(
            lambda x, w, dy: (x @ w, dy @ w.T, x.T @ dy), (drawn(BATCH, 9216), drawn(9216, 128), drawn(BATCH, 128)),
            3 * DENSE1,
        ),
        "max-pool, both ways": Part(lambda x, d: jax.vjp(lambda x: max_pool(x, (2, 2), two), x)[1](d), (dy2, dp)),
        "Adam": Part(adam.update, (jax.tree.map(jnp.ones_like, params), adam.init(params), params)),
    }  # fmt: skip


if __name__ == "__main__":
    StepBenchmark(
        title="A training step of a small convolutional network",
        about=f"Conv 3×3 (32) → conv 3×3 (64) → max-pool 2 → dense 128 → {CLASSES} on 28×28×1 images, without padding, "
        f"batches of {BATCH}, Adam, float32.",
        recipe=Recipe(epochs=6, batch=BATCH),
        flops=2 * CONV1 + 3 * (CONV2 + DENSE1 + DENSE2),
        data=make_data,
        danlu=danlu_net,
        torch={"PyTorch, channels_last": channels_last, "PyTorch, contiguous": contiguous},
        parts=parts,
    ).main(__doc__)
