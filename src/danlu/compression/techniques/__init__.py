"""The techniques, one family a module."""

from danlu.compression.techniques.magnitude import Magnitude

__all__ = ["Magnitude"]
