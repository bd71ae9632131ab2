"""A network whose weights are whole numbers of 8 or 4 bits."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.blueprint import setting
from danlu.errors import ConfigError
from danlu.nn.layer import Layer, Params, Shape, State
from danlu.nn.quantized.affine import DTYPES, codes, fake, repeated_scale, smaller, values, weight_scale
from danlu.nn.quantized.integers import as_integers, integer_product, row_scale
from danlu.nn.quantized.products import Product, Weight, evaluated
from danlu.paths import leaf_paths

__all__ = ["Kept", "Quantized", "Simulated", "weights_of"]

Kept = tuple[tuple[str, tuple[int, ...]], ...]
"""Weights by their paths, each with the axes along which its scales differ."""


class Quantized(Layer):
    """A network whose weights are codes of 8 or 4 bits with scales: ``Ŵ = s·q``, rounded to the nearest (``danlu.nn.quantized.affine``).

    One wrapper does it for every layer. With ``activations="none"`` the weights are made real numbers again on the way in, and the network
    is what it was, only smaller. Otherwise what enters a product with them is rounded to 8 bits as well, and the product is one of whole
    numbers, added up exactly in int32:

    - ``"dynamic"``: each row has the scale of its own largest number, so an answer does not depend on the rows beside it. Matrix products
      only; a convolution is computed with real numbers.
    - ``"static"``: each product has a scale and a zero point that were found on training rows. Convolutions as well.

    Its gradient is straight-through: that of the network, as if nothing were rounded.

    Args:
        layer: the network.
        weights: the paths of the coded weights, each with the axes along which scales differ (:func:`weights_of` finds them).
        bits: 8 or 4, of a weight.
        group: so many neighbours that are added up share a scale; None is one scale for each output. Weights alone.
        activations: see above.
        sites: how many products have a range of their own, with ``"static"``.

    Params: the network's, with the scales in the place of each coded weight. State: ``{"codes": {path: int8 or int4}, "ranges":
    {"scale", "zero": (sites,)}, "state": the network's}``.

    Reference: Jacob et al. (2018), arXiv:1712.05877; Dettmers & Zettlemoyer (2023), arXiv:2212.09720, for 4 bits in groups; Yao et al.
    (2022), arXiv:2206.01861, for a scale for each row.

    Example:
        >>> from danlu.nn.dense import Dense
        >>> dense = Dense(3)
        >>> plain, state, _ = dense.init(jax.random.key(0), (8,))
        >>> net = Quantized(dense, (("kernel", (1,)),))
        >>> params, state = net.adapt(plain, state)
        >>> state["codes"]["kernel"].dtype, params["kernel"].shape
        (dtype('int8'), (1, 3))
        >>> bool(jnp.all(jnp.abs(net.merge(params, state)[0]["kernel"] - plain["kernel"]) <= params["kernel"] / 2 + 1e-7))
        True
    """

    layer: Layer
    weights: Kept
    bits: int = setting(default=8, integer=True, minimum=4, maximum=8)
    group: int | None = setting(default=None, minimum=2, integer=True, optional=True)
    activations: str = setting(default="none", choices=("none", "dynamic", "static"))
    sites: int = setting(default=0, minimum=0, integer=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.bits not in DTYPES:
            raise ConfigError(f"Quantized.bits is {self.bits}; expected 8 or 4")
        if self.activations != "none" and (self.group is not None or self.bits != 8):
            raise ConfigError(
                f"Quantized has {self.bits} bits, group={self.group} and activations={self.activations!r}; products of whole numbers "
                "have weights of 8 bits without groups",
                hint='activations="none"',
            )
        if bool(self.sites) != (self.activations == "static"):
            raise ConfigError(
                f"Quantized has {self.sites} sites and activations={self.activations!r}; expected sites for 'static', and none otherwise"
            )

    def adapt(self, params: Params, state: State, ranges: Mapping[str, Any] | None = None) -> tuple[Params, State]:
        """The variables from the network's own: its weights rounded.

        Args:
            ranges: ``{"scale", "zero"}`` of each site.
        """
        kept = dict(self.weights)
        leaves, form = jax.tree.flatten(params)
        found, coded = [], {}
        for path, leaf in zip(leaf_paths(params), leaves, strict=True):
            if path in kept:
                plain = jnp.asarray(leaf, jnp.float32)
                scale = weight_scale(plain, kept[path], bits=self.bits, group=self.group)
                coded[path] = codes(
                    plain, repeated_scale(scale, plain.shape, self.group), bits=self.bits, symmetric=True
                )
                leaf = scale
            found.append(leaf)
        if missing := sorted(set(kept) - set(coded)):
            raise ConfigError(f"Quantized.weights names {missing[0]!r}, which is no array of the network")
        given = ranges or {"scale": jnp.ones(self.sites), "zero": jnp.zeros(self.sites, jnp.int8)}
        return jax.tree.unflatten(form, found), {"codes": coded, "ranges": dict(given), "state": state}

    def merge(self, params: Params, state: State) -> tuple[Params, State]:
        """``(params, state)`` of the plain network: its weights as the real numbers that their codes stand for."""
        coded = state["codes"]
        return _mapped(lambda path, leaf: self._plain(coded[path], leaf) if path in coded else leaf, params), state[
            "state"
        ]

    def _plain(self, coded: Any, scale: Any) -> jax.Array:
        return values(jnp.asarray(coded), jnp.asarray(scale), group=self.group)

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        params, state, out_shape = self.layer.init(key, in_shape)
        return *self.adapt(params, state), out_shape

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[Any, State]:
        y, inner = self.computed(_applied(self.layer, train), params, state, x, key)
        return y, {**state, "state": inner}

    def computed(self, function: Callable[..., Any], params: Params, state: State, *args: Any) -> Any:
        """``function(params, state, *args)`` of the network, with its weights as they are here, and its products of whole numbers."""
        if self.activations == "none":
            return function(*self.merge(params, state), *args)
        coded = {path: jnp.asarray(array) for path, array in state["codes"].items()}
        marked = _mapped(lambda path, leaf: _marked(path, coded[path], leaf) if path in coded else leaf, params)
        sites = _Sites(lambda number, product: self._integers(number, product, state["ranges"]))
        found = evaluated(function, marked, state["state"], *args, site=sites)
        sites.check(self.sites, self.activations)
        return found

    def _integers(self, number: int, product: Product, ranges: Any) -> Any:
        if self.activations == "static":
            return integer_product(product, ranges["scale"][number], ranges["zero"][number])
        if product.kind != "dot_general":
            return product.plain()
        return integer_product(product, row_scale(product.x, product.summed[0]), jnp.zeros((), jnp.int8))

    def flops(self, in_shape: Shape) -> int | None:
        return self.layer.flops(in_shape)


class Simulated(Layer):
    """A network that learns as if its weights, and what enters their products, were rounded: *quantisation-aware training*.

    Weights stay real numbers, and take part in the forward pass as ``s·round(w/s)`` with the scale of their largest number. The
    gradient passes the rounding as if it were not there (:func:`~danlu.nn.quantized.affine.fake`).

    Args:
        layer, weights, bits, group, activations: as of :class:`Quantized`.
        ranges: scale and zero point of each product, for ``"static"``.

    Params and state: the network's.

    Reference: Jacob et al. (2018), arXiv:1712.05877, section 3.

    Example:
        >>> from danlu.nn.dense import Dense
        >>> net = Simulated(Dense(2), (("kernel", (1,)),), bits=4)
        >>> params, state, _ = net.init(jax.random.key(0), (3,))
        >>> net.apply(params, state, jnp.ones((1, 3)))[0].shape
        (1, 2)
    """

    layer: Layer
    weights: Kept
    bits: int = setting(default=8, integer=True, minimum=4, maximum=8)
    group: int | None = setting(default=None, minimum=2, integer=True, optional=True)
    activations: str = setting(default="none", choices=("none", "dynamic", "static"))
    ranges: tuple[tuple[float, int], ...] = ()

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        return self.layer.init(key, in_shape)

    def decays(self, params: Params) -> Params:
        """True for the parameters that weight decay is meant for: as of the network."""
        own = getattr(self.layer, "decays", None)
        return jax.tree.map(lambda leaf: leaf.ndim > 1, params) if own is None else own(params)

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[Any, State]:
        kept = dict(self.weights)

        def rounded(path: str, leaf: Any) -> Any:
            if path not in kept:
                return leaf
            scale = jax.lax.stop_gradient(weight_scale(leaf, kept[path], bits=self.bits, group=self.group))
            whole = fake(leaf, repeated_scale(scale, leaf.shape, self.group), bits=self.bits, symmetric=True)
            return whole if self.activations == "none" else _marked(path, whole)

        used = _mapped(rounded, params)
        if self.activations == "none":
            return self.layer.apply(used, state, x, train=train, key=key)
        sites = _Sites(self._rounded)
        y, state = evaluated(_applied(self.layer, train), used, state, x, key, site=sites)
        sites.check(len(self.ranges), self.activations)
        return y, state

    def _rounded(self, number: int, product: Product) -> Any:
        if self.activations == "static":
            scale, zero = self.ranges[number] if number < len(self.ranges) else (1.0, 0)
            return product.plain(fake(product.x, scale, zero))
        if product.kind != "dot_general":
            return product.plain()
        of_row = jax.lax.stop_gradient(row_scale(product.x, product.summed[0]))
        return product.plain(fake(product.x, of_row, symmetric=True))


class _Sites:
    """Asks for each product that can be one of whole numbers, with its number in the order of the forward pass."""

    def __init__(self, asked: Callable[[int, Product], Any]) -> None:
        self.asked, self.count = asked, 0

    def __call__(self, product: Product) -> Any:
        if not as_integers(product):
            return product.plain()
        self.count += 1
        return self.asked(self.count - 1, product)

    def check(self, sites: int, activations: str) -> None:
        if activations == "static" and self.count != sites:
            raise ConfigError(
                f"the network has {self.count} products with weights here, and ranges for {sites}; calibrate it again"
            )


def real(network: Layer) -> Layer:
    """The network within a quantised one; another one itself."""
    return network.layer if isinstance(network, Quantized) else network


def is_whole(network: Any) -> bool:
    """Whether a blueprint computes with whole numbers, or a part of it does."""
    if isinstance(network, tuple):
        return any(map(is_whole, network))
    if isinstance(network, Quantized):
        return network.activations != "none"
    return isinstance(network, Layer) and any(
        is_whole(getattr(network, each.name)) for each in dataclasses.fields(network)
    )


def weights_of(layer: Layer, params: Params, state: State, x: Any, *, bits: int = 8, group: int | None = None) -> Kept:
    """The weights that can be coded: what enters a matrix product, a convolution or a lookup as it is, and gets smaller.

    Args:
        x: some inputs; only their types and shapes matter.

    Returns:
        Their paths, with the axes that no product sums over.

    >>> from danlu.nn.mlp import MLP
    >>> net, x = MLP((8,), 2), jnp.ones((1, 4))
    >>> weights_of(net, *net.init(jax.random.key(0), (4,))[:2], x)
    (('0/kernel', (1,)), ('1/kernel', (1,)))
    """
    found: dict[str, set[int]] = {}

    def site(product: Product) -> Any:
        found[product.weight.path] = found.get(product.weight.path, set(product.kept)) & set(product.kept)
        return product.plain()

    _traced(layer, params, state, x, site)
    shapes = {path: np.shape(leaf) for path, leaf in zip(leaf_paths(params), jax.tree.leaves(params), strict=True)}
    kept = [(path, tuple(sorted(found[path]))) for path in shapes if path in found]
    made = {
        path: jax.eval_shape(
            lambda path=path, axes=axes: weight_scale(jnp.zeros(shapes[path]), axes, bits=bits, group=group)
        ).shape
        for path, axes in kept
    }
    return tuple((path, axes) for path, axes in kept if smaller(shapes[path], made[path], bits))


def observed(
    layer: Layer, params: Params, state: State, x: Any, weights: Kept, see: Callable[[int, jax.Array], None]
) -> int:
    """Show what enters each product of whole numbers; the number of products.

    Args:
        x: encoded rows.
        weights: what :func:`weights_of` found.
        see: is called with the number of a product and an array, for a product within a loop once a turn.
    """
    kept = dict(weights)

    def watched(number: int, product: Product) -> Any:
        jax.debug.callback(lambda x, number=number: see(number, x), product.x)
        return product.plain()

    sites = _Sites(watched)

    def run(params: Params, state: State, x: Any) -> Any:
        sites.count = 0
        marked = _mapped(lambda path, leaf: _marked(path, leaf) if path in kept else leaf, params)
        return evaluated(_applied(layer, False), marked, state, x, None, site=sites)[0]

    jax.block_until_ready(jax.jit(run)(params, state, x))
    jax.effects_barrier()
    return sites.count


def convolved(layer: Layer, params: Params, state: State, x: Any, weights: Kept) -> tuple[str | None, ...]:
    """For each product of whole numbers the path of its weight where it is a convolution, and None where it is not."""
    kept, found = dict(weights), []

    def site(number: int, product: Product) -> Any:
        found.append(None if product.kind == "dot_general" else product.weight.path)
        return product.plain()

    asked = _Sites(site)
    _traced(layer, params, state, x, lambda product: asked(product) if product.weight.path in kept else product.plain())
    return tuple(found)


def _traced(layer: Layer, params: Params, state: State, x: Any, site: Callable[[Product], Any]) -> None:
    def run(params: Params, state: State, x: Any) -> Any:
        marked = _mapped(lambda path, leaf: _marked(path, leaf) if _is_matrix(leaf) else leaf, params)
        return evaluated(_applied(layer, False), marked, state, x, None, site=site)[0]

    jax.eval_shape(run, params, state, x)


def _is_matrix(leaf: Any) -> bool:
    return leaf.ndim >= 2 and bool(jnp.issubdtype(leaf.dtype, jnp.floating))


def _applied(layer: Layer, train: bool) -> Callable[..., Any]:
    return lambda params, state, x, key: layer.apply(params, state, x, train=train, key=key)


def _marked(path: str, array: Any, scale: Any = None) -> Weight:
    return Weight(path, array, scale, tuple(range(array.ndim)))


def _mapped(change: Callable[[str, Any], Any], params: Params) -> Params:
    leaves, form = jax.tree.flatten(params)
    return jax.tree.unflatten(form, [change(path, leaf) for path, leaf in zip(leaf_paths(params), leaves, strict=True)])
