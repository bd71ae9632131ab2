"""The configuration of a training run: checked, saved with the run, and changed by dotted names."""

from __future__ import annotations

import dataclasses
import functools
import typing
from collections.abc import Iterable, Mapping
from typing import Any

import polars as pl

from danlu.blueprint import Blueprint, checked, setting
from danlu.data import Fold, Split, split_rows
from danlu.data.missing import DEFAULT_MISSING, Marks
from danlu.engine.average import AVERAGES
from danlu.engine.layout import SHARDINGS
from danlu.errors import ConfigError, shorten, unknown_name
from danlu.pipeline.names import NAMES, answer, unknown_setting
from danlu.pipeline.plain import filled, meant, plain, written
from danlu.report.events import DRAWN
from danlu.tasks import KINDS, Answers, Augment, Imbalance, PrivateTraining
from danlu.typed import field_types

__all__ = [
    "SECTIONS",
    "DataConfig",
    "EvaluateConfig",
    "ModelConfig",
    "SplitConfig",
    "TrackConfig",
    "TrainConfig",
    "TrainerConfig",
    "config_from",
    "declare",
    "override",
    "saved_config",
    "setting_names",
]

_DELIMITER = (
    r"""tab|\\t|(?![^\W_])[^"'\\\r\n]""",
    "one character that is no letter, digit or quote, or tab",
)


class DataConfig(Blueprint):
    """The training data.

    Args:
        source: the file.
        target: the column to predict.
        test: a file of test rows, instead of a part of ``source``.
        task: ``"auto"``, ``"regression"``, ``"binary"`` or ``"multiclass"``; of images also ``"multilabel"``.
        positive: of two classes of a table the one that is looked for, of which precision, recall, false negatives and alerts are; None is
            the second in the order in which they are printed.
        kinds: the kind of single columns (``{"zip": "categorical"}``), where the inferred one is wrong.
        drop: columns to leave out.
        missing: texts and numbers that mean a missing value, beside the usual ones (``?``, ``NA``, ``null``, …):
            ``["unknown", -999]``; or those of single columns: ``{"income": [-999]}``. An empty list: the usual ones are values
            too (``{"grade": []}`` makes "NA" a class), and only empty cells are missing.
        dates: how dates are written, where the values do not show it: ``"dmy"``, ``"mdy"``, ``"ymd"`` or a pattern such as
            ``"%d.%m.%Y %H:%M"``; or a dict of single columns, ``{"born": "mdy"}``.
        delimiter: the delimiter, where it is not found by itself: one character, or ``"tab"``.
        stream: whether Parquet and text files are read in chunks instead of whole; None does it for a folder, and for files that
            would fill a good part of the memory. A text file is written to Parquet first, in danlu's cache folder. Of image
            files: whether they are decoded during training; None does it where the training part does not fit in ``memory``.
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
        audit: whether a table is looked over for leaks and impossible values before it is learnt from; ``danlu audit`` looks at more.
        image_size: the side that images are brought to, in pixels; None keeps theirs (the median, at most 64).
    """

    source: str = ""
    target: str = ""
    test: str | None = None
    task: str = setting(default="auto", choices=("auto", "regression", "binary", "multiclass", "multilabel"))
    positive: str | None = None
    kinds: Mapping[str, str] = dataclasses.field(default_factory=dict, hash=False)
    drop: tuple[str, ...] = ()
    missing: tuple[str | float, ...] | Mapping[str, tuple[str | float, ...]] | None = dataclasses.field(
        default=None, hash=False
    )
    dates: str | Mapping[str, str] | None = dataclasses.field(default=None, hash=False)
    delimiter: str | None = setting(default=None, pattern=_DELIMITER, optional=True)
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
    audit: bool = True
    image_size: int | None = setting(default=None, minimum=4, maximum=512, integer=True, optional=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.delimiter in ("tab", "\\t"):
            object.__setattr__(self, "delimiter", "\t")

    def form(self) -> dict[str, Any]:
        """How the lines of a file are written, as :func:`danlu.data.read_table` takes it; it applies to a file of test rows too."""
        header = {"yes": True, "no": False}.get(self.header, "auto")
        return {"delimiter": self.delimiter, "header": header, "encoding": self.encoding}

    def marks(self) -> Marks:
        """The texts and numbers that mean a missing value, as :func:`danlu.data.read_table` takes them."""

        def beside(given: tuple[str | float, ...]) -> tuple[str | float, ...]:
            return (*DEFAULT_MISSING, *given) if given else ("",)

        if self.missing is None:
            return DEFAULT_MISSING
        if isinstance(self.missing, Mapping):
            return {name: beside(given) for name, given in self.missing.items()}
        return beside(self.missing)


class SplitConfig(Blueprint):
    """How the rows are split.

    Args:
        method: ``"stratified"``, ``"random"``, ``"time"``, ``"group"`` or ``"column"``.
        column: the column that the last three go by.
        validation: share of the rows that decides when to stop.
        test: share of the rows that the result is measured on (0 with a separate test file).
        folds: how a table is *learnt from* (``evaluate.folds`` is how the result is tested). Of 2 or more: so many networks, each
            trained without one fold of the rows and judged on it, and no validation rows apart; 1: one network and validation rows;
            None: 5 folds for a table of up to 10,000 rows that is divided at random, else 1.
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
    """The model; None leaves the choice to the recipe, which depends on the size of the data.

    Args:
        kind: of a table: ``"blend"`` puts gradient boosting and a linear model beside the network, each with the weight with which
            they predict rows best that none of them learnt from; ``"network"`` is the network alone; ``"scorecard"`` are points that add up
            (see the settings ``scorecard``). None is a blend where there
            are such rows in memory.
        members, width, depth, dropout: of one network; for images only ``width`` is used.
        ensemble: how many networks are trained side by side, from different seeds; their mean is the model, and their disagreement
            comes with each answer. With folds there are so many of each fold.
    """

    kind: str | None = setting(default=None, choices=KINDS, optional=True)
    members: int | None = setting(default=None, minimum=1, integer=True, optional=True)
    width: int | None = setting(default=None, minimum=1, integer=True, optional=True)
    depth: int | None = setting(default=None, minimum=1, integer=True, optional=True)
    dropout: float | None = setting(default=None, minimum=0, below=1, optional=True)
    ensemble: int | None = setting(default=None, minimum=2, integer=True, optional=True)


class TrainerConfig(Blueprint):
    """How it is trained; None leaves the choice to the recipe.

    Args:
        clip_norm: the global norm above which a network's gradient is scaled down; of a network of rows, images or texts 1 by default. A
            large number, such as 1e9, never scales it down.
        beta2: AdamW's β₂, the share of the mean square of the gradients that a step keeps.
        precision: what the network computes in while it is trained: ``"float32"`` or ``"bfloat16"``, for accelerators.
        devices: how many devices share the rows of each batch (of agents: the seeds, or of one its environments), on a CPU how many
            cores; it pays for recurrent networks on a CPU, and where there are several GPUs.
        sharding: where the weights of a network lie on several devices: ``"replicated"``, whole on each; ``"fsdp"``, divided among them, so
            that a network can be larger than a device; ``"tensor"``, each layer divided.
        tensor: how many devices share each layer; the others share the rows. None: all with ``"tensor"``, none with ``"fsdp"``.
        loss: ``"auto"``, or for a quantity ``"mse"``, ``"mae"`` or ``"huber"``.
        seed: decides the split, the initial weights and every random draw.
        average: the weights that are judged and kept: ``"none"``, those after the last step; ``"ema"``, a moving average over the steps;
            ``"swa"``, the mean of those at the ends of the last epochs, with the rate held at a quarter of its peak. ``"auto"`` is
            ``"ema"`` of a table that is learnt in private, else ``"none"``.
        average_decay: of ``"ema"``: the share of the average that a step keeps; None: it is of about the latest 3 % of all steps.
        average_start: of ``"swa"``: the epochs before the mean begins; None: three quarters of them.
        snapshots: of data with one label a row: in how many cycles the rate falls and begins anew; the networks at their ends are the
            members of one model, the last few or all, as the rows that were held out say.
        adversarial: trains on the worst small change of each input instead: how large it may be, of pictures as a share of the range of
            brightness (0.03 is 8 of 255), of a table's numbers in standard deviations; None trains on the inputs as they are.
        minutes: of a table: how long more networks and trees are trained after the default's, which join its blend where they
            help; the test comes after that.
    """

    epochs: int | None = setting(default=None, minimum=1, integer=True, optional=True)
    batch_size: int | None = setting(default=None, minimum=1, maximum=2**20, integer=True, optional=True)
    patience: int | None = setting(default=None, minimum=1, maximum=10**9, integer=True, optional=True)
    learning_rate: float | None = setting(default=None, above=0, optional=True)
    weight_decay: float | None = setting(default=None, minimum=0, optional=True)
    clip_norm: float | None = setting(default=None, above=0, optional=True)
    beta2: float | None = setting(default=None, minimum=0, below=1, optional=True)
    precision: str = setting(default="float32", choices=("float32", "bfloat16"))
    devices: int = setting(default=1, minimum=1, integer=True)
    sharding: str = setting(default="replicated", choices=SHARDINGS)
    tensor: int | None = setting(default=None, minimum=1, integer=True, optional=True)
    loss: str = setting(default="auto", choices=("auto", "mse", "mae", "huber"))
    seed: int = setting(default=0, minimum=0, maximum=2**31 - 1, integer=True)
    adversarial: float | None = setting(default=None, above=0, optional=True)
    minutes: float | None = setting(default=None, above=0, optional=True)
    average: str = setting(default="auto", choices=("auto", "none", *AVERAGES))
    average_decay: float | None = setting(default=None, minimum=0, below=1, optional=True)
    average_start: int | None = setting(default=None, minimum=0, integer=True, optional=True)
    snapshots: int | None = setting(default=None, minimum=2, integer=True, optional=True)

    def chosen(self) -> dict[str, Any]:
        """The settings that are not left to the recipe and that every recipe takes."""
        found = dataclasses.asdict(self)
        own = ("adversarial", "loss", "seed", "minutes", "snapshots")
        return {name: value for name, value in found.items() if value not in (None, "auto") and name not in own}


class EvaluateConfig(Blueprint):
    """How the result is measured.

    Args:
        baselines: whether simple models are trained on the same rows to compare with.
        baseline_seconds: about the most that the simple models may take together; one that would take longer learns from fewer rows,
            which is said. None: as long as the training took, or 30 seconds.
        importance: whether it is measured how much a model of a table relies on each column; it takes about a quarter of the
            simple models' time at most.
        slices: whether the slices of a table's test rows are looked for on which the model is worst.
        report: whether ``report.html`` is written.
        folds: cross-validation: so many trainings, each without a fold of the rows and tested on it, so that every row is tested
            once; None: one training, tested on ``split.test`` of the rows.
        repeats: how often the rows are divided into folds anew.
        fold: only this one of the ``folds · repeats`` trainings, counted from 1: a training whose test part is the fold.
    """

    baselines: bool = True
    baseline_seconds: float | None = setting(default=None, above=0, optional=True)
    importance: bool = True
    slices: bool = True
    report: bool = True
    folds: int | None = setting(default=None, minimum=2, integer=True, optional=True)
    repeats: int = setting(default=1, minimum=1, integer=True)
    fold: int | None = setting(default=None, minimum=1, integer=True, optional=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.fold is not None and self.folds is not None and self.fold > self.trainings:
            raise ConfigError(f"evaluate.fold is {self.fold}; expected 1 to folds × repeats, {self.trainings}")

    @property
    def trainings(self) -> int:
        """How many trainings there are in all."""
        return (self.folds or 1) * self.repeats


class TrackConfig(Blueprint):
    """What is written for other tools than danlu.

    Args:
        tensorboard: what is drawn for TensorBoard beside the curves and the weights: ``"gradients"`` (histograms) and ``"images"`` (a
            first batch of pictures as the network sees it, filters, the test's plots).
        mlflow: where MLflow keeps runs, such as ``"sqlite:///mlflow.db"`` or ``"http://localhost:5000"``, and this one too; ``"auto"``
            is what MLflow itself goes by (``MLFLOW_TRACKING_URI``); None leaves MLflow out.
        experiment: of MLflow.
    """

    tensorboard: tuple[str, ...] = ()
    mlflow: str | None = None
    experiment: str = "danlu"

    def __post_init__(self) -> None:
        super().__post_init__()
        for each in self.tensorboard:
            if each not in DRAWN:
                raise unknown_name("part of track.tensorboard", each, DRAWN)


class TrainConfig(Blueprint):
    """Everything that decides a training run.

    Args:
        own: the sections that belong to one kind of data (``forecast``, ``detection``, …), where they differ from their defaults;
            ``config.forecast`` is such a section, declared by its domain (see :func:`declare`).
    """

    data: DataConfig = DataConfig()
    split: SplitConfig = SplitConfig()
    model: ModelConfig = ModelConfig()
    trainer: TrainerConfig = TrainerConfig()
    imbalance: Imbalance = Imbalance()
    answers: Answers = Answers()
    augment: Augment = Augment()
    private: PrivateTraining = PrivateTraining()
    evaluate: EvaluateConfig = EvaluateConfig()
    track: TrackConfig = TrackConfig()
    own: Mapping[str, Any] = dataclasses.field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        changed = {name: section for name, section in self.own.items() if section != _usual(name)}
        object.__setattr__(self, "own", changed)
        super().__post_init__()

    def __getattr__(self, name: str) -> Any:
        if name == "own" or name not in SECTIONS:
            raise AttributeError(name)
        return self.own.get(name) or _usual(name)

    @property
    def fold(self) -> Fold | None:
        """The fold that is the test part, where there is one."""
        folds, number = self.evaluate.folds, self.evaluate.fold
        if folds is None or number is None:
            return None
        return Fold((number - 1) % folds, folds, (number - 1) // folds)

    @property
    def to_learn(self) -> TrainConfig:
        """The config that the training goes by: the networks of the folds are drawn from seeds of their own."""
        number = self.evaluate.fold
        return self if number is None else self.with_setting("trainer.seed", (self.trainer.seed + number - 1) % 2**31)

    def divide(self, source: pl.DataFrame | int, *, test: float, **how: Any) -> Split:
        """The rows in parts, as :func:`~danlu.data.split_rows` divides them; the test part is the fold, where there is one."""
        fold, chosen = self.fold, {"validation": self.split.validation, "seed": self.trainer.seed, **how}
        return split_rows(source, test=test, **chosen) if fold is None else fold.split(source, **chosen)

    @property
    def tested_share(self) -> float:
        """The share of the rows that is tested: a fold, ``split.test``, or none where the test rows are a file of their own."""
        if self.evaluate.folds is not None:
            return 1 / self.evaluate.folds
        return 0.0 if self.data.test is not None else self.split.test

    def setting(self, name: str) -> Any:
        """The value of a setting by its dotted name."""
        section, _, own = name.partition(".")
        return getattr(getattr(self, section), own)

    def decided(self, *names: str) -> dict[str, Any]:
        """The user's choices for the training, for these settings of the network, and for the loss."""
        found = {name: getattr(self.trainer if name == "loss" else self.model, name) for name in names}
        return {
            **self.trainer.chosen(),
            **{name: value for name, value in found.items() if value not in (None, "auto")},
        }

    def with_setting(self, name: str, value: Any) -> TrainConfig:
        """The same with another value of the setting with this dotted name."""
        section, _, own = name.partition(".")
        changed = getattr(self, section).replace(**{own: value})
        if section in self.__dict__:
            return self.replace(**{section: changed})
        return self.replace(own={**self.own, section: changed})

    def as_dict(self) -> dict[str, Any]:
        """Plain nested data, as in a config file."""
        return {name: dataclasses.asdict(getattr(self, name)) for name in SECTIONS}


@functools.cache
def _usual(section: str) -> Blueprint:
    """A section at its defaults: to build and check it takes longer than all that it is asked for."""
    return SECTIONS[section]()


def _fields(cls: Any) -> dict[str, tuple[Any, Any, Any]]:
    """The annotation, the rules and the default of each setting of a section."""
    types = field_types(cls)
    return {each.name: (types[each.name], each.metadata.get("rules"), each.default) for each in dataclasses.fields(cls)}


SECTIONS: dict[str, type[Blueprint]] = {
    name: annotation
    for name, (annotation, _, default) in _fields(TrainConfig).items()
    if isinstance(default, Blueprint)
}
"""The sections of the settings by name: the common ones, and those that kinds of data declared."""


def declare(name: str, section: type[Blueprint]) -> None:
    """Make ``section`` a part of the settings, under ``name``; done by the domain that owns it.

    Raises:
        ConfigError: another one has this name.
    """
    if SECTIONS.setdefault(name, section) is not section:
        raise ConfigError(f"two kinds of data have settings called {name!r}; expected a different name for each")


def setting_names() -> tuple[str, ...]:
    """Every setting by its dotted name."""
    return tuple(f"{section}.{name}" for section, cls in SECTIONS.items() for name in _fields(cls))


def _build(cls: Any, values: Any, path: str) -> Any:
    if not isinstance(values, Mapping):
        raise ConfigError(f"{path} is {shorten(values)}; expected a table of settings")
    cls.check_renamed(path, values, prefix=f"{path}.")
    fields, dot = _fields(cls), f"{path}."
    built: dict[str, Any] = {}
    for name, value in values.items():
        if name not in fields:
            raise unknown_setting(
                f"{dot}{name}", value, setting_names() if name in NAMES else [dot + each for each in fields]
            )
        annotation, rules, default = fields[name]
        built[name] = checked(path, name, meant(value, annotation, rules), annotation, rules)
        filled(f"{dot}{name}", built[name], default)
    return cls(**built)


def config_from(values: Mapping[str, Any]) -> TrainConfig:
    """A config from plain nested data.

    Raises:
        ConfigError: an unknown setting (the right one is offered), a value of another type or out of range.
    """
    given = plain(values)
    if not isinstance(given, Mapping):
        raise ConfigError(f"the config is {shorten(given)}; expected a table of settings")
    for name in given:
        if name not in SECTIONS:
            raise unknown_setting(name, given[name], setting_names())
    built = {name: _build(SECTIONS[name], each, name) for name, each in given.items()}
    common = [field.name for field in dataclasses.fields(TrainConfig)]
    own = {name: section for name, section in built.items() if name not in common}
    return TrainConfig(**{name: section for name, section in built.items() if name in common}, own=own)


def saved_config(values: Mapping[str, Any]) -> tuple[TrainConfig, list[str]]:
    """The config that a run was started with, perhaps by another version, and the names of settings that this version does not know."""
    parts = {section: part for section, part in values.items() if isinstance(part, Mapping)}
    renewed = {section: SECTIONS[section].renewed(part) for section, part in parts.items() if section in SECTIONS}
    found = {
        section: {name: value for name, value in part.items() if f"{section}.{name}" in setting_names()}
        for section, part in renewed.items()
    }
    lost = [f"{section}.{name}" for section, part in {**parts, **renewed}.items() for name in part]
    return config_from(found), [name for name in lost if name not in (*setting_names(), *_GONE)]


def override(values: Mapping[str, Any], changes: Iterable[str]) -> dict[str, Any]:
    """``values`` with dotted changes made, each like ``trainer.epochs=20``.

    >>> override({}, ["trainer.epochs=20", "data.drop=id"])
    {'trainer': {'epochs': 20}, 'data': {'drop': ['id']}}
    """
    result = plain(values)
    for change in changes:
        name, equals, text = change.partition("=")
        path = [part.strip() for part in name.split(".")]
        if not equals or not all(path):
            hint = answer(name, None, setting_names()) or f"to predict the column {change!r}: --target {change}"
            raise ConfigError(f"{change!r} is not a setting; expected name=value, such as trainer.epochs=20", hint=hint)
        value = written(text, *_declared(path))
        node = result
        for part in path[:-1]:
            node = node.setdefault(part, {})
            if not isinstance(node, dict):
                raise ConfigError(f"{name!r} goes through {part!r}, which is a value; expected a table of settings")
        if len(path) == 1 and isinstance(value, dict) and isinstance(node.get(path[0]), dict):
            value = node[path[0]] | value
        node[path[-1]] = value
    for section in SECTIONS:
        if not isinstance(result.get(section, {}), dict):
            raise ConfigError(f"{section} is {shorten(result[section])}; expected a table of settings")
    return result


def _declared(path: list[str]) -> tuple[Any, Any]:
    """The annotation and the rules of a setting, or of a value in a setting that is a table."""
    if len(path) < 2 or ".".join(path[:2]) not in setting_names():
        return Any, None
    annotation, rules, _ = _fields(SECTIONS[path[0]])[path[1]]
    for _ in path[2:]:
        annotation, rules = (typing.get_args(annotation) or (Any, Any))[-1], None
    return annotation, rules


_GONE = ("evaluate.resamples",)  # of older versions, without an effect on the model
