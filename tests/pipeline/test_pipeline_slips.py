"""A slip in a file's name is told before anything is loaded, and new data is never answered with the settings of a training."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import danlu
from danlu.cli import main
from danlu.trained.read import reading

GOLDEN = Path(__file__).parents[1] / "trained" / "golden" / "version-3" / "table-blend"


@pytest.mark.parametrize(
    "words",
    [
        ("predict", "RUN", "askd.csv"),
        ("explain", "RUN", "askd.csv"),
        ("explain", "RUN", "asked.csv", "--background", "askd.csv"),
        ("evaluate", "RUN", "askd.csv"),
        ("stress", "RUN", "askd.csv"),
        ("slices", "RUN", "askd.csv"),
        ("predict", "RUN", "asked.csv", "--interval", "0.9", "--scores", "askd.csv"),
        ("audit", "askd.csv"),
        ("audit", "asked.csv", "--against", "askd.csv"),
        ("train", "askd.csv"),
        ("train", "asked.csv", "--test", "askd.csv"),
        ("tune", "askd.csv"),
    ],
    ids=" ".join,
)
def test_a_slip_in_a_name_is_told_before_anything_is_loaded(words, monkeypatch, capfd) -> None:
    monkeypatch.chdir(GOLDEN)
    for module in ("predict", "explain", "evaluate", "stress", "slices", "audit", "train", "tune"):
        monkeypatch.setattr(f"danlu.cli.{module}.showing", lambda *_: pytest.fail("the work has begun"))
    monkeypatch.setattr(sys, "argv", ["danlu", *("model" if word == "RUN" else word for word in words)])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 1
    assert capfd.readouterr().err == "danlu: there is no file or folder askd.csv\nHint: did you mean asked.csv?\n"


def test_a_run_that_is_not_there_is_told_with_those_beside_it(monkeypatch, capfd) -> None:
    monkeypatch.chdir(GOLDEN)
    monkeypatch.setattr(sys, "argv", ["danlu", "predict", "modl", "asked.csv"])
    with pytest.raises(SystemExit):
        main()
    assert capfd.readouterr().err.startswith("danlu: there is no run modl; the latest in .: model\n")


@pytest.mark.parametrize("name", ["CartPole-v1", "my.envs:Walk-v0", "data.source=x.csv", "pairs", "-", None])
def test_what_is_no_name_of_a_file_is_left_to_the_command(name, tmp_path, monkeypatch) -> None:
    from danlu.cli.options import is_there, may_be_there

    monkeypatch.chdir(tmp_path)
    Path("pairs.en").touch()
    Path("part-1.parquet").touch()
    assert may_be_there(name) == name
    assert [is_there(each) for each in ("-", "pairs", "part-*.parquet", None)] == ["-", "pairs", "part-*.parquet", None]


def test_new_data_is_not_answered_with_settings_of_a_training(tmp_path) -> None:
    model, said = danlu.load(GOLDEN / "model"), []
    with reading(said.append) as say:
        say("no header line: the columns are c1, c2, … (if that is wrong: data.header=yes, in Python header=True)")
    assert said == ["no header line: the columns are c1, c2, …"]
    lines = (GOLDEN / "asked.csv").read_text().split("\n")
    files = {
        "latin.csv": "\n".join([lines[0], *lines[1:]]).replace(",", ",é", 1),
        "short.csv": "\n".join(["city,size", *(f"{line},1" for line in lines[1:] if line)]),
        "none.csv": lines[0],
    }
    for name, text in files.items():
        (tmp_path / name).write_bytes(text.encode("latin-1"))
        try:
            model.predict(tmp_path / name, lenient=True, say=said.append)
        except danlu.errors.DanluError as error:
            said.append(str(error))
    assert any("not UTF-8" in each for each in said), said
    assert any("the header line has 2 names" in each for each in said), said
    assert any("has a header line and no rows" in each for each in said), said
    assert not [each for each in said if "data." in each or "in Python" in each]
