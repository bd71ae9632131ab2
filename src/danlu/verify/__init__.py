"""Every algorithm against an independent oracle: what ``danlu verify`` runs."""

from danlu.verify.case import TOLERANCE, Case, Check, case, relative_error, select
from danlu.verify.report import Report, Row
from danlu.verify.run import run_verify, verify

__all__ = [
    "TOLERANCE",
    "Case",
    "Check",
    "Report",
    "Row",
    "case",
    "relative_error",
    "run_verify",
    "select",
    "verify",
]
