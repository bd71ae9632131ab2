"""Reports of a run for people: the HTML report, its plots, TensorBoard events."""

from danlu.report.columns import ColumnSummary, describe_columns
from danlu.report.events import TensorBoardLogger, log_test
from danlu.report.html import ReportData, write_report
from danlu.report.picture import heat_over, png_uri

__all__ = [
    "ColumnSummary",
    "ReportData",
    "TensorBoardLogger",
    "describe_columns",
    "heat_over",
    "log_test",
    "png_uri",
    "write_report",
]
