"""An audit of data of any kind, before anything is learnt from it."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from danlu.auditing import Audit
from danlu.data.remote import brought, masked
from danlu.errors import ConfigError
from danlu.pipeline.config import TrainConfig, setting_names
from danlu.pipeline.domains import DOMAINS, domain_of
from danlu.pipeline.train import config_of
from danlu.pipeline.used import check_used
from danlu.stages import stage

__all__ = ["audit", "audit_from"]


def audit_from(
    config: TrainConfig, source: Any = None, *, against: Any = None, at: str | None = None, label_errors: bool = True
) -> Audit:
    """As :func:`audit`, of the data that a config names, or of ``source``."""
    begun = time.perf_counter()
    source = config.data.source if source is None else source
    usual = TrainConfig()
    for name in setting_names():
        if not name.startswith("data.") and config.setting(name) != usual.setting(name):
            raise ConfigError(
                f"danlu audit trains nothing, and {name} is not used", hint="its settings are those of data.*"
            )
    if not config.data.audit:
        raise ConfigError("data.audit=false leaves the audit out of a training; danlu audit is one")
    local = brought(source)
    domain = domain_of(config, local)
    check_used(config, domain, local, DOMAINS)
    with stage("auditing"):
        found = domain.audit(config, local, against=brought(against), at=at, label_errors=label_errors)
    named = masked(str(source)) if isinstance(source, str | Path) else f"the {type(source).__name__} given"
    return dataclasses.replace(found, source=named, seconds=time.perf_counter() - begun)


def audit(
    source: Any,
    *,
    target: str = "",
    against: Any = None,
    at: str | None = None,
    label_errors: bool = True,
    **settings: Mapping[str, Any],
) -> Audit:
    """Look for faults of data before a model is trained on it: leaks, copies, impossible values, wrong labels, drift.

    Args:
        source: what :func:`danlu.train` takes: a table, labelled images or texts.
        target: the column to predict; without one only the checks are made that need none.
        against: a second file of the same kind, such as new data: its drift, and rows that stand in both.
        at: of a table: the column of dates that says when the answer must be given; what is dated later leaks.
        label_errors: whether to look for wrong labels, which takes a model of each of five folds.
        **settings: sections of the config, as of :func:`danlu.train`, such as ``data={"drop": ["id"]}``.

    Returns:
        An :class:`~danlu.auditing.Audit`: its findings, the worst first, each with columns, rows, evidence and remedy.

    Raises:
        DanluError: input that cannot be used; one clear message.

    Example:
        >>> rows = range(100)
        >>> table = {"x": [i * 7 % 31 for i in rows], "paid": [i % 3 == 0 for i in rows], "y": ["no yes".split()[i % 3 == 0] for i in rows]}
        >>> found = audit(table, target="y", label_errors=False)
        >>> found.findings[0].check, found.findings[0].columns
        ('target copied', ('paid',))
    """
    config = config_of("audit", source, {"target": target}, settings)
    return audit_from(
        config, None if isinstance(source, str | Path) else source, against=against, at=at, label_errors=label_errors
    )
