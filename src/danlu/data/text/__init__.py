"""Texts: reading them, cutting them into tokens, and tokens into numbers."""

from danlu.data.text.corpus import Corpus, Tokens, Windows, read_corpus, split_corpus, tokens_of
from danlu.data.text.encode import TextEncoder
from danlu.data.text.read import TextSet, is_text_source, read_texts
from danlu.data.text.tokenizer import Tokenizer

__all__ = [
    "Corpus",
    "TextEncoder",
    "TextSet",
    "Tokenizer",
    "Tokens",
    "Windows",
    "is_text_source",
    "read_corpus",
    "read_texts",
    "split_corpus",
    "tokens_of",
]
