"""A trained model made smaller and faster: pruning, low rank, quantisation, distillation, one after the other, with receipts."""

from danlu.compression.compress import Compressed, compress
from danlu.compression.technique import Technique
from danlu.compression.techniques import (
    Distil,
    Gradual,
    LotteryTicket,
    LowRank,
    Magnitude,
    Merge,
    Movement,
    Quantize,
    Structured,
)
from danlu.compression.workshop import Workshop

__all__ = [
    "Compressed",
    "Distil",
    "Gradual",
    "LotteryTicket",
    "LowRank",
    "Magnitude",
    "Merge",
    "Movement",
    "Quantize",
    "Structured",
    "Technique",
    "Workshop",
    "compress",
]
