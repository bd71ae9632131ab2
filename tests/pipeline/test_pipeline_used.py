"""Settings that the data at hand does not use are refused; what each kind of data declares to use is what it reads."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import re
import sys
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image

import danlu
from danlu.errors import ConfigError, DataError
from danlu.pipeline.config import SECTIONS, SplitConfig, TrainConfig, config_from, setting_names
from danlu.pipeline.domain import Domain
from danlu.pipeline.domains import DOMAINS, domain_of
from danlu.pipeline.judge import judge
from danlu.pipeline.used import RECIPE, check_used, matches, uses

WORDS = "the cat saw a dog and then a bird sang in a tree near an old house".split()  # noqa: SIM905


def picture(path: Path, value: int, size: int = 16) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(value).integers(0, 256, (size, size), np.uint8)
    Image.fromarray(pixels).save(path)
    return path.name


def table(folder: Path) -> dict[str, Any]:
    pl.DataFrame({"a": range(40), "b": [i % 7 for i in range(40)], "y": ["no", "yes"] * 20}).write_csv(folder / "t.csv")
    return {"data": {"source": str(folder / "t.csv"), "target": "y"}}


def made(folder: Path) -> dict[str, Any]:
    return {**table(folder), "synthesize": {"model": "autoregressive"}}


def divided(folder: Path) -> dict[str, Any]:
    pl.DataFrame({"a": range(120), "b": [i % 7 for i in range(120)], "y": ["no", "yes"] * 60}).write_csv(
        folder / "t.csv"
    )
    return {"data": {"source": str(folder / "t.csv"), "target": "y"}, "segments": {"k": 0}}


def images(folder: Path) -> dict[str, Any]:
    for i in range(24):
        picture(folder / "photos" / ("cat", "dog")[i % 2] / f"{i}.png", i)
    return {"data": {"source": str(folder / "photos")}}


def paintings(folder: Path) -> dict[str, Any]:
    return {**images(folder), "generate": {"model": "auto"}}


def tagged(folder: Path) -> dict[str, Any]:
    rows = [(picture(folder / f"{i}.png", i), ("a", "a|b", "b")[i % 3]) for i in range(24)]
    pl.DataFrame(rows, schema=["file", "tags"], orient="row").write_csv(folder / "tags.csv")
    return {"data": {"source": str(folder / "tags.csv"), "target": "tags", "image_column": "file"}}


def masks(folder: Path) -> dict[str, Any]:
    for i in range(12):
        picture(folder / "pairs" / "images" / f"{i}.png", i, 32)
        (folder / "pairs" / "masks").mkdir(exist_ok=True)
        mask = np.zeros((32, 32), np.uint8)
        mask[i : i + 8, 4:12] = 1
        Image.fromarray(mask).save(folder / "pairs" / "masks" / f"{i}.png")
    return {"data": {"source": str(folder / "pairs")}}


def boxes(folder: Path) -> dict[str, Any]:
    lines = ["file,label,x0,y0,x1,y1"]
    lines += [f"{picture(folder / f'{i}.png', i, 32)},{'ab'[i % 2]},2,2,{12 + i % 6},14" for i in range(12)]
    (folder / "boxes.csv").write_text("\n".join(lines) + "\n")
    return {"data": {"source": str(folder / "boxes.csv")}}


def fewshot(folder: Path) -> dict[str, Any]:
    for i in range(36):
        picture(folder / "signs" / f"sign{i % 12}" / f"{i}.png", i)
    return {"data": {"source": str(folder / "signs")}, "shots": {"k": 1}}


def texts(folder: Path) -> dict[str, Any]:
    rows = [(" ".join(np.random.default_rng(i).choice(WORDS, 6)), ("good", "bad")[i % 2]) for i in range(40)]
    pl.DataFrame(rows, schema=["review", "y"], orient="row").write_csv(folder / "texts.csv")
    return {"data": {"source": str(folder / "texts.csv"), "target": "y", "text": "review"}}


def language(folder: Path) -> dict[str, Any]:
    (folder / "story.txt").write_text(" ".join(np.random.default_rng(0).choice(WORDS, 3000)))
    return {"data": {"source": str(folder / "story.txt")}}


def translation(folder: Path) -> dict[str, Any]:
    rows = [(" ".join(np.random.default_rng(i).choice(WORDS, 5)), f"{i} " * 3) for i in range(60)]
    pl.DataFrame(rows, schema=["en", "de"], orient="row").write_csv(folder / "pairs.csv")
    return {"data": {"source": str(folder / "pairs.csv")}, "translation": {"source": "en", "target": "de"}}


def mixed(folder: Path) -> dict[str, Any]:
    rows = [
        (picture(folder / f"{i}.png", i), " ".join(np.random.default_rng(i).choice(WORDS, 6)), i % 7, "ab"[i % 2])
        for i in range(40)
    ]
    pl.DataFrame(rows, schema=["photo", "about", "n", "y"], orient="row").write_csv(folder / "cards.csv")
    return {"data": {"source": str(folder / "cards.csv"), "target": "y"}}


def captions(folder: Path) -> dict[str, Any]:
    given = mixed(folder)
    return {"data": {"source": given["data"]["source"]}, "pair": {"columns": "photo:about"}}


def sequences(folder: Path) -> dict[str, Any]:
    rows = [(f"s{i}", t, float(np.sin(t + i)), ("up", "down")[i % 2]) for i in range(24) for t in range(8)]
    pl.DataFrame(rows, schema=["who", "t", "v", "y"], orient="row").write_csv(folder / "walks.csv")
    return {"data": {"source": str(folder / "walks.csv"), "target": "y", "series": "who"}}


def series(folder: Path) -> dict[str, Any]:
    days = pl.date_range(pl.date(2020, 1, 1), pl.date(2021, 6, 1), "1d", eager=True)
    pl.DataFrame({"day": days, "sales": np.sin(np.arange(len(days)) / 3)}).write_csv(folder / "sales.csv")
    return {"data": {"source": str(folder / "sales.csv")}, "forecast": {"columns": ["sales"], "horizon": 3}}


def sounds(folder: Path) -> dict[str, Any]:
    from scipy.io import wavfile

    rng = np.random.default_rng(0)
    for label in ("high", "low"):
        (folder / label).mkdir()
        for number in range(20):
            wavfile.write(folder / label / f"{number}.wav", 8000, rng.normal(0, 0.1, 800).astype(np.float32))
    return {"data": {"source": str(folder)}}


def pairs(folder: Path) -> dict[str, Any]:
    rows = [(u, i, 1 + (u * i) % 5, u + i) for u in range(12) for i in range(9)]
    pl.DataFrame(rows, schema=["who", "what", "stars", "when"], orient="row").write_csv(folder / "stars.csv")
    return {"data": {"source": str(folder / "stars.csv")}, "recommend": {"columns": "who:what:stars:when"}}


def log(folder: Path) -> dict[str, Any]:
    rows = [(i % 7, ("a", "b")[i % 2], (i * 3) % 5, 0.5) for i in range(90)]
    pl.DataFrame(rows, schema=["x", "shown", "paid", "chance"], orient="row").write_csv(folder / "log.csv")
    return {"data": {"source": str(folder / "log.csv")}, "bandit": {"columns": "shown:paid:chance"}}


def campaign(folder: Path) -> dict[str, Any]:
    rows = [(i % 7, ("mail", "none")[i // 2 % 2], ("yes", "no")[i * 3 % 5 > 1]) for i in range(120)]
    pl.DataFrame(rows, schema=["x", "got", "bought"], orient="row").write_csv(folder / "campaign.csv")
    return {"data": {"source": str(folder / "campaign.csv")}, "uplift": {"columns": "got:bought"}}


def agents(folder: Path) -> dict[str, Any]:
    return {"data": {"source": "CartPole-v1"}}


SOURCES: dict[str, Callable[[Path], dict[str, Any]]] = {
    "table": table,
    "rows": made,
    "segments": divided,
    "image": images,
    "painting": paintings,
    "multilabel": tagged,
    "segmentation": masks,
    "detection": boxes,
    "text": texts,
    "language": language,
    "translation": translation,
    "sequence": sequences,
    "sound": sounds,
    "mixed": mixed,
    "pairs": captions,
    "series": series,
    "recommend": pairs,
    "bandit": log,
    "uplift": campaign,
    "agent": agents,
    "fewshot": fewshot,
}
KINDS = {domain.kind: domain for domain in DOMAINS}


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The settings that are read while it is in use, those of blueprints' own machinery aside."""
    found: set[str] = set()
    own = {"__eq__", "__hash__", "__repr__", "__post_init__", "replace", "asdict", "_asdict_inner", "chosen"}
    for section, cls in SECTIONS.items():
        names = {field.name for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
        plain = cls.__getattribute__

        def recorded(self: Any, name: str, section: str = section, names: Any = names, plain: Any = plain) -> Any:
            if name == "chosen":
                found.update(each for each in setting_names() if matches(each, [RECIPE]))
            if name in names:
                frame = sys._getframe(1)
                callers = {frame.f_code.co_name, frame.f_back.f_code.co_name if frame.f_back else ""}
                if not callers & own:
                    found.add(f"{section}.{name}")
            return plain(self, name)

        monkeypatch.setattr(cls, "__getattribute__", recorded)
    return found


def test_every_kind_of_data_is_looked_at() -> None:
    assert set(SOURCES) == set(KINDS)


@pytest.mark.parametrize("kind", SOURCES)
def test_what_is_declared_is_what_is_read(kind: str, tmp_path: Path, reads: set[str]) -> None:
    config = config_from(SOURCES[kind](tmp_path))
    domain = KINDS[kind]
    assert domain_of(config, config.data.source) is domain
    reads.clear()
    prepared = domain.prepare(config, config.data.source)
    domain.plan(config, prepared)
    declared = {name for name in setting_names() if uses(domain, name)}
    to_refuse = {"split.method", "split.column", "augment.random", "augment.mixup", "augment.cutmix"}
    to_refuse |= {"private.epsilon", "private.noise"}  # what makes a training private
    if not uses(domain, "evaluate.folds"):  # what divides all kinds of data looks at them
        to_refuse |= {"evaluate.folds", "evaluate.fold"}
    if kind == "sound":  # an Augment of its own, in which these are at rest
        to_refuse |= {f"augment.{name}" for name in ("color", "flip", "rotation", "scale", "shear")}
    assert reads - declared <= to_refuse, "read, and not declared"
    domain.claims(config, config.data.source)
    later = inspect.getsource(judge) + "".join(
        inspect.getsource(getattr(cls, name))
        for cls in type(domain).__mro__
        for name in ("learn", "measures", "test", "simple", "importance")
        if name in vars(cls)
    )
    unread = {
        name
        for name in declared - reads - {"data.source", "evaluate.report", "evaluate.repeats"}
        if not name.startswith(("track.", "private."))  # of the run itself; of a training that is private
        and not re.search(
            rf"config\.{name.split('.')[0]}\b(\.{name.split('.')[1]}\b|(?!\.))|evaluate\.{name.split('.')[1]}", later
        )
    }
    unread -= {each.setting for each in domain.beside if not each.counts(config)}  # refused here
    assert not unread, "declared, and never read"


@functools.cache
def other_than_usual(name: str) -> TrainConfig:
    """Settings of which this one alone is not at its default."""
    section, setting = name.split(".")
    cls = SECTIONS[section]
    field = next(each for each in dataclasses.fields(cls) if each.name == setting)  # type: ignore[arg-type]
    usual = getattr(getattr(TrainConfig(), section), setting)
    rules, annotation = field.metadata.get("rules"), typing.get_type_hints(cls)[setting]
    if rules is not None and rules["choices"] is not None:
        return config_from({section: {setting: next(each for each in rules["choices"] if each != usual)}})
    for value in (True, False, "x", ";", ("x",), ("images",), {"x": "categorical"}, {"x": 1}, 0.25, 5, 50, 0.5):
        try:
            changed = config_from({section: {setting: value}})
        except ConfigError:
            continue
        if getattr(getattr(changed, section), setting) != usual:
            return changed
    raise AssertionError(f"no other value of {name}: {annotation}")


@pytest.mark.parametrize("domain", DOMAINS, ids=lambda domain: domain.kind)
def test_what_is_not_used_is_refused_by_its_name(domain: Domain) -> None:
    for name in setting_names():
        config = other_than_usual(name)
        if not uses(domain, name):
            with pytest.raises(ConfigError, match=rf"^{name}( \(--\w+\))? is not used for {re.escape(domain.noun)}"):
                check_used(config, domain, "x.csv", DOMAINS)
        else:
            try:
                check_used(config, domain, "x.csv", DOMAINS)
            except ConfigError as error:
                said = error.message
            else:
                said = "would not be used"
            assert "would not be used" in said
    check_used(TrainConfig(), domain, "x.csv", DOMAINS)


FRAME = {"a": [1.0, 2.0, 3.0, 4.0] * 10, "b": [float(i % 7) for i in range(40)], "y": ["no", "yes"] * 20}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"forecast": {"horizon": 12}},
            r"forecast.horizon \(--horizon\) is not used for tables; it is for forecasts\nHint: add",
        ),
        ({"agent": {"algorithm": "ppo"}}, "agent.algorithm is not used for tables; it is for environments"),
        ({"data": {"time": "nope"}}, r"data.time \(--time\) is not used for tables"),
        ({"data": {"drop": ["y"]}}, "data.drop leaves out 'y', which data.target names"),
        ({"data": {"drop": ["bb"]}}, "data.drop names the column 'bb'.*Hint: did you mean 'b'"),
        ({"data": {"kinds": {"bb": "numeric"}}}, "column.*'bb'"),
        ({"data": {"delimiter": ";"}}, "data.delimiter is for text files, such as CSV; a dict is none"),
        ({"translation": {"beams": 2}}, "translation.beams is not used for tables"),
        ({"augment": {"flip": True}}, "augment.flip is not used for tables; it is for .*images"),
        ({"split": {"column": "a"}}, "split.column is 'a', but would not be used: rows are drawn at random"),
        ({"split": {"folds": 3, "validation": 0.3}}, "split.validation is 0.3, but would not be used"),
        ({"split": {"test": 0.3}, "data": {"test": "t.csv"}}, "split.test is 0.3, but would not be used"),
        ({"evaluate": {"baselines": False, "baseline_seconds": 3}}, "baseline_seconds is 3, but would not be used"),
        (
            {"imbalance": {"threshold": "f1"}, "data": {"target": "b", "task": "regression"}},
            "imbalance.threshold is for class",
        ),
    ],
)
def test_a_table_refuses_what_it_does_not_use(settings: dict[str, Any], said: str, tmp_path: Path) -> None:
    data = {"target": "y", **settings.get("data", {})}
    with pytest.raises(ConfigError, match=f"(?s){said}"):
        danlu.train(FRAME, runs=tmp_path, display="none", say=lambda line: None, **{**settings, "data": data})
    assert not list(tmp_path.iterdir()), "refused before a run is begun"


def test_validation_rows_that_are_asked_for_are_there() -> None:
    tables = KINDS["table"]
    config = TrainConfig().replace(data=TrainConfig().data.replace(source="table", target="y"))
    frame = {"a": list(range(200)), "y": ["no", "yes"] * 100}
    assert tables.prepare(config, frame).folds is not None
    asked = tables.prepare(config.replace(split=SplitConfig(validation=0.3)), frame)
    assert asked.folds is None
    assert asked.rows["validation"] == 60


@pytest.mark.parametrize("kind", ["table", "text", "sequence", "series"])
def test_a_file_of_test_rows_is_read_as_the_first_file_is(kind: str, tmp_path: Path) -> None:
    given = SOURCES[kind](tmp_path)
    source = Path(given["data"]["source"])
    rows = source.read_text().replace(",", "^")
    source.write_text(rows)
    (tmp_path / "test.csv").write_text(rows)
    data = {**given["data"], "delimiter": "^", "test": str(tmp_path / "test.csv")}
    config = config_from({**given, "data": data})
    prepared = KINDS[kind].prepare(config, str(source))
    assert prepared.rows["test"] > 0


def test_streaming_is_for_parquet_and_plain_text_files() -> None:
    config = config_from({"data": {"source": "x", "target": "y", "stream": True}})
    for whole in ("x.csv.gz", "x.arrow", "x.xlsx"):
        with pytest.raises(
            ConfigError, match=rf"data.stream would not be used for {whole}: it is for Parquet(.|\n)*unpack"
        ):
            check_used(config, KINDS["table"], whole, DOMAINS)
    for stored in ("x.parquet", "x.PQ", "x.csv", "x.tsv"):
        check_used(config, KINDS["table"], stored, DOMAINS)


def test_a_forecast_without_times_says_what_was_read_as_texts(tmp_path: Path) -> None:
    lines = [f"Sun Mar {1 + i % 28:02d} {i % 24:02d}:00:00 2020,{i}" for i in range(60)]
    (tmp_path / "t.csv").write_text("t,v\n" + "\n".join(lines))
    config = config_from({"data": {"source": str(tmp_path / "t.csv")}, "forecast": {"columns": ["v"]}})
    with pytest.raises(DataError, match=r"one time column(.|\n)*look like dates and are read as texts"):
        KINDS["series"].prepare(config, config.data.source)


def test_of_a_source_that_is_not_there_that_is_said_and_not_what_tables_do_not_use(tmp_path: Path) -> None:
    from danlu.pipeline.once import prepare

    config = config_from({"generate": {"model": "vae"}})
    with pytest.raises(DataError, match="there is no file or folder"):
        prepare(config, str(tmp_path / "photoz"), say=print)
    with pytest.raises(ConfigError, match=r"generate\.model is not used for tables"):
        prepare(config, str(tmp_path), say=print)
