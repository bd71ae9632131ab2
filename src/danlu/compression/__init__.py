"""A trained model made smaller and faster: pruning, low rank, quantisation, distillation, one after the other, with receipts."""

from danlu.compression.compress import Compressed, compress
from danlu.compression.technique import Technique
from danlu.compression.techniques import Distil, Magnitude
from danlu.compression.workshop import Workshop

__all__ = ["Compressed", "Distil", "Magnitude", "Technique", "Workshop", "compress"]
