"""Names for the arrays of a network, and patterns that choose among them.

An array's path is its way down the tree: dict keys and positions joined by ``/``. In a ``Sequential`` of two layers the first kernel
is ``0/kernel``. A pattern is a path, the beginning of one, or a wildcard as in file names::

    "6/kernel"   that array                     "6"          everything below 6
    "*/query"    every array called query       "[0-4]"      everything below 0, 1, 2, 3 and 4

What a checkpoint and a saved model call their arrays are paths too (:func:`named_leaves`), with a ``/`` inside a name escaped.
"""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any

import jax

from danlu.errors import ConfigError, nearest

__all__ = ["check_patterns", "escape", "is_key", "leaf_paths", "matches", "named_leaves"]


def leaf_paths(tree: Any) -> list[str]:
    """The path of each leaf, in the order of ``jax.tree.leaves``.

    >>> leaf_paths(({"kernel": 1.0, "bias": 2.0}, {"scale": 3.0}))
    ['0/bias', '0/kernel', '1/scale']
    """
    paths = jax.tree_util.tree_leaves_with_path(tree)
    return [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in paths]


def matches(path: str, pattern: str) -> bool:
    """Whether ``pattern`` names ``path`` or something that it lies below. ``*`` also stands for several steps.

    >>> [matches("1/0/kernel", pattern) for pattern in ("1", "1/*", "*kernel", "0", "kernel")]
    [True, True, True, False, False]
    """
    return fnmatchcase(path, pattern) or fnmatchcase(path, f"{pattern}/*")


def check_patterns(owner: str, patterns: Iterable[str], paths: Iterable[str]) -> None:
    """Raise ConfigError for a pattern that matches nothing: it would silently have no effect."""
    known = list(paths)
    for pattern in patterns:
        if not any(matches(path, pattern) for path in known):
            parts = sorted(
                {"/".join(path.split("/")[: depth + 1]) for path in known for depth in range(path.count("/") + 1)}
            )
            close = nearest(pattern, parts)
            shown = ", ".join(known[:6]) + (f", … ({len(known)} arrays)" if len(known) > 6 else "")
            raise ConfigError(
                f"{owner}: the pattern {pattern!r} names no array; the arrays are {shown or '(none)'}",
                hint=f"did you mean {close!r}?" if close else "danlu.paths.leaf_paths(params) lists them all",
            )


def escape(name: str) -> str:
    """``name`` without a ``/``, so that it is one step of a path.

    >>> escape("a/b")
    'a%2Fb'
    """
    return name.replace("%", "%25").replace("/", "%2F")


def _step(entry: Any) -> str:
    """One step of a path as text: a dict's key, a sequence's index or a field's name."""
    for attribute in ("key", "idx", "name"):
        if hasattr(entry, attribute):
            return escape(str(getattr(entry, attribute)))
    return escape(str(entry))


def is_key(leaf: Any) -> bool:
    """Whether a leaf is a typed PRNG key, which is stored as its words."""
    return isinstance(leaf, jax.Array) and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def named_leaves(tree: Any, *, prefix: str = "") -> list[tuple[str, Any]]:
    """The leaves of ``tree`` with their paths: dict keys, sequence indices and field names joined by ``/``.

    >>> named_leaves({"layers": ({"kernel": 1.0}, {})}, prefix="params")
    [('params/layers/0/kernel', 1.0)]
    """
    start = [prefix] if prefix else []
    return [("/".join([*start, *map(_step, path)]), leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)]
