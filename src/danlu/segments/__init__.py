"""Groups of rows that are alike: codes by an autoencoder, how many groups there are, and what each is like in words."""

from danlu.segments.choose import Choice, centres_of, choose, prediction_strength
from danlu.segments.head import Segmenting
from danlu.segments.learn import divided, learn_segments, means_of
from danlu.segments.network import Redrawn, TableAutoencoder
from danlu.segments.settings import SegmentSettings, segments_recipe
from danlu.segments.words import Described, described

__all__ = [
    "Choice",
    "Described",
    "Redrawn",
    "SegmentSettings",
    "Segmenting",
    "TableAutoencoder",
    "centres_of",
    "choose",
    "described",
    "divided",
    "learn_segments",
    "means_of",
    "prediction_strength",
    "segments_recipe",
]
