"""Tables of several modalities, trained: what neither modality tells alone is learnt from both, and sounds stand beside numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image

import danlu
from danlu.data.composite import Composite
from danlu.data.mixed import read_mixed
from danlu.errors import ConfigError
from danlu.pipeline.config import TrainConfig, config_from
from danlu.pipeline.domains import domain_of

QUIET: dict[str, Any] = {"display": "none", "say": lambda line: None}
FILLER = "the a one this here there very quite rather old new small round plain note card sheet".split()  # noqa: SIM905


def cards(folder: Path, rows: int, seed: int = 0) -> Path:
    """The label is whether the bar stands, or else the word is "red": both or neither of them is "no"."""
    rng, lines = np.random.default_rng(seed), []
    for row in range(rows):
        standing, red = rng.integers(0, 2, 2).astype(bool)
        pixels = rng.integers(0, 60, (12, 12))
        place = rng.integers(2, 9)
        pixels[(slice(1, 11), slice(place, place + 2)) if standing else (slice(place, place + 2), slice(1, 11))] = 240
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{row}.png")
        words = [*rng.choice(FILLER, 6), "red" if red else "blue"]
        lines.append((f"{row}.png", " ".join(rng.permutation(words)), "yes" if standing ^ red else "no"))
    pl.DataFrame(lines, schema=["photo", "note", "label"], orient="row").write_csv(folder / "cards.csv")
    return folder / "cards.csv"


@pytest.mark.slow
def test_what_neither_tells_alone_is_learnt_from_both(tmp_path: Path) -> None:
    changes = {"rotation": 0.0, "scale": 0.0, "shear": 0.0, "translate": 0.0}
    result = danlu.train(
        cards(tmp_path, 900), target="label", runs=tmp_path / "runs", trainer={"epochs": 25}, augment=changes, **QUIET
    )
    scores, others = result.judgement.scores, result.judgement.others
    assert scores["accuracy"].value >= 0.95
    for label in ("photo alone", "note alone", "the mean of these"):
        assert 0.3 < others[label]["roc_auc"].value < 0.7
    assert "itself without photo" in "\n".join(result.judgement.notes)


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ({}, "mixed"),
        ({"data": {"kinds": {"note": "text"}}}, "mixed"),
        ({"data": {"text": "note"}}, "text"),
        ({"pair": {"columns": "photo:note"}}, "pairs"),
    ],
)
def test_whose_a_table_with_pictures_is(settings: dict[str, Any], kind: str, tmp_path: Path) -> None:
    source = str(cards(tmp_path, 12))
    config = config_from({**settings, "data": {"source": source, "target": "label", **settings.get("data", {})}})
    assert domain_of(config, source).kind == kind


def test_a_table_of_texts_alone_stays_a_table_unless_it_is_asked_to_be_fused(tmp_path: Path) -> None:
    pl.read_csv(cards(tmp_path, 12)).drop("photo").write_csv(tmp_path / "notes.csv")
    config = TrainConfig().replace(data=TrainConfig().data.replace(source=str(tmp_path / "notes.csv"), target="label"))
    assert domain_of(config, str(tmp_path / "notes.csv")).kind == "table"
    assert domain_of(config.with_setting("fusion.kind", "late"), str(tmp_path / "notes.csv")).kind == "mixed"
    with pytest.raises(ConfigError, match=r"no column of .* holds texts, pictures or recordings"):
        danlu.train(
            {"a": [1.0, 2.0] * 20, "y": ["n", "y"] * 20}, target="y", fusion={"kind": "late"}, runs=tmp_path, **QUIET
        )


def test_recordings_stand_beside_numbers(tmp_path: Path) -> None:
    from scipy.io import wavfile

    rng = np.random.default_rng(0)
    for row in range(12):
        sound = 0.3 * np.sin(2 * np.pi * (300 + 50 * row) * np.arange(800) / 8000)
        wavfile.write(tmp_path / f"{row}.wav", 8000, sound.astype(np.float32))
    frame = pl.DataFrame(
        {"call": [f"{i}.wav" for i in range(11)] + [None], "size": rng.normal(size=12), "y": ["a", "b"] * 6}
    )
    frame.write_csv(tmp_path / "birds.csv")
    found = read_mixed(tmp_path / "birds.csv", target="y", kinds={})
    encoder = Composite.fit(found.frame, found.schema)
    x = encoder.transform(found.frame)
    assert encoder.kinds == ("table", "sound")
    assert (x["parts"]["call"].shape[0], x["present"][:, 1].tolist()) == (12, [1.0] * 11 + [0.0])
    loud = x["parts"]["call"][:11, :, :, 0].astype(float).mean(axis=2).argmax(axis=1)
    assert (np.diff(loud) <= 0).all()
    assert loud[0] > loud[-1]
