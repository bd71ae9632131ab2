"""Names for the arrays of a network, and patterns that choose among them.

An array's path is its way down the tree: dict keys and positions joined by ``/``. In a ``Sequential`` of two layers the first kernel
is ``0/kernel``. A pattern is a path, the beginning of one, or a wildcard as in file names::

    "6/kernel"   that array                     "6"          everything below 6
    "*/query"    every array called query       "[0-4]"      everything below 0, 1, 2, 3 and 4
"""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any

import jax

from danlu.errors import ConfigError, nearest

__all__ = ["check_patterns", "leaf_paths", "matches"]


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
    """Raise ConfigError for a pattern that names nothing: a part that was meant would silently stay as it is."""
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
