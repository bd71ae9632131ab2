"""``danlu compress`` of a run: a run of its own, a model as any other, and mistakes that are said."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

import danlu
from danlu import pipeline
from danlu.artifact import RunDirectory
from danlu.cli.app import app
from danlu.compression import LowRank, Magnitude, Structured
from danlu.compression.masks import sparsity_of
from danlu.errors import ConfigError

QUIET = {"display": "none", "say": lambda line: None}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of five networks of folds."""
    folder, rng = tmp_path_factory.mktemp("runs"), np.random.default_rng(0)
    x = rng.normal(size=(80, 2)).round(3)
    lines = [f"{a},{b},{'yes' if a * b > 0 else 'no'}" for a, b in x]
    (folder / "data.csv").write_text("a,b,y\n" + "\n".join(lines) + "\n")
    result = danlu.train(
        folder / "data.csv",
        target="y",
        runs=folder,
        name="large",
        model={"kind": "network", "members": 2, "width": 32},
        trainer={"epochs": 1},
        evaluate={"baselines": False, "report": False, "importance": False, "slices": False},
        **QUIET,
    )
    return result.run.path


def said(*command):
    found = CliRunner().invoke(app, ["compress", *map(str, command), "--display", "none"])
    return found.exit_code, found.exception or found.output


@pytest.mark.slow
def test_a_pruned_model_is_a_run_of_its_own(run):
    found = danlu.compress(run, Magnitude(0.9, epochs=0), receipts=False, **QUIET)
    assert found.result.run.path == run.parent / "large-small"
    model, before = danlu.load(found.result.run.path), danlu.load(run)
    assert sparsity_of(model.params) == pytest.approx(0.9, abs=1e-3)
    assert model.network == before.network
    assert model.provenance["compression"][0]["blueprint"] == "Magnitude"
    sizes = [(folder / "artifact" / "weights.safetensors").stat().st_size for folder in (run, found.result.run.path)]
    assert sizes[0] > 2 * sizes[1], "zeros take no bytes"
    assert set(found.result.scores) == set(json.loads((run / "results.json").read_text())["test"])
    assert model.predict({"a": [1.0], "b": [1.0]}).height == 1
    told = json.loads((found.result.run.path / "compression.json").read_text())
    assert told["run"] == str(run.resolve())

    for command in (pipeline.resume, lambda path: danlu.replay(path, 0), danlu.xray):
        with pytest.raises(ConfigError, match="is a compressed model, which was not trained there") as error:
            command(found.result.run.path)
        assert str(run.resolve()) in str(error.value)

    again = danlu.compress(found.result.run.path, Structured(0.5, epochs=0), receipts=False, **QUIET)
    assert [each["blueprint"] for each in again.model.provenance["compression"]] == ["Magnitude", "Structured"]
    assert again.model.network.network.width == 16


@pytest.mark.slow
def test_what_is_refused_leaves_no_run(run):
    before = sorted(path.name for path in run.parent.iterdir())
    with pytest.raises(ConfigError, match="no dense layer and no convolution"):
        danlu.compress(run, LowRank(0.5), receipts=False, **QUIET)
    assert sorted(path.name for path in run.parent.iterdir()) == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "danlu compress needs to be told what to do"),
        (("--prune", "1.5"), "Gradual.sparsity is 1.5; expected a number > 0 and < 1"),
        (("--how", "lottery"), "--how lottery says how --prune does it"),
        (("--prune", "0.5", "--how", "magnitud"), "did you mean 'magnitude'"),
    ],
)
def test_mistakes_are_said(tmp_path, options, message):
    code, text = said(tmp_path, *options)
    assert code
    assert message in str(text)


def test_a_private_run_is_refused(tmp_path):
    settings = pipeline.config_from({"private": {"noise": 1.0}}).as_dict()
    run = RunDirectory.create(tmp_path, name="a", dataset="t", config=settings, files={}, data={})
    with pytest.raises(ConfigError, match="was trained in private, and compressing looks at its training rows again"):
        danlu.compress(run.path, Magnitude(0.9, epochs=0), **QUIET)


def test_a_cross_validation_is_refused(tmp_path):
    """Its model is the mean of those of all folds; a network that learns on would be that of one."""
    RunDirectory.create(tmp_path, name="cv", config={"data": {"source": "gone.csv"}, "evaluate": {"folds": 3}})
    code, text = said(tmp_path / "cv", "--prune", "0.5")
    assert code
    assert "is a cross-validation, which is several models; expected one training" in str(text)
    assert f"danlu compress {tmp_path / 'cv' / 'folds'}/1" in str(getattr(text, "hint", text))
    assert [each.name for each in tmp_path.iterdir()] == ["cv"]
