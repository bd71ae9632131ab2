"""A second source of texts or images: what stands in both, what differs, and whether a classifier tells them apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

import danlu
from danlu.auditing.sources import image_drift, looks, text_drift, words_apart

WORDS = np.array([f"w{number}" for number in range(80)])


def drawn(rng: np.random.Generator, count: int, more: str = "") -> list[str]:
    return [" ".join(rng.choice(WORDS, 7)) + (f" {more}" if more and rng.random() < 0.5 else "") for _ in range(count)]


def test_texts_of_one_kind_are_not_told_apart_and_a_new_word_is_named() -> None:
    rng = np.random.default_rng(0)
    one, same, other = drawn(rng, 200), drawn(rng, 200), drawn(rng, 200, "REFUND!")
    labels = [pl.Series("label", rng.permutation(["a", "b"] * 100)) for _ in range(2)]
    quiet = list(text_drift((one, same), labels, str.split))
    assert [(each.check, each.severity) for each in quiet] == [("files told apart", "note")]
    assert quiet[0].evidence["low"] < 0.5
    tilted = pl.Series("label", ["a"] * 180 + ["b"] * 20)
    by_check = {each.check: each for each in text_drift((one, other), (labels[0], tilted), str.split)}
    assert "is 50 % of the rows before" in by_check["drift"].said
    told = by_check["files told apart"]
    assert told.severity == "warning"
    assert told.evidence["low"] > 0.6
    assert any("REFUND!" in each for each in told.evidence["differs"])
    assert any(each.startswith("share of capital letters") for each in told.evidence["differs"])


def test_words_are_named_only_where_many_words_do_not_explain_it() -> None:
    rng = np.random.default_rng(1)
    quiet = 0
    for _ in range(20):
        one, two = ([set(text.split()) for text in drawn(rng, 120)] for _ in range(2))
        quiet += not words_apart(one, two)
    assert quiet >= 19


def pictures(rng: np.random.Generator, count: int, brighter: float = 0.0, wider: float = 1.0) -> np.ndarray:
    return np.clip(110 + brighter + wider * rng.normal(0, 25, (count, 8, 8, 3)), 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("change", "named"), [({}, None), ({"brighter": 12.0}, "brightness"), ({"wider": 1.3}, "contrast")]
)
def test_images_are_told_apart_by_what_differs(change: dict[str, float], named: str | None) -> None:
    rng = np.random.default_rng(2)
    both = pictures(rng, 120), pictures(rng, 120, **change)
    cells = [each.reshape(120, -1) / 255 for each in both]
    seen = [looks(each, [(8, 8, 3)] * 120) for each in both]
    told = list(image_drift(cells, seen, (None, None)))
    assert [each.check for each in told] == ["files told apart"]
    assert (told[0].severity == "warning") == (named is not None)
    assert named is None or any(each.startswith(named) for each in told[0].evidence["differs"])
    assert named is not None or not told[0].evidence["differs"]


def test_a_second_folder_of_images_without_labels_is_compared(tmp_path: Path) -> None:
    from PIL import Image

    rng = np.random.default_rng(3)
    for folder, count in (("old/a", 24), ("old/b", 24), ("new", 30)):
        (tmp_path / folder).mkdir(parents=True)
        for number, picture in enumerate(pictures(rng, count, 40.0 if folder == "new" else 0.0)):
            Image.fromarray(picture).save(tmp_path / folder / f"{number:02}.png")
    kept = np.asarray(Image.open(tmp_path / "old/a/03.png"))
    Image.fromarray(kept).save(tmp_path / "new/30.png")
    Image.fromarray(np.minimum(kept, 254) + 1).save(tmp_path / "new/31.png")
    found = danlu.audit(tmp_path / "old", against=tmp_path / "new", label_errors=False)
    assert found.of_check("images in both sources")[0].rows == (31,)
    assert found.of_check("near-duplicate images in both sources")[0].rows == (32,)
    assert found.of_check("files told apart")[0].evidence["low"] > 0.8


def test_a_second_file_of_texts_without_labels_is_compared() -> None:
    rng = np.random.default_rng(4)
    table = {"text": drawn(rng, 80), "label": ["a", "b"] * 40}
    new = {"text": [*drawn(rng, 40, "refund"), table["text"][5], table["text"][6].upper() + "!"]}
    found = danlu.audit(table, target="label", against=new, label_errors=False, data={"text": "text"})
    assert found.of_check("texts in both sources")[0].rows == (41,)
    assert found.of_check("near-duplicate texts in both sources")[0].rows == (42,)
    assert not found.of_check("drift")
    assert {"drift", "files told apart"} <= set(found.looked)
