"""Backpropagation: walked by hand layer by layer, and checked against finite differences."""

from danlu.nn.backprop.activation_rules import ACTIVATION_RULES
from danlu.nn.backprop.check import GradientCheck, GradientRow, gradient_check
from danlu.nn.backprop.rules import LAYER_RULES
from danlu.nn.backprop.tape import Record, Trace, trace

__all__ = [
    "ACTIVATION_RULES",
    "LAYER_RULES",
    "GradientCheck",
    "GradientRow",
    "Record",
    "Trace",
    "gradient_check",
    "trace",
]
