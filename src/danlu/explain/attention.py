"""Which tokens attend to which: the weights of a network's attention."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from danlu.errors import ConfigError
from danlu.explain.rewrite import rewrite
from danlu.nn.attention import MultiHeadAttention
from danlu.nn.attention.dot_product import attend_forward
from danlu.nn.layer import Layer, Params, Shape, State
from danlu.nn.lora import LoRA
from danlu.nn.quantized.plain import unquantized
from danlu.nn.transformer.encoder_decoder import EncoderDecoder

__all__ = ["attention_maps", "cross_attention"]

_SEEN = "attention weights"  # where a watched layer leaves them in its state


class _Watched(Layer):
    """An attention layer that leaves its weights in the state that it gives back."""

    attention: MultiHeadAttention

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        return self.attention.init(key, in_shape)

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[Any, State]:
        y, after = self.attention.apply(params, state, x, train=train, key=key)
        inputs = self.attention.prepared(params, state, x, train=False, key=None)
        weights = attend_forward(*inputs)[1][3]  # (batch, kv heads, group, time, source time)
        return y, {**after, _SEEN: jax.lax.collapse(weights, 1, 3)}


def _watch(layer: Layer) -> Layer | None:
    return _Watched(layer) if isinstance(layer, MultiHeadAttention) else None


def attention_maps(network: Layer, params: Params, state: State, inputs: Any) -> dict[str, jax.Array]:
    """How much each token attends to each other one, in each attention layer and head: ``softmax(Q·Kᵀ/√d + M)``.

    The weights are those of the forward pass on ``inputs``, dropout aside. They say what was read, not what decided: another
    pattern can give the same output (Jain & Wallace 2019, arXiv:1902.10186); what decided is more the matter of
    :func:`~danlu.explain.integrated_gradients`.

    Args:
        network: any network with :class:`~danlu.nn.MultiHeadAttention` in it.
        params, state: its variables.
        inputs: as the network takes them.

    Returns:
        By the layer's path in the network (its children's names, as in :func:`~danlu.nn.summary`), in the order of the
        forward pass: ``(batch, heads, time, source time)``. A row sums to 1 over the tokens that may be seen; it is 0 at
        padding and at the future of a causal layer.

    Raises:
        ConfigError: a network without attention.

    Example:
        >>> from danlu.nn import GPT
        >>> net = GPT(50, 16, dim=8, num_layers=2, num_heads=2)
        >>> params, state, _ = net.init(jax.random.key(0), (5,))
        >>> found = attention_maps(net, params, state, jnp.ones((1, 5), int))
        >>> [maps.shape for maps in found.values()]
        [(1, 2, 5, 5), (1, 2, 5, 5)]
    """
    if isinstance(network, LoRA):
        return attention_maps(network.layer, *network.merge(params, state), inputs)
    network, params, state = unquantized(network, params, state)
    watched = rewrite(network, _watch)
    found = {} if watched == network else dict(_found(watched, _states(watched, params, state, inputs)))
    if not found:
        raise ConfigError(
            f"{type(network).__name__} has no attention to look at; expected a network with MultiHeadAttention",
            hint="for an Ensemble, give one copy's network and variables; without attention, integrated_gradients "
            "works for any network",
        )
    return found


@functools.partial(jax.jit, static_argnums=0)
def _states(watched: Layer, params: Params, state: State, inputs: Any) -> State:
    return watched.apply(params, state, inputs)[1]


def _found(layer: Layer, state: State, path: str = "") -> list[tuple[str, jax.Array]]:
    if isinstance(state, Mapping) and _SEEN in state:
        return [(path, state[_SEEN])]
    found = []
    for index, (name, child) in enumerate(layer.children()):
        found += _found(child, state[index], f"{path}/{name}" if path else name)
    return found


def cross_attention(model: Layer, params: Params, state: State, x: Any) -> jax.Array:
    """How much each target token attends to each source token, in each layer and head of the decoder.

    These are the maps of :func:`attention_maps` whose keys come from the encoder.

    Args:
        model: an :class:`~danlu.nn.EncoderDecoder`, such as a :class:`~danlu.nn.Transformer`.
        params, state: its variables.
        x: as the model takes it.

    Returns:
        ``(layers, batch, heads, target time, source time)``; over the source's real tokens they sum to 1.

    Raises:
        ConfigError: a model without cross-attention.

    Example:
        >>> from danlu.nn import Transformer
        >>> net = Transformer(50, dim=8, num_layers=3, num_heads=2, hidden=16)
        >>> params, state, _ = net.init(jax.random.key(0), {"source": (9,), "target": (7,)})
        >>> x = {"source": jnp.ones((1, 9), int), "target": jnp.ones((1, 7), int)}
        >>> cross_attention(net, params, state, x).shape
        (3, 1, 2, 7, 9)
    """
    model, params, state = unquantized(model, params, state)
    if not isinstance(model.expanded, EncoderDecoder):
        raise ConfigError(f"cross_attention received a {type(model).__name__}; expected an encoder-decoder")
    watched = rewrite(model, _watch_cross)
    if watched == model:
        raise ConfigError(f"{type(model).__name__} has no cross-attention to look at")
    return jnp.stack([weights for _, weights in _found(watched, _states(watched, params, state, x))])


def _watch_cross(layer: Layer) -> Layer | None:
    return _watch(layer) if isinstance(layer, MultiHeadAttention) and layer.cross else None
