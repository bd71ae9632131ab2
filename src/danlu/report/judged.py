"""The report's parts on what a test tells beyond its scores, the same for every kind of data: groups of rows, and slices."""

from __future__ import annotations

from danlu.evaluate.judgement import Judgement
from danlu.report.clients import clients_section
from danlu.report.fairness import fairness_section, trade_section
from danlu.report.slices import slices_section

__all__ = ["judged_sections"]


def judged_sections(judgement: Judgement) -> list[tuple[str, str]]:
    """Titles and HTML."""
    rows = judgement.evidence
    sections = [
        fairness_section(found, rows, groups)
        for found, groups in zip(judgement.fairness, judgement.groups, strict=True)
    ]
    if judgement.clients is not None:
        sections.insert(0, clients_section(judgement.clients))
    if judgement.trade_off is not None:
        sections.append(trade_section(judgement.trade_off))
    return sections if judgement.slices is None else [*sections, slices_section(judgement.slices)]
