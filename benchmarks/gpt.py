"""The training step of a small GPT, danlu and PyTorch in turn: ``python benchmarks/gpt.py``.

The model is nanoGPT's configuration for a CPU.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from harness import Recipe
from step import Part, StepBenchmark


class Sizes(NamedTuple):
    """Of a GPT as nanoGPT writes it."""

    layers: int
    heads: int
    dim: int
    context: int
    vocabulary: int


CPU, BATCH = Sizes(layers=4, heads=4, dim=128, context=64, vocabulary=65), 12
LAYERS, HEADS, DIM, CONTEXT, VOCABULARY = CPU
ROWS, TOKENS, DECAY = 20 * BATCH, BATCH * CONTEXT, 0.1
# Multiply-adds count 2, attention's products with and without the mask alike; the backward pass takes each twice more.
PROJECTIONS, SCORES, FEED_FORWARD = 8 * TOKENS * DIM**2, 4 * TOKENS * CONTEXT * DIM, 16 * TOKENS * DIM**2
HEAD = 2 * TOKENS * DIM * VOCABULARY


def make_data(sizes: Sizes = CPU, rows: int = ROWS) -> tuple[Any, Any]:
    """Fixed sequences ``(rows, time)`` of a random walk over the vocabulary, and the tokens that follow."""
    import numpy as np

    rng = np.random.default_rng(0)
    walk = np.cumsum(rng.integers(1, 4, (rows, sizes.context + 1)), axis=1) % sizes.vocabulary
    return walk[:, :-1].astype(np.int32), walk[:, 1:].astype(np.int32)


def danlu_net(sizes: Sizes = CPU) -> Any:
    """The network as danlu has it."""
    from danlu import nn

    layers, heads, dim, context, vocabulary = sizes
    return nn.GPT(vocabulary, context, dim=dim, num_layers=layers, num_heads=heads)


def torch_net(x: Any, sizes: Sizes = CPU) -> tuple[Any, Any]:
    """The same network in PyTorch, as nanoGPT writes it, with its initial weights, which are danlu's too."""
    from torch import nn
    from torch.nn import functional

    layers, heads, dim, context, vocabulary = sizes

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
            self.qkv, self.output = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
            self.up, self.down = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)

        def forward(self, x: Any) -> Any:
            batch, time, _ = x.shape
            parts = self.qkv(self.norm1(x)).split(dim, dim=2)
            q, k, v = (a.view(batch, time, heads, dim // heads).transpose(1, 2) for a in parts)
            y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.output(y.transpose(1, 2).reshape(batch, time, dim))
            return x + self.down(functional.gelu(self.up(self.norm2(x)), approximate="tanh"))

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tokens, self.positions = nn.Embedding(vocabulary, dim), nn.Embedding(context, dim)
            self.blocks, self.norm = nn.Sequential(*[Block() for _ in range(layers)]), nn.LayerNorm(dim)
            for name, parameter in self.named_parameters():
                if parameter.ndim == 2:
                    last = name.endswith(("output.weight", "down.weight"))
                    nn.init.normal_(parameter, 0, 0.02 / (2 * layers) ** 0.5 if last else 0.02)
                elif "bias" in name:
                    nn.init.zeros_(parameter)

        def forward(self, x: Any) -> Any:
            h = self.blocks(self.tokens(x) + self.positions.weight[: x.shape[1]])
            return self.norm(h) @ self.tokens.weight.T

    return Model(), x.long()


def parts() -> Mapping[str, Part]:
    """The layers of all blocks, forward and backward, and what else takes time."""
    import jax
    import jax.numpy as jnp

    from danlu import nn, optim

    key = jax.random.key(0)

    def drawn(*shape: int) -> Any:
        return jax.random.normal(key, shape)

    def both(layer: Any, flops: int, count: int) -> Part:
        params, state, _ = layer.init(key, (CONTEXT, DIM))
        grad = jax.grad(lambda params, x: jnp.sum(jnp.square(layer.apply(params, state, x)[0])), argnums=(0, 1))
        return Part(grad, (params, drawn(BATCH, CONTEXT, DIM)), 3 * flops, count)

    def products(x: Any, w: Any, dy: Any) -> Any:
        return x @ w, dy @ w.T, x.T @ dy

    params, _, _ = danlu_net().init(key, (CONTEXT,))
    adamw, loss = optim.adamw(weight_decay=DECAY), nn.get_loss("categorical_cross_entropy")
    codes, x = jnp.asarray(make_data()[1][:BATCH]), drawn(TOKENS, DIM)
    up = (x, drawn(DIM, 4 * DIM), drawn(TOKENS, 4 * DIM))
    head = (x, drawn(DIM, VOCABULARY), drawn(TOKENS, VOCABULARY))
    return {
        "attention layers": both(nn.MultiHeadAttention(HEADS, causal=True), PROJECTIONS + SCORES, LAYERS),
        "feed-forward layers": both(nn.FeedForward(4 * DIM, "gelu_tanh"), FEED_FORWARD, LAYERS),
        "of which the products alone": Part(products, up, 3 * FEED_FORWARD // 2, 2 * LAYERS),
        "layer norms": both(nn.LayerNorm(), 0, 2 * LAYERS + 1),
        "head's products": Part(products, head, 3 * HEAD),
        "cross-entropy": Part(
            jax.grad(lambda z: loss(z, codes).mean()), (drawn(BATCH, CONTEXT, VOCABULARY),)
        ),
        "AdamW": Part(adamw.update, (params, adamw.init(params), params)),
    }  # fmt: skip


if __name__ == "__main__":
    StepBenchmark(
        title="A training step of a small GPT",
        about=f"{LAYERS} layers, {HEADS} heads, {DIM} features, batches of {BATCH} sequences of {CONTEXT} tokens out of "
        f"{VOCABULARY}, AdamW, float32.",
        recipe=Recipe(epochs=8, batch=BATCH, weight_decay=DECAY),
        flops=3 * (LAYERS * (PROJECTIONS + SCORES + FEED_FORWARD) + HEAD),
        data=make_data,
        danlu=danlu_net,
        torch={"PyTorch": torch_net},
        parts=parts,
    ).main(__doc__)
