"""A reader of the formulas sees the shape of what an ``einsum`` or a ``reshape`` gives, without running it.

It stands in a comment on the statement or the line before it, in the function's docstring, or in the arguments themselves where
these are names (``reshape(batch, time, features)``).
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "danlu"
ROOMS = ("nn", "optim", "engine", "explain", "rl")
FILES = sorted(
    path.relative_to(SOURCE).as_posix()
    for room in ROOMS
    for path in (SOURCE / room).rglob("*.py")
    if "reshape(" in (text := path.read_text(encoding="utf-8")) or "einsum(" in text
)
SHAPE = re.compile(r"\(.*\)")
SHAPE_IN_DOCSTRING = re.compile(r"``[^`]*\([^`]*,[^`]*\)``")


def silent(text: str) -> list[int]:
    """The lines with an ``einsum`` or a ``reshape`` whose shape is nowhere said."""
    comments = {
        token.start[0]: token.string
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type == tokenize.COMMENT
    }
    tree = ast.parse(text)
    documented = {
        id(statement)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef) and SHAPE_IN_DOCSTRING.search(ast.get_docstring(function) or "")
        for statement in ast.walk(function)
    }
    found = set()
    for statement in ast.walk(tree):
        if not isinstance(statement, ast.stmt):
            continue
        last = statement.end_lineno or statement.lineno
        said = any(SHAPE.search(comments.get(line, "")) for line in range(statement.lineno - 1, last + 1))
        for call in calls(statement):
            name = call.func.attr if isinstance(call.func, ast.Attribute) else ""
            if name == "einsum" and not said:
                found.add(call.lineno)
            if name == "reshape" and not (said or id(statement) in documented or plain(call)):
                found.add(call.lineno)
    return sorted(found)


def calls(statement: ast.stmt) -> Iterator[ast.Call]:
    """The calls in a statement, those of the statements inside it aside."""
    waiting = [node for node in ast.iter_child_nodes(statement) if not isinstance(node, ast.stmt)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Call):
            yield node
        waiting += [child for child in ast.iter_child_nodes(node) if not isinstance(child, ast.stmt)]


def plain(call: ast.Call) -> bool:
    """``reshape(-1)``, ``reshape(x.shape)``, or sizes that are all names."""
    sizes = call.args
    if isinstance(call.func, ast.Attribute) and ast.unparse(call.func.value) in ("jnp", "np"):
        sizes = sizes[1:]
    alone = ast.unparse(sizes[0]) if len(sizes) == 1 else ""
    return alone == "-1" or alone.endswith(".shape") or (bool(sizes) and all(map(named, sizes)))


def named(size: ast.expr) -> bool:
    if isinstance(size, ast.Starred):
        return named(size.value)
    if isinstance(size, ast.BinOp):
        return named(size.left) and named(size.right)
    if isinstance(size, ast.Attribute):
        return size.attr != "shape"
    return isinstance(size, ast.Name | ast.Constant)


@pytest.mark.parametrize("file", FILES)
def test_every_shape_is_said(file: str) -> None:
    lines = silent((SOURCE / file).read_text(encoding="utf-8"))
    assert not lines, f"say the shape in a comment: {', '.join(f'{file}:{line}' for line in lines)}"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("y = x.reshape(x.shape[0], -1)", False),
        ("y = x.reshape(x.shape[0], -1)  # (batch, features)", True),
        ("y = jnp.einsum('ab,bc->ac', x, w)", False),
        ("# (rows, units)\ny = jnp.einsum('ab,bc->ac', x, w)", True),
        ("y = x.reshape(batch, time * features)", True),
        ("y = x.reshape(-1)", True),
        ("y = jnp.reshape(x, (3, -1))", False),
        ("y = x.reshape(w.shape)", True),
        ("def f(x):\n    '''``(batch, time)`` of both.'''\n    return x.reshape(len(x), -1)", True),
    ],
)
def test_the_check_sees_what_is_missing(line: str, said: bool) -> None:
    assert (silent(line) == []) is said
