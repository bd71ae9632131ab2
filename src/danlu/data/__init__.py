"""Reading tables, their schema, splits, encoding, resampling and streams."""

from danlu.data.encode import TableEncoder
from danlu.data.read import DEFAULT_MISSING, read_table
from danlu.data.schema import Column, Schema, infer_schema
from danlu.data.table import Table
from danlu.data.task import InferredTask, drop_missing_target, infer_task
