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
import subprocess
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


def ring(args: argparse.Namespace) -> None:
    """How many of eight Gaussians are drawn, and the share of points within three deviations of one (of a perfect ring 98.9 %)."""
    import jax

    from danlu import nn
    from danlu.generative import GAN, GameRecipe

    rng, turn = np.random.default_rng(0), np.arange(8) * np.pi / 4
    middles = 0.5 + 0.4 * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    x = (middles[rng.integers(0, 8, 5120)] + 0.02 * rng.normal(size=(5120, 2))).astype(np.float32)
    games = (("non-saturating", "r1", 0.01), ("hinge", "r1", 0.01), ("wasserstein", "wgan-gp", 0.1))
    for loss, penalty, weight in games[: args.games]:
        for seed in range(args.seeds):
            network = GAN(nn.MLP((128, 128), 2), nn.MLP((128, 128), 1), 4)
            plan = GameRecipe(
                network,
                batch_size=256,
                epochs=60 * args.epochs,
                learning_rate=1e-3,
                beta1=0.0,
                beta2=0.9,
                adversarial=loss,
                penalty=penalty,
                weight=weight,
                average="ema",
            )
            initial = network.init(jax.random.key(seed), (2,))[:2]
            begun = time.perf_counter()
            fitted = plan.fit((x, np.zeros(5120, np.int32)), rows=5120, seed=seed, initial=initial, display="none")
            took = time.perf_counter() - begun
            keys = jax.random.split(jax.random.key(99), 10_000)
            points = np.asarray(network.draw(fitted.params, fitted.state, keys, np.zeros(10_000), (2,)))
            distance = np.linalg.norm(points[:, None] - middles, axis=-1)
            near = distance.min(axis=1) < 0.06
            modes = int((np.bincount(distance.argmin(axis=1)[near], minlength=8) > 250).sum())
            print(f"{loss}, {penalty}, seed {seed}: {modes} of 8, {near.mean():.1%} good, {took:.0f} s", flush=True)


def frechet_(args: argparse.Namespace) -> None:
    """Drawn pictures in the features of danlu's classifier of the training pictures, beside real ones and PyTorch's."""
    import jax

    from danlu.evaluate.generated import frechet as distance
    from danlu.generative import Painting, painting_recipe
    from danlu.generative.features import Features, nearest
    from danlu.trained import Trained

    data = load(args.data)
    x, y = data["x_train"][: args.rows], data["y_train"][: args.rows].astype(np.int32)
    pixels, labels = data["x_test"][: args.count], data["y_test"][: args.count].astype(np.int32)
    features = Features.fit(x, y, 10)
    real = features.of(pixels)

    def told(name: str, drawn: np.ndarray) -> None:
        seen, shown = features.of(drawn)
        far = nearest(drawn, x[:10_000])[1].mean() / nearest(pixels, x[:10_000])[1].mean()
        right = (shown == labels).mean()
        found = distance(real[0], seen)
        print(f"{name}: Fréchet distance {found:.2f}, label seen {right:.1%}, to training {far:.2f}", flush=True)

    told(
        "training pictures (real against real)",
        x[[int(np.resize(np.flatnonzero(y == label), len(labels))[n]) for n, label in enumerate(labels)]],
    )
    plan: Any = painting_recipe(args.model, len(x), x.shape[1:], classes=10, epochs=args.epochs)
    initial = jax.jit(lambda key: plan.model.init(key, x.shape[1:])[:2])(jax.random.key(0))
    begun = time.perf_counter()
    fitted = plan.fit((x, y), rows=len(x), initial=initial, display="plain")
    took = time.perf_counter() - begun

    class Shape:
        in_shape = x.shape[1:]

    head = Painting(tuple(map(str, range(10))))
    trained = Trained(plan.model, fitted.params, fitted.state, Shape(), head)
    told(f"danlu, {args.epochs} epochs in {took:.0f} s", trained.sample(len(labels), label=[str(n) for n in labels]))
    if args.torch:
        with tempfile.TemporaryDirectory() as place:
            np.save(Path(place, "labels.npy"), labels)
            script, out = Path(__file__).with_name("generative_torch.py"), Path(place, "drawn.npz")
            command = [args.torch, str(script), args.model, args.data, str(out), "--epochs", str(args.epochs)]
            command += ["--labels", str(Path(place, "labels.npy")), *(["--rows", str(args.rows)] if args.rows else [])]
            subprocess.run(command, check=True)
            told("PyTorch", np.load(out)["images"])


def main() -> None:
    """Run one of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("elbo", "ring", "frechet"))
    parser.add_argument("--data", help="an npz file")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--games", type=int, default=3)
    parser.add_argument("--model", default="vae", choices=("vae", "diffusion", "flow-matching", "gan"))
    parser.add_argument("--rows", type=int, help="training pictures; all without it")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--torch", help="a Python with PyTorch; its peers are a vae and flow-matching")
    args = parser.parse_args()
    {"elbo": elbo, "ring": ring, "frechet": frechet_}[args.what](args)


if __name__ == "__main__":
    main()
