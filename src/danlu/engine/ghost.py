"""The norm of each row's gradient without the gradient: ghost norms.

Where a kernel ``W`` is used once, in ``y = x·W``, a row with inputs ``x`` ``(positions, inputs)`` and errors ``e = ∂l/∂y`` has the gradient
``xᵀe``, and of that the norm is

    ‖xᵀe‖² = Σ_st (x_s·x_t)(e_s·e_t),     for one position ‖x‖²·‖e‖²:

products of what the backward pass has at hand, in the place of ``inputs × units`` numbers a row. A table of embeddings that is looked up
once has the same norm, with 1 for ``x_s·x_t`` where both positions have the same entry, else 0. All other parameters (biases, norms,
convolutions, whose gradients are small beside the activations) have their rows' gradients taken and squared.

How a parameter is used is read from the objective itself, from the operations that JAX traced of it. So nothing is asked of the layers,
and a parameter that is used twice, in a loop, or in a way that is not one of these, is taken the plain way.

Reference:
    Goodfellow, "Efficient per-example gradient computations" (2015); Li et al., "Large language models can be strong differentially
    private learners" (2022), section 4 (ghost clipping, in two passes).
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from danlu.engine.objective import Sums

__all__ = ["LookedUp", "Product", "added", "along", "row_gradients", "squared_norms", "squares"]

Value = Callable[[Any, Any, jax.Array], tuple[jax.Array, Sums]]
"""``value(params, row, number) -> (value, sums)`` of one row."""

_CALLS = ("jit", "pjit", "closed_call", "core_call")  # operations that only call a function


def squared_norms(value: Value, params: Any, batch: Any, numbers: jax.Array) -> tuple[Any, Sums]:
    """Of each parameter, ``‖∂value/∂parameter‖²`` of each row ``(rows,)``; and the sums of each row."""
    flat, shapes, leaves, form = _traced(value, params, batch, numbers)
    ghosts = flat.ghosts(len(leaves))
    plain = [place for place in range(len(leaves)) if place not in ghosts]

    def told(taps: Any, own: Any, row: Any, number: jax.Array) -> tuple[jax.Array, Sums]:
        given = [own.get(place, leaf) for place, leaf in enumerate(leaves)]

        def operate(tap: jax.Array, operation: _Bound, first: Any, second: Any) -> Any:
            return _tapped(operation, first, second, tap)

        by = {ghosts[place]: functools.partial(operate, tap) for place, tap in taps.items()}
        made = flat.run([*given, *jax.tree.leaves((row, number))], by)
        out: tuple[jax.Array, Sums] = jax.tree.unflatten(jax.tree.structure(shapes), made)
        return out

    def one(row: Any, number: jax.Array) -> tuple[list[jax.Array], Sums]:
        taps, own = {place: jnp.zeros(()) for place in ghosts}, {place: leaves[place] for place in plain}
        (of_taps, grads), sums = jax.grad(told, argnums=(0, 1), has_aux=True)(taps, own, row, number)
        squares = {place: jnp.sum(jnp.square(grad)) for place, grad in grads.items()} | of_taps
        return [squares[place] for place in range(len(leaves))], sums

    squares, sums = jax.vmap(one)(batch, numbers)
    return jax.tree.unflatten(form, squares), sums


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Product:
    """Each row's gradient of ``W`` in ``y = x·W``, as its factors: ``g_i = x_iᵀ·e_i``.

    Attributes:
        x: inputs, ``(rows, positions, inputs)``.
        errors: ``∂l/∂y``, ``(rows, positions, units)``.
    """

    x: jax.Array
    errors: jax.Array

    def squares(self) -> jax.Array:
        """``‖g_i‖²``, ``(rows,)``."""
        alike = jnp.einsum("rsi,rti->rst", self.x, self.x)  # (rows, positions, positions)
        of_errors = jnp.einsum("rsu,rtu->rst", self.errors, self.errors)  # (rows, positions, positions)
        return jnp.sum(alike * of_errors, axis=(1, 2))

    def added(self, scale: jax.Array) -> jax.Array:
        """``Σ_i scale_i·g_i``: one matrix product over all rows and positions."""
        errors = _sound(self.errors, scale) * along(scale, self.errors)
        return jnp.einsum("rsi,rsu->iu", _sound(self.x, scale), errors)  # (inputs, units)


@functools.partial(jax.tree_util.register_dataclass, data_fields=("places", "errors"), meta_fields=("entries",))
@dataclasses.dataclass(frozen=True)
class LookedUp:
    """Each row's gradient of a table of which entries are looked up.

    Attributes:
        places: of the entries, ``(rows, positions)``.
        errors: ``∂l/∂entry``, ``(rows, positions, units)``.
        entries: how many the table has.
    """

    places: jax.Array
    errors: jax.Array
    entries: int

    def squares(self) -> jax.Array:
        """``‖g_i‖²``, ``(rows,)``."""
        alike = self.places[:, :, None] == self.places[:, None]  # (rows, positions, positions)
        of_errors = jnp.einsum("rsu,rtu->rst", self.errors, self.errors)  # (rows, positions, positions)
        return jnp.sum(alike * of_errors, axis=(1, 2))

    def added(self, scale: jax.Array) -> jax.Array:
        """``Σ_i scale_i·g_i``."""
        errors = _sound(self.errors, scale) * along(scale, self.errors)
        table = jnp.zeros((self.entries, errors.shape[-1]), errors.dtype)
        return table.at[self.places].add(errors)


def squares(grads: Any) -> Any:
    """Of each parameter, the squared norm of each row's gradient, ``(rows,)``."""

    def one(leaf: Any) -> jax.Array:
        return leaf.squares() if _is_factors(leaf) else jnp.sum(jnp.square(leaf), axis=tuple(range(1, leaf.ndim)))

    return jax.tree.map(one, grads, is_leaf=_is_factors)


def added(grads: Any, scales: Any) -> Any:
    """Of each parameter ``Σ_i scale_i·g_i``; a row of scale 0 counts for nothing, whatever it is."""

    def one(leaf: Any, scale: jax.Array) -> jax.Array:
        if _is_factors(leaf):
            total: jax.Array = leaf.added(scale.astype(leaf.errors.dtype))
            return total
        return jnp.tensordot(scale.astype(leaf.dtype), _sound(leaf, scale), axes=1)

    return jax.tree.map(one, grads, scales, is_leaf=_is_factors)


def _is_factors(leaf: Any) -> bool:
    return isinstance(leaf, Product | LookedUp)


def along(rows: jax.Array, array: jax.Array) -> jax.Array:
    """``rows`` with as many axes as ``array``: ``(rows, 1, …)``."""
    return rows.reshape(-1, *[1] * (array.ndim - 1))  # (rows, 1, …)


def _sound(array: jax.Array, scale: jax.Array) -> jax.Array:
    return jnp.where(along(scale > 0, array), array, jnp.zeros_like(array))


def row_gradients(value: Value, params: Any, batch: Any, numbers: jax.Array) -> tuple[Any, Sums]:
    """Each row's gradient, as an array ``(rows, …)`` or as factors where these are smaller; and the sums of each row.

    One backward pass: a tap of zeros is added to the result of each product, and the gradient of the tap is that result's error.
    """
    flat, shapes, leaves, form = _traced(value, params, batch, numbers)
    ghosts = flat.ghosts(len(leaves))
    made = {place: flat.operations[number].eqn.outvars[0].aval for place, number in ghosts.items()}

    def told(taps: Any, own: Any, row: Any, number: jax.Array) -> tuple[jax.Array, tuple[Sums, Any]]:
        given = [own.get(place, leaf) for place, leaf in enumerate(leaves)]
        seen: dict[int, Any] = {}

        def operate(place: int, operation: _Bound, first: Any, second: Any) -> Any:
            seen[place] = second if operation.eqn.primitive.name == "gather" else first
            return operation(first, second) + taps[place]

        by = {number: functools.partial(operate, place) for place, number in ghosts.items()}
        out = flat.run([*given, *jax.tree.leaves((row, number))], by)
        total, sums = jax.tree.unflatten(jax.tree.structure(shapes), out)
        return total, (sums, seen)

    def one(row: Any, number: jax.Array) -> tuple[Any, Any, Any, Sums]:
        taps = {place: jnp.zeros(like.shape, like.dtype) for place, like in made.items()}
        own = {place: leaf for place, leaf in enumerate(leaves) if place not in ghosts}
        (errors, grads), (sums, seen) = jax.grad(told, argnums=(0, 1), has_aux=True)(taps, own, row, number)
        return errors, grads, seen, sums

    errors, grads, seen, sums = jax.vmap(one)(batch, numbers)
    found = dict(grads)
    for place, number in ghosts.items():
        of = errors[place].reshape(errors[place].shape[0], -1, errors[place].shape[-1])  # (rows, positions, units)
        if flat.operations[number].eqn.primitive.name == "gather":
            entries = leaves[place].shape[0]
            where = jnp.clip(seen[place].reshape(of.shape[:2]), 0, entries - 1)  # (rows, positions)
            found[place] = LookedUp(where, of, entries)
        else:
            found[place] = Product(seen[place].reshape(*of.shape[:2], -1), of)  # (rows, positions, inputs)
    return jax.tree.unflatten(form, [found[place] for place in range(len(leaves))]), sums


def _traced(value: Value, params: Any, batch: Any, numbers: jax.Array) -> tuple[_Flat, Any, list[Any], Any]:
    """The function of one row as operations, the form of its results, and the parameters."""
    row = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), (batch, numbers))
    like = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), params)
    closed, shapes = jax.make_jaxpr(value, return_shape=True)(like, *row)
    leaves, form = jax.tree.flatten(params)
    return _Flat.of(closed), shapes, leaves, form


@dataclasses.dataclass(frozen=True)
class _Operation:
    """An operation, and the numbers of the values that it is given and makes; a constant is given as it is, in a tuple."""

    eqn: Any
    given: tuple[Any, ...]
    made: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class _Flat:
    """A traced function as one list of operations, with the functions that it only calls written out."""

    operations: tuple[_Operation, ...]
    given: tuple[int, ...]
    made: tuple[Any, ...]

    @classmethod
    def of(cls, closed: Any) -> _Flat:
        """A function as ``jax.make_jaxpr`` gives it."""
        operations: list[_Operation] = []
        numbers = itertools.count()
        given = tuple(next(numbers) for _ in closed.jaxpr.invars)
        made = _written_out(closed.jaxpr, closed.consts, given, operations, numbers)
        return cls(tuple(operations), given, tuple(made))

    def ghosts(self, count: int) -> dict[int, int]:
        """Of the first ``count`` values given, those whose norm is found without their gradient, and the operation each is used in."""
        uses: dict[int, list[int]] = {number: [] for number in self.given}
        for place, operation in enumerate(self.operations):
            for each in operation.given:
                if isinstance(each, int) and each in uses:
                    uses[each].append(place)
        for each in self.made:
            if isinstance(each, int) and each in uses:
                uses[each].append(-1)
        found = {number: places[0] for number, places in uses.items() if number < count and len(places) == 1}
        return {number: place for number, place in found.items() if place >= 0 and self._is_ghost(place, number)}

    def _is_ghost(self, place: int, number: int) -> bool:
        operation = self.operations[place]
        if _is_product(operation.eqn):
            return _is(operation.given[1], number)
        return _is_look_up(operation.eqn) and _is(operation.given[0], number)

    def run(self, values: Sequence[Any], by: Mapping[int, Callable[..., Any]]) -> list[Any]:
        """The function's results, where some operations are carried out by a function of the operation and of what it is given."""
        known = dict(zip(self.given, values, strict=True))

        def value(each: Any) -> Any:
            return each[0] if isinstance(each, tuple) else known[each]

        for place, operation in enumerate(self.operations):
            given, eqn = [value(each) for each in operation.given], operation.eqn
            if place in by:
                made = [by[place](_Bound(eqn), *given)]
            else:
                made = _Bound(eqn)(*given)
            known.update(zip(operation.made, made if isinstance(made, list) else [made], strict=True))
        return [value(each) for each in self.made]


def _written_out(
    jaxpr: Any, consts: Any, given: Sequence[Any], operations: list[_Operation], numbers: Iterator[int]
) -> list[Any]:
    """Add a function's operations to a list, and give the numbers of its results."""
    known = {
        **dict(zip(jaxpr.constvars, ((const,) for const in consts), strict=True)),
        **dict(zip(jaxpr.invars, given, strict=True)),
    }

    def number(atom: Any) -> Any:
        return (atom.val,) if hasattr(atom, "val") else known[atom]

    for eqn in jaxpr.eqns:
        taken = tuple(number(atom) for atom in eqn.invars)
        if eqn.primitive.name in _CALLS:
            inner = eqn.params.get("jaxpr", eqn.params.get("call_jaxpr"))
            made = _written_out(
                getattr(inner, "jaxpr", inner), getattr(inner, "consts", ()), taken, operations, numbers
            )
        else:
            made = [next(numbers) for _ in eqn.outvars]
            operations.append(_Operation(eqn, taken, tuple(made)))
        known.update(zip(eqn.outvars, made, strict=True))
    return [number(atom) for atom in jaxpr.outvars]


def _is_product(eqn: Any) -> bool:
    """Whether it is ``x·W`` with so few positions that the norm is cheaper than the gradient."""
    if eqn.primitive.name != "dot_general":
        return False
    (left, right), batch = eqn.params["dimension_numbers"]
    x, kernel = (each.aval for each in eqn.invars)
    plain = not any(batch) and tuple(right) == (0,) and tuple(left) == (x.ndim - 1,) and kernel.ndim == 2
    return plain and (x.size // x.shape[-1]) * sum(kernel.shape) <= 2 * kernel.size


def _is_look_up(eqn: Any) -> bool:
    """Whether it takes whole entries of a table that has more of them than there are pairs of positions."""
    if eqn.primitive.name != "gather":
        return False
    how, (table, places) = eqn.params["dimension_numbers"], (each.aval for each in eqn.invars)
    whole = table.ndim == 2 and tuple(eqn.params["slice_sizes"]) == (1, table.shape[1]) and places.shape[-1] == 1
    plain = tuple(how.collapsed_slice_dims) == (0,) == tuple(how.start_index_map) and not how.operand_batching_dims
    last = tuple(how.offset_dims) == (places.ndim - 1,)
    return whole and plain and last and places.size**2 <= table.size


def _is(given: Any, number: int) -> bool:
    return isinstance(given, int) and given == number


class _Bound:
    """An operation with its settings, as a function; equal ones share what JAX traced of it."""

    def __init__(self, eqn: Any) -> None:
        self.eqn = eqn

    def __call__(self, *given: Any) -> Any:
        bound = self.eqn.primitive.get_bind_params(self.eqn.params)
        functions, settings = bound if isinstance(bound, tuple) else ((), bound)  # by the version of JAX
        made = self.eqn.primitive.bind(*functions, *given, **settings)
        return list(made) if self.eqn.primitive.multiple_results else made


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _tapped(operation: _Bound, first: Any, second: Any, tap: jax.Array) -> Any:
    """The operation's result; the "gradient" of ``tap`` is the squared norm of that of the parameter in it."""
    return operation(first, second)


def _forward(operation: _Bound, first: Any, second: Any, tap: jax.Array) -> tuple[Any, Any]:
    return operation(first, second), (first, second)


def _backward(operation: _Bound, kept: Any, error: jax.Array) -> tuple[Any, Any, jax.Array]:
    first, second = kept
    errors = error.reshape(-1, error.shape[-1])  # (positions, units)
    if operation.eqn.primitive.name == "gather":
        place = jnp.clip(second.reshape(-1), 0, first.shape[0] - 1)  # (positions,)
        alike = (place[:, None] == place[None]).astype(errors.dtype)
        back: tuple[Any, Any] = jnp.zeros_like(first), None
    else:
        rows = first.reshape(-1, first.shape[-1])  # (positions, inputs)
        alike, back = rows @ rows.T, (error @ second.T, jnp.zeros_like(second))
    return (*back, jnp.sum(alike * (errors @ errors.T)).astype(jnp.float32))


_tapped.defvjp(_forward, _backward)
