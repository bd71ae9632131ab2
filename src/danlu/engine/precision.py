"""Mixed precision: the network computes in bfloat16, everything that adds up stays in float32.

==================================================  ===========
parameters, optimizer state, running statistics      float32
weights and inputs as the network sees them          bfloat16
means, variances and softmax inside the network      float32
outputs, loss, metrics, sums over a batch            float32
gradients, once they reach a parameter               float32
==================================================  ===========

A bfloat16 number has float32's 8 bits of exponent and 8 bits of significand instead of 24: the same range, coarser
steps. So gradients do not vanish below the smallest number, and the loss is not scaled up and down around the backward
pass as float16 (5 bits of exponent) needs; that is why float16 is not offered. Coarser steps are why a parameter is kept
in float32: an update smaller than 2⁻⁹ of it would be rounded away.

Evaluation and prediction compute in float32. The parameters of a trained model are float32, they are judged as they will
be used, and a saved model gives what its training reported.

Reference: Micikevicius et al. (2018), arXiv:1710.03740, section 3.1 (master weights); Kalamkar et al. (2019),
arXiv:1905.12322 (bfloat16 without loss scaling).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp

from danlu.nn.layer import Layer

__all__ = ["PRECISIONS", "apply_in", "cast_in"]

PRECISIONS: Mapping[str, Any] = MappingProxyType({"float32": None, "bfloat16": jnp.bfloat16})
"""What a network may be trained in; None leaves types as they are."""


def _cast(tree: Any, dtype: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf.astype(dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf, tree)


def cast_in(precision: str, tree: Any, *, train: bool) -> Any:
    """``tree`` (parameters, inputs) in the type that training computes in; unchanged in evaluation."""
    dtype = PRECISIONS[precision] if train else None
    return tree if dtype is None else _cast(tree, dtype)


def apply_in(precision: str, model: Layer, params: Any, state: Any, x: Any, *, key: jax.Array) -> tuple[Any, Any]:
    """``model.apply`` in training, computed in ``precision``; outputs are float32 and state keeps its types.

    The casts are part of the differentiated function, so gradients come back in the parameters' own type. Whole numbers
    (tokens, codes, masks) and state (running statistics) are not cast.
    """
    dtype = PRECISIONS[precision]
    if dtype is None:
        return model.apply(params, state, x, train=True, key=key)
    outputs, after = model.apply(_cast(params, dtype), state, _cast(x, dtype), train=True, key=key)
    return _cast(outputs, jnp.float32), jax.tree.map(lambda new, old: new.astype(old.dtype), after, state)
