"""Where the arrays of a training lie: whole on every device, or divided among them.

``sharding`` says it of the parameters, and of all that has their shapes: gradients, the optimizer's state, averages, the best weights.

- ``"replicated"``: whole on every device.
- ``"fsdp"`` (fully sharded data parallel): each array of at least :data:`LEAST` numbers is divided, along its longest axis that divides
  evenly, among the devices that share the rows. In the forward pass a device gathers the whole of an array just before it is used and lets
  go of it after; in the backward pass it gathers it again. The gradient of a gathering is the sum over devices of which each keeps its
  part (``psum_scatter``), so gradients come divided, and the optimizer changes parts only. With n devices the memory of each falls as 1/n.
- ``"tensor"``: within a layer, the columns of the first product and the rows of the second (Megatron): heads of attention, hidden
  units of a feed-forward layer, words of an embedding. What is left of a sum after the second product is added over devices. The
  devices of one group work on the same rows. XLA finds what to exchange from where the parameters lie.

With ``"fsdp"`` and ``tensor=2`` both hold, along the two axes of the mesh. The optimizer's update is written of whole arrays, so that one
that looks across them (a global norm, LAMB, Muon) gives what it does on one device: XLA adds up over devices what it must.

Reference: Rajbhandari et al. (2020), ZeRO, arXiv:1910.02054, stage 3; Zhao et al. (2023), PyTorch FSDP, arXiv:2304.11277; Shoeybi et al.
(2019), Megatron-LM, arXiv:1909.08053, section 3.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import jax
from jax.sharding import NamedSharding, PartitionSpec

from danlu.engine.gathering import gathering
from danlu.engine.mesh import DATA, TENSOR, WHOLE, mesh_of, place
from danlu.engine.state import Tree
from danlu.nn.attention.attention import MultiHeadAttention
from danlu.nn.dense import Dense
from danlu.nn.embedding import Embedding
from danlu.nn.layer import Layer
from danlu.nn.swiglu import SwiGLU
from danlu.nn.transformer.feed_forward import FeedForward
from danlu.paths import named_leaves

__all__ = ["LEAST", "SHARDINGS", "Layout", "through"]

SHARDINGS = ("replicated", "fsdp", "tensor")
LEAST = 1024
"""An array of fewer numbers stays whole."""

_COLUMNS = {"query": 1, "key": 1, "value": 1, "query_bias": 0, "key_bias": 0, "value_bias": 0}
_CUTS: Mapping[type[Layer], Mapping[str, int]] = MappingProxyType(
    {
        MultiHeadAttention: {**_COLUMNS, "output": 0},
        FeedForward: {"up": 1, "up_bias": 0, "down": 0},
        SwiGLU: {"gate": 1, "up": 1, "down": 0},
        Embedding: {"table": 0},
        Dense: {"kernel": 1, "bias": 0},
    }
)  # the axis along which each array of a layer is cut; others stay whole


@dataclasses.dataclass(frozen=True)
class Layout:
    """Where the arrays of one training lie.

    Attributes:
        devices, tensor: how many there are, and how many of them share each layer.
        known: the parameters by path: shape, and along which axis of the mesh each of its axes is divided.
        rest: where all other arrays lie.
        worlds: how many environments an agent has, if the devices share them: the arrays of ``TrainState.world`` with an axis of so many.

    Example:
        >>> import jax.numpy as jnp
        >>> layout = Layout.of({"kernel": jnp.zeros((8, 256)), "bias": jnp.zeros(8)}, devices=2, sharding="fsdp")
        >>> state = {"momentum": {"kernel": jnp.zeros((8, 256)), "bias": jnp.zeros(8)}, "step": jnp.zeros(())}
        >>> tuple(layout(state)["momentum"]["kernel"]), tuple(layout(state)["step"])
        ((None, 'data'), ())
    """

    devices: int = 1
    tensor: int = 1
    known: tuple[tuple[str, tuple[int, ...], PartitionSpec], ...] = ()
    rest: PartitionSpec = WHOLE
    worlds: int = 0

    @classmethod
    def of(
        cls, params: Any, *, devices: int, sharding: str = "replicated", tensor: int = 1, network: Layer | None = None
    ) -> Layout:
        """The layout of these parameters (arrays or their shapes) and of what has their shapes.

        Args:
            network: whose parameters they are; needed for ``tensor > 1``.
        """
        cuts = dict(_cuts(network, params, tensor)) if network is not None and tensor > 1 else {}
        parts = devices // tensor if sharding == "fsdp" else 1
        known = []
        for path, leaf in named_leaves(params):
            axes: list[str | None] = [None] * len(leaf.shape)
            if path in cuts:
                axes[cuts[path]] = TENSOR
            free = [axis for axis, size in enumerate(leaf.shape) if axes[axis] is None and size % parts == 0 and size]
            if parts > 1 and free and leaf.size >= LEAST:
                axes[max(free, key=lambda axis: leaf.shape[axis])] = DATA
            if any(axes):
                known.append((path, tuple(leaf.shape), PartitionSpec(*axes)))
        return cls(devices, tensor, tuple(known))

    def __call__(self, tree: Any) -> Any:
        """Where each array of ``tree`` lies; those with the path (or the end of it) and the shape of a parameter lie as it does."""
        if not self.known and not self.worlds:
            return jax.tree.map(lambda _: self.rest, tree)
        found = [self._one(path, leaf) for path, leaf in named_leaves(tree)]
        return jax.tree.unflatten(jax.tree.structure(tree), found)

    def _one(self, path: str, leaf: Any) -> PartitionSpec:
        shape = tuple(getattr(leaf, "shape", ()))
        for own, form, spec in self.known:
            more = len(shape) - len(form)  # snapshots and members are on axes before the parameter's own
            if more >= 0 and shape[more:] == form and (path == own or not own or path.endswith(f"/{own}")):
                return PartitionSpec(*[None] * more, *spec)
        if self.worlds in shape[:2] and path.startswith("world/"):
            return PartitionSpec(*[None] * shape.index(self.worlds), DATA)
        return self.rest

    def place(self, tree: Tree) -> Tree:
        """``tree`` laid out so."""
        return place(tree, self.devices, self(tree), tensor=self.tensor) if self.devices > 1 else tree

    def held(self, tree: Tree) -> Tree:
        """In a compiled program: ``tree``, which is to lie so."""
        if not self.known and not self.worlds:
            return tree
        mesh = mesh_of(self.devices, self.tensor)
        shardings = jax.tree.map(lambda spec: NamedSharding(mesh, spec), self(tree))
        held: Tree = jax.lax.with_sharding_constraint(tree, shardings)
        return held

    def whole(self, tree: Tree) -> Tree:
        """In a compiled program: ``tree``, whole on every device."""
        sharding = NamedSharding(mesh_of(self.devices, self.tensor), WHOLE)
        whole: Tree = jax.lax.with_sharding_constraint(tree, jax.tree.map(lambda _: sharding, tree))
        return whole

    def rows(self, tree: Any) -> Any:
        """What :func:`~danlu.engine.mesh.spread` is told of ``tree``: how it is divided among the devices that share rows."""
        return jax.tree.map(lambda spec: PartitionSpec(*(DATA if axis == DATA else None for axis in spec)), self(tree))


def _cuts(layer: Layer, params: Any, parts: int, path: str = "") -> Any:
    """The path of each array that is cut in ``parts``, and its axis."""
    form = layer.expanded
    start = f"{path}/" if path else ""
    for name, axis in _CUTS.get(type(form), {}).items():
        heads = (form.num_heads, form.kv_heads) if isinstance(form, MultiHeadAttention) else ()
        if name in params and params[name].shape[axis] % parts == 0 and not any(count % parts for count in heads):
            yield f"{start}{name}", axis
    for index, (_, child) in enumerate(form.children()):
        yield from _cuts(child, params[index], parts, f"{start}{index}")


def through(objective: Any, specs: Any) -> Any:
    """An objective of whole parameters as one of each device's parts of them; its gradient is of the parts.

    Args:
        objective: the objective.
        specs: where each parameter lies.
    """
    return _Through(objective, specs) if any(DATA in spec for spec in jax.tree.leaves(specs)) else objective


class _Through:
    """See :func:`through`."""

    def __init__(self, objective: Any, specs: Any) -> None:
        self.objective, self.specs = objective, specs

    def __getattr__(self, name: str) -> Any:
        return getattr(self.objective, name)

    def __call__(self, params: Any, state: Any, batch: Any, key: Any, *, train: bool) -> Any:
        whole = functools.partial(self.objective, train=train)
        return gathering(whole, params, self.specs, state, batch, key)
