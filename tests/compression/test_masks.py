"""Which weights stay: as torch.nn.utils.prune chooses them, with the share that was asked for."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from danlu import nn
from danlu.compression.masks import cubic, each_copy, mask_of, sparsity_of
from danlu.compression.techniques import Magnitude
from danlu.compression.techniques.magnitude import pruned
from danlu.errors import ConfigError

# torch.nn.utils.prune of torch 2.13 on the same arrays (tests/compression/README.md says how): the masks as one number.
LAYER = {"a": "24a040001e3d22634311950314809", "b": "1204f0241309a0a"}  # l1_unstructured, amount 0.7 of each
GLOBAL = {"a": "20804000163c00234310050300808", "b": "1204a020110980a"}  # global_unstructured, amount 0.8 of both


def arrays():
    rng = np.random.default_rng(0)
    return {"a": rng.normal(size=(12, 10)).astype(np.float32), "b": rng.normal(size=(10, 6)).astype(np.float32)}


@pytest.mark.parametrize(("by", "share", "expected"), [("layer", 0.7, LAYER), ("global", 0.8, GLOBAL)])
def test_the_masks_are_those_of_torch(by, share, expected):
    found = pruned(arrays(), share, by=by)
    for name, array in found.items():
        bits = "".join(str(int(kept)) for kept in (array != 0).ravel())
        assert f"{int(bits, 2):x}" == expected[name]


@settings(deadline=None, max_examples=30)
@given(st.floats(0.01, 0.99), st.sampled_from(["global", "layer"]), st.integers(0, 50), st.booleans())
def test_the_share_of_zeros_is_as_asked(share, by, seed, equal):
    rng = np.random.default_rng(seed)
    shapes = {"x": {"kernel": (7, 5), "bias": (5,)}, "y": {"kernel": (3, 2, 4)}}
    params = jax.tree.map(
        lambda shape: np.ones(shape) if equal else rng.normal(size=shape),
        shapes,
        is_leaf=lambda leaf: isinstance(leaf, tuple),
    )
    found = pruned(params, share, by=by)
    kernels = [found["x"]["kernel"], found["y"]["kernel"]]
    zeros = [int((each == 0).sum()) for each in kernels]
    if by == "layer":
        assert zeros == [round(share * each.size) for each in kernels]
    assert sum(zeros) == pytest.approx(share * 59, abs=1 if by == "layer" else 0.5)
    np.testing.assert_array_equal(found["x"]["bias"], params["x"]["bias"])
    assert sparsity_of(found) == pytest.approx(sum(zeros) / 59)


def test_two_of_four_are_kept_along_the_inputs():
    kernel = np.array([[4.0, 1], [1, 2], [3, 3], [2, 4], [0.1, 0.2]])
    mask = mask_of({"k": kernel}, {"k": kernel}, 0.5, by="2:4")["k"]
    assert mask.astype(int).tolist() == [[1, 0], [0, 0], [1, 1], [0, 1], [1, 1]]  # the fifth input has no four


def test_kernels_to_keep_are_kept_and_a_name_of_none_is_refused():
    found = pruned(arrays(), 0.9, keep=("b",))
    np.testing.assert_array_equal(found["b"], arrays()["b"])
    assert (found["a"] == 0).sum() == 108
    with pytest.raises(ConfigError, match="names no array"):
        pruned(arrays(), 0.9, keep=("c",))
    with pytest.raises(ConfigError, match="no kernels to prune"):
        pruned({"bias": np.ones(3)}, 0.5)


def test_each_copy_of_an_ensemble_has_the_share():
    params = {"kernel": np.stack([np.arange(1.0, 9).reshape(2, 4), np.full((2, 4), 100.0)])}
    found = each_copy(nn.Ensemble(nn.Dense(4), 2), params, lambda own: pruned(own, 0.25))
    assert (found["kernel"] == 0).sum(axis=(1, 2)).tolist() == [2, 2]


def test_a_fixed_pattern_has_no_other_share():
    with pytest.raises(ConfigError, match=r"makes half of the weights zero, and sparsity is 0\.8"):
        Magnitude(0.8, by="2:4")
    assert Magnitude(0.5, by="2:4").by == "2:4"


def test_the_schedule_is_the_papers():
    # s_t = s_f + (s_i − s_f)(1 − t/T)³ by hand: 0.5 + (0 − 0.5)·0.75³
    assert cubic(0.0, 0.5, 0.25) == pytest.approx(0.5 - 0.5 * 0.421875)
    assert cubic(0.2, 0.9, -1) == pytest.approx(0.2)
    assert cubic(0.2, 0.9, 2) == pytest.approx(0.9)
