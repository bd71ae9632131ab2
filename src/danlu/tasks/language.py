"""Language modelling: the recipe, the training, and a trained model that judges texts and writes new ones."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.blueprint import Blueprint, setting
from danlu.data.text import Tokenizer
from danlu.data.text.corpus import Tokens, Windows
from danlu.engine import Fitted, enable_compilation_cache
from danlu.engine.initial import initial_weights
from danlu.engine.sources import ChunkSource
from danlu.errors import ConfigError, DataError
from danlu.nn import GPT
from danlu.nn.layer import Layer, Params, State
from danlu.nn.losses import TokenCrossEntropy
from danlu.nn.transformer import generate
from danlu.tasks.recipe import Recipe

__all__ = ["Language", "LanguageLearned", "LanguageModel", "epoch_windows", "language_recipe", "learn_language"]

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
    unknown = sorted(set(changes) - set(Recipe.__dataclass_fields__))
    if unknown:
        raise ConfigError(f"language_recipe() received the settings {unknown}; expected fields of a Recipe")
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
    chosen.setdefault("num_heads", _heads(chosen["dim"]))
    fields |= {"model": GPT(vocabulary, **chosen), "loss": "token_cross_entropy", "patience": 4, "warm_up": 0.05}
    return Recipe(**{**fields, **changes})


def _heads(dim: int) -> int:
    """Heads of about 32 features that divide ``dim`` into even sizes, which rotary positions need."""
    fitting = [heads for heads in range(1, dim // 2 + 1) if dim % heads == 0 and dim // heads % 2 == 0]
    if not fitting:
        raise ConfigError(f"the network's width is {dim}; expected an even number")
    return min(fitting, key=lambda heads: abs(dim / heads - 32))


def epoch_windows(train: Tokens, plan: Recipe) -> int | None:
    """Windows of an epoch: 250 batches of a stream, however long it is; of lines, all (None)."""
    return _STEPS * plan.batch_size if len(train.bounds) == 2 else None


@dataclasses.dataclass(frozen=True, eq=False)
class LanguageModel:
    """A trained language model with its tokenizer.

    Attributes:
        network: the blueprint: token numbers ``(batch, time)`` to logits ``(batch, time, vocabulary)``.
        params, state: its variables.
        tokenizer: cuts texts.
        context: tokens that the network was trained to see, ≥ 4.
        lines: whether it was trained on lines (which begin and end) or on a stream.
    """

    network: Layer
    params: Any
    state: Any
    tokenizer: Tokenizer
    context: int
    lines: bool

    @property
    def in_shape(self) -> tuple[int]:
        """The shape of one example."""
        return (self.context,)

    def token_losses(self, tokens: Tokens, *, stride: int | None = None) -> np.ndarray:
        """``−log p`` of each predicted token, in nats, float32, in the texts' order.

        Args:
            tokens: the texts.
            stride: see :class:`~danlu.data.text.Windows`; None is half the context, so that every token is predicted from at
                least half of it, or from all that there is. With ``context`` windows do not overlap, and each begins from nothing.
        """
        rows = _together(self.context, self.tokenizer.size)
        found = []
        for chunk in Windows(tokens, self.context, seed=None, stride=stride or self.context // 2).chunks(0, 0):
            for low in range(0, len(chunk["x"]), rows):
                x, y = chunk["x"][low : low + rows], chunk["y"][low : low + rows]
                more = ((0, rows - len(x)), (0, 0))
                losses = _losses(self.network, self.params, self.state, np.pad(x, more), np.pad(y, more))
                found.append(np.asarray(losses)[: len(x)][y >= 0])
        return np.concatenate(found)

    def write(
        self,
        prompt: str = "",
        *,
        length: int = 200,
        samples: int = 1,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
    ) -> list[str]:
        """Texts that go on from ``prompt``, which they begin with.

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
            raise ConfigError(f"write received length={length} and samples={samples}; expected 1 or more of each")
        written = np.repeat(np.array([self._given(prompt)], np.int32), samples, axis=0)
        begun, keep = written.shape[1], self.context - max(self.context // 4, 1)
        tokenizer = self.tokenizer
        special = (tokenizer.pad_id, tokenizer.unknown_id, tokenizer.begin_id)
        options: dict[str, Any] = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
        options["forbidden"] = special if self.lines else (*special, tokenizer.end_id)
        options["end"] = tokenizer.end_id if self.lines else None
        key, part = jax.random.key(seed), 0
        while written.shape[1] - begun < length:
            seen = written[:, -keep:]
            before = ((0, 0), (keep - seen.shape[1], 0))
            given = {"x": np.pad(seen, before), "mask": np.pad(np.ones(seen.shape, bool), before)}
            draw = jax.random.fold_in(key, part)
            new = generate(self.network, self.params, self.state, given, draw, length=self.context - keep, **options)
            written, part = np.concatenate([written, np.asarray(new)], axis=1), part + 1
            if self.lines and (written[:, begun:] == tokenizer.end_id).any(axis=1).all():
                break
        return [prompt + self._text(row[begun : begun + length]) for row in written]

    def _given(self, prompt: str) -> list[int]:
        """The prompt's tokens, at least one."""
        found = self.tokenizer.encode_one(prompt)
        if self.tokenizer.unknown_id in found:
            pieces = prompt if self.tokenizer.kind == "char" else prompt.split()
            strange = [p for p in pieces if self.tokenizer.unknown_id in self.tokenizer.encode_one(p)]
            raise DataError(
                f"the prompt holds {', '.join(map(repr, dict.fromkeys(strange)))}, not in the model's vocabulary",
                hint="write the prompt with what the training text is written with",
            )
        if self.lines:
            return [self.tokenizer.begin_id, *found]
        return found or self.tokenizer.encode_one("\n") or [self.tokenizer.end_id + 1]

    def _text(self, tokens: np.ndarray) -> str:
        ends = np.flatnonzero(tokens == self.tokenizer.end_id)
        return self.tokenizer.decode(tokens[: ends[0]] if len(ends) else tokens)


def _together(context: int, vocabulary: int) -> int:
    """Windows of a batch of an evaluation."""
    return max(1, min(256, _LOGITS // (context * vocabulary)))


@functools.partial(jax.jit, static_argnames="network")
def _losses(network: Layer, params: Params, state: State, x: jax.Array, y: jax.Array) -> jax.Array:
    logits, _ = network.apply(params, state, x)
    chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), jnp.maximum(y, 0)[..., None], axis=-1)
    return -chosen[..., 0]


@dataclasses.dataclass(frozen=True)
class LanguageLearned:
    """What training gave: the model, and the record of the training."""

    model: LanguageModel
    fitted: Fitted


def learn_language(
    train: Tokens,
    *,
    tokenizer: Tokenizer,
    plan: Recipe,
    validation: Tokens,
    lines: bool,
    seed: int = 0,
    **how: Any,
) -> LanguageLearned:
    """Train the recipe's network on tokens.

    Args:
        train, validation: the tokens of the two parts. The whole validation part is measured after each epoch, and the
            weights of the best epoch are kept.
        plan: its ``model`` has a ``context``.
        lines: whether the texts are lines.
        seed: decides the initial weights, the windows and every random draw.
        **how: ``callbacks``, ``checkpoint``, ``resume`` and ``display``, for :func:`danlu.fit`.
    """
    enable_compilation_cache()
    network: Any = plan.model
    windows = Windows(train, network.context, rows=epoch_windows(train, plan), seed=seed, multiple=plan.batch_size)
    together = _together(network.context, tokenizer.size)
    judged = Windows(validation, network.context, seed=None, multiple=together)
    fitted = plan.fit(
        ChunkSource(windows, batch_size=plan.batch_size, seed=seed, shuffle=False),
        rows=windows.rows,
        loss=TokenCrossEntropy(),
        validation=ChunkSource(judged, batch_size=together, shuffle=False),
        initial=initial_weights(network, (network.context,), jax.random.key(seed)),
        seed=seed,
        **how,
    )
    model = LanguageModel(network, fitted.params, fitted.state, tokenizer, network.context, lines)
    return LanguageLearned(model, fitted)
