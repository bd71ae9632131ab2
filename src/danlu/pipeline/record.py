"""The record of a finished run: ``results.json`` and ``report.html``."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from danlu.artifact import RunDirectory
from danlu.evaluate import Rows
from danlu.evaluate.judgement import Judgement
from danlu.nn import summary
from danlu.pipeline.config import TrainConfig
from danlu.pipeline.domain import Domain, Prepared
from danlu.pipeline.effort import Effort, environment, in_kilojoules
from danlu.pipeline.health import as_record
from danlu.trained import Learned, Trained

if TYPE_CHECKING:
    from danlu.pipeline.crossed import CrossValidation

__all__ = ["write_crossed", "write_record"]

_ROWS = 100  # of a finding of the audit that a run keeps


def write_record(
    run: RunDirectory,
    config: TrainConfig,
    domain: Domain,
    prepared: Prepared,
    trained: Trained,
    learned: Learned,
    judgement: Judgement | None,
    effort: Effort,
    *,
    sections: Sequence[tuple[str, str]] = (),
) -> None:
    """Write ``results.json`` and, unless the config says no, ``report.html``; ``sections`` are further parts of it."""
    fitted, results = learned.fitted, {} if judgement is None else judgement.as_dict()
    record: dict[str, Any] = {"rows": prepared.rows, "best_epoch": fitted.best_epoch, "epochs": len(fitted.history)}
    told = trained.head.facts()
    if prepared.audit is not None:
        record["audit"] = prepared.audit.as_dict(rows=_ROWS)["findings"]
    if learned.notes:
        record["model"] = list(learned.notes)
    record["health"] = as_record(fitted.health, run, domain)
    if told:
        record["answers"] = told
    compute = effort.as_dict()
    run.write_json("results.json", {**results, **record, **_cost(compute)})
    if not config.evaluate.report:
        return
    from danlu.report import ReportData, write_report
    from danlu.report.health import health_section
    from danlu.report.judged import judged_sections

    layers = summary(trained.network, trained.in_shape)
    own = domain.report(prepared, trained, judgement)
    facts = {
        "network": type(trained.network).__name__,
        "parameters": f"{layers.parameters:,}",
        "epochs": f"{len(fitted.history)}" + ("" if fitted.best_epoch is None else f" (best: {fitted.best_epoch + 1})"),
        **own.pop("facts", {}),
        **told,
    }
    if fitted.stopped_because:
        facts["ended"] = fitted.stopped_because
    judgement = judgement or Judgement({})
    own["sections"] = [
        *sections,
        *judged_sections(judgement),
        *own.get("sections", ()),
        health_section(record["health"]),
    ]
    data = ReportData(
        **_common(run, config, judgement, compute),
        history=fitted.history,
        best_epoch=fitted.best_epoch,
        model_html=layers._repr_html_(),
        parts=prepared.rows,
        unit=prepared.unit,
        split=prepared.split,
        facts=facts,
        notices=(*_not_audited(prepared), *learned.notes, *judgement.said),
        audit_html=_audited(prepared),
        **own,
    )
    write_report(run.report_path, data)


def write_crossed(
    run: RunDirectory,
    config: TrainConfig,
    domain: Domain,
    prepared: Prepared,
    crossed: CrossValidation,
    effort: Effort,
) -> None:
    """Write ``results.json`` and ``report.html`` of a cross-validation.

    Args:
        prepared: the data of one fold, for what is said of the columns.
    """
    judgement, folds = crossed.judgement, crossed.folds
    each = [{"fold": fold.number, "rows": fold.rows, "test": fold.scores} for fold in folds]
    means = {
        name: {"mean": found.value, "interval": [found.low, found.high], **({"why": found.why} if found.why else {})}
        for name, found in crossed.fold_intervals.items()
    }
    record = {
        **judgement.as_dict(),
        "mean_of_folds": means,
        "rows": crossed.rows,
        "folds": each,
        **_cost(compute := effort.as_dict()),
    }
    run.write_json("results.json", record)
    if not config.evaluate.report:
        return
    from danlu.report import ReportData, write_report
    from danlu.report.folds import folds_section
    from danlu.report.judged import judged_sections

    own = domain.report(prepared, folds[0].model, None)
    of_one = f"fold 1 of {config.evaluate.folds}, "  # which ``prepared`` is of
    facts = {
        "models": f"{len(folds)}, one for each fold",
        **own.pop("facts", {}),
        **crossed.model.head.facts(),
    }
    data = ReportData(
        **_common(run, config, judgement, compute),
        parts=crossed.rows,
        unit=crossed.unit,
        split=f"{len(folds)} folds; {prepared.split.removeprefix(of_one)}",
        facts=facts,
        notices=(*_not_audited(prepared), *judgement.said),
        audit_html=_audited(prepared),
        **{
            **own,
            "rows": judgement.evidence if isinstance(judgement.evidence, Rows) else None,
            "sections": [
                folds_section(crossed.fold_scores, crossed.fold_intervals),
                *judged_sections(judgement),
                *own.get("sections", []),
            ],
        },
    )
    write_report(run.report_path, data)


def _not_audited(prepared: Prepared) -> tuple[str, ...]:
    """The notices without what the audit says, which has a table of its own."""
    told = set() if prepared.audit is None else {str(each) for each in prepared.audit}
    return tuple(notice for notice in prepared.notices if notice not in told)


def _audited(prepared: Prepared) -> str:
    from danlu.report.audit import audit_section

    return "" if prepared.audit is None or not prepared.audit.findings else audit_section(prepared.audit)[1]


def _cost(compute: dict[str, Any]) -> dict[str, Any]:
    """What a run took and where, for ``results.json``."""
    return {"seconds": compute["seconds"], "compute": compute, "environment": environment()}


def _common(run: RunDirectory, config: TrainConfig, judgement: Judgement, compute: dict[str, Any]) -> dict[str, Any]:
    """The fields of every report: what the test says, and how the run is repeated."""
    return {
        "title": run.name,
        "scores": judgement.scores,
        "others": judgement.others,
        "comparisons": judgement.comparisons,
        "name": judgement.name,
        "rows_are": judgement.rows_are,
        "config": config.as_dict(),
        "command": f"danlu train --config {shlex.quote(str(Path(run.path) / 'config.json'))}",
        "environment": {**_took(compute), "seed": str(config.trainer.seed), **environment()},
    }


def _took(compute: dict[str, Any]) -> dict[str, str]:
    found = {"time": f"{compute['seconds']:,.0f} s", "CPU time, all cores": f"{compute['cpu_seconds']:,.0f} s"}
    if "package_joules" in compute:
        found["energy of the processor"] = in_kilojoules(compute["package_joules"])
    return found
