"""What a network is made of: one line a layer, with shapes, parameters, operations and bytes."""

from __future__ import annotations

import dataclasses
import html
import math
from collections.abc import Mapping
from typing import Any

import jax

from danlu.blueprint import Blueprint
from danlu.nn.counted import codes_of
from danlu.nn.layer import Layer, Shape

__all__ = ["Summary", "SummaryRow", "summary", "text_table"]


@dataclasses.dataclass(frozen=True)
class SummaryRow:
    """One layer of a network.

    Attributes:
        path: where it is, such as ``1/layer/0``; "" for the whole.
        layer: its class's name and what distinguishes it.
        out_shape: the shape of one example's output.
        parameters: numbers that training changes, children included.
        flops: operations of one example's forward pass, children included (a multiply-add counts 2); None if unknown.
        bytes: memory of the parameters and the state.
        composite: whether the layer has children (which follow in rows of their own).
    """

    path: str
    layer: str
    out_shape: Shape
    parameters: int
    flops: int | None
    bytes: int
    composite: bool


@dataclasses.dataclass(frozen=True)
class Summary:
    """Rows for a network and each of its layers, from :func:`summary`; printing it shows a table."""

    rows: tuple[SummaryRow, ...]

    @property
    def parameters(self) -> int:
        """All numbers that training changes."""
        return self.rows[0].parameters

    @property
    def flops(self) -> int | None:
        """Operations of one example's forward pass; None when a layer does not tell."""
        return self.rows[0].flops

    @property
    def bytes(self) -> int:
        """Memory of all parameters and state."""
        return self.rows[0].bytes

    def _table(self) -> tuple[list[str], list[list[str]]]:
        header = ["layer", "output", "parameters", "FLOPs", "bytes"]
        body = []
        for row in self.rows:
            depth = row.path.count("/") + 1 if row.path else 0
            name = row.path.rsplit("/", 1)[-1]
            label = "  " * depth + (f"{name}: {row.layer}" if name else row.layer)
            flops = "?" if row.flops is None else f"{row.flops:,}"
            body.append([label, _shape_text(row.out_shape), f"{row.parameters:,}", flops, f"{row.bytes:,}"])
        return header, body

    def __str__(self) -> str:
        header, body = self._table()
        flops = "an unknown number of" if self.flops is None else f"{self.flops:,}"
        total = f"{self.parameters:,} parameters, {flops} FLOPs an example, {self.bytes:,} bytes"
        return text_table(header, body, left=2) + "\n" + total

    def _repr_html_(self) -> str:
        return html_table(*self._table(), left=2)


def _shape_text(shape: Shape) -> str:
    if isinstance(shape, Mapping):
        return "{" + ", ".join(f"{name}: {_shape_text(part)}" for name, part in shape.items()) + "}"
    return "×".join(map(str, shape)) or "1"


def text_table(header: list[str], body: list[list[str]], *, left: int, width: int = 80) -> str:
    """A table in text, at most ``width`` wide; the first ``left`` columns align left and are cut when too long."""
    widths = [max(map(len, column)) for column in zip(header, *body, strict=True)]
    for index in range(left):
        excess = sum(widths) + 2 * (len(widths) - 1) - width
        widths[index] = max(min(widths[index], 12), widths[index] - max(excess, 0))

    def line(cells: list[str]) -> str:
        parts = []
        for index, (cell, wide) in enumerate(zip(cells, widths, strict=True)):
            cut = cell if len(cell) <= wide else cell[: wide - 1] + "…"
            parts.append(cut.ljust(wide) if index < left else cut.rjust(wide))
        return "  ".join(parts).rstrip()

    return "\n".join([line(header), "─" * min(width, sum(widths) + 2 * (len(widths) - 1)), *map(line, body)])


def html_table(header: list[str], body: list[list[str]], *, left: int) -> str:
    """The same table in HTML, for a notebook."""

    def cells(tag: str, row: list[str]) -> str:
        return "".join(
            f'<{tag} style="text-align:{"left" if i < left else "right"};white-space:pre">{html.escape(cell)}</{tag}>'
            for i, cell in enumerate(row)
        )

    rows = "".join(f"<tr>{cells('td', row)}</tr>" for row in body)
    return f"<table><thead><tr>{cells('th', header)}</tr></thead><tbody>{rows}</tbody></table>"


def describe(layer: Layer) -> str:
    """A layer in a few words: its class and the plain fields that differ from the defaults."""
    if layer.children():
        return type(layer).__name__
    shown = []
    for field in dataclasses.fields(layer):
        value = getattr(layer, field.name)
        if field.default is dataclasses.MISSING:
            shown.append(getattr(value, "__name__", str(value)))
        elif value != field.default and not isinstance(value, Blueprint):
            shown.append(str(value) if isinstance(value, str) else f"{field.name}={value}")
    return f"{type(layer).__name__}({', '.join(shown)})"


def _count(tree: Any) -> tuple[int, int]:
    leaves = jax.tree.leaves(tree)
    counts = [math.prod(a.shape) for a in leaves]
    return sum(counts), sum(n * a.dtype.itemsize for n, a in zip(counts, leaves, strict=True))


def _walk(layer: Layer, in_shape: Shape, path: str) -> list[SummaryRow]:
    found: list[Shape] = []

    def draw(key: jax.Array) -> tuple[Any, Any]:
        params, state, out_shape = layer.init(key, in_shape)
        found.append(out_shape)
        return params, state

    params, state = jax.eval_shape(draw, jax.random.key(0))
    parameters, size = _count(params)
    parameters += _count(list(codes_of(state)))[0]
    children = layer.children()
    rows = [
        SummaryRow(
            path=path,
            layer=describe(layer),
            out_shape=found[0],
            parameters=parameters,
            flops=layer.flops(in_shape),
            bytes=size + _count(state)[1],
            composite=bool(children),
        )
    ]
    for (name, child), shape in zip(children, layer.child_shapes(in_shape), strict=True):
        rows += _walk(child, shape, f"{path}/{name}" if path else name)
    return rows


def summary(layer: Layer, in_shape: Shape) -> Summary:
    """Shapes, parameters, operations and bytes of a network and of each layer in it; no array is allocated.

    Args:
        layer: the network.
        in_shape: the shape of one example (no batch axis), or a dict of shapes.

    Returns:
        A :class:`Summary`; ``print`` it, or show it in a notebook.

    Raises:
        ConfigError: the network cannot take such an input.

    Example:
        >>> from danlu.nn.mlp import MLP
        >>> print(summary(MLP((16,), 3), (4,)))
        layer                 output  parameters  FLOPs  bytes
        ──────────────────────────────────────────────────────
        MLP                   3              131    259    524
          0: Dense(16, relu)  16              80    160    320
          1: Dense(3)         3               51     99    204
        131 parameters, 259 FLOPs an example, 524 bytes
    """
    return Summary(tuple(_walk(layer, in_shape, "")))
