"""Arrays that are written without their zeros are the same when read, take the bytes that they should, and cannot hurt."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from danlu.artifact import load_artifact, save_artifact
from danlu.artifact.artifact import sealed
from danlu.artifact.sparse import dense, restored, sparse
from danlu.errors import ArtifactError
from danlu.nn import Dense


@settings(deadline=None, max_examples=40)
@given(
    st.integers(1024, 6000),
    st.sampled_from([0.0, 0.0005, 0.01, 0.2, 0.6, 1.0]),
    st.sampled_from(["float32", "int8", "float16"]),
    st.integers(0, 99),
)
def test_an_array_is_the_same_after_the_trip(size, share, dtype, seed):
    rng = np.random.default_rng(seed)
    array = (rng.integers(1, 100, size) * (rng.random(size) < share)).astype(dtype)
    flat, forms = sparse({"a": array})
    again = dense(flat, forms, {"a": array.shape})
    assert again.keys() == {"a"}
    assert again["a"].dtype == array.dtype
    np.testing.assert_array_equal(again["a"], array)
    assert sum(part.nbytes for part in flat.values()) <= array.nbytes


def test_the_form_is_the_smaller_one():
    rng = np.random.default_rng(0)
    few = np.where(rng.random((100, 100)) < 0.05, 1.0, 0.0).astype(np.float32)
    some = np.where(rng.random((100, 100)) < 0.4, 1.0, 0.0).astype(np.float32)
    flat, forms = sparse({"few": few, "some": some, "all": np.ones((100, 100), np.float32)})
    assert forms == {"few": "gaps", "some": "bits"}
    assert flat["some#bits"].size == 1250
    assert flat["some#values"].size == np.count_nonzero(some)
    assert flat["few#gaps"].size == np.count_nonzero(few)
    assert "all" in flat


def test_a_long_gap_is_bridged_by_zeros():
    array = np.zeros(2000, np.float32)
    array[[0, 256, 1999]] = 1, 2, 3
    flat, forms = sparse({"a": array})
    assert forms == {"a": "gaps"}
    assert flat["a#gaps"].tolist() == [0, 255, *[255] * 6, 206]  # 1999 − 256 = 6 · 256 + 207
    np.testing.assert_array_equal(dense(flat, forms, {"a": (2000,)})["a"], array)


@pytest.mark.parametrize(
    ("values", "places", "form", "shape"),
    [
        (3, [255], "bits", (8,)),
        (1, [1, 1], "bits", (8,)),
        (1, [9], "gaps", (9,)),
        (1, [0], "gaps", (10**9,)),  # a small file that asks for a large array
    ],
)
def test_parts_that_do_not_fit_are_refused(values, places, form, shape):
    with pytest.raises(ArtifactError, match="does not fit"):
        restored(np.ones(values, np.float32), np.asarray(places, np.uint8), form, shape)


def saved(folder, kernel):
    params = {"kernel": kernel, "bias": np.zeros(kernel.shape[1], np.float32)}
    return save_artifact(folder, model=Dense(kernel.shape[1]), variables=(params, {}), task="regression")


def test_zeros_take_no_bytes_in_an_artifact(tmp_path):
    kernel = np.random.default_rng(0).normal(size=(100, 100)).astype(np.float32)
    pruned = np.where(np.abs(kernel) > 1.75, kernel, 0)
    whole, small = saved(tmp_path / "whole", kernel), saved(tmp_path / "small", pruned)
    sizes = [(folder / "weights.safetensors").stat().st_size for folder in (whole, small)]
    assert sizes[0] > 8 * sizes[1]
    np.testing.assert_array_equal(load_artifact(small).params["kernel"], pruned)
    versions = [load_artifact(folder).format_version for folder in (whole, small)]
    assert versions == [3, 4]


@pytest.mark.parametrize("forms", [{"params/kernel": "csr"}, {"params/other": "bits"}, {"params/bias": "bits"}, 3])
def test_a_changed_list_of_sparse_arrays_is_refused(tmp_path, forms):
    kernel = np.eye(100, dtype=np.float32)
    folder = saved(tmp_path / "model", kernel)
    document = json.loads((folder / "model.json").read_text())
    document["weights"]["sparse"] = forms
    (folder / "model.json").write_text(json.dumps(sealed(document)))
    with pytest.raises(ArtifactError):
        load_artifact(folder)
