"""Texts: cutting them into tokens, and tokens into numbers."""

from danlu.data.text.corpus import Corpus, Tokens, Windows, read_corpus, split_corpus, tokens_of
from danlu.data.text.tokenizer import Tokenizer

__all__ = ["Corpus", "Tokenizer", "Tokens", "Windows", "read_corpus", "split_corpus", "tokens_of"]
