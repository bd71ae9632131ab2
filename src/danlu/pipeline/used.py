"""Which settings are used: a setting that the data at hand does not use is refused instead of ignored."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from danlu.errors import ConfigError, DataError, nearest, shorten
from danlu.pipeline.config import DataConfig, TrainConfig, setting_names
from danlu.pipeline.converted import TYPED, is_plain_text

if TYPE_CHECKING:
    from danlu.pipeline.domain import Domain

__all__ = [
    "COMMON",
    "CROSSED",
    "LABELLED",
    "PICTURES",
    "RECIPE",
    "STREAMED",
    "WRITTEN",
    "check_columns",
    "check_used",
    "matches",
    "uses",
    "with_notices",
]

COMMON = ("data.source|test", "evaluate.baselines|report", "split.test|validation", "track.*", "trainer.seed")
"""What every kind of data uses."""
RECIPE = (
    "trainer.average|average_decay|average_start|batch_size|beta2|clip_norm|devices|epochs|learning_rate|patience|precision"
    "|sharding|tensor|weight_decay"
)
"""What every recipe takes."""
PICTURES = ("data.image_size", "model.width", "split.equal_rows|method")
"""What every kind of pictures uses."""
STREAMED = "data.memory|stream"
"""What the kinds of pictures use that need not fit in memory."""
CROSSED = "evaluate.fold|folds|repeats"
"""What the kinds of data use whose models can be tested by folds."""
LABELLED = (
    "answers.*",
    "federated.*",
    "evaluate.baseline_seconds",
    "imbalance.*",
    "model.ensemble",
    "trainer.snapshots",
    CROSSED,
)
"""What the kinds of data use whose rows each have one label."""
WRITTEN = "data.dates|delimiter|drop|encoding|header|kinds|missing"
"""How columns are written, of the kinds of data that are read column by column."""

_COLUMNS = ("data.target", "data.text", "data.series", "data.time", "data.image_column")
# Settings that count only beside others: which they are, when, and what to say where they do not; domains have more.
_BESIDE: tuple[tuple[str, Callable[[TrainConfig], bool], str], ...] = (
    (
        "split.column",
        lambda config: config.split.method in ("time", "group", "column"),
        "rows are drawn at random; add split.method=group, time or column",
    ),
    (
        "split.equal_rows",
        lambda config: config.split.method in ("stratified", "random"),
        "it is for rows drawn at random; leave split.method out",
    ),
    ("split.test", lambda config: config.data.test is None, "the test rows come from a separate file"),
    (
        "split.test",
        lambda config: config.evaluate.folds is None,
        "with evaluate.folds each fold is the test part in turn",
    ),
    (
        "trainer.sharding",
        lambda config: config.trainer.devices > 1,
        "add trainer.devices, among which to divide the weights",
    ),
    (
        "trainer.tensor",
        lambda config: config.trainer.sharding != "replicated",
        "every device has whole layers; add trainer.sharding=tensor or fsdp",
    ),
    ("evaluate.folds", lambda config: config.data.test is None, "the test rows come from a separate file"),
    ("evaluate.repeats", lambda config: config.evaluate.folds is not None, "add evaluate.folds (--folds)"),
    (
        "evaluate.repeats",
        lambda config: config.split.method != "time",
        "folds by time are not drawn, so that they would be the same again",
    ),
    ("evaluate.fold", lambda config: config.evaluate.folds is not None, "add evaluate.folds (--folds)"),
    (
        "split.validation",
        lambda config: (config.split.folds or 1) == 1,
        "with split.folds every training row is used for validation in turn",
    ),
    (
        "trainer.epochs",
        lambda config: not config.federated.active,
        "clients train in rounds: federated.rounds (--rounds), and federated.local_epochs in each",
    ),
    ("trainer.average_decay", lambda config: config.trainer.average == "ema", "it is for trainer.average=ema"),
    ("trainer.average_start", lambda config: config.trainer.average == "swa", "it is for trainer.average=swa"),
    (
        "trainer.patience",
        lambda config: config.trainer.snapshots is None,
        "with trainer.snapshots the training goes through all cycles",
    ),
    ("evaluate.baseline_seconds", lambda config: config.evaluate.baselines, "there are none: evaluate.baselines=false"),
    *(
        (
            f"private.{name}",
            lambda config: config.private.on,
            "the training is private with an epsilon or a noise: --private epsilon=3",
        )
        for name in ("delta", "clip", "clipping", "sampling", "accountant", "statistics", "public")
    ),
    (
        "trainer.batch_size",
        lambda config: not config.private.on or config.private.sampling is None,
        "private.sampling says how many rows a batch has on average; expected one of them",
    ),
    ("track.experiment", lambda config: config.track.mlflow is not None, "add track.mlflow"),
    (
        "data.memory",
        lambda config: config.data.stream is None or config.data.stream,
        "data.stream=false reads everything",
    ),
)


def uses(domain: Domain, name: str) -> bool:
    """Whether a kind of data uses the setting."""
    return matches(name, domain.uses)


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Whether a setting is one of those that are named by section: ``data.source|test``, ``augment.*``."""
    of, _, own = name.partition(".")
    parts = (pattern.partition(".") for pattern in patterns)
    return any(section == of and (names == "*" or own in names.split("|")) for section, _, names in parts)


def check_used(config: TrainConfig, domain: Domain, source: Any, domains: Iterable[Domain]) -> None:
    """Refuse settings that are not at their defaults and that ``domain`` does not use.

    Raises:
        ConfigError: there is one; the message says what it is for, and what there is instead.
    """
    usual = TrainConfig()
    given = [name for name in setting_names() if config.setting(name) != usual.setting(name)]
    for name in given:
        if not uses(domain, name):
            others = [other.noun for other in reversed(list(domains)) if uses(other, name)]
            those = f"; it is for {', '.join(others[:4])}" if others else ""
            raise ConfigError(
                f"{_typed(name)} is not used for {domain.noun}{those}",
                hint=domain.instead.get(name) or _beside(domain, name),
            )
    for name, counts, why in (*_BESIDE, *((each.setting, each.counts, each.otherwise) for each in domain.beside)):
        if name in given and not counts(config):
            raise ConfigError(f"{name} is {shorten(config.setting(name))}, but would not be used: {why}")
    stored = isinstance(source, str | Path) and (
        Path(source).is_dir() or Path(source).suffix.lower() in (".parquet", ".pq") or is_plain_text(Path(source))
    )
    if config.data.stream and domain.kind == "table" and not stored:
        raise ConfigError(
            f"data.stream would not be used for {_shown(source)}: it is for Parquet and for text files that are not compressed",
            hint="leave it out, or unpack the file first",
        )
    is_text = isinstance(source, str | Path) and Path(source).suffix.lower() not in TYPED
    for name in ("data.delimiter", "data.header", "data.encoding"):
        if name in given and not is_text:
            raise ConfigError(f"{name} is for text files, such as CSV; {_shown(source)} is none", hint="leave it out")
    for name in (*_COLUMNS, *domain.columns):
        named = config.setting(name)
        for column in (named,) if isinstance(named, str) else named or ():
            if column in config.data.drop:
                raise ConfigError(
                    f"data.drop leaves out {column!r}, which {name} names", hint="take it out of data.drop"
                )


_OPTIONS = (
    "data.target",
    "data.text",
    "data.test",
    "data.series",
    "data.time",
    "forecast.horizon",
    "evaluate.folds",
    "evaluate.repeats",
)


def _typed(name: str) -> str:
    """A setting as it is typed: with the option that sets it, where there is one."""
    return f"{name} (--{name.split('.')[1]})" if name in _OPTIONS else name


def _beside(domain: Domain, name: str) -> str | None:
    """What a kind of data uses of the same section."""
    section = name.split(".")[0]
    used = [
        each
        for each in setting_names()
        if each.startswith(section + ".") and uses(domain, each) and each != "data.source"
    ]
    return f"what is: {', '.join(used)}" if used else None


def _shown(source: Any) -> str:
    return str(source) if isinstance(source, str | Path) else f"a {type(source).__name__}"


def with_notices(error: DataError, notices: Iterable[str]) -> DataError:
    """``error`` with the earlier notices about the data in its hint, since they may explain it."""
    return DataError(error.message, hint="; ".join(filter(None, [error.hint, *notices])) or None)


def check_columns(data: DataConfig, names: Iterable[str]) -> None:
    """Refuse names of columns in settings that the data does not have.

    Raises:
        ConfigError: there is one; the nearest column is offered.
    """
    names = list(names)
    for setting in ("drop", "kinds", "missing", "dates"):
        named = getattr(data, setting)
        for column in named if setting == "drop" or isinstance(named, Mapping) else ():
            if column not in names:
                close = nearest(column, names)
                raise ConfigError(
                    f"data.{setting} names the column {column!r}; the columns are: {', '.join(names[:30])}",
                    hint=None if close is None else f"did you mean {close!r}?",
                )
