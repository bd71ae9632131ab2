"""Which words and tokens decide: integrated gradients of the vectors that stand for them."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.errors import ConfigError
from danlu.explain.path import Attribution, integrated_gradients
from danlu.explain.rewrite import rewrite
from danlu.nn.attention.sequence import PerToken, replaced, tokens
from danlu.nn.combine import Parallel, Sequential
from danlu.nn.embedding import Embedding
from danlu.nn.layer import Layer, Params, State
from danlu.nn.quantized.plain import unquantized

__all__ = ["split_to_words", "token_attribution", "token_vectors", "word_attribution"]


def token_attribution(
    network: Layer,
    params: Params,
    state: State,
    inputs: Any,
    score: Callable[..., jax.Array],
    *,
    steps: int = 64,
    most: int | None = None,
    given: Any = None,
) -> Attribution:
    """What each token adds to a score: integrated gradients of its embedding from the vector 0, summed over the vector.

    ``a_t = Σ_k e_tk · ∫₀¹ ∂f/∂e_tk (α·e) dα``; the ``a_t`` of an example add up to ``f(e) − f(0)``.

    Args:
        network: one that begins with an :class:`~danlu.nn.Embedding` (of each token, or in each branch of a
            :class:`~danlu.nn.Parallel` whose branches have inputs of their own), such as a :class:`~danlu.nn.TextCNN`.
        params, state: its variables.
        inputs: as the network takes them: token numbers ``(batch, time)``, or such a dict with a mask; for a Parallel a dict
            of these.
        score: from the network's outputs to one number an example, ``(batch,)``, such as the logit of a class.
        steps, most: points on the path, see :func:`~danlu.explain.integrated_gradients`.
        given: a tree that the score takes beside the outputs, ``score(outputs, given)``; see there.

    Returns:
        An :class:`~danlu.explain.Attribution` whose values are ``(batch, time)``, for a Parallel a dict of these by input.

    Raises:
        ConfigError: a network that does not begin with an embedding.

    Reference: Sundararajan, Taly & Yan (2017), arXiv:1703.01365, section 6.3, with the vector 0 for "no word".

    Example:
        >>> from danlu.nn import TextCNN
        >>> net = TextCNN(30, 2, dim=4, filters=3)
        >>> params, state, _ = net.init(jax.random.key(0), (6,))
        >>> found = token_attribution(net, params, state, jnp.ones((2, 6), int), lambda logits: logits[:, 1])
        >>> found.values.shape, bool(abs(found.gap).max() < 1e-3)
        ((2, 6), True)
    """
    scored, vectors, known = token_vectors(network, params, state, inputs, score, given)
    found = integrated_gradients(scored, vectors, steps=steps, most=most, given=known)
    return dataclasses.replace(found, values=jax.tree.map(lambda part: part.sum(axis=-1), found.values))


def token_vectors(
    network: Layer, params: Params, state: State, inputs: Any, score: Callable[..., jax.Array], given: Any = None
) -> tuple[Callable[[Any, Any], jax.Array], Any, Any]:
    """A score as a function of the vectors that stand for tokens; arguments as of :func:`token_attribution`.

    Returns:
        The function ``f(vectors, known)``, the vectors ``(batch, time, dim)`` (for a Parallel a dict of these), and what else it takes.
    """
    network, params, state = unquantized(network, params, state)
    whole = _embedded(network, params, inputs)
    known = {"whole": whole, "params": params, "state": state, "given": given}
    return _beyond(network, score), _map(tokens, whole), known


@functools.lru_cache(maxsize=32)
def _beyond(network: Layer, score: Callable[..., jax.Array]) -> Callable[[Any, Any], jax.Array]:
    """The score from the vectors on; the same function for the same network and score, so that it is compiled once."""
    rest = rewrite(network, lambda layer: Sequential(()) if isinstance(layer, Embedding) else None)

    def scored(vectors: Any, known: Any) -> jax.Array:
        x = _map(replaced, known["whole"], vectors)
        outputs = rest.apply(known["params"], known["state"], x)[0]
        return score(outputs) if known["given"] is None else score(outputs, known["given"])

    return scored


def _is_one(x: Any) -> bool:
    """Whether this is one sequence, an array or a dict with ``"x"``, and not a dict of them."""
    return not isinstance(x, dict) or "x" in x


def _map(function: Callable[..., Any], x: Any, *others: Any) -> Any:
    if _is_one(x):
        return function(x, *others)
    return {name: function(x[name], *(other[name] for other in others)) for name in x}


def _embedded(layer: Layer, params: Params, x: Any) -> Any:
    """``x`` with a vector for each token, by the embedding that the network begins with."""
    layer = layer.expanded
    if isinstance(layer, Embedding):
        return layer.apply(params, {}, jnp.asarray(x))[0]
    if isinstance(layer, PerToken):
        return replaced(x, _embedded(layer.layer, params[0], tokens(x)))
    if isinstance(layer, Sequential) and layer.layers:
        return _embedded(layer.layers[0], params[0], x)
    if isinstance(layer, Parallel) and layer.inputs is not None and len(set(layer.inputs)) == len(layer.inputs):
        return {
            name: _embedded(branch, params[index], x[name])
            for index, (name, branch) in enumerate(zip(layer.inputs, layer.branches, strict=True))
        }
    raise ConfigError(
        f"token_attribution found {type(layer).__name__} where an Embedding was expected; the network must begin with one",
        hint="integrated_gradients takes any score of floating-point inputs",
    )


def split_to_words(values: np.ndarray, runs: list[list[tuple[int, ...]]], words: int) -> np.ndarray:
    """The value of each word from its runs of words: ``(words,)``; a run that occurs several times divides its value.

    Args:
        values: of each different run, ``(runs, …)`` or more.
        runs: of each, where it stands: tuples of word numbers.
        words: how many.

    >>> split_to_words(np.array([1.0, 4.0]), [[(0,), (2,)], [(0, 1)]], 3).tolist()
    [2.5, 2.0, 0.5]
    """
    found = np.zeros(words)
    for value, places in zip(values, runs, strict=False):
        for place in places:
            for word in place:
                found[word] += value / (len(places) * len(place))
    return found


def word_attribution(
    network: Layer,
    params: Params,
    state: State,
    encoder: Any,
    texts: list[str],
    chosen: np.ndarray | None,
    against: np.ndarray | None = None,
) -> tuple[list[np.ndarray], float]:
    """What each word of some texts adds to the network's score, by integrated gradients.

    Args:
        network, params, state: a network of texts.
        encoder: the :class:`~danlu.data.text.TextEncoder` of its texts.
        chosen: the class of each text ``(texts,)``, whose logit (the mean of the members') is the score; None: the score is the
            predicted quantity.
        against: a second class of each text ``(texts,)``, whose logit is subtracted from the score, or None.

    Returns:
        An array for each text, a number a word of its ``tokenizer.cut`` (n-grams share theirs out among their words), and by how
        much the sums miss the scores' differences at most, as a share of the largest.
    """

    def score(outputs: jax.Array) -> jax.Array:
        mean = outputs.reshape(len(texts), -1, outputs.shape[-1]).mean(
            axis=1
        )  # (texts, members, units), then their mean
        if chosen is None:
            return mean[:, 0]
        found = jnp.take_along_axis(mean, jnp.asarray(chosen)[:, None], axis=1)[:, 0]
        if against is None:
            return found
        return found - jnp.take_along_axis(mean, jnp.asarray(against)[:, None], axis=1)[:, 0]

    found = token_attribution(network, params, state, encoder.transform(texts), score)
    added = []
    in_order = found.values.get("words", np.zeros((len(texts), 0)))  # a private network sees no words in order
    for text, words, grams in zip(texts, in_order, found.values["grams"], strict=True):
        count = len(encoder.tokenizer.cut(text))
        own = split_to_words(grams, list(encoder.places(text).values()), count)
        own[: len(words)] += words[:count]
        added.append(own)
    return added, float(np.max(np.abs(found.gap)) / max(np.max(np.abs(found.gained)), 1e-9))
