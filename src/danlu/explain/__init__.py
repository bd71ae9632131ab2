"""Explanations of a network's answer: the inputs, words and image regions that its score comes from, and its attention."""

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
