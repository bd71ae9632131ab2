"""TextCNN: convolutions over words, each feature's largest value in the sentence."""

from __future__ import annotations

from danlu.blueprint import setting
from danlu.errors import ConfigError
from danlu.nn.attention.sequence import PerToken
from danlu.nn.combine import Parallel, Sequential
from danlu.nn.conv import Conv
from danlu.nn.dense import Dense
from danlu.nn.dropout import Dropout
from danlu.nn.embedding import Embedding
from danlu.nn.layer import Layer
from danlu.nn.recurrent.masking import MaxOverTime, ZeroPadding
from danlu.nn.shorthand import Shorthand

__all__ = ["TextCNN"]


class TextCNN(Shorthand):
    """Logits for a whole text: an embedding, convolutions of several widths, max over time, dropout, a linear output.

    It is shorthand: :attr:`expanded` is the same network as a Sequential, with the same params and state. Input:
    ``(batch, time)`` whole numbers, or such a dict with a mask (see :func:`~danlu.nn.recurrent.pad`); a padded row gives
    what it gives alone. Output: ``(batch, outputs)``.

    Args:
        vocabulary: how many tokens there are, numbered from 0.
        outputs: how many logits or values.
        dim: size of a token's vector.
        filters: of each width.
        widths: how many tokens a filter sees, one branch for each.
        dropout: rate before the output, in [0, 1).

    Reference: Kim (2014), arXiv:1408.5882, section 2: CNN-rand. Windows here also reach past the ends, over zeros, so that
    a text may be shorter than a window; the paper's bound on the output's weights is left to weight decay.

    Example:
        >>> TextCNN(1000, 2).out_shape((40,))
        (2,)
    """

    vocabulary: int = setting(minimum=1, integer=True)
    outputs: int = setting(minimum=1, integer=True)
    dim: int = setting(default=128, minimum=1, integer=True)
    filters: int = setting(default=100, minimum=1, integer=True)
    widths: tuple[int, ...] = (3, 4, 5)
    dropout: float = setting(default=0.5, minimum=0, below=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.widths:
            raise ConfigError(f"TextCNN.widths is {self.widths!r}; expected a tuple of sizes", hint="such as (3, 4, 5)")
        for width in self.widths:
            Conv(self.filters, width)

    def build(self) -> Sequential:
        # At padding the convolutions read zeros, and what they give there the maximum leaves out.
        branches = [
            Sequential((PerToken(Conv(self.filters, width, activation="relu")), MaxOverTime())) for width in self.widths
        ]
        dropout: tuple[Layer, ...] = (Dropout(self.dropout),) if self.dropout > 0 else ()
        embedding = PerToken(Embedding(self.vocabulary, self.dim))
        return Sequential((embedding, ZeroPadding(), Parallel(tuple(branches)), *dropout, Dense(self.outputs)))
