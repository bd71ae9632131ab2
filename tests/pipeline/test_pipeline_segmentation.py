"""Images with masks, to a trained, saved, loaded and judged model that writes masks."""

import json

import numpy as np
import pytest
from PIL import Image

import danlu
from danlu.artifact.artifact import sealed
from danlu.data.images import MaskSet, write_masks
from danlu.errors import ArtifactError, ConfigError, DataError, SchemaError

SMALL = {
    "trainer": {"epochs": 8, "batch_size": 8, "learning_rate": 0.02},
    "model": {"width": 4, "depth": 2},
    "augment": {"rotation": 0.0, "scale": 0.0, "shear": 0.0},
}


def scenes(count, seed):
    """A bright square (1) and a dark one (2) on grey, 16 pixels a side."""
    rng = np.random.default_rng(seed)
    masks = np.zeros((count, 16, 16), np.uint8)
    for mask in masks:
        for number, (r, c) in enumerate(rng.integers(0, 10, (2, 2)), 1):
            mask[r : r + 6, c : c + 6] = number
    images = np.array([120, 220, 30])[masks] + rng.normal(0, 20, masks.shape)
    paths = tuple(str(row) for row in range(count))
    return MaskSet(
        np.clip(images, 0, 255).astype(np.uint8)[..., None], masks, (0, 1, 2), ("ground", "light", "dark"), paths
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_masks(tmp_path_factory.mktemp("scenes"), scenes(80, 0))


@pytest.fixture(scope="module")
def trained(folder, tmp_path_factory):
    said = []
    result = danlu.train(str(folder), runs=tmp_path_factory.mktemp("runs"), display="none", say=said.append, **SMALL)
    return result, said


def test_masks_are_learnt(trained):
    result, said = trained
    assert result.rows == {"train": 52, "validation": 12, "test": 16}
    assert result.scores["mean_iou"] > 0.8
    assert any("masks of 3 classes: ground, light, dark" in line for line in said)
    assert set(result.judgement.others) == {"the most common class", "logistic regression of pixels"}
    assert result.judgement.comparisons[0].constant
    report = result.run.report_path.read_text(encoding="utf-8")
    assert "The worst images" in report
    assert "http" not in report.split("</style>")[1].replace("http://www.w3.org", "")
    table = result.run.predictions_path.read_text().splitlines()
    assert table[0] == "file,mean IoU,pixel accuracy,share ground,share light,share dark"


def test_the_loaded_model_writes_masks(trained, folder, tmp_path):
    model = danlu.load(trained[0].run.path)
    assert model.write(folder / "images", tmp_path / "out") == f"80 masks written to {tmp_path / 'out'}"
    written = [np.asarray(Image.open(tmp_path / "out" / f"{row:05}.png")) for row in range(80)]
    truth = [np.asarray(Image.open(folder / "masks" / f"{row:05}.png")) for row in range(80)]
    assert np.mean(np.array(written) == np.array(truth)) > 0.9
    shares = model.predict(folder)
    assert shares.columns == ["file", "share ground", "share light", "share dark"]
    np.testing.assert_allclose(shares["share dark"], np.mean(np.array(written) == 2, axis=(1, 2)), atol=1e-4)
    assert model.evaluate(folder).scores["mean_iou"].value > 0.8
    assert "80 predictions" in model.write(folder, tmp_path / "out.csv")
    with pytest.raises(ConfigError, match=r"not written as \.xlsx; expected \.csv"):  # and not a folder of this name
        model.write(folder, tmp_path / "out.xlsx")
    assert not (tmp_path / "out.xlsx").exists()
    Image.open(folder / "images" / "00003.png").resize((48, 32)).convert("RGBA").save(tmp_path / "large.png")
    ((_, mask),) = model.masks(tmp_path / "large.png")
    assert mask.shape == (32, 48)
    assert np.mean(np.asarray(Image.fromarray(written[3]).resize((48, 32), Image.Resampling.NEAREST)) == mask) > 0.9


def test_other_values_are_refused_or_not_counted(trained, tmp_path):
    model, other = danlu.load(trained[0].run.path), scenes(6, 3)
    other.masks[0, :2] = 9
    folder = write_masks(tmp_path / "other", other)
    (folder / "classes.txt").unlink()
    with pytest.raises(SchemaError, match="hold the values 9; the model knows 0, 1, 2"):
        model.evaluate(folder)
    assert model.evaluate(folder, lenient=True).scores["pixel_accuracy"].value > 0.9
    with pytest.raises(SchemaError, match="no file"):
        model.predict(tmp_path / "nothing")


def test_what_cannot_be_done_is_one_message(folder, tmp_path):
    quiet = {"runs": tmp_path, "display": "none", "say": lambda line: None}
    for settings, said in (
        ({"target": "x"}, "the masks are what is predicted"),
        ({"augment": {"mixup": 0.2}}, "is not used for images with masks"),
        ({"model": {"members": 2}}, "model.members is not used for images with masks"),
        ({"split": {"method": "time"}}, "for tables"),
        ({"imbalance": {"class_weight": "balanced"}}, "is not used for images with masks"),
        ({"model": {"depth": 6}}, "model.depth=6 halves images of 16×16 5 times"),
    ):
        with pytest.raises((ConfigError, DataError), match=said):
            danlu.train(str(folder), **{**SMALL, **settings}, **quiet)
    (tmp_path / "few").mkdir()
    few = write_masks(tmp_path / "few", scenes(4, 1))
    with pytest.raises(DataError, match="4 images are too few"):
        danlu.train(str(few), **quiet)


def test_a_damaged_artifact_is_refused(trained, tmp_path):
    import shutil

    copy = tmp_path / "artifact"
    shutil.copytree(trained[0].run.artifact_path, copy)
    document = json.loads((copy / "model.json").read_text())
    assert document["task"] == {"kind": "segmentation", "name": "segmentation"}
    classes = ["ground", "light", "dark"]
    assert document["head"] == {"kind": "masks", "classes": classes, "values": [0, 1, 2], "ignore": None}
    document["head"]["values"] = [0, 1]
    (copy / "model.json").write_text(json.dumps(sealed(document)))
    with pytest.raises(ArtifactError, match="3 classes of 2 values"):
        danlu.load(copy)
