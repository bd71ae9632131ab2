"""A benchmark of a training step: danlu and PyTorch in turn, large matrix products beside them, and the step's parts."""

from __future__ import annotations

import argparse
import functools
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import harness
from harness import THREADS, TIMES, Figures, Recipe


def timed(run: Callable[[], Any], flops: int = 0) -> dict[str, float]:
    """Milliseconds of a call, the least of eight after a first one, and its GFLOP/s."""
    ends = []
    for _ in range(9):
        run()
        ends.append(harness.now())
    least = {name: min(times) for name, times in harness.laps(ends).items()}
    return {**least, "gflops": flops / 1e6 / least["wall_ms"]}


DIVIDED = (
    "danlu, a device a core"  # each batch's rows divided among the cores; "danlu" alone leaves both to each operation
)


class Part(NamedTuple):
    """A part of danlu's step: ``function(*arguments)``, its FLOPs (0: not of interest), and how often a step runs it."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    flops: int = 0
    often: int = 1

    def figures(self) -> dict[str, float]:
        """Milliseconds of all its runs in a step, compiled alone, and its GFLOP/s."""
        import jax

        run = jax.jit(self.function)
        found = timed(lambda: jax.block_until_ready(run(*self.arguments)), self.flops)
        return {**found, **{name: self.often * found[name] for name in ("wall_ms", "cpu_ms")}}


def product_rates(library: str) -> dict[int, float]:
    """GFLOP/s of large matrix products in this process, by its library: what its step can be held against."""
    rates = {}
    for size in (1024, 2048):
        if library == "danlu":
            import jax

            square = jax.numpy.ones((size, size))
            rates[size] = Part(jax.numpy.matmul, (square, square), 2 * size**3).figures()["gflops"]
        else:
            import torch

            rates[size] = timed(functools.partial(torch.mm, *[torch.ones(size, size)] * 2), 2 * size**3)["gflops"]
    return rates


@dataclass(frozen=True)
class StepBenchmark:
    """The same network trained by danlu and by PyTorch, and where the time of danlu's step goes.

    Args:
        title, about: the page's title, and a sentence on network, sizes and optimizer.
        recipe: how both train; the command can change the epochs.
        flops: of a step.
        data: the fixed inputs and labels.
        danlu: the network.
        torch: the rivals, by name, each with the same network at the same initial scale.
        parts: the parts of danlu's step to time alone, by name.
    """

    title: str
    about: str
    recipe: Recipe
    flops: int
    data: Callable[[], tuple[Any, Any]]
    danlu: Callable[[], Any]
    torch: Mapping[str, harness.Build]
    parts: Callable[[], Mapping[str, Part]]

    def main(self, description: str | None) -> None:
        """The command; see :func:`harness.run`."""
        harness.run(description, self.recipe.epochs, self.contest, self.measure, self.page)

    def contest(self, options: argparse.Namespace) -> Figures:
        """In the contestant's process: train, then time large products and, for danlu, the parts."""
        name, data, recipe = options.contestant, self.data(), self.recipe._replace(epochs=options.epochs)
        ours, devices = name in ("danlu", DIVIDED), options.threads if name == DIVIDED else 1
        if ours:
            ends, loss = harness.fit_danlu(self.danlu(), data, recipe, devices)
        else:
            ends, loss = harness.fit_torch(self.torch[name], data, recipe, options.threads)
        parts = self.parts() if name == "danlu" else {}
        times = harness.laps(ends, len(data[0]) // recipe.batch)
        products = product_rates("danlu" if ours else name)
        return {
            **times,
            "loss": loss,
            "products": products,
            "parts": {part: timing.figures() for part, timing in parts.items()},
        }

    def measure(self, options: argparse.Namespace) -> Figures:
        """All contestants' rows; PyTorch's time over danlu's by threads, where "best" is each one's better count."""
        names = ["danlu", *self.torch] if importlib.util.find_spec("torch") else ["danlu"]
        contestants = [(name, threads) for threads in THREADS for name in names] + [(DIVIDED, THREADS[-1])]
        rows = harness.in_turn(contestants, options.rounds, lambda contestant: harness.spawn(options, contestant))
        for row in rows:
            row["gflops"] = self.flops / 1e6 / row["least_ms"]
            row["product_gflops"] = max(rate for run in row["runs"] for rate in run["products"].values())
            found = [run["parts"] for run in row["runs"]]
            row["parts"] = {part: min((f[part] for f in found), key=lambda f: f["wall_ms"]) for part in found[0]}
        ratios = []
        for threads in (*THREADS, "best") if len(names) > 1 else ():
            of = [row for row in rows if threads in (row["threads"], "best")]
            ours, theirs = (
                [row for row in of if (row["contestant"] in ("danlu", DIVIDED)) is us] for us in (True, False)
            )
            by = {name: min(row[name] for row in theirs) / min(row[name] for row in ours) for name in TIMES}
            ratios.append({"threads": threads, **by})
        return {"flops": self.flops, "results": rows, "ratios": ratios}

    def page(self, report: Figures) -> list[str]:
        """The report as the lines of a small Markdown page."""
        results: list[Figures] = report["results"]
        about = f"{self.about} A step is {report['flops'] / 1e9:.2f} GFLOP."
        lines = [f"# {self.title}", "", about, "", harness.facts(report)]
        rows = [["", "threads", *TIMES.values(), "GFLOP/s", "of a product's", "final loss"]]
        for r in results:
            share = f"{r['gflops'] / r['product_gflops']:.0%}"
            times = [f"{r[name]:.1f}" for name in TIMES]
            rows.append([r["contestant"], str(r["threads"]), *times, f"{r['gflops']:.0f}", share, f"{r['loss']:.3f}"])
        lines += harness.table(*rows)
        rows = [[str(r["threads"]), *(f"{r[name]:.2f}x" for name in TIMES)] for r in report["ratios"]]
        lines += harness.table(["PyTorch's time over danlu's, threads", *TIMES.values()], *rows)
        ours = {r["threads"]: r for r in results if r["contestant"] == "danlu"}
        heads = [f"ms, {threads} thread{'s' * (threads > 1)}" for threads in ours]
        rows = [["where danlu's time goes", *heads, "GFLOP/s, 1 thread", "of a product's"]]
        for name, figures in ours[1]["parts"].items():
            rate = figures["gflops"]
            rates = [f"{rate:.0f}", f"{rate / ours[1]['product_gflops']:.0%}"] if rate else ["–", "–"]
            rows.append([name, *(f"{r['parts'][name]['wall_ms']:.2f}" for r in ours.values()), *rates])
        return lines + harness.table(*rows)
