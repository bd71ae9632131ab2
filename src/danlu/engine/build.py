"""From what the user hands over to the program of the step, checked before anything is compiled."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax

from danlu.blueprint import Blueprint
from danlu.engine.options import FitOptions
from danlu.engine.sources import Source
from danlu.engine.step import Program
from danlu.errors import ConfigError, DataError
from danlu.nn.layer import Layer
from danlu.nn.lift import lift
from danlu.nn.losses import get_loss, get_metric
from danlu.optim import get_optimizer

__all__ = ["build_program", "optimizer_of"]


class _PerExample(Blueprint):
    """A loss that returns one number for a whole batch, applied to each row by itself."""

    function: Callable[[Any, Any], Any]

    def __call__(self, outputs: Any, targets: Any) -> jax.Array:
        one = lambda o, t: self.function(jax.tree.map(lambda a: a[None], o), t[None])  # noqa: E731
        return jax.vmap(one)(outputs, targets)


def _resolve(named: Any, lookup: Callable[[str], Any], kind: str) -> Any:
    if isinstance(named, str):
        return lookup(named)
    if not callable(named):
        raise ConfigError(f"the {kind} is {named!r}; expected a name or a function (outputs, targets)")
    return named


def _as_model(model: Any) -> Layer:
    if isinstance(model, Layer):
        return model
    if isinstance(model, tuple) and len(model) == 2:
        return lift(*model)
    raise ConfigError(
        f"the model is a {type(model).__name__}; expected a Layer or a pair (init, apply)",
        hint="danlu.nn has layers and ready models; danlu.nn.lift wraps any pair of functions",
    )


def _per_example(program: Program, source: Source, params: Any, model_state: Any) -> Program:
    """``program`` with its loss made one that gives a value for each row, whatever the user's returns."""
    piece = next(iter(source.pieces(0, 0)))
    batch = jax.tree.map(lambda a: jax.ShapeDtypeStruct((program.batch_size, *a.shape[1:]), a.dtype), piece.chunk)
    try:
        outputs = jax.eval_shape(
            lambda p, s, x: program.model.apply(p, s, x, train=False)[0], params, model_state, batch["x"]
        )
        shape = jax.eval_shape(program.loss, outputs, batch["y"]).shape
        if program.augment is not None:
            changed = jax.eval_shape(program.augment, jax.random.key(0), batch)
            jax.eval_shape(program.loss, outputs, changed["y"])
    except (DataError, ConfigError):
        raise
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"the model or the loss does not accept the data: inputs {_shapes(batch['x'])}, "
            f"targets {_shapes(batch['y'])}: {str(error).splitlines()[0]}",
            hint="check the input shape of the first layer, and that the last layer has one output a class or target",
        ) from error
    if shape == ():
        return dataclasses.replace(program, loss=_PerExample(program.loss))
    if shape != (program.batch_size,):
        raise ConfigError(
            f"the loss returns shape {shape} for a batch of {program.batch_size}; expected one value a row"
        )
    return program


def optimizer_of(optimizer: Any, learning_rate: float | None) -> Any:
    """The optimizer that the user named or handed over."""
    if isinstance(optimizer, str):
        return get_optimizer(optimizer, **({} if learning_rate is None else {"learning_rate": learning_rate}))
    if learning_rate is not None:
        raise ConfigError("learning_rate is for an optimizer given by name; set it in the optimizer you pass")
    if not (callable(getattr(optimizer, "init", None)) and callable(getattr(optimizer, "update", None))):
        raise ConfigError(f"the optimizer is {optimizer!r}; expected a name or a pair with init and update")
    return optimizer


def build_program(
    model: Any,
    source: Source,
    *,
    loss: Any,
    update: Any,
    metrics: Sequence[Any],
    options: FitOptions,
    augment: Any = None,
) -> Program:
    """The program for what the user handed over, checked against the source's shapes before anything is compiled."""
    if augment is not None and not callable(augment):
        raise ConfigError(
            f"augment is {augment!r}; expected a function (key, batch) -> batch", hint="such as danlu.nn.MixUp(0.2)"
        )
    pairs = tuple((m, get_metric(m)) if isinstance(m, str) else (getattr(m, "__name__", "metric"), m) for m in metrics)
    program = Program(
        model=_as_model(model),
        loss=_resolve(loss, get_loss, "loss"),
        update=update,
        metrics=pairs,
        batch_size=getattr(source, "batch_size", options.batch_size),
        accumulate=options.accumulate,
        precision=options.precision,
        augment=augment,
        devices=options.devices,
    )
    share = program.accumulate * program.devices
    if program.batch_size % share:
        parts = [f"{program.accumulate} micro-batches"] * (program.accumulate > 1) + [f"{program.devices} devices"]
        raise ConfigError(
            f"a batch of {program.batch_size} rows cannot be divided among {' on '.join(parts)}",
            hint=f"take a batch size that is a multiple of {share}",
        )
    params, state = jax.eval_shape(lambda key: program.model.init(key, source.in_shape)[:2], jax.random.key(0))
    return _per_example(program, source, params, state)


def _shapes(tree: Any) -> str:
    return str(jax.tree.map(lambda a: f"{a.dtype}{list(a.shape)}", tree)).replace("'", "")
