"""The shared part of language models and translation: units, the settings of the network, and tokens that are not in the vocabulary."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from danlu.data.text import Tokenizer, unknown_in
from danlu.errors import SchemaError
from danlu.pipeline.config import TrainConfig
from danlu.trained import Say

__all__ = ["TOKENS", "check_known", "network_settings"]

TOKENS = {"char": "characters", "word": "words", "bpe": "byte pairs"}
"""What the tokens of each kind of tokenizer are called."""


def network_settings(config: TrainConfig) -> dict[str, Any]:
    """The config's settings of a Transformer, by the names of its fields."""
    wanted = {"dim": config.model.width, "num_layers": config.model.depth, "dropout": config.model.dropout}
    return {name: value for name, value in wanted.items() if value is not None}


def check_known(tokenizer: Tokenizer, texts: Sequence[str], holder: str, *, lenient: bool, say: Say) -> None:
    """Refuse texts with characters or words that are not in the vocabulary, or say that they are taken as unknown.

    Args:
        holder: what holds them, with a verb.

    Raises:
        SchemaError: there are some, and ``lenient`` is False.
    """
    strange = unknown_in(tokenizer, texts)
    if strange and not lenient:
        raise SchemaError(f"{holder} {strange}, not in the model's vocabulary", hint="--lenient treats them as unknown")
    if strange:
        say(f"{holder} {strange}, not in the vocabulary: treated as unknown")
