"""Writing with a language model: greedy, temperature, top-k and top-p sampling in one compiled scan."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from danlu.errors import ConfigError
from danlu.nn._precision import widened
from danlu.nn.layer import Layer, Params, State
from danlu.nn.transformer.cache import cached_step
from danlu.nn.transformer.decoding import beginning, opened, permitted

__all__ = ["generate", "sample", "top_k_logits", "top_p_logits"]


def top_k_logits(logits: jax.Array, k: int) -> jax.Array:
    """``logits`` ``(..., vocabulary)`` with all but the ``k`` largest (and ties with the k-th) at −∞.

    >>> top_k_logits(jnp.array([1.0, 3.0, 2.0]), 2).tolist()
    [-inf, 3.0, 2.0]
    """
    least = jax.lax.top_k(logits, min(k, logits.shape[-1]))[0][..., -1:]
    return jnp.where(logits >= least, logits, -jnp.inf)


def top_p_logits(logits: jax.Array, p: jax.typing.ArrayLike) -> jax.Array:
    """``logits`` ``(..., vocabulary)`` with all at −∞ but the fewest likeliest whose probabilities reach ``p``.

    Reference: Holtzman et al. (2020), arXiv:1904.09751, eqs. 2 and 3 (nucleus sampling).

    >>> top_p_logits(jnp.log(jnp.array([0.1, 0.6, 0.3])), 0.8).round(2).tolist()
    [-inf, -0.5..., -1.1...]
    """
    order = jnp.argsort(-logits, axis=-1)
    probabilities = jax.nn.softmax(widened(jnp.take_along_axis(logits, order, axis=-1)), axis=-1)
    # A token stays when those likelier than it do not reach p yet; the likeliest always does.
    kept = jnp.cumsum(probabilities, axis=-1) - probabilities < p
    kept = kept | (jnp.arange(logits.shape[-1]) == 0).reshape((1,) * (logits.ndim - 1) + (-1,))
    return jnp.where(jnp.take_along_axis(kept, jnp.argsort(order, axis=-1), axis=-1), logits, -jnp.inf)


def sample(
    logits: jax.Array,
    key: jax.Array,
    *,
    temperature: jax.typing.ArrayLike = 1.0,
    top_k: int | None = None,
    top_p: jax.typing.ArrayLike | None = None,
) -> jax.Array:
    """One token from each row of logits ``(..., vocabulary)``: temperature first, then top-k, then top-p.

    Args:
        logits: in nats.
        key: a PRNG key.
        temperature: divides the logits, ≥ 0; 0 takes the largest logit (greedy; the first of equal ones).
        top_k, top_p: see :func:`top_k_logits` and :func:`top_p_logits`; None leaves them out.

    Returns:
        Token numbers, int32, ``(...)``.
    """
    heat = jnp.asarray(temperature, logits.dtype)
    scaled = logits / jnp.where(heat > 0, heat, 1)
    if top_k is not None:
        scaled = top_k_logits(scaled, top_k)
    if top_p is not None:
        scaled = top_p_logits(scaled, top_p)
    drawn = jax.random.categorical(key, scaled, axis=-1)
    return jnp.where(heat > 0, drawn, jnp.argmax(logits, axis=-1)).astype(jnp.int32)


@functools.partial(jax.jit, static_argnames=("model", "length", "top_k", "forbidden"))
def _generate(
    model: Layer,
    params: Params,
    state: State,
    prompt: jax.Array,
    mask: jax.Array,
    source: Any,
    key: jax.Array,
    temperature: jax.Array,
    top_p: jax.Array | None,
    end: jax.Array,
    *,
    length: int,
    top_k: int | None,
    forbidden: tuple[int, ...],
) -> jax.Array:
    batch, time = prompt.shape
    model, params, state, cache = opened(model, params, state, source, batch, time + length)
    logits, cache = cached_step(model, params, state, prompt, cache, mask=mask)
    last = time - 1 - jnp.argmax(mask[:, ::-1], axis=1)

    def pick(logits: jax.Array, key: jax.Array) -> jax.Array:
        return sample(permitted(logits, forbidden), key, temperature=temperature, top_k=top_k, top_p=top_p)

    first = pick(jnp.take_along_axis(logits, last[:, None, None], axis=1)[:, 0], jax.random.fold_in(key, 0))

    def step(carry: Any, index: jax.Array) -> tuple[Any, jax.Array]:
        token, cache = carry
        logits, cache = cached_step(model, params, state, token[:, None], cache)
        chosen = pick(logits[:, 0], jax.random.fold_in(key, index))
        chosen = jnp.where(token == end, token, chosen)
        return (chosen, cache), chosen

    _, rest = jax.lax.scan(step, (first, cache), jnp.arange(1, length))
    return jnp.concatenate([first[:, None], rest.T], axis=1)


def generate(
    model: Layer,
    params: Params,
    state: State,
    prompt: Any,
    key: jax.Array,
    *,
    length: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    end: int | None = None,
    forbidden: Sequence[int] = (),
) -> jax.Array:
    """Continue each prompt by ``length`` tokens, each drawn from what the model says follows.

    The prompt is read in one pass; then one compiled scan draws a token and feeds it back, attention's keys and values
    being cached. Another temperature or ``top_p`` does not compile again.

    Args:
        model, params, state: a :class:`~danlu.nn.GPT` or the like, or a :class:`~danlu.nn.Transformer`.
        prompt: token numbers ``(batch, time)``, or ``{"x": numbers, "mask": (batch, time)}`` for prompts of different
            lengths (padding on either side). For a Transformer ``{"source": …, "source_mask": …, "target": …}``, where the
            target holds the beginning, such as one "begin" token.
        key: a PRNG key; token ``i`` is drawn with ``fold_in(key, i)``.
        length: how many tokens, ≥ 1.
        temperature: ≥ 0; 0 is greedy.
        top_k: draw from the k likeliest only, ≥ 1.
        top_p: draw from the fewest likeliest whose probabilities reach p, in (0, 1].
        end: the token after which a sequence is over; it repeats to fill the row.
        forbidden: tokens that are never drawn, such as padding.

    Returns:
        The new tokens, int32 ``(batch, length)``.

    Raises:
        ConfigError: a setting out of range, or a model that looks ahead.
        DataError: an empty prompt, or more tokens in all than the model has positions.

    Example:
        >>> from danlu.nn.transformer.gpt import GPT
        >>> net = GPT(9, 16, dim=8, num_layers=1, num_heads=2)
        >>> params, state, _ = net.init(jax.random.key(0), (4,))
        >>> generate(net, params, state, jnp.array([[3, 1, 4]]), jax.random.key(1), length=5, top_k=3).shape
        (1, 5)
    """
    for name, value, ok, expected in (
        ("length", length, length >= 1, ">= 1"),
        ("temperature", temperature, temperature >= 0, ">= 0"),
        ("top_k", top_k, top_k is None or top_k >= 1, ">= 1"),
        ("top_p", top_p, top_p is None or 0 < top_p <= 1, "> 0 and <= 1"),
    ):
        if not ok:
            raise ConfigError(f"generate received {name}={value!r}; expected {expected}")
    network, given, mask, source = beginning("generate", model, prompt)
    drawn: jax.Array = _generate(
        network,
        params,
        state,
        given,
        mask,
        source,
        key,
        jnp.asarray(temperature, float),
        None if top_p is None else jnp.asarray(top_p, float),
        jnp.asarray(-1 if end is None else end, jnp.int32),
        length=length,
        top_k=top_k,
        forbidden=tuple(forbidden),
    )
    return drawn
