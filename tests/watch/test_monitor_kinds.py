"""Every kind of model is compared with the rows of a file, with true answers where the file has them."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

import danlu
from danlu.errors import ConfigError
from danlu.watch.monitor import Monitored, monitor

GOLDEN = Path(__file__).parents[1] / "trained" / "golden" / "version-3"


def compared(kind: str, source: Path) -> Monitored:
    model = danlu.load(GOLDEN / kind / "model")
    return monitor(model, str(source), reference=str(source), say=lambda line: None)


@pytest.mark.parametrize("kind", ["segments", "rows", "recommend", "translation"])
def test_rows_are_counted_whatever_the_encoder_is(kind: str) -> None:
    asked = next((GOLDEN / kind).glob("asked.*"))
    found = compared(kind, asked)
    assert found.rows > 0
    assert all(each.psi == 0 for each in found.drift)


def test_what_is_no_rows_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected a model that answers row by row"):
        compared("language", GOLDEN / "language" / "asked.txt")


def test_a_log_of_decisions_is_scored(tmp_path: Path) -> None:
    rng, rows = np.random.default_rng(0), 60
    actions = danlu.load(GOLDEN / "bandit" / "model").head.actions
    log = {
        "age": rng.uniform(18, 80, rows), "city": rng.choice(["Oslo", "Bern"], rows), "banner": rng.choice(list(actions), rows),
        "clicked": rng.integers(0, 2, rows), "chance": np.full(rows, 1 / len(actions)),
    }  # fmt: skip
    pl.DataFrame(log).write_csv(tmp_path / "log.csv")
    found = compared("bandit", tmp_path / "log.csv")
    assert (found.measure, found.known) == ("dr_value", rows)
    assert found.score is not None
    assert found.score.low < found.score.high


def test_the_segments_of_new_rows_are_scored_as_an_evaluation_scores_them(tmp_path: Path) -> None:
    rows = pl.concat([pl.read_csv(GOLDEN / "segments" / "asked.csv")] * 10)
    rows.write_csv(tmp_path / "rows.csv")
    found = compared("segments", tmp_path / "rows.csv")
    judged = danlu.load(GOLDEN / "segments" / "model").evaluate(tmp_path / "rows.csv", say=lambda line: None)
    assert found.score is not None
    assert found.score.value == pytest.approx(judged.scores[found.measure].value)
