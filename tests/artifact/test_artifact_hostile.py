"""Damaged and hostile folders: always an ArtifactError, nothing run, and no more memory than the files have."""

from __future__ import annotations

import contextlib
import copy
import json
import os
import shutil
import struct
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from danlu.artifact import load_artifact
from danlu.artifact.artifact import listing, sealed
from danlu.errors import ArtifactError

sys.path.insert(0, str(Path(__file__).parent))
from saved_models import GOLDEN

MODEL = (GOLDEN / "version-2" / "model.json").read_bytes()
WEIGHTS = (GOLDEN / "version-2" / "weights.safetensors").read_bytes()
DOCUMENT = json.loads(MODEL)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(GOLDEN / "version-2", tmp_path / "m")
    return tmp_path / "m"


def refused(folder: Path, match: str | None = None) -> None:
    with pytest.raises(ArtifactError, match=match) as caught:
        load_artifact(folder)
    assert len(str(caught.value)) < 2000


def write(folder: Path, document: Any, weights: bytes = WEIGHTS, *, fit: bool = False) -> None:
    """Write both files as someone would who knows the format: the digest fits. ``fit`` makes the document vouch for the weights too."""
    if isinstance(document, dict):
        document = copy.deepcopy(document)
        if fit:
            document["files"]["weights.safetensors"] = listing(weights)
        if "digest" in document:
            document = sealed(document)
    text = document if isinstance(document, bytes) else json.dumps(document).encode()
    (folder / "model.json").write_bytes(text)
    (folder / "weights.safetensors").write_bytes(weights)


# --- files cut short, changed, missing ---


def test_model_files_cut_anywhere(folder: Path) -> None:
    for size in range(0, len(MODEL) - 1, 37):
        (folder / "model.json").write_bytes(MODEL[:size])
        refused(folder)


def test_weights_cut_anywhere(folder: Path) -> None:
    for size in range(0, len(WEIGHTS), 7):
        write(folder, DOCUMENT, WEIGHTS[:size])
        refused(folder)
        write(folder, DOCUMENT, WEIGHTS[:size], fit=True)
        refused(folder)


def test_every_flipped_bit_of_the_weights_is_seen(folder: Path) -> None:
    for place in range(0, len(WEIGHTS), 11):
        data = bytearray(WEIGHTS)
        data[place] ^= 1 << place % 8
        write(folder, DOCUMENT, bytes(data))
        refused(folder, "is not the file that was saved: its SHA-256")


def _loads_or_refuses(folder: Path) -> None:
    with contextlib.suppress(ArtifactError):
        load_artifact(folder)


def test_flipped_bits_never_raise_anything_else(folder: Path) -> None:
    rng = np.random.default_rng(0)
    for _ in range(150):
        model, weights = bytearray(MODEL), bytearray(WEIGHTS)
        for data in (model, weights):
            for place in rng.integers(0, len(data), 2):
                data[place] ^= 1 << int(rng.integers(8))
        (folder / "model.json").write_bytes(model)
        _loads_or_refuses(folder)
        write(folder, DOCUMENT, bytes(weights), fit=True)
        _loads_or_refuses(folder)


@pytest.mark.parametrize("name", ["model.json", "weights.safetensors"])
def test_files_that_are_not_plain_files(folder: Path, name: str, tmp_path: Path) -> None:
    path = folder / name
    shutil.move(path, tmp_path / "elsewhere")
    refused(folder, "is not a saved model: expected" if name == "model.json" else "does not exist")
    path.symlink_to(tmp_path / "elsewhere")
    refused(folder, "is a symbolic link; expected a regular file")
    path.unlink()
    path.symlink_to(tmp_path / "nowhere")
    refused(folder, "is a symbolic link")
    path.unlink()
    path.symlink_to("/dev/zero")
    refused(folder, "is a symbolic link")
    path.unlink()
    path.mkdir()
    refused(folder)
    path.rmdir()
    os.mkfifo(path)  # reading a pipe would wait for ever
    refused(folder, "is not a regular file")


def test_folders_that_are_no_artifacts(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for place in (tmp_path / "nothing", tmp_path / "file", tmp_path, Path(), Path("/")):
        refused(place, "is not a saved model: expected a folder")


# --- JSON ---


def changed(path: str, value: Any) -> Any:
    """The document with the entry at ``path`` replaced; a function is called with the old value."""
    holder = [copy.deepcopy(DOCUMENT)]
    node: Any = holder
    steps = [
        0,
        *(int(step) if step.isdigit() else step.replace("weights-s", "weights.s") for step in path.split(".") if step),
    ]
    for step in steps[:-1]:
        node = node[step]
    node[steps[-1]] = value(node[steps[-1]]) if callable(value) else value
    return holder[0]


def without(path: str) -> Any:
    *before, last = path.split(".")
    return changed(".".join(before), lambda node: {k: v for k, v in node.items() if k != last})


TEXTS: list[tuple[bytes, str]] = [
    (b"", "is not valid JSON"),
    (b"[]", "holds a JSON list; expected an object"),
    (b"null", "expected an object"),
    (b"\xff\xfe{}", "is not valid JSON"),
    (b'{"a": NaN}', "NaN is not a JSON number"),
    (MODEL.replace(b"0.375", b"Infinity"), "Infinity is not a JSON number"),
    (MODEL.replace(b"0.375", b"1e999"), "a number that JSON cannot represent"),
    (MODEL.replace(b"0.375", b"0.376"), "is not as it was saved: its digest does not fit"),
    (b'{"format": 1, "format": 2}', "the same key twice"),
    (b"[" * 100_000, "nested more than|not valid JSON"),
    (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "nested more than"),
    (b'{"a":' * 500 + b"1" + b"}" * 500, "nested more than"),
    (b'{"a": ' + b"9" * 5000 + b"}", "is not valid JSON"),
    (b'{"format": "danlu-artifact"', "is not valid JSON"),
    (MODEL + b"{}", "is not valid JSON"),
    (MODEL.replace(b"danlu-artifact", b"other-artifact"), "is not a danlu model"),
]


@pytest.mark.parametrize(("text", "message"), TEXTS, ids=range(len(TEXTS)))
def test_hostile_json(folder: Path, text: bytes, message: str) -> None:
    write(folder, text)
    refused(folder, message)


def test_a_model_file_of_any_size_is_not_read(folder: Path) -> None:
    with (folder / "model.json").open("r+b") as file:
        file.truncate(2**40)  # a sparse file
    refused(folder, "has 1,099,511,627,776 bytes; expected at most")


WEIGHTS_PATH = "weights.trees.params.tuple.0.dict"
VALUES = [None, True, -1, 2**70, 0.5, "", "x" * 100, [], [[]], {}, {"a": 1}, {"blueprint": "Dense"}]
KEYS = [
    "", "format", "format_version", "task", "blueprint", "classes", "threshold", "metrics", "provenance", "extra",
    "weights", "weights.trees", "files",
    "files.weights-safetensors.sha256", "files.weights-safetensors.bytes", "weights.trees.params", "weights.trees.params.tuple",
    WEIGHTS_PATH, f"{WEIGHTS_PATH}.bias", f"{WEIGHTS_PATH}.bias.shape", f"{WEIGHTS_PATH}.bias.shape.0",
    f"{WEIGHTS_PATH}.bias.dtype", "blueprint.layers", "blueprint.layers.0", "blueprint.layers.0.units",
    "blueprint.layers.0.activation", "blueprint.layers.0.initializer", "blueprint.layers.0.blueprint",
]  # fmt: skip


@pytest.mark.parametrize("key", KEYS)
def test_wrong_values_anywhere(folder: Path, key: str) -> None:
    for value in VALUES:
        write(folder, changed(key, value))
        _loads_or_refuses(folder)
    if "." in key and not key.rsplit(".", 1)[1].isdigit():
        write(folder, without(key))
        _loads_or_refuses(folder)


MISFITS: list[tuple[Any, str]] = [
    (changed("format_version", 5), "was written in format version 5; this danlu reads up to 4"),
    (changed("format_version", True), "has the format version 'True'"),
    (changed("threshold", 1.5), "has the threshold '1.5'; expected 0 to 1 or null"),
    (changed("threshold", True), "has the threshold 'True'"),
    (changed("task", 3), "has the task '3'"),
    (changed("classes", {"a": 1}), "as 'classes'; expected a JSON list"),
    (without("weights"), "has nothing as 'weights'"),
    (changed("weights.trees", lambda trees: {**trees, "more": {"none": True}}), "has the trees"),
    (
        changed("blueprint", {"blueprint": "os.system", "command": "true"}),
        "uses 'os.system', which this danlu does not",
    ),
    (changed("blueprint", {"blueprint": ["Dense"], "units": 1}), "which this danlu does not know"),
    (changed("blueprint", {"blueprint": "Dense", "units": 1, "__class__": "x"}), r"has the fields \['__class__'\]"),
    (changed("blueprint", {"blueprint": "Dense", "units": -1}), "the saved Dense is not valid: Dense.units is -1"),
    (changed("blueprint", {"blueprint": "Dense"}), "the saved Dense is not valid"),
    (changed("blueprint", {"layers": []}), "the saved blueprint is a dict; expected a layer"),
    (changed("blueprint", {"blueprint": "Blueprint"}), "does not know|expected a layer|not valid"),
    (changed(f"{WEIGHTS_PATH}.bias.shape", [2**47]), "the model's arrays need"),
    (changed(f"{WEIGHTS_PATH}.bias.shape", [2**30, 2**30]), "has the shape"),
    (changed(f"{WEIGHTS_PATH}.bias.shape", [-3]), "has the shape"),
    (changed(f"{WEIGHTS_PATH}.bias.shape", [1] * 40), "has the shape"),
    (changed(f"{WEIGHTS_PATH}.bias.shape", [4]), r"is float32\[3\]; expected float32\[4\]"),
    (changed(f"{WEIGHTS_PATH}.bias.dtype", "object"), "has the dtype 'object'; expected one of"),
    (changed(f"{WEIGHTS_PATH}.bias.dtype", "int32"), r"is float32\[3\]; expected int32\[3\]"),
    (changed(WEIGHTS_PATH, lambda leaves: {**leaves, "../../x": leaves["bias"]}), "is missing"),
    (changed(WEIGHTS_PATH, lambda leaves: {**leaves, "..": leaves["bias"]}), "which is not allowed"),
    (changed(WEIGHTS_PATH, lambda leaves: {"bias": leaves["bias"]}), "holds the array .* which was not expected"),
    (changed("weights.trees.state", {"tuple": [], "list": []}), "expected dict, tuple, list, none"),
    (changed("files.weights-safetensors.bytes", 579), "has 580 bytes; expected at most 579"),
    (changed("files.weights-safetensors.sha256", "0" * 64), "is not the file that was saved"),
    (changed("files", {}), "does not list weights.safetensors"),
    (
        changed("files", lambda files: {**files, "../../x": {"bytes": 1, "sha256": ""}}),
        "cannot be a file of an artifact",
    ),
    (changed("files", lambda files: {**files, "more": 1}), "does not list"),
    (changed("format_version", 1), "its digest does not fit"),
]


@pytest.mark.parametrize(("document", "message"), MISFITS, ids=range(len(MISFITS)))
def test_documents_that_do_not_fit(folder: Path, document: Any, message: str) -> None:
    write(folder, document)
    refused(folder, message)


def test_a_deep_blueprint(folder: Path) -> None:
    nested: Any = {"blueprint": "Dense", "units": 1}
    for _ in range(90):
        nested = {"blueprint": "Sequential", "layers": [nested]}
    write(folder, changed("blueprint", nested))
    _loads_or_refuses(folder)


# --- safetensors headers that vouch for themselves ---


def _safetensors(header: Any, data: bytes, *, size: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if size is None else size) + text + data


def _header() -> tuple[dict[str, Any], bytes]:
    (length,) = struct.unpack("<Q", WEIGHTS[:8])
    return json.loads(WEIGHTS[8 : 8 + length]), WEIGHTS[8 + length :]


HEADERS: list[Callable[[dict[str, Any], bytes], bytes]] = [
    lambda h, d: _safetensors(h, d, size=2**63),
    lambda h, d: _safetensors(h, d, size=2**40),
    lambda h, d: _safetensors(b"[" * 5000, d),
    lambda h, d: _safetensors({}, d),
    lambda h, d: _safetensors(h, d + b"\0"),
    lambda h, d: _safetensors(h, d[:-1]),
    lambda h, d: _safetensors({**h, "../../evil": h["encoder/codes"]}, d),
    lambda h, d: _safetensors({**h, "encoder/codes": {**h["encoder/codes"], "shape": [2**40]}}, d),
    lambda h, d: _safetensors({**h, "encoder/codes": {**h["encoder/codes"], "shape": [-1]}}, d),
    lambda h, d: _safetensors({**h, "encoder/codes": {**h["encoder/codes"], "dtype": "F8_E5M2"}}, d),
    lambda h, d: _safetensors({**h, "encoder/codes": {**h["encoder/codes"], "data_offsets": [0, 2**50]}}, d),
    lambda h, d: _safetensors({**h, "encoder/codes": {**h["encoder/codes"], "data_offsets": [8, 4]}}, d),
    lambda h, d: _safetensors({**h, "encoder/codes": "x"}, d),
]


@pytest.mark.parametrize("make", HEADERS, ids=range(len(HEADERS)))
def test_hostile_weights_that_the_document_vouches_for(folder: Path, make: Callable[..., bytes]) -> None:
    write(folder, DOCUMENT, make(*_header()), fit=True)
    refused(folder)


@pytest.mark.parametrize(("value", "said"), [("nan", "NaN"), ("inf", "infinity"), ("-inf", "infinity")])
def test_weights_that_are_no_numbers(folder: Path, value: str, said: str) -> None:
    header, data = _header()
    start, _ = header["params/0/bias"]["data_offsets"]
    poisoned = data[:start] + struct.pack("<f", float(value)) + data[start + 4 :]
    write(folder, DOCUMENT, _safetensors(header, poisoned), fit=True)
    refused(folder, f"holds {said}")


JSON = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=5)
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.sampled_from(["blueprint", "dict", "tuple", "shape", "dtype", "a"]), inner),
    ),
    max_leaves=10,
)


@settings(max_examples=60)
@given(st.sampled_from(KEYS[1:]), JSON)
def test_any_json_anywhere(tmp_path_factory: pytest.TempPathFactory, key: str, value: Any) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    write(folder, changed(key, value))
    _loads_or_refuses(folder)


def test_refusing_costs_no_more_memory_than_the_files_have(folder: Path) -> None:
    load_artifact(folder)
    hostile = [document for document, _ in MISFITS if isinstance(document, dict)]
    tracemalloc.start()
    for document in hostile:
        write(folder, document)
        refused(folder)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5e6
