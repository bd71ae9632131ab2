"""Activation checkpointing: less memory for more computation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import jax

from danlu.blueprint import setting
from danlu.nn.layer import Layer, Params, State
from danlu.nn.shorthand import Shorthand

__all__ = ["Remat"]

_POLICIES: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "nothing": jax.checkpoint_policies.nothing_saveable,
        "products": jax.checkpoint_policies.dots_saveable,
        "weight_products": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
    }
)


class Remat(Shorthand):
    """A layer whose intermediate results are not kept for the backward pass but computed again there (*rematerialised*).

    Outputs and gradients are the layer's own, with the same params and state. Training ``n`` layers in a row keeps the
    results of all of them; with each wrapped, only the ``n`` inputs and, at a time, the inner results of one. The cost is
    a second forward pass, a third more arithmetic at most. So wrap the repeated block (a Transformer's, a residual one),
    not each small layer and not the whole network.

    Args:
        layer: the layer.
        policy: what is kept all the same: ``"nothing"``; ``"products"``: results of matrix products, so that only what is
            cheap is computed again; ``"weight_products"``: of those, the products with weights (``x·W``) and not those
            within a batch (attention's ``Q·Kᵀ``, the largest arrays there are). Convolutions are not matrix products here.

    Params and state: the layer's.

    On a CPU, XLA (of jax 0.10) merges the second pass with the first again and nothing is saved, except inside a loop
    (``jax.lax.scan`` over blocks) or with ``jax.jit(..., compiler_options=Remat.CPU_OPTIONS)``.

    Reference: Chen, Xu, Zhang & Guestrin (2016), arXiv:1604.06174, section 4; ``jax.checkpoint`` does it.

    Example:
        >>> from danlu.nn import MLP
        >>> params, state, out_shape = Remat(MLP((8, 8), 2)).init(jax.random.key(0), (3,))
        >>> out_shape, len(params)
        ((2,), 3)
    """

    CPU_OPTIONS: ClassVar[dict[str, str]] = {"xla_disable_hlo_passes": "cse_barrier_expander"}

    layer: Layer
    policy: str = setting(default="nothing", choices=_POLICIES)

    def build(self) -> Layer:
        return self.layer

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[Any, State]:
        def forward(params: Params, state: State, x: Any, key: jax.Array | None) -> tuple[Any, State]:
            return self.layer.apply(params, state, x, train=train, key=key)

        again: Callable[..., tuple[Any, State]] = jax.checkpoint(forward, policy=_POLICIES[self.policy])
        return again(params, state, x, key)
