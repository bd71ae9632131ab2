"""Translation: the recipe, the training, and a trained model that translates sentences."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from danlu.blueprint import Blueprint, setting
from danlu.data.text import Tokenizer
from danlu.data.text.buckets import Buckets, PairTokens, bucket_widths
from danlu.data.text.pairs import sentence_tokens
from danlu.engine import Fitted, enable_compilation_cache
from danlu.engine.initial import initial_weights
from danlu.engine.sources import ChunkSource
from danlu.errors import ConfigError
from danlu.nn import Transformer
from danlu.nn.layer import Layer
from danlu.nn.losses import TokenCrossEntropy
from danlu.nn.transformer import beam_search
from danlu.tasks.recipe import Recipe

__all__ = [
    "Translation",
    "TranslationLearned",
    "Translator",
    "learn_translation",
    "training_widths",
    "translation_recipe",
]

_BUDGET = 1.5e14  # floating-point operations of the training, backward passes too: half an hour of a core
_EPOCHS = (4, 60)
_STEPS = 3000  # updates that a small set of pairs gets at least, if its epochs allow
_WIDTHS = (8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)  # of a batch to translate
_ROWS = (1, 8, 64)


class Translation(Blueprint):
    """How sentences are translated.

    Args:
        source, target: the languages: what the two columns, or the endings of the two files, are called.
        validation: pairs that choose the best epoch, read as the training pairs are; None takes a part of these.
        tokens: what sentences are cut into: ``"bpe"``, ``"word"`` or ``"char"``.
        vocabulary: the most tokens that are known; None leaves the choice to the number of pairs.
        shared: whether both languages have one vocabulary.
        longest: pairs with a side of more tokens are not learnt from.
        label_smoothing: see :class:`~danlu.nn.losses.TokenCrossEntropy`.
        beams: hypotheses of the beam search.
        alpha: its length penalty; see :func:`danlu.nn.transformer.beam_search`.
    """

    source: str = ""
    target: str = ""
    validation: str | None = None
    tokens: str = setting(default="bpe", choices=("bpe", "word", "char"))
    vocabulary: int | None = setting(default=None, minimum=5, integer=True, optional=True)
    shared: bool = True
    longest: int = setting(default=128, minimum=4, maximum=511, integer=True)
    label_smoothing: float = setting(default=0.1, minimum=0, below=1)
    beams: int = setting(default=4, minimum=1, maximum=64, integer=True)
    alpha: float = setting(default=1.0, minimum=0)


def translation_recipe(
    source_vocabulary: int,
    target_vocabulary: int,
    pairs: int,
    *,
    length: float = 20,
    network: dict[str, Any] | None = None,
    **changes: Any,
) -> Recipe:
    """The default recipe for pairs of sentences: a small Transformer that two CPU cores train in minutes.

    The number of epochs comes from a budget of arithmetic, so the same pairs get the same recipe on every machine.

    Args:
        source_vocabulary, target_vocabulary: how many tokens there are.
        pairs: how many are learnt from, ≥ 1.
        length: the tokens of a sentence, padding included, on average.
        network: fields of the :class:`~danlu.nn.Transformer` to set instead of the defaults.
        **changes: fields of the :class:`Recipe` to set instead of the defaults.

    Raises:
        ConfigError: an unknown field or a value out of range.

    Reference:
        Wu et al., "Good for misconceived reasons: an empirical revisiting on the need for visual context in multimodal machine
        translation" (ACL 2021), arXiv:2105.14462: for 29,000 pairs a Transformer as small as 4 layers of 128, with 256 hidden
        units and 4 heads, is better than larger ones. There: batches of 4,096 tokens, dropout 0.3 and a longer training.

    Example:
        >>> plan = translation_recipe(4000, 4000, 29_000, length=22)
        >>> plan.model.dim, plan.model.num_layers, plan.batch_size
        (128, 4, 64)
    """
    unknown = sorted(set(changes) - set(Recipe.__dataclass_fields__))
    if unknown:
        raise ConfigError(f"translation_recipe() received the settings {unknown}; expected fields of a Recipe")
    chosen: dict[str, Any] = {"dim": 128, "num_layers": 4, "dropout": 0.15, **(network or {})}
    chosen.setdefault("hidden", 2 * chosen["dim"])
    chosen.setdefault("num_heads", _heads(chosen["dim"]))
    same = source_vocabulary == target_vocabulary
    model = Transformer(target_vocabulary, None if same else source_vocabulary, **chosen)
    batch_size = 64 if pairs >= 4000 else 32
    fields: dict[str, Any] = {
        "model": model,
        "loss": "token_cross_entropy",
        "batch_size": batch_size,
        "learning_rate": 3e-3 * (192 / max(chosen["dim"], 192)) ** 0.5,
        "weight_decay": 0.01,
        "warm_up": 0.1,
        "patience": 5,
    }
    if "epochs" not in changes:
        fields["epochs"] = _epochs(model, pairs, changes.get("batch_size", batch_size), math.ceil(length))
    return Recipe(**{**fields, **changes})


def _heads(dim: int) -> int:
    """Heads of about 32 features that divide ``dim``."""
    return min((heads for heads in range(1, dim + 1) if dim % heads == 0), key=lambda heads: abs(dim / heads - 32))


def _epochs(model: Transformer, pairs: int, batch_size: int, length: int) -> int:
    """Epochs that spend the budget, within bounds."""
    affordable = int(_BUDGET / (3 * (model.flops(_in_shape(length)) or 1) * pairs))
    enough = math.ceil(_STEPS / math.ceil(pairs / batch_size))
    return max(_EPOCHS[0], min(affordable, max(enough, 30), _EPOCHS[1]))


def _in_shape(width: int) -> dict[str, tuple[int]]:
    return {"source": (width,), "source_mask": (width,), "target": (width,)}


def training_widths(train: PairTokens) -> tuple[int, ...]:
    """The widths of the training batches: many pairs are worth compiling more programs for."""
    return bucket_widths(train.lengths, 4 if len(train) >= 10_000 else 2)


@dataclasses.dataclass(frozen=True, eq=False)
class Translator:
    """A trained translation model with its tokenizers.

    Attributes:
        network: the blueprint, a :class:`~danlu.nn.Transformer` or another encoder-decoder.
        params, state: its variables.
        source, target: the tokenizers of the two languages.
        languages: what they are called.
        longest: the tokens of the longest sentence that was learnt from, its end included.
        beams, alpha: of the search, where nothing else is asked for.
    """

    network: Layer
    params: Any
    state: Any
    source: Tokenizer
    target: Tokenizer
    languages: tuple[str, str]
    longest: int
    beams: int = 4
    alpha: float = 1.0

    @property
    def in_shape(self) -> dict[str, tuple[int]]:
        """The shape of one example."""
        return _in_shape(self.longest)

    def lengths(self, texts: Sequence[str]) -> np.ndarray:
        """The tokens of each sentence, its end included."""
        return np.array([len(sentence_tokens(self.source, text)) + 1 for text in texts], np.int64)

    def translate(self, texts: Sequence[str], *, beams: int | None = None, alpha: float | None = None) -> list[str]:
        """The translation of each sentence, by beam search. An empty sentence stays empty.

        Sentences of about the same length are translated together, in batches of a few fixed sizes: so few programs are
        compiled, whatever is asked for. A sentence of more than 511 tokens is cut.

        Args:
            texts: the sentences.
            beams, alpha: see :func:`danlu.nn.transformer.beam_search`.

        Raises:
            ConfigError: a setting out of range.
        """
        beams, alpha = beams or self.beams, self.alpha if alpha is None else alpha
        rows = [sentence_tokens(self.source, text)[: _WIDTHS[-1] - 1] for text in texts]
        found = [""] * len(texts)
        lengths = np.array([len(row) for row in rows])
        places = np.searchsorted(np.array(_WIDTHS), lengths + 1)
        for place in np.unique(places[lengths > 0]):
            width, those = _WIDTHS[place], np.flatnonzero((places == place) & (lengths > 0))
            size = next((size for size in _ROWS if size >= len(those)), _ROWS[-1])
            for low in range(0, len(those), size):
                some = those[low : low + size]
                written = self._search([rows[i] for i in some], width, size, beams, alpha)
                for row, tokens in zip(some, written, strict=False):
                    found[row] = self._text(tokens)
        return found

    def _search(self, rows: Sequence[np.ndarray], width: int, size: int, beams: int, alpha: float) -> np.ndarray:
        source = np.full((size, width), self.source.pad_id, np.int32)
        mask = np.zeros((size, width), np.bool_)
        for place, row in enumerate([*rows, *[rows[0][:1]] * (size - len(rows))]):  # filled up with what ends soon
            source[place, : len(row)], source[place, len(row)] = row, self.source.end_id
            mask[place, : len(row) + 1] = True
        begun = np.full((size, 1), self.target.begin_id, np.int32)
        prompt = {"source": source, "source_mask": mask, "target": begun}
        tokens, _ = beam_search(
            self.network, self.params, self.state, prompt,
            length=2 * width + 10, end=self.target.end_id, beams=beams, alpha=alpha,
            forbidden=(self.target.pad_id, self.target.unknown_id, self.target.begin_id),
        )  # fmt: skip
        return np.asarray(tokens)

    def _text(self, tokens: np.ndarray) -> str:
        ends = np.flatnonzero(tokens == self.target.end_id)
        return self.target.decode(tokens[: ends[0]] if len(ends) else tokens).strip()


@dataclasses.dataclass(frozen=True)
class TranslationLearned:
    """What training gave: the model, and the record of the training."""

    model: Translator
    fitted: Fitted


def learn_translation(
    train: PairTokens,
    *,
    tokenizers: tuple[Tokenizer, Tokenizer],
    languages: tuple[str, str],
    plan: Recipe,
    validation: PairTokens,
    settings: Translation | None = None,
    seed: int = 0,
    **how: Any,
) -> TranslationLearned:
    """Train the recipe's network on pairs: each next token of the translation from the source and the right tokens before it.

    Args:
        train, validation: the tokens of the two parts. The validation part is measured after each epoch, and the weights
            of the best epoch are kept.
        tokenizers, languages: of the source and of the target.
        plan: its ``model`` is an encoder-decoder of their vocabularies.
        settings: label smoothing, and the settings of the search.
        seed: decides the initial weights, the batches and every random draw.
        **how: ``callbacks``, ``checkpoint``, ``resume`` and ``display``, for :func:`danlu.fit`.
    """
    enable_compilation_cache()
    settings = settings or Translation()
    network, size = plan.model, plan.batch_size
    longest = int(max(train.lengths.max(), validation.lengths.max()))
    batches = Buckets(train, training_widths(train), batch_size=size, seed=seed)
    # Measuring costs a third of learning, so that fewer widths, which are fewer programs, take less time in all.
    judged = Buckets(validation, bucket_widths(validation.lengths, 2), batch_size=size, seed=None)
    fitted = plan.fit(
        ChunkSource(batches, batch_size=size, seed=seed, shuffle=False),
        rows=batches.steps * size,
        loss=TokenCrossEntropy(label_smoothing=settings.label_smoothing),
        validation=ChunkSource(judged, batch_size=size, shuffle=False),
        initial=initial_weights(network, _in_shape(longest), jax.random.key(seed)),
        batch_size=size,
        seed=seed,
        **how,
    )
    model = Translator(
        network, fitted.params, fitted.state, *tokenizers, languages, longest, settings.beams, settings.alpha
    )
    return TranslationLearned(model, fitted)
