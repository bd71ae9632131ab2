"""Run the cases: from Python, and for ``danlu verify``."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from danlu.engine.mesh import need_devices
from danlu.errors import ConfigError
from danlu.files import write_atomic
from danlu.verify.case import Case, Check, select
from danlu.verify.report import Report, Row

__all__ = ["run_verify", "verify"]


def verify(names: str | Iterable[str] | None = None, *, progress: Callable[[str], None] | None = None) -> Report:
    """Compare algorithms with independent oracles.

    Args:
        names: names, kinds or wildcards, such as ``"optimizer.adam"``, ``"optimizer"`` or ``"*.ada*"``; all for None.
        progress: called with the name of each case before it runs.

    Returns:
        A report with a row for each algorithm. A case that raises is a row that fails.

    Raises:
        ConfigError: a name that matches nothing.

    Example:
        >>> report = verify("schedule.constant")
        >>> report.ok, [row.name for row in report.rows]
        (True, ['schedule.constant'])
    """
    rows = []
    for case in select(names):
        if progress is not None:
            progress(case.name)
        rows.append(_run(case))
    return Report(tuple(rows))


def _run(case: Case) -> Row:
    check, note, started = Check(), "", time.perf_counter()
    try:
        case.run(check)
    except Exception as error:  # whatever an algorithm raises is its row's failure, not the end of the table
        check.error, note = float("inf"), f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    if not note and check.error > case.tolerance:
        note = f"differs from {check.worst}"
    if not check.oracles and not note:
        check.error, note = float("inf"), "nothing was compared"
    oracles = tuple(f"{name} {version}".strip() for name, version in check.oracles.items())
    seconds = round(time.perf_counter() - started, 3)
    return Row(case.name, check.error, case.tolerance, oracles, case.reason, note, seconds)


def run_verify(pattern: str | None = None, *, json_path: str | Path | None = None) -> int:
    """Verify, print the table, and tell whether all is well: the command ``danlu verify``.

    Args:
        pattern: which algorithms; see :func:`verify`.
        json_path: where to write the report as JSON as well.

    Returns:
        The exit status: 0, or 1 when a row failed.

    Raises:
        ConfigError: a pattern that matches nothing, or a file that cannot be written.
    """
    from rich.console import Console

    with contextlib.suppress(ConfigError):
        need_devices(2)
    console = Console()
    if console.is_terminal:
        with console.status("verifying") as status:
            report = verify(pattern, progress=lambda name: status.update(f"verifying {name}"))
        console.print(report)
        console.print(report.summary, style="green" if report.ok else "bold red", markup=False, highlight=False)
    else:
        report = verify(pattern)
        print(report)
    if json_path is not None:
        write_atomic(json_path, report.to_json() + "\n", error=ConfigError)
    return 0 if report.ok else 1
