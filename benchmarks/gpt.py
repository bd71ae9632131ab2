"""The same small GPT trained by danlu and by PyTorch, side by side in one run, and where danlu's time goes.

The model is nanoGPT's configuration for a CPU. Run ``.venv/bin/python benchmarks/gpt.py``; see ``benchmarks/README.md`` for
what the figures mean. Every contestant trains in a process of its own, on as many cores as it has threads, and they
take turns.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlp import machine

LAYERS, HEADS, DIM, CONTEXT, BATCH, VOCABULARY = 4, 4, 128, 64, 12, 65
ROWS, EPOCHS, LEARNING_RATE, DECAY = 20 * BATCH, 8, 1e-3, 0.1
# Multiply-adds count 2; the backward pass takes each product twice more.
KERNELS = 12 * LAYERS * DIM**2 + DIM * VOCABULARY
FLOPS = 3 * BATCH * CONTEXT * (2 * KERNELS + 4 * LAYERS * CONTEXT * DIM)
RESULTS = Path(__file__).parent / "results"
CONTESTANTS = tuple((library, threads) for threads in (1, 2) for library in ("danlu", "torch"))

Epochs = tuple[list[tuple[float, float]], float]


def now() -> tuple[float, float]:
    """Seconds by the wall clock, and of this process's own work, which another program's work does not lengthen."""
    return time.time(), time.process_time()


def make_data() -> tuple[Any, Any]:
    """Fixed sequences ``(rows, time)`` of a random walk over the vocabulary, and the tokens that follow."""
    import numpy as np

    rng = np.random.default_rng(0)
    walk = np.cumsum(rng.integers(1, 4, (ROWS, CONTEXT + 1)), axis=1) % VOCABULARY
    return walk[:, :-1].astype(np.int32), walk[:, 1:].astype(np.int32)


def train_danlu() -> Epochs:
    """Times at the ends of the epochs, and the last epoch's mean loss."""
    import danlu
    from danlu import nn, optim
    from danlu.engine import LambdaCallback

    ends: list[tuple[float, float]] = []
    fitted = danlu.fit(
        nn.GPT(VOCABULARY, CONTEXT, dim=DIM, num_layers=LAYERS, num_heads=HEADS),
        make_data(),
        loss="categorical_cross_entropy",
        optimizer=optim.adamw(LEARNING_RATE, weight_decay=DECAY),
        callbacks=[LambdaCallback(on_epoch_end=lambda epoch, logs: ends.append(now()))],
        epochs=EPOCHS,
        batch_size=BATCH,
        display="none",
    )
    return ends, float(fitted.history[-1]["loss"])


def torch_gpt(torch: Any) -> Any:
    """The same network in PyTorch, as nanoGPT writes it."""
    nn, functional = torch.nn, torch.nn.functional

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(DIM), nn.LayerNorm(DIM)
            self.qkv, self.output = nn.Linear(DIM, 3 * DIM), nn.Linear(DIM, DIM)
            self.up, self.down = nn.Linear(DIM, 4 * DIM), nn.Linear(4 * DIM, DIM)

        def forward(self, x: Any) -> Any:
            batch, time, _ = x.shape
            parts = self.qkv(self.norm1(x)).split(DIM, dim=2)
            q, k, v = (a.view(batch, time, HEADS, DIM // HEADS).transpose(1, 2) for a in parts)
            y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.output(y.transpose(1, 2).reshape(batch, time, DIM))
            return x + self.down(functional.gelu(self.up(self.norm2(x)), approximate="tanh"))

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tokens, self.positions = nn.Embedding(VOCABULARY, DIM), nn.Embedding(CONTEXT, DIM)
            self.blocks, self.norm = nn.Sequential(*[Block() for _ in range(LAYERS)]), nn.LayerNorm(DIM)
            for name, parameter in self.named_parameters():
                if parameter.ndim == 2:
                    last = name.endswith(("output.weight", "down.weight"))
                    nn.init.normal_(parameter, 0, 0.02 / (2 * LAYERS) ** 0.5 if last else 0.02)
                elif "bias" in name:
                    nn.init.zeros_(parameter)

        def forward(self, x: Any) -> Any:
            h = self.blocks(self.tokens(x) + self.positions.weight[: x.shape[1]])
            return self.norm(h) @ self.tokens.weight.T

    return Model()


def train_torch(threads: int) -> Epochs:
    """The usual eager loop with the fused AdamW, without a DataLoader."""
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    inputs, targets = (torch.from_numpy(a).long() for a in make_data())
    model = torch_gpt(torch)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=DECAY, fused=True)
    ends, mean = [], 0.0
    for _ in range(EPOCHS):
        total = torch.zeros(())
        for rows in torch.randperm(ROWS).split(BATCH):
            optimizer.zero_grad()
            logits = model(inputs[rows])
            loss = torch.nn.functional.cross_entropy(logits.view(-1, VOCABULARY), targets[rows].view(-1))
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(rows)
        mean = float(total) / ROWS
        ends.append(now())
    return ends, mean


def danlu_parts() -> dict[str, float]:
    """Milliseconds of the parts of one step, forward and backward, each compiled by itself."""
    import jax
    import jax.numpy as jnp

    from danlu import nn, optim

    key, tokens = jax.random.key(0), (BATCH, CONTEXT, DIM)
    x, flat = jax.random.normal(key, tokens), jax.random.normal(key, (BATCH * CONTEXT, DIM))
    wide, up = jax.random.normal(key, (BATCH * CONTEXT, 4 * DIM)), jax.random.normal(key, (DIM, 4 * DIM))

    def both(layer: Any, x: Any) -> Callable[[], Any]:
        params, state, _ = layer.init(key, x.shape[1:])
        grad = jax.jit(jax.grad(lambda p, x: jnp.sum(jnp.square(layer.apply(p, state, x)[0])), argnums=(0, 1)))
        return functools.partial(grad, params, x)

    @jax.jit
    def products(x: Any, w: Any, dy: Any) -> Any:
        return x @ w, dy @ w.T, x.T @ dy

    net = nn.GPT(VOCABULARY, CONTEXT, dim=DIM, num_layers=LAYERS, num_heads=HEADS)
    params, _, _ = net.init(key, (CONTEXT,))
    adamw = optim.adamw(LEARNING_RATE, weight_decay=DECAY)
    codes, loss = jnp.asarray(make_data()[1][:BATCH]), nn.get_loss("categorical_cross_entropy")
    logits = jax.random.normal(key, (BATCH, CONTEXT, VOCABULARY))
    square = jnp.ones((1024, 1024))
    timed: dict[str, tuple[int, Callable[[], Any]]] = {
        "attention layers": (LAYERS, both(nn.MultiHeadAttention(HEADS, causal=True), x)),
        "feed-forward layers": (LAYERS, both(nn.FeedForward(4 * DIM, "gelu_tanh"), x)),
        "of which the products alone": (LAYERS * 2, functools.partial(products, flat, up, wide)),
        "layer norms": (2 * LAYERS + 1, both(nn.LayerNorm(), x)),
        "cross-entropy": (1, functools.partial(jax.jit(jax.grad(lambda z: loss(z, codes).mean())), logits)),
        "AdamW": (1, functools.partial(jax.jit(adamw.update), params, adamw.init(params), params)),
        "product 1024 x 1024 x 1024": (1, functools.partial(jax.jit(jnp.matmul), square, square)),
    }
    found = {}
    for name, (count, run) in timed.items():
        jax.block_until_ready(run())
        times = []
        for _ in range(30):
            started = time.perf_counter()
            jax.block_until_ready(run())
            times.append(time.perf_counter() - started)
        found[name] = 1e3 * count * min(times)
    return found


def contest(library: str, threads: int) -> None:
    """In the contestant's process: train, and print one line of JSON."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-threads:])
    ends, loss = train_danlu() if library == "danlu" else train_torch(threads)
    wall, cpu = ([(b[i] - a[i]) * BATCH / ROWS * 1e3 for a, b in itertools.pairwise(ends)] for i in (0, 1))
    parts = danlu_parts() if library == "danlu" else {}
    figures = {"step_ms": statistics.median(wall), "best_ms": min(wall), "cpu_ms": statistics.median(cpu)}
    print(json.dumps({**figures, "loss": loss, "parts": parts}))


def spawn(library: str, threads: int) -> dict[str, Any]:
    """One contestant's figures, from a fresh process."""
    command = [sys.executable, __file__, "--contestant", library, "--threads", str(threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{library} with {threads} threads failed:\n{done.stderr[-3000:]}")
    figures: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return figures


def measure(rounds: int) -> list[dict[str, Any]]:
    """All contestants in turn, ``rounds`` times; the sequence is turned round every other time."""
    found = [c for c in CONTESTANTS if importlib.util.find_spec(c[0])]
    runs: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for number in range(rounds):
        for contestant in found[:: -1 if number % 2 else 1]:
            figures = spawn(*contestant)
            runs.setdefault(contestant, []).append(figures)
            print(f"round {number + 1}, {contestant}: {figures['step_ms']:.1f} ms", file=sys.stderr, flush=True)
    rows = []
    for contestant in found:
        rounds_of = runs[contestant]
        numbers = {name: statistics.median(run[name] for run in rounds_of) for name in ("step_ms", "cpu_ms", "loss")}
        parts = {name: statistics.median(run["parts"][name] for run in rounds_of) for name in rounds_of[0]["parts"]}
        best = min(run["best_ms"] for run in rounds_of)
        row = {"library": contestant[0], "threads": contestant[1], **numbers, "best_ms": best, "parts": parts}
        rows.append({**row, "rounds": rounds_of})
    return rows


def ratios(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """PyTorch's time over danlu's, by the medians and by the quickest epochs; "best" is each one's better thread count."""
    result = []
    for threads in (1, 2, "best"):
        of = {
            library: [row for row in rows if row["library"] == library and threads in (row["threads"], "best")]
            for library in ("danlu", "torch")
        }
        if all(of.values()):
            by = {
                k: min(r[k] for r in of["torch"]) / min(r[k] for r in of["danlu"])
                for k in ("step_ms", "best_ms", "cpu_ms")
            }
            result.append(
                {"threads": threads, "medians": by["step_ms"], "quickest": by["best_ms"], "cpu": by["cpu_ms"]}
            )
    return result


def markdown(report: dict[str, Any]) -> str:
    """The report as a small Markdown page."""
    about = report["machine"]
    versions = ", ".join(
        f"{name} {about['versions'][name]}" for name in ("danlu", "jax", "torch") if name in about["versions"]
    )
    load = " -> ".join(f"{value:.1f}" for value in report["load"])
    lines = [
        "# A training step of a small GPT",
        "",
        f"{LAYERS} layers, {HEADS} heads, {DIM} features, batches of {BATCH} sequences of {CONTEXT} tokens out of {VOCABULARY}, "
        "AdamW, float32. "
        f"{about['cpu']}, {about['cores']} cores, load average {load} during the run; Python {about['python']}, {versions}; "
        f"{about['date']}, commit {about['commit']}. Medians of {report['rounds']} rounds; the quickest epoch of all.",
        "",
        "| library | threads | step ms | quickest ms | CPU ms | GFLOP/s at the quickest | final loss |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for r in report["results"]:
        rate = FLOPS / r["best_ms"] / 1e6
        times = " | ".join(f"{r[name]:.1f}" for name in ("step_ms", "best_ms", "cpu_ms"))
        lines.append(f"| {r['library']} | {r['threads']} | {times} | {rate:.0f} | {r['loss']:.3f} |")
    lines += ["", "| threads | PyTorch's time over danlu's, medians | quickest | CPU |", "|---|---:|---:|---:|"]
    lines += [
        f"| {r['threads']} | {r['medians']:.2f}x | {r['quickest']:.2f}x | {r['cpu']:.2f}x |" for r in report["ratios"]
    ]
    lines += ["", "| where danlu's time goes | 1 thread, ms | 2 threads, ms |", "|---|---:|---:|"]
    ours = {r["threads"]: r["parts"] for r in report["results"] if r["library"] == "danlu"}
    lines += [f"| {name} | {ours[1][name]:.2f} | {ours[2][name]:.2f} |" for name in ours[1]]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, show and write the results; or be one contestant."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--contestant", help=argparse.SUPPRESS)
    parser.add_argument("--threads", type=int, default=1, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contestant:
        contest(options.contestant, options.threads)
        return
    before = os.getloadavg()[0]
    rows = measure(options.rounds)
    report = {
        "machine": machine(),
        "load": [before, os.getloadavg()[0]],
        "rounds": options.rounds,
        "flops_a_step": FLOPS,
        "results": rows,
        "ratios": ratios(rows),
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "gpt.json").write_text(json.dumps(report, indent=1) + "\n")
    (RESULTS / "gpt.md").write_text(markdown(report))
    print(markdown(report))


if __name__ == "__main__":
    main()
