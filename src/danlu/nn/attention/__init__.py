"""Attention, the positions it needs, and how padding travels."""

from danlu.nn.attention.attention import MultiHeadAttention
from danlu.nn.attention.positions import LearnedPositions, SinusoidalPositions
from danlu.nn.attention.sequence import PerToken

__all__ = ["LearnedPositions", "MultiHeadAttention", "PerToken", "SinusoidalPositions"]
