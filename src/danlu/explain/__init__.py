"""Why a network answers as it does: which inputs, words and places of an image its score comes from, and what it looked at."""

from danlu.explain.attention import attention_maps, cross_attention
from danlu.explain.cam import grad_cam, split_at_maps
from danlu.explain.path import Attribution, integrated_gradients
from danlu.explain.pixels import pixel_attribution
from danlu.explain.tokens import split_to_words, token_attribution, word_attribution

__all__ = [
    "Attribution",
    "attention_maps",
    "cross_attention",
    "grad_cam",
    "integrated_gradients",
    "pixel_attribution",
    "split_at_maps",
    "split_to_words",
    "token_attribution",
    "word_attribution",
]
