"""Layers made of layers: one after another, side by side, round a shortcut; and any pair of functions as a layer.

The params and state of a composite are tuples with one entry for each child. Child ``i`` draws its random numbers
from ``fold_in(key, i)``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from danlu.blueprint import setting
from danlu.errors import ConfigError, DataError, unknown_name
from danlu.nn._shapes import array_shape, size
from danlu.nn.activations import ACTIVATIONS, get_activation
from danlu.nn.layer import Layer, Params, Shape, State

__all__ = ["Activation", "Flatten", "Parallel", "Residual", "Sequential", "child_key"]


def child_key(key: jax.Array | None, index: int) -> jax.Array | None:
    """The key of child ``index``; None stays None."""
    return None if key is None else jax.random.fold_in(key, index)


def _total(parts: list[int | None]) -> int | None:
    return None if any(part is None for part in parts) else sum(part or 0 for part in parts)


class Activation(Layer):
    """An activation function as a layer of its own. Params and state: ``{}``."""

    activation: str = setting(default="relu", choices=ACTIVATIONS)

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        return {}, {}, array_shape("Activation", in_shape)

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        return get_activation(self.activation)(x), state

    def flops(self, in_shape: Shape) -> int:
        return size(in_shape) if self.activation != "identity" else 0


class Flatten(Layer):
    """Every axis but the batch made into one. Params and state: ``{}``."""

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        return {}, {}, (size(array_shape("Flatten", in_shape)),)

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        return jax.lax.collapse(x, 1), state


class Sequential(Layer):
    """``y = f_n(… f_2(f_1(x)))``: the output of each layer is the input of the next. No layers: the identity.

    Example:
        >>> from danlu.nn.dense import Dense
        >>> net = Sequential((Dense(16, "relu"), Dense(3)))
        >>> params, state, out_shape = net.init(jax.random.key(0), (4,))
        >>> out_shape, params[0]["kernel"].shape
        ((3,), (4, 16))
    """

    layers: tuple[Layer, ...] = ()

    def children(self) -> tuple[tuple[str, Layer], ...]:
        return tuple((str(index), layer) for index, layer in enumerate(self.layers))

    def child_shapes(self, in_shape: Shape) -> tuple[Shape, ...]:
        shapes = [in_shape]
        for layer in self.layers:
            shapes.append(layer.out_shape(shapes[-1]))
        return tuple(shapes[:-1])

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        params, states = [], []
        shape = in_shape
        for index, layer in enumerate(self.layers):
            p, s, shape = layer.init(jax.random.fold_in(key, index), shape)
            params.append(p)
            states.append(s)
        return tuple(params), tuple(states), shape

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[Any, State]:
        states = []
        if self.layers and (len(params) != len(self.layers) or len(state) != len(self.layers)):
            raise ConfigError(
                f"the network has {len(self.layers)} layers, its params {len(params)} entries and its state {len(state)}; expected as many",
                hint="params, state, _ = network.init(key, shape); a network without a state has one {} for each layer",
            )
        for index, layer in enumerate(self.layers):
            x, s = layer.apply(params[index], state[index], x, train=train, key=child_key(key, index))
            states.append(s)
        return x, tuple(states)

    def flops(self, in_shape: Shape) -> int | None:
        shapes = self.child_shapes(in_shape)
        return _total([layer.flops(shape) for layer, shape in zip(self.layers, shapes, strict=True)])


class Residual(Layer):
    """``y = f(x) + s(x)``: a layer with a shortcut round it.

    Args:
        layer: ``f``.
        shortcut: ``s``, for when ``f`` changes the shape (such as ``Dense(units)``); None is the identity.

    Reference: He, Zhang, Ren & Sun (2016), arXiv:1512.03385, eqs. 1 and 2.
    """

    layer: Layer
    shortcut: Layer | None = None

    def children(self) -> tuple[tuple[str, Layer], ...]:
        parts: tuple[tuple[str, Layer], ...] = (("layer", self.layer),)
        return parts if self.shortcut is None else (*parts, ("shortcut", self.shortcut))

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        drawn = [layer.init(jax.random.fold_in(key, i), in_shape) for i, (_, layer) in enumerate(self.children())]
        out_shape = drawn[0][2]
        other = in_shape if self.shortcut is None else drawn[1][2]
        if out_shape != other:
            raise ConfigError(
                f"Residual adds arrays of shapes {out_shape} and {other}; expected the same shape",
                hint="give a shortcut that ends in the layer's shape, such as shortcut=Dense(units)",
            )
        return tuple(d[0] for d in drawn), tuple(d[1] for d in drawn), out_shape

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[Any, State]:
        done = [
            layer.apply(params[i], state[i], x, train=train, key=child_key(key, i))
            for i, (_, layer) in enumerate(self.children())
        ]
        side = x if self.shortcut is None else done[1][0]
        return done[0][0] + side, tuple(s for _, s in done)

    def flops(self, in_shape: Shape) -> int | None:
        parts = [layer.flops(in_shape) for _, layer in self.children()]
        return _total([*parts, size(self.layer.out_shape(in_shape))])


class Parallel(Layer):
    """Several layers side by side, their outputs merged.

    Args:
        branches: the layers.
        merge: ``"concatenate"`` (along the last axis), ``"add"``, ``"stack"`` (a new axis after the batch, as an
            ensemble's members have) or ``"dict"`` (a dict of the outputs).
        inputs: for an input that is a dict: branch ``i`` receives ``x[inputs[i]]``. None: each branch receives all of
            ``x``.
        outputs: the keys of the output for ``merge="dict"``; None takes ``inputs``.

    Example:
        >>> from danlu.nn.dense import Dense
        >>> net = Parallel((Dense(4), Dense(2)), inputs=("left", "right"))
        >>> net.init(jax.random.key(0), {"left": (3,), "right": (8,)})[2]
        (6,)
    """

    branches: tuple[Layer, ...]
    merge: str = setting(default="concatenate", choices=("concatenate", "add", "stack", "dict"))
    inputs: tuple[str, ...] | None = None
    outputs: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.branches:
            raise ConfigError("Parallel has no branches; expected at least one")
        for field in ("inputs", "outputs"):
            keys = getattr(self, field)
            if keys is not None and len(keys) != len(self.branches):
                raise ConfigError(
                    f"Parallel.{field} is {keys!r}; expected {len(self.branches)} keys, one for each branch"
                )
        if self.merge == "dict":
            keys = self.output_keys
            if len(set(keys)) != len(self.branches):
                raise ConfigError(
                    f"Parallel with merge='dict' would name its outputs {keys}; expected one name for each branch",
                    hint="set outputs=('name', ...)",
                )

    @property
    def output_keys(self) -> tuple[str, ...]:
        """The keys of the output for ``merge="dict"``."""
        return self.outputs or self.inputs or ()

    def children(self) -> tuple[tuple[str, Layer], ...]:
        keys = self.inputs or ("",) * len(self.branches)
        names = keys if len(set(keys)) == len(keys) else [f"{i}:{k}" if k else str(i) for i, k in enumerate(keys)]
        return tuple(zip((name or "0" for name in names), self.branches, strict=True))

    def parts(self, x: Any) -> tuple[Any, ...]:
        """What each branch receives, of a dict of arrays or of shapes."""
        if self.inputs is None:
            return (x,) * len(self.branches)
        if not isinstance(x, Mapping):
            raise DataError(f"Parallel received one array; expected a dict with the keys {', '.join(self.inputs)}")
        for name in self.inputs:
            if name not in x:
                raise unknown_name("input", name, map(str, x), error=DataError)
        return tuple(x[name] for name in self.inputs)

    def child_shapes(self, in_shape: Shape) -> tuple[Shape, ...]:
        return self.parts(in_shape)

    def decays(self, params: Params) -> Params:
        """True for the parameters that weight decay is meant for: as each branch declares, else those with two axes or more."""
        matrices: Any = lambda own: jax.tree.map(lambda leaf: leaf.ndim > 1, own)  # noqa: E731
        pairs = zip(self.branches, params, strict=True)
        return tuple(getattr(branch, "decays", matrices)(own) for branch, own in pairs)

    def _merged_shape(self, shapes: list[Any]) -> Shape:
        if self.merge == "dict":
            return dict(zip(self.output_keys, shapes, strict=True))
        flat = [array_shape(f"Parallel with merge={self.merge!r}", shape) for shape in shapes]
        if self.merge == "concatenate":
            if len({shape[:-1] for shape in flat}) > 1 or not all(flat):
                raise ConfigError(f"Parallel concatenates shapes {flat}; expected shapes equal but for the last axis")
            return (*flat[0][:-1], sum(shape[-1] for shape in flat))
        if len(set(flat)) > 1:
            raise ConfigError(f"Parallel with merge={self.merge!r} received shapes {flat}; expected the same shape")
        return (len(flat), *flat[0]) if self.merge == "stack" else flat[0]

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        drawn = [
            layer.init(jax.random.fold_in(key, i), part)
            for i, (layer, part) in enumerate(zip(self.branches, self.parts(in_shape), strict=True))
        ]
        return tuple(d[0] for d in drawn), tuple(d[1] for d in drawn), self._merged_shape([d[2] for d in drawn])

    def merged(self, outputs: list[Any]) -> Any:
        """The branches' outputs as one."""
        if self.merge == "dict":
            return dict(zip(self.output_keys, outputs, strict=True))
        if self.merge == "add":
            return sum(outputs[1:], start=outputs[0])
        return jnp.stack(outputs, axis=1) if self.merge == "stack" else jnp.concatenate(outputs, axis=-1)

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[Any, State]:
        done = [
            layer.apply(params[i], state[i], part, train=train, key=child_key(key, i))
            for i, (layer, part) in enumerate(zip(self.branches, self.parts(x), strict=True))
        ]
        return self.merged([y for y, _ in done]), tuple(s for _, s in done)

    def flops(self, in_shape: Shape) -> int | None:
        pairs = list(zip(self.branches, self.parts(in_shape), strict=True))
        added = (len(pairs) - 1) * size(pairs[0][0].out_shape(pairs[0][1])) if self.merge == "add" else 0
        return _total([*(layer.flops(part) for layer, part in pairs), added])
