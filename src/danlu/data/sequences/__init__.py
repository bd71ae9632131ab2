"""Sequences with one label each: reading them from long tables and arrays, and making them one shape."""

from danlu.data.sequences.encode import SequenceEncoder
from danlu.data.sequences.read import SequenceSet, is_sequence_source, read_sequences

__all__ = ["SequenceEncoder", "SequenceSet", "is_sequence_source", "read_sequences"]
