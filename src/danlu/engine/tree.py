"""Names for the arrays of a tree: what a checkpoint and a saved model call them."""

from __future__ import annotations

from typing import Any

import jax

__all__ = ["escape", "is_key", "named_leaves"]


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
