"""Images from a file or folder to a trained, saved, loaded and judged model."""

import json

import numpy as np
import pytest
from PIL import Image

import danlu
from danlu.errors import ConfigError, DataError

SMALL = {
    "trainer": {"epochs": 4, "patience": 4, "batch_size": 16},
    "model": {"width": 4},
}


def draw(label, rng):
    """A bright bar, standing or lying, on a dark ground with noise."""
    image = rng.integers(0, 60, (12, 12))
    place = rng.integers(3, 9)
    if label == "standing":
        image[1:11, place : place + 2] = 255
    else:
        image[place : place + 2, 1:11] = 255
    return image.astype(np.uint8)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    root, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for label in ("standing", "lying"):
        (root / label).mkdir()
        for number in range(80):
            Image.fromarray(draw(label, rng)).save(root / label / f"{number}.png")
    (root / "lying" / "broken.png").write_bytes(b"nothing")
    return root


@pytest.fixture(scope="module")
def trained(photos, tmp_path_factory):
    said = []
    runs = tmp_path_factory.mktemp("runs")
    result = danlu.train(str(photos), runs=runs, display="none", say=said.append, augment={"rotation": 0.0}, **SMALL)
    return result, said


def test_a_folder_of_photos_is_learnt(trained):
    result, said = trained
    assert result.scores["accuracy"] > 0.85
    assert result.rows == {"train": 104, "validation": 24, "test": 32}
    assert any("1 of 161 images cannot be read" in line for line in said)
    assert set(result.judgement.others) == {"the most common class", "logistic regression"}
    report = result.run.report_path.read_text(encoding="utf-8")
    assert "http" not in report.split("</style>")[1].replace("http://www.w3.org", "")


def test_the_loaded_model_predicts_files_and_arrays(trained, photos):
    result, _ = trained
    model = danlu.load(result.run.path)
    found = model.predict(str(photos / "standing"))
    assert found.columns == ["file", "label", "probability lying", "probability standing"]
    assert (found["label"] == "standing").mean() > 0.8
    pixels = np.stack([np.asarray(Image.open(file)) for file in sorted((photos / "standing").glob("*.png"))])
    np.testing.assert_array_equal(model.predict_values(pixels), model.predict_values(str(photos / "standing")))
    assert model.evaluate(str(photos)).scores["accuracy"].value > 0.85
    document = json.loads((result.run.artifact_path / "model.json").read_text())
    assert document["encoder"] == {"kind": "image", "height": 12, "width": 12, "channels": 1}


def test_what_cannot_be_done_is_one_message(photos, tmp_path):
    quiet = {"runs": tmp_path, "display": "none", "say": lambda line: None}
    with pytest.raises(ConfigError, match=r"split\.method=time is for tables"):
        danlu.train(str(photos), split={"method": "time"}, **quiet)
    with pytest.raises(DataError, match="no labels"):
        danlu.train(str(photos / "lying"), **quiet)
    with pytest.raises(ConfigError, match="regression"):
        danlu.train(str(photos), data={"task": "regression"}, **quiet)


def test_a_photo_of_another_size_is_predicted(trained, photos, tmp_path):
    result, _ = trained
    Image.open(photos / "standing" / "3.png").resize((36, 36)).convert("RGB").save(tmp_path / "large.jpg")
    model = danlu.load(result.run.path)
    assert model.predict(str(tmp_path / "large.jpg"))["label"].to_list() == ["standing"]
