"""Beam search against greedy search and against the enumeration of every continuation."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from danlu.errors import ConfigError
from danlu.nn import GPT, Transformer
from danlu.nn.transformer.beam import beam_search
from danlu.nn.transformer.generate import generate

END, LENGTH = 0, 3


def _gpt() -> tuple[Any, Any, Any]:
    net = GPT(4, 8, dim=8, num_layers=1, num_heads=2)
    params, state, _ = net.init(jax.random.key(3), (2,))
    return net, jax.tree.map(lambda p: 12 * p, params), state


def _best(log_p: Any, alpha: float) -> tuple[list[int], float]:
    """Of all continuations the one with the largest score, its end repeated; ``log_p(tokens)`` are the next one's."""
    found: list[tuple[float, list[int]]] = []
    for tokens in itertools.product(range(4), repeat=LENGTH):
        written, total = list(tokens), 0.0
        for index, token in enumerate(written):
            total += float(log_p(written[:index])[token])
            if token == END:
                written = written[: index + 1]
                break
        found.append((total / ((5 + len(written)) / 6) ** alpha, written))
    score, written = max(found)
    return written + [END] * (LENGTH - len(written)), score


@pytest.mark.parametrize("alpha", [0.0, 1.5])
def test_with_beams_enough_it_is_exhaustive(alpha: float) -> None:
    net, params, state = _gpt()
    prompts = jnp.array([[3, 1], [2, 2], [1, 3]])
    tokens, scores = beam_search(net, params, state, prompts, length=LENGTH, end=END, beams=64, length_penalty=alpha)
    apply = jax.jit(lambda x: jax.nn.log_softmax(net.apply(params, state, x)[0]))

    for row, prompt in enumerate(prompts.tolist()):

        def log_p(written: list[int], prompt: list[int] = prompt) -> Any:
            filled = prompt + written + [0] * (LENGTH - len(written))
            return np.asarray(apply(jnp.array([filled]))[0, len(prompt) + len(written) - 1])

        expected, score = _best(log_p, alpha)
        assert tokens[row].tolist() == expected
        assert float(scores[row]) == pytest.approx(score, rel=1e-4)


def test_with_one_beam_it_is_greedy_and_more_beams_find_better() -> None:
    net = Transformer(7, dim=8, num_layers=1, num_heads=2, hidden=16)
    params, state, _ = net.init(jax.random.key(0), {"source": (5,), "target": (1,), "source_mask": (5,)})
    rng = np.random.default_rng(0)
    prompt = {
        "source": jnp.asarray(rng.integers(1, 7, (6, 5))),
        "source_mask": jnp.asarray(np.arange(5) < rng.integers(2, 6, (6, 1))),
        "target": jnp.ones((6, 1), jnp.int32),
    }
    greedy = generate(net, params, state, prompt, jax.random.key(0), length=4, temperature=0.0, end=END)
    narrow, low = beam_search(net, params, state, prompt, length=4, end=END, beams=1, length_penalty=0.0)
    assert narrow.tolist() == greedy.tolist()
    _, high = beam_search(net, params, state, prompt, length=4, end=END, beams=64, length_penalty=0.0)
    assert np.all(np.asarray(high) >= np.asarray(low) - 1e-5)
    assert np.any(np.asarray(high) > np.asarray(low) + 1e-3)  # greedy search misses some


def test_errors() -> None:
    net, params, state = _gpt()
    with pytest.raises(ConfigError, match="beams=0"):
        beam_search(net, params, state, jnp.array([[1]]), length=2, end=END, beams=0)
