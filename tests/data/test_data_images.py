"""Reading images from folders, lists, npz and idx files, good and bad, and bringing them to one shape."""

import gzip

import numpy as np
import pytest
from PIL import Image

from danlu.data.images import ImageEncoder, is_image_source, read_images
from danlu.errors import ArtifactError, DataError

RNG = np.random.default_rng(0)


def pixels(*shape):
    return RNG.integers(0, 256, shape).astype(np.uint8)


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "photos"
    for label, count in (("cat", 3), ("dog", 2)):
        (root / label).mkdir(parents=True)
        for number in range(count):
            Image.fromarray(pixels(6, 8, 3)).save(root / label / f"{number}.png")
    return root


def test_a_folder_for_each_class(folder):
    found = read_images(folder)
    assert found.images.shape == (5, 6, 8, 3)
    assert found.labels.to_list() == ["cat"] * 3 + ["dog"] * 2
    assert np.array_equal(found.images[0], np.asarray(Image.open(folder / "cat" / "0.png")))
    assert is_image_source(folder)


def test_parts_in_folders_of_their_own(folder, tmp_path):
    for part in ("train", "test"):
        (tmp_path / "split").mkdir(exist_ok=True)
        folder.parent.joinpath("split", part).symlink_to(folder)
    found = read_images(tmp_path / "split")
    assert len(found) == 10
    assert sorted(set(found.parts)) == ["test", "train"]
    assert found.labels.n_unique() == 2


def test_broken_grey_transparent_and_odd_files(folder):
    (folder / "cat" / "broken.png").write_bytes(b"no image")
    (folder / "cat" / "cut.png").write_bytes((folder / "cat" / "0.png").read_bytes()[:60])
    Image.fromarray(pixels(9, 9)).save(folder / "dog" / "grey.jpg")
    Image.fromarray(np.dstack([pixels(4, 4, 3), np.zeros((4, 4), np.uint8)])).save(folder / "dog" / "clear.png")
    found = read_images(folder)
    assert len(found) == 7
    assert "2 of 9 images cannot be read" in found.notices[0]
    assert "broken.png" in found.notices[0]
    encoder = ImageEncoder.fit(found.images)
    assert encoder.in_shape == (6, 8, 3)
    encoded = encoder.transform(found.images)
    assert encoded.shape == (7, 6, 8, 3)
    clear = [path.endswith("clear.png") for path in found.paths].index(True)
    assert (encoded[clear] == 255).all(), "what is transparent is laid on white"


def test_a_list_of_paths(folder):
    (folder / "list.csv").write_text("path,what\ncat/0.png,c\ndog/1.png,d\n")
    found = read_images(folder / "list.csv", target="what")
    assert found.labels.to_list() == ["c", "d"]
    with pytest.raises(DataError, match="no column 'which'"):
        read_images(folder / "list.csv", target="which")


def test_npz_in_the_usual_spellings(tmp_path):
    train, test = pixels(4, 5, 5), pixels(2, 5, 5)
    np.savez(tmp_path / "a.npz", x_train=train, y_train=[0, 1, 0, 1], x_test=test, y_test=[1, 0])
    np.savez(
        tmp_path / "b.npz",
        train_images=train,
        train_labels=[[0], [1], [0], [1]],
        test_images=test,
        test_labels=[[1], [0]],
    )
    np.savez(tmp_path / "c.npz", images=train / 255.0, labels=["x", "y", "x", "y"])
    a, b, c = (read_images(tmp_path / f"{name}.npz") for name in "abc")
    assert np.array_equal(a.images, b.images)
    assert a.labels.to_list() == b.labels.to_list() == [0, 1, 0, 1, 1, 0]
    assert a.parts.tolist() == ["train"] * 4 + ["test"] * 2
    assert np.array_equal(c.images, train)
    assert c.parts is None


def test_idx_files_plain_and_gzipped(tmp_path):
    images, labels = pixels(3, 4, 5), np.array([2, 0, 1], np.uint8)

    def idx(array):
        return bytes([0, 0, 8, array.ndim]) + np.asarray(array.shape, ">i4").tobytes() + array.tobytes()

    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images)))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(labels))
    found = read_images(tmp_path)
    assert np.array_equal(found.images, images)
    assert found.labels.to_list() == [2, 0, 1]
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(labels)[:-1])
    with pytest.raises(DataError, match="not a whole idx file"):
        read_images(tmp_path)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": np.zeros(3)}, "expected images and labels"),
        ({"images": np.zeros((2, 4, 4)) - 1, "labels": [0, 1]}, "from -1 to -1"),
        ({"images": np.zeros((2, 4, 4), np.uint8), "labels": [0, 1, 2]}, "expected one each"),
        ({"images": np.zeros((2, 4, 4, 7), np.uint8), "labels": [0, 1]}, "1, 3 or 4 channels"),
        ({"images": np.array([None, {}], object), "labels": [0, 1]}, "cannot be read"),
    ],
)
def test_bad_npz_is_one_message(tmp_path, arrays, message):
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(DataError, match=message):
        read_images(tmp_path / "bad.npz")


def test_nothing_to_read(tmp_path):
    with pytest.raises(DataError, match="no file or folder"):
        read_images(tmp_path / "none")
    with pytest.raises(DataError, match="holds no image"):
        read_images(tmp_path)
    (tmp_path / "bad.npz").write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(DataError, match="npz"):
        read_images(tmp_path / "bad.npz")


def test_grey_pictures_stored_in_colour_are_grey():
    grey = pixels(4, 5, 5)
    encoder = ImageEncoder.fit(np.repeat(grey[..., None], 3, axis=3))
    assert encoder.channels == 1
    assert np.array_equal(encoder.transform(grey)[..., 0], grey)


def test_the_encoder_survives_json():
    encoder = ImageEncoder(4, 5, 3)
    plain, arrays = encoder.state()
    assert ImageEncoder.from_state(plain, arrays) == encoder
    for damaged in (None, {"height": 4}, {**plain, "channels": 2}, {**plain, "width": 10**9}):
        with pytest.raises(ArtifactError, match="damaged"):
            ImageEncoder.from_state(damaged, arrays)
