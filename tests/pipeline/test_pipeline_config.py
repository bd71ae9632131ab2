"""Settings: of every type that someone may write, each is of its declared type or refused with one message."""

from __future__ import annotations

import dataclasses
import datetime
import json
import typing
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from beartype import BeartypeConf
from beartype.door import is_bearable
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import danlu
from danlu import nn
from danlu.artifact.files import json_text
from danlu.cli.app import app
from danlu.errors import ConfigError
from danlu.pipeline import load_config
from danlu.pipeline.config import SECTIONS, TrainConfig, config_from, override, saved_config, setting_names

TOWER = BeartypeConf(is_pep484_tower=True)  # a whole number is a number
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=6)
    | st.sampled_from(["yes", "none", "auto", "1"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


def nested(name: str, value: Any) -> dict[str, Any]:
    section, setting = name.split(".")
    return {section: {setting: value}}


def as_declared(config: TrainConfig) -> bool:
    """Whether every setting is of its annotated type, by another library's judgement, and a file can hold them all."""
    for section in SECTIONS:
        held = getattr(config, section)
        for name, annotation in typing.get_type_hints(type(held)).items():
            if not name.startswith("_") and not is_bearable(getattr(held, name), annotation, conf=TOWER):
                return False
    return config_from(json.loads(json_text(config.as_dict()))) == config


@given(name=st.sampled_from(setting_names()), value=JSON)
@settings(max_examples=600, deadline=None)
def test_a_setting_is_of_its_type_or_refused(name: str, value: Any) -> None:
    try:
        config = config_from(nested(name, value))
    except ConfigError as error:
        said = error.message
    else:
        said = name if as_declared(config) else ""
    assert name.split(".")[0] in said


@given(name=st.sampled_from(setting_names()), text=st.text(max_size=8) | JSON.map(lambda value: json.dumps(value)))
@settings(max_examples=600, deadline=None)
def test_so_is_a_text_on_the_command_line(name: str, text: str) -> None:
    try:
        config = config_from(override({}, [f"{name}={text}"]))
    except ConfigError as error:
        said = error.message
    else:
        said = name if as_declared(config) else ""
    assert name.split(".")[0] in said


@pytest.mark.parametrize("name", setting_names())
def test_every_default_can_be_given(name: str) -> None:
    section, setting = name.split(".")
    default = TrainConfig().as_dict()[section][setting]
    assert config_from(nested(name, default)) == TrainConfig()


BOOLEAN = [
    f"{section}.{each.name}"
    for section, cls in SECTIONS.items()
    for each in dataclasses.fields(cls)  # type: ignore[arg-type]
    if "bool" in str(each.type)
]


@pytest.mark.parametrize("name", BOOLEAN)
def test_a_switch_is_never_a_text(name: str) -> None:
    section, setting = name.split(".")
    for word, meant in (
        ("no", False),
        ("False", False),
        ("OFF", False),
        ("0", False),
        ("yes", True),
        ("true", True),
        ("On", True),
    ):
        values = [override({}, [f"{name}={word}"])] + [nested(name, word)] * (word != "0")
        assert [getattr(getattr(config_from(each), section), setting) for each in values] == [meant] * len(values)
    for wrong in ("maybe", "2", "[]", "nein"):
        with pytest.raises(ConfigError, match=f"{name} is .*expected true or false"):
            config_from(override({}, [f"{name}={wrong}"]))


NEST: list[Any] = []
for _ in range(5000):
    NEST = [NEST]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("data.drop", -1, "data.drop is -1; expected a list of texts"),
        ("data.kinds", [1], r"data.kinds is \[1\]; expected a table of names and values"),
        ("data.delimiter", 0, "data.delimiter is 0; expected one character that is no letter"),
        ("data.delimiter", "ab", "data.delimiter is 'ab'; expected one character"),
        ("data.drop", datetime.date(2020, 1, 1), "data.drop is the date 2020-01-01"),
        ("data.target", None, "data.target is None; expected a text"),
        ("data.text", "", "data.text is ''; expected a text with at least one character"),
        ("data.drop", ["a", ""], "at least one character"),
        ("data.test", "a\0", "NUL"),
        ("trainer.seed", 10**20, "trainer.seed is 1.*0; expected a whole number >= 0 and <= 2,147,483,647"),
        (
            "trainer.batch_size",
            10**11,
            "trainer.batch_size is 100000000000; expected a whole number >= 1 and <= 1,048,576",
        ),
        ("trainer.patience", 10**16, "expected a whole number >= 1 and <= 1,000,000,000"),
        ("trainer.seed", 1.5, "trainer.seed is 1.5; expected a whole number"),
        ("trainer.epochs", True, "trainer.epochs is True; expected a whole number"),
        ("trainer.epochs", "20", "'20'; expected a whole number >= 1 or None\nHint: write 20, without quotes"),
        ("trainer.learning_rate", float("nan"), "trainer.learning_rate is nan; expected a finite number"),
        ("trainer.weight_decay", 10**400, "trainer.weight_decay is 1000.*expected a number >= 0"),
        ("agent.settings", {"x": float("inf")}, "agent.settings.x is inf"),
        ("agent.settings", {"x": NEST}, "agent.settings.x is nested|agent.settings is nested|the config is nested"),
        ("data.kinds", NEST, "nested more than"),
    ],
)
def test_what_is_of_another_type_is_one_message(name: str, value: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        config_from(nested(name, value))


@pytest.mark.parametrize("value", [[], 5, None, "x"])
def test_a_section_is_a_table(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"forecast is .*; expected a table of settings"):
        config_from({"forecast": value})
    with pytest.raises(ConfigError, match="expected a table of settings"):
        override({"data": value}, [])


def test_what_others_call_plain_is_plain() -> None:
    config = config_from({"trainer": {"epochs": np.int64(3)}, "data": {"drop": "id", "test": Path("a") / "b"}})
    assert (config.trainer.epochs, config.data.drop, config.data.test) == (3, ("id",), str(Path("a") / "b"))
    assert type(config.trainer.epochs) is int
    for column in (np.array(["id"]), pd.Series(["id"]), pl.Series(["id"]), pd.Index(["id"])):
        assert config_from({"data": {"drop": column}}).data.drop == ("id",)
    for table in (pl.DataFrame({"x": [1]}), pd.DataFrame({"x": [1]}), {"id"}, object()):
        with pytest.raises(ConfigError, match=r"data.test is a .*; expected plain data"):
            danlu.train({"x": [1.0], "y": [1.0]}, target="y", test=table)  # type: ignore[arg-type]


def test_a_change_of_a_section_keeps_the_rest_of_it() -> None:
    assert override({"trainer": {"seed": 1}}, ['trainer={"epochs": 3}']) == {"trainer": {"seed": 1, "epochs": 3}}


@pytest.mark.parametrize(
    ("typed", "right"),
    [
        ("epochs=3", "trainer.epochs=3"),
        ("num_train_epochs=3", "trainer.epochs=3"),
        ("trainer.max_iter=3", "trainer.epochs=3"),
        ("lr=0.1", "trainer.learning_rate=0.1"),
        ("n_estimators=5", "model.members=5"),
        ("random_state=1", "trainer.seed=1"),
        ("test_size=0.3", "split.test=0.3"),
        ("fp16=true", "trainer.precision=bfloat16"),
        ("label=y", "--target y"),
        ("prediction_length=7", "--horizon 7"),
        ("optimizer=adam", "danlu.fit"),
        ("trainer.epoch=3", "trainer.epochs=3"),
        ("imbalance.class_weights=balanced", "imbalance.class_weight=balanced"),
        ("target=y", "--target y"),
    ],
)
def test_names_of_other_tools_are_answered_with_what_to_type(typed: str, right: str) -> None:
    with pytest.raises(ConfigError, match="unknown setting") as error:
        config_from(override({}, [typed]))
    assert right in str(error.value.hint)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("c.json", '{"trainer": {"epochs": 1}, "trainer": {}}', "given twice"),
        ("c.json", "[" * 5000, "nested too deeply|not valid JSON"),
        ("c.json", "[]", "holds a list"),
        ("c.toml", "x = [", "not valid TOML"),
        ("c.yaml", "trainer:\n  epochs: 1\n", "a config is a TOML file"),
    ],
)
def test_a_config_file_that_is_none(tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=said):
        load_config(tmp_path / name)


def test_a_run_of_another_version_can_be_resumed() -> None:
    saved = TrainConfig().replace(trainer=TrainConfig().trainer.replace(epochs=7)).as_dict()
    saved["trainer"]["gone"] = 1
    saved["later"] = {"new": 2}
    config, lost = saved_config(saved)
    assert config.trainer.epochs == 7
    assert lost == ["trainer.gone", "later.new"]


def test_layers_are_checked_by_their_annotations() -> None:
    for build, said in (
        (lambda: nn.Dense("64"), "Dense.units is '64'; expected a whole number >= 1\nHint: write 64, without quotes"),
        (lambda: nn.Dense(True), "Dense.units is True; expected a whole number"),
        (lambda: nn.Dense(4, use_bias="no"), "Dense.use_bias is 'no'; expected true or false"),
        (lambda: nn.Dense(4, activation=3), "Dense.activation is 3; expected one of"),
        (lambda: nn.MLP(hidden=(True,), outputs=1), "MLP.hidden is .*; expected a list of whole numbers"),
        (lambda: nn.Residual("dense"), "Residual.layer is 'dense'; expected a Layer"),
        (lambda: nn.MLP(hidden=("8",), outputs=1), "MLP.hidden is .*; expected a list of whole numbers"),
    ):
        with pytest.raises(ConfigError, match=said):
            build()
    assert nn.Dense(np.int64(4)) == nn.Dense(4)
    assert nn.MLP(hidden=[8], outputs=1) == nn.MLP(hidden=(8,), outputs=1)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (["--epochs", "3"], "did you mean trainer.epochs=3?"),
        (["--epochs=3"], "did you mean trainer.epochs=3?"),
        (["--learning-rate", "0.01"], "did you mean trainer.learning_rate=0.01?"),
        (["--batch-size", "32"], "did you mean trainer.batch_size=32?"),
        (["--trainer.seed", "1"], "did you mean trainer.seed=1?"),
        (["--trainer-seed", "1"], "did you mean trainer.seed=1?"),
        (["--device", "cuda"], "JAX finds GPUs by itself"),
        (["--n_estimators", "5"], "did you mean model.members=5?"),
        (["--sep", ";"], "did you mean data.delimiter=';'?"),
        (["--quiet"], "did you mean --display none?"),
        (["--tagret", "y"], "did you mean --target?"),
        (["--hepl"], "did you mean --help?"),
        (["--xyzzy", "3"], "danlu train --help shows what there is"),
    ],
)
def test_options_that_do_not_exist_are_answered_with_what_to_type(arguments: list[str], answer: str) -> None:
    error = CliRunner().invoke(app, ["train", "x.csv", *arguments]).exception
    assert isinstance(error, ConfigError)
    assert error.message == f"there is no option {arguments[0].partition('=')[0]}"
    assert answer in str(error.hint)


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["train", "x.csv", "--horizon", "3.5"], "--horizon is '3.5'; expected a whole number", "danlu train --help"),
        (["generate", "r", "--temperature=hot"], "--temperature is 'hot'; expected a number", "danlu generate --help"),
        (
            ["launch", "-n", "two", "--", "train"],
            "--processes is 'two'; expected a whole number",
            "danlu launch --help",
        ),
        (
            ["launch", "train", "x.csv", "--target", "y"],
            "there is no option --target",
            "what is launched comes after --",
        ),
        (["launch", "--timeout", "nan", "--", "train"], "--timeout is nan; expected a number", ""),
        (["tune", "x.csv", "--minutes", "nan"], "--minutes is nan; expected a number", ""),
        (["predict", "r", "x.csv", "--oputput", "y"], "there is no option --oputput", "did you mean --output?"),
        (["predict", "r", "x.csv", "--out", "y"], "there is no option --out", "did you mean --output?"),
        (["verify", "--epochs", "3"], "there is no option --epochs", "danlu verify --help"),
        (["predict", "r"], "danlu predict needs RUN and SOURCE", "danlu predict --help"),
        (["runs", "a", "b"], "got unexpected extra argument(s) (b)", "danlu runs --help"),
        (["trian", "x.csv"], "no such command 'trian'", "did you mean danlu train?"),
        (["--verson"], "there is no option --verson", "did you mean --version?"),
    ],
)
def test_what_cannot_be_understood_is_one_message(
    arguments: list[str], message: str, hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # where there are a run and a table of these names
    (tmp_path / "r").mkdir()
    (tmp_path / "x.csv").write_text("x,y\n1,2\n")
    error = CliRunner().invoke(app, arguments, prog_name="danlu").exception
    assert isinstance(error, ConfigError)
    assert (error.message, hint in str(error.hint)) == (message, True)


def test_arguments_of_train_are_answered_in_python() -> None:
    for asked, answer in (
        ({"epochs": 3}, "did you mean trainer={'epochs': 3}?"),
        ({"label": "y"}, "did you mean target='y'?"),
        ({"horizon": 3}, "did you mean forecast={'horizon': 3}?"),
        ({"zzz": 3}, "the sections are: data, split"),
    ):
        with pytest.raises(ConfigError, match=f"danlu.train received {next(iter(asked))}") as error:
            danlu.train({"x": [1.0]}, **asked)
        assert answer in str(error.value.hint)
    with pytest.raises(ConfigError, match="target is 'x', and data"):
        danlu.train({"x": [1.0]}, target="x", data={"target": "y"})


@pytest.mark.parametrize(
    ("former", "now", "value"),
    [
        ("detection.most", "max_detections", 3),
        ("detection.overlap", "iou_threshold", 0.5),
        ("translation.longest", "max_length", 40),
        ("translation.alpha", "length_penalty", 0.5),
    ],
)
def test_a_setting_that_was_renamed(former: str, now: str, value: Any) -> None:
    """A run of an older version is loaded; whoever writes the old name is told the new one."""
    section, name = former.split(".")
    config, lost = saved_config({section: {name: value}})
    assert (config.setting(f"{section}.{now}"), lost) == (value, [])
    with pytest.raises(
        ConfigError, match=rf"{section}\.{name} is called {now} now\nHint: write {section}\.{now}={value}"
    ):
        config_from(override({}, [f"{former}={value}"]))
