"""From what the user hands over to the program of the step, checked before anything is compiled."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax

from danlu.engine.foreign import check_optimizer
from danlu.engine.measures import Objective, TakesWeights, measure_of, name_of, value_of
from danlu.engine.options import FitOptions
from danlu.engine.sources import ArraySource, Source
from danlu.engine.step import Program
from danlu.engine.targets import TargetCheck, check_broadcast
from danlu.errors import ConfigError, DataError, shorten
from danlu.nn.combine import Activation, Sequential
from danlu.nn.dense import Dense
from danlu.nn.layer import Layer
from danlu.nn.lift import lift
from danlu.nn.losses import get_loss, get_metric
from danlu.nn.losses.registry import TAKES_LOGITS
from danlu.optim import get_optimizer

__all__ = ["build_program", "optimizer_of"]

_RESERVED = ("loss", "weight", "bad_step", "epoch", "step", "seconds", "learning_rate", "rows_per_second", "best")


def _resolve(named: Any, lookup: Callable[[str], Any], kind: str) -> Any:
    if isinstance(named, str):
        return lookup(named)
    if not callable(named):
        raise ConfigError(
            f"the {kind} is {named!r}; expected a name or a function (outputs, targets)",
            hint="'mse' is for numbers, 'binary_cross_entropy' for 0 and 1, 'categorical_cross_entropy' for classes"
            if named is None
            else None,
        )
    if isinstance(named, type):
        raise ConfigError(f"the {kind} is the class {named.__name__}; expected one of it", hint=f"{named.__name__}()")
    return measure_of(named, kind)


def _named_metrics(metrics: Sequence[Any]) -> tuple[tuple[str, Any], ...]:
    """Each metric with its name.

    Raises:
        ConfigError: a name that two have, or that a column of the history has.
    """
    if isinstance(metrics, str) or callable(metrics):
        raise ConfigError(f"metrics is {shorten(metrics)}; expected a list", hint=f"metrics=[{shorten(metrics)}]")
    found: dict[str, Any] = {}
    for given in metrics:
        metric = _resolve(given, get_metric, "metric")
        name = given if isinstance(given, str) else name_of(metric)
        if isinstance(metric, Objective):
            raise ConfigError(f"the metric {name} is an objective; expected a function (outputs, targets)")
        if name in found or name in _RESERVED:
            taken = "a column of the history" if name in _RESERVED else "two metrics"
            raise ConfigError(
                f"{name!r} would be the name of {taken}; expected a name of its own for each metric",
                hint="a function's name is its __name__: write it with def, or set it",
            )
        found[name] = metric
    return tuple(found.items())


def _as_model(model: Any) -> Layer:
    if isinstance(model, Layer):
        return model
    if isinstance(model, tuple) and len(model) == 2:
        return lift(*model)
    raise ConfigError(
        f"the model is a {type(model).__name__}; expected a Layer or a pair (init, apply)",
        hint="danlu.nn has layers and ready models; danlu.nn.lift wraps any pair of functions",
    )


def _check_logits(program: Program) -> None:
    """Refuse a network that ends in probabilities with a loss that makes them of logits itself, which would do it twice.

    Raises:
        ConfigError: see above.
    """
    last: Any = program.model
    while isinstance(last, Sequential) and last.layers:
        last = last.layers[-1]
    ends = getattr(last, "activation", None) if isinstance(last, Dense | Activation) else None
    if ends in ("sigmoid", "softmax", "log_softmax") and isinstance(program.loss, TAKES_LOGITS):
        raise ConfigError(
            f"the network ends in {ends}, and {type(program.loss).__name__} takes logits, of which it makes probabilities itself",
            hint=f"leave the last activation out; jax.nn.{ends}(fitted.predict(x)) are the probabilities",
        )


def _measured_shapes(
    program: Program, params: Any, model_state: Any, batch: Any
) -> tuple[Any, dict[str, tuple[int, ...]]]:
    """The outputs of the network (None for an objective), and the shape of what the loss and each metric say of a batch."""
    key = jax.eval_shape(lambda: jax.random.key(0))
    loss = program.loss
    if isinstance(loss, Objective):
        value, _, found = jax.eval_shape(
            lambda p, s, b, k: loss(p, s, b, k, train=True), params, model_state, batch, key
        )
        jax.eval_shape(lambda p, s, b, k: loss(p, s, b, k, train=False), params, model_state, batch, key)
        return None, {name: _one_shape(name, measure) for name, measure in {"loss": value, **found}.items()}
    outputs = jax.eval_shape(
        lambda p, s, x: program.model.apply(p, s, x, train=False)[0], params, model_state, batch["x"]
    )
    targets = [batch["y"]]
    if program.augment is not None:
        targets.append(jax.eval_shape(program.augment, jax.random.key(0), batch)["y"])
    shapes = {}
    for name, measure in (("loss", loss), *program.metrics):
        for y in targets:
            say = lambda o, t, w, measure=measure: value_of(measure, o, t, w)  # noqa: E731
            shapes[name] = _one_shape(name, jax.eval_shape(say, outputs, y, batch["weight"]))
    return outputs, shapes


def _one_shape(name: str, found: Any) -> tuple[int, ...]:
    """The shape of what a measure returns, which is one array, and of the loss one that has a gradient."""
    said = "the loss" if name == "loss" else f"the metric {name}"
    if not isinstance(found, jax.ShapeDtypeStruct):
        raise ConfigError(f"{said} returns a {type(found).__name__}; expected one array")
    if name == "loss" and not jax.numpy.issubdtype(found.dtype, jax.numpy.floating):
        raise ConfigError(
            f"the loss returns numbers of type {found.dtype}, which have no gradient; expected floats",
            hint="a count or a comparison can be a metric: metrics=[…]",
        )
    return found.shape


def _checked(program: Program, source: Source, optimizer: Any, params: Any, model_state: Any) -> Program:
    """``program`` as one whose loss and metrics are known to fit the data: shapes, then the values of the targets."""
    piece = next(iter(source.pieces(0, 0)))
    batch = jax.tree.map(lambda a: jax.ShapeDtypeStruct((program.batch_size, *a.shape[1:]), a.dtype), piece.chunk)
    try:
        outputs, shapes = _measured_shapes(program, params, model_state, batch)
    except (DataError, ConfigError):
        raise
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"the model or the loss does not accept the data: inputs {_shapes(batch['x'])}, "
            f"targets {_shapes(batch['y'])}: {str(error).splitlines()[0]}",
            hint="check the input shape of the first layer, and that the last layer has one output a class or target",
        ) from error
    measures = {"loss": program.loss, **dict(program.metrics)}
    for name, shape in shapes.items():
        measure = measures.get(name)
        said = "the loss" if name == "loss" else f"the metric {name}"
        if shape not in ((), (program.batch_size,)):
            raise ConfigError(
                f"{said} returns shape {shape} for a batch of {program.batch_size}; expected ({program.batch_size},), one value "
                "a row, or (), one of the batch",
                hint="take the mean over the other axes, or [:, 0] of outputs (batch, 1)",
            )
        if shape and isinstance(measure, TakesWeights):
            raise ConfigError(
                f"{said} takes weights and returns one value a row, which is weighed afterwards",
                hint="take (outputs, targets), or return one number for the batch",
            )
        if outputs is not None:
            check_broadcast(said, measure, outputs, batch["y"])
    if isinstance(program.loss, Objective):
        program = dataclasses.replace(program, metrics=tuple((name, None) for name in shapes if name != "loss"))
    program = dataclasses.replace(program, of_batch=tuple(name for name, shape in shapes.items() if shape == ()))
    if shapes["loss"] == ():
        program = _for_batch_loss(program, source)
    source.check_with(TargetCheck(program, outputs=outputs))
    if program.devices == 1:
        check_optimizer(program, optimizer, params, model_state, batch)
    return program


def _for_batch_loss(program: Program, source: Source) -> Program:
    """``program`` for a loss that is one number of a batch.

    Raises:
        ConfigError: the batch is to be taken apart.
    """
    if program.accumulate > 1 or program.devices > 1:
        parts = f"accumulate={program.accumulate}" if program.accumulate > 1 else f"devices={program.devices}"
        raise ConfigError(
            f"the loss is one number of the whole batch, which {parts} would take apart",
            hint="return one value a row if the loss is a mean over rows; else leave it at 1",
        )
    if isinstance(program.loss, TakesWeights | Objective):
        return program
    if isinstance(source, ArraySource):
        source.batch_size = min(source.batch_size, source.fewest)
        program = dataclasses.replace(program, batch_size=source.batch_size)
    return dataclasses.replace(program, skip_empty=True)


def optimizer_of(optimizer: Any, learning_rate: float | None) -> Any:
    """The optimizer that the user named or handed over."""
    if isinstance(optimizer, str):
        return get_optimizer(optimizer, **({} if learning_rate is None else {"learning_rate": learning_rate}))
    if learning_rate is not None:
        raise ConfigError("learning_rate is for an optimizer given by name; set it in the optimizer you pass")
    if not (callable(getattr(optimizer, "init", None)) and callable(getattr(optimizer, "update", None))):
        name = getattr(optimizer, "__name__", None)
        raise ConfigError(
            f"the optimizer is {name or shorten(optimizer)}; expected a name or a pair with init and update",
            hint=f"{name}(1e-3) makes one" if name and callable(optimizer) else None,
        )
    return optimizer


def build_program(
    model: Any,
    source: Source,
    *,
    loss: Any,
    optimizer: Any,
    metrics: Sequence[Any],
    options: FitOptions,
    augment: Any = None,
) -> Program:
    """The program for what the user handed over, checked against the source's shapes before anything is compiled."""
    if augment is not None and not callable(augment):
        raise ConfigError(
            f"augment is {augment!r}; expected a function (key, batch) -> batch", hint="such as danlu.nn.MixUp(0.2)"
        )
    program = Program(
        model=_as_model(model),
        loss=_resolve(loss, get_loss, "loss"),
        update=optimizer.update,
        metrics=_named_metrics(metrics),
        batch_size=getattr(source, "batch_size", options.batch_size),
        accumulate=options.accumulate,
        precision=options.precision,
        augment=augment,
        devices=options.devices,
    )
    _check_logits(program)
    if isinstance(program.loss, Objective) and program.metrics:
        raise ConfigError(
            "metrics are functions of outputs and targets, and the loss is an objective, which has no outputs",
            hint="return further values from the objective, in its third result",
        )
    share = program.accumulate * program.devices
    if program.batch_size % share:
        parts = [f"{program.accumulate} micro-batches"] * (program.accumulate > 1) + [f"{program.devices} devices"]
        raise ConfigError(
            f"a batch of {program.batch_size} rows cannot be divided among {' on '.join(parts)}",
            hint=f"take a batch size that is a multiple of {share}",
        )
    params, state = jax.eval_shape(lambda key: program.model.init(key, source.in_shape)[:2], jax.random.key(0))
    return _checked(program, source, optimizer, params, state)


def _shapes(tree: Any) -> str:
    return str(jax.tree.map(lambda a: f"{a.dtype}{list(a.shape)}", tree)).replace("'", "")
