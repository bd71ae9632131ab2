"""Why one answer: a trained model's answers, explained in words, pictures and plain data."""

from danlu.explained.answer import Block, Explained, Explanations, Part
from danlu.explained.asked import METHODS, Asked
from danlu.explained.changes import changes_of
from danlu.explained.overview import Curve, Overview
from danlu.explained.overview_table import overview_of_table
from danlu.explained.pictures import PARTS_OF_A_SOUND, explain_pictures
from danlu.explained.score import SCALES
from danlu.explained.steps import explain_steps
from danlu.explained.tables import explain_table
from danlu.explained.texts import explain_texts

__all__ = [
    "METHODS",
    "PARTS_OF_A_SOUND",
    "SCALES",
    "Asked",
    "Block",
    "Curve",
    "Explained",
    "Explanations",
    "Overview",
    "Part",
    "changes_of",
    "explain_pictures",
    "explain_steps",
    "explain_table",
    "explain_texts",
    "overview_of_table",
]
