"""The training step of an LSTM classifier, danlu and PyTorch in turn: ``python benchmarks/lstm.py``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness import Recipe
from step import Part, StepBenchmark

ROWS, BATCH, TIME, FEATURES, UNITS, CLASSES = 1024, 32, 100, 64, 128, 10
# Multiply-adds count 2; the backward pass takes each product twice more, but for the inputs' gradient, which none needs.
PROJECTION, RECURRENT = 2 * BATCH * TIME * FEATURES * 4 * UNITS, 2 * BATCH * TIME * UNITS * 4 * UNITS
HEAD = 2 * BATCH * UNITS * CLASSES


def make_data() -> tuple[Any, Any]:
    """Fixed sequences ``(rows, time, features)`` and labels that depend on their first steps."""
    import numpy as np

    rng = np.random.default_rng(0)
    x = rng.normal(size=(ROWS, TIME, FEATURES)).astype(np.float32)
    return x, np.argmax(x[:, :10].sum(axis=1)[:, :CLASSES], axis=1).astype(np.int32)


def danlu_net() -> Any:
    """The network out of danlu's layers."""
    from danlu import nn

    return nn.Sequential((nn.LSTM(UNITS, return_sequences=False), nn.Dense(CLASSES)))


def torch_net(x: Any) -> tuple[Any, Any]:
    """``nn.LSTM`` and a linear head on its last output, starting as danlu's: a forget bias of 1, an orthogonal kernel."""
    from torch import nn

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            lstm: Any = nn.LSTM(FEATURES, UNITS, batch_first=True)
            head = nn.Linear(UNITS, CLASSES)
            nn.init.xavier_uniform_(lstm.weight_ih_l0)
            nn.init.orthogonal_(lstm.weight_hh_l0)
            nn.init.kaiming_normal_(head.weight, nonlinearity="linear")
            for bias in (lstm.bias_ih_l0, lstm.bias_hh_l0, head.bias):
                nn.init.zeros_(bias)
            nn.init.ones_(lstm.bias_ih_l0.data[UNITS : 2 * UNITS])  # the forget gate's
            self.lstm, self.head = lstm, head

        def forward(self, x: Any) -> Any:
            return self.head(self.lstm(x)[0][:, -1])

    return Model(), x


def parts() -> Mapping[str, Part]:
    """The products outside the loops, and the two loops with the cells' elementwise work."""
    import jax

    from danlu.nn import LSTM
    from danlu.nn.recurrent.rnn import project

    layer = LSTM(UNITS)
    params, _, _ = layer.init(jax.random.key(0), (TIME, FEATURES))
    x = jax.random.normal(jax.random.key(1), (BATCH, TIME, FEATURES))
    z = project("LSTM", params, x)
    weights = {"recurrent_kernel": params["recurrent_kernel"]}

    def forward(z: Any, weights: Any, carry: Any) -> Any:
        return layer.cell.forward(z, weights, carry, None, False)

    def backward(kept: Any, weights: Any, d_hs: Any, carry: Any) -> Any:
        return layer.cell.backward(kept, weights, d_hs, carry, None, False)

    hs, carry, kept = jax.jit(forward)(z, weights, layer.zeros(z))
    flat = x.reshape(-1, FEATURES), z.reshape(-1, 4 * UNITS)
    return {
        "projection of the inputs": Part(lambda params, x: project("LSTM", params, x), (params, x), PROJECTION),
        "forward loop": Part(forward, (z, weights, carry), RECURRENT),
        "backward loop, recurrent kernel's gradient": Part(backward, (kept, weights, hs, carry), 2 * RECURRENT),
        "kernel's gradient": Part(lambda x, dz: x.T @ dz, flat, PROJECTION),
    }


if __name__ == "__main__":
    StepBenchmark(
        title="A training step of an LSTM",
        about=f"Batches of {BATCH} sequences of {TIME} steps, {FEATURES} features to {UNITS} units and a dense head of "
        f"{CLASSES}, Adam, float32.",
        recipe=Recipe(epochs=6, batch=BATCH),
        flops=2 * PROJECTION + 3 * RECURRENT + 3 * HEAD,
        data=make_data,
        danlu=danlu_net,
        torch={"PyTorch": torch_net},
        parts=parts,
    ).main(__doc__)
