"""Losses, their weights, and mixed batches."""

from __future__ import annotations

from mutations.mutation import of

MUTATIONS = [
    *of(
        "nn/losses/classification.py",
        (
            "binary-smoothing",
            "(1 - self.label_smoothing) * y + self.label_smoothing / 2 if",
            "(1 - self.label_smoothing) * y if",
            "loss.binary_cross_entropy",
        ),
        (
            "focal-alpha-of-zeros",
            "(1.0, 1.0) if self.alpha is None else (self.alpha, 1 - self.alpha)",
            "(1.0, 1.0) if self.alpha is None else (self.alpha, self.alpha)",
            "loss.binary_focal",
        ),
    ),
    *of(
        "nn/losses/tokens.py",
        (
            "token-smoothing",
            "self.label_smoothing * jnp.mean(z, axis=-1)",
            "self.label_smoothing * jnp.sum(z, axis=-1)",
            "option.token_smoothing",
        ),
        (
            "padding-counts",
            "jnp.maximum(jnp.sum(counted, axis=1), 1)",
            "y.shape[1] * jnp.ones(len(y))",
            "loss.token_cross_entropy",
        ),
    ),
    *of(
        "nn/losses/regression.py",
        ("huber-without-its-half", "clipped * error - 0.5 * jnp.square(clipped)", "clipped * error", "loss.huber"),
    ),
    *of(
        "nn/losses/quantile.py",
        (
            "pinball-turned",
            "jnp.where(error >= 0, q * error, (q - 1) * error)",
            "jnp.where(error >= 0, (1 - q) * error, -q * error)",
            "loss.pinball",
        ),
    ),
    *of(
        "nn/losses/penalties.py",
        (
            "penalty-on-biases",
            'if over == "all" or jnp.ndim(a) >= 2]',
            "if jnp.ndim(a) >= 1]",
            "engine.penalties penalty.*",
        ),
    ),
    *of(
        "nn/losses/weighting.py",
        (
            "balanced-by-all-classes",
            "numbers.size / (max(present, 1) * np.maximum(counts, 1))",
            "numbers.size / (classes * np.maximum(counts, 1))",
            "option.class_weights",
        ),
        (
            "mean-by-rows-not-weights",
            "jnp.sum(weights * used) / jnp.where(total == 0, jnp.ones_like(total), total)",
            "jnp.sum(weights * used) / weights.size",
            "loss.reduce",
        ),
    ),
    *of(
        "nn/losses/segmentation.py",
        ("dice-of-absent-classes", "there = size > 0", "there = size >= 0", "loss.segmentation"),
    ),
    *of(
        "nn/losses/detection.py",
        (
            "focal-power",
            "jnp.square(quality - sigmoid(cells.objects)) if",
            "jnp.abs(quality - sigmoid(cells.objects)) if",
            "loss.detection",
        ),
    ),
    *of(
        "nn/backprop/loss_rules.py",
        ("token-rule-smoothing", "- loss.label_smoothing / z.shape[-1]", "", "option.token_smoothing"),
    ),
    *of(
        "nn/augment/mix.py",
        ("mixup-turned", '"y": blend(y, y[partner], share)', '"y": blend(y, y[partner], 1 - share)', "augment.MixUp"),
    ),
    *of(
        "nn/losses/regression.py",
        (
            "huber-of-another-delta",
            "delta: float = setting(default=1.0",
            "delta: float = setting(default=1.35",
            "option.defaults",
        ),
    ),
    *of(
        "nn/augment/mix.py",
        (
            "padding-is-mixed-in",
            "share = jnp.where((weight > 0) & (weight[partner] > 0), share, 1.0)",
            "share = share",
            "augment.MixUp",
        ),
    ),
]
