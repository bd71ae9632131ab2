"""Images with several labels, decoded during training, to a trained, saved, loaded and judged model."""

import numpy as np
import pytest
from PIL import Image

import danlu
from danlu.errors import ConfigError, DataError, SchemaError

SMALL = {
    "trainer": {"epochs": 6, "batch_size": 16, "learning_rate": 0.02},
    "model": {"width": 4},
    "augment": {"rotation": 0.0, "scale": 0.0, "shear": 0.0, "translate": 0.0},
}
NAMES = ("above", "below", "left")


def draw(marks, rng):
    image = rng.integers(0, 60, (12, 12))
    for there, place in zip(marks, (np.s_[1:3, 4:], np.s_[9:11, 4:], np.s_[:, 1:3]), strict=True):
        if there:
            image[place] = 255
    return image.astype(np.uint8)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    root, rng = tmp_path_factory.mktemp("tags"), np.random.default_rng(0)
    lines = ["file,tags"]
    for row, marks in enumerate(rng.integers(0, 2, (200, 3))):
        Image.fromarray(draw(marks, rng)).save(root / f"{row}.png")
        lines.append(f"{row}.png,{';'.join(name for name, there in zip(NAMES, marks, strict=True) if there)}")
    (root / "list.csv").write_text("\n".join(lines) + "\n")
    (root / "7.png").write_bytes(b"broken")
    return root / "list.csv"


@pytest.fixture(scope="module")
def trained(table, tmp_path_factory):
    said = []
    runs = tmp_path_factory.mktemp("runs")
    result = danlu.train(
        str(table), target="tags", data={"stream": True}, runs=runs, display="none", say=said.append, **SMALL
    )
    return result, said


def test_labels_are_learnt_from_files(trained):
    result, said = trained
    assert result.rows == {"train": 129, "validation": 30, "test": 40}
    assert result.scores["label_precision"] > 0.85
    assert result.scores["macro_f1"] > 0.7
    assert any("decoded during training" in line for line in said)
    assert any("7.png (not an image)" in line for line in said)
    assert set(result.judgement.others) == {"the most common labels", "logistic regression"}
    assert result.judgement.others["the most common labels"]["label_auc"].value == 0.5
    report = result.run.report_path.read_text(encoding="utf-8")
    assert "Each label" in report
    assert result.run.predictions_path.read_text().startswith("file,true tags,tags,probability above")


def test_the_loaded_model_predicts(trained, table, tmp_path):
    model = danlu.load(trained[0].run.path)
    found = model.predict(str(table))
    assert found.columns == ["file", "tags", *(f"probability {name}" for name in NAMES)]
    assert model.evaluate(str(table)).scores["exact_match"].value > 0.5
    rng = np.random.default_rng(1)
    pixels = np.stack([draw(marks, rng) for marks in np.eye(3, dtype=int)])
    np.savez(tmp_path / "more.npz", x=pixels, y=np.eye(3, dtype=int), classes=np.array(NAMES))
    np.testing.assert_array_equal(model.predict_values(pixels), model.predict_values(str(tmp_path / "more.npz")))
    assert model.evaluate(str(tmp_path / "more.npz")).scores["micro_f1"].value > 0.5
    other = tmp_path / "other.csv"
    other.write_text(f"file,tags\n{table.parent / '1.png'},above;beyond\n")
    with pytest.raises(SchemaError, match="does not know: beyond"):
        model.evaluate(str(other))


def test_what_cannot_be_done_is_one_message(trained, table, tmp_path):
    quiet = {"runs": tmp_path, "display": "none", "say": lambda line: None}
    with pytest.raises(ConfigError, match="several labels are split at random"):
        danlu.train(str(table), target="tags", split={"method": "group"}, **quiet)
    with pytest.raises(ConfigError, match=r"imbalance.* is not used for images with several labels"):
        danlu.train(str(table), target="tags", imbalance={"class_weight": "balanced"}, **quiet)
    np.savez(tmp_path / "m.npz", x=np.zeros((40, 8, 8), np.uint8), y=np.tile([0, 1], (40, 1)))
    with pytest.raises(ConfigError, match="come from one file"):
        danlu.train(str(tmp_path / "m.npz"), data={"stream": True}, **quiet)
    with pytest.raises(ConfigError, match="needs a table"):
        danlu.train(str(table.parent), data={"task": "multilabel"}, **quiet)
    empty = tmp_path / "one.csv"
    empty.write_text("file,tags\n" + "\n".join(f"{table.parent / f'{row}.png'}," for row in range(12)))
    with pytest.raises(DataError, match="0 labels"):
        danlu.train(str(empty), target="tags", data={"label_separator": "|"}, **quiet)


@pytest.mark.slow
@pytest.mark.parametrize("stream", [False, True])
def test_several_labels_are_learnt_by_an_ensemble(table, tmp_path, stream):
    how = {**SMALL, "model": {"width": 4, "ensemble": 3}, "trainer": {"epochs": 2, "batch_size": 16}}
    result = danlu.train(
        str(table), target="tags", data={"stream": stream}, runs=tmp_path, display="none", say=lambda line: None, **how
    )
    model = danlu.load(result.run.path)
    assert model.network.count == 3
    images = np.stack([np.asarray(Image.open(table.parent / f"{row}.png")) for row in range(4)])[..., None]
    found = model.predict(images)
    logits = model.outputs(model.encoder.transform(images))
    each = 1 / (1 + np.exp(-logits))
    np.testing.assert_allclose(found["probability above"], each[:, :, 0].mean(axis=1), atol=1e-6)
    assert found["disagreement"].min() > 0
