"""Reading images with masks, good and bad; made-up scenes; class numbers brought to one size."""

import numpy as np
import pytest
from PIL import Image

from danlu.data.images import is_box_source, is_mask_source, make_masks, read_masks, write_masks
from danlu.data.images.masks import as_codes, code_table
from danlu.errors import DataError

RNG = np.random.default_rng(0)


def pixels(*shape):
    return RNG.integers(0, 256, shape).astype(np.uint8)


@pytest.fixture
def folder(tmp_path):
    """Four images whose masks are grey, grey in colour, of a palette and of one bit."""
    for name in ("images", "masks"):
        (tmp_path / "set" / name).mkdir(parents=True)
    root = tmp_path / "set"
    for number in range(4):
        Image.fromarray(pixels(6, 8, 3)).save(root / "images" / f"{number}.png")
    mask = np.zeros((6, 8), np.uint8)
    mask[2:4, 1:5] = 1
    Image.fromarray(mask).save(root / "masks" / "0.png")
    Image.fromarray(np.dstack([mask] * 3)).save(root / "masks" / "1.png")
    palette = Image.frombytes("P", (8, 6), (2 * mask).tobytes())
    palette.putpalette([0, 0, 0, 9, 9, 9, 200, 10, 10])
    palette.save(root / "masks" / "2.png")
    Image.fromarray(mask.astype(bool)).save(root / "masks" / "3.png")
    return root


def test_every_kind_of_mask_is_read(folder):
    assert is_mask_source(folder)
    assert not is_box_source(folder)
    found = read_masks(folder)
    assert found.values == (0, 1, 2, 255)
    assert [sorted(np.unique(mask)) for mask in found.masks] == [[0, 1], [0, 1], [0, 2], [0, 255]]
    assert found.images.shape == (4, 6, 8, 3)
    lazily = read_masks(folder, memory=0)
    assert lazily.values == found.values
    np.testing.assert_array_equal(np.stack(list(lazily.masks)), found.masks)
    np.testing.assert_array_equal(np.stack(list(lazily.images)), found.images)


def test_what_cannot_be_used_is_left_out_and_named(folder):
    Image.fromarray(pixels(6, 8, 3)).save(folder / "images" / "alone.jpg")
    Image.fromarray(pixels(6, 8, 3)).save(folder / "masks" / "0.png")  # in colours
    Image.fromarray(np.zeros((5, 8), np.uint8)).save(folder / "masks" / "1.png")
    (folder / "images" / "2.png").write_bytes(b"broken")
    found = read_masks(folder)
    assert len(found) == 1
    said = " ".join(found.notices)
    for part in ("1 images have no mask", "alone", "in colours", "8×6 and 8×5", "2.png (not an image)"):
        assert part in said, part
    (folder / "images" / "3.png").write_bytes(b"broken")
    with pytest.raises(DataError, match="none of the 4 images"):
        read_masks(folder)
    with pytest.raises(DataError, match="holds no images with masks"):
        read_masks(folder / "images")
    for file in (folder / "masks").iterdir():
        file.rename(file.with_name(f"mask-{file.name}"))
    with pytest.raises(DataError, match="no mask in"):
        read_masks(folder)


def test_masks_of_too_many_values_are_refused(folder):
    for number in range(4):
        Image.fromarray(np.arange(48 * number, 48 * number + 48, dtype=np.uint8).reshape(6, 8)).save(
            folder / "masks" / f"{number}.png"
        )
    with pytest.raises(DataError, match="192 different values"):
        read_masks(folder)


def test_npz_with_parts_and_names(tmp_path):
    arrays = {"x_train": pixels(3, 4, 4), "mask_train": RNG.integers(0, 2, (3, 4, 4)), "x_test": pixels(2, 4, 4)}
    arrays |= {"mask_test": np.ones((2, 4, 4), int), "classes": np.array(["ground", "cell"])}
    np.savez(tmp_path / "cells.npz", **arrays)
    found = read_masks(tmp_path / "cells.npz")
    assert found.names == ("ground", "cell")
    assert list(found.parts) == ["train"] * 3 + ["test"] * 2
    np.savez(tmp_path / "wrong.npz", x=pixels(3, 4, 4), mask=np.zeros((3, 4, 5), int))
    with pytest.raises(DataError, match=r"shape \(3, 4, 5\)"):
        read_masks(tmp_path / "wrong.npz")
    np.savez(tmp_path / "half.npz", x=pixels(3, 4, 4), mask=np.full((3, 4, 4), 0.5))
    with pytest.raises(DataError, match="not whole"):
        read_masks(tmp_path / "half.npz")


def test_scenes_are_made_written_and_read(tmp_path):
    scenes = make_masks(4, size=(16, 24), sides=(6, 10), seed=5)
    np.testing.assert_array_equal(scenes.images, make_masks(4, size=(16, 24), sides=(6, 10), seed=5).images)
    found = read_masks(write_masks(tmp_path / "scenes", scenes))
    np.testing.assert_array_equal(found.masks, scenes.masks)
    assert found.names == tuple(scenes.names[value] for value in found.values)
    digits = make_masks(2, size=(20, 20), sides=(8, 8), sprites=(np.full((1, 9, 9), 255, np.uint8), ["seven"]))
    assert digits.names == ("ground", "seven")
    assert set(np.unique(digits.masks)) == {0, 1}


def test_values_become_class_numbers():
    mask = np.array([[0, 7], [255, 9]], np.uint8)
    codes = as_codes(mask, code_table({0: 0, 7: 1}), 4, 4)
    assert codes.tolist() == [[0, 0, 1, 1], [0, 0, 1, 1], [255] * 4, [255] * 4]
