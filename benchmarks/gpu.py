"""Training steps on GPUs in bfloat16, danlu and PyTorch's ``torch.compile`` in turn: ``python benchmarks/gpu.py``.

On one GPU both libraries, and attention by itself, written out and as cuDNN's flash attention; on all GPUs of the machine danlu with GPT-2
whole on each and fully sharded (FSDP), with the most memory that a GPU held.

GPT-2 of 124 million parameters (nanoGPT's: 12 layers, 12 heads, 768 features, 1024 tokens, vocabulary padded to 50,304) and
ResNet-18 on 32×32 images (PyTorch's in ``channels_last``). Without a GPU it stops, but ``TINY=1`` tries it on a CPU with small sizes, where
two parts of the CPU stand for two GPUs and XLA's attention for cuDNN's.
"""

from __future__ import annotations

import argparse
import functools
import os
from pathlib import Path
from typing import Any, NamedTuple

import gpt  # the files beside this one
import harness
import step
from harness import Figures, Recipe

TINY = os.environ.get("TINY") == "1"
WHOLE, SHARDED = "danlu, all GPUs", "danlu, FSDP"
GPT2 = gpt.Sizes(2, 2, 32, 16, 96) if TINY else gpt.Sizes(layers=12, heads=12, dim=768, context=1024, vocabulary=50304)
WIDTH, SIDE, CLASSES = (4, 8, 10) if TINY else (64, 32, 10)
# Tensor cores with bfloat16 and 32-bit sums, without sparsity, in TFLOP/s: NVIDIA's data sheets.
PEAKS = {"H100": 989.0, "H200": 989.0, "A100": 312.0, "L4": 121.0, "4090": 165.0}


class Task(NamedTuple):
    """What both libraries train, and what a row of it counts as: its tokens, or one image."""

    recipe: Recipe
    data: Any
    danlu: Any
    torch: Any
    unit: str
    units: int


def _resnet_data(rows: int) -> tuple[Any, Any]:
    import numpy as np

    rng = np.random.default_rng(0)
    y = rng.integers(0, CLASSES, rows)
    x = rng.normal(size=(rows, SIDE, SIDE, 3)) + y[:, None, None, None] / CLASSES
    return x.astype(np.float32), y.astype(np.int32)


def _danlu_resnet() -> Any:
    from danlu import nn

    return nn.ResNet(CLASSES, 18, "cifar", width=WIDTH)


def _torch_resnet(x: Any) -> tuple[Any, Any]:
    """ResNet-18 with a 3×3 stem, as danlu's."""
    import torch
    from torch import nn

    class Block(nn.Module):
        def __init__(self, inputs: int, outputs: int, stride: int) -> None:
            super().__init__()
            convolution = functools.partial(nn.Conv2d, bias=False)
            self.one = convolution(inputs, outputs, 3, stride, 1)
            self.two = convolution(outputs, outputs, 3, 1, 1)
            self.norm1, self.norm2 = nn.BatchNorm2d(outputs), nn.BatchNorm2d(outputs)
            same = stride == 1 and inputs == outputs
            short = [] if same else [convolution(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs)]
            self.short = nn.Sequential(*short)

        def forward(self, x: Any) -> Any:
            y = torch.relu(self.norm1(self.one(x)))
            return torch.relu(self.norm2(self.two(y)) + self.short(x))

    layers: list[Any] = [nn.Conv2d(3, WIDTH, 3, 1, 1, bias=False), nn.BatchNorm2d(WIDTH), nn.ReLU()]
    width = WIDTH
    for stage in range(4):
        for block in range(2):
            wider = WIDTH * 2**stage
            layers.append(Block(width, wider, 2 if stage and not block else 1))
            width = wider
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, CLASSES)]
    channels_last = torch.channels_last
    return nn.Sequential(*layers).to(memory_format=channels_last), x.permute(0, 3, 1, 2).to(memory_format=channels_last)


def tasks(epochs: int) -> dict[str, Task]:
    """The two tasks; an epoch is 20 steps."""
    batch, images = (4, 4) if TINY else (16, 512)
    return {
        "GPT-2 124M": Task(
            Recipe(epochs, batch, 6e-4, 0.1, mixed=True),
            functools.partial(gpt.make_data, GPT2, 20 * batch),
            functools.partial(gpt.danlu_net, GPT2),
            functools.partial(gpt.torch_net, sizes=GPT2),
            "tokens",
            GPT2.context,
        ),
        "ResNet-18": Task(
            Recipe(epochs, images, mixed=True),
            functools.partial(_resnet_data, 20 * images),
            _danlu_resnet,
            _torch_resnet,
            "images",
            1,
        ),
    }


def contest(options: argparse.Namespace) -> Figures:
    """In the contestant's process: train, then time a large product in bfloat16."""
    library, name = options.contestant.split(": ")
    task = tasks(options.epochs)[name]
    data, recipe = task.data(), task.recipe
    peak, attention = 0, {}
    if library != "PyTorch":
        import jax

        if not TINY and jax.default_backend() != "gpu":
            raise SystemExit(
                "JAX has no GPU here (pip install 'danlu[cuda]' brings its code); TINY=1 tries this on a CPU"
            )
        several = {} if library == "danlu" else {"devices": gpus()}
        if library == SHARDED:
            several["sharding"] = "fsdp"
        ends, loss = harness.fit_danlu(task.danlu(), data, recipe, **several)
        device, peak = jax.devices()[0].device_kind, (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use", 0)
        if not several and name == "GPT-2 124M":
            attention = _attention(recipe.batch)
    else:
        import torch

        torch.set_float32_matmul_precision("high")
        ends, loss = harness.fit_torch(task.torch, data, recipe, options.threads)
        device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    times = harness.laps(ends, len(data[0]) // recipe.batch)
    found = {**times, "loss": loss, "device": device, "peak_bytes": peak, "attention": attention}
    return {**found, "product_tflops": _product(library)}


def gpus() -> int:
    """How many GPUs this machine has, found without taking hold of them; small sizes: two parts of the CPU."""
    return 2 if TINY else len(list(Path("/dev").glob("nvidia[0-9]*")))


def _attention(batch: int) -> dict[str, float]:
    """Milliseconds of causal attention and its gradient in GPT-2's shape: written out, and as one kernel."""
    import jax
    import jax.numpy as jnp

    from danlu.nn.attention.dot_product import attend, attend_fused

    time, size = GPT2.context, GPT2.dim // GPT2.heads
    given = [jax.random.normal(jax.random.key(i), (batch, GPT2.heads, time, size), jnp.bfloat16) for i in range(3)]
    given[0] = given[0][:, :, None]  # queries are in groups, here of one
    past = jnp.tril(jnp.ones((time, time), jnp.bool_))[None, None, None]
    kernel = "xla" if jax.default_backend() == "cpu" else "cudnn"
    ways = {
        "written out": lambda *qkv: attend(*qkv, past, None),
        f"{kernel}, one kernel": lambda *qkv: attend_fused(*qkv, past, implementation=kernel),
    }
    found = {}
    for name, way in ways.items():
        slope = jax.jit(jax.grad(lambda *qkv, way=way: jnp.sum(way(*qkv).astype(jnp.float32)), argnums=(0, 1, 2)))
        found[name] = step.timed(lambda slope=slope: jax.block_until_ready(slope(*given)))["wall_ms"]
    return found


def _product(library: str) -> float:
    """TFLOP/s of a large product in bfloat16: what can be reached, beside what the data sheet says."""
    size = 256 if TINY else 8192
    if library != "PyTorch":
        import jax
        import jax.numpy as jnp

        square, product = jnp.ones((size, size), jnp.bfloat16), jax.jit(jnp.matmul)
        run = lambda: jax.block_until_ready(product(square, square))  # noqa: E731
    else:
        import torch

        device = "cuda" if torch.cuda.is_available() else "cpu"
        ones = torch.ones(size, size, dtype=torch.bfloat16, device=device)

        def run() -> Any:
            found = ones @ ones
            if device == "cuda":
                torch.cuda.synchronize()
            return found

    return step.timed(run, 2 * size**3)["gflops"] / 1e3


def measure(options: argparse.Namespace) -> Figures:
    """Both libraries' rows for both tasks."""
    import jax

    jax.config.update("jax_platforms", "cpu")  # this process only counts; the GPU's memory is the contestants'
    found = []
    for name, task in tasks(options.epochs).items():
        net, data = task.danlu(), task.data()
        flops = 3 * int(net.flops(data[0].shape[1:])) * task.recipe.batch
        libraries = ["danlu", "PyTorch"]
        if gpus() > 1 and name == "GPT-2 124M" and task.recipe.batch % gpus() == 0:
            libraries += [WHOLE, SHARDED]
        contestants = [(f"{library}: {name}", max(harness.THREADS)) for library in libraries]
        rows = harness.in_turn(contestants, options.rounds, lambda contestant: harness.spawn(options, contestant))
        for row in rows:
            row["per_second"] = 1e3 * task.recipe.batch * task.units / row["median_ms"]
            row["tflops"] = flops / 1e9 / row["median_ms"]
            row["unit"] = task.unit
        found.append({"task": name, "batch": task.recipe.batch, "flops": flops, "rows": rows})
    return {"tasks": found}


def page(report: Figures) -> list[str]:
    """The report as the lines of a small Markdown page."""
    lines = ["# Training steps on one GPU, in bfloat16", "", harness.facts(report)]
    for task in report["tasks"]:
        device = task["rows"][0]["runs"][0]["device"]
        peak = next((value for name, value in PEAKS.items() if name in device), None)
        lines += [
            "",
            f"## {task['task']}, batches of {task['batch']}, {task['flops'] / 1e12:.2f} TFLOP a step, on {device}",
        ]
        heads = [
            "",
            "ms a step, least",
            "median",
            "a second",
            "TFLOP/s",
            "of the chip's peak",
            "of a product's",
            "final loss",
            "most memory, GB",
        ]
        rows = [heads]
        for row in task["rows"]:
            product = max(run["product_tflops"] for run in row["runs"])
            share = f"{row['tflops'] / peak:.0%}" if peak else "–"
            rate = f"{row['per_second']:,.0f} {row['unit']}"
            times = [f"{row['least_ms']:.2f}", f"{row['median_ms']:.2f}", rate]
            rows.append(
                [
                    row["contestant"],
                    *times,
                    f"{row['tflops']:.2f}",
                    share,
                    f"{row['tflops'] / product:.0%}",
                    f"{row['loss']:.3f}",
                    f"{most / 1e9:.1f}" if (most := max(run["peak_bytes"] for run in row["runs"])) else "–",
                ]
            )
        lines += harness.table(*rows)
        attention = task["rows"][0]["runs"][0]["attention"]
        if attention:
            told = "; ".join(f"{name} {ms:.2f} ms" for name, ms in attention.items())
            lines += ["", f"Causal attention of one block by itself, forward and backward: {told}."]
        ours, theirs = (row["median_ms"] for row in task["rows"][:2])
        lines += ["", f"PyTorch's time over danlu's, medians: {theirs / ours:.2f}x."]
    return lines


if __name__ == "__main__":
    harness.run(__doc__, 5, contest, measure, page)
