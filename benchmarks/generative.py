"""Models that draw, beside published figures and the same small models in PyTorch.

    python benchmarks/generative.py elbo --data mnist.npz              # a VAE's bound on MNIST, beside Flax's example (104 nats)
    python benchmarks/generative.py ring                               # GANs on a ring of eight Gaussians
    python benchmarks/generative.py frechet --data mnist.npz --model vae [--torch PYTHON] [--epochs 10]

``frechet`` measures 1,000 drawn pictures in the features of one classifier, danlu's own, beside real against real; with ``--torch`` the
same network is trained in PyTorch on the same rows for as many epochs, and its pictures are measured by the same classifier. The data is
an npz file with ``x_train, y_train, x_test, y_test``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np


def load(path: str) -> dict[str, np.ndarray]:
    """The arrays of MNIST, with a channel."""
    with np.load(path) as found:
        return {name: found[name][..., None] if name.startswith("x") else found[name] for name in found}


def elbo(args: argparse.Namespace) -> None:
    """The mean −ELBO of the test pictures after ten epochs; hidden 500, 20 codes, as Flax's example."""
    import jax

    from danlu.engine import predict_outputs
    from danlu.generative import painting_recipe

    data = load(args.data)
    x, y = data["x_train"], np.zeros(len(data["x_train"]), np.int32)
    plan = painting_recipe("vae", len(x), x.shape[1:], epochs=args.epochs)
    for seed in range(args.seeds):
        initial = jax.jit(lambda key: plan.model.init(key, (28, 28, 1))[:2])(jax.random.key(seed))
        begun = time.perf_counter()
        fitted = plan.fit((x, y), rows=len(x), seed=seed, initial=initial, display="plain")
        took = time.perf_counter() - begun
        pixels = data["x_test"]
        found = {"grey": pixels, "on and off": 255 * (pixels > 127).astype(np.uint8)}
        for name, each in found.items():
            said = predict_outputs(plan.model, fitted.params, fitted.state, each, batch_size=256)
            told = ", ".join(f"{key} {values.mean():.2f}" for key, values in said.items())
            print(f"seed {seed}, {args.epochs} epochs in {took:.0f} s, test pictures {name}: {told} nats", flush=True)


def main() -> None:
    """Run one of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("elbo",))
    parser.add_argument("--data", help="an npz file")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=1)
    args = parser.parse_args()
    {"elbo": elbo}[args.what](args)


if __name__ == "__main__":
    main()
