"""Images with boxes, from COCO's JSON, tables and npz files; what is wrong with them; made-up scenes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from danlu.data.images import BoxSet, is_box_source, make_scenes, read_boxes, write_boxes
from danlu.errors import ConfigError, DataError

SCENES = make_scenes(6, size=(32, 48), sides=(8, 12), objects=(0, 3), seed=1)


def same(one: BoxSet, other: BoxSet) -> bool:
    return (
        np.array_equal(one.images, other.images)
        and one.labels == other.labels
        and all(np.allclose(a, b) for a, b in zip(one.boxes, other.boxes, strict=True))
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_boxes(tmp_path_factory.mktemp("boxes") / "scenes", SCENES)


def test_a_scene_is_what_was_asked_for() -> None:
    assert any(len(row) == 0 for row in SCENES.boxes)
    assert same(SCENES, make_scenes(6, size=(32, 48), sides=(8, 12), objects=(0, 3), seed=1))
    for boxes in SCENES.boxes:
        sides = boxes[:, 2:] - boxes[:, :2]
        assert ((sides >= 8) & (sides <= 12)).all()
        assert (boxes[:, 2] <= 48).all()
        assert (boxes[:, 3] <= 32).all()
    one = np.zeros((2, 8, 8), np.uint8)
    one[:, 2:7, 3:5] = 255
    plain = make_scenes(1, size=(20, 20), sprites=(one, ["a", "b"]), objects=(1, 1), sides=(10, 10), noise=0, seed=1)
    (box,) = plain.boxes[0]
    assert (box[2] - box[0], box[3] - box[1]) == (4, 10), "tight around the bright pixels, the longer side as asked"
    rows, columns = np.nonzero(plain.images[0, ..., 0] > 120)
    assert [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1] == box.tolist()
    with pytest.raises(ConfigError, match="sides="):
        make_scenes(1, size=(16, 16), sides=(4, 20))
    with pytest.raises(DataError, match="sprites"):
        make_scenes(1, sprites=(one, ["a"]))


def test_every_form_reads_the_same(folder: Path, tmp_path: Path) -> None:
    assert is_box_source(folder)
    assert same(read_boxes(folder), SCENES)
    assert same(read_boxes(folder / "annotations.json"), SCENES)
    lines = ["filename,class,xmin,ymin,xmax,ymax"]
    for row, (boxes, labels) in enumerate(zip(SCENES.boxes, SCENES.labels, strict=True)):
        rows = zip(labels, boxes.tolist(), strict=True)
        own = [f"images/{row:05}.png,{label},{','.join(map(str, box))}" for label, box in rows]
        lines += own or [f"images/{row:05}.png,,,,,"]
    table = folder / "found.csv"
    table.write_text("\n".join(lines))
    assert is_box_source(table)
    assert same(read_boxes(table), SCENES)
    other = folder / "other.csv"
    other.write_text("\n".join(["file,label,x1,y1,x2,y2", *lines[1:]]))
    assert same(read_boxes(other), SCENES)
    names = np.full((6, 3), "", "U10")
    boxes = np.zeros((6, 3, 4))
    for row, own in enumerate(SCENES.boxes):
        boxes[row, : len(own)], names[row, : len(own)] = own, SCENES.labels[row]
    np.savez(tmp_path / "a.npz", x_train=SCENES.images, boxes_train=boxes, labels_train=names,
             x_test=SCENES.images[:2], boxes_test=boxes[:2], labels_test=names[:2])  # fmt: skip
    assert is_box_source(tmp_path / "a.npz")
    found = read_boxes(tmp_path / "a.npz")
    assert found.parts is not None
    assert same(found.rows(np.flatnonzero(found.parts == "train")), SCENES)
    for part in ("train", "val"):
        write_boxes(tmp_path / "parts" / part, SCENES)
    divided = read_boxes(tmp_path / "parts")
    assert divided.parts is not None
    assert divided.parts.tolist() == ["train"] * 6 + ["validation"] * 6


def test_other_sources_are_left_to_others(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("x0,y0,x1,y1,label,file\n1,2,3,4,a,b\n")
    np.savez(tmp_path / "x.npz", x_train=np.zeros(3), y_train=np.zeros(3))
    (tmp_path / "bad.npz").write_bytes(b"no")
    (tmp_path / "classes").mkdir()
    (tmp_path / "classes" / "annotations.csv").write_text("file,label\na.png,b\n")
    for source in ("classes", "t.csv", "x.npz", "bad.npz", "none.json", "."):
        assert not is_box_source(tmp_path / source), source
    assert not is_box_source(np.zeros(3))


def test_what_is_wrong_is_said(folder: Path, tmp_path: Path) -> None:
    document: dict[str, Any] = json.loads((folder / "annotations.json").read_text())

    def refused(**changes: Any) -> str:
        (folder / "wrong.json").write_text(json.dumps({**document, **changes}))
        with pytest.raises(DataError) as caught:
            read_boxes(folder / "wrong.json")
        return str(caught.value)

    first = document["annotations"][0]
    assert "no list 'categories'" in refused(categories=None)
    assert "expected the image_id of an image and a bbox" in refused(annotations=[{**first, "bbox": [1, 2, None, 3]}])
    assert "expected the image_id" in refused(annotations=[{**first, "image_id": 99}])
    assert "which no category has" in refused(annotations=[{**first, "category_id": [1]}])
    assert "two images with the id 0" in refused(images=[document["images"][0]] * 2)
    assert "expected an id and a file_name" in refused(images=[{"id": 1}])
    assert "none of the 1 images" in refused(
        images=[{"id": first["image_id"], "file_name": "gone.png"}], annotations=[]
    )
    share = [{**each, "bbox": [0.5, 0.5, 0.0, 0.1]} for each in document["annotations"]]
    assert "not as fractions" in refused(annotations=share)
    (folder / "wrong.json").write_text("{")
    with pytest.raises(DataError, match="cannot be read as JSON"):
        read_boxes(folder / "wrong.json")
    odd = [{**first, "bbox": [-5, 2, 20, 9]}, {**first, "bbox": [400, 2, 20, 9]}, *document["annotations"]]
    lost = [*document["images"], {"id": 77, "file_name": "gone.png"}]
    (folder / "odd.json").write_text(json.dumps({**document, "annotations": odd, "images": lost}))
    said = " | ".join(read_boxes(folder / "odd.json").notices)
    for text in (
        "1 images that odd.json names are not there: gone.png",
        "1 boxes of odd.json have no area",
        "1 boxes of odd.json extend beyond",
    ):
        assert text in said
    (folder / "half.csv").write_text("file,label,x0,y0,x1,y1\nimages/00000.png,a,1,2,,4\n")
    with pytest.raises(DataError, match=r"line 2 .* expected both, or neither"):
        read_boxes(folder / "half.csv")
    np.savez(tmp_path / "b.npz", x=np.zeros((2, 8, 8), np.uint8), boxes=np.zeros((2, 4)), labels=np.zeros((2, 1), int))
    with pytest.raises(DataError, match=r"expected \(images, objects, 4\)"):
        read_boxes(tmp_path / "b.npz")
    with pytest.raises(DataError, match="no file or folder"):
        read_boxes(tmp_path / "none")
