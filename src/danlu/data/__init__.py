"""Reading tables, their schema, splits, encoding, resampling and streams."""

from danlu.data.check import check_frame, doubts
from danlu.data.convert import to_parquet
from danlu.data.describe import infer_schema
from danlu.data.encode import TableEncoder
from danlu.data.fold import Fold
from danlu.data.read import DEFAULT_MISSING, read_table
from danlu.data.resample import oversample, resampler, undersample
from danlu.data.schema import Column, Schema
from danlu.data.split import Split, folds, leakage, split_rows
from danlu.data.stream import EncodedStream, TableStream, open_stream
from danlu.data.table import Table
from danlu.data.target import TargetEncoder
from danlu.data.task import InferredTask, drop_missing_target, has_target, infer_task

__all__ = [
    "DEFAULT_MISSING",
    "Column",
    "EncodedStream",
    "Fold",
    "InferredTask",
    "Schema",
    "Split",
    "Table",
    "TableEncoder",
    "TableStream",
    "TargetEncoder",
    "check_frame",
    "doubts",
    "drop_missing_target",
    "folds",
    "has_target",
    "infer_schema",
    "infer_task",
    "leakage",
    "open_stream",
    "oversample",
    "read_table",
    "resampler",
    "split_rows",
    "to_parquet",
    "undersample",
]
