"""How the error signal goes through the default network of tables: embeddings, scales, shared layers, heads.

:class:`~danlu.nn.TabularNet` computes its members side by side; here each part is a leaf of its own, with the members on the second
axis, so that a trace shows what each of them does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from danlu.nn.backprop.visit import LayerRule, Visit
from danlu.nn.layer import Layer, Params, Shape, State
from danlu.nn.tabular import TabularNet

__all__ = ["MEMBER_RULES", "MemberDense", "MemberHeads", "MemberScale", "Shortcut", "tabular"]

Backward = Callable[[Any, list[Any]], tuple[Any, Any]]
Leaf = Callable[[Layer, Any, Any, Any, str], tuple[Any, Any, Backward]]


class _Part(Layer):
    """A part of a network that is drawn with the whole."""

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        raise NotImplementedError  # TabularNet draws its parts


class MemberScale(_Part):
    """``y_m = r_m ⊙ x``: ``(rows, features)`` to ``(rows, members, features)``."""

    def apply(self, params: Params, state: State, x: Any, *, train: bool = False, key: Any = None) -> tuple[Any, State]:
        return x[:, None] * params["scale"][None], state


class MemberDense(_Part):
    """``y_m = relu(x_m·W + b_m)``: the members share the kernel, each has its own bias ``(members, units)``."""

    activation: str = "relu"

    def apply(self, params: Params, state: State, x: Any, *, train: bool = False, key: Any = None) -> tuple[Any, State]:
        return jax.nn.relu(x @ params["kernel"] + params["bias"][None]), state


class MemberHeads(_Part):
    """``y_m = x_m·H_m + c_m``: each member has its own head ``(members, width, units)``."""

    def apply(self, params: Params, state: State, x: Any, *, train: bool = False, key: Any = None) -> tuple[Any, State]:
        # (rows, members, width)·(members, width, units): (rows, members, units)
        return jnp.einsum("rmw,mwu->rmu", x, params["kernel"]) + params["bias"][None], state


class Shortcut(_Part):
    """``y = x·S``, from the numeric columns to the outputs of all members."""

    def apply(self, params: Params, state: State, x: Any, *, train: bool = False, key: Any = None) -> tuple[Any, State]:
        return x @ params["shortcut"], state


def _scale(visit: Visit, dy: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
    """``y_m = r_m ⊙ x``: ``∂L/∂r_m = Σ_rows dy_m ⊙ x``, ``∂L/∂x = Σ_m dy_m ⊙ r_m``."""
    r = visit.params["scale"]
    return jnp.sum(dy * r[None], axis=1), {"scale": jnp.sum(dy * visit.x[:, None], axis=0)}


def _dense(visit: Visit, dy: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
    """``z_m = x_m·W + b_m, y_m = relu(z_m)``: ``δ = dy ⊙ [z > 0]``, ``∂L/∂W = Σ_m x_mᵀδ_m``, ``∂L/∂b_m = Σ_rows δ_m``, ``∂L/∂x = δWᵀ``."""
    kernel = visit.params["kernel"]
    delta = jnp.where(visit.y > 0, dy, 0.0)
    flat = delta.reshape(-1, kernel.shape[1])  # (rows·members, units)
    gradients = {"kernel": visit.x.reshape(-1, kernel.shape[0]).T @ flat, "bias": jnp.sum(delta, axis=0)}
    return (flat @ kernel.T).reshape(visit.x.shape), gradients


def _heads(visit: Visit, dy: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
    """``y_m = x_m·H_m + c_m``: ``∂L/∂H_m = x_mᵀdy_m``, ``∂L/∂c_m = Σ_rows dy_m``, ``∂L/∂x_m = dy_m·H_mᵀ``."""
    # (rows, members, width)·(rows, members, units): (members, width, units)
    gradients = {"kernel": jnp.einsum("rmw,rmu->mwu", visit.x, dy), "bias": jnp.sum(dy, axis=0)}
    # (rows, members, units)·(members, width, units): (rows, members, width)
    return jnp.einsum("rmu,mwu->rmw", dy, visit.params["kernel"]), gradients


def _shortcut(visit: Visit, dy: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
    """``y = x·S``: ``∂L/∂S = xᵀdy``, ``∂L/∂x = dy·Sᵀ``."""
    return dy @ visit.params["shortcut"].T, {"shortcut": visit.x.T @ dy}


MEMBER_RULES: dict[type[Layer], LayerRule] = {
    MemberDense: _dense, MemberHeads: _heads, MemberScale: _scale, Shortcut: _shortcut,
}  # fmt: skip
"""The rules of the parts."""


def tabular(layer: TabularNet, params: Any, state: Any, x: Any, path: str, leaf: Leaf) -> tuple[Any, Any, Backward]:
    """The network's parts one after the other; columns of each kind are embedded, then joined.

    Args:
        leaf: ``(layer, params, state, x, path)`` runs a leaf forward.
    """
    above = f"{path}/" if path else ""
    embedders: list[tuple[str, Layer, Any]] = [
        ("numeric", layer.numeric, state.get("numeric")), ("categorical", layer.categorical, {}),
    ]  # fmt: skip
    embedded = {
        name: leaf(own, params[name], kept, x[name], f"{above}{name}") for name, own, kept in embedders if name in x
    }
    parts = {name: done[0] for name, done in embedded.items()} | ({"text": x["text"]} if "text" in x else {})
    hidden = jnp.concatenate(list(parts.values()), axis=1)
    chain = [leaf(MemberScale(), {"scale": params["scale"]}, {}, hidden, f"{above}scale")]
    for number in range(layer.depth):
        own = {"kernel": params[f"kernel_{number}"], "bias": params[f"bias_{number}"]}
        chain.append(leaf(MemberDense(), own, {}, chain[-1][0], f"{above}hidden_{number}"))
    own = {"kernel": params["head"], "bias": params["head_bias"]}
    chain.append(leaf(MemberHeads(), own, {}, chain[-1][0], f"{above}head"))
    outputs, short = chain[-1][0], None
    if "numeric" in x:
        short = leaf(Shortcut(), {"shortcut": params["shortcut"]}, {}, x["numeric"], f"{above}shortcut")
        outputs = outputs + short[0][:, None]

    def backward(dy: Any, records: list[Any]) -> tuple[Any, Any]:
        gradients: dict[str, Any] = {}
        errors: dict[str, Any] = {}
        if short is not None:
            errors["numeric"], own = short[2](jnp.sum(dy, axis=1), records)
            gradients |= own
        passed = []
        for _, _, back in reversed(chain):
            dy, own = back(dy, records)
            passed.append(own)
        head, *shared, scale = passed
        gradients |= {"head": head["kernel"], "head_bias": head["bias"], **scale}
        for number, own in enumerate(reversed(shared)):
            gradients |= {f"kernel_{number}": own["kernel"], f"bias_{number}": own["bias"]}
        start = 0
        for name, part in parts.items():
            share, start = dy[:, start : start + part.shape[1]], start + part.shape[1]
            if name == "text":
                errors[name] = share
                continue
            error, gradients[name] = embedded[name][2](share, records)
            errors[name] = error if name not in errors else errors[name] + error
        return {name: errors[name] for name in x}, {name: gradients[name] for name in params}

    return outputs, state, backward
