"""Private training from a file to a model: what is refused, what is told, and that nothing of a single row is in what is given away."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest

import danlu
from danlu.artifact import RunDirectory
from danlu.data import Schema, check_frame, doubts, infer_schema
from danlu.errors import ArtifactError, ConfigError
from danlu.pipeline import anew, config_from, private_from
from danlu.pipeline.config import setting_names
from danlu.pipeline.once import prepare
from danlu.pipeline.private import REFUSED, Looks, guarded, kept_looks, privacy_section, unseen
from danlu.pipeline.tables import Tables
from danlu.privacy import Ledger, privacy_lines
from danlu.privacy.statistics import drawn_names, drawn_numbers
from danlu.tasks import PrivateTraining
from danlu.trained.card import card

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "train-in-private.md"
RNG = np.random.default_rng(0)
ROWS = 600
TABLE = pl.DataFrame(
    {
        "age": RNG.integers(18, 90, ROWS).astype(float),
        "job": [*np.where(RNG.random(ROWS - 1) < 0.5, "clerk", "smith").tolist(), "only Ada has this"],
        "y": np.where(RNG.random(ROWS) < 0.5, "no", "yes").tolist(),
    }
)
PRIVATE = {"noise": 1.0, "accountant": "rdp"}


def settings(**private: Any) -> Any:
    return config_from({"data": {"target": "y"}, "private": {**PRIVATE, **private}})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("imbalance.class_weight", "balanced"), ("imbalance.resample", "oversample"), ("model.ensemble", 3), ("evaluate.folds", 3),
        ("augment.mixup", 0.2), ("augment.cutmix", 1.0), ("trainer.minutes", 1.0), ("track.tensorboard", ("gradients",)),
        ("fairness.mitigate", "reweigh"), ("model.kind", "blend"), ("data.stream", True), ("split.folds", 5),
    ],
)  # fmt: skip
def test_what_private_rows_do_not_allow_is_refused_and_the_page_says_so(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=re.escape(name) + ".* is private"):
        guarded(settings().with_setting(name, value))
    guarded(config_from({}).with_setting(name, value))
    refused = [line for line in PAGE.read_text("utf-8").splitlines() if "| refused" in line]
    assert any(f"`{name}" in line for line in refused)


def test_the_page_names_settings_that_there_are() -> None:
    sections = {name.split(".")[0] for name in setting_names()}
    named = re.findall(r"`([a-z_]+\.[a-z_]+)(?:=[^`]*)?`", PAGE.read_text("utf-8"))
    unknown = [
        name for name in named if name.split(".")[0] in sections and name not in (*setting_names(), "model.json")
    ]
    assert not unknown
    assert {name for name, *_ in REFUSED} <= set(named)


def test_what_looks_at_the_rows_without_noise_is_turned_off() -> None:
    found = guarded(settings())
    assert not found.evaluate.baselines
    assert guarded(config_from({})) == config_from({})


def test_slips_in_the_settings() -> None:
    for given, said in (
        ({"epsilon": 3, "noise": 1.0}, "each follows from the other"),
        ({"epsilon": 1000}, "private.epsilon"),
    ):
        with pytest.raises(ConfigError, match=said):
            config_from({"private": given})
    with pytest.raises(ConfigError, match="expected less than 1/600"):
        PrivateTraining(epsilon=1.0, delta=0.1).budget(600)
    with pytest.raises(ConfigError, match="gives epsilon twice"):
        private_from("epsilon=3,epsilon=4")


def test_a_name_that_one_row_alone_has_is_not_told() -> None:
    names = ["clerk"] * 400 + ["smith"] * 300 + ["only Ada has this"] + [None] * 200
    for seed in range(30):
        told = drawn_names(names, 200, noise=10.0, failure=1e-6, rng=np.random.default_rng(seed))
        assert set(told) == {"clerk", "smith", None}


def test_numbers_are_made_up_as_they_are_spread() -> None:
    values = np.concatenate([RNG.normal(2005, 8, 4000), [1e9], np.full(500, np.nan)])  # one far away
    found = drawn_numbers(values, 2000, noise=5.0, rng=np.random.default_rng(1))
    kept = found[np.isfinite(found)]
    assert abs(kept.mean() - 2005) < 2
    assert abs(kept.std() - 8) < 2
    assert kept.max() < 2100, "one row does not set the range"
    assert 0.05 < np.isnan(found).mean() < 0.2
    ranged = drawn_numbers(values, 500, noise=5.0, rng=np.random.default_rng(1), ends=(1900.0, 2100.0))
    assert 1900 <= np.nanmin(ranged) < np.nanmax(ranged) <= 2100


def test_columns_are_looked_at_once_and_paid_for(tmp_path: Path) -> None:
    config, schema = settings(statistics=0.5), infer_schema(TABLE, target="y")
    with kept_looks(None) as keep:
        first = Looks.at(TABLE, schema, "y", ("no", "yes"), config.private)
        assert Looks.at(TABLE, schema, "y", ("no", "yes"), config.private) is first
        keep(tmp_path)
    assert sum(each.steps for each in first.ledger.mechanisms) == 4  # three at the age, one at the job
    assert first.ledger.epsilon(config.private.budget(ROWS).delta, by="rdp") <= 0.3
    with kept_looks(tmp_path):
        again = Looks.at(TABLE, schema, "y", ("no", "yes"), config.private)
    assert again.frame.equals(first.frame)
    assert again.ledger == first.ledger
    (tmp_path / "looks.parquet").unlink()
    with kept_looks(tmp_path):  # the run was killed before it learnt anything
        Looks.at(TABLE, schema, "y", ("no", "yes"), config.private)
    (tmp_path / "metrics.jsonl").write_text("{}")
    with kept_looks(tmp_path), pytest.raises(ArtifactError, match=r"looks\.parquet is not there"):
        Looks.at(TABLE, schema, "y", ("no", "yes"), config.private)
    file = tmp_path / "known.json"
    file.write_text(json.dumps({"age": [0, 120], "job": ["clerk", "smith"]}))
    public = Looks.at(TABLE, schema, "y", ("no", "yes"), settings(public=str(file)).private)
    assert [each.steps for each in public.ledger.mechanisms] == [1]
    file.write_text('{"agee": [0, 120]}')
    with pytest.raises(ConfigError, match="names the column 'agee'"):
        Looks.at(TABLE, schema, "y", ("no", "yes"), settings(public=str(file)).private)


def test_a_rough_range_is_no_reason_to_doubt_a_row(tmp_path: Path) -> None:
    """Of few rows the noise decides the range, and every new row would be one not to trust."""
    schema, known = infer_schema(TABLE, target="y"), tmp_path / "known.json"
    known.write_text('{"age": [0, 120]}')
    strange, said = TABLE.head(3).with_columns(pl.lit(1e9).alias("age")), {}
    for public in (None, str(known)):
        private = settings(public=public).private
        looks = Looks.at(TABLE, schema, "y", ("no", "yes"), private)
        found = looks.schema(schema, "y", private)
        _, notices = check_frame(strange, Schema.from_json(found.to_json()), lenient=True)
        told = [notice for notice in notices if "'age'" in notice]
        said[public is None] = (told[0], [each for one in doubts(strange, found) for each in one if "age" in each])
    assert "no reason to doubt those rows" in said[True][0]
    assert not said[True][1]
    assert "do not trust those rows" in said[False][0]
    assert len(said[False][1]) == 3


def test_a_rehearsal_looks_at_no_private_row() -> None:
    """Else the mean of many dry runs would be the statistics without noise, and nobody would have counted them."""
    config, spread = settings(), []
    for age in (TABLE["age"], TABLE["age"] + 1e6):
        table = TABLE.with_columns(age, pl.Series("job", ["baker"] * ROWS))
        schema = infer_schema(TABLE, target="y")
        with unseen():
            looks = Looks.at(table, schema, "y", ("no", "yes"), config.private)
        assert "looks at no private row" in looks.said
        assert set(looks.frame["job"].unique()) <= {"a", "b", None}
        spread.append(looks.frame["age"].max())
    assert max(spread) < 1e5
    first = Looks.at(TABLE, infer_schema(TABLE, target="y"), "y", ("no", "yes"), config.private)
    assert first.ledger == looks.ledger, "the plan counts what the training would spend"


def test_a_plan_has_the_noise_and_nothing_of_a_single_row() -> None:
    config = guarded(settings(noise=None, epsilon=4.0))
    _, prepared, plan = prepare(config, TABLE, say=lambda line: None)
    steps = round(prepared.rows["train"] / plan.private.expected) * plan.epochs
    spent = prepared.spent + plan.private.spent(steps)
    assert 3.9 < spent.epsilon(config.private.budget(prepared.rows["train"]).delta, by="rdp") <= 4.0
    assert plan.average == "ema", "the mean of many noisy steps"
    _, _, plain = prepare(config.with_setting("trainer.average", "none"), TABLE, say=lambda line: None)
    assert plain.average == "none"
    assert prepared.folds is None
    assert prepared.audit is None
    given_away = json.dumps([prepared.encoder.state()[0], prepared.background.to_dicts()], default=str)
    assert "Ada" not in given_away
    small, looks = PrivateTraining(epsilon=0.01, accountant="rdp"), Ledger().with_steps("counts", noise=1.0)
    with pytest.raises(ConfigError, match="whatever the noise"):
        small.recipe(plan, 500, looks, parameters=10, asked={})


@pytest.mark.parametrize("public", [False, True])
def test_a_quantity_of_texts_is_looked_at_with_noise(tmp_path: Path, public: bool) -> None:
    stars = RNG.normal(3, 1, ROWS)
    texts = pl.DataFrame({"said": [f"a text {place} of these" for place in range(ROWS)], "stars": stars})
    texts.write_csv(tmp_path / "t.csv")
    (tmp_path / "known.json").write_text('{"stars": [0, 5]}')
    known = {"public": str(tmp_path / "known.json")} if public else {}
    data = {"source": str(tmp_path / "t.csv"), "text": "said", "target": "stars"}
    config = guarded(config_from({"data": data, "private": {**PRIVATE, **known}}))
    _, prepared, _ = prepare(config, data["source"], say=lambda line: None)
    assert [each.steps for each in prepared.spent.mechanisms] == [1 if public else 3]
    exact = stars[prepared.learnt]
    assert 1e-5 < abs(prepared.target.mean - exact.mean()) < 1.5
    assert 1e-5 < abs(prepared.target.std - exact.std()) < 1.5


def test_how_well_columns_tell_the_group_is_not_told_of_private_rows() -> None:
    told: list[bool] = []

    class Judged:
        def judge(self, *of: Any, **how: Any) -> Any:
            return self

        def judged(self, own: Any, *of: Any, proxies: bool) -> Any:
            told.append(proxies)
            return own

    prepared: Any = SimpleNamespace(test=((), ()), shown=None, owners=None, sensitive=Judged())
    quiet = {"evaluate": {"slices": False, "importance": False}}
    for private in ({}, PRIVATE):
        Tables().test(config_from({**quiet, "private": private}), prepared, Judged())  # type: ignore[arg-type]
    assert told == [True, False]


def test_a_batch_is_said_once() -> None:
    config = settings(sampling=0.1).with_setting("trainer.batch_size", 32)
    with pytest.raises(ConfigError, match=r"private\.sampling says how many rows"):
        prepare(config, TABLE, say=lambda line: None)


FACTS = {
    "epsilon": 2.5, "delta": 1e-4, "accountant": "pld", "rows": 500, "course": [[1, 1.0], [2, 2.5]], "unfinished": True,
    "ledger": Ledger().with_steps("training", noise=1.0, sampling=0.1, steps=20).record(),
}  # fmt: skip


def test_what_was_spent_is_said() -> None:
    said = " ".join(privacy_lines(FACTS))
    for part in (
        "epsilon 2.5",
        "at most about 12.2 times as likely with any one of the 500 training rows as without it",
        "20 times",
        "training rows alone",
        "not covered",
        "keep it to yourself",
    ):
        assert part in said
    [(title, page)] = privacy_section(FACTS)
    assert title == "Privacy"
    assert "<td>2</td><td>2.500</td>" in page
    assert privacy_section({}) == [] == privacy_lines({})


def test_a_report_that_is_written_anew_looks_no_more_and_tells_of_privacy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "artifact").mkdir()
    (tmp_path / "results.json").write_text(json.dumps({"privacy": FACTS}))
    config, schema, told = settings(), infer_schema(TABLE, target="y"), []
    with kept_looks(None) as keep:
        first = Looks.at(TABLE, schema, "y", ("no", "yes"), config.private)
        keep(tmp_path)

    def prepared(*of: Any, **how: Any) -> Any:
        assert Looks.at(TABLE, schema, "y", ("no", "yes"), config.private).frame.equals(first.frame)
        return None, None, None

    for name, value in {
        "settings_of": lambda run: config, "check_unchanged": lambda *of: None, "prepare": prepared,
        "load_model": lambda *of, **how: None, "judged": lambda *of: None,
        "report_of": lambda *of, sections=(): told.extend(sections),
    }.items():  # fmt: skip
        monkeypatch.setattr(anew, name, value)
    anew.write_anew(RunDirectory(tmp_path), source=TABLE)
    assert [title for title, _ in told] == ["Privacy"]


@pytest.mark.slow
def test_a_table_from_the_file_to_what_is_given_away(tmp_path: Path) -> None:
    result = danlu.train(
        TABLE, target="y", runs=tmp_path, name="a", display="none", say=lambda line: None,
        private={"epsilon": 4.0, "accountant": "rdp"}, trainer={"epochs": 2}, evaluate={"slices": False, "importance": False},
    )  # fmt: skip
    known = danlu.load(result.run.artifact_path).provenance["privacy"]
    assert known["epsilon"] <= 4.0
    assert (
        known["ledger"]["mechanisms"][-1]["steps"] == round(known["rows"] / result.fitted.program.gradient.expected) * 2
    )
    text = (result.run.artifact_path / "model.json").read_text()
    assert "Ada" not in text
    assert "data" not in result.model.provenance, "a digest of the rows tells of each"
    assert not (result.run.path / "checkpoints" / "secret").exists()
    assert "epsilon spent" in result.run.report_path.read_text()
    assert "## Privacy" in str(card(result.model))
    assert json.loads(result.run.results_path.read_text())["privacy"] == known
    again = danlu.pipeline.resume(result.run.path, source=TABLE, display="none", say=lambda line: None)
    assert again.model.provenance["privacy"]["ledger"] == known["ledger"], "a run that has ended spends nothing more"


@pytest.mark.slow
def test_images_and_texts_learn_in_private(tmp_path: Path) -> None:
    pixels = np.clip(RNG.normal(60, 20, (300, 16, 16)), 0, 255).astype(np.uint8)
    labels = np.arange(300) % 2
    pixels[labels == 1, 4:12, 4:12] += 100
    np.savez(tmp_path / "a.npz", x=pixels, y=labels)
    texts = pl.DataFrame({"text": ["good fine food", "bad dull food"] * 150, "label": ["up", "down"] * 150})
    how: dict[str, Any] = {"runs": tmp_path, "display": "none", "say": lambda line: None, "private": PRIVATE}
    images = danlu.train(tmp_path / "a.npz", **how, trainer={"epochs": 15}, split={"equal_rows": "anywhere"})
    words = danlu.train(
        texts, target="label", **how, data={"text": "text"}, trainer={"epochs": 15}, split={"equal_rows": "anywhere"}
    )
    for result in (images, words):
        assert result.scores["accuracy"] > 0.9
        assert result.model.provenance["privacy"]["epsilon"] > 0
        assert not result.model.profile
