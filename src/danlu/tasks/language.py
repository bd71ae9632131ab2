"""Language modelling: the recipe, the training, and a trained model that scores texts and writes new ones."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl

from danlu.blueprint import Blueprint, setting
from danlu.data.text import CorpusEncoder, Tokenizer, Tokens, Windows, lines_of, unknown_in
from danlu.engine.sources import ChunkSource
from danlu.errors import ConfigError, DataError, SchemaError
from danlu.evaluate.tokens import TokenLosses
from danlu.nn import GPT
from danlu.nn.layer import Layer, Params, State
from danlu.nn.losses import TokenCrossEntropy
from danlu.nn.transformer import generate
from danlu.tasks.recipe import Recipe
from danlu.tasks.tokens import attention_heads, check_scores, log_softmax, text_until_end
from danlu.trained import Head, Learned, Trained

__all__ = [
    "Language",
    "NextToken",
    "ScoredTokens",
    "beginning",
    "epoch_windows",
    "forbidden",
    "kept_of",
    "language_recipe",
    "learn_language",
]

_STEPS = 250  # of an epoch of a long text: as often the validation part is measured
_LOGITS = 2**22  # numbers that a batch of an evaluation may have


class Language(Blueprint):
    """How a text is read to learn its language.

    Args:
        lines: ``"yes"``: each line is a text of its own (names, words); ``"no"``: the file is one stream; ``"auto"`` looks, see
            :func:`~danlu.data.text.read_corpus`.
        tokens: what the text is cut into: ``"char"``, ``"word"`` or ``"bpe"``.
        vocabulary: the most tokens that are known; None is the tokenizer's default.
        context: tokens that the network sees; None leaves the recipe's choice.
    """

    lines: str = setting(default="auto", choices=("auto", "yes", "no"))
    tokens: str = setting(default="char", choices=("char", "word", "bpe"))
    vocabulary: int | None = setting(default=None, minimum=5, integer=True, optional=True)
    context: int | None = setting(default=None, minimum=4, maximum=4096, integer=True, optional=True)


def language_recipe(
    vocabulary: int,
    predicted: int,
    *,
    longest: int | None = None,
    context: int | None = None,
    network: dict[str, Any] | None = None,
    **changes: Any,
) -> Recipe:
    """The default recipe for a text: a small GPT that two CPU cores train in minutes.

    A stream gets nanoGPT's network for a CPU (4 layers of 128, 4 heads, a context of 64, batches of 12, 2,000 steps), with
    rotary positions and a higher learning rate, which learns more in as many steps. Lines get the same network,
    which sees a whole line, with more decay and dropout, since there are few of them.

    Args:
        vocabulary: how many tokens there are.
        predicted: how many tokens of the training part are predicted.
        longest: of lines, the most tokens that one has to predict; None for a stream.
        context: tokens that the network sees; None is 64, or the longest line up to 256.
        network: fields of the :class:`~danlu.nn.GPT` to set instead of the defaults.
        **changes: fields of the :class:`Recipe` to set instead of the defaults.

    Raises:
        ConfigError: an unknown field or a value out of range.

    Reference: https://github.com/karpathy/nanoGPT, "I only have a macbook"; https://github.com/karpathy/makemore.

    Example:
        >>> plan = language_recipe(69, 1_000_000)
        >>> plan.model.context, plan.batch_size, plan.epochs
        (64, 12, 8)
    """
    if context is not None and context < 4:
        raise ConfigError(f"context is {context}; expected at least 4 tokens")
    common: dict[str, Any] = {"positions": "rotary", "bias": "none"}
    if longest is None:
        shape = {"context": context or 64, "dim": 128, "num_layers": 4}
        fields: dict[str, Any] = {"batch_size": 12, "epochs": 8, "learning_rate": 3e-3, "weight_decay": 0.1}
    else:
        shape = {"context": context or min(max(longest, 4), 256), "dim": 128, "num_layers": 4}
        fields = {"batch_size": 64, "epochs": 30, "learning_rate": 2e-3, "weight_decay": 0.3}
        common |= {"dropout": 0.2}
    chosen = {**common, **shape, **(network or {})}
    chosen.setdefault("num_heads", attention_heads(chosen["dim"], even=True))
    fields |= {"model": GPT(vocabulary, **chosen), "loss": "token_cross_entropy", "patience": 4, "warm_up": 0.05}
    return Recipe.changed("language_recipe", fields, changes)


def epoch_windows(train: Tokens, plan: Recipe) -> int | None:
    """Windows of an epoch: 250 batches of a stream, however long it is; of lines, all (None)."""
    return _STEPS * plan.batch_size if len(train.bounds) == 2 else None


@dataclasses.dataclass(frozen=True, eq=False)
class ScoredTokens:
    """Tokens with the model's loss for each.

    Attributes:
        tokens: of some texts.
        losses: float64 ``(predicted tokens,)``, ``−log p`` of each in nats, in the texts' order.
    """

    tokens: Tokens
    losses: np.ndarray

    def means(self, places: Any, count: int) -> tuple[list[int], list[float | None]]:
        """How many tokens of each place were predicted, and their mean loss, None of no token.

        Args:
            places: that of every token, from 0, such as its line.
            count: how many places there are.
        """
        begin = self.tokens.bounds[:-1][np.diff(self.tokens.bounds) > 0]
        where = np.delete(places, begin)
        counts, sums = (np.bincount(where, weights, count) for weights in (None, self.losses))
        return counts.tolist(), [float(s / n) if n else None for s, n in zip(sums, counts, strict=True)]


class NextToken(Head):
    """Predicts the next token of a text.

    The answer for a text is how unexpected each of its tokens is: :class:`~danlu.tasks.language.ScoredTokens`.
    """

    kind, task = "next token", "language"
    verbs = ("generate", "token_losses")

    def __call__(self, outputs: Any) -> Any:
        """``log p`` of every token that may come next, from logits ``(batch, time, vocabulary)``."""
        return log_softmax(outputs)

    def answer(self, trained: Trained, inputs: Tokens) -> ScoredTokens:
        losses = self.token_losses(trained, inputs) if inputs.predicted else np.zeros(0)
        return ScoredTokens(inputs, losses.astype(np.float64))

    def frame(self, answers: ScoredTokens, rows: Any = None) -> pl.DataFrame:
        """The mean loss of each line: ``line`` (from 1), ``text``, ``tokens`` (how many were predicted) and ``loss``, null of none."""
        lines = [line.rstrip("\n") for text in rows for line in lines_of(text)]
        counts, means = answers.means(answers.tokens.line, len(lines))
        columns = {"line": np.arange(1, len(lines) + 1), "text": lines, "tokens": pl.Series(counts, dtype=pl.Int64)}
        return pl.DataFrame({**columns, "loss": pl.Series(means, dtype=pl.Float64)})

    def replies(self, answers: ScoredTokens, rows: Any = None) -> list[dict[str, Any]]:
        texts = np.repeat(np.arange(len(rows)), np.diff(answers.tokens.bounds))
        told = zip(rows, *answers.means(texts, len(rows)), strict=True)
        return [{"text": text.rstrip("\n"), "tokens": count, "loss": loss} for text, count, loss in told]

    def evidence(self, answers: ScoredTokens, truth: Any = None) -> TokenLosses:
        tokens = answers.tokens
        if not tokens.predicted:
            raise SchemaError("the text has fewer than two tokens, so there is no token to predict")
        return TokenLosses.of(answers.losses, tokens.bounds, tokens.characters)

    def tested(self, evidence: Any) -> str:
        return f"{int(evidence.counts.sum()):,} test tokens"

    def check(self, network: Any, encoder: Any) -> None:
        check_scores(network, encoder.in_shape, encoder.context, encoder.tokenizer)

    def token_losses(self, trained: Trained, tokens: Tokens, *, stride: int | None = None) -> np.ndarray:
        """``−log p`` of each predicted token, in nats, float32, in the texts' order.

        Args:
            tokens: the texts.
            stride: see :class:`~danlu.data.text.Windows`; None is half the context, so that every token is predicted from at
                least half of it, or from all that there is. With ``context`` windows do not overlap, and each begins from nothing.
        """
        context, found = trained.encoder.context, []
        rows = _together(context, trained.encoder.tokenizer.size)
        for chunk in Windows(tokens, context, seed=None, stride=stride or context // 2).chunks(0, 0):
            for low in range(0, len(chunk["x"]), rows):
                x, y = chunk["x"][low : low + rows], chunk["y"][low : low + rows]
                more = ((0, rows - len(x)), (0, 0))
                x, wanted = np.pad(x, more), np.pad(y, more)
                losses = _losses(self, trained.network, trained.params, trained.state, x, wanted)
                found.append(np.asarray(losses)[: len(y)][y >= 0])
        return np.concatenate(found)

    def generate(
        self,
        trained: Trained,
        prompt: str = "",
        *,
        length: int = 200,
        samples: int = 1,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
    ) -> list[str]:
        """Texts that begin with ``prompt`` and continue it.

        The network reads at most three quarters of its context at a time and writes the last quarter, with its keys and values cached; then
        it reads again. So a text may be longer than the context, and one compiled program serves every prompt and length.

        Args:
            prompt: the beginning; empty lets the model begin by itself.
            length: the most tokens to write, ≥ 1. A line ends where the model ends it.
            samples: how many texts.
            temperature, top_k, top_p: see :func:`danlu.nn.transformer.generate.sample`.
            seed: the same seed writes the same texts.

        Raises:
            ConfigError: a setting out of range.
            DataError: a prompt with characters or words that the model does not know.
        """
        if length < 1 or samples < 1:
            raise ConfigError(f"generate received length={length} and samples={samples}; expected 1 or more of each")
        encoder = trained.encoder
        tokenizer, lines, context = encoder.tokenizer, encoder.lines, encoder.context
        written = np.repeat(np.array([beginning(encoder, prompt)], np.int32), samples, axis=0)
        begun, keep = written.shape[1], kept_of(context)
        options: dict[str, Any] = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
        options["forbidden"] = forbidden(encoder)
        options["end"] = tokenizer.end_id if lines else None
        key, part = jax.random.key(seed), 0
        while written.shape[1] - begun < length:
            seen = written[:, -keep:]
            before = ((0, 0), (keep - seen.shape[1], 0))
            given = {"x": np.pad(seen, before), "mask": np.pad(np.ones(seen.shape, bool), before)}
            draw = jax.random.fold_in(key, part)
            variables = trained.params, trained.state
            new = generate(trained.network, *variables, given, draw, length=context - keep, **options)
            written, part = np.concatenate([written, np.asarray(new)], axis=1), part + 1
            if lines and (written[:, begun:] == tokenizer.end_id).any(axis=1).all():
                break
        return [prompt + text_until_end(tokenizer, row[begun : begun + length]) for row in written]


def beginning(encoder: CorpusEncoder, prompt: str) -> list[int]:
    """The tokens of a prompt, at least one.

    Raises:
        DataError: a prompt with characters or words that the model does not know.
    """
    tokenizer = encoder.tokenizer
    strange = unknown_in(tokenizer, [prompt])
    if strange:
        raise DataError(
            f"the prompt holds {strange}, not in the model's vocabulary",
            hint="use only characters or words of the training text in the prompt",
        )
    found = tokenizer.encode_one(prompt)
    if encoder.lines:
        return [tokenizer.begin_id, *found]
    return found or tokenizer.encode_one("\n") or [tokenizer.end_id + 1]


def forbidden(encoder: CorpusEncoder) -> tuple[int, ...]:
    """Tokens that are never written: marks of no text; where texts are no lines, their end too."""
    tokenizer = encoder.tokenizer
    special = (tokenizer.pad_id, tokenizer.unknown_id, tokenizer.begin_id)
    return special if encoder.lines else (*special, tokenizer.end_id)


def kept_of(context: int) -> int:
    """The most tokens that are read at a time to go on writing; the rest of the context is for what is written.

    >>> kept_of(64)
    48
    """
    return context - max(context // 4, 1)


def _together(context: int, vocabulary: int) -> int:
    """Windows of a batch of an evaluation."""
    return max(1, min(256, _LOGITS // (context * vocabulary)))


@functools.partial(jax.jit, static_argnames="network")
def _losses(head: NextToken, network: Layer, params: Params, state: State, x: jax.Array, y: jax.Array) -> jax.Array:
    logits, _ = network.apply(params, state, x)
    return -jnp.take_along_axis(head(logits), jnp.maximum(y, 0)[..., None], axis=-1)[..., 0]


def learn_language(
    train: Tokens,
    *,
    tokenizer: Tokenizer,
    plan: Recipe,
    validation: Tokens,
    lines: bool,
    context: int | None = None,
    seed: int = 0,
    **how: Any,
) -> Learned:
    """Train the recipe's network on tokens.

    Args:
        train, validation: the tokens of the two parts. The whole validation part is measured after each epoch, and the
            weights of the best epoch are kept.
        plan: its ``model`` works one token at a time, such as a :class:`~danlu.nn.GPT` or a :class:`~danlu.nn.CharRNN`.
        lines: whether the texts are lines.
        context: tokens that the network sees; None is its own ``context``.
        seed: decides the initial weights, the windows and every random draw.
        **how: ``callbacks``, ``checkpoint``, ``resume`` and ``display``, for :func:`danlu.fit`.
    """
    context = context or getattr(plan.model, "context", None)
    if context is None:
        raise ConfigError(
            f"{type(plan.model).__name__} has no context of its own; expected context=, such as 64 tokens"
        )
    windows = Windows(train, context, rows=epoch_windows(train, plan), seed=seed, multiple=plan.batch_size)
    together = _together(context, tokenizer.size)
    judged = Windows(validation, context, seed=None, multiple=together)
    return plan.learn(
        ChunkSource(windows, batch_size=plan.batch_size, seed=seed, shuffle=False),
        encoder=CorpusEncoder(tokenizer, context, lines),
        head=NextToken(),
        rows=windows.rows,
        loss=TokenCrossEntropy(),
        validation=ChunkSource(judged, batch_size=together, shuffle=False),
        seed=seed,
        **how,
    )
