"""The health of a run: the doctor's findings with the command that makes the change, in the record and in Python."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from danlu.artifact import RunDirectory
from danlu.engine import Finding, Fitted, Health
from danlu.engine import diagnose as look_inside
from danlu.errors import ConfigError, shorten
from danlu.pipeline.domain import Domain
from danlu.pipeline.used import uses

__all__ = ["as_record", "diagnose", "for_run", "lines"]


def diagnose(training: Any) -> Health:
    """What is wrong with a training, if anything can be seen: each finding with its evidence and one thing to change.

    Args:
        training: what :func:`danlu.fit` or :func:`danlu.train` returned, which is looked inside now; or a run's folder, of which the
            findings are read that were made when it was trained.

    Raises:
        ArtifactError: there is no such run, or it has no results.
        ConfigError: something else.

    Example:
        >>> import danlu, numpy as np
        >>> x = np.random.default_rng(0).normal(size=(64, 2)).astype("float32")
        >>> fitted = danlu.fit(danlu.nn.Dense(1), x, x[:, 0] + x[:, 1], loss="mse", learning_rate=1e-8, epochs=20, display="none")
        >>> danlu.diagnose(fitted).findings[0].kind
        'rate_too_low'
    """
    fitted = getattr(training, "fitted", training)
    if isinstance(fitted, Fitted):
        return look_inside(fitted)
    if isinstance(training, str | os.PathLike):
        found = RunDirectory.open(Path(training)).read_json("results.json").get("health") or {}
        return Health(tuple(_finding(each) for each in found.get("findings", ())))
    raise ConfigError(
        f"danlu.diagnose received {shorten(training)}; expected what danlu.fit or danlu.train returned, or the folder of a run"
    )


def _finding(said: Mapping[str, Any]) -> Finding:
    own = {name: said[name] for name in ("kind", "what", "evidence", "change", "code", "settings") if name in said}
    return Finding(**own, members=tuple(said.get("members", ())))


def for_run(health: Health, run: RunDirectory, domain: Domain) -> list[dict[str, Any]]:
    """The findings as plain data, each with the ``command`` that trains again with the change; empty where no setting makes it."""
    found = []
    for finding in health.findings:
        settings = {name: value for name, value in finding.settings.items() if uses(domain, name)}
        again = (
            "danlu",
            "train",
            "--config",
            str(run.config_path),
            *(f"{name}={value}" for name, value in settings.items()),
        )
        found.append({**finding.as_dict(), "settings": settings, "command": shlex.join(again) if settings else ""})
    return found


def as_record(health: Health, run: RunDirectory, domain: Domain) -> dict[str, Any]:
    """What ``results.json`` holds of it."""
    return {**health.as_dict(), "findings": for_run(health, run, domain)}


def lines(record: Mapping[str, Any], most: int = 3) -> list[str]:
    """The findings of a record for the terminal, each a line, the worst first."""
    found = record.get("findings") or []
    told = [
        f"health: {_finding(each)}" + (f"\n  {each['command']}" if each.get("command") else "") for each in found[:most]
    ]
    return [*told, f"health: {len(found) - most} more in the report"] if len(found) > most else told
