"""Pretraining on pictures without labels, then 10 labels a class, against the same network from scratch on the same labels.

``python benchmarks/pretrain.py --data FOLDER`` needs in the folder the idx files of Fashion-MNIST, or ``mnist.npz``. Of the training
pictures, 10 of each class are labelled (drawn by ``--seed``), and ``--pictures`` others are taken without labels. Both
networks begin with the same draw, see the same labelled pictures in the same order, and are tested on the same 10,000 test pictures; the
interval of the difference of their accuracies is of pairs. ``--objective masked`` draws hidden parts instead.
"""

from __future__ import annotations

import argparse
import gzip
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

SETTINGS: dict[str, Any] = {"model": {"width": 16}, "evaluate": {"report": False}}


def read(folder: Path) -> dict[str, np.ndarray]:
    """The pictures and labels of both parts."""
    if (folder / "mnist.npz").exists():
        with np.load(folder / "mnist.npz") as arrays:
            return dict(arrays)
    found = {}
    for name, stem in (("train", "train"), ("test", "t10k")):
        for what, kind, head in (("x", "images-idx3", 16), ("y", "labels-idx1", 8)):
            raw = gzip.decompress((folder / f"{stem}-{kind}-ubyte.gz").read_bytes())
            values = np.frombuffer(raw, np.uint8, offset=head)
            found[f"{what}_{name}"] = values.reshape(-1, 28, 28) if what == "x" else values
    return found


def pretrained(
    folder: Path, *, pictures: int, epochs: int | None, seed: int, objective: str, width: int
) -> dict[str, Any]:
    """Train once with and once without, and compare on the test rows."""
    import danlu

    arrays, rng = read(folder), np.random.default_rng(seed)
    order = rng.permutation(len(arrays["y_train"]))
    labels = arrays["y_train"][order]
    few = np.concatenate([order[labels == label][:10] for label in np.unique(labels)])
    others = np.setdiff1d(order, few)[:pictures]
    with tempfile.TemporaryDirectory() as place:
        np.savez(Path(place) / "unlabelled.npz", images=arrays["x_train"][others])
        test = {"x_test": arrays["x_test"], "y_test": arrays["y_test"]}
        np.savez(Path(place) / "few.npz", x_train=arrays["x_train"][few], y_train=arrays["y_train"][few], **test)
        asked = {"source": f"{place}/unlabelled.npz", "objective": objective}
        asked |= {} if epochs is None else {"epochs": epochs}
        begun = time.perf_counter()
        settings = {**SETTINGS, "model": {"width": width}, "pretrain": asked, "trainer": {"seed": seed}}
        result = danlu.train(f"{place}/few.npz", runs=place, display="plain", **settings)
        seconds = time.perf_counter() - begun
    found: dict[str, Any] = {
        "data": folder.name,
        "objective": objective,
        "pictures": pictures,
        "seed": seed,
        "width": width,
        "pretraining": result.model.provenance["pretraining"],
        "accuracy": round(result.scores["accuracy"], 4),
        "seconds": round(seconds),
        "labelled": {name: count for name, count in result.rows.items() if count},
    }
    for each in result.judgement.comparisons:
        found[each.label] = {
            "metric": each.metric,
            "ours": each.ours,
            "theirs": each.theirs,
            "difference": [round(v, 4) for v in (each.difference.value, each.difference.low, each.difference.high)],
            "verdict": each.verdict,
        }
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--pictures", type=int, default=10_000)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--objective", choices=("contrast", "masked"), default="contrast")
    given = parser.parse_args()
    kinds = {"pictures": given.pictures, "epochs": given.epochs, "seed": given.seed, "objective": given.objective}
    print(json.dumps(pretrained(given.data, width=given.width, **kinds)))
