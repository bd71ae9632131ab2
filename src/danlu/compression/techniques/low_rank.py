"""Low rank: a kernel becomes the product of two narrow ones."""

from __future__ import annotations

from typing import Any

import numpy as np

from danlu.blueprint import setting
from danlu.compression.technique import Made, Technique
from danlu.compression.workshop import Workshop
from danlu.errors import ConfigError
from danlu.nn import Conv, Dense, FeedForward, PerToken, Sequential
from danlu.nn.layer import Layer, Params, State
from danlu.nn.lora import LoRA
from danlu.nn.rebuild import rebuild
from danlu.paths import matches

__all__ = ["LowRank", "Merge", "factored"]

_ENERGY = 0.95


class LowRank(Technique):
    """The kernel of a dense layer or a convolution becomes two, of rank ``r``: ``W ≈ (U·√Σ)·(√Σ·Vᵀ)``, the best of that rank.

    A dense layer of ``n×m`` numbers becomes two of ``n×r`` and ``r×m``, a convolution one of ``r`` channels and one of 1×1, and a
    feed-forward layer the two dense layers that it is. Where that is no smaller, the layer stays as it is.

    Args:
        energy: ``r`` is the smallest rank whose singular values hold this share of all ``Σσ²``, in (0, 1]; None is 0.95.
        rank: ``r`` itself, instead of by energy.
        epochs: of training after it; None is a third of the run's own, 0 is none.
        keep: patterns (see :mod:`danlu.paths`) of layers that stay.

    Reference: Denton, Zaremba, Bruna, LeCun & Fergus (2014), "Exploiting linear structure within convolutional networks", arXiv:1404.0736;
    the two layers of a convolution are scheme 2 of Zhang, Zou, He & Sun (2015), arXiv:1411.4229 (without the response's statistics).

    Example:
        >>> import jax
        >>> layer = Dense(6)
        >>> params, state, _ = layer.init(jax.random.key(0), (8,))
        >>> factored(layer, params, state, {"": 2})[0]
        Sequential(layers=(Dense(units=2, ...), Dense(units=6, ...)))
    """

    energy: float | None = setting(default=None, above=0, maximum=1, optional=True)
    rank: int | None = setting(default=None, minimum=1, integer=True, optional=True)
    epochs: int | None = setting(default=None, minimum=0, integer=True, optional=True)
    keep: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.energy is not None and self.rank is not None:
            raise ConfigError(f"LowRank has energy={self.energy:g} and rank={self.rank}; expected one of them")

    def __str__(self) -> str:
        return "kernels of low rank" + (
            f" {self.rank}" if self.rank else f", with {self.energy or _ENERGY:.1%} of their energy"
        )

    def __call__(self, network: Layer, params: Params, state: State, workshop: Workshop) -> Made:
        ranks: dict[str, int] = {}

        def look(path: str, layer: Layer, own: Params, kept: State) -> None:
            if isinstance(layer, Dense | Conv) and not any(matches(path, pattern) for pattern in self.keep):
                values = np.linalg.svd(_matrix(own["kernel"]), compute_uv=False)
                if (rank := self._rank(values)) is not None and _pays(own["kernel"], layer, rank):
                    ranks[path] = max(rank, ranks.get(path, 0))  # of copies the largest
                else:
                    ranks.setdefault(path, 0)

        spread = rebuild(network, params, state, _spread)
        rebuild(*spread, look)
        chosen = {path: rank for path, rank in ranks.items() if rank}
        if not chosen:
            raise ConfigError(
                "no dense layer and no convolution of this network becomes smaller as two of low rank",
                hint="a smaller energy or rank, or prune it"
                if ranks
                else "prune it (--prune), or store whole numbers (--quantize int8)",
            )
        network, params, state = factored(*spread, chosen)
        epochs = max(1, workshop.plan.epochs // 3) if self.epochs is None else self.epochs
        return network, *workshop.tune(network, params, state, epochs=epochs)

    def _rank(self, values: np.ndarray) -> int | None:
        if self.rank is not None:
            return min(self.rank, len(values))
        total = np.cumsum(np.square(values, dtype=np.float64))
        return (
            int(np.searchsorted(total, (self.energy or _ENERGY) * total[-1] * (1 - 1e-12)) + 1) if total[-1] else None
        )


class Merge(Technique):
    """LoRA's small matrices are added to the kernels, and the network is the plain one again (see :class:`~danlu.nn.LoRA`).

    Reference: Hu et al. (2021), arXiv:2106.09685, section 4.1 ("no additional inference latency").
    """

    def __str__(self) -> str:
        return "LoRA merged into the kernels"

    def __call__(self, network: Layer, params: Params, state: State, workshop: Workshop) -> Made:
        merged = rebuild(network, params, state, _merged)
        if merged[0] == network:
            raise ConfigError("there is no LoRA in this network that could be merged")
        return merged


def _merged(path: str, layer: Layer, params: Params, state: State) -> Made | None:
    return (layer.layer, *layer.merge(params, state)) if isinstance(layer, LoRA) else None


def _spread(path: str, layer: Layer, params: Params, state: State) -> Made | None:
    """A feed-forward layer as the two dense layers that it is."""
    if not isinstance(layer, FeedForward):
        return None
    bias = layer.use_bias
    two = Sequential(
        (Dense(layer.hidden, layer.activation, use_bias=bias), Dense(params["down"].shape[-1], use_bias=bias))
    )
    each = tuple({"kernel": params[n], **({"bias": params[f"{n}_bias"]} if bias else {})} for n in ("up", "down"))
    return PerToken(two), (each,), (({}, {}),)


def _matrix(kernel: Any) -> np.ndarray:
    """A kernel as a matrix, its outputs as columns: ``(inputs, outputs)``."""
    array = np.asarray(kernel, np.float64)
    return array.reshape(-1, array.shape[-1])


def _pays(kernel: Any, layer: Any, rank: int) -> bool:
    n, m = _matrix(kernel).shape
    return getattr(layer, "groups", 1) == 1 and rank * (n + m) < n * m


def factored(network: Layer, params: Params, state: State, ranks: dict[str, int]) -> Made:
    """The network with the layers of these paths as two of the ranks; what they compute differs by what the rank leaves out."""

    def change(path: str, layer: Layer, own: Params, kept: State) -> Made | None:
        rank = ranks.get(path, 0)
        if not rank or not isinstance(layer, Dense | Conv):
            return None
        kernel = np.asarray(own["kernel"])
        u, values, v = np.linalg.svd(_matrix(kernel), full_matrices=False)
        root = np.sqrt(values[:rank])
        first = (u[:, :rank] * root).reshape(*kernel.shape[:-1], rank).astype(kernel.dtype)  # (…, inputs, rank)
        second = (root[:, None] * v[:rank]).astype(kernel.dtype)
        if isinstance(layer, Conv):
            spatial = kernel.ndim - 2
            second = second.reshape(*(1,) * spatial, rank, -1)  # (1, …, rank, features)
            narrow: Layer = layer.replace(features=rank, activation="identity", use_bias=False, initializer=None)
            wide: Layer = Conv(layer.features, 1, activation=layer.activation, use_bias=layer.use_bias)
        else:
            narrow, wide = Dense(rank, use_bias=False), Dense(layer.units, layer.activation, use_bias=layer.use_bias)
        bias = {"bias": own["bias"]} if layer.use_bias else {}
        return Sequential((narrow, wide)), ({"kernel": first}, {"kernel": second, **bias}), ({}, {})

    return rebuild(network, params, state, change)
