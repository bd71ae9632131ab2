"""What holds for every layer and every network, asked of shapes alone."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from danlu.nn import Layer

KEY = jax.random.key(1)


def _forms(tree: Any) -> Any:
    return jax.tree.map(lambda a: (a.shape, a.dtype.name), tree)


def _equations(jaxpr: Any) -> Any:
    for equation in jaxpr.eqns:
        yield equation
        for value in equation.params.values():
            for inner in value if isinstance(value, tuple | list) else (value,):
                inner = getattr(inner, "jaxpr", inner)
                if hasattr(inner, "eqns"):
                    yield from _equations(inner)


def sums_in_16_bits(net: Layer, shape: Any, x: Any) -> set[str]:
    """What adds up in bfloat16 in a training step of a network in bfloat16, by the names of JAX's operations."""

    def half(tree: Any) -> Any:
        whole = lambda a: not jnp.issubdtype(a.dtype, jnp.floating)  # noqa: E731
        return jax.tree.map(lambda a: a if whole(a) else jax.ShapeDtypeStruct(a.shape, jnp.bfloat16), tree)

    def value(params: Any, state: Any, x: Any) -> Any:
        outputs, _ = net.apply(params, state, x, train=True, key=KEY)
        return sum(
            jnp.sum(y.astype(jnp.float32)) for y in jax.tree.leaves(outputs) if jnp.issubdtype(y.dtype, jnp.floating)
        )

    params, state = jax.eval_shape(lambda key: net.init(key, shape)[:2], KEY)
    inputs = all(jnp.issubdtype(a.dtype, jnp.floating) for a in jax.tree.leaves(x))
    gradient = jax.grad(value, argnums=(0, 2) if inputs else 0)
    found = set()
    for equation in _equations(jax.make_jaxpr(gradient)(half(params), state, half(x)).jaxpr):
        name, given = equation.primitive.name, equation.invars
        if name not in ("reduce_sum", "scatter-add", "cumsum", "reduce_window_sum"):
            continue
        added = given[-1 if name == "scatter-add" else 0].aval
        more_than_one = name != "reduce_sum" or any(added.shape[axis] > 1 for axis in equation.params["axes"])
        if more_than_one and added.dtype in (jnp.bfloat16, jnp.float16):
            found.add(name)
    return found


def passes_no_rows(net: Layer, shape: Any, x: Any) -> None:
    """Outputs of no rows, gradients, and a state of the same form, in training and use."""
    params, state = jax.eval_shape(lambda key: net.init(key, shape)[:2], KEY)
    for train in (False, True):

        def value(params: Any, state: Any, x: Any, train: bool = train) -> Any:
            outputs, after = net.apply(params, state, x, train=train, key=KEY)
            real = [y for y in jax.tree.leaves(outputs) if jnp.issubdtype(y.dtype, jnp.floating)]
            return sum(jnp.sum(y) for y in real), (outputs, after)

        outputs, after = jax.eval_shape(lambda *given: jax.grad(value, has_aux=True)(*given)[1], params, state, x)
        assert {y.shape[0] for y in jax.tree.leaves(outputs)} <= {0}
        assert _forms(after) == _forms(state)
