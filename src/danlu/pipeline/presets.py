"""Presets: settings under one name, which the user's own ones come before."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from danlu.data import infer_schema, read_table
from danlu.errors import DanluError, unknown_name
from danlu.pipeline.config import config_from

__all__ = ["PRESETS", "preset"]

PRESETS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "risk": {
            "model.kind": "scorecard",
            "scorecard.compare": True,
            "answers.calibrate": "auto",
            "answers.compare_by": "gini",
        },
        "fraud": {"answers.alert_rate": 0.01, "answers.compare_by": "average_precision"},
    }
)
"""The settings of each preset by their dotted names."""

_ROWS = 10_000  # in which a column of times is looked for


def preset(name: str, values: Mapping[str, Any] | None = None) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The settings of a preset below those that are given already, and what was done in words.

    ``risk`` makes a scorecard beside the default model and compares by Gini. ``fraud`` alerts 1 % of the rows, compares by average
    precision, and tests on the latest rows of a table with one column of times, since tomorrow's fraud is not yesterday's.

    Args:
        name: of the preset.
        values: plain nested settings, as in a config file.

    Raises:
        ConfigError: there is no such preset.

    Example:
        >>> settings, said = preset("fraud", {"answers": {"alert_rate": 0.02}})
        >>> settings
        {'answers': {'alert_rate': 0.02, 'compare_by': 'average_precision'}}
    """
    if name not in PRESETS:
        raise unknown_name("preset", name, PRESETS)
    result: dict[str, Any] = {section: dict(own) for section, own in (values or {}).items()}
    wanted, notes = dict(PRESETS[name]), list[str]()
    if name == "fraud" and not {"method", "column", "folds"} & set(result.get("split", {})):
        more, said = _by_time(result)
        wanted |= more
        notes += said
    chosen, kept = [], []
    for dotted, value in wanted.items():
        section, _, own = dotted.partition(".")
        given = result.setdefault(section, {})
        if own in given:
            kept.append(f"{dotted}={_written(given[own])}")
        else:
            given[own] = value
            chosen.append(f"{dotted}={_written(value)}")
    lines = [f"preset {name}: {' '.join(chosen) or 'nothing that you did not set'}"]
    lines += [f"preset {name}: your own stays: {' '.join(kept)}"] if kept else []
    if name == "risk" and not result.get("answers", {}).get("cost"):
        lines.append("preset risk: say what mistakes cost, and decisions go by it: --cost fn=5,fp=1")
    return result, (*lines, *(f"preset {name}: {note}" for note in notes))


def _written(value: Any) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _by_time(values: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The settings that test a table with one column of times on its latest rows; none where the test is decided already."""
    data, tested = values.get("data", {}), values.get("evaluate", {})
    if not data.get("source") or data.get("test") or tested.get("folds"):
        return {}, []
    try:
        own = config_from({"data": data}).data
        table = read_table(own.source, missing=own.marks(), kinds=own.kinds, dates=own.dates, **own.form())
        schema = infer_schema(
            table.frame.head(_ROWS), target=own.target or None, kinds=own.kinds, drop=own.drop, formats=table.formats
        )
        times = [column.name for column in schema.of_kind("datetime")]
    except DanluError:  # the training reads it again, and says what is wrong
        return {}, []
    if len(times) == 1:
        return {"split.method": "time", "split.column": times[0]}, [
            f"the test is of the latest rows by {times[0]!r}, since what comes next need not be like what was"
        ]
    why = f"the columns {', '.join(map(repr, times))} are all times" if times else "there is no column of times"
    return {}, [f"{why}, so rows are drawn at random; split.method=time split.column=COLUMN tests on the latest"]
