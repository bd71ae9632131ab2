"""Texts: reading them, cutting them into tokens, and tokens into numbers."""

from danlu.data.text.buckets import Buckets, PairTokens, bucket_widths
from danlu.data.text.corpus import Corpus, Tokens, Windows, read_corpus, split_corpus, tokens_of
from danlu.data.text.encode import TextEncoder
from danlu.data.text.encoders import CorpusEncoder, SentenceEncoder, lines_of, unknown_in
from danlu.data.text.pairs import Pairs, read_pairs, read_sources, split_pairs, tokens_of_pairs
from danlu.data.text.read import TextSet, is_text_source, read_texts
from danlu.data.text.tokenizer import Tokenizer

__all__ = [
    "Buckets",
    "Corpus",
    "CorpusEncoder",
    "PairTokens",
    "Pairs",
    "SentenceEncoder",
    "TextEncoder",
    "TextSet",
    "Tokenizer",
    "Tokens",
    "Windows",
    "bucket_widths",
    "is_text_source",
    "lines_of",
    "read_corpus",
    "read_pairs",
    "read_sources",
    "read_texts",
    "split_corpus",
    "split_pairs",
    "tokens_of",
    "tokens_of_pairs",
    "unknown_in",
]
