"""Language models as files: one call reads tokens and gives the logits of what follows each.

The function is :func:`~danlu.nn.transformer.cached_step` itself, with a cache for the model's context: keys and values of attention, the
carry of recurrent layers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.data.text import Windows
from danlu.errors import ConfigError, DanluError
from danlu.export.functions import NEXT, PAST, Function, Run, Trial, carried, zeros
from danlu.export.primitives import Input
from danlu.export.runtime import tolerance_of
from danlu.nn.attention.attention import MultiHeadAttention
from danlu.nn.attention.positions import LearnedPositions, SinusoidalPositions
from danlu.nn.layer import Layer
from danlu.nn.quantized import Quantized
from danlu.nn.transformer import cached_step, init_cache
from danlu.tasks.language import beginning, forbidden, kept_of
from danlu.tasks.tokens import text_until_end
from danlu.trained import Trained

__all__ = ["generator"]

_FEW = 8  # windows that a file is tried on
_GREEDY = 50  # tokens that it continues
_TIE = 1e-4  # logits that are nearer are equally likely


def generator(trained: Trained) -> Function:
    """The function of a language model: ``tokens (rows, new)`` and its memory, to ``logits (rows, new, vocabulary)`` and the next memory.

    Padding (token 0) is not read; where it stands, logits mean nothing. More tokens than the context give NaN.

    Raises:
        ConfigError: a network that cannot work one token at a time.
    """
    network, encoder = trained.network.expanded, trained.encoder
    context, tokenizer = encoder.context, encoder.tokenizer
    params, state = jax.tree.map(jnp.asarray, (trained.params, trained.state))
    empty = jax.eval_shape(lambda: init_cache(network, params, 1, context))
    counted = _counts(network)
    kept = empty if counted else {"layers": empty["layers"]}
    names, leaves, tree = _named(kept)
    memory = tuple(
        Input(PAST + name, leaf.dtype, leaf.shape[1:] if leaf.ndim else (), rows=leaf.ndim > 0)
        for name, leaf in zip(names, leaves, strict=True)
    )

    def call(x: dict[str, Any]) -> dict[str, Any]:
        tokens = x["tokens"]
        real = tokens != tokenizer.pad_id
        before = jax.tree.unflatten(tree, [x[PAST + name] for name in names])
        nothing = {"index": jnp.int32(0), "mask": jnp.zeros((tokens.shape[0], context), bool)}
        logits, after = cached_step(network, params, state, tokens, {**nothing, **before}, mask=real)
        if counted:
            logits = jnp.where(after["index"] > context, jnp.nan, logits)
        found = jax.tree.leaves({name: after[name] for name in kept})
        return {"logits": logits, **{NEXT + name: each for name, each in zip(names, found, strict=True)}}

    def tried(run: Run, sources: Sequence[str]) -> Iterator[Trial]:
        for said, x in _windows(trained, sources):
            yield Trial(len(x), _compared(trained, memory, run, x), said)
        yield _continued(trained, memory, run)

    about = {
        "context": context,
        "vocabulary": tokenizer.size,
        "tokens": tokenizer.kind,
        "pad": tokenizer.pad_id,
        "prefix": [tokenizer.begin_id] if encoder.lines else [],
        "empty": beginning(encoder, ""),
        "end": tokenizer.end_id if encoder.lines else None,
        "forbidden": list(forbidden(encoder)),
        "read_at_once": kept_of(context),
    }
    said = (
        "each call reads tokens and gives the logits of what follows each; it begins with a memory of zeros, and 'next.X' of a call is "
        "'past.X' of the following one",
    )
    return Function(
        call, (Input("tokens", np.int32, ("new",)), *memory), tried, (f"new <= {context}",), about,
        {"tokenizer": tokenizer.to_library()}, said,
    )  # fmt: skip


def _counts(layer: Layer) -> bool:
    """Whether a network needs to know how many tokens there were; otherwise it may go on for ever."""
    layer = layer.layer.expanded if isinstance(layer, Quantized) else layer.expanded
    if isinstance(layer, MultiHeadAttention | LearnedPositions | SinusoidalPositions):
        return True
    return any(_counts(child) for _, child in layer.children())


def _named(cache: Any) -> tuple[list[str], list[Any], Any]:
    """The leaves of a cache with short names: ``index``, ``mask``, ``0.key``, ``0.value``, … by the layers that keep something."""
    paths, tree = jax.tree_util.tree_flatten_with_path(cache)
    numbers: dict[Any, int] = {}
    names = []
    for path, _ in paths:
        last = getattr(path[-1], "key", None)
        if len(path) == 1:
            names.append(str(last))
            continue
        number = numbers.setdefault(path[:-1], len(numbers))
        names.append(f"{number}.{'hc'[path[-1].idx] if last is None else last}")
    return names, [leaf for _, leaf in paths], tree


def _windows(trained: Trained, sources: Sequence[str]) -> Iterator[tuple[str, np.ndarray]]:
    """Windows of tokens ``(rows, context)``: real ones, and random ones with padding of all lengths before them."""
    encoder = trained.encoder
    for source in sources:
        try:
            tokens = encoder.transform(trained.read(source, lenient=True, say=lambda line: None).rows)
            chunk = next(Windows(tokens, encoder.context, seed=None).chunks(0, 0))["x"]
        except DanluError:
            continue
        rows = chunk[:: -(-len(chunk) // _FEW)]
        yield f"tried on {len(rows)} windows of {source}", np.resize(rows, (_FEW, encoder.context))
        break
    random = np.random.default_rng(0)
    made = random.integers(encoder.tokenizer.end_id + 1, encoder.tokenizer.size, (_FEW, encoder.context), np.int32)
    for row, length in enumerate(random.integers(0, encoder.context, _FEW)):
        made[row, : length if row else 0] = encoder.tokenizer.pad_id
    yield f"tried on {_FEW} windows that are made up", made


def _compared(trained: Trained, memory: Sequence[Input], run: Run, x: np.ndarray) -> float:
    """The greatest difference of a probability: of a file that reads windows in pieces, the last ones token by token, and of the whole."""
    real = x != trained.encoder.tokenizer.pad_id
    whole = jax.jit(trained.forward)({"x": x, "mask": real})
    begun, parts = zeros(memory, len(x)), []
    for piece in np.split(x, range(kept_of(x.shape[1]), x.shape[1]), axis=1):
        found = run({"tokens": piece, **begun})
        parts.append(found["logits"])
        begun = carried(found)
    own, theirs = (_softmax(np.asarray(each, np.float64)) for each in (whole, np.concatenate(parts, axis=1)))
    return float(np.abs(own - theirs)[real].max(initial=0))


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def _continued(trained: Trained, memory: Sequence[Input], run: Run) -> Trial:
    """The likeliest tokens, one after the other, beside those that danlu writes.

    Raises:
        ConfigError: they differ.
    """
    encoder = trained.encoder
    context, keep, prompt = encoder.context, kept_of(encoder.context), beginning(encoder, "")
    written, nearest = list(prompt), np.inf
    never = np.isin(np.arange(encoder.tokenizer.size), forbidden(encoder))
    while len(written) < len(prompt) + _GREEDY:
        seen = written[-keep:]
        tokens = np.asarray([[encoder.tokenizer.pad_id] * (keep - len(seen)) + seen], np.int32)
        begun = zeros(memory, 1)
        for _ in range(context - keep):
            found = run({"tokens": tokens, **begun})
            begun = carried(found)
            logits = np.where(never, -np.inf, found["logits"][0, -1])
            first, second = np.sort(logits)[[-1, -2]]
            nearest = min(nearest, first - second)
            written.append(int(logits.argmax()))
            tokens = np.asarray([written[-1:]], np.int32)
    own = trained.generate(length=_GREEDY, temperature=0)[0]
    text = text_until_end(encoder.tokenizer, np.asarray(written[len(prompt) : len(prompt) + _GREEDY]))
    if own != text and not nearest < max(_TIE, tolerance_of(trained.network)):
        raise ConfigError(
            f"the file writes {text[:60]!r} where danlu writes {own[:60]!r}; nothing was written",
            hint="this is a fault of danlu; please report it with the run's config.json",
        )
    same = "as danlu does" if own == text else "as danlu does until two are equally likely"
    return Trial(1, None, f"it writes {_GREEDY} tokens, the likeliest each time, {same}")
