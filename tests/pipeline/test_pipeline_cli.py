"""The command line from a CSV to predictions, and its mistakes."""

import json
import sys

import numpy as np
import polars as pl
import pytest

from danlu.cli import main
from danlu.pipeline import load
from danlu.stages import PlainDisplay

SMALL = ["model.members=2", "model.width=8", "trainer.epochs=3", "trainer.batch_size=32"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("cli")
    size = rng.normal(size=200).round(3)
    colour = rng.choice(["red", "green", "blue"], 200)
    label = np.where((size > 0) ^ (colour == "red"), "yes", "no")
    pl.DataFrame({"size": size, "colour": colour, "label": label}).write_csv(folder / "t.csv")
    return folder


def run(monkeypatch, capfd, *arguments):
    monkeypatch.setattr(sys, "argv", ["danlu", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        main()
    shown = capfd.readouterr()
    return stop.value.code, shown.out, shown.err


@pytest.fixture
def trained(folder, monkeypatch, capfd):
    if not (folder / "runs" / "a").exists():
        for name, value in {"soon": 0.01, "tick": 0.005}.items():
            monkeypatch.setattr(PlainDisplay, name, value)
        common = ["--target", "label", "--runs", folder / "runs", "--name", "a", "--display", "plain"]
        code, out, err = run(monkeypatch, capfd, "train", folder / "t.csv", *common, *SMALL)
        assert code == 0, err
        assert "binary: label has 2 different values" in out
        assert "ROC-AUC" in out
        for told in (
            "reading and encoding",
            "training: compiling",
            "judging › logistic regression",
            "writing the report",
        ):
            assert told in err
    return folder / "runs" / "a"


def test_a_run_holds_its_record(trained):
    assert json.loads((trained / "config.json").read_text())["trainer"]["epochs"] == 3
    assert len((trained / "metrics.jsonl").read_text().splitlines()) == 3
    results = json.loads((trained / "results.json").read_text())
    assert sum(results["rows"].values()) == 200
    assert pl.read_csv(trained / "predictions.csv").height == results["rows"]["test"]


def test_predict_and_evaluate(trained, folder, monkeypatch, capfd):
    code, _, err = run(monkeypatch, capfd, "predict", trained, folder / "t.csv", "-o", folder / "out.csv")
    assert code == 0, err
    frame = pl.read_csv(folder / "out.csv")
    assert frame.columns == ["label", "probability no", "probability yes"]
    np.testing.assert_allclose(frame["probability no"] + frame["probability yes"], 1, atol=1e-6)
    code, out, _ = run(monkeypatch, capfd, "evaluate", trained, folder / "t.csv")
    truth = pl.read_csv(folder / "t.csv")["label"]
    accuracy = float(next(line.split()[1] for line in out.splitlines() if line.split()[:1] == ["accuracy"]))
    assert accuracy == pytest.approx((frame["label"] == truth).mean(), abs=1e-3)


def test_a_loaded_model_does_not_depend_on_the_other_rows(trained, folder):
    model, frame = load(trained), pl.read_csv(folder / "t.csv").drop("label")
    np.testing.assert_allclose(model.predict_values(frame)[:5], model.predict_values(frame[:5]), rtol=1e-5)


def test_a_killed_run_resumes_to_the_same_weights(folder, monkeypatch, capfd):
    import os
    import subprocess
    import time

    arguments = [folder / "t.csv", "--target", "label", "--display", "none", "--runs", folder / "k"]
    settings = [*SMALL[:2], "trainer.epochs=400", "trainer.batch_size=2", "trainer.patience=400"]
    assert run(monkeypatch, capfd, "train", *arguments, "--name", "whole", *settings)[0] == 0
    command = [
        sys.executable,
        "-c",
        "from danlu.cli import main; main()",
        "train",
        *arguments,
        "--name",
        "killed",
        *settings,
    ]
    with subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL, env=os.environ) as process:
        deadline = time.monotonic() + 60
        while not (folder / "k" / "killed" / "checkpoints").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        process.kill()
    code, _, err = run(monkeypatch, capfd, "train", "--resume", folder / "k" / "killed", "--display", "none")
    assert code == 0, err
    weights = [(folder / "k" / name / "artifact" / "weights.safetensors").read_bytes() for name in ("whole", "killed")]
    assert weights[0] == weights[1]


def test_mistakes_get_one_message(trained, folder, monkeypatch, capfd):
    pl.read_csv(folder / "t.csv").drop("size").write_csv(folder / "less.csv")
    pl.DataFrame({"size": [1.0], "colour": ["pink"]}).write_csv(folder / "pink.csv")
    (folder / "bad.toml").write_text("x = = 1")
    mistakes = [
        (["train", folder / "none.csv", "--target", "label"], "none.csv"),
        (["train", folder / "t.csv", "--target", "lable"], "did you mean 'label'"),
        (["train", folder / "t.csv"], "--target"),
        (["train", folder / "t.csv", "--target", "label", "trainer.epoch=3"], "did you mean 'trainer.epochs'"),
        (["train", folder / "t.csv", "--target", "label", "trainer.epochs=0"], "expected a whole number >= 1"),
        (["train", folder / "t.csv", "--target", "label", "--config", folder / "bad.toml"], "not valid TOML"),
        (["train", folder / "t.csv", "--target", "label", "--runs", folder / "runs", "--name", "a"], "exists already"),
        (["train", "--resume", folder / "runs" / "b"], "no run"),
        (["train", folder / "t.csv", "--resume", trained], "no other settings"),
        (["predict", trained, folder / "less.csv"], "size"),
        (["predict", trained, folder / "pink.csv"], "pink"),
        (["predict", folder / "nothing", folder / "t.csv"], "nothing"),
    ]
    for arguments, message in mistakes:
        code, _, err = run(monkeypatch, capfd, *arguments)
        assert code == 1, arguments
        assert message in err, (arguments, err)
        assert "Traceback" not in err
    code, out, _ = run(monkeypatch, capfd, "predict", trained, folder / "pink.csv", "--lenient")
    assert code == 0
    assert out.startswith("label,")
