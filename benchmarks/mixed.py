"""Tables of several modalities: a made one where no modality suffices, whose best possible score is known."""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

__all__ = ["make_xor"]

FILLER = "the a one this that here there very quite rather old new small round plain note card sheet item piece".split()  # noqa: SIM905


def make_xor(folder: Path, rows: int = 2400, *, noise: float = 0.0, missing: float = 0.0, seed: int = 0) -> Path:
    """A table whose label is (the bright bar stands) XOR (the text has the word "red" and not "blue").

    Args:
        folder: is written to.
        rows: how many.
        noise: the share of labels that are turned; the best possible accuracy is ``1 − noise``.
        missing: the share of rows without a picture (and as many without a text).
        seed: draws all.

    Returns:
        The table's path, with the columns ``photo``, ``note``, ``size`` (which says nothing) and ``label``.
    """
    from PIL import Image

    rng = np.random.default_rng(seed)
    (folder / "photos").mkdir(parents=True, exist_ok=True)
    lines = []
    for row in range(rows):
        standing, red = rng.integers(0, 2, 2).astype(bool)
        image = rng.integers(0, 80, (16, 16))
        place = rng.integers(2, 12)
        image[(slice(2, 14), slice(place, place + 2)) if standing else (slice(place, place + 2), slice(2, 14))] = 230
        Image.fromarray(image.astype(np.uint8)).save(folder / "photos" / f"{row}.png")
        words = rng.choice(FILLER, 7).tolist()
        words[rng.integers(0, 7)] = "red" if red else "blue"
        label = bool(standing ^ red) ^ bool(rng.random() < noise)
        photo = None if rng.random() < missing else f"photos/{row}.png"
        note = None if rng.random() < missing else " ".join(words)
        lines.append((photo, note, round(float(rng.normal(50, 10)), 1), "yes" if label else "no"))
    frame = pl.DataFrame(lines, schema=["photo", "note", "size", "label"], orient="row")
    frame.write_csv(folder / "cards.csv")
    return folder / "cards.csv"


def run(source: Path, target: str, **settings: Any) -> dict[str, Any]:
    """A training's scores with those of what it was compared with."""
    import danlu

    result = danlu.train(source, target=target, runs=tempfile.mkdtemp(), display="none", **settings)
    return json.loads((Path(result.run.path) / "results.json").read_text())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=2400)
    parser.add_argument("--noise", type=float, default=0.0)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    folder = asked.out or Path(tempfile.mkdtemp())
    run(make_xor(folder, asked.rows, noise=asked.noise), "label")


if __name__ == "__main__":
    main()
