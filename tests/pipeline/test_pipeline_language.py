"""From a text file to a model that writes: training, judging, saving, resuming, predicting, the command line."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace
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
from danlu.pipeline import resume
from danlu.pipeline.config import TrainConfig, config_from
from danlu.pipeline.domains import domain_of
from danlu.pipeline.language import LanguageTexts
from danlu.trained import Trained

WORDS = ("the", "a", "cat", "dog", "sat", "ran", "on", "under", "mat", "tree", "and", "then")
TINY: dict[str, Any] = {
    "model": {"width": 16, "depth": 1},
    "trainer": {"epochs": 1, "learning_rate": 0.01},
    "language": {"context": 16},
}


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng, place = np.random.default_rng(0), tmp_path_factory.mktemp("texts") / "story.txt"
    place.write_text("\n\n".join(" ".join(rng.choice(WORDS, 12)) + "." for _ in range(150)))  # as if labelled
    return place


@pytest.fixture(scope="module")
def trained(story: Path) -> Any:
    said: list[str] = []
    result = danlu.train(story, runs=story.parent / "runs", name="one", display="none", say=said.append, **TINY)
    return result, said


def page(result: Any) -> str:
    return re.sub(
        r"</?span[^>]*>", "", (result.run.path / "report.html").read_text()
    )  # numbers are kept whole by spans


def test_a_text_file_is_learnt_and_judged_beside_counts(trained: Any) -> None:
    result, said = trained
    assert "one stream of text" in said[0]
    judged = result.judgement
    assert list(judged.others) == ["the unigram model", "the bigram model", "the trigram model", "the 5-gram model"]
    loss = judged.scores["token_loss"]
    assert loss.low < loss.value < loss.high
    assert judged.scores["perplexity"].value == pytest.approx(np.exp(loss.value))
    assert judged.scores["bits_per_character"].value == pytest.approx(loss.value / np.log(2))
    assert judged.comparisons[0].verdict == "better"
    assert judged.comparisons[0].metric == "token_loss"
    kept = json.loads((result.run.path / "results.json").read_text())
    assert kept["test"]["token_loss"] == loss.value
    source = Path(result.run.read_json("config.json")["data"]["source"]).read_text()
    assert 0 <= sum(kept["rows"].values()) - len(source.splitlines()) <= 2, "lines; a cut may be within one"
    assert f"{len(source):,} characters" in page(result)
    for text in ("What it writes", "the next character", "perplexity", "the 5-gram model"):
        assert text in page(result)


def test_the_saved_model_judges_and_writes_the_same(trained: Any, story: Path) -> None:
    result, _ = trained
    model = danlu.load(result.run.path)
    assert isinstance(model, Trained)
    assert model.generate("the cat", length=40, seed=3) == result.model.generate("the cat", length=40, seed=3)
    lines = model.predict(story)
    assert lines["text"].to_list() == story.read_text().splitlines()
    again = model.evaluate(story)
    total = (lines["loss"] * lines["tokens"]).sum() / lines["tokens"].sum()
    assert again.scores["token_loss"].value == pytest.approx(total, rel=1e-5)
    assert "language" in model.purpose
    # A line that is no sentence of the story surprises more.
    other = story.parent / "other.txt"
    other.write_text("the cat sat on the mat.\n\ntttt tttt tttt tttt tttt\n")
    found = model.predict(other)["loss"].to_list()
    assert found[2] > 2 * found[0]
    assert model.predict(other)["tokens"].to_list() == [23, 1, 25]


def test_what_was_never_seen_is_refused_or_told(trained: Any, tmp_path: Path) -> None:
    model, notes = trained[0].model, []
    (tmp_path / "odd.txt").write_text("the Ж cat 7\n")
    with pytest.raises(SchemaError, match="holds 'Ж', '7', not in"):
        model.predict(tmp_path / "odd.txt")
    assert model.predict(tmp_path / "odd.txt", lenient=True, say=notes.append).height == 1
    assert "treated as unknown" in notes[0]
    with pytest.raises(SchemaError, match="text file"):
        model.predict({"text": ["a"]})
    with pytest.raises(DataError, match="cannot be read"):
        model.evaluate(tmp_path / "none.txt")


# A run of tables in a process that is killed is in test_pipeline_cli.py, each place where a training can be killed in test_engine_crash.py.
@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_weights(story: Path, tmp_path: Path) -> None:
    config = {**TINY, "trainer": {"epochs": 2, "learning_rate": 0.01}}
    options: dict[str, Any] = {"display": "none", "say": lambda line: None}
    whole = danlu.train(story, runs=tmp_path, name="whole", **options, **config)

    original = JSONLogger.on_epoch_begin

    def die(self: Any, epoch: int) -> None:
        if epoch == 1:
            raise KeyboardInterrupt

    JSONLogger.on_epoch_begin = die  # type: ignore[method-assign]
    try:
        with pytest.raises(KeyboardInterrupt):
            danlu.train(story, runs=tmp_path, name="cut", **options, **config)
    finally:
        JSONLogger.on_epoch_begin = original  # type: ignore[method-assign]
    finished = resume(tmp_path / "cut", **options)
    assert len(finished.fitted.history) == 2
    one, two = (load_artifact(run.run.path / "artifact") for run in (whole, finished))
    jax.tree.map(np.testing.assert_array_equal, one.params, two.params)


def test_lines_are_texts_of_their_own(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    names = sorted({a + b + c for a in "bdgkmn" for b in "aeiou" for c in ("n", "r", "la", "ssa", "tte")})
    (tmp_path / "names.txt").write_text("\n".join(rng.permutation(names)) + "\n")
    settings = {**TINY, "language": {}, "trainer": {"epochs": 3, "learning_rate": 0.02, "batch_size": 32}}
    settings["evaluate"] = {"report": False}
    result = danlu.train(tmp_path / "names.txt", runs=tmp_path, display="none", say=lambda line: None, **settings)
    assert sum(result.rows.values()) == len(names)
    assert result.model.encoder.lines
    assert result.model.predict(tmp_path / "names.txt").columns == ["line", "text", "tokens", "loss"]
    ran = CliRunner().invoke(app, ["generate", str(result.run.path), "ba", "--samples", "3", "--top-k", "5"])
    assert ran.exit_code == 0, ran.output
    assert [line[:2] for line in ran.output.splitlines()] == ["ba"] * 3


def test_the_command_line_writes(trained: Any) -> None:
    path = str(trained[0].run.path)
    asked = ["generate", path, "the ", "--tokens", "30", "--temperature", "0.8", "--top-k", "10", "--top-p", "0.9"]
    ran = CliRunner().invoke(app, asked)
    assert ran.exit_code == 0, ran.output
    assert ran.output.startswith("the ")
    assert len(ran.output) == 4 + 30 + 1
    assert CliRunner().invoke(app, asked).output == ran.output
    assert CliRunner().invoke(app, [*asked, "--seed", "1"]).output != ran.output


def test_the_test_may_be_another_file_or_none(story: Path, tmp_path: Path) -> None:
    (tmp_path / "test.txt").write_text("the dog sat.\nthe Ж sat.\n")
    domain, data = LanguageTexts(), {"source": str(story)}
    apart = config_from({"data": {**data, "test": str(tmp_path / "test.txt")}})
    prepared = domain.prepare(apart, story)
    assert prepared.rows["test"] == 2
    assert prepared.corpora["train"].characters == pytest.approx(0.85 * len(story.read_text()), abs=1)
    assert "1 tokens of the test part are not in the vocabulary" in prepared.notices[0]
    none = config_from({"data": data, "split": {"test": 0.0}})
    prepared = domain.prepare(none, story)
    assert prepared.rows["test"] == 0
    assert domain.test(none, prepared, None) is None  # type: ignore[arg-type]


def test_which_files_are_texts(story: Path) -> None:
    config = TrainConfig()
    names = story.parent / "names.txt"
    names.write_text("\n".join(f"{a}{b}nn" for a in "bdgkmn" for b in "aeiou"))
    assert isinstance(domain_of(config, names), LanguageTexts)
    assert isinstance(domain_of(config_from({"language": {"lines": "no"}}), story), LanguageTexts)
    for other in (TrainConfig(data=config.data.replace(target="y")), config):  # its lines begin with few words
        assert not isinstance(domain_of(other, story), LanguageTexts)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"split": {"method": "time"}}, ConfigError, "split.method is not used for language models"),
        ({"data": {"task": "binary"}}, ConfigError, "data.task is not used for language models"),
        ({"model": {"members": 2}}, ConfigError, "model.members"),
        ({"language": {"context": 2}}, ConfigError, "context"),
        ({"language": {"tokens": "letters"}}, ConfigError, "tokens"),
        ({"model": {"width": 7}}, ConfigError, "even number"),
    ],
)
def test_settings_that_do_not_fit_are_refused(story: Path, settings: Any, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        danlu.train(
            story, runs=story.parent, display="none", say=lambda line: None, **{"language": {"lines": "no"}, **settings}
        )


def test_too_little_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "short.txt").write_text("ab")
    with pytest.raises(DataError, match="too few to divide"):
        danlu.train(tmp_path / "short.txt", runs=tmp_path, display="none", say=lambda line: None)


@pytest.mark.parametrize(
    "damage",
    [
        {"head": {"kind": "labels"}},
        {"encoder": {"context": 3}},
        {"encoder": {"lines": "no"}},
        {"encoder": {"tokenizer": {}}},
    ],
)
def test_a_damaged_model_is_refused(trained: Any, tmp_path: Path, damage: Any) -> None:
    folder = tmp_path / "artifact"
    shutil.copytree(trained[0].run.path / "artifact", folder)
    described = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(
        json.dumps(sealed({**described, **{name: {**described[name], **change} for name, change in damage.items()}}))
    )
    with pytest.raises(ArtifactError, match="damaged"):
        danlu.load(folder)


def test_only_language_models_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("danlu.pipeline.load_model", lambda run, **_: SimpleNamespace(purpose="regression of 'y'"))
    ran = CliRunner().invoke(app, ["generate", str(tmp_path)])
    assert isinstance(ran.exception, ConfigError)
    assert "expected a language model" in str(ran.exception)
