"""Models of every kind, saved by earlier versions, load and answer as they did; those saved now load to equal bits."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from kinds import GOLDEN, KINDS, THINNED, answer

import danlu
from danlu.artifact import FORMAT_VERSION
from danlu.artifact.artifact import SPARSE_VERSION

SAVED = sorted((int(each.parent.name.removeprefix("version-")), each.name) for each in GOLDEN.glob("version-*/*"))
LAST = FORMAT_VERSION


def close(found: Any, expected: Any) -> bool:
    if isinstance(expected, list):
        return len(found) == len(expected) and all(map(close, found, expected))
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(close(found[name], expected[name]) for name in expected)
    return found == pytest.approx(expected, rel=1e-4, abs=1e-5) if isinstance(expected, float) else found == expected


@pytest.mark.parametrize(("version", "kind"), SAVED)
def test_models_of_every_version_answer_as_they_did(version: int, kind: str) -> None:
    folder = GOLDEN / f"version-{version}" / kind
    model = danlu.load(folder / "model")
    assert close(answer(model, kind, folder), json.loads((folder / "answers.json").read_text()))


@pytest.mark.parametrize("kind", THINNED)
def test_a_model_without_zeros_is_of_a_version_of_its_own_and_stays_so(kind: str, tmp_path: Path) -> None:
    folder = GOLDEN / f"version-{SPARSE_VERSION}" / kind
    document = json.loads((folder / "model" / "model.json").read_text())
    assert document["format_version"] == SPARSE_VERSION
    assert set(document["weights"]["sparse"].values()) == ({"gaps"} if kind == "text" else {"bits", "gaps"})
    model = danlu.load(folder / "model")
    again = json.loads((model.save(tmp_path / "again") / "model.json").read_text())
    assert again["format_version"] == SPARSE_VERSION
    assert again["weights"] == document["weights"]
    assert answer(danlu.load(tmp_path / "again"), kind, folder) == answer(model, kind, folder)


@pytest.mark.parametrize("kind", KINDS)
def test_saved_and_loaded_it_is_the_same_to_the_bit(kind: str, tmp_path: Path) -> None:
    folder = GOLDEN / f"version-{LAST}" / kind
    model = danlu.load(folder / "model")
    model.save(tmp_path / "again")
    again = danlu.load(tmp_path / "again")
    assert answer(again, kind, folder) == answer(model, kind, folder)
    assert again.fields == model.fields
    assert again.provenance.items() >= {"rows": model.provenance["rows"]}.items()


def test_a_model_left_aside_by_a_kill_is_loaded(tmp_path: Path) -> None:
    """Between the two renames of a save the old model is aside: of a folder, and of a run."""
    for place in (tmp_path / "model", tmp_path / "run" / "artifact"):
        shutil.copytree(GOLDEN / f"version-{LAST}" / "table" / "model", place.with_name(f".{place.name}.previous"))
    (tmp_path / "run" / "config.json").write_text("{}")
    for place in ("model", "run"):
        assert danlu.load(tmp_path / place).kind == "table"
