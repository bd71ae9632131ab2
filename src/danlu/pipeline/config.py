"""The configuration of a training run: checked, saved with the run, and changed by dotted names."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from danlu.blueprint import Blueprint, setting
from danlu.data.missing import DEFAULT_MISSING, Marks
from danlu.errors import ConfigError, unknown_name
from danlu.rl.recipes import AgentSettings
from danlu.tasks import Augment, Detection, Forecast, Imbalance, Language, Segmentation, Translation

__all__ = [
    "DataConfig",
    "EvaluateConfig",
    "ModelConfig",
    "SplitConfig",
    "TrainConfig",
    "TrainerConfig",
    "load_config",
    "override",
]


class DataConfig(Blueprint):
    """What is learnt from.

    Args:
        source: the file.
        target: the column to predict.
        test: a file of test rows, instead of a part of ``source``.
        task: ``"auto"``, ``"regression"``, ``"binary"`` or ``"multiclass"``; of images also ``"multilabel"``.
        kinds: the kind of single columns (``{"zip": "categorical"}``), where the inferred one is wrong.
        drop: columns to leave out.
        missing: texts and numbers that mean a missing value, beside the usual ones (``?``, ``NA``, ``null``, …):
            ``["unknown", -999]``; or those of single columns: ``{"income": [-999]}``. An empty list: the usual ones are values
            too (``{"grade": []}`` makes "NA" a class), and only empty cells are missing.
        dates: how dates are written, where the values do not show it: ``"dmy"``, ``"mdy"``, ``"ymd"`` or a pattern such as
            ``"%d.%m.%Y %H:%M"``; or a dict of single columns, ``{"born": "mdy"}``.
        delimiter: the delimiter, where it is not found by itself.
        stream: whether Parquet files are read in chunks instead of whole; None does it for a folder, and for files that
            would fill a good part of the memory. Of image files: whether they are decoded while training goes on; None does it
            where the training part does not fit in ``memory``.
        memory: MiB that the pixels of images may take before they are read from their files again and again.
        encoding: of a text file, such as ``"cp1252"``; None finds it out.
        spellings: ``"merge"`` reads a category (of a table's column, or a class) that differs from a commoner one in case or white
            space only as that one; ``"keep"`` keeps them apart.
        header: ``"auto"``, ``"yes"`` or ``"no"``: whether the first line holds the names of the columns.
        series: of a long table with a row a step: the column that names the sequence a row belongs to; each whole sequence has
            one label, ``target``.
        time: the column that the rows of a sequence are sorted by; None finds a column of date-times.
        steps: of a sequence as the network sees it, at most; None is 256. Longer ones are averaged in time. Setting it says that an
            npz file holds sequences and not images.
        text: of a table of texts: the column with the texts, which is then all that is learnt from.
        image_column: of a table of pictures: the column with the paths of the image files.
        label_separator: of a table of pictures with several labels each: what stands between them in the target's cells, such as
            ``"|"``; None finds out.
        image_size: the side that images are brought to, in pixels; None keeps theirs (the median, at most 64).
    """

    source: str = ""
    target: str = ""
    test: str | None = None
    task: str = setting(default="auto", choices=("auto", "regression", "binary", "multiclass", "multilabel"))
    kinds: Mapping[str, str] = dataclasses.field(default_factory=dict, hash=False)
    drop: tuple[str, ...] = ()
    missing: tuple[str | float, ...] | Mapping[str, Any] | None = dataclasses.field(default=None, hash=False)
    dates: str | Mapping[str, str] | None = dataclasses.field(default=None, hash=False)
    delimiter: str | None = None
    stream: bool | None = None
    memory: int = setting(default=1024, minimum=1, integer=True)
    encoding: str | None = None
    header: str = setting(default="auto", choices=("auto", "yes", "no"))
    spellings: str = setting(default="merge", choices=("merge", "keep"))
    series: str | None = None
    time: str | None = None
    steps: int | None = setting(default=None, minimum=2, maximum=10_000, integer=True, optional=True)
    text: str | None = None
    image_column: str | None = None
    label_separator: str | None = None
    image_size: int | None = setting(default=None, minimum=4, maximum=512, integer=True, optional=True)

    def marks(self) -> Marks:
        """The texts and numbers that mean a missing value, as :func:`danlu.data.read_table` takes them."""

        def beside(given: Any) -> tuple[str | float, ...]:
            given = (given,) if isinstance(given, str | int | float) else tuple(given)
            return (*DEFAULT_MISSING, *given) if given else ("",)

        if self.missing is None:
            return DEFAULT_MISSING
        if isinstance(self.missing, Mapping):
            return {name: beside(given) for name, given in self.missing.items()}
        return beside(self.missing)


class SplitConfig(Blueprint):
    """How the rows are divided.

    Args:
        method: ``"stratified"``, ``"random"``, ``"time"``, ``"group"`` or ``"column"``.
        column: the column that the last three go by.
        validation: share of the rows that decides when to stop.
        test: share of the rows that the result is measured on (0 with a separate test file).
        folds: of 2 or more: so many networks, each trained without one fold of the rows and judged on it, and no
            validation rows apart; 1: one network and validation rows; None: 5 folds for a table of up to 10,000 rows
            that is divided at random, else 1.
        equal_rows: where rows that are equal in all that the model sees go when rows are drawn at random: ``"together"`` into one
            part, so that no test row was learnt from, or ``"anywhere"``.
    """

    method: str = setting(default="stratified", choices=("stratified", "random", "time", "group", "column"))
    column: str | None = None
    validation: float = setting(default=0.15, above=0, below=1)
    test: float = setting(default=0.2, minimum=0, below=1)
    folds: int | None = setting(default=None, minimum=1, integer=True, optional=True)
    equal_rows: str = setting(default="together", choices=("together", "anywhere"))


class ModelConfig(Blueprint):
    """The network; None leaves the recipe's choice, which goes by the size of the data. For images only ``width`` counts."""

    members: int | None = setting(default=None, minimum=1, integer=True, optional=True)
    width: int | None = setting(default=None, minimum=1, integer=True, optional=True)
    depth: int | None = setting(default=None, minimum=1, integer=True, optional=True)
    dropout: float | None = setting(default=None, minimum=0, below=1, optional=True)


class TrainerConfig(Blueprint):
    """How it is trained; None leaves the recipe's choice.

    Args:
        precision: what the network computes in while it is trained: ``"float32"`` or ``"bfloat16"``, for accelerators.
        devices: how many devices share the rows of each batch (of agents: the seeds), on a CPU how many cores; it pays for recurrent
            networks on a CPU, and where there are several GPUs.
        loss: ``"auto"``, or for a quantity ``"mse"``, ``"mae"`` or ``"huber"``.
        seed: decides the split, the initial weights and every random draw.
    """

    epochs: int | None = setting(default=None, minimum=1, integer=True, optional=True)
    batch_size: int | None = setting(default=None, minimum=1, integer=True, optional=True)
    patience: int | None = setting(default=None, minimum=1, integer=True, optional=True)
    learning_rate: float | None = setting(default=None, above=0, optional=True)
    weight_decay: float | None = setting(default=None, minimum=0, optional=True)
    precision: str = setting(default="float32", choices=("float32", "bfloat16"))
    devices: int = setting(default=1, minimum=1, integer=True)
    loss: str = setting(default="auto", choices=("auto", "mse", "mae", "huber"))
    seed: int = setting(default=0, minimum=0, integer=True)

    def chosen(self) -> dict[str, Any]:
        """What is not left to the recipe, but for the loss, of which there are several only for a quantity."""
        found = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: value for name, value in found.items() if value is not None and name not in ("loss", "seed")}


class EvaluateConfig(Blueprint):
    """How the result is measured.

    Args:
        baselines: whether simple models are trained on the same rows to compare with.
        baseline_seconds: about the most that the simple models may take together; one that would take longer learns from fewer rows,
            which is said. None: as long as the training took, or 30 seconds.
        importance: whether it is measured how much a model of a table relies on each column; it takes about a quarter of the
            simple models' time at most.
        report: whether ``report.html`` is written.
    """

    baselines: bool = True
    baseline_seconds: float | None = setting(default=None, above=0, optional=True)
    importance: bool = True
    report: bool = True


class TrainConfig(Blueprint):
    """Everything that decides a training run."""

    data: DataConfig = DataConfig()
    split: SplitConfig = SplitConfig()
    model: ModelConfig = ModelConfig()
    trainer: TrainerConfig = TrainerConfig()
    imbalance: Imbalance = Imbalance()
    augment: Augment = Augment()
    detection: Detection = Detection()
    segmentation: Segmentation = Segmentation()
    forecast: Forecast = Forecast()
    language: Language = Language()
    translation: Translation = Translation()
    agent: AgentSettings = AgentSettings()
    evaluate: EvaluateConfig = EvaluateConfig()

    def as_dict(self) -> dict[str, Any]:
        """Plain nested data, as in a config file."""
        return dataclasses.asdict(self)


def _build(cls: Any, values: Any, path: str) -> Any:
    if not isinstance(values, Mapping):
        raise ConfigError(f"{path or 'the config'} is {values!r}; expected a table of settings")
    fields = {field.name: field for field in dataclasses.fields(cls)}
    built: dict[str, Any] = {}
    for name, value in values.items():
        if f"{path}{name}" == "evaluate.resamples" and value == 1000:
            continue  # the default of older runs, whose intervals came from resamples
        if name not in fields:
            elsewhere = [f"{group}.{name}" for group in fields if name in _names(fields[group].default)]
            if elsewhere:
                raise ConfigError(f"unknown setting {path + name!r}; did you mean {' or '.join(elsewhere)}?")
            raise unknown_name("setting", f"{path}{name}", [f"{path}{known}" for known in fields])
        default = fields[name].default
        if isinstance(default, Blueprint):
            value = _build(type(default), value, f"{path}{name}.")
        elif isinstance(value, list):
            value = tuple(value)
        elif value is None and default == "none":
            value = "none"
        built[name] = value
    try:
        return cls(**built)
    except ConfigError as error:  # in the words of the user's settings
        said, own = error.message, f"{cls.__name__}."
        raise ConfigError(said.replace(own, path), hint=error.hint) from None


def _names(default: Any) -> list[str]:
    return [field.name for field in dataclasses.fields(default)] if isinstance(default, Blueprint) else []  # type: ignore[arg-type]


def config_from(values: Mapping[str, Any]) -> TrainConfig:
    """A config from plain nested data.

    Raises:
        ConfigError: an unknown setting (the nearest one is offered) or a value out of range.
    """
    config: TrainConfig = _build(TrainConfig, values, "")
    return config


def load_config(path: str | Path) -> dict[str, Any]:
    """The plain data of a config file, TOML or JSON.

    Raises:
        ConfigError: no such file, or not a valid one.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the config {path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    try:
        values = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except ValueError as error:
        kind = "JSON" if path.suffix == ".json" else "TOML"
        raise ConfigError(f"the config {path} is not valid {kind}: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"the config {path} holds a {type(values).__name__}; expected a table of settings")
    return values


def override(values: dict[str, Any], changes: Iterable[str]) -> dict[str, Any]:
    """``values`` with dotted changes made, each like ``trainer.epochs=20``.

    >>> override({}, ["trainer.epochs=20", "data.drop=[\\"id\\"]"])
    {'trainer': {'epochs': 20}, 'data': {'drop': ['id']}}
    """
    result = json.loads(json.dumps(values))
    for change in changes:
        name, equals, text = change.partition("=")
        if not equals or not name:
            raise ConfigError(f"{change!r} is not a setting; expected name=value, such as trainer.epochs=20")
        try:
            value = json.loads(text)
        except ValueError:
            value = None if text == "none" else text
        *path, last = name.strip().split(".")
        node = result
        for part in path:
            node = node.setdefault(part, {})
            if not isinstance(node, dict):
                raise ConfigError(f"{name!r} goes through {part!r}, which is a value; expected a table of settings")
        node[last] = value
    return result
