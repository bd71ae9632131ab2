"""What an audit found, as a part of a report, and as a page or a file of its own."""

from __future__ import annotations

import html
import json
from pathlib import Path

from danlu.auditing import SEVERITIES, Audit, Finding
from danlu.auditing.finding import SAMPLED
from danlu.errors import ConfigError
from danlu.files import write_atomic
from danlu.report.html import ReportData, whole_numbers, write_report
from danlu.report.words import in_parts

__all__ = ["audit_section", "check_place", "write_audit"]

_ROWS = 40  # of a finding that are shown on a page; a JSON file has all
_WORDS = {
    "serious": ("serious", "scores will not be true"),
    "warning": ("warning", "probably does harm"),
    "note": ("note", "good to know"),
}


def audit_section(found: Audit, *, title: str = "What the audit of the data found") -> tuple[str, str]:
    """The title and the HTML of a table of all findings, the worst first, with their rows and remedies."""
    if not found.findings:
        looked = ", ".join(found.looked)
        return title, f'<p class="note">Nothing{f" ({html.escape(looked)})" if looked else ""}.</p>'
    lines = "".join(_line(each) for each in found.findings)
    counts = {name: sum(each.severity == name for each in found) for name in SEVERITIES}
    key = "; ".join(f"{_WORDS[name][0]}: {_WORDS[name][1]}" for name in SEVERITIES if counts[name])
    first = f" Row 1 is line {found.first_line} of the file." if found.first_line is not None else ""
    first += f" {SAMPLED[:1].upper()}{SAMPLED[1:]}." if found.sample is not None else ""
    note = f"{key}. Rows are counted from 1, without the header.{first} A finding is a reason to look, not a verdict."
    return title, f'<table>{lines}</table><p class="note">{html.escape(note)}</p>'


def _line(each: Finding) -> str:
    rows = ""
    if len(each.rows) > 5:
        shown = ", ".join(map(str, each.rows[:_ROWS])) + (", …" if len(each.rows) > _ROWS else "")
        rows = f"<details><summary>{len(each.rows):,} rows</summary>{html.escape(shown)}</details>"
    mark = f"<b>{each.severity}</b>" if each.severity != "note" else each.severity
    do = f'<p class="note">{in_parts(each.remedy)}</p>' if each.remedy else ""
    said = f'<span style="overflow-wrap:anywhere">{whole_numbers(each.said)}</span>'
    return f"<tr><td>{mark}</td><td>{said}{rows}{do}</td></tr>"


def check_place(path: Path) -> None:
    """Refuse a file to write that is neither a page nor JSON.

    Raises:
        ConfigError: its name ends otherwise.
    """
    if path.suffix.lower() not in (".html", ".json"):
        raise ConfigError(f"--output is {str(path)!r}; expected a name that ends in .html or .json")


def write_audit(path: Path, found: Audit) -> None:
    """Write an audit as a page (``.html``) or with all rows as JSON (``.json``).

    Raises:
        ConfigError: another ending.
        ArtifactError: the file cannot be written.
    """
    check_place(path)
    if path.suffix.lower() == ".json":
        write_atomic(path, json.dumps(found.as_dict(), indent=2, ensure_ascii=False, default=str) + "\n")
        return
    data = ReportData(
        title=found.source,
        heading=f"Audit of {Path(found.source).name}",
        target="",
        task="",
        unit=found.unit,
        sections=[audit_section(found, title=f"{found.size}: {found.summary}")],
    )
    write_report(path, data)
