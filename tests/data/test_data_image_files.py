"""Images that stay in their files: the same pixels and batches for any number of threads; sets of labels."""

import threading
import time

import numpy as np
import pytest
from PIL import Image

from danlu.data.images import ImageEncoder, ImageFiles, PixelStream, is_label_source, read_images, read_labels
from danlu.data.images.files import decoded_bytes
from danlu.data.threads import ordered
from danlu.errors import DataError, SchemaError

RNG = np.random.default_rng(0)


@pytest.fixture
def folder(tmp_path):
    for number in range(23):
        label = tmp_path / "photos" / ("cat" if number % 2 else "dog")
        label.mkdir(parents=True, exist_ok=True)
        Image.fromarray(RNG.integers(0, 256, (6, 5 + number % 3)).astype(np.uint8)).save(label / f"{number:02}.png")
    (tmp_path / "photos" / "cat" / "cut.png").write_bytes(b"nothing")
    return tmp_path / "photos"


def test_work_comes_in_order_and_only_a_few_items_ahead():
    begun, lock = [], threading.Lock()

    def slow(item):
        with lock:
            begun.append(item)
        time.sleep(0.002 * (item % 3))
        return item

    walk = ordered(slow, range(40), workers=3)
    for item in range(40):
        assert next(walk) == item
        assert len(begun) <= item + 1 + 2 * 3
    with pytest.raises(ZeroDivisionError):
        list(ordered(lambda n: 1 // n, [1, 0, 1], workers=2))


def test_files_beyond_the_memory_are_read_again_and_again(folder):
    held, left = read_images(folder), read_images(folder, memory=100)
    assert isinstance(left.images, ImageFiles)
    assert decoded_bytes([*left.paths, "nothing.png"]) == sum(image.size for image in held.images)
    assert (left.labels == held.labels).all()
    assert left.notices == held.notices
    assert "cut.png" in left.notices[0]
    encoder = ImageEncoder.fit(left.images)
    assert encoder == ImageEncoder.fit(held.images)
    np.testing.assert_array_equal(encoder.transform(left.images), encoder.transform(held.images))
    np.testing.assert_array_equal(left.images[3], held.images[3])
    assert not isinstance(read_images(folder, memory=10_000).images, ImageFiles)
    (folder / "dog" / "04.png").unlink()
    with pytest.raises(DataError, match=r"04\.png could be read at first"):
        encoder.transform(left.images)


def test_the_batches_do_not_depend_on_the_number_of_threads(folder):
    images = read_images(folder, memory=0).images
    encoder = ImageEncoder.fit(images)

    def stream(workers):
        return PixelStream(
            lambda row: (encoder.one(images[row]), np.int32(row)),
            np.arange(2, 23),
            chunk_rows=8,
            seed=1,
            workers=workers,
        )

    one, many = list(stream(1).chunks(4, 0)), list(stream(5).chunks(4, 0))
    assert [len(chunk["y"]) for chunk in one] == [8, 8, 5]
    for a, b in zip(one, many, strict=True):
        np.testing.assert_array_equal(a["x"], b["x"])
        np.testing.assert_array_equal(a["y"], b["y"])
    assert sorted(np.concatenate([chunk["y"] for chunk in one])) == list(range(2, 23))
    rest = list(stream(3).chunks(4, 1))  # as after a resume
    np.testing.assert_array_equal(rest[0]["x"], one[1]["x"])
    assert (next(stream(2).chunks(5, 0))["y"] != one[0]["y"]).any(), "another order each epoch"
    assert len(stream(2).arrays(limit=4)[0]) == 4


def labels_file(folder, rows, name="list.csv"):
    path = folder / name
    path.write_text("\n".join(["path,tags", *rows]) + "\n")
    return path


def test_sets_of_labels(folder):
    rows = ["dog/00.png,brown|old", "cat/01.png,", "dog/02.png,old", "cat/cut.png,new", "cat/03.png,brown | old"]
    path = labels_file(folder, rows)
    assert is_label_source(path, target="tags")
    assert not is_label_source(path, target="nothing")
    found = read_labels(path, target="tags")
    assert (found.names, found.separator) == (("brown", "old"), "|")
    assert found.marks.tolist() == [[1, 1], [0, 0], [0, 1], [1, 1]]
    assert "1 of 4 images have no label" in found.notices[-1]
    with pytest.raises(SchemaError, match="does not know: old"):
        read_labels(path, target="tags", known=("brown", "new"))
    assert read_labels(path, target="tags", known=("brown", "new"), lenient=True).marks[0].tolist() == [1, 0]
    single = labels_file(folder, ["dog/00.png,a", "cat/01.png,b"], "single.csv")
    assert not is_label_source(single, target="tags")
    assert is_label_source(single, target="tags", asked=True)


def test_a_matrix_of_labels(tmp_path):
    x = RNG.integers(0, 256, (4, 5, 5)).astype(np.uint8)
    np.savez(tmp_path / "m.npz", x=x, y=np.eye(4, 3, dtype=int), classes=np.array(["a", "b", "c"]))
    assert is_label_source(tmp_path / "m.npz")
    assert read_labels(tmp_path / "m.npz").names == ("a", "b", "c")
    np.savez(tmp_path / "s.npz", x=x, y=np.arange(4))
    assert not is_label_source(tmp_path / "s.npz")
    np.savez(tmp_path / "w.npz", x=x, y=np.full((4, 3), 2))
    with pytest.raises(DataError, match="a matrix of 0 and 1"):
        read_labels(tmp_path / "w.npz")
