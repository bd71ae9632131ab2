"""Weights that other libraries have trained, for the same networks of danlu's."""

from danlu.weights.load import load
from danlu.weights.read import read_arrays

__all__ = ["load", "read_arrays"]
