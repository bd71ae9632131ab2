"""Recordings in folders to a trained, saved, loaded and judged model."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import wavfile

import danlu
from danlu.errors import ConfigError, DataError, SchemaError

SMALL: dict[str, Any] = {
    "trainer": {"epochs": 12, "batch_size": 16, "learning_rate": 0.02},
    "model": {"width": 4},
    "sound": {"n_mels": 16},
}
QUIET: dict[str, Any] = {"display": "none", "say": lambda line: None}


def write(folder: Path, count: int, seed: int) -> Path:
    """Tones that rise or fall, with noise: only the order of the pitches tells them apart."""
    rng = np.random.default_rng(seed)
    for label, sign in (("rising", 1), ("falling", -1)):
        (folder / label).mkdir(parents=True)
        for number in range(count):
            t = np.arange(int(rng.integers(2000, 2600))) / 8000
            middle = len(t) / 16000
            phase = 2 * np.pi * (1000 * t + sign * 1200 * (t - middle) ** 2)
            sound = 0.4 * np.sin(phase) + rng.normal(0, 0.02, len(t))
            wavfile.write(folder / label / f"{number}.wav", 8000, (sound * 20000).astype(np.int16))
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Any:
    said: list[str] = []
    folder = write(tmp_path_factory.mktemp("sounds") / "tones", 60, 0)
    result = danlu.train(folder, runs=folder.parent / "runs", display="none", say=said.append, **SMALL)
    return result, said, folder


def test_what_means_and_spreads_cannot_tell_is_learnt(trained: Any) -> None:
    result, _, _ = trained
    assert result.rows == {"train": 78, "validation": 18, "test": 24}
    assert result.scores["accuracy"] > 0.85
    simple = "logistic regression of each pitch's mean and spread"
    assert set(result.judgement.others) >= {"the most common class", simple}
    assert result.run.report_path.exists()


def test_files_folders_and_records_are_answered_alike(trained: Any) -> None:
    result, _, folder = trained
    model = danlu.load(result.run.path)
    of_folder = model.predict(folder / "rising")
    assert of_folder.columns == ["file", "label", "probability falling", "probability rising"]
    first = folder / "rising" / of_folder["file"][0]
    of_file = model.predict(first)
    assert of_file.row(0)[1:] == of_folder.row(0)[1:]
    (answer,) = model.respond([{"sound": base64.b64encode(first.read_bytes()).decode()}])
    assert tuple(answer.values()) == of_folder.row(0)[1:]
    assert model.evaluate(folder).tested == "24 rows not seen", "the others were learnt from, or chose the epoch"
    assert model.using("logistic").predict(first).columns == of_file.columns
    with pytest.raises(SchemaError, match="was not found"):
        model.predict(folder / "none.wav")


def test_what_cannot_be_learnt_is_one_message(trained: Any, tmp_path: Path) -> None:
    _, _, folder = trained
    with pytest.raises(DataError, match="have no labels"):
        danlu.train(folder / "rising", runs=tmp_path, **QUIET)
    with pytest.raises(ConfigError, match=r"augment\.rotation is not used for recordings"):
        danlu.train(folder, runs=tmp_path, augment={"rotation": 0.5}, **QUIET)
    with pytest.raises(ConfigError, match=r"sound\.n_mels"):
        danlu.train(folder, runs=tmp_path, sound={"n_mels": 2}, **QUIET)
