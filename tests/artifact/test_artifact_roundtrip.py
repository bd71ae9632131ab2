"""A saved model comes back bit for bit, also from a file that an older danlu wrote."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.artifact import (
    FORMAT_VERSION,
    Artifact,
    flatten_tree,
    load_artifact,
    save_artifact,
    tree_structure,
    unflatten_tree,
)
from danlu.engine import load_checkpoint, save_checkpoint
from danlu.errors import ArtifactError, CheckpointError

sys.path.insert(0, str(Path(__file__).parent))
from saved_models import GOLDEN, parts


def same(left: Any, right: Any) -> None:
    assert jax.tree.structure(left) == jax.tree.structure(right)
    for a, b in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True):
        a, b = np.asarray(a), np.asarray(b)
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        assert a.tobytes() == b.tobytes()


def check(artifact: Artifact) -> None:
    expected = parts()
    assert artifact.model == expected["model"]
    same(artifact.variables, expected["variables"])
    same(artifact.encoder_arrays, expected["encoder_arrays"])
    for name in ("task", "schema", "encoder", "threshold", "extra"):
        assert getattr(artifact, name) == expected[name]
    assert artifact.classes == ("no", "yes")
    assert artifact.metrics == {"accuracy": 0.75, "loss": None}
    assert artifact.provenance["source"] == "table.csv"
    assert {"danlu", "jax", "numpy", "python", "created"} <= set(artifact.provenance)


def test_everything_comes_back(tmp_path: Path) -> None:
    folder = save_artifact(tmp_path / "deep" / "model", **parts())
    artifact = load_artifact(folder)
    check(artifact)
    assert artifact.parameter_count == 17
    assert sorted(os.listdir(folder)) == ["model.json", "weights.safetensors"]
    assert os.listdir(folder.parent) == ["model"]
    params, state = artifact.variables
    x = np.array([[1.0, -2.0]], np.float32)
    expected = artifact.model.apply(*parts()["variables"], x)[0]
    np.testing.assert_array_equal(artifact.model.apply(params, state, x)[0], expected)


@pytest.mark.parametrize("version", range(1, FORMAT_VERSION + 1))
def test_golden_files_of_every_version_load(version: int) -> None:
    artifact = load_artifact(GOLDEN / f"version-{version}")
    assert artifact.format_version == version
    check(artifact)


def test_the_same_model_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second = (save_artifact(tmp_path / name, **parts()) / "weights.safetensors" for name in "ab")
    assert first.read_bytes() == second.read_bytes() == (GOLDEN / "version-1" / "weights.safetensors").read_bytes()


def test_files_of_the_caller_are_kept_beside_the_model(tmp_path: Path) -> None:
    folder = save_artifact(tmp_path / "m", **parts(), files={"rows.bin": b"\0\1", "notes.txt": "é".encode()})
    assert load_artifact(folder).files == {"rows.bin": b"\0\1", "notes.txt": "é".encode()}
    (folder / "rows.bin").write_bytes(b"\0\2")
    with pytest.raises(ArtifactError, match=r"rows.bin is not the file that was saved"):
        load_artifact(folder)
    (folder / "rows.bin").unlink()
    with pytest.raises(ArtifactError, match=r"rows.bin does not exist"):
        load_artifact(folder)
    for name in ("../evil", "a/b", ".hidden", "", "model.json", "weights.safetensors", "x" * 100):
        with pytest.raises(ArtifactError, match=r"cannot be a file of an artifact|own file"):
            save_artifact(tmp_path / "n", **parts(), files={name: b""})
    assert os.listdir(tmp_path) == ["m"]


def test_texts_that_no_file_can_hold(tmp_path: Path) -> None:
    """A file name that is not UTF-8 comes from the system with surrogates in it."""
    folder = save_artifact(
        tmp_path / "m", **{**parts(), "provenance": {"source": b"t\xff.csv".decode(errors="surrogateescape")}}
    )
    assert load_artifact(folder).provenance["source"] == r"t\udcff.csv"


def test_loading_runs_no_code_of_the_folder() -> None:
    program = f"""
import sys
from danlu.artifact import load_artifact
import danlu.nn
load_artifact({str(GOLDEN / "version-1")!r})  # whatever is imported late is imported now
seen = []
sys.addaudithook(lambda event, args: seen.append(event))
load_artifact({str(GOLDEN / "version-1")!r})
bad = {{"exec", "compile", "import", "marshal.loads", "pickle.find_class", "subprocess.Popen", "os.system", "socket.connect"}}
print(sorted(bad & set(seen)), "open" in seen)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout == "[] True\n", done.stderr


DTYPES = ("bool", "int8", "uint64", "int32", "float16", "float32", "float64", "bfloat16")
NAMES = st.text("ab/%.é\\ ", min_size=1, max_size=4).filter(lambda name: name not in (".", ".."))
ARRAYS = st.tuples(st.sampled_from(DTYPES), st.lists(st.integers(0, 3), max_size=3), st.integers(0, 2**32))


def _array(spec: tuple[str, list[int], int]) -> np.ndarray:
    name, shape, seed = spec
    dtype = np.dtype(ml_dtypes.bfloat16) if name == "bfloat16" else np.dtype(name)
    raw = np.random.default_rng(seed).integers(0, 2 if name == "bool" else 256, (*shape, dtype.itemsize), np.uint8)
    return raw.reshape(-1).view(dtype).reshape(shape)


TREES = st.recursive(
    st.one_of(st.none(), ARRAYS.map(_array)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(NAMES, inner, max_size=3),
    ),
    max_leaves=8,
)


@given(TREES)
def test_any_tree_comes_back_bit_for_bit(tree: Any) -> None:
    import json

    structure = json.loads(json.dumps(tree_structure(tree)))
    same(unflatten_tree(flatten_tree(tree, prefix="p"), structure, prefix="p"), tree)


def test_typed_keys_and_views_are_stored_as_they_are() -> None:
    key = jax.random.key(7)
    flat = flatten_tree({"key": key, "view": np.arange(6).reshape(2, 3).T, "scalar": 2.5})
    np.testing.assert_array_equal(flat["key"], jax.random.key_data(key))
    assert flat["view"].flags.c_contiguous
    assert flat["scalar"].shape == ()


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({1: np.zeros(2)}, "dict keys must be text"),
        ({"a": "text"}, "holds str"),
        ({"a": object()}, "holds (a )?object"),
        ({"a": np.zeros(2, complex)}, "holds complex128"),
        ({"a": np.array(["x"])}, "holds str"),
    ],
)
def test_trees_that_cannot_be_saved(tree: Any, message: str) -> None:
    with pytest.raises(ArtifactError, match=message):
        (flatten_tree(tree), tree_structure(tree))


def test_models_that_cannot_be_saved(tmp_path: Path) -> None:
    good = parts()
    params, state = good["variables"]
    broken = jax.tree.map(lambda leaf: leaf * np.float32("nan"), params)
    with pytest.raises(ArtifactError, match="holds NaN; a model with NaN in it cannot predict"):
        save_artifact(tmp_path / "m", **{**good, "variables": (broken, state)})
    endless = ({**params[0], "bias": np.array([0, -np.inf, 0], np.float32)}, *params[1:])
    with pytest.raises(ArtifactError, match="holds infinity; a model with infinity in it cannot predict"):
        save_artifact(tmp_path / "m", **{**good, "variables": (endless, state)})
    with pytest.raises(ArtifactError, match="the model cannot be saved"):
        save_artifact(tmp_path / "m", **{**good, "model": lambda x: x})
    with pytest.raises(ArtifactError, match="is not allowed"):
        save_artifact(tmp_path / "m", **{**good, "encoder_arrays": {"..": np.zeros(1)}})
    assert os.listdir(tmp_path) == []


# --- checkpoints ---


def test_a_checkpoint_comes_back_bit_for_bit(tmp_path: Path) -> None:
    tree = {
        "params": ({"w": jnp.arange(3.0), "half": jnp.ones(2, jnp.bfloat16)}, {}),
        "key": jax.random.key(3),
        "other": jax.random.key(3, impl="rbg"),
        "count": jnp.int32(7),
    }
    save_checkpoint(tmp_path / "last", tree, {"epoch": 3, "loss": float("nan")})
    like = jax.tree.map(lambda leaf: leaf, {**tree, "key": jax.random.key(0), "count": jnp.int32(0)})
    found, note = load_checkpoint(tmp_path / "last", like)
    assert note["epoch"] == 3
    assert jax.random.key_impl(found["other"]) == jax.random.key_impl(tree["other"])
    plain = lambda t: {**t, "key": jax.random.key_data(t["key"]), "other": jax.random.key_data(t["other"])}  # noqa: E731
    same(plain(found), plain(tree))
    assert os.listdir(tmp_path) == ["last"]


@pytest.mark.parametrize(
    ("like", "message"),
    [
        ({"w": np.zeros(3, np.float32)}, "b is unknown"),
        ({"w": np.zeros(3, np.float32), "b": np.zeros(1, np.float32), "c": np.zeros(1)}, "it has no c"),
        ({"w": np.zeros(4, np.float32), "b": np.zeros(1, np.float32)}, r"w is float32\[3\], expected float32\[4\]"),
        ({"w": np.zeros(3, np.int32), "b": np.zeros(1, np.float32)}, r"expected int32\[3\]"),
    ],
)
def test_a_checkpoint_of_another_model(tmp_path: Path, like: dict, message: str) -> None:
    save_checkpoint(tmp_path / "c", {"w": np.zeros(3, np.float32), "b": np.zeros(1, np.float32)}, {})
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(tmp_path / "c", like)


def test_a_damaged_checkpoint(tmp_path: Path) -> None:
    tree = {"w": np.arange(300, dtype=np.float32)}
    save_checkpoint(tmp_path / "c", tree, {"epoch": 1})
    data = (tmp_path / "c").read_bytes()
    for size in [0, 1, 7, 8, 9, 50, len(data) // 2, len(data) - 1]:
        (tmp_path / "d").write_bytes(data[:size])
        with pytest.raises(CheckpointError, match="is not a whole danlu checkpoint"):
            load_checkpoint(tmp_path / "d", tree)
    for content in (
        data.replace(b"danlu-checkpoint-1", b"other-checkpoint-1"),
        data.replace(b'{\\"epoch', b'{{"epoch'),
    ):
        (tmp_path / "d").write_bytes(content)
        with pytest.raises(CheckpointError):
            load_checkpoint(tmp_path / "d", tree)
    with pytest.raises(CheckpointError, match="there is no checkpoint at"):
        load_checkpoint(tmp_path / "none", tree)
