"""The techniques, one family a module."""

from danlu.compression.techniques.distil import Distil
from danlu.compression.techniques.gradual import Gradual, Movement
from danlu.compression.techniques.lottery import LotteryTicket
from danlu.compression.techniques.low_rank import LowRank, Merge
from danlu.compression.techniques.magnitude import Magnitude
from danlu.compression.techniques.quantize import Quantize
from danlu.compression.techniques.structured import Structured

__all__ = ["Distil", "Gradual", "LotteryTicket", "LowRank", "Magnitude", "Merge", "Movement", "Quantize", "Structured"]
