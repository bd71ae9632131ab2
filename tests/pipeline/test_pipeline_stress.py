"""Stress: changes of inputs cost what they should, attacks stay in their radius, and adversarial training is what is asked for."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import danlu
from danlu.cli import main
from danlu.errors import ConfigError
from danlu.evaluate import Rows
from danlu.evaluate.stress import stressed
from danlu.pipeline import config_from
from danlu.pipeline.stress import _attack, _tables, _worst, stress
from danlu.pipeline.tables import Tables

GOLDEN = Path(__file__).parents[1] / "trained" / "golden" / "version-3"


def quiet(line: str) -> None:
    pass


def table(rows: int = 60) -> pl.DataFrame:
    sys.path.insert(0, str(GOLDEN.parents[1]))
    try:
        import kinds
    finally:
        sys.path.pop(0)
    import tempfile

    return pl.read_csv(kinds._table(Path(tempfile.mkdtemp()), classes=True)).head(rows)


def test_a_table_under_changes(tmp_path, monkeypatch, capfd):
    frame = table()
    model = danlu.load(GOLDEN / "table" / "model")
    found = stress(model, frame, say=quiet)
    kinds = [each.kind for each in found.rows]
    assert kinds[:6] == ["noise"] * 3 + ["missing"] * 3
    assert "shifted" in kinds
    assert found.clean.value == pytest.approx(model.evaluate(frame, say=quiet).scores["accuracy"].value)
    assert found.as_dict() == stress(model, frame, say=quiet).as_dict(), "the same seed draws the same"
    assert max(map(len, str(found).split("\n"))) <= 80
    frame.write_csv(tmp_path / "t.csv")
    given = ["stress", GOLDEN / "table" / "model", tmp_path / "t.csv", "-o", tmp_path / "s.json"]
    monkeypatch.setattr(sys, "argv", ["danlu", *map(str, given)])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 0
    assert "as they are" in capfd.readouterr().out
    assert json.loads((tmp_path / "s.json").read_text())["tested"] == found.tested


def test_the_changes_of_a_table_are_as_large_as_they_say():
    model = danlu.load(GOLDEN / "table" / "model")
    schema = model.encoder.schema
    frame = model.read(table(), say=quiet).rows
    number = schema.of_kind("numeric")[0].name
    made = {said: own for _, said, own in _tables(model, frame, np.random.default_rng(0))}
    spread = frame[number].std()
    noisy = (made["noise of 0.3 standard deviations"][number] - frame[number]).std()
    assert noisy == pytest.approx(0.3 * spread, rel=0.3)
    lost = made["30 % of the values missing"][number].is_null().mean()
    assert lost == pytest.approx(0.3, abs=0.2)
    shifts = [own for said, own in made.items() if said.startswith(f"{number} shifted by")]
    assert (shifts[0][number] - frame[number]).mean() == pytest.approx(spread)
    assert shifts[0].drop(number).equals(frame.drop(number))


def test_the_worst_pictures_are_worse_and_stay_in_their_radius():
    model = danlu.load(GOLDEN / "image" / "model")
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (5, *model.encoder.in_shape)).astype(np.float32)
    truth = np.zeros(5, np.int64)
    attacked = _attack(model, 3)
    worst = _worst(attacked, pixels, truth, 8.0)
    assert np.abs(worst - pixels).max() <= 8.001
    assert worst.min() >= 0
    assert worst.max() <= 255
    before, after = (model.answer(each)[:, 0] for each in (pixels, worst))
    assert (after < before).all()


def test_worse_is_of_the_measure_and_has_a_sign():
    truth = np.tile([0, 1], 50)
    right = np.stack([1 - truth, truth], axis=1).astype(float)
    wrong = right.copy()
    wrong[:40] = wrong[:40, ::-1]
    row = stressed(Rows("binary", truth, right), [("x", "flipped", Rows("binary", truth, wrong))]).rows[0]
    assert row.worse.value == pytest.approx(0.4)
    assert row.worse.low < 0.4 < row.worse.high
    assert row.told


def test_what_has_no_such_inputs_is_refused():
    with pytest.raises(ConfigError, match="stress is for models of tables and of pictures"):
        stress(danlu.load(GOLDEN / "text" / "model"), "x.csv")
    for settings in ({"model": {"kind": "blend"}}, {"trainer": {"minutes": 1}}):
        trainer = {"adversarial": 0.1, **settings.get("trainer", {})}
        config = config_from({**settings, "trainer": trainer, "data": {"source": "table", "target": "y"}})
        prepared = Tables().prepare(config, {"a": list(range(60)), "y": ["no", "yes"] * 30})
        with pytest.raises(ConfigError, match=r"trainer\.adversarial changes what a network is trained on"):
            Tables().plan(config, prepared)


def test_adversarial_training_is_on_worse_inputs(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=200)
    frame = pl.DataFrame({"x": x, "y": np.where(x + rng.normal(0, 0.3, 200) > 0, "yes", "no")})
    result = danlu.train(
        frame,
        target="y",
        runs=tmp_path,
        display="none",
        say=quiet,
        model={"members": 2, "width": 8},
        trainer={"epochs": 2, "adversarial": 0.3},
        split={"folds": 1},
        evaluate={"baselines": False, "report": False, "importance": False, "slices": False},
    )
    assert type(result.fitted.program.objective).__name__ == "Adversarial"
    assert result.fitted.program.objective.radius == 0.3
    assert type(result.model.network).__name__ == "TabularNet", "the network alone"
    assert "val_log_loss" in result.fitted.history[0]
