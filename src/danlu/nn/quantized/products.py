"""Every product of an activation with a weight in a function, to be computed in another way: with whole numbers, or watched.

A network is traced and evaluated operation by operation. A weight is followed through the operations that only show it in another form
(transposed, reshaped, cut); where it enters a matrix product, a convolution or a lookup, a function of the caller's is asked. So one
mechanism serves every layer, users' own too, and no layer has a second form.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from danlu.nn.quantized.affine import values

__all__ = ["Product", "Weight", "evaluated"]

_CALLS = ("jaxpr", "call_jaxpr", "fun_jaxpr")
_LOOPS = ("scan", "while", "cond")
_SAME = ("convert_element_type", "copy", "copy_p", "stop_gradient", "optimization_barrier", "reduce_precision")
_FORMS = ("reshape", "squeeze", "expand_dims")


@dataclasses.dataclass(frozen=True)
class Weight:
    """A weight on its way to a product.

    Attributes:
        path: what it is called in the network's params.
        array: its numbers, or their codes.
        scale: of the codes, of the same rank, with size 1 where one scale is for all; None of numbers.
        axes: which axis of the whole weight each axis is; None is one of size 1.
    """

    path: str
    array: Any
    scale: Any = None
    axes: tuple[int | None, ...] = ()

    @property
    def plain(self) -> Any:
        """Its numbers."""
        return self.array if self.scale is None else values(self.array, self.scale)

    def _with(self, axes: Sequence[int | None], change: Callable[[Any], Any], scale: Any = None) -> Weight:
        other = self.scale if self.scale is None or scale is not None else change(self.scale)
        return Weight(self.path, change(self.array), other if scale is None else scale, tuple(axes))

    def transposed(self, order: Sequence[int]) -> Weight:
        """Its axes in another order."""
        return self._with([self.axes[axis] for axis in order], lambda a: jnp.transpose(a, order))

    def reshaped(self, shape: tuple[int, ...]) -> Weight | None:
        """With other axes of size 1; None is a shape of another kind."""
        real = [axis for axis, size in enumerate(self.array.shape) if size != 1]
        if [self.array.shape[axis] for axis in real] != [size for size in shape if size != 1]:
            return None
        left = iter(real)
        places = [None if size == 1 else next(left) for size in shape]
        axes = [None if place is None else self.axes[place] for place in places]
        if self.scale is None:
            return Weight(self.path, self.array.reshape(shape), None, tuple(axes))
        small = [1 if place is None else self.scale.shape[place] for place in places]
        return Weight(self.path, self.array.reshape(shape), self.scale.reshape(small), tuple(axes))

    def sliced(self, first: Sequence[int], last: Sequence[int], strides: Sequence[int]) -> Weight:
        """A part of it."""

        def cut(a: Any) -> Any:
            whole = [size == own for size, own in zip(a.shape, self.array.shape, strict=True)]
            ends = [(f, e, s) if w else (0, 1, 1) for f, e, s, w in zip(first, last, strides, whole, strict=True)]
            return lax.slice(a, *zip(*ends, strict=True))

        return self._with(self.axes, cut)

    def split(self, sizes: Sequence[int], axis: int) -> list[Weight]:
        """Parts of it, side by side along an axis."""
        found, first, ones = [], 0, (1,) * self.array.ndim
        for size in sizes:
            begin = [first if place == axis else 0 for place in range(self.array.ndim)]
            end = [first + size if place == axis else own for place, own in enumerate(self.array.shape)]
            found.append(self.sliced(begin, end, ones))
            first += size
        return found


@dataclasses.dataclass(frozen=True)
class Product:
    """One product of an activation with a weight.

    Attributes:
        kind: ``"dot_general"``, ``"conv_general_dilated"`` or ``"gather"`` (a lookup: the activation is the rows' numbers).
        params: of the operation, as JAX has them.
        x: the activation.
        weight: the weight.
        left: whether the weight stands first.
        equation: the operation.
    """

    kind: str
    params: dict[str, Any]
    x: Any
    weight: Weight
    left: bool
    equation: Any

    def plain(self, x: Any = None, weight: Any = None) -> Any:
        """The product as it is, or of these."""
        x, weight = self.x if x is None else x, self.weight.plain if weight is None else weight
        return _bound(self.equation, [weight, x] if self.left else [x, weight])[0]

    @property
    def summed(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The axes of the activation, and those of the weight as it stands here, that are summed over."""
        if self.kind == "dot_general":
            (left, right), _ = self.params["dimension_numbers"]
            return (tuple(right), tuple(left)) if self.left else (tuple(left), tuple(right))
        if self.kind == "conv_general_dilated":
            numbers = self.params["dimension_numbers"]
            return tuple(numbers.lhs_spec[1:]), tuple(numbers.rhs_spec[1:])
        looked_up = self.params["dimension_numbers"].start_index_map
        return (), tuple(axis for axis in range(self.weight.array.ndim) if axis not in looked_up)

    @property
    def kept(self) -> tuple[int, ...]:
        """The axes of the whole weight that are not summed over: along them its numbers may have scales of their own."""
        own = [self.weight.axes[axis] for axis in self.summed[1]]
        every = [axis for axis in self.weight.axes if axis is not None]
        return tuple(sorted(axis for axis in every if axis not in own))


Site = Callable[[Product], Any]


def evaluated(function: Callable[..., Any], params: Any, *args: Any, site: Site) -> Any:
    """``function(params, *args)``, with ``site(product)`` in the place of each product with a weight.

    Args:
        params: a tree whose leaves are arrays or :class:`Weight`; the latter are followed.
        site: gives the product's value, or None for what it is. It may not be asked for what a loop repeats with other weights each turn.

    Example:
        >>> seen = []
        >>> one = Weight("w", jnp.ones((2, 3)), axes=(0, 1))
        >>> evaluated(lambda w, x: jnp.tanh(x @ w), one, jnp.ones((1, 2)), site=lambda each: seen.append(each.kept)).shape, seen
        ((1, 3), [(1,)])
    """
    leaves, form = jax.tree.flatten((params, *args), is_leaf=_is_weight)
    shown = [jax.ShapeDtypeStruct(leaf.array.shape, jnp.float32) if _is_weight(leaf) else leaf for leaf in leaves]
    tree = jax.tree.unflatten(form, shown)
    closed, shapes = jax.make_jaxpr(function, return_shape=True)(*tree)
    out = _Evaluation(site).run(closed.jaxpr, closed.consts, leaves)
    return jax.tree.unflatten(jax.tree.structure(shapes), out)


def _is_weight(value: Any) -> bool:
    return isinstance(value, Weight)


@dataclasses.dataclass(frozen=True)
class _Platform:
    """The number of the machine's own way of several, and of the one that all others have."""

    equation: Any

    @property
    def other(self) -> int:
        return int(self.equation.params["platforms"].index(None))


def _plain(value: Any) -> Any:
    if isinstance(value, _Platform):
        return _bound(value.equation, [])[0]
    return value.plain if _is_weight(value) else value


def _bound(equation: Any, given: Sequence[Any]) -> list[Any]:
    bound = equation.primitive.get_bind_params(equation.params)
    functions, settings = bound if isinstance(bound, tuple) else ((), bound)  # by the version of JAX
    made = equation.primitive.bind(*functions, *given, **settings)
    return list(made) if equation.primitive.multiple_results else [made]


class _Evaluation:
    def __init__(self, site: Site) -> None:
        self.site = site

    def run(self, jaxpr: Any, consts: Sequence[Any], args: Sequence[Any], *, whole: bool = True) -> list[Any]:
        """The values of a function's results; ``whole`` turns weights among them into numbers."""
        known = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *args], strict=True))

        def value(atom: Any) -> Any:
            return atom.val if hasattr(atom, "val") else known[atom]

        for equation in jaxpr.eqns:
            made = self._one(equation, [value(atom) for atom in equation.invars])
            known.update(zip(equation.outvars, made, strict=True))
        found = [value(atom) for atom in jaxpr.outvars]
        return [_plain(each) for each in found] if whole else found

    def _one(self, equation: Any, given: list[Any]) -> list[Any]:
        name, params = equation.primitive.name, equation.params
        if name == "platform_index":
            return [_Platform(equation)]
        if any(map(_is_weight, given)):
            if name == "cond" and isinstance(given[0], _Platform):
                branch = params["branches"][given[0].other]
                return self.run(branch.jaxpr, branch.consts, given[1:], whole=False)
            if name == "scan" and any(map(_is_weight, given[: params["num_consts"]])):
                return self._scan(equation, given)
            inner = next((params[key] for key in _CALLS if key in params), None) if name not in _LOOPS else None
            if inner is not None and len(getattr(inner, "jaxpr", inner).invars) == len(given):
                return self.run(getattr(inner, "jaxpr", inner), getattr(inner, "consts", ()), given, whole=False)
            if name in _SAME and (
                name == "optimization_barrier" or jnp.issubdtype(params.get("new_dtype", jnp.float32), jnp.floating)
            ):
                return given
            if name == "split":
                return list(given[0].split(params["sizes"], params["axis"]))
            found = self._weight(equation, given)
            if found is not None:
                return [found]
        return _bound(equation, [_plain(each) for each in given])

    def _weight(self, equation: Any, given: list[Any]) -> Any:
        """What an operation makes of a weight: its other form, or a product; None is an operation like any other."""
        name, params, first = equation.primitive.name, equation.params, given[0]
        shape = tuple(equation.outvars[0].aval.shape)
        if _is_weight(first) and len(given) == 1:
            if name == "transpose":
                return first.transposed(params["permutation"])
            if name in _FORMS or (name == "broadcast_in_dim" and math.prod(shape) == first.array.size):
                return first.reshaped(shape)
            if name == "slice":
                strides = params["strides"] or (1,) * len(shape)
                return first.sliced(params["start_indices"], params["limit_indices"], strides)
            return None
        left = _is_weight(first)
        if (
            name not in ("dot_general", "conv_general_dilated", "gather")
            or len(given) != 2
            or left == _is_weight(given[1])
        ):
            return None
        if left if name == "conv_general_dilated" else not left and name == "gather":
            return None
        x, weight = given[::-1] if left else given
        return self.site(Product(name, params, _plain(x), weight, left, equation))

    def _scan(self, equation: Any, given: list[Any]) -> list[Any]:
        """A loop whose body uses weights, which stay outside of it."""
        params, inner = equation.params, equation.params["jaxpr"]
        fixed, carried = params["num_consts"], params["num_consts"] + params["num_carry"]
        consts, begun, along = (
            given[:fixed],
            *([_plain(each) for each in part] for part in (given[fixed:carried], given[carried:])),
        )

        def body(carry: Any, rows: Any) -> Any:
            found = self.run(inner.jaxpr, inner.consts, [*consts, *carry, *rows])
            kept = [each.astype(old.dtype) for each, old in zip(found[: len(carry)], carry, strict=True)]
            return kept, found[len(carry) :]

        last, rows = lax.scan(
            body, begun, along, length=params["length"], reverse=params["reverse"], unroll=params["unroll"]
        )
        return [*last, *rows]
