"""Texts: cutting them into tokens, and tokens into numbers."""

from danlu.data.text.tokenizer import Tokenizer

__all__ = ["Tokenizer"]
