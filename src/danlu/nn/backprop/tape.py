"""Backpropagation walked by hand: forward through the layers, then backward through them with the rules of this package.

``trace`` gives what ``jax.value_and_grad`` gives, and everything on the way: each layer's input, output, error signal
and parameter gradients. It is for looking and for checking; training uses ``jax.value_and_grad``, which XLA compiles
as a whole.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp

from danlu.errors import DataError
from danlu.nn.backprop.loss_rules import loss_backward
from danlu.nn.backprop.rules import LAYER_RULES
from danlu.nn.backprop.tabular_walk import tabular
from danlu.nn.backprop.transformer_walks import WALKS
from danlu.nn.backprop.visit import Visit
from danlu.nn.combine import Parallel, Residual, Sequential, child_key
from danlu.nn.layer import Layer
from danlu.nn.lora import LoRA
from danlu.nn.losses import reduce
from danlu.nn.recurrent import Bidirectional
from danlu.nn.summary import describe, html_table, text_table
from danlu.nn.tabular import TabularNet

__all__ = ["Record", "Trace", "trace"]

Records = list["Record"]
Backward = Callable[[Any, Records], tuple[Any, Any]]
Nudge = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Record:
    """What one layer did in a training pass.

    Attributes:
        path: where the layer is, such as ``1/layer/0``.
        layer: its blueprint.
        rule: ``"formula"`` if a rule of this package took the error through it, ``"vjp"`` if ``jax.vjp`` did.
        input, output: of the forward pass, batch first.
        error: ``∂L/∂output``, the error signal that arrives from above.
        input_error: ``∂L/∂input``, what it passes on; None where the input is whole numbers.
        gradients: ``∂L/∂params``, the tree of the layer's params.
        params, state: the layer's own, as they were before the pass.
    """

    path: str
    layer: Layer
    rule: str
    input: Any
    output: Any
    error: Any
    input_error: Any
    gradients: Any
    params: Any = None
    state: Any = None


@dataclasses.dataclass(frozen=True)
class Trace:
    """A whole training pass, from :func:`trace`; printing it shows a table.

    Attributes:
        loss: ``Σ w·v / Σ w``, a scalar.
        values: each example's loss, ``(batch,)``.
        outputs: the network's.
        error: ``∂L/∂outputs``, where the backward pass starts.
        loss_rule: ``"formula"`` or ``"vjp"``.
        records: one for each leaf layer, in forward order.
        gradients: ``∂L/∂params``, the tree that ``jax.grad`` gives.
        input_error: ``∂L/∂x``; None for whole numbers.
        state: the network's state after the pass.
    """

    loss: jax.Array
    values: jax.Array
    outputs: Any
    error: Any
    loss_rule: str
    records: tuple[Record, ...]
    gradients: Any
    input_error: Any
    state: Any

    def _table(self) -> tuple[list[str], list[list[str]]]:
        header = ["path", "layer", "rule", "output", "error", "gradient"]
        body = [
            [r.path, describe(r.layer), r.rule, _rms(r.output), _rms(r.error), _rms(r.gradients)] for r in self.records
        ]
        return header, [*body, ["", "loss", self.loss_rule, _rms(self.values), _rms(self.error), ""]]

    def __str__(self) -> str:
        return f"{text_table(*self._table(), left=3)}\nloss {float(self.loss):.6g}; root mean squares over all elements"

    def _repr_html_(self) -> str:
        return html_table(*self._table(), left=3)


def _rms(tree: Any) -> str:
    leaves = [jnp.ravel(a) for a in jax.tree.leaves(tree)]
    leaves = [a for a in leaves if jnp.issubdtype(a.dtype, jnp.floating) and a.size]
    if not leaves:
        return "–"
    total = sum(float(jnp.sum(jnp.square(a))) for a in leaves)
    return f"{(total / sum(a.size for a in leaves)) ** 0.5:.3g}"


def _add(left: Any, right: Any) -> Any:
    """The sum of two error signals, where None is the signal of whole numbers."""
    if left is None or right is None:
        return left if right is None else right
    if isinstance(left, dict):
        return {name: _add(left[name], right[name]) for name in left}
    return left + right


def _walk(
    layer: Layer, params: Any, state: Any, x: Any, path: str, *, train: bool, key: jax.Array | None, nudge: Nudge
) -> tuple[Any, Any, Backward]:
    """The forward pass of one layer: its output, its new state, and how an error signal goes back through it."""
    expanded = layer.expanded
    if expanded is not layer:
        return _walk(expanded, params, state, x, path, train=train, key=key, nudge=nudge)
    if isinstance(layer, LoRA):
        return _lora(layer, params, state, x, path, train=train, key=key, nudge=nudge)

    def child(index: int, x: Any) -> tuple[Any, Any, Backward]:
        name, part = layer.children()[index]
        where = f"{path}/{name}" if path else name
        return _walk(part, params[index], state[index], x, where, train=train, key=child_key(key, index), nudge=nudge)

    if isinstance(layer, Sequential):
        return _sequential(layer, x, child)
    if isinstance(layer, Residual):
        return _residual(layer, x, child)
    if isinstance(layer, Parallel):
        return _parallel(layer, x, child)
    if isinstance(layer, Bidirectional):
        return _bidirectional(layer, x, child)
    if type(layer) in WALKS:
        return WALKS[type(layer)](layer, params, x, child)
    leaf = functools.partial(_leaf, train=train, key=key, nudge=nudge)
    if isinstance(layer, TabularNet) and not (train and layer.dropout):  # its dropout is inside the layers
        return tabular(layer, params, state, x, path, leaf)
    return leaf(layer, params, state, x, path)


Child = Callable[[int, Any], tuple[Any, Any, Backward]]


def _lora(
    layer: LoRA, params: Any, state: Any, x: Any, path: str, *, train: bool, key: jax.Array | None, nudge: Nudge
) -> tuple[Any, Any, Backward]:
    """The network with its kernels added up, and from each sum's gradient those of ``A`` and ``B``."""
    y, inner, back = _walk(layer.layer, *layer.merge(params, state), x, path, train=train, key=key, nudge=nudge)

    def backward(dy: Any, records: Records) -> tuple[Any, Any]:
        dx, of_plain = back(dy, records)
        return dx, layer.gradients(params, of_plain)

    return y, {"params": state["params"], "state": inner}, backward


def _sequential(layer: Sequential, x: Any, child: Child) -> tuple[Any, Any, Backward]:
    """``y = f_n(…f_1(x))``: the error goes back through ``f_n`` first; what ``f_i`` passes on is ``f_{i−1}``'s error."""
    states, backs = [], []
    for index in range(len(layer.layers)):
        x, new_state, back = child(index, x)
        states.append(new_state)
        backs.append(back)

    def backward(dy: Any, records: Records) -> tuple[Any, Any]:
        gradients = []
        for back in reversed(backs):
            dy, own = back(dy, records)
            gradients.append(own)
        return dy, tuple(reversed(gradients))

    return x, tuple(states), backward


def _residual(layer: Residual, x: Any, child: Child) -> tuple[Any, Any, Backward]:
    """``y = f(x) + s(x)``: both receive ``dy``, and ``∂L/∂x`` is the sum of what they pass on."""
    done = [child(index, x) for index in range(len(layer.children()))]
    y = done[0][0] + (x if layer.shortcut is None else done[1][0])

    def backward(dy: Any, records: Records) -> tuple[Any, Any]:
        passed = [back(dy, records) for _, _, back in reversed(done)][::-1]
        side = dy if layer.shortcut is None else passed[1][0]
        return _add(passed[0][0], side), tuple(own for _, own in passed)

    return y, tuple(new_state for _, new_state, _ in done), backward


def _parallel(layer: Parallel, x: Any, child: Child) -> tuple[Any, Any, Backward]:
    """Branches side by side: each receives its share of ``dy``; inputs that several read sum what these pass on."""
    done = [child(index, part) for index, part in enumerate(layer.parts(x))]
    outputs = [y for y, _, _ in done]

    def shares(dy: Any) -> list[Any]:
        if layer.merge == "dict":
            return [dy[name] for name in layer.output_keys]
        if layer.merge == "add":
            return [dy] * len(outputs)
        if layer.merge == "stack":
            return [dy[:, index] for index in range(len(outputs))]
        ends = [sum(y.shape[-1] for y in outputs[: index + 1]) for index in range(len(outputs))]
        return [dy[..., end - y.shape[-1] : end] for y, end in zip(outputs, ends, strict=True)]

    def backward(dy: Any, records: Records) -> tuple[Any, Any]:
        pairs = list(zip(done, shares(dy), strict=True))
        passed = [back(part, records) for (_, _, back), part in reversed(pairs)][::-1]
        gradients = tuple(own for _, own in passed)
        if layer.inputs is None:
            dx = passed[0][0]
            for other, _ in passed[1:]:
                dx = _add(dx, other)
            return dx, gradients
        errors: dict[str, Any] = {name: _no_error(part) for name, part in x.items()}
        for name, (error, _) in zip(layer.inputs, passed, strict=True):
            errors[name] = _add(errors[name], error)
        return errors, gradients

    return layer.merged(outputs), tuple(new_state for _, new_state, _ in done), backward


def _bidirectional(layer: Bidirectional, x: Any, child: Child) -> tuple[Any, Any, Backward]:
    """Each direction receives its half of ``dy``, and ``∂L/∂x`` is the sum of what they pass on."""
    done = [child(index, x) for index in range(2)]

    def backward(dy: Any, records: Records) -> tuple[Any, Any]:
        pairs = list(zip(done, layer.shares(dy), strict=True))
        passed = [back(part, records) for (_, _, back), part in reversed(pairs)][::-1]
        return _add(passed[0][0], passed[1][0]), tuple(own for _, own in passed)

    return layer.merged([y for y, _, _ in done]), tuple(new_state for _, new_state, _ in done), backward


def _no_error(x: Any) -> Any:
    if isinstance(x, dict):
        return {name: _no_error(part) for name, part in x.items()}
    return jnp.zeros_like(x) if jnp.issubdtype(x.dtype, jnp.floating) else None


def _leaf(
    layer: Layer, params: Any, state: Any, x: Any, path: str, *, train: bool, key: jax.Array | None, nudge: Nudge
) -> tuple[Any, Any, Backward]:
    y, new_state = layer.apply(params, state, x, train=train, key=key)
    visit = Visit(layer, params, state, x, y, train, key)
    if path in nudge:
        y = jax.tree.map(jnp.add, y, nudge[path])
    rule = LAYER_RULES.get(type(layer))

    def backward(dy: Any, records: Records) -> tuple[Any, Any]:
        dx, gradients = _by_vjp(visit, dy) if rule is None else rule(visit, dy)
        name = "vjp" if rule is None else "formula"
        records.append(Record(path, layer, name, x, y, dy, dx, gradients, params, state))
        return dx, gradients

    return y, new_state, backward


def _by_vjp(visit: Visit, dy: Any) -> tuple[Any, Any]:
    def forward(params: Any, x: Any) -> Any:
        return visit.layer.apply(params, visit.state, x, train=visit.train, key=visit.key)[0]

    gradients, dx = jax.vjp(forward, visit.params, visit.x)[1](dy)
    return jax.tree.map(lambda a: None if a.dtype == jax.dtypes.float0 else a, dx), gradients


def trace(
    layer: Layer,
    params: Any,
    state: Any,
    x: Any,
    y: Any,
    loss: Callable[[Any, Any], jax.Array],
    *,
    weights: jax.Array | None = None,
    train: bool = False,
    key: jax.Array | None = None,
    nudge: Nudge = MappingProxyType({}),
) -> Trace:
    """One training pass, forward and backward, layer by layer.

    Args:
        layer: the network.
        params, state: its arrays.
        x: inputs, ``(batch, ...)``.
        y: targets, as the loss takes them.
        loss: a loss of danlu's (its derivative by formula), or any function of the same form (by ``jax.vjp``).
        weights: ``(batch,)``; None weighs each example the same.
        train: whether dropout drops and batch norm uses the batch's statistics.
        key: a PRNG key, for dropout in training.
        nudge: what is added to the output of a leaf layer, by its path: the loss as a function of it has the slope ``error``.

    Returns:
        A :class:`Trace`. Its ``gradients`` equal those of ``jax.grad`` of the same weighted mean loss, to rounding.

    Raises:
        DataError: weights that are not ``(batch,)``.

    Reference: Rumelhart, Hinton & Williams (1986), "Learning representations by back-propagating errors".

    Example:
        >>> from danlu.nn.dense import Dense
        >>> from danlu.nn.losses import HalfMSE
        >>> params = {"kernel": jnp.array([[2.0]]), "bias": jnp.array([0.0])}
        >>> seen = trace(Dense(1), params, {}, jnp.array([[3.0]]), jnp.array([5.0]), HalfMSE())
        >>> seen.records[0].error.tolist(), seen.gradients["kernel"].tolist()
        ([[1.0]], [[3.0]])
    """
    outputs, new_state, backward = _walk(layer, params, state, x, "", train=train, key=key, nudge=nudge)
    values = loss(outputs, y)
    if weights is None:
        weights = jnp.ones_like(values)
    weights = jnp.asarray(weights, values.dtype)
    if weights.shape != values.shape:
        raise DataError(f"trace received weights of shape {weights.shape}; expected {values.shape}")
    total = jnp.sum(weights)
    shares = weights / jnp.where(total == 0, jnp.ones_like(total), total)
    error, loss_rule = loss_backward(loss, outputs, y, shares)
    records: Records = []
    input_error, gradients = backward(error, records)
    return Trace(
        loss=reduce(values, weights),
        values=values,
        outputs=outputs,
        error=error,
        loss_rule=loss_rule,
        records=tuple(reversed(records)),
        gradients=gradients,
        input_error=input_error,
        state=new_state,
    )
