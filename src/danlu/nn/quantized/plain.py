"""The network of real numbers that a quantised one stands for."""

from __future__ import annotations

import jax

from danlu.nn.ensemble import Ensemble
from danlu.nn.layer import Layer, Params, State
from danlu.nn.quantized.layer import Quantized

__all__ = ["unquantized"]


def unquantized(network: Layer, params: Params, state: State) -> tuple[Layer, Params, State]:
    """The network within a :class:`Quantized`, or within an ensemble of them, with its weights as real numbers; another one as it is.

    What looks into a network finds its layers so. With ``activations="none"`` it answers the same; products of whole numbers become
    those of real ones.

    Example:
        >>> from danlu.nn import Dense, Ensemble
        >>> net = Ensemble(Quantized(Dense(3), (("kernel", (1,)),)), 2)
        >>> params, state, _ = net.init(jax.random.key(0), (8,))
        >>> plain, own, _ = unquantized(net, params, state)
        >>> type(plain.network).__name__, own["kernel"].shape
        ('Dense', (2, 8, 3))
    """
    if isinstance(network, Quantized):
        return network.layer, *network.merge(params, state)
    if isinstance(network, Ensemble) and isinstance(network.network, Quantized):
        inner = network.network
        return Ensemble(inner.layer, network.count), *jax.vmap(inner.merge)(params, state)
    return network, params, state
