"""Free text to the presence of its most frequent words."""

from __future__ import annotations

import dataclasses

import numpy as np
import polars as pl

__all__ = ["WordPresence", "tokens"]

_WORD = r"[\p{L}\p{N}]+(?:['’][\p{L}]+)?"
_UNSPACED = r"([一-鿿぀-ヿ가-힯])"


def tokens(values: pl.Series) -> pl.Series:
    """The words of each text in lower case; Chinese, Japanese and Korean texts give one token a character.

    >>> tokens(pl.Series(["Braund, Mr. Owen"])).to_list()
    [['braund', 'mr', 'owen']]
    """
    spaced = values.str.to_lowercase().str.replace_all(_UNSPACED, " $1 ")
    return spaced.str.extract_all(_WORD)


@dataclasses.dataclass(frozen=True)
class WordPresence:
    """Which of the ``words`` a text contains.

    Attributes:
        words: the vocabulary, the most frequent first.
    """

    words: tuple[str, ...]

    @classmethod
    def fit(cls, values: pl.Series, *, max_words: int = 128, min_count: int = 5) -> WordPresence:
        """The ``max_words`` words that most training texts contain, each in at least ``min_count`` of them.

        A word that all texts hold, or all but fewer than ``min_count``, tells nothing and is left out.
        """
        rows = len(values)
        counts = (
            pl.DataFrame({"word": tokens(values).list.unique()})
            .explode("word")
            .drop_nulls()
            .group_by("word")
            .len()
            .filter((pl.col("len") >= min_count) & (pl.col("len") <= rows - min_count))
            .sort(["len", "word"], descending=[True, False])
        )
        return cls(tuple(counts["word"].head(max_words).to_list()))

    def transform(self, values: pl.Series) -> np.ndarray:
        """``(rows, len(words))`` float32 of 0 and 1; a missing text contains no words."""
        out = np.zeros((len(values), len(self.words)), np.float32)
        if not self.words:
            return out
        found = (
            pl.DataFrame({"word": tokens(values)})
            .with_row_index("row")
            .explode("word")
            .drop_nulls()
            .with_columns(
                pl.col("word").replace_strict(
                    list(self.words), list(range(len(self.words))), default=None, return_dtype=pl.Int32
                )
            )
            .drop_nulls()
        )
        out[found["row"].to_numpy(), found["word"].to_numpy()] = 1.0
        return out
