"""Quantisation: weights of 8 or 4 bits, and products of whole numbers."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.blueprint import setting
from danlu.compression.technique import Made, Technique
from danlu.compression.workshop import Workshop
from danlu.errors import ConfigError
from danlu.nn.ensemble import Ensemble
from danlu.nn.folded import folded
from danlu.nn.layer import Layer, Params, State
from danlu.nn.masked import Masked
from danlu.nn.quantized import Quantized, Simulated, weights_of
from danlu.nn.quantized.affine import affine, limits
from danlu.nn.quantized.layer import Kept, convolved
from danlu.nn.quantized.ranges import RANGES, calibrated
from danlu.paths import check_patterns, leaf_paths, matches

__all__ = ["Quantize"]


class Quantize(Technique):
    """Weights become codes of 8 or 4 bits with scales, 4 or 8 times smaller; see :class:`~danlu.nn.Quantized`. Batch normalisation
    is folded into the layer before it first.

    Args:
        bits: 8 or 4, of a weight.
        activations: what becomes of what is multiplied by them: ``"none"`` stays real; ``"dynamic"``: 8 bits with a scale for each row,
            in matrix products; ``"static"``: 8 bits with a range that is found on training rows, in convolutions too.
        group: so many weights share a scale; None is one scale for each output with 8 bits, and groups of 32 with 4.
        epochs: of training that feels the rounding (quantisation-aware training); 0 rounds what is there.
        ranges: how a static range is chosen (see :func:`~danlu.nn.quantized.ranges.calibrated`).
        rows: training rows that a range is found on.
        keep: patterns (see :mod:`danlu.paths`) of weights that stay real, such as ``("0/kernel",)``.

    Example:
        >>> str(Quantize(4)), str(Quantize(activations="static"))
        ('weights of 4 bits', 'weights of 8 bits, products of whole numbers (static)')
    """

    bits: int = setting(default=8, minimum=4, maximum=8, integer=True)
    activations: str = setting(default="none", choices=("none", "dynamic", "static"))
    group: int | None = setting(default=None, minimum=2, integer=True, optional=True)
    epochs: int = setting(default=0, minimum=0, integer=True)
    ranges: str = setting(default="whole", choices=RANGES)
    rows: int = setting(default=512, minimum=1, integer=True)
    keep: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.bits not in (4, 8):
            raise ConfigError(f"Quantize.bits is {self.bits}; expected 8 or 4")
        if self.activations != "none" and (self.bits != 8 or self.group is not None):
            raise ConfigError(
                f"products of whole numbers have weights of 8 bits, without groups; received bits={self.bits}, group={self.group} and "
                f"activations={self.activations!r}",
                hint='leave activations="none"',
            )
        if self.activations != "static" and (self.ranges != "whole" or self.rows != 512):
            raise ConfigError(f"ranges and rows are of static activations; received activations={self.activations!r}")

    def __str__(self) -> str:
        whole = "" if self.activations == "none" else f", products of whole numbers ({self.activations})"
        return f"weights of {self.bits} bits{whole}" + (f", {self.epochs} epochs" if self.epochs else "")

    @property
    def _group(self) -> int | None:
        return 32 if self.group is None and self.bits == 4 else self.group

    def __call__(self, network: Layer, params: Params, state: State, workshop: Workshop) -> Made:
        network, params, state = folded(network, params, state)
        single, count = (network.network, network.count) if isinstance(network, Ensemble) else (network, 0)
        if isinstance(single, Quantized):
            raise ConfigError(
                "the weights of this network are quantised already", hint="compress the model that it was made from"
            )
        x = jax.tree.map(jnp.asarray, workshop.inputs(self.rows))
        weights = self._weights(single, *_members(params, state, count)[0], x)
        ranges: tuple[tuple[float, int], ...] = ()
        if self.activations == "static":
            each = [
                calibrated(single, *member, x, weights, ranges=self.ranges) for member in _members(params, state, count)
            ]
            ranges = _widest(each)
        how: dict[str, Any] = {"bits": self.bits, "group": self._group, "activations": self.activations}
        on_channels = convolved(single, *_members(params, state, count)[0], x, weights) if ranges else ()
        if self.epochs:
            learning = Simulated(single, weights, **how, ranges=ranges)
            params, state = workshop.tune(
                network, params, state, epochs=self.epochs, through=lambda _: Masked(learning)
            )
        coded = Quantized(single, weights, **how, sites=len(ranges))
        found = {
            "scale": np.array([scale for scale, _ in ranges], np.float32),
            "zero": np.array([zero for _, zero in ranges], np.int8),
        }
        made = []
        for member in _members(params, state, count):
            own, inner = coded.adapt(*member, found)
            made.append(jax.tree.map(np.asarray, (_on_grid(own, ranges, on_channels), inner)))
        if not count:
            return coded, *made[0]
        return Ensemble(coded, count), *jax.tree.map(lambda *leaves: np.stack(leaves), *made)

    def _weights(self, network: Layer, params: Params, state: State, x: Any) -> Kept:
        check_patterns("Quantize.keep", self.keep, leaf_paths(params))
        every = weights_of(network, params, state, x, bits=self.bits, group=self._group)
        chosen = tuple(each for each in every if not any(matches(each[0], pattern) for pattern in self.keep))
        if not chosen:
            raise ConfigError(
                "the network has no weights to quantise: none enters a matrix product, a convolution or a lookup as it is"
                + (", but those that are kept" if every else ""),
            )
        return chosen


def _on_grid(params: Params, ranges: Any, on_channels: Any) -> Params:
    """The biases of convolutions as multiples of both their scales: what a runtime can add to a sum of whole numbers."""
    leaves, form = jax.tree.flatten(params)
    known = dict(zip(leaf_paths(params), leaves, strict=True))
    for (scale, _), path in zip(ranges, on_channels, strict=True):
        bias = "" if path is None else f"{path.removesuffix('kernel')}bias"
        if path is not None and bias in known and path.endswith("kernel"):
            steps = scale * np.asarray(known[path]).ravel()
            known[bias] = np.asarray(np.round(np.asarray(known[bias]) / steps) * steps, np.float32)
    return jax.tree.unflatten(form, list(known.values()))


def _members(params: Params, state: State, count: int) -> list[tuple[Params, State]]:
    """The variables of each network of an ensemble of so many; those of one where it is 0."""
    if not count:
        return [jax.tree.map(jnp.asarray, (params, state))]
    return [jax.tree.map(lambda leaf, k=k: jnp.asarray(leaf[k]), (params, state)) for k in range(count)]


def _widest(each: list[tuple[tuple[float, int], ...]]) -> tuple[tuple[float, int], ...]:
    """One range for each product that holds those of all networks."""
    least, most = limits(8)
    found = []
    for site in zip(*each, strict=True):
        low = min((least - zero) * scale for scale, zero in site)
        high = max((most - zero) * scale for scale, zero in site)
        scale, zero = affine(low, high)
        found.append((float(scale), int(zero)))
    return tuple(found)
