"""Layers, forward and backward, and their options."""

from __future__ import annotations

from mutations.mutation import of

MUTATIONS = [
    *of(
        "nn/pool_ops.py",
        ("pool-to-all-winners", "open_ = open_ & ~wins", "open_ = open_ | wins", "option.ties"),
    ),
    *of(
        "nn/conv_ops.py",
        (
            "grouped-weight-gradient",
            "        return _kernel_gradient(x, dy, shape, how)\n    parts =",
            "        return 1.01 * _kernel_gradient(x, dy, shape, how)\n    parts =",
            "option.convolutions",
        ),
        (
            "weight-gradient-of-patches",
            "return total.astype(dy.dtype).T.reshape(shape)",
            "return 0.99 * total.astype(dy.dtype).T.reshape(shape)",
            "layer.Conv",
        ),
        ("input-gradient-not-turned", "jnp.flip(kernel, tuple(range(kernel.ndim - 2)))", "kernel", "layer.Conv"),
        (
            "dilation-ignored-in-patches",
            "starts = [place * d for place in",
            "starts = [place for place in",
            "layer.Conv",
        ),
        (
            "depthwise-gradient-summed-wrong",
            "[jnp.sum(part * dy, axes) for part",
            "[jnp.mean(part * dy, axes) for part",
            "layer.DepthwiseConv",
        ),
    ),
    *of(
        "nn/attention/dot_product.py",
        (
            "attention-dropout-backward",
            "        by_weights = by_weights * drop\n",
            "        by_weights = by_weights\n",
            "option.attention_dropout",
        ),
        (
            "attention-dropout-forward",
            "kept = weights if drop is None else weights * drop\n    heads",
            "kept = weights\n    heads",
            "option.attention_dropout",
        ),
        (
            "attention-not-scaled",
            "query = query * jnp.asarray(1 / math.sqrt(query.shape[-1]), query.dtype)",
            "query = query * 1",
            "layer.MultiHeadAttention",
        ),
        (
            "softmax-derivative",
            "by_weights - jnp.sum(by_weights * weights, axis=-1, keepdims=True)",
            "by_weights",
            "layer.MultiHeadAttention",
        ),
        (
            "masked-keys-count",
            "        e = jnp.where(mask, e, jnp.zeros_like(e))\n",
            "        e = e\n",
            "option.hidden_keys",
        ),
    ),
    *of(
        "nn/attention/attention.py",
        (
            "causal-sees-the-next",
            "jnp.tril(jnp.ones((time, time), jnp.bool_))",
            "jnp.tril(jnp.ones((time, time), jnp.bool_), 1)",
            "layer.MultiHeadAttention",
        ),
        (
            "value-heads-grouped-wrong",
            "heads // self.kv_heads, d).transpose(0, 2, 3, 1, 4)",
            "heads // self.kv_heads, d)[:, :, :, ::-1].transpose(0, 2, 3, 1, 4)",
            "layer.MultiHeadAttention option.attention",
        ),
        (
            "context-mask-ignored",
            'mask = padding_mask(x, "context_mask", "context") if self.cross else padding_mask(x)',
            "mask = None if self.cross else padding_mask(x)",
            "option.attention",
        ),
    ),
    *of(
        "nn/attention/cache.py",
        (
            "cache-sees-ahead",
            "past = places <= index + jnp.arange(x.shape[1])[:, None]",
            "past = places <= index + x.shape[1]",
            "option.cache model.GPT",
        ),
    ),
    *of(
        "nn/attention/sequence.py",
        (
            "positions-count-padding",
            "jnp.maximum(jnp.cumsum(mask, axis=1, dtype=jnp.int32) - 1, 0)",
            "jnp.broadcast_to(jnp.arange(time, dtype=jnp.int32), mask.shape)",
            "option.cache",
        ),
    ),
    *of(
        "nn/recurrent/lstm.py",
        ("lstm-cell-error", "dc_in = dc + dh * o * (1 - tanh_c * tanh_c)", "dc_in = dc + dh * o", "layer.LSTM"),
        ("lstm-mask-ignored", "real = None if mask is None else read(mask, t)", "real = None", "layer.LSTM"),
    ),
    *of(
        "nn/recurrent/gru.py",
        ("gru-candidate-error", "delta_n = error * (1 - u) * (1 - n * n)", "delta_n = error * (1 - u)", "layer.GRU"),
    ),
    *of(
        "nn/recurrent/simple.py",
        (
            "relu-cell-slope",
            "lambda h: (h > 0).astype(h.dtype)",
            "lambda h: (h > -1).astype(h.dtype)",
            "option.recurrent",
        ),
    ),
    *of(
        "nn/dropout.py",
        (
            "dropout-not-scaled",
            "jnp.where(mask, 65536 / jnp.maximum(kept, 1), 0)",
            "jnp.where(mask, 1.0, 0)",
            "layer.Dropout",
        ),
    ),
    *of(
        "nn/combine.py",
        (
            "layers-share-a-draw",
            "x, s = layer.apply(params[index], state[index], x, train=train, key=child_key(key, index))",
            "x, s = layer.apply(params[index], state[index], x, train=train, key=child_key(key, 0))",
            "option.dropout engine.randomness",
        ),
    ),
    *of(
        "nn/norm.py",
        (
            "batch-norm-biased",
            "unbiased = variance * (rows / max(rows - 1, 1))",
            "unbiased = variance",
            "layer.BatchNorm",
        ),
        (
            "batch-norm-momentum-turned",
            "self.momentum * old + (1 - self.momentum) *",
            "(1 - self.momentum) * old + self.momentum *",
            "layer.BatchNorm",
        ),
    ),
    *of(
        "nn/rms_norm.py",
        (
            "rms-norm-of-sum",
            "jnp.mean(jnp.square(wide), axis=-1, keepdims=True)",
            "jnp.sum(jnp.square(wide), axis=-1, keepdims=True)",
            "layer.RMSNorm",
        ),
    ),
    *of(
        "nn/transformer/block.py",
        (
            "norm-last-is-first",
            "return replaced(x, y if self.norm_first else run(0, y)), tuple(states)",
            "return replaced(x, y), tuple(states)",
            "option.norm_last",
        ),
    ),
    *of(
        "nn/pool.py",
        (
            "average-counts-padding",
            "inside = np.minimum(start + k, n) - np.maximum(start, 0)",
            "inside = np.full(start.shape, k)",
            "layer.AveragePool",
        ),
    ),
    *of(
        "nn/activations.py",
        (
            "gelu-of-another-scale",
            "return 0.5 * x * jax.lax.erfc(-x * math.sqrt(0.5))",
            "return 0.5 * x * jax.lax.erfc(-x * 0.7)",
            "activation.gelu",
        ),
    ),
    *of(
        "nn/backprop/activation_rules.py",
        ("silu-derivative", "return s * (1 + x * (1 - s))", "return s * (1 + x)", "activation.silu"),
    ),
    *of(
        "nn/backprop/rules.py",
        (
            "batch-norm-backward",
            "scale * (dy - along_mean - normal * along_normal), gradients",
            "scale * (dy - along_mean), gradients",
            "layer.BatchNorm",
        ),
        ("embedding-gradient-overwritten", ".at[rows].add(dy", ".at[rows].set(dy", "layer.Embedding"),
    ),
    *of("nn/lora.py", ("lora-scale", "return self.alpha / self.rank", "return self.alpha", "layer.LoRA")),
    *of(
        "nn/forecast.py",
        (
            "forecast-mean-not-returned",
            "start=self.own(windows.mean) + self.own(windows.spread)",
            "start=self.own(windows.spread)",
            "start.Forecaster model.Forecaster",
        ),
    ),
    *of(
        "nn/boxes.py",
        (
            "generalized-iou",
            "return iou, iou - (hull - union) / hull",
            "return iou, iou - (hull - union) / union",
            "box.overlap",
        ),
    ),
    *of(
        "nn/norm.py",
        (
            "batch-norm-forgets-slowly",
            "momentum: float = setting(default=0.9,",
            "momentum: float = setting(default=0.99,",
            "option.defaults",
        ),
    ),
    *of(
        "nn/transformer/generate.py",
        (
            "temperature-turned",
            "scaled = logits / jnp.where(heat > 0, heat, 1)",
            "scaled = logits * jnp.where(heat > 0, heat, 1)",
            "sampling.temperature",
        ),
    ),
    *of(
        "nn/transformer/beam.py",
        (
            "forbidden-is-allowed",
            "logits = permitted(logits, forbidden)",
            "pass",
            "sampling.beam_search",
        ),
    ),
]
