"""A trained model as one file of ONNX, which is tried before it is kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp

import danlu
import danlu.export.chosen
import danlu.export.control
import danlu.export.convolutions
import danlu.export.elementwise
import danlu.export.pictures
import danlu.export.places
import danlu.export.products
import danlu.export.shapes  # these register how what they are named for is written
from danlu.errors import ConfigError, first_line
from danlu.export.forest import walked
from danlu.export.graph import Graph
from danlu.export.groups import about_groups, feed_groups, made_groups
from danlu.export.heads import Answer, answered, check_head, spoken_of
from danlu.export.kinds import Kind, kind_of
from danlu.export.primitives import written
from danlu.export.runtime import finished, session_of, tolerance_of
from danlu.nn.folded import folded
from danlu.trained import Trained
from danlu.trained.scores import Asked

__all__ = ["Checked", "checked", "kind_of_model", "onnx_of"]


def onnx_of(trained: Trained, license: str = "") -> tuple[bytes, Answer]:
    """The file's bytes, and what its outputs are: schema, forward and head in one graph.

    Args:
        license: what the file says of its licence.

    Raises:
        ConfigError: a part of the model that cannot be written as ONNX, by name.
    """
    if trained.instead is not None:
        raise ConfigError("a simple model has no network to write", hint="leave --with out, or write the model itself")
    check_head(trained.head)
    graph = Graph()
    inputs = kind_of_model(trained).encode(graph, trained.encoder)
    network, params, state = folded(trained.network, trained.params, trained.state)
    network = walked(network)
    params, state = jax.tree.map(jnp.asarray, (params, state))
    outputs = written(graph, lambda x: network.apply(params, state, x, train=False)[0], inputs)
    answer = answered(graph, trained.head, outputs)
    return finished(graph, _metadata(trained, answer, license)), answer


def _metadata(trained: Trained, answer: Answer, license: str) -> dict[str, Any]:
    """What the file says of itself."""
    head = getattr(trained.head, "lead", trained.head)
    schema = getattr(trained.encoder, "schema", None)
    return {
        "danlu_version": danlu.__version__,
        "license": license,
        "task": trained.task,
        "target": head.name,
        "classes": [] if answer.forecast else list(_classes(head)),
        "quantiles": list(head.shown) if answer.forecast else [],
        "inputs": kind_of_model(trained).about(trained.encoder),
        "outputs": list(answer.names),
        "level": _asked(head).level if answer.low or answer.members else None,
        "scores": {name: value for name, value in trained.metrics.items() if isinstance(value, int | float | str)},
        "schema": None if schema is None else schema.to_json(),
    }


def kind_of_model(trained: Trained) -> Kind:
    """How a model's rows enter a file: as its encoder takes them, with what only its decision needs.

    Raises:
        ConfigError: rows that cannot enter one.
    """
    kind, cuts = kind_of(trained.encoder), getattr(getattr(trained.head, "lead", trained.head), "cuts", None)
    if cuts is None:
        return kind
    have = {column.name for column in trained.encoder.schema.features}
    return dataclasses.replace(
        kind,
        feed=lambda encoder, rows: {**kind.feed(encoder, rows), **feed_groups(cuts, rows, have)},
        made=lambda encoder, random: made_groups(cuts, kind.made(encoder, random), random),
        about=lambda encoder: [*kind.about(encoder), *about_groups(cuts, have)],
    )


def _classes(head: Any) -> tuple[str, ...]:
    """The names of classes or labels, in the order of what the file answers for each."""
    target = getattr(head, "target", None)
    if target is not None:
        return tuple(target.classes)
    named = (getattr(head, name, None) for name in ("classes", "labels", "actions", "words"))
    return next((tuple(each) for each in named if each), ())


def _asked(head: Any) -> Asked:
    """The level of the intervals or sets that a file gives."""
    return head.asked or Asked(head.level)


@dataclasses.dataclass(frozen=True)
class Checked:
    """What the trial of a file found.

    Attributes:
        rows: how many there were.
        difference: the greatest, of probabilities, or of values over the greater of their size and the target's spread.
    """

    rows: int
    difference: float


def checked(data: bytes, trained: Trained, answer: Answer, trials: Iterable[tuple[Any, Any]]) -> Checked:
    """The file's answers beside those of danlu, for rows as they were read.

    Args:
        data: the file's bytes.
        trials: rows as the encoder takes them, each with the same rows as they stand in a file.

    Raises:
        ConfigError: another label for any row, or a difference above :func:`~danlu.export.runtime.tolerance_of`.
    """
    session = session_of(data)
    allowed = tolerance_of(trained.network)
    kind, spoken, worst, count = kind_of_model(trained), spoken_of(trained.head), 0.0, 0
    for rows, raw in trials:
        try:
            found = session.run(list(answer.names), kind.feed(trained.encoder, raw))
        except Exception as error:
            raise ConfigError(f"onnxruntime cannot run the file: {first_line(error)}") from error
        count += len(rows)
        worst = max(worst, spoken.differ(trained, rows, answer, dict(zip(answer.names, found, strict=True))))
        if not worst <= allowed:
            raise ConfigError(
                f"the file's answers differ from danlu's by up to {worst:.2g}; at most {allowed:g} is allowed; nothing was written",
                hint="this is a fault of danlu; please report it with the run's config.json",
            )
    return Checked(count, worst)
