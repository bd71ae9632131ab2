"""Calibration: between which numbers 256 codes are laid out, found on rows that pass through the network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from danlu.nn.layer import Layer, Params, State
from danlu.nn.quantized.affine import affine, limits
from danlu.nn.quantized.layer import Kept, observed

__all__ = ["RANGES", "Seen", "calibrated"]

_SAMPLE = 1 << 16  # numbers of one array that are kept
_BINS = 2048
_SHARES = np.linspace(1.0, 0.2, 41)  # of the whole range
_OUTSIDE = 1e-4  # the share of numbers that a percentile leaves out at each end


class Seen:
    """What entered one product: the least and the greatest number, and a sample of all.

    >>> seen = Seen()
    >>> seen.add(np.array([-1.0, 3.0]))
    >>> seen.least, seen.greatest
    (-1.0, 3.0)
    """

    def __init__(self) -> None:
        self.least, self.greatest = 0.0, 0.0
        self._parts: list[np.ndarray] = []

    def add(self, array: Any) -> None:
        """Take numbers in."""
        flat = np.asarray(array, np.float32).ravel()
        if flat.size:
            self.least, self.greatest = min(self.least, float(flat.min())), max(self.greatest, float(flat.max()))
            self._parts.append(flat[:: -(-flat.size // _SAMPLE)])

    @property
    def sample(self) -> np.ndarray:
        """Some of the numbers."""
        return np.concatenate(self._parts) if self._parts else np.zeros(1, np.float32)


def _whole(seen: Seen) -> tuple[float, float]:
    return seen.least, seen.greatest


def _percentile(seen: Seen) -> tuple[float, float]:
    low, high = np.quantile(seen.sample, [_OUTSIDE, 1 - _OUTSIDE])
    return float(low), float(high)


def _error(seen: Seen) -> tuple[float, float]:
    """The share of the range whose rounding and cutting off cost the least ``Σ (x − x̂)²``."""
    sample = seen.sample

    def cost(share: float) -> float:
        scale, zero = (float(each) for each in affine(share * seen.least, share * seen.greatest))
        least, most = limits(8)
        rounded = (np.clip(np.round(sample / scale) + zero, least, most) - zero) * scale
        return float(np.sum(np.square(sample - rounded, dtype=np.float64)))

    share = min(_SHARES, key=cost)
    return share * seen.least, share * seen.greatest


def _entropy(seen: Seen) -> tuple[float, float]:
    """The share of the range whose 256 codes keep the most of the histogram: the least ``KL(P‖Q)``."""
    counts, edges = np.histogram(seen.sample, _BINS, (seen.least, max(seen.greatest, seen.least + 1e-12)))
    middles = (edges[:-1] + edges[1:]) / 2

    def cost(share: float) -> float:
        low, high = share * seen.least, share * seen.greatest
        inside = (middles >= low) & (middles <= high)
        if not counts[inside].sum():
            return np.inf
        p = np.bincount(np.digitize(np.clip(middles, low, high), edges[1:-1]), counts, _BINS)
        scale, zero = (float(each) for each in affine(low, high))
        code = (np.clip(np.round(middles / scale) + zero, *limits(8)) + 128).astype(int)
        own = np.where(inside, counts, 0)
        held = np.bincount(code, own, 256) / np.maximum(np.bincount(code, own > 0, 256), 1)
        q = np.where(own > 0, held[code], 0)
        p, q = p / p.sum(), (q + 1e-9) / (q + 1e-9).sum()
        seen_ = p > 0
        return float(np.sum(p[seen_] * np.log(p[seen_] / q[seen_])))

    share = min(_SHARES, key=cost)
    return share * seen.least, share * seen.greatest


RANGES: Mapping[str, Callable[[Seen], tuple[float, float]]] = MappingProxyType(
    {"entropy": _entropy, "error": _error, "percentile": _percentile, "whole": _whole}
)
"""How a range is chosen, by name."""


def calibrated(
    layer: Layer, params: Params, state: State, x: Any, weights: Kept, *, ranges: str = "whole"
) -> tuple[tuple[float, int], ...]:
    """Scale and zero point for each product of whole numbers, in the order of the forward pass.

    Args:
        x: encoded rows.
        weights: the weights of these products.
        ranges: ``"whole"``: from the least number to the greatest; ``"percentile"``: without one in 10,000 at each end; ``"error"``: the
            share of the whole with the least squared error; ``"entropy"``: the share with the least Kullback-Leibler divergence.

    Reference: Migacz (2017), "8-bit inference with TensorRT", for entropy; Choukroun et al. (2019), arXiv:1902.06822, for the error.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from danlu.nn.mlp import MLP
        >>> from danlu.nn.quantized.layer import weights_of
        >>> net, x = MLP((8,), 2), jnp.array([[0.0, 2.55], [1.0, 0.0]])
        >>> params, state, _ = net.init(jax.random.key(0), (2,))
        >>> (scale, zero), _ = calibrated(net, params, state, x, (("0/kernel", (1,)), ("1/kernel", (1,))))
        >>> round(scale, 4), zero
        (0.01, -128)
    """
    found: dict[int, Seen] = {}
    count = observed(
        layer, params, state, x, weights, lambda number, array: found.setdefault(number, Seen()).add(array)
    )
    chosen = [affine(*RANGES[ranges](found.get(number, Seen()))) for number in range(count)]
    return tuple((float(scale), int(zero)) for scale, zero in chosen)
