"""How training time falls with the number of GPUs, by a model of its exchanges: ``python benchmarks/scaling.py``.

It reads what ``processes.py`` measured here, checks the model against it, extrapolates with published figures, and writes the tables into
``docs/design/scaling.md`` (between two marks; the rest of the page is written by hand). Nothing is measured here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from harness import table
from processes import APART, NETWORKS, ONE, TWICE

HERE = Path(__file__).parent
PAGE, BEGIN, END = (
    HERE.parent / "docs" / "design" / "scaling.md",
    "<!-- made by benchmarks/scaling.py -->",
    "<!-- end -->",
)
NODE = 8  # GPUs of a DGX H100 or H200


class Link(NamedTuple):
    """What joins devices: bytes a second in each direction, and seconds a hop."""

    bandwidth: float
    latency: float


NVLINK = Link(450e9, 3.4e-6)
INFINIBAND = Link(50e9, 14e-6)
START = 8.4e-6  # seconds that a collective takes before it moves anything
PEAK, USED = 989e12, 0.4  # FLOP/s of an H100 or H200 in bfloat16, dense, and the share of it that a training reaches


class Model(NamedTuple):
    """A transformer as GPT is written: its sizes, and the tokens of a step of each GPU."""

    name: str
    layers: int
    dim: int
    vocabulary: int
    context: int
    tokens: int

    @property
    def parameters(self) -> int:
        """Weights: 12·L·d² of the blocks, and the embedding, which is also the head."""
        return 12 * self.layers * self.dim**2 + (self.vocabulary + self.context) * self.dim

    @property
    def compute(self) -> float:
        """Seconds of a step of one GPU: 6·N FLOP a token, and 12·L·d·T for attention."""
        flops = self.tokens * (6 * self.parameters + 12 * self.layers * self.dim * self.context)
        return flops / (PEAK * USED)


MODELS = (
    Model("GPT-2, 124M", 12, 768, 50304, 1024, 32 * 1024),
    Model("GPT-2 XL, 1.6B", 48, 1600, 50304, 1024, 16 * 1024),
    Model("7B", 32, 4096, 32000, 4096, 4 * 4096),
)


def ring(size: float, n: int, link: Link) -> float:
    """Seconds to gather (or to scatter) ``size`` bytes among ``n`` devices: (n-1)/n · S/B + (n-1)·a."""
    return 0.0 if n == 1 else (n - 1) / n * size / link.bandwidth + (n - 1) * link.latency


def once(size: float, n: int) -> float:
    """The same on nodes of eight GPUs: the parts of a node travel by its NVLink, an eighth of the whole by each GPU's own InfiniBand."""
    inside, nodes = min(n, NODE), max(n // NODE, 1)
    return START * (n > 1) + ring(size, inside, NVLINK) + ring(size / inside, nodes, INFINIBAND)


def replicated(model: Model, n: int) -> float:
    """Seconds of exchange a step where every GPU holds everything: float32 gradients are summed, a scatter and a gather."""
    return 2 * once(4 * model.parameters, n)


def sharded(model: Model, n: int) -> float:
    """Seconds of exchange a step where each holds a part: bfloat16 weights gathered forward and backward, float32 gradients scattered,
    a layer at a time."""
    each = model.parameters / model.layers
    return model.layers * (2 * once(2 * each, n) + once(4 * each, n))


def efficiency(model: Model, exchange: float) -> tuple[float, float]:
    """The share of a step that is computing: with the exchange after it, and with all of it that fits hidden behind the backward pass."""
    computing = model.compute
    return computing / (computing + exchange), computing / max(computing, computing / 3 + exchange)


def fitted(sums: Mapping[str, float]) -> Link:
    """Bandwidth and latency of the link between two processes, by least squares of relative errors over sums of several sizes.

    A sum of S bytes between two: t = S/B + 2a.
    """
    sizes = np.array([4.0 * int(size) for size in sums])
    seconds = np.array([ms / 1e3 for ms in sums.values()])
    columns = np.stack([sizes, np.full(len(sizes), 2.0)], axis=1) / seconds[:, None]  # (sizes, 2)
    (slope, latency), *_ = np.linalg.lstsq(columns, np.ones(len(sizes)), rcond=None)
    return Link(1 / max(slope, 1e-15), max(latency, 0.0))


def checked(report: Mapping[str, Any]) -> list[str]:
    """What the model says of two processes here, beside what was measured."""
    lines = []
    for network in NETWORKS:
        rows = {row["kind"]: row for row in report["rows"] if row["network"] == network}
        batch, link = report["batches"][network], fitted(rows[TWICE]["sums_ms"])
        size = 4 * rows[ONE]["parameters"]
        exchange = 1e3 * 2 * ring(size, 2, link)
        computing, measured = 2e3 * batch / rows[APART]["best"], 2e3 * batch / rows[TWICE]["best"]
        said = computing + exchange
        lines.append((network, f"{size / 1e6:.2f}", f"{link.bandwidth / 1e9:.2f}", f"{1e6 * link.latency:.0f}", f"{computing:.1f}",
                      f"{exchange:.2f}", f"{said:.1f}", f"{measured:.1f}", f"{100 * (said / measured - 1):+.0f} %"))  # fmt: skip
    head = (
        "two processes here",
        "MB",
        "gloo GB/s",
        "latency µs",
        "computing ms",
        "exchange ms",
        "step by the model ms",
        "measured ms",
        "error",
    )
    return table(head, *lines)


def extrapolated() -> list[str]:
    """The share of the time that is computing on many GPUs, none of which was run."""
    lines: list[Sequence[str]] = []
    for model in MODELS:
        for name, exchange in (("replicated", replicated), ("fsdp", sharded)):
            cells = []
            for n in (8, 64, 512):
                seconds = exchange(model, n)
                after, hidden = efficiency(model, seconds)
                cells.append(f"{1e3 * seconds:.0f} ms: {after:.0%} to {hidden:.0%}")
            lines.append((f"{model.name}, {name}", f"{model.tokens // 1024}k", f"{1e3 * model.compute:.0f}", *cells))
    return table(("", "tokens a GPU", "computing ms", "8 GPUs", "64", "512"), *lines)


def main() -> None:
    """Write the tables into the page."""
    file = HERE / "results" / "processes.json"
    parts = extrapolated()
    if file.is_file():
        parts = [*checked(json.loads(file.read_text())), *parts]
    text = PAGE.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text("\n".join([before + BEGIN, *parts, "", END]) + after)
    print("\n".join(parts))


if __name__ == "__main__":
    main()
