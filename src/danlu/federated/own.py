"""Which parts of a network stay with each client, by words for those of the papers.

``"head"`` is the last layer, which turns what was learnt to see into an answer (Arivazhagan et al. 2019, FedPer; Collins et al. 2021,
FedRep). ``"norms"`` is each batch norm, whose statistics follow the rows of one client (Li et al. 2021, FedBN). All else is a pattern of
paths, as of :func:`danlu.paths.matches`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax

from danlu.errors import ConfigError
from danlu.paths import check_patterns, leaf_paths, matches

__all__ = ["chosen", "patterns_of", "replaced"]


def patterns_of(own: Sequence[str], params: Any, state: Any) -> tuple[str, ...]:
    """The patterns that words and patterns name in a network.

    Raises:
        ConfigError: one that names nothing; a network without such a part.

    Example:
        >>> params = ({"kernel": 0}, {"scale": 0, "offset": 0}, {"kernel": 0}, {})
        >>> patterns_of(("head", "norms"), params, ({}, {"mean": 0, "variance": 0}, {}, {}))
        ('2', '1')
    """
    found: list[str] = []
    for name in own:
        found += {"head": _head, "norms": _norms}[name](params, state) if name in ("head", "norms") else [name]
    check_patterns("the parts that stay with a client", found, [*leaf_paths(params), *leaf_paths(state)])
    return tuple(dict.fromkeys(found))


def chosen(tree: Any, own: Sequence[str]) -> list[bool]:
    """Which leaves of a tuple of trees stay with a client."""
    paths = [path.split("/", 1)[1] for path in leaf_paths(tree)]  # without which of the trees it is
    return [any(matches(path, pattern) for pattern in own) for path in paths]


def replaced(tree: Any, own: Sequence[str], mine: Sequence[Any]) -> Any:
    """A tuple of trees with other leaves where they stay with a client."""
    leaves, form = jax.tree.flatten(tree)
    given = iter(mine)
    return jax.tree.unflatten(
        form, [next(given) if is_own else leaf for leaf, is_own in zip(leaves, chosen(tree, own), strict=True)]
    )


def _head(params: Any, state: Any) -> list[str]:
    paths = leaf_paths(params)
    named = sorted({path.split("/")[0] for path in paths if path.startswith("head")})
    layers = [int(first) for first in {path.split("/")[0] for path in paths} if first.isdigit()]
    if not named and len(layers) < 2:
        raise ConfigError(
            f"the network has no layers one after the other of which the last would be its head; its arrays are {', '.join(paths[:6])}",
            hint="name the arrays that stay with each client by their paths",
        )
    return named or [str(max(layers))]


def _norms(params: Any, state: Any) -> list[str]:
    found = sorted({path.rpartition("/")[0] for path in leaf_paths(state) if path.split("/")[-1] == "variance"})
    if not found:
        raise ConfigError(
            "the network has no batch norm, whose parameters and statistics would stay with each client",
            hint="'head' keeps the last layer",
        )
    return found
