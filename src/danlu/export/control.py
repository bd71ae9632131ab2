"""Functions within functions, loops and branches as nodes of ONNX."""

from __future__ import annotations

from typing import Any

import numpy as np

from danlu.errors import ConfigError
from danlu.export.graph import Graph
from danlu.export.primitives import Writer, fragment, named

_CALLS = (
    "pjit",
    "jit",
    "closed_call",
    "core_call",
    "custom_jvp_call",
    "custom_vjp_call",
    "remat",
    "remat2",
    "checkpoint",
)


@fragment(*_CALLS)
def _call(writer: Writer, equation: Any, *inputs: str) -> list[str]:
    inner = next(equation.params[name] for name in ("jaxpr", "call_jaxpr", "fun_jaxpr") if name in equation.params)
    return writer.closed(inner, inputs) if hasattr(inner, "consts") else writer.jaxpr(inner, inputs)


@fragment("scan")
def _scan(writer: Writer, equation: Any, *inputs: str) -> list[str]:
    params = equation.params
    consts, carries = params["num_consts"], params["num_carry"]
    inner, graph = params["jaxpr"], writer.graph
    fixed, begun, along = inputs[:consts], inputs[consts : consts + carries], inputs[consts + carries :]
    body = Graph(graph)
    if not along:  # a loop of a known length
        body.input(body.fresh(), np.int64, ())
        again = body.input(body.fresh(), bool, ())
    own = [body.input(body.fresh(), v.aval.dtype, named(v.aval.shape)) for v in inner.jaxpr.invars[consts:]]
    found = Writer(body, writer.counts).closed(inner, [*fixed, *own])
    if not along:
        body.output(body.fresh(), again, bool, ())
    for name, variable in zip(found, inner.jaxpr.outvars, strict=True):
        body.output(body.fresh(), name, variable.aval.dtype, None)
    back, results = int(params["reverse"]), len(found) - carries
    if not along:
        if back and results:
            raise ConfigError("the network repeats a step from the end, which cannot be written as ONNX yet")
        count = graph.constant(np.int64(params["length"]))
        return graph.ops("Loop", count, "", *begun, outputs=len(found), body=body.body("step"))
    directions: dict[str, Any] = {"scan_input_directions": [back] * len(along)}
    directions |= (
        {"scan_output_directions": [back] * results} if results else {}
    )  # an attribute of no numbers has no type
    return graph.ops(
        "Scan", *begun, *along, outputs=len(found), body=body.body("step"), num_scan_inputs=len(along), **directions
    )


@fragment("while")
def _while(writer: Writer, equation: Any, *inputs: str) -> list[str]:
    params, graph = equation.params, writer.graph
    asked, done = params["cond_nconsts"], params["body_nconsts"]
    of_condition, of_body, begun = inputs[:asked], inputs[asked : asked + done], inputs[asked + done :]
    (first,) = writer.closed(params["cond_jaxpr"], [*of_condition, *begun])
    body = Graph(graph)
    body.input(body.fresh(), np.int64, ())
    body.input(body.fresh(), bool, ())
    variables = params["body_jaxpr"].jaxpr.outvars
    own = [body.input(body.fresh(), v.aval.dtype, named(v.aval.shape)) for v in variables]
    inside = Writer(body, writer.counts)
    found = inside.closed(params["body_jaxpr"], [*of_body, *own])
    (again,) = inside.closed(params["cond_jaxpr"], [*of_condition, *found])
    body.output(body.fresh(), again, bool, ())
    for name, variable in zip(found, variables, strict=True):
        body.output(body.fresh(), name, variable.aval.dtype, None)
    return graph.ops("Loop", "", first, *begun, outputs=len(found), body=body.body("step"))


@fragment("platform_index")
def _platform(writer: Writer, equation: Any) -> str:
    """Of what is written for some machines in another way, that for all others: one convolution, no sums of shifted products."""
    return writer.graph.constant(np.int32(equation.params["platforms"].index(None)))


@fragment("cond")
def _cond(writer: Writer, equation: Any, which: str, *inputs: str) -> list[str]:
    branches, graph = equation.params["branches"], writer.graph
    if which in graph.known:
        return writer.closed(branches[int(graph.known[which])], inputs)
    if len(branches) != 2:
        raise ConfigError("the network chooses between more than two functions, which cannot be written as ONNX yet")
    bodies = []
    for branch in branches:
        body = Graph(graph)
        found = Writer(body, writer.counts).closed(branch, inputs)
        for name, variable in zip(found, branch.jaxpr.outvars, strict=True):
            body.output(body.fresh(), name, variable.aval.dtype, None)
        bodies.append(body.body("branch"))
    chosen = graph.cast(which, bool)
    return graph.ops("If", chosen, outputs=len(equation.outvars), then_branch=bodies[1], else_branch=bodies[0])
