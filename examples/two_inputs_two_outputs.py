"""A network with two inputs and two outputs, and a loss with a weight for each: dicts in, dicts out.

A house's rooms (numbers) and its street (a place on a map) give its price and its kind. Made small is::

    c₁·(price − ŷ)² + c₂·(−log p(kind))

The weights c are arrays in the training state; each output has its own columns in the history.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

import danlu
from danlu import nn

NETWORK = nn.Sequential(
    (
        nn.Parallel((nn.Dense(16, "relu"), nn.Dense(16, "relu")), inputs=("rooms", "street")),
        nn.Dense(32, "relu"),
        nn.Parallel((nn.Dense(1), nn.Dense(3)), merge="dict", outputs=("price", "kind")),
    )
)


def make_houses(rows: int = 600) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Houses whose price and kind depend on both inputs."""
    rng = np.random.default_rng(0)
    rooms, street = rng.normal(size=(rows, 3)), rng.uniform(-1, 1, size=(rows, 2))
    price = rooms.sum(axis=1) + 2 * street[:, 0]
    kind = np.digitize(rooms[:, 0] + 2 * street[:, 1], [-0.7, 0.7])
    return {"rooms": rooms, "street": street}, {"price": price.astype(np.float32), "kind": kind}


def learn(weights: dict[str, float], epochs: int = 30) -> danlu.Fitted:
    """Train on the first 400 houses; the others judge."""
    first, rest = (jax.tree.map(lambda a: a[part], make_houses()) for part in (slice(400), slice(400, None)))  # noqa: B023
    settings: Any = {"epochs": epochs, "learning_rate": 1e-2, "display": "none"}
    return danlu.fit(
        NETWORK,
        first,
        loss={"price": "mse", "kind": "categorical_cross_entropy"},
        loss_weights=weights,
        metrics={"kind": ["accuracy"]},
        validation=rest,
        **settings,
    )


if __name__ == "__main__":
    for weights in ({"price": 1.0, "kind": 1.0}, {"price": 0.0, "kind": 1.0}):
        last = learn(weights).history[-1]
        print(
            f"weights {weights}: squared error of prices {last['val_price']:.3f}, right kinds {last['val_kind_accuracy']:.0%}"
        )
