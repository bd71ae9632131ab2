"""The record of a run for people: the HTML report, its plots, TensorBoard events."""

from danlu.report.events import TensorBoardLogger
from danlu.report.html import ReportData, write_report

__all__ = ["ReportData", "TensorBoardLogger", "write_report"]
