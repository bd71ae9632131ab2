"""Time series: read, put on an even grid of steps, scaled, and cut into windows."""

from danlu.data.series.calendar import Calendar
from danlu.data.series.encode import SeriesEncoder, listed
from danlu.data.series.read import Columns, OneSeries, SeriesTable, find_columns, read_series
from danlu.data.series.season import autocorrelation, find_season
from danlu.data.series.windows import Origins, Windows, WindowStream, cut_by_fold, cut_by_time

__all__ = [
    "Calendar",
    "Columns",
    "OneSeries",
    "Origins",
    "SeriesEncoder",
    "SeriesTable",
    "WindowStream",
    "Windows",
    "autocorrelation",
    "cut_by_fold",
    "cut_by_time",
    "find_columns",
    "find_season",
    "listed",
    "read_series",
]
