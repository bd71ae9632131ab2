"""From pairs of sentences to a model that translates: training, judging, saving, resuming, predicting, the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from typer.testing import CliRunner

import danlu
from danlu.artifact import load_artifact
from danlu.artifact.artifact import sealed
from danlu.cli.app import app
from danlu.engine import JSONLogger
from danlu.errors import ArtifactError, ConfigError, DataError, SchemaError
from danlu.evaluate.bleu import bleu
from danlu.pipeline import resume
from danlu.pipeline.config import TrainConfig, config_from
from danlu.pipeline.domains import domain_of
from danlu.pipeline.fingerprint import fingerprint
from danlu.pipeline.translation import Translations
from danlu.trained import Trained

# A language whose words are others and stand in the reverse sequence.
WORDS = {
    "red": "rot",
    "old": "alt",
    "big": "groß",
    "dog": "Hund",
    "cat": "Katze",
    "house": "Haus",
    "sees": "sieht",
    "has": "hat",
}
QUIET: dict[str, Any] = {"display": "none", "say": lambda line: None}
TINY: dict[str, Any] = {
    "model": {"width": 32, "depth": 1, "dropout": 0.0},
    "trainer": {"epochs": 14, "learning_rate": 0.01, "batch_size": 32},
    "translation": {"source": "en", "target": "de", "tokens": "word", "beams": 2, "label_smoothing": 0.05},
}


def write(stem: Path, count: int, seed: int) -> None:
    """Pairs of five words."""
    rows = np.random.default_rng(seed).choice(list(WORDS), (count, 5))
    Path(f"{stem}.en").write_text("".join(" ".join(row) + "\n" for row in rows))
    Path(f"{stem}.de").write_text("".join(" ".join(WORDS[word] for word in row[::-1]) + "\n" for row in rows))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("pairs")
    write(place / "train", 1000, 0)
    write(place / "test", 60, 1)
    return place


@pytest.fixture(scope="module")
def trained(folder: Path) -> Any:
    said: list[str] = []
    options: dict[str, Any] = {"runs": folder / "runs", "name": "one", "display": "none", "say": said.append}
    return danlu.train(folder / "train", test=str(folder / "test"), **options, **TINY), said


def test_a_language_is_learnt_and_judged_beside_baselines(trained: Any, folder: Path) -> None:
    result, said = trained
    assert any("1,060 pairs; tokens are words, 20 different ones in both" in line for line in said)
    assert result.rows["test"] == 60
    assert not any("is next to" in line for line in said)
    judged = result.judgement
    assert list(judged.others) == ["the source left as it is", "a word-by-word dictionary"]
    assert judged.scores["bleu"].value > 90 > 30 > judged.others["a word-by-word dictionary"]["bleu"].value
    assert [each.verdict for each in judged.comparisons] == ["better", "better"]
    assert json.loads((result.run.path / "results.json").read_text())["test"]["bleu"] == judged.scores["bleu"].value
    written = judged.predictions
    assert bleu(written["translation"], written["reference"]) == pytest.approx(judged.scores["bleu"].value)
    page = (result.run.path / "report.html").read_text()
    for text in ("The worst translations", "The source of each word", "Predicting de from en", "BLEU", "Hund"):
        assert text in page


def test_the_saved_model_translates_the_same(trained: Any, folder: Path) -> None:
    result, _ = trained
    model = danlu.load(result.run.path)
    assert isinstance(model, Trained)
    assert "translation from en to de" in repr(model)
    written = model.predict(folder / "test.en")
    assert written.columns == ["source", "translation"]
    assert written["translation"].to_list() == result.judgement.predictions["translation"].to_list()
    again = model.evaluate(folder / "test")
    assert again.scores["bleu"].value == result.judgement.scores["bleu"].value
    lines = ["red dog sees big cat", "", "  "]
    assert model.translate(lines) == ["Katze groß sieht Hund rot", "", ""]
    one_beam, other = (model.translate(lines[:1], beams=beams) for beams in (1, 2))
    assert one_beam == other
    with pytest.raises(ConfigError, match="length_penalty=-1"):
        model.translate(lines, length_penalty=-1.0)


def test_what_was_never_seen_is_refused_or_told(trained: Any, tmp_path: Path) -> None:
    model, notes = trained[0].model, []
    with pytest.raises(SchemaError, match="hold 'green', not in"):
        model.predict(["green dog has red house"])
    assert model.predict(["green dog has red house"], lenient=True, say=notes.append).height == 1
    assert "treated as unknown" in notes[0]
    model.predict(["red " * 7], say=notes.append)
    assert "1 sentence is longer than any in training (6 tokens)" in notes[1]
    with pytest.raises(SchemaError, match="no file"):
        model.evaluate(tmp_path / "none")
    with pytest.raises(SchemaError, match="cannot be read"):
        model.predict(tmp_path / "none.txt")


# A run of tables in a process that is killed is in test_pipeline_cli.py, each place where a training can be killed in test_engine_crash.py.
@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_weights(folder: Path, tmp_path: Path) -> None:
    config = {**TINY, "trainer": {**TINY["trainer"], "epochs": 2}, "evaluate": {"report": False}}
    said: list[str] = []
    whole = danlu.train(folder / "train", runs=tmp_path, name="whole", display="none", say=said.append, **config)
    original = JSONLogger.on_epoch_begin

    def die(self: Any, epoch: int) -> None:
        if epoch == 1:
            raise KeyboardInterrupt

    JSONLogger.on_epoch_begin = die  # type: ignore[method-assign]
    try:
        with pytest.raises(KeyboardInterrupt):
            danlu.train(folder / "train", runs=tmp_path, name="cut", **QUIET, **config)
    finally:
        JSONLogger.on_epoch_begin = original  # type: ignore[method-assign]
    finished = resume(tmp_path / "cut", **QUIET)
    assert len(finished.fitted.history) == 2
    assert any("test is next to the training pairs but is not used: --test " in line for line in said)
    one, two = (load_artifact(run.run.path / "artifact") for run in (whole, finished))
    jax.tree.map(np.testing.assert_array_equal, one.params, two.params)


def test_files_that_belong_together_have_one_fingerprint(tmp_path: Path) -> None:
    write(tmp_path / "train", 3, 0)
    before = fingerprint(tmp_path / "train")
    assert before == fingerprint(str(tmp_path / "train"))
    (tmp_path / "train.de").write_text("x\n")
    assert fingerprint(tmp_path / "train") != before
    assert fingerprint(tmp_path / "none") is None


def test_settings_that_do_not_fit_are_refused(folder: Path, tmp_path: Path) -> None:
    def refused(error: Any = ConfigError, **changes: Any) -> str:
        with pytest.raises(error) as caught:
            danlu.train(folder / "train", runs=tmp_path, **QUIET, **{**TINY, **changes})
        return str(caught.value)

    assert "expected both" in refused(translation={"source": "en"})
    assert "model.members is not used for translations" in refused(model={"members": 3})
    assert "split.method is not used for translations" in refused(split={"method": "time"})
    assert "is not used for translations" in refused(imbalance={"threshold": "f1"})
    assert "raise translation.max_length" in refused(DataError, translation={**TINY["translation"], "max_length": 4})
    ran = CliRunner().invoke(app, ["train", str(folder / "train"), "--translate", "en"])
    assert "expected FROM:TO" in str(ran.exception)
    assert not list(tmp_path.iterdir()), "refused before a run is begun"
    assert isinstance(domain_of(config_from(TINY), "x.csv"), Translations)
    assert not isinstance(domain_of(TrainConfig(), "x.csv"), Translations)


def test_a_damaged_model_is_refused(trained: Any, tmp_path: Path) -> None:
    for name, change in (
        ("head", {"beams": 0}),
        ("encoder", {"longest": 0}),
        ("encoder", {"languages": "en"}),
        ("encoder", {"source": {}}),
    ):
        shutil.copytree(trained[0].run.path / "artifact", tmp_path / "copy", dirs_exist_ok=True)
        file = tmp_path / "copy" / "model.json"
        said = json.loads(file.read_text())
        said[name].update(change)
        file.write_text(json.dumps(sealed(said)))
        with pytest.raises(ArtifactError):
            danlu.load(tmp_path / "copy")


def test_the_command_line_translates(trained: Any, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    ran = CliRunner().invoke(app, ["predict", str(trained[0].run.path), str(folder / "test.en"), "-o", str(out)])
    assert ran.exit_code == 0, ran.output
    assert len(out.read_text().splitlines()) == 61
    ran = CliRunner().invoke(app, ["evaluate", str(trained[0].run.path), str(folder / "test")])
    assert ran.exit_code == 0, ran.output
    assert "60 test sentences" in ran.output
    assert "BLEU" in ran.output
