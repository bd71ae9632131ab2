"""The audit of texts and images, and kinds of data without one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import danlu
from danlu.errors import ConfigError

WORDS = {"good": ["fine", "lovely", "great", "nice", "superb"], "bad": ["poor", "awful", "dull", "weak", "sad"]}


def texts() -> dict[str, list[str]]:
    rng = np.random.default_rng(0)
    labels = ["good" if row % 2 else "bad" for row in range(160)]
    other = [f"w{number}" for number in range(60)]
    lines = [" ".join([*rng.choice(WORDS[label], 3), *rng.choice(other, 6)]) for label in labels]
    return {"text": lines, "label": labels}


def test_faults_of_texts_are_named_by_their_rows() -> None:
    table = texts()
    table["text"][20] = "  "
    table["text"][50] = table["text"][10]
    table["text"][61] = table["text"][11].upper() + "!!"
    table["text"][71] = table["text"][12]  # of the other class
    for row in (90, 91, 92, 93):
        table["label"][row] = "bad" if table["label"][row] == "good" else "good"
    found = danlu.audit(table, target="label", data={"text": "text"})
    assert found.unit == "texts"
    named = {each.check: set(each.rows) for each in found}
    assert named["empty texts"] == {21}
    assert named["duplicate texts"] == {51, 72}
    assert named["near-duplicate texts"] == {62}
    assert named["equal texts, other label"] == {13, 72}
    assert {91, 92, 93, 94} <= named["label errors"]


def test_faults_of_images_are_named_by_their_files(tmp_path: Path) -> None:
    from PIL import Image

    rng = np.random.default_rng(1)
    for number in range(60):
        kind = "left" if number % 2 else "right"
        picture = rng.integers(0, 90, (16, 16), np.uint8)
        picture[:, slice(0, 8) if kind == "left" else slice(8, 16)] += 120
        if number == 30:
            picture[:] = 77
        if number in (40, 41):
            kind = "right" if number == 41 else "left"
        (tmp_path / kind).mkdir(exist_ok=True)
        Image.fromarray(picture).save(tmp_path / kind / f"{number:02}.png")
    (tmp_path / "left" / "99.png").write_bytes(b"no picture")
    (tmp_path / "left" / "copy.png").write_bytes((tmp_path / "left" / "05.png").read_bytes())
    found = danlu.audit(tmp_path)
    named = {each.check: {Path(file).name for file in each.evidence.get("names", ())} for each in found}
    assert named["constant images"] == {"30.png"}
    assert named["duplicate images"] == {"copy.png"}
    assert {"40.png", "41.png"} <= named["label errors"]
    assert "99.png" in found.of_check("cannot be read")[0].said


def test_other_kinds_of_data_are_refused_with_one_message(tmp_path: Path) -> None:
    (tmp_path / "novel.txt").write_text("a long story\n" * 40)
    with pytest.raises(ConfigError, match="danlu audit is for tables, images and texts"):
        danlu.audit(tmp_path / "novel.txt")
    with pytest.raises(ConfigError, match="dates of a table"):
        danlu.audit(texts(), target="label", at="day", data={"text": "text"})
