"""From a folder of images with boxes to a model that finds objects: training, judging, saving, resuming, the command line."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

import danlu
from danlu.artifact import load_artifact
from danlu.artifact.artifact import sealed
from danlu.cli.app import app
from danlu.data.images import make_scenes, read_boxes, write_boxes
from danlu.engine import JSONLogger
from danlu.errors import ArtifactError, ConfigError, DataError, SchemaError
from danlu.pipeline import resume
from danlu.pipeline.config import config_from
from danlu.pipeline.detection import Detections
from danlu.pipeline.domains import domain_of

QUIET: dict[str, Any] = {"display": "none", "say": lambda line: None}
TINY: dict[str, Any] = {
    "model": {"width": 6},
    "trainer": {"epochs": 12, "learning_rate": 0.02, "batch_size": 16},
}
# A bright bar that lies or stands.
BARS = np.zeros((2, 12, 12), np.uint8)
BARS[0, 4:8] = BARS[1, :, 4:8] = 255


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("detection")
    scenes = make_scenes(
        170, size=(32, 32), sprites=(BARS, ["lying", "standing"]), objects=(0, 2), sides=(10, 16), noise=5, seed=0
    )
    return write_boxes(place / "scenes", scenes)


@pytest.fixture(scope="module")
def trained(folder: Path) -> Any:
    said: list[str] = []
    options: dict[str, Any] = {"runs": folder.parent / "runs", "name": "one", "display": "none", "say": said.append}
    return danlu.train(folder, **options, **TINY), said


def test_objects_are_found_and_judged_beside_baselines(trained: Any) -> None:
    result, said = trained
    assert any("170 images of 32×32 (grey) with" in line and "2 classes: lying, standing" in line for line in said)
    assert result.rows == {"train": 110, "validation": 26, "test": 34}
    judged = result.judgement
    assert list(judged.others) == ["the most common box", "connected patches, nearest mean"]
    assert judged.scores["map50"].value > 0.7
    assert judged.comparisons[0].verdict == "better"
    assert judged.comparisons[0].constant
    written = pl.read_csv(result.run.path / "predictions.csv")
    assert written.columns == ["file", "label", "score", "x0", "y0", "x1", "y1"]
    assert written["file"].n_unique() == 34, "each test image, found something in or not"
    page = re.sub(r"</?span[^>]*>", "", (result.run.path / "report.html").read_text())
    for text in ("Test images", "Each class", "How tight the boxes are", "mAP@[.5:.95]", "of 4 pixels", "standing"):
        assert text in page


def test_the_saved_model_finds_the_same_and_its_csv_is_read_as_boxes(
    trained: Any, folder: Path, tmp_path: Path
) -> None:
    result, _ = trained
    model = danlu.load(result.run.path)
    assert model.task == "detection"
    assert "detecting objects of 2 classes" in repr(model)
    out = tmp_path / "found.csv"
    ran = CliRunner().invoke(app, ["predict", str(result.run.path), str(folder / "images"), "-o", str(out)])
    assert ran.exit_code == 0, ran.output
    found = pl.read_csv(out)
    assert found["file"].n_unique() == 170
    tested = result.judgement.predictions
    same = found.join(tested, on=["file", "x0", "y0"], how="inner")
    assert same.height == tested["label"].drop_nulls().len()
    assert same["score"].to_list() == same["score_right"].to_list()
    again = model.evaluate(out)
    assert again.scores["box_f1"].value == 1, "the boxes that were found, taken as the truth"
    ran = CliRunner().invoke(app, ["evaluate", str(result.run.path), str(folder)])
    assert ran.exit_code == 0, ran.output
    assert "170 test images" in ran.output
    small = np.asarray(read_boxes(folder).images)[:40].reshape(40, 32, 32, 1)
    few, large = model.predict(small), model.predict(np.kron(small, np.ones((1, 2, 3, 1), np.uint8)))
    first, second = (frame.drop_nulls().unique("file", keep="first", maintain_order=True) for frame in (few, large))
    both = first.join(second, on="file")
    assert both.height > 10
    gap = both["x1_right"] - both["x1"] * 3, both["y1_right"] - both["y1"] * 2
    assert np.median(np.abs(gap)) < 3, "boxes are in the image's own pixels"


def test_what_does_not_fit_is_refused(trained: Any, folder: Path, tmp_path: Path) -> None:
    model, notes = trained[0].model, []
    table = folder / "other.csv"
    table.write_text("file,label,x0,y0,x1,y1\nimages/00000.png,cat,1,2,9,9\nimages/00001.png,lying,1,2,9,9\n")
    with pytest.raises(SchemaError, match="boxes of cat"):
        model.evaluate(table)
    assert model.evaluate(table, lenient=True, say=notes.append).scores
    assert "cat are left out" in notes[0]
    with pytest.raises(SchemaError, match="no file"):
        model.predict(tmp_path / "none")

    def refused(error: Any = ConfigError, source: Any = folder, **changes: Any) -> str:
        with pytest.raises(error) as caught:
            danlu.train(source, runs=tmp_path, **QUIET, **{**TINY, **changes})
        return str(caught.value)

    assert "model.members is not used for images with boxes" in refused(model={"members": 3})
    assert "augment.mixup is not used for images with boxes" in refused(augment={"mixup": 0.2})
    assert "split at random" in refused(split={"method": "time"})
    assert "is not used for images with boxes" in refused(imbalance={"threshold": "f1"})
    assert "expected 4 or 8" in refused(detection={"stride": 5})
    assert "too few to divide" in refused(DataError, source=table)
    assert not list(tmp_path.iterdir()), "refused before a run is begun"
    assert isinstance(domain_of(config_from({}), folder), Detections)
    assert not isinstance(domain_of(config_from({"data": {"target": "label"}}), table), Detections)


def test_a_damaged_model_is_refused(trained: Any, tmp_path: Path) -> None:
    for name, change in (
        ("max_detections", 0),
        ("threshold", None),
        ("classes", ["one"]),
        ("stride", 8),
        ("sides", [16, 32]),
    ):
        shutil.copytree(trained[0].run.path / "artifact", tmp_path / "copy", dirs_exist_ok=True)
        file = tmp_path / "copy" / "model.json"
        said = json.loads(file.read_text())
        said["head"][name] = change
        file.write_text(json.dumps(sealed(said)))
        with pytest.raises(ArtifactError):
            danlu.load(tmp_path / "copy")


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_weights(folder: Path, tmp_path: Path) -> None:
    config = {**TINY, "trainer": {**TINY["trainer"], "epochs": 3}, "evaluate": {"report": False, "baselines": False}}
    whole = danlu.train(folder, runs=tmp_path, name="whole", **QUIET, **config)
    original = JSONLogger.on_epoch_begin

    def die(self: Any, epoch: int) -> None:
        if epoch == 2:
            raise KeyboardInterrupt

    JSONLogger.on_epoch_begin = die  # type: ignore[method-assign]
    try:
        with pytest.raises(KeyboardInterrupt):
            danlu.train(folder, runs=tmp_path, name="cut", **QUIET, **config)
    finally:
        JSONLogger.on_epoch_begin = original  # type: ignore[method-assign]
    finished = resume(tmp_path / "cut", **QUIET)
    assert len(finished.fitted.history) == 3
    one, two = (load_artifact(run.run.path / "artifact") for run in (whole, finished))
    jax.tree.map(np.testing.assert_array_equal, one.params, two.params)
