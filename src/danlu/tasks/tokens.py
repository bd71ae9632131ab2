"""The shared part of language models and translation: heads of attention, probabilities of the next token, and where a text ends."""

from __future__ import annotations

from typing import Any

import numpy as np

from danlu.data.text import Tokenizer
from danlu.errors import ArtifactError, ConfigError
from danlu.trained.head import namespace

__all__ = ["attention_heads", "check_scores", "log_softmax", "text_until_end"]


def attention_heads(dim: int, *, even: bool = False) -> int:
    """Heads of about 32 features that divide ``dim``; into even sizes where positions are rotary.

    >>> attention_heads(96), attention_heads(18, even=True)
    (3, 1)
    """
    fitting = [heads for heads in range(1, dim + 1) if dim % heads == 0 and not (even and dim // heads % 2)]
    if not fitting:
        raise ConfigError(f"the network's width is {dim}; expected an even number")
    return min(fitting, key=lambda heads: abs(dim / heads - 32))


def check_scores(network: Any, in_shape: Any, length: int, tokenizer: Tokenizer) -> None:
    """Refuse a network that does not give a score of every token of ``tokenizer`` for each of ``length`` tokens.

    Raises:
        ArtifactError: see above.
    """
    scores = network.out_shape(in_shape) if hasattr(network, "out_shape") else None
    if scores != (length, tokenizer.size):
        raise ArtifactError(
            f"the saved network gives {scores} for {length} tokens; expected {(length, tokenizer.size)}, the tokenizer's"
        )


def log_softmax(outputs: Any) -> Any:
    """The logarithms of the probabilities of each next token, from logits ``(…, vocabulary)``."""
    shifted = outputs - outputs.max(axis=-1, keepdims=True)
    xp = namespace(outputs)
    return shifted - xp.log(xp.exp(shifted).sum(axis=-1, keepdims=True))


def text_until_end(tokenizer: Tokenizer, tokens: np.ndarray) -> str:
    """The text of tokens up to the first end token, if there is one."""
    ends = np.flatnonzero(tokens == tokenizer.end_id)
    return tokenizer.decode(tokens[: ends[0]] if len(ends) else tokens)
