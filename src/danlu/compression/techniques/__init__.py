"""The techniques, one family a module."""

from danlu.compression.techniques.distil import Distil
from danlu.compression.techniques.magnitude import Magnitude

__all__ = ["Distil", "Magnitude"]
