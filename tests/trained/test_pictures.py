"""Trained models of pictures, asked for pictures of any size and in any number; those of the golden models, without a training."""

from __future__ import annotations

import base64
import dataclasses
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kinds import GOLDEN
from PIL import Image

import danlu
from danlu.artifact import FORMAT_VERSION
from danlu.data.images import ImageFiles
from danlu.errors import ArtifactError, SchemaError
from danlu.tasks import Boxes, Masks, Tags

LAST = GOLDEN / f"version-{FORMAT_VERSION}"
QUIET: dict[str, Any] = {"say": lambda line: None}


def model_of(kind: str) -> Any:
    return danlu.load(LAST / kind / "model")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """More pictures than are answered at a time, of two sizes."""
    rng = np.random.default_rng(0)
    for row in range(35):
        sides = (24, 40) if row % 2 else (32, 32)
        Image.fromarray(rng.integers(0, 256, sides).astype(np.uint8)).save(tmp_path / f"{row:02}.png")
    return tmp_path


def test_masks_are_in_the_size_of_each_picture_however_many_there_are(folder: Path) -> None:
    model = model_of("segmentation")
    shares = model.predict(folder, **QUIET)
    assert shares["file"].to_list() == [str(folder / f"{row:02}.png") for row in range(35)]
    masks = dict(model.masks(folder, **QUIET))
    assert {masks[str(folder / f"{row:02}.png")].shape for row in range(1, 35, 2)} == {(24, 40)}
    alone = model.predict(folder / "33.png", **QUIET)
    assert alone.row(0) == shares.row(33)
    for file, mask in masks.items():
        row = shares.filter(file=file)
        assert row["share light"].item() == pytest.approx(np.mean(mask == 1), abs=1e-4)


def test_boxes_are_in_the_pixels_of_each_picture(folder: Path) -> None:
    model = model_of("detection")
    pixels = np.load(LAST / "detection" / "asked.npy")
    surest = [
        model.predict(each, **QUIET).unique("file", keep="first") for each in (pixels, np.repeat(pixels, 3, axis=2))
    ]
    one, wide = (frame.sort("file") for frame in surest)
    assert one["file"].to_list() == wide["file"].to_list() == ["image 0", "image 1"]
    np.testing.assert_allclose(wide["x1"], one["x1"] * 3, atol=3)
    np.testing.assert_allclose(wide["y1"], one["y1"], atol=1)
    found = model.predict(folder, **QUIET)
    assert found["file"].n_unique() == 35, "a line at least for each"
    blind = dataclasses.replace(model, head=dataclasses.replace(model.head, threshold=1.0))
    assert blind.predict(pixels, **QUIET).drop("file").null_count().row(0) == (2,) * 6
    assert blind.respond([{"image": pixels[0].tolist()}]) == [{"objects": []}]


@pytest.mark.parametrize("kind", ["segmentation", "detection", "multilabel", "image"])
def test_pictures_that_stay_in_their_files_are_answered_alike(
    kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_of(kind)
    held = model.predict(folder, **QUIET)
    for module in ("pictures", "images", "multilabel", "segmentation"):
        monkeypatch.setattr(f"danlu.pipeline.{module}.HELD", 0)
    assert isinstance(model.read(folder, **QUIET).rows, ImageFiles)
    assert model.predict(folder, **QUIET).equals(held)


def test_records_are_answered_in_lists_masks_and_boxes() -> None:
    pixels = np.load(LAST / "segmentation" / "asked.npy")
    file = io.BytesIO()
    Image.fromarray(pixels[0, ..., 0]).save(file, "PNG")
    model = model_of("segmentation")
    listed, encoded = model.respond(
        [{"image": pixels[0].tolist()}, {"image": base64.b64encode(file.getvalue()).decode()}]
    )
    assert listed == encoded
    mask = np.asarray(Image.open(io.BytesIO(base64.b64decode(listed["mask"]))))
    np.testing.assert_array_equal(mask, next(iter(model.masks(pixels[:1], **QUIET)))[1])
    pixels = np.load(LAST / "multilabel" / "asked.npy")
    (answer,) = model_of("multilabel").respond([{"image": pixels[0].tolist()}])
    written = model_of("multilabel").predict(pixels[:1], **QUIET)["tags"].item()
    assert ";".join(answer["tags"]) == written
    with pytest.raises(SchemaError, match="'image' of record 2"):
        model.respond([{"image": [[0, 1]]}, {"image": [[0, 256]]}])


def test_of_a_source_with_parts_the_test_pictures_are_taken(tmp_path: Path) -> None:
    images, said = np.random.default_rng(0).integers(0, 256, (5, 12, 12)).astype(np.uint8), []
    marks = np.tile([0, 1], (5, 1))
    np.savez(tmp_path / "parts.npz", x_train=images[:3], y_train=marks[:3], x_test=images[3:], y_test=marks[3:],
             classes=np.array(["down", "up"]))  # fmt: skip
    model = model_of("multilabel")
    found = model.predict_values(str(tmp_path / "parts.npz"), say=said.append)
    np.testing.assert_array_equal(found, model.predict_values(images[3:]))
    assert said == ["the data has its own parts; its 2 test images are taken"]
    assert model.evaluate(str(tmp_path / "parts.npz"), **QUIET).tested == "2 test images"


@pytest.mark.parametrize(
    ("kind", "damage"),
    [
        ("multilabel", {"labels": ["one"]}),
        ("multilabel", {"labels": ["one", "one"]}),
        ("multilabel", {"separator": ""}),
        ("multilabel", {"threshold": None}),
        ("segmentation", {"values": [0, 0]}),
        ("segmentation", {"values": [0, 1, 2]}),
        ("segmentation", {"ignore": 0.5}),
        ("detection", {"classes": ["one", 2]}),
        ("detection", {"iou_threshold": 0}),
        ("detection", {"max_detections": 1001}),
        ("detection", {"size": 3.0}),
        ("detection", {"sides": [32]}),
    ],
)
def test_a_damaged_head_is_refused(kind: str, damage: dict[str, Any]) -> None:
    model = model_of(kind)
    told, arrays = model.head.state()
    whole = type(model.head).from_state(told, arrays)
    whole.check(model.network, model.encoder)
    assert whole == model.head
    with pytest.raises(ArtifactError):
        type(whole).from_state({**told, **damage}, arrays).check(model.network, model.encoder)


def test_a_head_of_other_outputs_is_refused() -> None:
    model = model_of("multilabel")
    for head in (Masks(("a", "b"), (0, 1)), Boxes(("a", "b")), Tags(("a", "b", "c"))):
        with pytest.raises(ArtifactError):
            head.check(model.network, model.encoder)
