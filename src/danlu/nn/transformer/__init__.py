"""Transformers: blocks, ready models, and writing with them."""

from danlu.nn.transformer.beam import beam_search
from danlu.nn.transformer.bert import BERT
from danlu.nn.transformer.block import Sublayer, TransformerBlock
from danlu.nn.transformer.cache import cached_step, init_cache
from danlu.nn.transformer.encoder_decoder import EncoderDecoder, Transformer
from danlu.nn.transformer.feed_forward import FeedForward
from danlu.nn.transformer.generate import generate, sample
from danlu.nn.transformer.gpt import GPT
from danlu.nn.transformer.pool import Pool
from danlu.nn.transformer.segments import Segments
from danlu.nn.transformer.tied import Tied
from danlu.nn.transformer.vit import ClassToken, Patches, ViT

__all__ = [
    "BERT",
    "GPT",
    "ClassToken",
    "EncoderDecoder",
    "FeedForward",
    "Patches",
    "Pool",
    "Segments",
    "Sublayer",
    "Tied",
    "Transformer",
    "TransformerBlock",
    "ViT",
    "beam_search",
    "cached_step",
    "generate",
    "init_cache",
    "sample",
]
