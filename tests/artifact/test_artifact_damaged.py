"""Whatever happens to a saved model's files, loading it raises an ArtifactError or gives the very same model."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from danlu.artifact import Artifact, load_artifact, save_artifact
from danlu.errors import ArtifactError

sys.path.insert(0, str(Path(__file__).parent))
from saved_models import parts

EXTRA = {"rows.bin": bytes(range(64))}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes], str]:
    """A folder to damage, its files as they were saved, and what the model in it says."""
    folder = save_artifact(tmp_path_factory.mktemp("damaged") / "m", **parts(), files=EXTRA)
    return folder, {file.name: file.read_bytes() for file in folder.iterdir()}, told(load_artifact(folder))


def told(artifact: Artifact) -> str:
    """All that decides a model's answers, in one text."""
    x = np.linspace(-3, 3, 8, dtype=np.float32).reshape(4, 2)
    outputs = np.asarray(artifact.model.apply(*artifact.variables, x)[0]).tobytes().hex()
    arrays = {name: array.tobytes().hex() for name, array in artifact.encoder_arrays.items()}
    rest = [artifact.task, artifact.schema, artifact.encoder, artifact.classes, artifact.threshold, artifact.metrics]
    return repr([outputs, arrays, artifact.model, *rest, artifact.provenance, artifact.extra, dict(artifact.files)])


def damage(saved: tuple[Path, dict[str, bytes], str], changed: dict[str, bytes]) -> bool:
    """Load with these files in place of those that were saved. Whether the model came back, and then the very same one."""
    folder, files, right = saved
    for name, data in {**files, **changed}.items():
        (folder / name).write_bytes(data)
    try:
        found = told(load_artifact(folder))
    except ArtifactError:
        return False
    assert found == right
    return True


NAMES = st.sampled_from(["model.json", "weights.safetensors", "rows.bin"])


@settings(max_examples=150)
@given(NAMES, st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 7)), min_size=1, max_size=3))
def test_flipped_bits(saved: Any, name: str, bits: list[tuple[float, int]]) -> None:
    data = bytearray(saved[1][name])
    for place, bit in bits:
        data[int(place * len(data))] ^= 1 << bit
    damage(saved, {name: bytes(data)})


@given(NAMES, st.floats(0, 1), st.floats(0, 1))
def test_pieces_that_are_lost_or_zeroed(saved: Any, name: str, start: float, stop: float) -> None:
    data = saved[1][name]
    low, high = sorted((int(start * len(data)), int(stop * len(data))))
    for kept in (
        data[:low],
        data[:low] + data[high:],
        data[:low] + bytes(high - low) + data[high:],
        data + data[low:high],
    ):
        damage(saved, {name: kept})


@given(st.permutations(["model.json", "weights.safetensors", "rows.bin"]))
def test_files_that_changed_places(saved: Any, order: list[str]) -> None:
    damage(saved, dict(zip(order, saved[1].values(), strict=True)))


def test_files_of_another_model(saved: Any, tmp_path: Path) -> None:
    assert damage(saved, {})
    params, state = parts()["variables"]
    other = {**parts(), "variables": ((*params[:2], {**params[2], "bias": np.ones(2, np.float32)}), state)}
    folder = save_artifact(tmp_path / "other", **other, files={"rows.bin": bytes(64)})
    for name in saved[1]:
        assert not damage(saved, {name: (folder / name).read_bytes()})


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"0.375", b"0.625"),
        (b'"no",\n    "yes"', b'"yes",\n    "no"'),
        ("名字".encode(), b"name"),
        (b'"accuracy": 0.75', b'"accuracy": 0.99'),
        (b"table.csv", b"other.csv"),
        (b'"units": 2', b'"units": 2.0'),
        (b'"format_version": 3', b'"format_version": 2'),
    ],
)
def test_what_was_changed_by_hand_is_said(saved: Any, old: bytes, new: bytes) -> None:
    model = saved[1]["model.json"]
    assert model.count(old) == 1
    assert not damage(saved, {"model.json": model.replace(old, new)})
    with pytest.raises(ArtifactError, match="is not as it was saved: its digest does not fit"):
        load_artifact(saved[0])
    assert damage(saved, {"model.json": json.dumps(json.loads(model)).encode()})  # other white space says the same


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Each entry of a JSON document, as its holder and its key."""
    for key in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from places(value[key])


JSON = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 3), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=3),
    st.just([]), st.just({}), st.sampled_from(["yes", "no", 0.375, "relu", "Dense", "float32"]),
)  # fmt: skip


@settings(max_examples=150)
@given(st.data())
def test_one_edit_by_hand(saved: Any, data: st.DataObject) -> None:
    """Any entry changed, taken away, moved or added, in the document as it is: never another model without a word."""
    document = json.loads(saved[1]["model.json"])
    entries = list(places(document))
    holder, key = entries[data.draw(st.integers(0, len(entries) - 1))]
    match data.draw(st.sampled_from(["change", "remove", "add", "move"])):
        case "change":
            holder[key] = data.draw(JSON)
        case "remove":
            del holder[key]
        case "add" if isinstance(holder, dict):
            holder[data.draw(st.text(max_size=3))] = data.draw(JSON)
        case "move" if isinstance(holder, dict):  # to the end: an order may mean something
            holder[key] = holder.pop(key)
        case _:
            holder.reverse() if isinstance(holder, list) else None
    damage(saved, {"model.json": json.dumps(document, allow_nan=False).encode()})
