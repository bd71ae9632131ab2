"""One frame of a film, looked at: what each layer received and gave, its error signal, its gradients, and the update it got."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.engine.state import TrainState
from danlu.engine.step import Program, gradient
from danlu.errors import ConfigError
from danlu.explain import attention_maps
from danlu.film.film import Film, Frame
from danlu.nn import Dense
from danlu.nn.attention import MultiHeadAttention
from danlu.nn.attention.sequence import tokens
from danlu.nn.backprop import LAYER_RULES, Record, Trace, trace
from danlu.nn.backprop.activation_rules import activation_backward
from danlu.nn.backprop.tabular_walk import MemberDense
from danlu.nn.conv import Conv
from danlu.nn.recurrent import GRU, LSTM, SimpleRNN
from danlu.nn.recurrent.rnn import Recurrent, gates_of, project, steps_mask
from danlu.nn.summary import describe
from danlu.paths import named_leaves

__all__ = ["LayerLook", "Look", "ParamLook", "looks"]

_GATES: Mapping[type, tuple[str, ...]] = {LSTM: ("i", "f", "g", "o"), GRU: ("r", "u", "n"), SimpleRNN: ("h",)}


@dataclasses.dataclass(frozen=True)
class ParamLook:
    """One array of a layer's parameters at one update.

    Attributes:
        value: the array θ before the update.
        gradient: ``∂L/∂θ`` of the mean loss of the rows that are followed; of an array that two layers share, through both.
        of_batch: that of the update's own batch, penalties included: what the optimizer was given; None where no update came.
        update: Δθ, what the optimizer added; None where no update came.
        moments: what else the optimizer keeps of it before the update, by name (such as Adam's ``mean`` and ``variance``).
        leaf: its number among all arrays of parameters; None of an array that is made from others (LoRA).
    """

    value: np.ndarray
    gradient: np.ndarray
    of_batch: np.ndarray | None
    update: np.ndarray | None
    moments: Mapping[str, np.ndarray]
    leaf: int | None


@dataclasses.dataclass(frozen=True)
class LayerLook:
    """One leaf layer at one update; its arrays are of the rows that are followed.

    Attributes:
        path: where it is.
        name: what it is, in words.
        kind: ``"dense"``, ``"conv"``, ``"recurrent"``, ``"attention"`` or ``"other"``.
        activation: of a layer that has one.
        formula: the rule by which the error signal went through it.
        arrays: ``x`` and ``y``, its input and output, ``dy = ∂L/∂y`` and ``dx = ∂L/∂x``; of a dense layer also ``z`` and
            ``delta = ∂L/∂z``, of a recurrent one its gates by name, of attention its ``weights`` ``(rows, heads, time, source)``.
        params: by name.
    """

    path: str
    name: str
    kind: str
    activation: str
    formula: str
    arrays: Mapping[str, np.ndarray]
    params: Mapping[str, ParamLook]


@dataclasses.dataclass(frozen=True)
class Look:
    """One frame.

    Attributes:
        step, epoch: of the :class:`~danlu.film.film.Frame`.
        loss: the mean loss of the rows that are followed.
        batch_loss: that of the update's batch, in training; None where no update came.
        rate: the learning rate of the update; None where the optimizer does not tell.
        layers: forward.
        trace: the whole pass.
        state: the training state.
    """

    step: int
    epoch: int
    loss: float
    batch_loss: float | None
    rate: float | None
    layers: tuple[LayerLook, ...]
    trace: Trace
    state: TrainState


@functools.partial(jax.jit, static_argnums=0)
def _batch_gradient(program: Program, state: TrainState, batch: Any) -> tuple[Any, jax.Array]:
    key = jax.random.fold_in(state.key, state.step)
    grads, _, sums = gradient(program, state, batch, key)
    return grads, sums["loss"] / sums["weight"]


def looks(film: Film) -> Iterator[Look]:
    """The frames of a film, looked at.

    Raises:
        ConfigError: a film without frames.
    """
    if not film.frames:
        raise ConfigError(
            "the film is empty: no training was filmed, or none of the updates that it was to keep came",
            hint="film = danlu.Film(); danlu.fit(…, callbacks=[film]); danlu.xray(film)",
        )
    for frame in film.frames:
        yield _look(film, frame)


def _look(film: Film, frame: Frame) -> Look:
    program, state = film.program, frame.state
    objective: Any = program.objective
    found = trace(program.model, state.params, state.model_state, film.x, film.y, objective.loss)
    given, updates, batch_loss = None, None, None
    if frame.batch is not None:
        given, mean = _batch_gradient(program, state, jax.tree.map(jnp.asarray, dict(frame.batch)))
        updates = jax.tree.map(jnp.subtract, frame.after, state.params)
        batch_loss = float(mean)
    take = _Takes(state, found.gradients, given, updates)
    maps = _maps(program.model, state, film.x)
    layers = tuple(_layer(record, take, maps) for record in found.records)
    return Look(frame.step, frame.epoch, float(found.loss), batch_loss, _rate(state.opt_state), layers, found, state)


def _rate(opt_state: Any) -> float | None:
    from danlu.optim import hyperparameter

    try:
        return float(hyperparameter(opt_state, "learning_rate"))
    except ConfigError:
        return None


class _Takes:
    """What belongs to an array of parameters, found by the array itself."""

    def __init__(self, state: TrainState, gradients: Any, given: Any, updates: Any) -> None:
        leaves, form = jax.tree.flatten(state.params)
        self._gradients = jax.tree.leaves(gradients)  # of an array that two layers share: of both
        self._number = {id(leaf): number for number, leaf in enumerate(leaves)}
        self._given = None if given is None else jax.tree.leaves(given)
        self._updates = None if updates is None else jax.tree.leaves(updates)
        self._moments = {name: jax.tree.leaves(tree) for name, tree in _like(state.opt_state, form, leaves)}

    def __call__(self, value: Any, slope: Any) -> ParamLook:
        number = self._number.get(id(value))
        of = lambda leaves: None if leaves is None or number is None else np.asarray(leaves[number])  # noqa: E731
        moments = {} if number is None else {name: np.asarray(each[number]) for name, each in self._moments.items()}
        slope = slope if number is None else self._gradients[number]
        return ParamLook(np.asarray(value), np.asarray(slope), of(self._given), of(self._updates), moments, number)


def _like(tree: Any, form: Any, leaves: list[Any], name: str = "") -> Iterator[tuple[str, Any]]:
    """The parts of an optimizer's state that have an array for each array of parameters, by name."""
    inside = jax.tree.leaves(tree)
    if jax.tree.structure(tree) == form and [np.shape(a) for a in inside] == [np.shape(a) for a in leaves]:
        if name and leaves:
            yield name, tree
    elif isinstance(tree, tuple) and hasattr(tree, "_fields"):
        for field, part in zip(tree._fields, tree, strict=True):
            yield from _like(part, form, leaves, field)
    elif isinstance(tree, tuple | list):
        for part in tree:
            yield from _like(part, form, leaves, name)
    elif isinstance(tree, Mapping):
        for field, part in tree.items():
            yield from _like(part, form, leaves, str(field))


def _maps(network: Any, state: TrainState, x: Any) -> Mapping[str, jax.Array]:
    try:
        return attention_maps(network, state.params, state.model_state, x)
    except ConfigError:  # no attention in it
        return {}


def _plain(tree: Any) -> np.ndarray | None:
    """The numbers of an array, or of the one in a sequence with a mask; None of anything else."""
    if isinstance(tree, Mapping):
        tree = tree.get("tokens", tree.get("x"))
    return None if tree is None or isinstance(tree, Mapping | tuple | list) else np.asarray(tree)


def _layer(record: Record, take: Callable[[Any, Any], ParamLook], maps: Mapping[str, jax.Array]) -> LayerLook:
    layer = record.layer
    named = {"x": record.input, "y": record.output, "dy": record.error, "dx": record.input_error}
    arrays = {name: _plain(value) for name, value in named.items()}
    kind = "other"
    if isinstance(layer, Dense | MemberDense):
        kind = "dense"
        arrays |= _dense(record)
    elif isinstance(layer, Recurrent):
        kind = "recurrent"
        arrays |= _gates(record)
    elif isinstance(layer, MultiHeadAttention) and record.path in maps:
        kind = "attention"
        arrays["weights"] = np.asarray(maps[record.path])
    elif isinstance(layer, Conv):
        kind = "conv"
    slopes = dict(named_leaves(record.gradients))
    params = {name: take(leaf, slopes[name]) for name, leaf in named_leaves(record.params) if name in slopes}
    rule = LAYER_RULES.get(type(layer))
    formula = (rule.__doc__ or "").replace("``", "").strip() if rule is not None else ""
    kept = {name: value for name, value in arrays.items() if value is not None}
    return LayerLook(
        record.path,
        describe(layer),
        kind,
        str(getattr(layer, "activation", "")),
        " ".join(formula.split()),
        kept,
        params,
    )


def _dense(record: Record) -> dict[str, np.ndarray]:
    """``z = xW + b`` and ``δ = ∂L/∂z = ∂L/∂y ⊙ f′(z)``."""
    layer: Any = record.layer
    z = jnp.asarray(record.input) @ record.params["kernel"]
    if "bias" in record.params:
        z = z + jnp.broadcast_to(record.params["bias"], z.shape)
    return {
        "z": np.asarray(z),
        "delta": np.asarray(activation_backward(layer.activation, z, record.output, record.error)),
    }


def _gates(record: Record) -> dict[str, np.ndarray]:
    """The gates of every step, ``(rows, time, units)``, and of an LSTM the cell ``c`` that they leave."""
    layer: Any = record.layer
    params, x = record.params, record.input
    z, mask = project(type(layer).__name__, params, tokens(x)), steps_mask(x)
    weights = {name: params[name] for name in params if name.startswith("recurrent")}
    hs, _, kept = layer.cell.forward(z, weights, layer.zeros(z), mask, layer.reverse)
    found = {"h": hs}
    if isinstance(layer, LSTM | GRU):
        names = _GATES[type(layer)]
        gates = kept[-1]
        found |= dict(
            zip(names, gates if isinstance(gates, list | tuple) else gates_of(gates, len(names)), strict=True)
        )
    if isinstance(layer, LSTM):
        found["c"] = found["f"] * kept[2] + found["i"] * found["g"]
    return {name: np.asarray(value).swapaxes(0, 1) for name, value in found.items()}
