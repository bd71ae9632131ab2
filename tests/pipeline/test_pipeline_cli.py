"""The command line from a CSV to predictions, and its mistakes."""

import json
import re
import shlex
import shutil
import signal
import subprocess
import sys

import numpy as np
import polars as pl
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import danlu
from danlu.cli import main
from danlu.pipeline import load
from danlu.stages import PlainDisplay

SMALL = ["model.members=2", "model.width=8", "trainer.epochs=3", "trainer.batch_size=32", "model.kind=network"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("cli")
    size = rng.normal(size=200).round(3)
    colour = rng.choice(["red", "green", "blue"], 200)
    label = np.where((size > 0) ^ (colour == "red"), "yes", "no")
    names = [f"n{number:03d}" for number in rng.permutation(200)]
    pl.DataFrame({"id": names, "size": size, "colour": colour, "label": label}).write_csv(folder / "t.csv")
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
        (folder / "a.out").write_text(out)
    return folder / "runs" / "a"


def test_the_few_measures_that_matter_come_first_and_show_has_all(trained, folder, monkeypatch, capfd):
    said = (folder / "a.out").read_text()
    assert said.index("\n  ROC-AUC") < said.index("\n  accuracy") < said.index("\n  log loss")
    assert "balanced accuracy" not in said
    assert f"measures: danlu show {trained}\n" in said
    _, out, _ = run(monkeypatch, capfd, "show", trained)
    assert "balanced accuracy" in out


def test_what_is_said_to_try_next_works(trained, folder, monkeypatch, capfd):
    said = (folder / "a.out").read_text().split("try next:\n")[1].splitlines()
    assert said[0].strip() == f"look at {trained}/report.html"
    monkeypatch.chdir(folder)
    for line in said[1:]:
        code, out, err = run(monkeypatch, capfd, *shlex.split(line)[1:])
        assert code == 0, err
        assert out
    assert len(said) == 3


def test_help_with_examples_and_the_version(monkeypatch, capfd):
    code, out, _ = run(monkeypatch, capfd)
    assert code == 0
    assert out.count(" danlu ") >= 5
    assert "--install-completion" in out
    code, out, _ = run(monkeypatch, capfd, "--version")
    assert (code, out) == (0, f"danlu {danlu.__version__}\n")


def test_runs_are_listed_and_shown(trained, folder, monkeypatch, capfd):
    begun = folder / "runs" / "begun"
    begun.mkdir(exist_ok=True)
    (begun / "config.json").write_text('{"data": {"source": "x.csv"}}')
    code, out, _ = run(monkeypatch, capfd, "runs", folder / "runs")
    results = json.loads((trained / "results.json").read_text())
    lines = {line.split()[0]: line for line in out.splitlines()}
    assert code == 0
    assert f"t.csv → label  table, binary  ROC-AUC {results['test']['roc_auc']:.4g}" in lines["a"]
    assert lines["a"].rstrip().endswith("finished")
    assert "x.csv" in lines["begun"]
    assert "unfinished" in lines["begun"]
    for order, first in ("accuracy", "a"), ("name", "a"), ("seconds", "a"), ("data", "a"):
        code, out, _ = run(monkeypatch, capfd, "runs", folder / "runs", "--by", order)
        assert out.splitlines()[1].split()[0] == first
        assert ("accuracy 0." in out) == (order == "accuracy")
    code, _, err = run(monkeypatch, capfd, "runs", folder / "runs", "--by", "acuracy")
    assert (code, "did you mean 'accuracy'" in err.lower() or "accuracy" in err) == (1, True)
    code, out, _ = run(monkeypatch, capfd, "show", trained)
    assert code == 0
    assert "  trainer.epochs=3\n" in out
    assert "trainer.seed" not in out
    assert "size    numeric" in out
    assert f"ROC-AUC {results['test']['roc_auc']:.4g}" in " ".join(out.split())
    assert results["comparisons"][0]["sentence"].split()[-1] in out
    assert "predictions.csv" in out
    code, out, _ = run(monkeypatch, capfd, "show", begun)
    assert code == 0
    assert f"danlu train --resume {begun}" in out
    code, _, err = run(monkeypatch, capfd, "show", folder)
    assert (code, err.count("\n")) == (1, 1)


def test_runs_are_compared_row_by_row_as_text_data_and_page(trained, folder, monkeypatch, capfd):
    other = folder / "others" / "b"
    if not other.exists():
        shutil.copytree(trained, other)
        config = json.loads((other / "config.json").read_text())
        config["trainer"]["epochs"] = 7
        (other / "config.json").write_text(json.dumps(config))
        code, out, _ = run(monkeypatch, capfd, "compare", trained, other)
        assert (code, "are the same model" in out) == (0, True)
        answers = load_file(other / "test.safetensors")
        (name,) = [name for name in answers if name.endswith("prediction")]
        answers[name] = 0.9 * answers[name] + 0.1 * np.roll(answers[name], 1, axis=0)  # as another model would
        with safe_open(other / "test.safetensors", "numpy") as kept:
            save_file(answers, other / "test.safetensors", kept.metadata())
    code, out, err = run(monkeypatch, capfd, "compare", trained, other, "-o", folder / "c.html")
    assert code == 0, err
    assert max(map(len, out.splitlines())) <= 80 or str(folder) in out
    assert "the 40 test rows that both have" in out
    assert "trainer.epochs" in out
    assert " 7\n" in out
    page = (folder / "c.html").read_text()
    assert page.count("<svg") >= 2
    assert "<title>a, validation, epoch, 1: " in page
    assert not re.search(r"(src|href)=\"(?!#|data:)", re.sub(r'"http://[^"]*"', "", page))
    code, out, _ = run(monkeypatch, capfd, "compare", trained, other, "--json")
    told = json.loads(out)
    assert code == 0
    assert told["settings"] == {"trainer.epochs": [3, 7]}
    assert told["pairs"][0]["how"] == "paired"
    assert told["pairs"][0]["measures"]["roc_auc"]["verdict"] == "undecided"
    assert told["runs"][0]["cpu_seconds"] > 0
    for wrong, why in ([trained], "expected two or three"), ([trained, trained], "given twice"):
        code, _, err = run(monkeypatch, capfd, "compare", *wrong)
        assert (code, why in err) == (1, True)
    kept = other / "test.safetensors"
    whole = kept.read_bytes()
    kept.write_bytes(whole[: len(whole) // 2])
    code, _, err = run(monkeypatch, capfd, "compare", trained, other)
    kept.write_bytes(whole)
    assert (code, "is damaged" in err) == (1, True)


def test_a_report_is_written_anew_and_opened_where_there_is_a_display(trained, monkeypatch, capfd):
    path = trained / "report.html"
    before = path.read_text()
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    code, out, err = run(monkeypatch, capfd, "report", trained, "--open")
    assert (code, out) == (0, f"{path}\n")
    assert "no display" in err
    path.unlink()
    opened = []
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr("webbrowser.open", lambda where: opened.append(where) or True)
    code, out, err = run(monkeypatch, capfd, "report", trained, "--open")
    assert (code, opened) == (0, [path.resolve().as_uri()]), err
    plain = [re.sub(r"i[0-9a-f]{8}|<svg.*?</svg>", "", text, flags=re.DOTALL) for text in (before, path.read_text())]
    assert plain[0] == plain[1]
    assert "CPU time, all cores" in before
    assert "prefers-color-scheme: dark" in before
    code, _, err = run(monkeypatch, capfd, "report", trained.parent / "begun")
    assert (code, "not finished" in err or "no run" in err) == (1, True)


def test_a_dry_run_trains_nothing(trained, folder, monkeypatch, capfd):
    monkeypatch.chdir(folder)
    code, out, err = run(
        monkeypatch, capfd, "train", "t.csv", "--target", "label", "--dry-run", *SMALL, "split.folds=5"
    )
    assert code == 0, err
    for said in (
        "size    numeric",
        "160 train, 40 test rows",
        "TabularNet",
        "epochs = 3",
        "expected: about",
        "MB of memory",
    ):
        assert said in out
    assert not (folder / "runs" / "t").exists()
    assert sorted(path.name for path in (folder / "runs").iterdir()) in (["a"], ["a", "begun"])
    code, _, err = run(monkeypatch, capfd, "train", "--resume", trained, "--dry-run")
    assert code == 1
    assert "received --dry-run with it" in err


def test_a_run_holds_its_record(trained):
    assert json.loads((trained / "config.json").read_text())["trainer"]["epochs"] == 3
    assert len((trained / "metrics.jsonl").read_text().splitlines()) == 3
    results = json.loads((trained / "results.json").read_text())
    assert sum(results["rows"].values()) == 200
    assert sorted(each["columns"] for each in results["importance"]) == [["colour"], ["size"]]
    assert "What it relies on" in (trained / "report.html").read_text()
    assert pl.read_csv(trained / "predictions.csv").height == results["rows"]["test"]


def test_sets_are_a_column_and_what_there_is_not_is_refused(trained, folder, monkeypatch, capfd):
    code, out, err = run(monkeypatch, capfd, "predict", trained, folder / "t.csv", "--set", "0.9")
    assert code == 0, err
    assert out.splitlines()[0] == "id,label,set,probability no,probability yes"
    fresh = folder / "fresh.csv"
    pl.read_csv(folder / "t.csv").with_columns(pl.col("size") + 0.0005).write_csv(fresh)
    by = ["--set", "0.999", "--scores", fresh, "--by", "colour"]  # some 67 rows of each are too few for that
    code, grouped, err = run(monkeypatch, capfd, "predict", trained, folder / "t.csv", *by)
    assert code == 0, err
    assert grouped.splitlines()[0] == out.splitlines()[0]
    assert all(" | " in line for line in grouped.splitlines()[1:])
    assert "colour=red: a set of 99.9 % is here of all classes" in " ".join(err.split())
    for asked, message in {
        ("--interval", "0.9"): "this model predicts classes; beside its predictions there can be a set of classes",
        ("--set", "90"): "expected a share above 0 and below 1",
        ("--by", "colour"): "--by is for --scores",
        ("--scores", str(fresh)): "--scores is for --interval or --set",
        ("--set", "0.9", "--with", "logistic"): "no scores of rows that it did not learn from",
    }.items():
        code, _, err = run(monkeypatch, capfd, "predict", trained, folder / "t.csv", *asked)
        assert code == 1
        assert message in " ".join(err.split())


def test_predict_and_evaluate(trained, folder, monkeypatch, capfd):
    code, _, err = run(monkeypatch, capfd, "predict", trained, folder / "t.csv", "-o", folder / "out.csv")
    assert code == 0, err
    frame = pl.read_csv(folder / "out.csv")
    assert frame.columns == ["id", "label", "probability no", "probability yes"]
    np.testing.assert_allclose(frame["probability no"] + frame["probability yes"], 1, atol=1.01e-4)
    assert frame["id"].equals(pl.read_csv(folder / "t.csv")["id"])
    code, out, _ = run(monkeypatch, capfd, "evaluate", trained, folder / "t.csv")
    accuracy = float(next(line.split()[1] for line in out.splitlines() if line.split()[:1] == ["accuracy"]))
    tested = pl.read_csv(trained / "predictions.csv")  # the rows that were not learnt from, which alone are measured
    assert accuracy == pytest.approx((tested["label"] == tested["true label"]).mean(), abs=1e-3)
    given = {line["probability yes"]: line["label"] for line in frame.iter_rows(named=True)}
    assert all(given[round(p, 4)] == label for p, label in tested.select("probability yes", "label").iter_rows())


def test_columns_of_the_input_stand_beside_the_answers(trained, folder, monkeypatch, capfd):
    kept = {
        "none": ["label", "probability no", "probability yes"],
        "all": ["id", "size", "colour", "true label", "label", "probability no", "probability yes"],
        "colour,id": ["colour", "id", "label", "probability no", "probability yes"],
    }
    for keep, columns in kept.items():
        code, out, err = run(monkeypatch, capfd, "predict", trained, folder / "t.csv", "--keep", keep)
        assert code == 0, err
        assert out.splitlines()[0].split(",") == columns
        assert len(out.splitlines()) == 201
        assert all(len(line.rsplit(",", 1)[1]) <= len("0.1234") for line in out.splitlines()[1:])
    code, _, err = run(monkeypatch, capfd, "predict", trained, folder / "t.csv", "--keep", "colou")
    assert code == 1
    assert "did you mean 'colour'" in err
    for name, read in {"x.parquet": pl.read_parquet, "x.json": pl.read_json, "x.jsonl": pl.read_ndjson}.items():
        assert run(monkeypatch, capfd, "predict", trained, folder / "t.csv", "-o", folder / name)[0] == 0
        assert read(folder / name).columns == ["id", *kept["none"]]
    assert load(trained).predict(folder / "t.csv").columns == kept["none"]  # Python gets the prediction itself


def test_a_loaded_model_does_not_depend_on_the_other_rows(trained, folder):
    model, frame = load(trained), pl.read_csv(folder / "t.csv").drop("label")
    np.testing.assert_allclose(model.predict_values(frame)[:5], model.predict_values(frame[:5]), rtol=1e-5)


# A checkpoint after each epoch, and an end in the middle of the third: tests/engine has kills at any other moment.
KILLED = """
import dataclasses, os, signal
from danlu.cli import main
from danlu.engine import JSONLogger

def watch(self, epoch):
    self.training.options = dataclasses.replace(self.training.options, checkpoint_every=0.0)
    if epoch == 2:
        os.kill(os.getpid(), signal.SIGKILL)

JSONLogger.on_epoch_begin = watch
main()
"""


def test_a_killed_run_resumes_to_the_same_weights(trained, folder, monkeypatch, capfd):
    killed = folder / "k" / "killed"
    arguments = ["train", folder / "t.csv", "--target", "label", "--display", "none", "--runs", folder / "k"]
    command = [sys.executable, "-c", KILLED, *arguments, "--name", "killed", *SMALL]
    assert subprocess.run([str(part) for part in command], check=False).returncode == -signal.SIGKILL
    assert len((killed / "metrics.jsonl").read_text().splitlines()) == 2
    assert list((killed / "checkpoints").glob("*.safetensors"))
    assert not (killed / "artifact").exists()
    code, _, err = run(monkeypatch, capfd, "train", "--resume", killed, "--display", "none")
    assert code == 0, err
    assert len((killed / "metrics.jsonl").read_text().splitlines()) == 3, "epochs that were done are not done again"
    weights = [(path / "artifact" / "weights.safetensors").read_bytes() for path in (trained, killed)]
    assert weights[0] == weights[1]


def test_mistakes_get_one_message(trained, folder, monkeypatch, capfd):
    pl.read_csv(folder / "t.csv").drop("size").write_csv(folder / "less.csv")
    pl.DataFrame({"size": [1.0], "colour": ["pink"]}).write_csv(folder / "pink.csv")
    (folder / "bad.toml").write_text("x = = 1")
    mistakes = [
        (["train", folder / "none.csv", "--target", "label"], "none.csv"),
        (["train", folder / "t.csv", "--target", "lable"], "did you mean 'label'"),
        (["train", folder / "t.csv"], "--target"),
        (["train", folder / "t.csv", "--target", "label", "trainer.epoch=3"], "did you mean trainer.epochs=3?"),
        (["train", folder / "t.csv", "--target", "label", "trainer.epochs=0"], "expected a whole number >= 1"),
        (["train", folder / "t.csv", "--target", "label", "--config", folder / "bad.toml"], "not valid TOML"),
        (["train", folder / "t.csv", "--target", "label", "--runs", folder / "runs", "--name", "a"], "exists already"),
        (["train", "--resume", folder / "runs" / "b"], "no run"),
        (["train", folder / "t.csv", "--resume", trained], "received new data with it"),
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
