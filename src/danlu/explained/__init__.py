"""Why one answer: a trained model's answers, explained in words, pictures and plain data."""

from danlu.explained.answer import Block, Explained, Explanations, Part
from danlu.explained.asked import METHODS, Asked
from danlu.explained.score import SCALES
from danlu.explained.tables import explain_table

__all__ = [
    "METHODS",
    "SCALES",
    "Asked",
    "Block",
    "Explained",
    "Explanations",
    "Part",
    "explain_table",
]
