"""A function of whole parameters, computed from each device's parts of them: a parameter is gathered where it is used.

The function is walked operation by operation. An operation ``y = f(x, W)`` that uses a divided parameter becomes

    y = f(x, gather(part)),    and backward, with the error ē of y:
    W = gather(part),  x̄, W̄ = the gradients of f at (x, W),  scatter(W̄),

so that what is kept from the forward pass for the backward is ``x`` and the part, not ``W``. The gathering waits for ``x`` in the
forward pass and for ē in the backward one: only the parameters of the operations at hand are whole at a time. This needs nothing of the
network, whose layers see whole parameters. A parameter that is only cast, turned or reshaped stays a part until it is used; one that is
cast to bfloat16 is sent as such, and its gradient is added up in its own type. What holds a loop, such as a recurrent layer, is given
whole parameters that are kept: to take its gradient from its input would be to run the loop again.

On a CPU, XLA (of jax 0.10) does not let a gathering wait, unless it is told to by ``compiler_options=Remat.CPU_OPTIONS``: there the whole
parameters may all be there at once, beside a state that is divided.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from danlu.engine.mesh import DATA, TENSOR

__all__ = ["gather", "gathering", "scatter"]

_FORMS = frozenset({"broadcast_in_dim", "convert_element_type", "reshape", "squeeze", "transpose"})
_CALLS = frozenset({"jit", "pjit", "closed_call"})
_LOOPS = frozenset({"scan", "while", "cond"})


def gathering(function: Callable[..., Any], params: Any, specs: Any, *args: Any) -> Any:
    """``function(params, *args)``, of whose ``params`` each device has parts; their gradients are of the parts.

    Args:
        specs: where each parameter lies.
    """
    leaves, form = jax.tree.flatten(params)
    lies = jax.tree.leaves(specs)
    sizes = [_whole_shape(leaf, spec) for leaf, spec in zip(leaves, lies, strict=True)]
    closed, shapes = jax.make_jaxpr(function, return_shape=True)(jax.tree.unflatten(form, sizes), *args)
    given = [_Part(leaf, spec) if DATA in spec else leaf for leaf, spec in zip(leaves, lies, strict=True)]
    found = _run(closed.jaxpr, closed.consts, [*given, *jax.tree.leaves(args)])
    return jax.tree.unflatten(
        jax.tree.structure(shapes), [each.whole() if isinstance(each, _Part) else each for each in found]
    )


def _whole_shape(part: Any, spec: PartitionSpec) -> jax.ShapeDtypeStruct:
    sizes = [
        n * jax.lax.axis_size(DATA) if axis == DATA else n
        for n, axis in zip(part.shape, (*spec, *[None] * part.ndim), strict=False)
    ]
    return jax.ShapeDtypeStruct(tuple(sizes), part.dtype)


@dataclasses.dataclass(frozen=True)
class _Part:
    """This device's part of a parameter, and what is to be done to the whole of it before it is used."""

    part: jax.Array
    spec: PartitionSpec
    forms: tuple[Any, ...] = ()

    @property
    def dtype(self) -> Any:
        """The type in which it is sent: the one that it is cast to first."""
        first = self.forms[0] if self.forms else None
        return (
            first.params["new_dtype"]
            if first is not None and first.primitive.name == "convert_element_type"
            else self.part.dtype
        )

    def formed(self, whole: jax.Array) -> jax.Array:
        """The whole, in the form in which it is used."""
        for eqn in self.forms:
            (whole,) = _bind(eqn, [whole])
        return whole

    def whole(self) -> jax.Array:
        """The whole, gathered here."""
        return self.formed(gather(self.part, self.spec, self.dtype))


def _bind(eqn: Any, given: Sequence[Any]) -> list[Any]:
    bound = eqn.primitive.get_bind_params(eqn.params)
    functions, settings = bound if isinstance(bound, tuple) else ((), bound)  # by the version of JAX
    made = eqn.primitive.bind(*functions, *given, **settings)
    return list(made) if eqn.primitive.multiple_results else [made]


def _run(jaxpr: Any, consts: Sequence[Any], args: Sequence[Any]) -> list[Any]:
    """The results of a function; those that are parameters in another form are still parts."""
    env = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *args], strict=True))

    def value(atom: Any) -> Any:
        return atom.val if hasattr(atom, "val") else env[atom]

    for eqn in jaxpr.eqns:
        given = [value(atom) for atom in eqn.invars]
        parts = [each for each in given if isinstance(each, _Part)]
        if not parts:
            made = _bind(eqn, given)
        elif eqn.primitive.name in _FORMS and len(given) == 1:
            made = [dataclasses.replace(parts[0], forms=(*parts[0].forms, eqn))]
        elif eqn.primitive.name in _CALLS:
            made = _run(eqn.params["jaxpr"].jaxpr, eqn.params["jaxpr"].consts, given)
        elif _loops(eqn):
            made = _bind(eqn, [each.whole() if isinstance(each, _Part) else each for each in given])
        else:
            made = _used(eqn, given)
        env.update(zip(eqn.outvars, made, strict=True))
    return [value(atom) for atom in jaxpr.outvars]


def _loops(eqn: Any) -> bool:
    """Whether an operation is a loop or has one within."""
    inner = [getattr(each, "jaxpr", each) for each in eqn.params.values()]
    within = [each for function in inner for each in getattr(function, "eqns", ())]
    return eqn.primitive.name in _LOOPS or any(_loops(each) for each in within)


def _used(eqn: Any, given: list[Any]) -> list[Any]:
    """An operation that uses parameters, of which each device has parts."""
    parts = [each for each in given if isinstance(each, _Part)]
    is_part = [isinstance(each, _Part) for each in given]

    def whole_of(shards: Sequence[Any]) -> list[Any]:
        return [_sent(shard, part.spec, part.dtype) for shard, part in zip(shards, parts, strict=True)]

    def result(wholes: Sequence[Any], others: Sequence[Any]) -> list[Any]:
        full, rest = iter([part.formed(whole) for part, whole in zip(parts, wholes, strict=True)]), iter(others)
        return _bind(eqn, [next(full) if own else next(rest) for own in is_part])

    @jax.custom_vjp
    def use(shards: list[Any], others: list[Any]) -> list[Any]:
        shards, others = _together(shards, others)
        return result(whole_of(shards), others)

    def forward(shards: list[Any], others: list[Any]) -> tuple[list[Any], Any]:
        return use(shards, others), (shards, others)

    def backward(kept: Any, errors: list[Any]) -> tuple[list[Any], list[Any]]:
        shards, others = kept
        shards, errors = _together(shards, errors)
        smooth = [jnp.issubdtype(jnp.result_type(each), jnp.inexact) for each in others]

        def of_smooth(wholes: list[Any], moving: list[Any]) -> list[Any]:
            rest = iter(moving)
            return result(wholes, [next(rest) if own else each for own, each in zip(smooth, others, strict=True)])

        _, pull = jax.vjp(of_smooth, whole_of(shards), [each for own, each in zip(smooth, others, strict=True) if own])
        of_wholes, of_moving = pull(errors)
        rest = iter(of_moving)
        own = [scatter(error.astype(s.dtype), p.spec) for error, s, p in zip(of_wholes, shards, parts, strict=True)]
        return own, [next(rest) if moves else None for moves in smooth]

    use.defvjp(forward, backward)
    return use([part.part for part in parts], [each for each in given if not isinstance(each, _Part)])


def _together(first: list[Any], second: list[Any]) -> tuple[list[Any], list[Any]]:
    """Both, none of which is there before all are; what cannot be waited for stays as it is."""
    plain = [isinstance(each, jax.Array) and jnp.issubdtype(each.dtype, jnp.number) for each in second]
    waited = [each for each, own in zip(second, plain, strict=True) if own]
    first, waited = jax.lax.optimization_barrier((first, waited))
    rest = iter(waited)
    return first, [next(rest) if own else each for each, own in zip(second, plain, strict=True)]


def gather(part: jax.Array, spec: PartitionSpec, dtype: Any = None) -> jax.Array:
    """Within ``spread``: the whole array of which each device has a part, in ``dtype``; its gradient is added up in the part's own."""
    if DATA not in spec:
        return part

    @jax.custom_vjp
    def gathered(part: jax.Array) -> jax.Array:
        return _sent(part, spec, dtype or part.dtype)

    gathered.defvjp(lambda part: (gathered(part), None), lambda _, error: (scatter(error.astype(part.dtype), spec),))
    whole: jax.Array = gathered(part)
    return whole


def _sent(part: jax.Array, spec: PartitionSpec, dtype: Any) -> jax.Array:
    axis = spec.index(DATA)
    return _among(lambda a: jax.lax.all_gather(a, DATA, axis=axis, tiled=True), spec)(part.astype(dtype))


def scatter(whole: jax.Array, spec: PartitionSpec) -> jax.Array:
    """Within ``spread``: of the sum over devices the part that each keeps; of an array that is not divided, all of it."""
    if DATA not in spec:
        whole = jax.lax.psum(whole, DATA)
        return whole
    axis = spec.index(DATA)
    return _among(lambda a: jax.lax.psum_scatter(a, DATA, scatter_dimension=axis, tiled=True), spec)(whole)


def _among(exchange: Callable[[jax.Array], jax.Array], spec: PartitionSpec) -> Callable[[jax.Array], jax.Array]:
    """An exchange among the devices that share rows, each with its own cut of a layer; left to XLA, it would join the cuts first."""
    if TENSOR not in spec:
        return exchange
    own = PartitionSpec(*(axis if axis == TENSOR else None for axis in spec))
    return jax.shard_map(exchange, in_specs=own, out_specs=own, axis_names=frozenset({TENSOR}), check_vma=False)
