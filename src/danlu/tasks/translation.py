"""Translation: the recipe, the training, and a trained model that translates sentences."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import polars as pl

from danlu.blueprint import Blueprint, setting
from danlu.data.text import SentenceEncoder, Tokenizer
from danlu.data.text.buckets import Buckets, PairTokens, bucket_widths
from danlu.data.text.encoders import WIDTHS
from danlu.engine.sources import ChunkSource
from danlu.evaluate.bleu import TranslationCounts
from danlu.nn import Transformer
from danlu.nn.losses import TokenCrossEntropy
from danlu.nn.transformer import beam_search
from danlu.tasks.recipe import Recipe, affordable, epochs_of
from danlu.tasks.tokens import attention_heads, check_scores, log_softmax, text_until_end
from danlu.trained import Head, Learned, Trained

__all__ = ["BeamSearch", "Translation", "learn_translation", "training_widths", "translation_recipe"]

_BUDGET = 1.5e14  # floating-point operations of the training, backward passes too: half an hour of a core
_EPOCHS = (4, 60)
_STEPS = 3000  # updates that a small set of pairs gets at least, if its epochs allow
_ROWS = (1, 8, 64)  # sentences that are translated together


class Translation(Blueprint):
    """How sentences are translated.

    Args:
        source, target: the languages: what the two columns, or the endings of the two files, are called.
        validation: pairs that choose the best epoch, read as the training pairs are; None takes a part of these.
        tokens: what sentences are cut into: ``"bpe"``, ``"word"`` or ``"char"``.
        vocabulary: the most tokens that are known; None leaves the choice to the number of pairs.
        shared: whether both languages have one vocabulary.
        max_length: pairs with a side of more tokens are not learnt from.
        label_smoothing: see :class:`~danlu.nn.losses.TokenCrossEntropy`.
        beams: hypotheses of the beam search.
        length_penalty: of the beam search; see :func:`danlu.nn.transformer.beam_search`.
    """

    _renamed: ClassVar[Mapping[str, str]] = {"longest": "max_length", "alpha": "length_penalty"}

    source: str = ""
    target: str = ""
    validation: str | None = None
    tokens: str = setting(default="bpe", choices=("bpe", "word", "char"))
    vocabulary: int | None = setting(default=None, minimum=5, integer=True, optional=True)
    shared: bool = True
    max_length: int = setting(default=128, minimum=4, maximum=511, integer=True)
    label_smoothing: float = setting(default=0.1, minimum=0, below=1)
    beams: int = setting(default=4, minimum=1, maximum=64, integer=True)
    length_penalty: float = setting(default=1.0, minimum=0)


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
    chosen: dict[str, Any] = {"dim": 128, "num_layers": 4, "dropout": 0.15, **(network or {})}
    chosen.setdefault("hidden", 2 * chosen["dim"])
    chosen.setdefault("num_heads", attention_heads(chosen["dim"]))
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
        shape = dict.fromkeys(("source", "source_mask", "target"), (math.ceil(length),))
        enough = epochs_of(_STEPS, pairs, changes.get("batch_size", batch_size))
        spent = affordable(_BUDGET, model, shape, pairs)
        fields["epochs"] = max(_EPOCHS[0], min(spent, max(enough, 30), _EPOCHS[1]))
    return Recipe.changed("translation_recipe", fields, changes)


def training_widths(train: PairTokens) -> tuple[int, ...]:
    """The widths of the training batches: many pairs are worth compiling more programs for."""
    return bucket_widths(train.lengths, 4 if len(train) >= 10_000 else 2)


class BeamSearch(Head):
    """A translation, found by beam search. The answers are texts.

    Attributes:
        beams, length_penalty: hypotheses, and the length penalty; see :func:`danlu.nn.transformer.beam_search`.
    """

    kind, task = "beam search", "translation"
    verbs = ("translate",)

    beams: int = setting(default=4, minimum=1, maximum=64, integer=True)
    length_penalty: float = setting(default=1.0, minimum=0, maximum=100)

    def __call__(self, outputs: Any) -> Any:
        """``log p`` of every token that may come next, from logits ``(batch, time, vocabulary)``."""
        return log_softmax(outputs)

    def answer(self, trained: Trained, inputs: Mapping[str, np.ndarray]) -> list[str]:
        """The translation of each encoded sentence. An empty sentence stays empty.

        Sentences of about the same length are translated together, in batches of a few fixed sizes: so few programs are
        compiled, whatever is asked for.
        """
        lengths = inputs["source_mask"].sum(axis=1)  # ends included: of an empty sentence 1
        found = [""] * len(lengths)
        places = np.searchsorted(np.array(WIDTHS), lengths)
        for place in np.unique(places[lengths > 1]):
            width, those = WIDTHS[place], np.flatnonzero((places == place) & (lengths > 1))
            size = next((size for size in _ROWS if size >= len(those)), _ROWS[-1])
            for low in range(0, len(those), size):
                some = those[low : low + size]
                for row, text in zip(some, self._search(trained, inputs, some, width, size), strict=False):
                    found[row] = text
        return found

    def _search(self, trained: Trained, inputs: Any, rows: np.ndarray, width: int, size: int) -> list[str]:
        encoder = trained.encoder
        target = encoder.target
        prompt = {name: each[rows, :width] for name, each in inputs.items()}
        short = {name: each[:1].copy() for name, each in prompt.items()}  # what batches are filled up with ends soon
        short["source"][:, 1], short["source"][:, 2:] = encoder.source.end_id, encoder.source.pad_id
        short["source_mask"][:, 2:] = False
        prompt = {name: np.concatenate([each, *[short[name]] * (size - len(rows))]) for name, each in prompt.items()}
        tokens, _ = beam_search(
            trained.network, trained.params, trained.state, prompt,
            length=2 * width + 10, end=target.end_id, beams=self.beams, length_penalty=self.length_penalty,
            forbidden=(target.pad_id, target.unknown_id, target.begin_id),
        )  # fmt: skip
        return [text_until_end(target, row).strip() for row in np.asarray(tokens)[: len(rows)]]

    def frame(self, answers: list[str], rows: Any = None) -> pl.DataFrame:
        """``source`` and ``translation`` of each sentence."""
        return pl.DataFrame(
            {"source": list(rows), "translation": answers},
            schema_overrides=dict.fromkeys(("source", "translation"), pl.String),
        )

    def evidence(self, answers: list[str], truth: Any) -> TranslationCounts:
        return TranslationCounts.of(answers, truth)

    def beside(self, answers: list[str], truth: Any, rows: Any = None) -> pl.DataFrame:
        chrf = self.evidence(answers, truth).by_sentence()
        return self.frame(answers, rows).with_columns(reference=pl.Series(truth), chrf=chrf)

    def check(self, network: Any, encoder: Any) -> None:
        check_scores(network, encoder.in_shape, encoder.longest, encoder.target)

    def translate(
        self,
        trained: Trained,
        texts: str | Sequence[str],
        *,
        beams: int | None = None,
        length_penalty: float | None = None,
    ) -> list[str]:
        """The translation of each sentence. An empty sentence stays empty; one of more than 511 tokens is cut.

        Args:
            texts: the sentences, or one.
            beams, length_penalty: of the search, instead of the model's own.

        Raises:
            ConfigError: a setting out of range.
        """
        asked: dict[str, Any] = {
            name: value for name, value in (("beams", beams), ("length_penalty", length_penalty)) if value is not None
        }
        rows = [texts] if isinstance(texts, str) else list(texts)
        return dataclasses.replace(self, **asked).answer(trained, trained.encoder.transform(rows))


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
) -> Learned:
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
    settings, size = settings or Translation(), plan.batch_size
    longest = int(max(train.lengths.max(), validation.lengths.max()))
    batches = Buckets(train, training_widths(train), batch_size=size, seed=seed)
    # Measuring costs a third of learning, so that fewer widths, which are fewer programs, take less time in all.
    judged = Buckets(validation, bucket_widths(validation.lengths, 2), batch_size=size, seed=None)
    return plan.learn(
        ChunkSource(batches, batch_size=size, seed=seed, shuffle=False),
        encoder=SentenceEncoder(*tokenizers, languages, longest),
        head=BeamSearch(settings.beams, settings.length_penalty),
        rows=batches.steps * size,
        loss=TokenCrossEntropy(label_smoothing=settings.label_smoothing),
        validation=ChunkSource(judged, batch_size=size, shuffle=False),
        batch_size=size,
        seed=seed,
        **how,
    )
