"""Beam search for the likeliest continuation."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp

from danlu.errors import ConfigError
from danlu.nn.layer import Layer, Params, State
from danlu.nn.transformer.cache import cached_step
from danlu.nn.transformer.decoding import beginning, opened, permitted

__all__ = ["beam_search"]


def _length_penalty(count: jax.Array, alpha: jax.Array) -> jax.Array:
    return ((5 + count) / 6) ** alpha


@functools.partial(jax.jit, static_argnames=("model", "beams", "length", "forbidden"))
def _search(
    model: Layer,
    params: Params,
    state: State,
    prompt: jax.Array,
    mask: jax.Array,
    source: Any,
    end: jax.Array,
    length_penalty: jax.Array,
    *,
    beams: int,
    length: int,
    forbidden: tuple[int, ...],
) -> tuple[jax.Array, jax.Array]:
    batch, time = prompt.shape
    model, params, state, cache = opened(model, params, state, source, batch, time + length, copies=beams)
    prompt, mask = (jnp.repeat(a, beams, axis=0) for a in (prompt, mask))
    logits, cache = cached_step(model, params, state, prompt, cache, mask=mask)
    last = time - 1 - jnp.argmax(mask[:, ::-1], axis=1)
    logits = jnp.take_along_axis(logits, last[:, None, None], axis=1)[:, 0]

    def unfinished(carry: Any) -> jax.Array:
        step: jax.Array = carry[0]
        return (step < length) & ~jnp.all(carry[4])

    def extend(carry: Any) -> Any:
        step, written, score, count, done, logits, cache = carry
        logits = permitted(logits, forbidden)
        vocabulary = logits.shape[-1]
        further = score[..., None] + jax.nn.log_softmax(logits).reshape(batch, beams, vocabulary)
        # A finished hypothesis goes on as itself, by one more "end" that costs nothing.
        itself = jnp.where((jnp.arange(vocabulary) == end)[None, None], score[..., None], -jnp.inf)
        candidates = jnp.where(done[..., None], itself, further)
        counts = jnp.where(done, count, step + 1)
        ranks = candidates / _length_penalty(counts, length_penalty)[..., None]
        _, best = jax.lax.top_k(ranks.reshape(batch, -1), beams)  # of (batch, beams·vocabulary)
        parent, token = best // vocabulary, (best % vocabulary).astype(jnp.int32)

        def of_parents(a: jax.Array) -> jax.Array:
            # (batch, beams, 1, …), as many axes as a
            return jnp.take_along_axis(a, parent.reshape(parent.shape + (1,) * (a.ndim - 2)), axis=1)

        rows = (parent + beams * jnp.arange(batch)[:, None]).reshape(-1)
        cache = jax.tree.map(lambda a: a[rows] if a.ndim else a, cache)
        written = jax.lax.dynamic_update_slice_in_dim(of_parents(written), token[..., None], step, axis=2)
        score = jnp.take_along_axis(candidates.reshape(batch, -1), best, axis=1)  # (batch, beams)
        logits, cache = cached_step(model, params, state, token.reshape(-1, 1), cache)  # (batch·beams, 1) tokens
        done = of_parents(done) | (token == end)
        return step + 1, written, score, of_parents(counts), done, logits[:, 0], cache

    # At first the beams of a row are the same hypothesis: one of them counts.
    score = jnp.tile(jnp.where(jnp.arange(beams) == 0, 0.0, -jnp.inf), (batch, 1))
    written = jnp.full((batch, beams, length), end, jnp.int32)
    nothing = jnp.zeros((batch, beams), jnp.int32)
    start = (jnp.int32(0), written, score, nothing, nothing > 0, logits, cache)
    _, written, score, count, _, _, _ = jax.lax.while_loop(unfinished, extend, start)
    return written[:, 0], score[:, 0] / _length_penalty(count[:, 0], length_penalty)


def beam_search(
    model: Layer,
    params: Params,
    state: State,
    prompt: Any,
    *,
    length: int,
    end: int,
    beams: int = 4,
    length_penalty: float = 0.6,
    forbidden: tuple[int, ...] = (),
) -> tuple[jax.Array, jax.Array]:
    """The continuation of each prompt with the largest ``log p(y) / ((5 + |y|)/6)^α`` that ``beams`` hypotheses find.

    At each step every hypothesis is extended by every token, and the best ``beams`` of all of them stay; one that has ended
    stays as it is. It is over when all have ended, or at ``length`` tokens. With one beam it is greedy search; with as many beams as
    there are continuations it is exhaustive.

    Args:
        model, params, state, prompt, forbidden: as for :func:`~danlu.nn.transformer.generate.generate`.
        length: the most tokens to write, ≥ 1.
        end: the token after which a sequence is over; it counts in ``|y|`` and fills the rest of the row.
        beams: hypotheses a row, ≥ 1.
        length_penalty: α ≥ 0: 0 takes the likeliest sequence, which favours short ones; larger values longer ones.

    Returns:
        Tokens, int32 ``(batch, length)``, and their scores as above, ``(batch,)``.

    Raises:
        ConfigError: a setting out of range.
        DataError: an empty prompt.

    Reference:
        Wu et al., "Google's neural machine translation system" (2016), arXiv:1609.08144, section 7 and eq. 14, without the
        coverage penalty.

    Example:
        >>> from danlu.nn.transformer.gpt import GPT
        >>> net = GPT(5, 8, dim=4, num_layers=1, num_heads=1)
        >>> params, state, _ = net.init(jax.random.key(0), (2,))
        >>> tokens, scores = beam_search(net, params, state, jnp.array([[3, 1]]), length=3, end=0, beams=2)
        >>> tokens.shape, scores.shape
        ((1, 3), (1,))
    """
    for name, value, ok, expected in (
        ("length", length, length >= 1, ">= 1"),
        ("beams", beams, beams >= 1, ">= 1"),
        ("length_penalty", length_penalty, length_penalty >= 0, ">= 0"),
    ):
        if not ok:
            raise ConfigError(f"beam_search received {name}={value!r}; expected {expected}")
    network, given, mask, source = beginning("beam_search", model, prompt)
    last, penalty = jnp.asarray(end, jnp.int32), jnp.asarray(length_penalty, float)
    found: tuple[jax.Array, jax.Array] = _search(
        network, params, state, given, mask, source, last, penalty,
        beams=beams, length=length, forbidden=tuple(forbidden),
    )  # fmt: skip
    return found
