"""Models that write or act as pure functions of arrays with names: what a file of theirs computes at a time.

One with a memory takes it as the inputs ``past.…`` and gives it as the outputs ``next.…``. It begins as zeros; after each call
``next.X`` is given as ``past.X``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.export
import numpy as np

import danlu
from danlu.errors import ConfigError, first_line
from danlu.export.graph import Graph
from danlu.export.primitives import Input, named, shaped, written
from danlu.export.runtime import finished, session_of
from danlu.trained import Trained

__all__ = [
    "NEXT",
    "PAST",
    "Function",
    "Run",
    "Trial",
    "carried",
    "in_jax",
    "in_onnxruntime",
    "metadata_of",
    "onnx_of",
    "stablehlo_of",
    "zeros",
]

PAST, NEXT = "past.", "next."
_WIDE = {np.dtype(np.int32): np.int64}  # whole numbers of a file are of the type that other programs make

Arrays = Mapping[str, Any]
Run = Callable[[Arrays], dict[str, np.ndarray]]


@dataclasses.dataclass(frozen=True)
class Trial:
    """How a file compared with danlu on some inputs.

    Attributes:
        rows: how many there were.
        difference: the greatest of a probability, or of a number over the greater of its size and 1; None where only whole answers were
            compared, such as texts.
        said: what it was tried on, in words.
    """

    rows: int
    difference: float | None
    said: str


@dataclasses.dataclass(frozen=True)
class Function:
    """What a file computes.

    Attributes:
        call: from arrays by name to arrays by name, pure JAX.
        inputs: what it takes.
        tried: compares a file that is run with danlu; the names are the data that the run learnt from, the test's first.
        limits: what is known of free sizes; see :func:`~danlu.export.primitives.shaped`.
        about: the file's metadata, plain data.
        beside: what a program needs beside the file, as JSON, by the ending of its name.
        said: what is to be known of it, in words.
    """

    call: Callable[[dict[str, Any]], dict[str, Any]]
    inputs: tuple[Input, ...]
    tried: Callable[[Run, Sequence[str]], Iterable[Trial]]
    limits: tuple[str, ...] = ()
    about: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    beside: Mapping[str, str] = dataclasses.field(default_factory=dict)
    said: tuple[str, ...] = ()

    @property
    def given(self) -> dict[str, Any]:
        """The inputs' types and shapes, as JAX traces them."""
        found: dict[str, Any] = shaped({each.name: each for each in self.inputs}, self.limits)
        return found

    @property
    def outputs(self) -> dict[str, Any]:
        """The outputs' types and shapes, by name."""
        try:
            found: dict[str, Any] = jax.eval_shape(self.call, self.given)
        except (jax.errors.JAXTypeError, ValueError, TypeError, NotImplementedError) as error:
            raise ConfigError(
                f"the network cannot be traced with any number of rows: {first_line(error, 120)}",
                hint="danlu export RUN --format safetensors writes its weights",
            ) from error
        return found


def zeros(inputs: Iterable[Input], rows: int) -> dict[str, np.ndarray]:
    """The memory before anything was seen."""
    return {
        each.name: np.zeros([rows if size == "rows" else size for size in each.whole], each.dtype)  # type: ignore[misc]
        for each in inputs
        if each.name.startswith(PAST)
    }


def carried(outputs: Arrays) -> dict[str, Any]:
    """The memory of a call as what the next one is given."""
    return {PAST + name.removeprefix(NEXT): each for name, each in outputs.items() if name.startswith(NEXT)}


def _wide(dtype: Any) -> Any:
    return _WIDE.get(np.dtype(dtype), dtype)


def metadata_of(function: Function, trained: Trained, license: str = "") -> dict[str, Any]:
    """What a file says of itself, as plain data.

    Args:
        trained: whose function it is.
        license: what the file says of its licence.
    """
    told = {
        "danlu_version": danlu.__version__,
        "license": license,
        "task": trained.task,
        "inputs": [_told(each.name, each.dtype, each.whole) for each in function.inputs],
        "outputs": [_told(name, each.dtype, named(each.shape)) for name, each in function.outputs.items()],
        "scores": {name: value for name, value in trained.metrics.items() if isinstance(value, int | float | str)},
    }
    return {**told, **function.about}


def onnx_of(function: Function, trained: Trained, license: str = "") -> bytes:
    """The function as a file of ONNX.

    Args:
        trained, license: see :func:`metadata_of`.

    Raises:
        ConfigError: an operation that cannot be written, by name.
    """
    graph = Graph()

    def entered(each: Input) -> Input:
        name = graph.input(each.name, _wide(each.dtype), each.whole)
        same = _wide(each.dtype) == each.dtype
        return each if same else dataclasses.replace(each, name=graph.cast(name, each.dtype))

    shapes = function.outputs
    found = written(graph, function.call, {each.name: entered(each) for each in function.inputs}, function.limits)
    for name, shape in shapes.items():
        graph.output(name, graph.cast(found[name].name, _wide(shape.dtype)), _wide(shape.dtype), named(shape.shape))
    return finished(graph, metadata_of(function, trained, license))


def _told(name: str, dtype: Any, shape: Sequence[Any]) -> dict[str, Any]:
    return {"name": name, "type": np.dtype(_wide(dtype)).name, "shape": list(shape)}


def in_onnxruntime(data: bytes) -> Run:
    """A file of ONNX, to be called."""
    session = session_of(data)
    types, names = (
        {each.name: each.type for each in session.get_inputs()},
        [each.name for each in session.get_outputs()],
    )

    def run(given: Arrays) -> dict[str, np.ndarray]:
        fed = {name: np.asarray(each) for name, each in given.items() if name in types}
        fed = {name: each.astype(_wide(each.dtype), copy=False) for name, each in fed.items()}
        try:
            return dict(zip(names, session.run(names, fed), strict=True))
        except Exception as error:  # its errors have no class in common
            raise ConfigError(f"onnxruntime cannot run the file: {first_line(error)}") from error

    return run


def stablehlo_of(function: Function) -> bytes:
    """The function as ``jax.export`` writes it.

    Raises:
        ConfigError: one that JAX cannot trace with any number of rows.
    """
    try:
        return bytes(jax.export.export(jax.jit(function.call))(function.given).serialize())
    except (jax.errors.JAXTypeError, AttributeError, ValueError, TypeError, NotImplementedError) as error:
        raise ConfigError(
            f"the model cannot be written as StableHLO: {first_line(error, 120)}",
            hint="danlu export RUN --format safetensors writes its weights",
        ) from error


def in_jax(data: bytes) -> Run:
    """A file of StableHLO, to be called."""
    called = jax.jit(jax.export.deserialize(bytearray(data)).call)
    return lambda given: {name: np.asarray(each) for name, each in called(dict(given)).items()}
