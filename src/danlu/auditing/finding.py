"""What an audit finds: a fault of the data, where it is, how it shows, and what to do."""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from danlu.prose import WIDTH, wrapped

__all__ = ["SAMPLED", "SEVERITIES", "Audit", "Finding", "are", "numbers_in_words"]

SEVERITIES = ("serious", "warning", "note")
"""How bad a finding is: ``"serious"`` makes scores untrue, ``"warning"`` probably does harm, a ``"note"`` is good to know."""

SAMPLED = "what is rare may not be in a sample, nor are equal rows far from each other; shares are of the sample"
"""What the reader of the audit of a sample must know."""

_LINES = 24  # of a terminal
_ROWS = 5  # that are named in a line


@dataclasses.dataclass(frozen=True)
class Finding:
    """One finding of an audit.

    Attributes:
        check: the name of the check that found it, such as ``"target copied"``.
        severity: one of :data:`SEVERITIES`.
        said: what was found, with its evidence, in a sentence.
        columns: the columns that it is about; none where it is about whole rows.
        rows: the rows, numbered from 1 as the source has them, its header not counted; none where it is about whole columns.
        evidence: the figures behind it, by name.
        remedy: what to do: a setting or an option that exists, where there is one.
    """

    check: str
    severity: str
    said: str
    columns: tuple[str, ...] = ()
    rows: tuple[int, ...] = ()
    evidence: Mapping[str, Any] = dataclasses.field(default_factory=dict, hash=False)
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.said}; {self.remedy}" if self.remedy else self.said

    def as_dict(self, *, rows: int | None = None) -> dict[str, Any]:
        """The same as plain data, with so many rows at most."""
        body = {each.name: getattr(self, each.name) for each in dataclasses.fields(self)}
        return {**body, "columns": list(self.columns), "rows": list(self.rows[:rows]), "evidence": dict(self.evidence)}


@dataclasses.dataclass(frozen=True, repr=False)
class Audit:
    """What was found, the worst first.

    Attributes:
        source: what was looked at.
        findings: what was found.
        rows: how many rows there are, or what ``unit`` says.
        unit: what they are called.
        first_line: the line of the file on which row 1 stands, where rows are lines.
        looked: the checks that were made.
        seconds: how long it took.
        sample: how many of the rows were looked at, where they were not all.
    """

    source: str
    findings: tuple[Finding, ...]
    rows: int
    unit: str = "rows"
    first_line: int | None = None
    looked: tuple[str, ...] = ()
    seconds: float = 0.0
    sample: int | None = None

    @classmethod
    def of(cls, source: str, findings: Iterable[Finding], rows: int, **more: Any) -> Audit:
        """The findings in the order of their severity; those of one severity stay as they come."""
        ordered = sorted(findings, key=lambda each: SEVERITIES.index(each.severity))
        return cls(source, tuple(ordered), rows, **more)

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    def __len__(self) -> int:
        return len(self.findings)

    @property
    def alarms(self) -> tuple[Finding, ...]:
        """The findings that are more than a note."""
        return tuple(each for each in self.findings if each.severity != "note")

    def of_check(self, check: str) -> tuple[Finding, ...]:
        """The findings of one check."""
        return tuple(each for each in self.findings if each.check == check)

    @property
    def size(self) -> str:
        """How many rows there are, and how many of them were looked at."""
        some = "" if self.sample is None else f", of which a sample of {self.sample:,} was looked at"
        return f"{self.rows:,} {self.unit}{some}"

    @property
    def summary(self) -> str:
        """How many findings there are of each severity."""
        counts = {name: sum(each.severity == name for each in self.findings) for name in SEVERITIES}
        words = [
            f"{counts['serious']} serious" if counts["serious"] else "",
            f"{counts['warning']} warning{'s' * (counts['warning'] != 1)}" if counts["warning"] else "",
            f"{counts['note']} note{'s' * (counts['note'] != 1)}" if counts["note"] else "",
        ]
        return ", ".join(filter(None, words)) or "nothing found"

    def __str__(self) -> str:
        """At most a screen: the worst findings, and how many more there are."""
        lines = wrapped(f"{self.source}: {self.size}; {self.summary}", indent="  ").split("\n")
        if self.sample is not None:
            lines += wrapped(f"({SAMPLED})").split("\n")
        if self.first_line is not None and any(each.rows for each in self.findings):
            lines.append(f"(row 1 is line {self.first_line} of the file)")
        shown = 0
        for each in self.findings:
            block = _block(each)
            last = each is self.findings[-1]
            if len(lines) + len(block) > _LINES - (1 if last else 3):
                break
            lines += block
            shown += 1
        rest = self.findings[shown:]
        if rest:
            names = list(dict.fromkeys(each.check for each in rest))
            more = ", ".join(names[:4]) + (", …" if len(names) > 4 else "")
            said = f"{len(rest)} more ({more}): --output audit.html or audit.json has all"
            lines += wrapped(said, indent="  ").split("\n")
        return "\n".join(lines[:_LINES])

    def __repr__(self) -> str:
        return f"Audit({self.source!r}, {self.rows:,} {self.unit}: {self.summary})"

    def _repr_html_(self) -> str:
        lines = "".join(
            f"<tr><td>{each.severity}</td><td>{html.escape(each.said)}</td><td>{html.escape(each.remedy)}</td></tr>"
            for each in self.findings
        )
        return f"<p>{html.escape(self.source)}: {self.size}; {self.summary}</p><table>{lines}</table>"

    def as_dict(self, *, rows: int | None = None) -> dict[str, Any]:
        """Everything as plain data, with so many rows of each finding at most."""
        return {
            "source": self.source,
            "rows": self.rows,
            "unit": self.unit,
            "first_line": self.first_line,
            "looked": list(self.looked),
            "seconds": round(self.seconds, 2),
            "sample": self.sample,
            "findings": [each.as_dict(rows=rows) for each in self.findings],
        }


def _block(each: Finding) -> list[str]:
    """A finding in a few lines of a terminal."""
    mark = {"serious": "!!", "warning": "! ", "note": "· "}[each.severity]
    lines = wrapped(f"{mark} {each.said}", indent="   ").split("\n")
    if len(lines) > 3:
        lines = [*lines[:2], lines[2][: WIDTH - 2] + " …"]
    if each.remedy:
        lines += wrapped(f"   → {each.remedy}", indent="     ").split("\n")[:2]
    return [line if len(line) <= WIDTH else f"{line[: WIDTH - 1]}…" for line in lines]


def are(count: int, unit: str) -> str:
    """So many of a unit, and the verb.

    >>> are(1, "texts"), are(1200, "rows")
    ('1 text is', '1,200 rows are')
    """
    return f"1 {unit.removesuffix('s')} is" if count == 1 else f"{count:,} {unit} are"


def numbers_in_words(rows: Sequence[int] | np.ndarray, noun: str = "row") -> str:
    """Some row numbers as text.

    >>> numbers_in_words([3]), numbers_in_words([3, 4, 9, 10, 11, 12])
    ('row 3', 'rows 3, 4, 9, 10, 11, …')
    """
    shown = ", ".join(str(int(row)) for row in rows[:_ROWS]) + (", …" if len(rows) > _ROWS else "")
    return f"{noun}{'s' if len(rows) != 1 else ''} {shown}"
