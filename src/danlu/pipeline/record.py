"""The record of a finished run: ``results.json`` and ``report.html``."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from danlu.artifact import RunDirectory
from danlu.evaluate import Rows
from danlu.evaluate.diagrams import diagrams
from danlu.evaluate.judgement import Judgement
from danlu.nn import summary
from danlu.pipeline.branched import Branch
from danlu.pipeline.config import TrainConfig
from danlu.pipeline.domain import Domain, Prepared
from danlu.pipeline.effort import Effort, energy_in_words, environment
from danlu.pipeline.health import as_record
from danlu.pipeline.parts import kept_parts, places_for
from danlu.trained import Learned, Trained

if TYPE_CHECKING:
    from danlu.pipeline.crossed import CrossValidation

__all__ = ["report_of", "write_crossed", "write_record"]

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
    more: Mapping[str, Any] | None = None,
) -> None:
    """Write ``results.json`` and, unless the config says no, ``report.html``.

    Args:
        sections: further parts of the report.
        more: further parts of the record.
    """
    fitted, results = learned.fitted, _tested(judgement)
    record: dict[str, Any] = {"rows": prepared.rows, "best_epoch": fitted.best_epoch, "epochs": len(fitted.history)}
    record |= {"split": prepared.split, "seed": config.trainer.seed, "command": _command(run)}
    told = trained.head.facts()
    if prepared.audit is not None:
        record["audit"] = prepared.audit.as_dict(rows=_ROWS)["findings"]
    if learned.notes:
        record["model"] = list(learned.notes)
    branch = Branch.of(run)
    if branch is not None:
        record["branch"] = branch.as_dict()
    record["health"] = as_record(fitted.health, run, domain)
    if told:
        record["answers"] = told
    compute = effort.as_dict()
    record |= {**_cost(compute), **(more or {})}
    run.write_json("results.json", {**results, **record})
    if config.evaluate.report:
        ended = fitted.stopped_because or ""
        report_of(run, config, domain, prepared, trained, judgement, record, fitted.history, ended, sections)


def report_of(
    run: RunDirectory,
    config: TrainConfig,
    domain: Domain,
    prepared: Prepared,
    trained: Trained,
    judgement: Judgement | None,
    record: Mapping[str, Any],
    history: Sequence[Mapping[str, Any]],
    ended: str = "",
    sections: Sequence[tuple[str, str]] = (),
) -> None:
    """Write ``report.html``.

    Args:
        record: of the training, as in ``results.json``.
        history: a row an epoch.
        ended: why it ended before its last epoch.
        sections: further parts.
    """
    from danlu.report import ReportData, write_report
    from danlu.report.health import health_html
    from danlu.report.judged import judged_sections

    layers, best = summary(trained.network, trained.in_shape), record.get("best_epoch")
    own = domain.report(prepared, trained, judgement)
    facts = {
        "network": type(trained.network).__name__,
        "parameters": f"{layers.parameters:,}",
        "epochs": f"{len(history)}" + ("" if best is None else f" (best: {best + 1})"),
        **own.pop("facts", {}),
        **trained.head.facts(),
    }
    if ended:
        facts["ended"] = ended
    if (branch := Branch.of(run)) is not None:
        facts["branch of"] = str(branch)
    judgement = judgement or Judgement({})
    own["sections"] = [
        *sections,
        *judged_sections(judgement),
        *own.get("sections", ()),
    ]
    data = ReportData(
        **_common(run, config, judgement, record),
        history=history,
        best_epoch=best,
        model_html=layers._repr_html_(),
        parts=prepared.rows,
        unit=prepared.unit,
        split=prepared.split,
        facts=facts,
        notices=(*_not_audited(prepared), *record.get("model", ())),
        remarks=judgement.said,
        health_html=health_html(record["health"]) if record.get("health") else "",
        audit_html=_audited(prepared),
        places=places_for(trained, apart=config.federated.active or getattr(prepared, "train", ()) is None),
        parts_added=kept_parts(run),
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
        **_tested(judgement),
        "mean_of_folds": means,
        "fold_notes": list(crossed.fold_notes),
        "seed": config.trainer.seed,
        "command": _command(run),
        "rows": crossed.rows,
        "folds": each,
        **_cost(effort.as_dict()),
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
        **_common(run, config, judgement, record),
        parts=crossed.rows,
        unit=crossed.unit,
        split=f"{len(folds)} folds; {prepared.split.removeprefix(of_one)}",
        facts=facts,
        notices=_not_audited(prepared),
        remarks=judgement.said,
        audit_html=_audited(prepared),
        places=places_for(crossed.model),
        parts_added=kept_parts(run),
        **{
            **own,
            "rows": judgement.evidence if isinstance(judgement.evidence, Rows) else None,
            "sections": [
                folds_section(crossed.fold_scores, crossed.fold_intervals, crossed.fold_notes),
                *judged_sections(judgement),
                *own.get("sections", []),
            ],
        },
    )
    write_report(run.report_path, data)


def _tested(judgement: Judgement | None) -> dict[str, Any]:
    """What the test says, with the numbers of its diagrams, for ``results.json``."""
    if judgement is None:
        return {}
    rows = judgement.evidence
    return {**judgement.as_dict(), **({"diagrams": diagrams(rows)} if isinstance(rows, Rows) else {})}


def _command(run: RunDirectory) -> str:
    """The command that trains the same again."""
    branch = Branch.of(run)
    if branch is None:
        return shlex.join(("danlu", "train", "--config", str(run.config_path)))
    settings = (f"{name}={new}" for name, (_, new) in branch.settings.items())
    return shlex.join(("danlu", "replay", branch.run, "--step", str(branch.step), *settings))


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


def _common(run: RunDirectory, config: TrainConfig, judgement: Judgement, record: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of every report: what the test says, and how the run is repeated."""
    return {
        "title": run.name,
        "scores": judgement.scores,
        "others": judgement.others,
        "comparisons": judgement.comparisons,
        "name": judgement.name,
        "rows_are": judgement.rows_are,
        "config": config.as_dict(),
        "command": _command(run),
        "environment": {
            **_took(record.get("compute") or {}),
            "seed": str(config.trainer.seed),
            **(record.get("environment") or {}),
        },
    }


def _took(compute: Mapping[str, Any]) -> dict[str, str]:
    found = {"time": "seconds", "CPU time, all cores": "cpu_seconds"}
    found = {label: f"{compute[name]:,.0f} s" for label, name in found.items() if name in compute}
    energy = energy_in_words(compute)
    return {**found, "energy": energy} if energy else found
