"""Privacy: MNIST and adult at stated ε, and the time of a step beside Opacus.

    python benchmarks/private.py mnist --data ../shared/data                     # appends a line a run to benchmarks/results/private.jsonl
    python benchmarks/private.py mnist --kind wavelets --set at_once=512

MNIST is learnt by Opacus's own network with its published settings (``cnn``), and by a linear layer on fixed wavelet features
(``wavelets``), which look at no row: the first order of a scattering transform (Tramèr & Boneh 2021, "Differentially private learning
needs better features"). Batches are drawn by Poisson sampling, ε is counted by privacy loss distributions.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np

RESULTS = Path(__file__).parent / "results" / "private.jsonl"
DELTA = 1e-5
ROWS = 60_000
# Opacus's examples/mnist_README: noise, clip, learning rate, epochs, batch; the accuracy that it states; the bar.
OPACUS = {
    "5.43": {"noise": 0.7, "clip": 1.5, "rate": 0.25, "epochs": 45, "batch": 240, "stated": 97.09, "bar": 97.0},
    "2.30": {"noise": 1.1, "clip": 1.0, "rate": 0.15, "epochs": 60, "batch": 240, "stated": 96.78, "bar": 96.7},
    "0.83": {"noise": 1.3, "clip": 1.5, "rate": 0.25, "epochs": 15, "batch": 240, "stated": 94.63, "bar": 94.6},
}
WAVELETS = {
    "5.43": {"epochs": 15, "batch": 3000, "clip": 0.3, "rate": 40.0, "bar": 97.0},
    "2.30": {"epochs": 15, "batch": 3000, "clip": 0.3, "rate": 40.0, "bar": 96.7},
    "0.83": {"epochs": 15, "batch": 3000, "clip": 0.3, "rate": 25.0, "bar": 94.6},
}


def cnn():
    """The network of Opacus's MNIST example: 26,010 parameters."""
    from danlu import nn

    return nn.Sequential(
        (
            nn.Conv(16, 8, stride=2, padding=((3, 3), (3, 3)), activation="relu"),
            nn.MaxPool(2, stride=1, padding="valid"),
            nn.Conv(32, 4, stride=2, padding="valid", activation="relu"),
            nn.MaxPool(2, stride=1, padding="valid"),
            nn.Flatten(),
            nn.Dense(32, activation="relu"),
            nn.Dense(10),
        )
    )


def mnist(data: Path):
    """Pictures of 0 to 1 and labels, of the training and of the test."""
    found = np.load(data / "mnist" / "mnist.npz")
    return [
        (found[f"x_{part}"].astype(np.float32)[..., None] / 255, found[f"y_{part}"].astype(np.int32))
        for part in ("train", "test")
    ]


def _periodic(size: int, spread: float, angle: float, middle: tuple[float, float], slant: float) -> np.ndarray:
    """A Gaussian bump of frequencies around ``middle``, on the ``size``×``size`` frequencies of a picture."""
    steps = np.fft.fftfreq(size) * 2 * np.pi
    across, down = np.meshgrid(steps, steps, indexing="ij")
    total = np.zeros((size, size))
    for a in (-1, 0, 1):
        for b in (-1, 0, 1):
            x, y = across + 2 * np.pi * a - middle[0], down + 2 * np.pi * b - middle[1]
            u, v = np.cos(angle) * x + np.sin(angle) * y, -np.sin(angle) * x + np.cos(angle) * y
            total += np.exp(-0.5 * spread**2 * (u**2 + (v / slant) ** 2))
    return total


def wavelets(pictures: np.ndarray, scales: int = 2, angles: int = 8) -> np.ndarray:
    """The local means of a picture and of how strongly it moves along each of 8 directions at 2 scales, ``(rows, 1088)``.

    ``|x ⋆ ψ| ⋆ φ`` with Morlet wavelets ψ and a Gaussian φ, every fourth place. The 17 numbers of a place are then scaled to mean 0 and
    (nearly) variance 1, and the row to length 1.
    """
    import jax
    import jax.numpy as jnp

    size, filters = 32, []
    for scale in range(scales):
        for number in range(angles):
            angle, around = np.pi * number / angles, 0.75 * np.pi / 2**scale
            bump = _periodic(size, 0.8 * 2**scale, angle, (around * np.cos(angle), around * np.sin(angle)), 0.5)
            low = _periodic(size, 0.8 * 2**scale, angle, (0.0, 0.0), 0.5)
            filters.append(bump - bump[0, 0] / low[0, 0] * low)  # no mean
    psi, phi = np.stack(filters), _periodic(size, 0.8 * 2**scales, 0.0, (0.0, 0.0), 1.0)

    @jax.jit
    def of(x):
        seen = jnp.fft.fft2(jnp.pad(x[..., 0], ((0, 0), (2, 2), (2, 2)), mode="reflect"))
        strong = jnp.abs(jnp.fft.ifft2(seen[:, None] * psi))
        both = jnp.concatenate([seen[:, None], jnp.fft.fft2(strong)], 1)  # (rows, 17, 32, 32)
        local = jnp.real(jnp.fft.ifft2(both * phi))[..., 2::4, 2::4].reshape(len(x), 17, -1)  # (rows, 17, 64)
        local = (local - local.mean((1, 2), keepdims=True)) / (local.std((1, 2), keepdims=True) + 1e-6)
        return of_places(local)

    def of_places(local):
        local = local - local.mean(1, keepdims=True)
        local = (local / (local.std(1, keepdims=True) + 0.3)).reshape(len(local), -1)  # (rows, 1088)
        return local / jnp.linalg.norm(local, axis=1, keepdims=True)

    return np.concatenate([np.asarray(of(jnp.asarray(pictures[i : i + 500]))) for i in range(0, len(pictures), 500)])


def kept(data: Path, cache: Path):
    """The wavelet features of MNIST, computed once."""
    if not cache.is_file():
        (x, y), (test, truth) = mnist(data)
        np.savez(cache, x=wavelets(x).astype(np.float16), y=y, test=wavelets(test).astype(np.float16), truth=truth)
    found = np.load(cache)
    return (found["x"].astype(np.float32), found["y"]), (found["test"].astype(np.float32), found["truth"])


def noise_for(epsilon: float, batch: int, epochs: int) -> float:
    """The noise multiplier that spends ``epsilon``."""
    from danlu.privacy import Budget, Ledger

    steps = epochs * round(ROWS / batch)

    def plan(noise: float) -> Ledger:
        return Ledger().with_steps("training", noise=noise, sampling=batch / ROWS, steps=steps)

    return Budget(epsilon=epsilon, delta=DELTA).noise(plan)


def run(kind: str, name: str, seed: int, parts, **changes):
    """One training; a line of results."""
    from danlu import fit, nn, optim
    from danlu.engine import PerExample
    from danlu.engine.average import decay_for

    settings = dict((OPACUS if kind == "cnn" else WAVELETS)[name]) | changes
    (x, y), (test, truth) = parts
    batch, epochs = settings["batch"], settings["epochs"]
    noise = settings.get("noise") or noise_for(float(name), batch, epochs)
    steps = epochs * round(ROWS / batch)
    gradient = PerExample.drawn(
        rows=ROWS, batch=batch, clip=settings["clip"], noise=noise, at_once=settings.get("at_once", 128)
    )
    started = time.perf_counter()
    fitted = fit(
        cnn() if kind == "cnn" else nn.Dense(10),
        (x, y),
        loss="categorical_cross_entropy",
        optimizer=optim.momentum(settings["rate"], momentum=0.9) if kind == "wavelets" else optim.sgd(settings["rate"]),
        gradient=gradient,
        epochs=epochs,
        seed=seed,
        display=settings.get("display", "none"),
        average=settings.get("average", "none"),
        average_decay=decay_for(steps) if settings.get("average") else None,
    )
    seconds = time.perf_counter() - started
    answers = np.asarray(fitted.predict(test)).argmax(1)
    line = {
        "what": f"mnist {kind}", "at": name, "seed": seed, "accuracy": 100 * float((answers == truth).mean()),
        "epsilon": gradient.spent(steps).epsilon(DELTA), "noise": noise, "seconds": round(seconds, 1), **settings,
    }  # fmt: skip
    print(json.dumps(line), flush=True)
    return line


def add(line: dict) -> None:
    """A further line of the results."""
    with RESULTS.open("a") as file:
        file.write(json.dumps(line) + "\n")


def main() -> None:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("mnist",))
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--kind", choices=("cnn", "wavelets"), default="cnn")
    parser.add_argument("--epsilon", choices=tuple(OPACUS), nargs="*", default=["0.83", "2.30", "5.43"])
    parser.add_argument("--seeds", type=int, nargs="*", default=list(range(5)))
    parser.add_argument("--set", nargs="*", default=[])
    parser.add_argument("--try", dest="dry", action="store_true", help="print the lines only")
    given = parser.parse_args()
    parts = (
        mnist(given.data)
        if given.kind == "cnn"
        else kept(given.data, Path(tempfile.gettempdir()) / "danlu-wavelets.npz")
    )
    changes = {name: json.loads(value) for name, value in (each.split("=") for each in given.set)}
    for seed in given.seeds:
        for name in given.epsilon:
            line = run(given.kind, name, seed, parts, **changes)
            if not given.dry:
                add(line)


if __name__ == "__main__":
    main()
