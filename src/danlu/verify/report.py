"""The outcome of a verification: a row for each algorithm, as a table and as JSON."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import platform
from typing import Any

__all__ = ["Report", "Row"]


@dataclasses.dataclass(frozen=True)
class Row:
    """One algorithm's outcome.

    Args:
        name: ``kind.algorithm``.
        error: the largest relative error against any oracle; infinite when it could not be computed.
        tolerance: the largest that passes.
        oracles: what it was compared with, each with its version.
        reason: why the tolerance is not the default.
        note: what went wrong, for a row that fails.
        seconds: how long it took, compilation included.
    """

    name: str
    error: float
    tolerance: float
    oracles: tuple[str, ...]
    reason: str = ""
    note: str = ""
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether the error is within the tolerance; False without an oracle."""
        return bool(self.oracles) and self.error <= self.tolerance


@dataclasses.dataclass(frozen=True)
class Report:
    """All rows of one verification."""

    rows: tuple[Row, ...]

    @property
    def ok(self) -> bool:
        """Whether there are rows and every one passed."""
        return bool(self.rows) and all(row.passed for row in self.rows)

    @property
    def summary(self) -> str:
        """One sentence."""
        failed = [row.name for row in self.rows if not row.passed]
        if not failed:
            return f"all {len(self.rows)} algorithms agree with their oracles"
        return f"{len(failed)} of {len(self.rows)} algorithms FAIL: {', '.join(failed)}"

    def __rich__(self) -> Any:
        """The table as rich draws it."""
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, padding=(0, 1), collapse_padding=True, header_style="bold")
        table.add_column("algorithm", no_wrap=True)
        table.add_column("error", justify="right", no_wrap=True)
        table.add_column("allowed", justify="right", no_wrap=True)
        table.add_column("", no_wrap=True)
        table.add_column("oracles", overflow="fold")
        for row in self.rows:
            verdict = Text("pass", "green") if row.passed else Text("FAIL", "bold red")
            oracles = ", ".join(_short(oracle) for oracle in row.oracles)
            detail = Text(oracles) if not row.note else Text(f"{oracles + ': ' if oracles else ''}{row.note}", "red")
            table.add_row(Text(row.name), f"{row.error:.1e}", f"{row.tolerance:.0e}", verdict, detail)
        return table

    def __str__(self) -> str:
        from rich.console import Console

        out = io.StringIO()
        console = Console(file=out, width=80, color_system=None)
        console.print(self)
        console.print(self.summary, markup=False, highlight=False)
        return out.getvalue().rstrip("\n")

    def to_json(self) -> str:
        """The rows and the machine's versions as JSON text; an infinite error is null."""
        import jax
        import numpy as np

        rows = [
            {
                **dataclasses.asdict(row),
                "error": row.error if math.isfinite(row.error) else None,
                "passed": row.passed,
            }
            for row in self.rows
        ]
        versions = {"python": platform.python_version(), "jax": jax.__version__, "numpy": np.__version__}
        return json.dumps({"ok": self.ok, "versions": versions, "rows": rows}, indent=1, allow_nan=False)


def _short(oracle: str) -> str:
    """An oracle as the table shows it: ``"optax 0.2.6"`` as ``"optax"``; words such as "closed form" as they are."""
    if oracle == "finite differences":  # in so many rows that the long form would break most lines
        return "differences"
    name, _, version = oracle.rpartition(" ")
    return name if name and version[0].isdigit() else oracle
