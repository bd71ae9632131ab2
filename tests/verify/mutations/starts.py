"""What a network starts from."""

from __future__ import annotations

from mutations.mutation import of

MUTATIONS = [
    *of(
        "nn/recurrent/lstm.py",
        (
            "lstm-forget-bias",
            "forget_bias: float = setting(default=1.0)",
            "forget_bias: float = setting(default=-1.0)",
            "start.recurrent",
        ),
        (
            "lstm-bias-of-another-gate",
            "[zeros, zeros + self.forget_bias, zeros, zeros]",
            "[zeros, zeros, zeros + self.forget_bias, zeros]",
            "start.recurrent",
        ),
    ),
    *of(
        "nn/initializers.py",
        (
            "fan-without-window",
            "return window * shape[-2], window * shape[-1]",
            "return shape[-2], shape[-1]",
            "start.Conv",
        ),
        (
            "he-is-one",
            '"he_normal": VarianceScaling(2.0,',
            '"he_normal": VarianceScaling(1.0,',
            "initializer.he_normal",
        ),
        (
            "glorot-by-fan-in",
            '"glorot_uniform": VarianceScaling(1.0, "fan_average"',
            '"glorot_uniform": VarianceScaling(1.0, "fan_in"',
            "initializer.glorot_uniform",
        ),
        (
            "cut-normal-not-rescaled",
            "(self.stddev / _TRUNCATED_STDDEV) * drawn",
            "self.stddev * drawn",
            "initializer.truncated_normal",
        ),
        ("uniform-bound", "bound = math.sqrt(3) * stddev", "bound = stddev", "initializer.lecun_uniform"),
        ("relu-gets-lecun", 'return INITIALIZERS["he_normal"]', 'return INITIALIZERS["lecun_normal"]', "start.Dense"),
        ("orthogonal-gain", "return self.gain * (q.T if", "return (q.T if", "start.agents"),
    ),
    *of(
        "nn/dense.py",
        (
            "dense-bias-of-one",
            'params["bias"] = jnp.zeros((self.units,))',
            'params["bias"] = jnp.ones((self.units,))',
            "start.Dense",
        ),
    ),
    *of("nn/embedding.py", ("embedding-scale", "Normal(self.dim**-0.5)", "Normal(1.0)", "start.embeddings")),
    *of(
        "nn/group_norm.py",
        ("group-norm-scale", 'return {"scale": jnp.ones((n,))', 'return {"scale": jnp.zeros((n,))', "start.norms"),
    ),
    *of(
        "nn/transformer/gpt.py",
        ("gpt-shortcut-scale", "Normal(0.02 / (2 * self.num_layers) ** 0.5)", "Normal(0.02)", "start.transformers"),
    ),
    *of(
        "nn/lora.py",
        (
            "lora-b-not-zero",
            '"b": jnp.zeros((self.rank, m), dtype)',
            '"b": jnp.ones((self.rank, m), dtype)',
            "start.attention",
        ),
    ),
    *of(
        "nn/table_embeddings.py",
        ("wave-scale", 'params["wave"] /= math.sqrt(2 * self.frequencies)', 'params["wave"] /= 1', "start.embeddings"),
    ),
    *of(
        "nn/vision/resnet.py",
        (
            "resnet-fan-in",
            'VarianceScaling(2.0, "fan_out", "normal")',
            'VarianceScaling(2.0, "fan_in", "uniform")',
            "start.vision",
        ),
    ),
    *of(
        "rl/networks.py",
        (
            "policy-not-indifferent",
            "Dense(outputs, initializer=Orthogonal(gain))",
            "Dense(outputs, initializer=Orthogonal(1.0))",
            "start.agents",
        ),
    ),
]
