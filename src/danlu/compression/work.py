"""What a network costs apart from time: its multiplications."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

__all__ = ["multiply_adds"]


def multiply_adds(network: Any, params: Any, state: Any, inputs: Any) -> int:
    """The multiplications of one row's forward pass that are each followed by an addition: those of matrix products and convolutions.

    They are counted in what is computed, operation by operation, so that every kind of network counts alike. A multiplication with a
    weight of 0 is one too: the matrices of a network that is only pruned are as large as before.

    Args:
        inputs: encoded rows, at least one.

    Example:
        >>> from danlu.nn import MLP
        >>> net = MLP((5,), 2)
        >>> params, state, _ = net.init(jax.random.key(0), (3,))
        >>> multiply_adds(net, params, state, np.zeros((4, 3), np.float32))  # 3·5 + 5·2
        25
    """
    one = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((1, *np.shape(leaf)[1:]), jnp.result_type(leaf)), inputs)
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(np.shape(leaf), jnp.result_type(leaf)), (params, state))
    traced = jax.make_jaxpr(lambda own, x: network.apply(own[0], own[1], x, train=False)[0])(shapes, one)
    return _counted(traced.jaxpr)


def _counted(jaxpr: Any) -> int:
    total = 0
    for equation in jaxpr.eqns:
        name = equation.primitive.name
        if name == "dot_general":
            ((contracted, _), _), left = equation.params["dimension_numbers"], equation.invars[0].aval.shape
            total += math.prod(equation.outvars[0].aval.shape) * math.prod(left[axis] for axis in contracted)
        elif name == "conv_general_dilated":
            kernel, spec = equation.invars[1].aval.shape, equation.params["dimension_numbers"].rhs_spec
            # each output meets every place and every channel of its kernel
            total += math.prod(equation.outvars[0].aval.shape) * math.prod(kernel) // kernel[spec[0]]
        times = equation.params.get("length", 1) if name == "scan" else 1
        inner = [_counted(each) for each in _inside(equation.params)]
        total += times * (max(inner, default=0) if name == "cond" else sum(inner))
    return total


def _inside(parameters: Any) -> list[Any]:
    """The programs within an operation."""
    found = []
    for value in parameters.values():
        for each in value if isinstance(value, tuple | list) else (value,):
            inner = getattr(each, "jaxpr", each)
            if hasattr(inner, "eqns"):
                found.append(inner)
    return found
