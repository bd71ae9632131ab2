"""Tables whose towers begin with saved models: what fits, how their columns are then read, and that a run stays with its models."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import jax
import numpy as np
import polars as pl
import pytest
from golden_rows import GOLDEN
from PIL import Image

import danlu
from danlu import load
from danlu.cli.train import _towers
from danlu.data.composite import Composite
from danlu.data.images import ImageEncoder
from danlu.data.schema import Schema
from danlu.data.text import TextEncoder
from danlu.engine.callbacks import JSONLogger
from danlu.errors import ConfigError, DanluError
from danlu.pipeline import resume
from danlu.pipeline.config import config_from
from danlu.pipeline.fingerprint import data_of, located
from danlu.pipeline.mixed import Mixed
from danlu.pipeline.pairs import PairedRows
from danlu.pipeline.towers import learnt_before, said_of, taken_over, trunks_of
from danlu.pipeline.used import check_used


def config(begin: dict[str, Any], **more: Any) -> Any:
    tower = {"begin": {column: str(GOLDEN / of / "model") for column, of in begin.items()}, **more.pop("tower", {})}
    return config_from({"data": {"source": "x.csv", "target": "y", **more.pop("data", {})}, "tower": tower, **more})


@pytest.fixture(scope="module")
def encoder() -> Composite:
    """Of colour pictures of another size than the golden model's, and of texts."""
    texts = TextEncoder.fit(["a red cat", "a blue dog"], column="about")
    schema = Schema.from_json(load(GOLDEN / "mixed" / "model").encoder.schema.to_json())
    return Composite(schema, None, (("picture", ImageEncoder(16, 16, 3)), ("about", texts)))


def test_columns_are_read_as_the_models_did_and_that_is_said(encoder: Composite) -> None:
    asked = config({"picture": "image", "about": "text"}, tower={"rate": 0})
    trunks = trunks_of(asked, encoder)
    found, said = taken_over(encoder, trunks, {"picture": "runs/pets", "about": "runs/reviews"})
    (_, pictures), (_, texts) = found.parts
    assert (pictures.in_shape, texts.column) == ((12, 12, 1), "about")
    assert texts.tokenizer.size == load(GOLDEN / "text" / "model").encoder.tokenizer.size
    assert (
        "tower of picture begins with pets: pictures are read as there, 12×12 in grey, so that colours are not seen"
        in said[0]
    )
    assert "texts are read by its 44 words" in said[1]
    assert "which stays as it is" in said_of(asked, trunks)
    assert taken_over(encoder, {}, {})[1] == []


def test_a_tower_of_another_model_of_several_modalities(encoder: Composite) -> None:
    [one] = trunks_of(config({"picture": "mixed"}), encoder).values()
    own = load(GOLDEN / "mixed" / "model")
    assert np.array_equal(
        one.params[0]["kernel"], own.params[0][2]["kernel"]
    )  # after the rescaling and the random moves
    assert (
        "cannot be told"
        in learnt_before({"picture": one}, {"picture": "a"}, {"parts": {"picture": np.zeros((1, 12, 12, 1))}})[0]
    )


def test_test_rows_that_the_model_learnt_from_are_said(encoder: Composite) -> None:
    [trunk] = trunks_of(config({"picture": "image"}), encoder).values()
    new = np.zeros((4, 12, 12, 1), np.uint8)
    inputs = {"parts": {"picture": new}, "present": np.ones((4, 1))}
    assert learnt_before({"picture": trunk}, {"picture": "a"}, inputs) == []
    assert trunk.seen is not None
    assert (len(trunk.seen), trunk.classes) == (48, 2)


@pytest.mark.parametrize(
    ("begin", "more", "message"),
    [
        ({"photo": "image"}, {}, "unknown column of texts, pictures or recordings in tower.begin 'photo'"),
        ({"picture": "text"}, {}, "learnt from texts, and the column 'picture' holds pictures"),
        ({"about": "image"}, {}, "learnt from pictures, and the column 'about' holds texts"),
        ({"picture": "table"}, {}, "its model has no layers for pictures alone"),
        ({"picture": "detection"}, {}, "without a body of convolutions"),
        ({"picture": "nothing"}, {}, "nothing"),
        (
            {"picture": "image"},
            {"data": {"image_size": 20}},
            "image_size is 20, and the tower of 'picture' begins with .* 12×12",
        ),
    ],
)
def test_what_does_not_fit_is_refused(begin: dict[str, str], more: Any, message: str, encoder: Composite) -> None:
    with pytest.raises(DanluError, match=message):
        trunks_of(config(begin, **more), encoder)


@pytest.mark.parametrize("domain", [Mixed(), PairedRows()])
def test_settings_of_towers_that_would_not_be_used_are_refused(domain: Any) -> None:
    asked = config({}, tower={"rate": 0.5}).with_setting("data.target", "")
    with pytest.raises(ConfigError, match="add --from COLUMN=RUN"):
        check_used(asked, domain, "x.csv", [domain])


def test_a_run_stays_with_the_models_that_its_towers_began_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(GOLDEN / "image" / "model", tmp_path / "pets" / "artifact")
    monkeypatch.chdir(tmp_path)
    asked = config_from({"data": {"source": "x.csv", "target": "y"}, "tower": {"begin": {"photo": "pets"}}})
    assert located(asked, Mixed()).tower.begin == {"photo": str(tmp_path / "pets")}
    before = data_of(asked, pl.DataFrame({"y": [1]}), Mixed())["data"]
    (tmp_path / "pets" / "artifact" / "README.md").write_text("edited")
    assert data_of(asked, pl.DataFrame({"y": [1]}), Mixed())["data"] == before
    shutil.copy(GOLDEN / "text" / "model" / "model.json", tmp_path / "pets" / "artifact")
    after = data_of(asked, pl.DataFrame({"y": [1]}), Mixed())["data"]
    assert [name for name in before if before[name] != after[name]] == ["tower.begin photo"]


def test_the_option_names_columns_and_runs() -> None:
    assert _towers("photo=runs/a, note=runs/b=c") == ['tower.begin={"photo": "runs/a", "note": "runs/b=c"}']
    with pytest.raises(ConfigError, match="expected a run, or COLUMN=RUN"):
        _towers("photo=")


@pytest.mark.slow
def test_a_stop_changes_nothing_and_it_is_said_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng, lines = np.random.default_rng(0), []
    for row in range(60):
        Image.fromarray(rng.integers(0, 256, (12, 12)).astype(np.uint8)).save(tmp_path / f"{row}.png")
        lines.append((f"{row}.png", float(row % 7), ("no", "yes")[row % 2]))
    pl.DataFrame(lines, schema=["photo", "n", "y"], orient="row").write_csv(tmp_path / "t.csv")

    def learnt(runs: Path, **more: Any) -> Any:
        return danlu.train(
            str(tmp_path / "t.csv"),
            target="y",
            tower={"begin": {"photo": str(GOLDEN / "image" / "model")}, "rate": 0.5, "compare": bool(more)},
            fusion={"features": 4, "compare": False},
            model={"members": 2, "width": 4},
            trainer={"epochs": 3, "batch_size": 16},
            evaluate={"report": bool(more), "baselines": bool(more)},
            runs=runs,
            name="one",
            display="none",
            say=lambda line: None,
        )

    whole = learnt(tmp_path / "whole", said=True)
    assert "the same network with fresh towers" in whole.judgement.others
    for file in (whole.run.report_path, whole.run.artifact_path / "README.md"):
        assert "photo with model, which learns at" in file.read_text(encoding="utf-8")
    end = JSONLogger.on_epoch_end

    def stopping(self: Any, epoch: int, logs: Any) -> None:
        end(self, epoch, logs)
        if epoch == 0:
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patched:
        patched.setattr(JSONLogger, "on_epoch_end", stopping)
        assert learnt(tmp_path / "stopped").stopped_by == signal.SIGINT
    again = resume(tmp_path / "stopped" / "one", display="none", say=lambda line: None)
    for a, b in zip(jax.tree.leaves(whole.model.params), jax.tree.leaves(again.model.params), strict=True):
        np.testing.assert_array_equal(a, b)
