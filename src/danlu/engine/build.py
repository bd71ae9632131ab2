"""Builds the program of the step from the user's arguments, and checks it before anything is compiled."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax

from danlu.engine.contract import check_hashable, check_same, check_weighed, said_by
from danlu.engine.foreign import check_optimizer
from danlu.engine.gradient import Accumulated, Gradient, Whole
from danlu.engine.layout import LEAST
from danlu.engine.measures import Measure, Part, TakesWeights, measure_of, name_of, value_of
from danlu.engine.mesh import DATA, TENSOR
from danlu.engine.objective import InPrecision, Objective, Supervised
from danlu.engine.options import FitOptions
from danlu.engine.sources import ArraySource, Source
from danlu.engine.step import Program
from danlu.engine.targets import TargetCheck, check_broadcast
from danlu.errors import ConfigError, DataError, first_line, shorten
from danlu.nn.combine import Activation, Sequential
from danlu.nn.dense import Dense
from danlu.nn.layer import Layer
from danlu.nn.lift import lift
from danlu.nn.losses import get_loss, get_metric
from danlu.nn.losses.registry import TAKES_LOGITS
from danlu.optim import get_optimizer
from danlu.paths import named_leaves

__all__ = ["build_program", "optimizer_of"]

_RESERVED = ("loss", "weight", "bad_step", "epoch", "step", "seconds", "learning_rate", "rows_per_second", "best")
_PENALTIES = ("l1", "l2")


def _resolve(named: Any, lookup: Callable[[str], Any], kind: str) -> Measure:
    if isinstance(named, str):
        found: Measure = lookup(named)
        return found
    if not callable(named):
        raise ConfigError(
            f"the {kind} is {named!r}; expected a name or a function (outputs, targets)",
            hint="'mse' is for numbers, 'binary_cross_entropy' for 0 and 1, 'categorical_cross_entropy' for classes"
            if named is None
            else None,
        )
    if isinstance(named, Objective):
        raise ConfigError(f"the {kind} {name_of(named)} is an objective; expected a function (outputs, targets)")
    if isinstance(named, type):
        raise ConfigError(
            f"the {kind} is the class {named.__name__}; expected an instance of it", hint=f"{named.__name__}()"
        )
    return measure_of(named, kind)


def _named_metrics(metrics: Any, taken: Sequence[str]) -> tuple[tuple[str, Measure], ...]:
    """Each metric with its name; of several outputs ``{output: [metric, …]}``, and the name is ``OUTPUT_METRIC``.

    Raises:
        ConfigError: a name that two have, or that a column of the history has.
    """
    if isinstance(metrics, str) or callable(metrics):
        raise ConfigError(f"metrics is {shorten(metrics)}; expected a list", hint=f"metrics=[{shorten(metrics)}]")
    each = [(None, metric) for metric in metrics]
    if isinstance(metrics, Mapping):
        lists = {name: given if isinstance(given, list | tuple) else [given] for name, given in metrics.items()}
        each = [(output, metric) for output, given in lists.items() for metric in given]
    found: dict[str, Any] = {}
    for output, given in each:
        metric = _resolve(given, get_metric, "metric")
        name = given if isinstance(given, str) else name_of(metric)
        if output is not None:
            name, metric = f"{output}_{name}", Part.of(output, metric)
        if name in found or name in (*_RESERVED, *taken):
            whose = "two metrics" if name in found else "a column of the history"
            raise ConfigError(
                f"{name!r} would be the name of {whose}; expected a different name for each metric",
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


def _objective(model: Layer, loss: Any, metrics: Any, precision: str) -> Objective:
    """What is made small, from a loss by name or function, one for each of several outputs, or an objective.

    Raises:
        ConfigError: see :func:`_resolve` and :func:`_check_logits`; metrics beside an objective.
    """
    if isinstance(loss, Objective):
        check_hashable(loss)
        if metrics:
            raise ConfigError(
                "metrics are functions of outputs and targets, and the loss is an objective, which does not have outputs",
                hint="return further values from the objective, in its third result",
            )
        return loss if precision == "float32" else InPrecision(loss, precision)
    if isinstance(loss, Mapping):
        parts = tuple((name, Part.of(name, _resolve(each, get_loss, "loss"))) for name, each in loss.items())
        if not parts:
            raise ConfigError("the loss is an empty dict; expected a loss for each output")
        return Supervised(model, parts, _named_metrics(metrics, [name for name, _ in parts]), precision)
    one = _resolve(loss, get_loss, "loss")
    _check_logits(model, one)
    return Supervised(model, one, _named_metrics(metrics, ()), precision)


def _check_logits(model: Layer, loss: Measure) -> None:
    """Refuse a network that ends in probabilities with a loss that makes them of logits itself, which would do it twice.

    Raises:
        ConfigError: see above.
    """
    last: Any = model
    while isinstance(last, Sequential) and last.layers:
        last = last.layers[-1]
    ends = getattr(last, "activation", None) if isinstance(last, Dense | Activation) else None
    if ends in ("sigmoid", "softmax", "log_softmax") and isinstance(loss, TAKES_LOGITS):
        raise ConfigError(
            f"the network ends in {ends}, and {type(loss).__name__} takes logits: it computes the probabilities itself",
            hint=f"leave the last activation out; jax.nn.{ends}(fitted.predict(x)) are the probabilities",
        )


class _Said(NamedTuple):
    """What the objective says of a batch: the shapes of its terms and its measures, and of the outputs where they go by them."""

    terms: dict[str, Any]
    measures: dict[str, Any]
    outputs: Any = None


def _said_of(program: Program, params: Any, model_state: Any, batch: Any) -> _Said:
    objective, key = program.objective, jax.eval_shape(lambda: jax.random.key(0))
    batches = [batch]
    if program.augment is not None:
        batches.append(jax.eval_shape(program.augment, key, batch))
    if not objective.measures:
        judged, trained = (said_by(objective, params, model_state, batches[-train], key, train) for train in (0, 1))
        check_same(objective, judged, trained)
        check_weighed(objective, params, model_state, batch, key)
        return _Said(*trained)
    apply = lambda p, s, x: program.model.apply(p, s, x, train=False)[0]  # noqa: E731
    outputs, shapes = jax.eval_shape(apply, params, model_state, batch["x"]), {}
    for name, measure in objective.measures.items():
        for each in batches:
            say = lambda o, t, w, measure=measure: value_of(measure, o, t, w)  # noqa: E731
            shapes[name] = jax.eval_shape(say, outputs, each["y"], batch["weight"])
            _check_array(_called(name), shapes[name], trained=name in dict(objective.terms))
    terms = {name: shapes.pop(name) for name, _ in objective.terms}
    return _Said(terms, shapes, outputs)


def _called(name: str, *, term: bool = False) -> str:
    return "the loss" if name == "loss" else f"the {'term' if term else 'metric'} {name}"


def _check_array(said: str, found: Any, *, trained: bool) -> None:
    """Refuse what is not one array, and of what training makes small one that has no gradient."""
    if not isinstance(found, jax.ShapeDtypeStruct):
        raise ConfigError(f"{said} returns a {type(found).__name__}; expected one array")
    if trained and not jax.numpy.issubdtype(found.dtype, jax.numpy.floating):
        raise ConfigError(
            f"{said} returns numbers of type {found.dtype}, which have no gradient; expected floats",
            hint="a count or a comparison can be a metric: metrics=[…]",
        )


def _check_names(said: _Said) -> None:
    """Refuse terms and measures whose names the history, the sums or the penalties have."""
    names = [*said.terms, *said.measures]
    alone = len(said.terms) == 1
    for name in names:
        reserved = {*_RESERVED, *_PENALTIES} - ({"loss"} if alone and name in said.terms else set())
        if name in reserved or names.count(name) > 1 or ":" in name:
            raise ConfigError(
                f"the objective returns a value called {name!r}, which is not a valid name or is already in the history; "
                "expected another name"
            )


def _tell_of_others(objective: Objective, said: _Said) -> None:
    """Warn of outputs by name that have no loss: nothing is learnt of them."""
    if not isinstance(objective, Supervised) or not isinstance(said.outputs, dict):
        return
    named = {name for name, _ in objective.terms}
    others = [repr(name) for name in said.outputs if name not in named]
    if others and not named.isdisjoint(said.outputs):
        warnings.warn(
            f"the loss has no entry for {', '.join(others)} of the model's outputs, so they are not trained",
            UserWarning,
            stacklevel=2,
        )


def _checked(program: Program, source: Source, optimizer: Any, params: Any, model_state: Any) -> Program:
    """``program`` as one whose objective is known to fit the data: shapes, then the values of the targets."""
    for name, leaf in named_leaves(params):
        if not jax.numpy.issubdtype(leaf.dtype, jax.numpy.inexact):
            raise ConfigError(
                f"the parameter {name} is of type {leaf.dtype}, which has no gradient; expected floats",
                hint="what is not trained belongs into the state, or can be a constant of the function",
            )
    piece = next(iter(source.pieces(0, 0)))
    batch = jax.tree.map(lambda a: jax.ShapeDtypeStruct((program.batch_size, *a.shape[1:]), a.dtype), piece.chunk)
    try:
        said = _said_of(program, params, model_state, batch)
    except (DataError, ConfigError):
        raise
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"the model or the loss does not accept the data: inputs {_shapes(batch['x'])}, "
            f"targets {_shapes(batch['y'])}: {first_line(error)}",
            hint="check the input shape of the first layer, and that the last layer has one output for each class or target",
        ) from error
    _check_names(said)
    _tell_of_others(program.objective, said)
    functions = program.objective.measures
    for name, found in {**said.terms, **said.measures}.items():
        words, measure = _called(name, term=name in said.terms), functions.get(name)
        _check_array(words, found, trained=name in said.terms)
        if found.shape not in ((), (program.batch_size,)):
            raise ConfigError(
                f"{words} returns shape {found.shape} for a batch of {program.batch_size}; expected ({program.batch_size},), one value per "
                "row, or (), one for the batch",
                hint="take the mean over the other axes, or [:, 0] of outputs (batch, 1)",
            )
        if found.shape and isinstance(measure, TakesWeights):
            raise ConfigError(
                f"{words} takes weights but returns one value per row, which is weighted again afterwards",
                hint="take (outputs, targets), or return one number for the batch",
            )
        if measure is not None:
            check_broadcast(words, measure, said.outputs, batch["y"])
    terms = tuple(name for name in said.terms if name != "loss")
    of_batch = tuple(name for name, found in {**said.terms, **said.measures}.items() if found.shape == ())
    observed = jax.eval_shape(program.gradient.observe, params, params)
    program = dataclasses.replace(
        program, measures=(*terms, *said.measures), terms=terms, of_batch=of_batch, observed=tuple(observed)
    )
    if not set(of_batch).isdisjoint(said.terms):
        program = _for_batch_loss(program, source, said)
    source.check_with(TargetCheck(program, outputs=said.outputs))
    check_optimizer(dataclasses.replace(program, devices=1), optimizer, params, model_state, batch)
    return program


def _check_divides(program: Program, params: Any) -> None:
    """Refuse a sharding that leaves every array of the network whole.

    Raises:
        ConfigError: see above.
    """
    if program.sharding == "replicated" or program.devices == 1:
        return
    axes = {axis for _, _, spec in program.layout(params).known for axis in spec if axis}
    if program.tensor > 1 and TENSOR not in axes:
        raise ConfigError(
            f"no layer of {type(program.model).__name__} can be divided among {program.tensor} devices; expected attention, feed-forward, "
            f"dense or embedding layers whose heads or units are a multiple of {program.tensor}",
            hint="sharding='fsdp' divides networks of any kind",
        )
    if program.sharding == "fsdp" and DATA not in axes:
        raise ConfigError(
            f"no array of {type(program.model).__name__} can be divided among {program.shares} devices; expected one of at least {LEAST} "
            f"numbers with an axis that is a multiple of {program.shares}",
            hint="leave sharding out: so small a network lies on each device",
        )


def _for_batch_loss(program: Program, source: Source, said: _Said) -> Program:
    """``program`` for a loss that is one number of a batch, or has such a term.

    Raises:
        ConfigError: the batch is to be taken apart.
    """
    if not program.gradient.whole or program.shares > 1:
        cut = f"accumulate={program.gradient.cuts}" if program.gradient.cuts > 1 else type(program.gradient).__name__
        parts = cut if not program.gradient.whole else f"devices={program.devices}"
        raise ConfigError(
            f"the loss is one number of the whole batch, which {parts} would split",
            hint="return one value per row if the loss is a mean over rows; else leave it at 1",
        )
    if program.objective.complete.isdisjoint(said.terms):
        return program
    if isinstance(source, ArraySource):
        source.batch_size = min(source.batch_size, source.fewest)
        program = dataclasses.replace(program, batch_size=source.batch_size)
    return dataclasses.replace(program, skip_empty=True)


def optimizer_of(optimizer: Any, learning_rate: float | None) -> Any:
    """The optimizer that the user passed, by name or as an object."""
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
    metrics: Any,
    options: FitOptions,
    augment: Any = None,
    gradient: Gradient | None = None,
) -> Program:
    """The program for the user's arguments, checked against the source's shapes before anything is compiled."""
    if augment is not None and not callable(augment):
        raise ConfigError(
            f"augment is {augment!r}; expected a function (key, batch) -> batch", hint="such as danlu.nn.MixUp(0.2)"
        )
    if gradient is not None and not isinstance(gradient, Gradient):
        raise ConfigError(
            f"gradient is {gradient!r}; expected a danlu.engine.Gradient", hint="such as PerExample(clip=1.0)"
        )
    network, taken = _as_model(model), gradient or Whole()
    program = Program(
        model=network,
        objective=_objective(network, loss, metrics, options.precision),
        update=optimizer.update,
        gradient=taken if options.accumulate == 1 else Accumulated(options.accumulate, taken),
        batch_size=getattr(source, "batch_size", options.batch_size),
        augment=augment,
        devices=options.devices,
        sharding=options.sharding,
        tensor=options.together,
    )
    share = program.gradient.cuts * program.shares
    if program.batch_size % share:
        cuts = program.gradient.cuts
        parts = [f"{cuts} micro-batches"] * (cuts > 1) + [f"{program.shares} devices"]
        raise ConfigError(
            f"a batch of {program.batch_size} rows cannot be divided among {' on '.join(parts)}",
            hint=f"take a batch size that is a multiple of {share}",
        )
    params, state = jax.eval_shape(lambda key: program.model.init(key, source.in_shape)[:2], jax.random.key(0))
    _check_divides(program, params)
    return _checked(program, source, optimizer, params, state)


def _shapes(tree: Any) -> str:
    return str(jax.tree.map(lambda a: f"{a.dtype}{list(a.shape)}", tree)).replace("'", "")
