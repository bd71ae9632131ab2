"""Where a network forks: shortcuts round layers, and layers side by side, for a drawing of its paths."""

from __future__ import annotations

from typing import Any

from danlu.nn.combine import Parallel, Residual
from danlu.nn.layer import Layer
from danlu.nn.tabular import TabularNet

__all__ = ["branches"]

_SIGNS = {"add": "+", "concatenate": "∥", "stack": "≡", "dict": "{}"}


def branches(network: Layer, path: str = "") -> list[dict[str, Any]]:
    """The forks of a network, the outer before the inner ones.

    Returns:
        of each its ``rows``, the paths of the layers on each (None is the input itself, passed on unchanged), and the ``sign`` by which
        they are joined.

    Example:
        >>> from danlu import nn
        >>> branches(nn.Sequential((nn.Dense(4), nn.Residual(nn.Dense(4)))))
        [{'rows': [['1/layer'], None], 'sign': '+'}]
    """
    network = network.expanded

    def at(name: str) -> str:
        return f"{path}/{name}" if path else name

    below = [(at(name), part) for name, part in network.children()]
    rows: list[list[str] | None] = [[place] for place, _ in below]
    found: list[dict[str, Any]] = []
    if isinstance(network, Residual):
        found.append({"rows": rows if network.shortcut is not None else [*rows, None], "sign": "+"})
    elif isinstance(network, Parallel):
        found.append({"rows": rows, "sign": _SIGNS[network.merge]})
    elif isinstance(network, TabularNet):
        inputs = [at("categorical"), at("numeric")]
        chain = [at("scale"), *(at(f"hidden_{number}") for number in range(network.depth)), at("head")]
        found.append({"rows": [[*inputs, *chain], [at("shortcut")]], "sign": "+"})
        found.append({"rows": [[place] for place in inputs], "sign": _SIGNS["concatenate"]})
    for place, part in below:
        found += branches(part, place)
    return found
