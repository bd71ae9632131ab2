"""Operations on single numbers as nodes of ONNX: arithmetic, comparisons, choices, types."""

from __future__ import annotations

from typing import Any

import jax

from danlu.export.primitives import Writer, aval_of, fragment, out_of

_SAME = {
    "exp": "Exp", "log": "Log", "tanh": "Tanh", "logistic": "Sigmoid", "sin": "Sin", "cos": "Cos", "tan": "Tan", "asin": "Asin",
    "acos": "Acos", "atan": "Atan", "sinh": "Sinh", "cosh": "Cosh", "sqrt": "Sqrt", "neg": "Neg", "abs": "Abs", "sign": "Sign",
    "floor": "Floor", "ceil": "Ceil", "erf": "Erf", "stop_gradient": "Identity", "copy": "Identity", "copy_p": "Identity",
    "optimization_barrier": "Identity",
    "reduce_precision": "Identity", "add_any": "Add", "mul": "Mul", "sub": "Sub", "div": "Div",
    "pow": "Pow", "eq": "Equal", "lt": "Less",
    "le": "LessOrEqual", "gt": "Greater", "ge": "GreaterOrEqual",
}  # fmt: skip
for _name, _kind in _SAME.items():

    @fragment(_name)
    def _same(writer: Writer, equation: Any, *inputs: str, kind: str = _kind) -> list[str] | str:
        if kind == "Identity":
            return list(inputs)
        return writer.graph.op(kind, *inputs)


@fragment("rem")
def _rem(writer: Writer, equation: Any, x: str, y: str) -> str:
    return writer.graph.op("Mod", x, y, fmod=1)


@fragment("max", "min")
def _extreme(writer: Writer, equation: Any, x: str, y: str) -> str:
    if out_of(equation).dtype == bool:
        return writer.graph.op("Or" if equation.primitive.name == "max" else "And", x, y)
    return writer.graph.op(equation.primitive.name.title(), x, y)


@fragment("ne")
def _ne(writer: Writer, equation: Any, x: str, y: str) -> str:
    return writer.graph.op("Not", writer.graph.op("Equal", x, y))


@fragment("and", "or", "xor")
def _bits(writer: Writer, equation: Any, x: str, y: str) -> str:
    name = equation.primitive.name.title()
    return writer.graph.op(name if out_of(equation).dtype == bool else f"Bitwise{name}", x, y)


@fragment("not")
def _not(writer: Writer, equation: Any, x: str) -> str:
    return writer.graph.op("Not" if out_of(equation).dtype == bool else "BitwiseNot", x)


@fragment("rsqrt")
def _rsqrt(writer: Writer, equation: Any, x: str) -> str:
    return writer.graph.op("Reciprocal", writer.graph.op("Sqrt", x))


@fragment("square")
def _square(writer: Writer, equation: Any, x: str) -> str:
    return writer.graph.op("Mul", x, x)


@fragment("integer_pow")
def _integer_pow(writer: Writer, equation: Any, x: str) -> str:
    power, dtype = equation.params["y"], out_of(equation).dtype
    if power == 2:
        return writer.graph.op("Mul", x, x)
    return writer.graph.op("Pow", x, writer.graph.constant(power, dtype))


@fragment("log1p")
def _log1p(writer: Writer, equation: Any, x: str) -> str:
    """``ln(1 + x) = ln(u) · x/(u − 1)`` with ``u = 1 + x``, and ``x`` where ``u = 1``: exact for small ``x`` too (Kahan)."""
    graph, one = writer.graph, writer.graph.constant(1, out_of(equation).dtype)
    u = graph.op("Add", x, one)
    less = graph.op("Sub", u, one)
    tiny = graph.op("Equal", u, one)
    infinite = graph.op("IsInf", u)
    ratio = graph.op("Div", x, graph.op("Where", tiny, one, less))
    full = graph.op("Mul", graph.op("Log", u), graph.op("Where", infinite, one, ratio))
    return graph.op("Where", tiny, x, full)


@fragment("expm1")
def _expm1(writer: Writer, equation: Any, x: str) -> str:
    """``e^x − 1 = 2·tanh(x/2)/(1 − tanh(x/2))`` near 0, where the difference would lose digits."""
    graph, dtype = writer.graph, out_of(equation).dtype
    one, two, half = (graph.constant(value, dtype) for value in (1, 2, 0.5))
    wave = graph.op("Tanh", graph.op("Mul", x, half))
    near = graph.op("Less", graph.op("Abs", x), one)
    safe = graph.op("Where", near, wave, graph.constant(0, dtype))
    small = graph.op("Div", graph.op("Mul", two, safe), graph.op("Sub", one, safe))
    return graph.op("Where", near, small, graph.op("Sub", graph.op("Exp", x), one))


@fragment("erfc")
def _erfc(writer: Writer, equation: Any, x: str) -> str:
    return writer.graph.op("Sub", writer.graph.constant(1, out_of(equation).dtype), writer.graph.op("Erf", x))


@fragment("round")
def _round(writer: Writer, equation: Any, x: str) -> str:
    if equation.params["rounding_method"] == jax.lax.RoundingMethod.TO_NEAREST_EVEN:
        return writer.graph.op("Round", x)
    half = writer.graph.op("Mul", writer.graph.op("Sign", x), writer.graph.constant(0.5, out_of(equation).dtype))
    away = writer.graph.op("Add", x, half)
    return writer.graph.op("Mul", writer.graph.op("Sign", away), writer.graph.op("Floor", writer.graph.op("Abs", away)))


@fragment("is_finite")
def _is_finite(writer: Writer, equation: Any, x: str) -> str:
    graph = writer.graph
    return graph.op("Not", graph.op("Or", graph.op("IsInf", x), graph.op("IsNaN", x)))


@fragment("clamp")
def _clamp(writer: Writer, equation: Any, low: str, x: str, high: str) -> str:
    return writer.graph.op("Min", writer.graph.op("Max", x, low), high)


@fragment("select_n")
def _select(writer: Writer, equation: Any, which: str, *cases: str) -> str:
    graph = writer.graph
    if aval_of(equation).dtype != bool:
        found = cases[-1]
        for place in reversed(range(len(cases) - 1)):
            chosen = graph.op("Equal", which, graph.constant(place, aval_of(equation).dtype))
            found = graph.op("Where", chosen, cases[place], found)
        return found
    if out_of(equation).dtype == bool:
        yes = graph.op("And", which, cases[1])
        return graph.op("Or", yes, graph.op("And", graph.op("Not", which), cases[0]))
    return graph.op("Where", which, cases[1], cases[0])


@fragment("convert_element_type")
def _convert(writer: Writer, equation: Any, x: str) -> str:
    return x if aval_of(equation).dtype == out_of(equation).dtype else writer.graph.cast(x, out_of(equation).dtype)
