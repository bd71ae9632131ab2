"""Low-rank adaptation: a large network is trained through small matrices added to its kernels."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp

from danlu.blueprint import setting
from danlu.errors import ConfigError
from danlu.nn._shapes import drawn
from danlu.nn.layer import Layer, Params, Shape, State
from danlu.paths import check_patterns, leaf_paths, matches

__all__ = ["LoRA"]


class LoRA(Layer):
    """A network with chosen kernels ``W + (α/r)·A·B``, of which only ``A`` and ``B`` learn.

    For a kernel of ``n×m`` numbers, ``A`` is ``n×r`` and ``B`` is ``r×m``: with r = 8, 12,288 numbers instead of 589,824 for one of
    BERT's or ViT's. The network's own parameters are *state*: they do not change, have no gradient, and no moments in the optimizer.
    ``B`` starts at 0, so the network starts as it was. ``A`` starts as N(0, 1/n), so ``x·A`` is of the size of ``x``.

    The kernels are added up first and the network is then what it was, so any layer with kernels will do: a kernel with more than
    two axes (a convolution's) counts as a matrix with its last axis, the outputs, as columns. What this saves is memory (gradients live
    for one kernel at a time; no moments), not time. Running statistics in the network (batch norm) still move in training.

    Args:
        layer: the network.
        rank: ``r``, >= 1.
        alpha: ``α`` > 0. At ``α = r`` the factor is 1; keeping ``α`` while changing ``r`` saves tuning the learning rate again.
        targets: patterns (see :mod:`danlu.paths`) of the kernels that get ``A`` and ``B``: arrays of two or more axes.
        full: patterns of arrays that learn as they are, such as a new head.

    Params: ``{"low_rank": {path: {"a": A, "b": B}}, "full": {path: array}}``. State: ``{"params": the network's params, "state": its
    state}``; what is in ``full`` is used from there.

    Raises:
        ConfigError: a pattern that matches nothing, or a target without an array of two axes.

    Reference: Hu et al. (2021), "LoRA: low-rank adaptation of large language models", arXiv:2106.09685, section 4.1. Without the
    dropout that the released code can put in front of ``A``.

    Example:
        >>> from danlu.nn.dense import Dense
        >>> from danlu.nn.summary import summary
        >>> net = LoRA(Dense(64), rank=2, alpha=4.0, targets=("kernel",))
        >>> summary(net, (32,)).parameters, summary(net.layer, (32,)).parameters
        (192, 2112)
        >>> params, state, _ = net.init(jax.random.key(0), (32,))
        >>> plain, _ = net.merge(params, state)
        >>> bool(jnp.all(plain["kernel"] == state["params"]["kernel"]))
        True
    """

    layer: Layer
    rank: int = setting(default=8, minimum=1, integer=True)
    alpha: float = setting(default=16.0, above=0)
    targets: tuple[str, ...] = ("*query", "*value")
    full: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for field in ("targets", "full"):
            if isinstance(getattr(self, field), str):
                object.__setattr__(self, field, (getattr(self, field),))
        super().__post_init__()

    def _chosen(self, params: Params) -> tuple[dict[str, tuple[int, int]], list[str]]:
        """Rows and columns of each kernel that gets A and B, and the paths of what learns in full."""
        leaves = dict(zip(leaf_paths(params), jax.tree.leaves(params), strict=True))
        check_patterns("LoRA.full", self.full, leaves)
        check_patterns("LoRA.targets", self.targets, leaves)
        full = [path for path in leaves if any(matches(path, pattern) for pattern in self.full)]
        kernels = {path: leaf for path, leaf in leaves.items() if leaf.ndim >= 2 and path not in full}
        for pattern in self.targets:
            if not any(matches(path, pattern) for path in kernels):
                raise ConfigError(f"LoRA.targets: {pattern!r} names no array of two or more axes outside LoRA.full")
        return {
            path: (math.prod(leaf.shape[:-1]), leaf.shape[-1])
            for path, leaf in kernels.items()
            if any(matches(path, pattern) for pattern in self.targets)
        }, full

    def adapt(self, params: Params, state: State, key: jax.Array) -> tuple[Params, State]:
        """``(params, state)`` to start from a trained network's, to be given to ``fit(initial=…)``.

        Args:
            params, state: of ``layer``.
            key: a PRNG key, for ``A``.
        """
        shapes, full = self._chosen(params)
        leaves = dict(zip(leaf_paths(params), jax.tree.leaves(params), strict=True))
        normal = drawn(jax.random.normal, key, [(n, self.rank) for n, _ in shapes.values()])
        low_rank = {}
        for (path, (n, m)), a in zip(shapes.items(), normal, strict=True):
            dtype = leaves[path].dtype
            low_rank[path] = {"a": (a / math.sqrt(n)).astype(dtype), "b": jnp.zeros((self.rank, m), dtype)}
        return {"low_rank": low_rank, "full": {path: leaves[path] for path in full}}, {"params": params, "state": state}

    def merge(self, params: Params, state: State) -> tuple[Params, State]:
        """``(params, state)`` of the equivalent plain network, without LoRA."""
        leaves, structure = jax.tree.flatten(state["params"])
        merged = []
        for path, leaf in zip(leaf_paths(state["params"]), leaves, strict=True):
            if path in params["full"]:
                leaf = params["full"][path]
            elif path in params["low_rank"]:
                pair = params["low_rank"][path]
                leaf = leaf + self.scale * (pair["a"] @ pair["b"]).reshape(leaf.shape).astype(leaf.dtype)
            merged.append(leaf)
        return jax.tree.unflatten(structure, merged), state["state"]

    @property
    def scale(self) -> float:
        """``α/r``."""
        return self.alpha / self.rank

    def gradients(self, params: Params, of_plain: Params) -> Params:
        """The chain rule: from ``G = ∂L/∂(W + s·A·B)`` to ``∂L/∂A = s·G·Bᵀ`` and ``∂L/∂B = s·Aᵀ·G``."""
        given = dict(zip(leaf_paths(of_plain), jax.tree.leaves(of_plain), strict=True))
        low_rank = {}
        for path, pair in params["low_rank"].items():
            # (inputs, outputs): the other axes of a kernel are made one
            g = self.scale * given[path].reshape(pair["a"].shape[0], pair["b"].shape[1])
            low_rank[path] = {"a": g @ pair["b"].T, "b": pair["a"].T @ g}
        return {"low_rank": low_rank, "full": {path: given[path] for path in params["full"]}}

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        params, state, out_shape = self.layer.init(jax.random.fold_in(key, 0), in_shape)
        return *self.adapt(params, state, jax.random.fold_in(key, 1)), out_shape

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[Any, State]:
        merged, inner = self.merge(params, state)
        y, inner = self.layer.apply(merged, inner, x, train=train, key=key)
        return y, {"params": state["params"], "state": inner}

    def flops(self, in_shape: Shape) -> int | None:
        own = self.layer.flops(in_shape)
        params = jax.eval_shape(lambda key: self.layer.init(key, in_shape)[0], jax.random.key(0))
        added = sum((2 * self.rank + 2) * n * m for n, m in self._chosen(params)[0].values())
        return None if own is None else own + added
