"""The multilayer perceptron, ready made."""

from __future__ import annotations

import functools
from typing import Any

import jax

from danlu.blueprint import setting
from danlu.errors import ConfigError
from danlu.nn.activations import ACTIVATIONS
from danlu.nn.combine import Activation, Sequential
from danlu.nn.dense import Dense
from danlu.nn.dropout import Dropout
from danlu.nn.initializers import initializer_for
from danlu.nn.layer import Layer, Params, Shape, State
from danlu.nn.norm import BatchNorm, LayerNorm

__all__ = ["MLP"]


class MLP(Layer):
    """Hidden layers of ``hidden`` units, each normalised, activated and dropped out, then a linear output.

    It is shorthand: :attr:`expanded` is the same network as a Sequential, with the same params and state.

    Args:
        hidden: units of each hidden layer; () is a linear model.
        outputs: units of the output, which are logits or values (no activation).
        activation: of the hidden layers.
        dropout: rate after each hidden layer, in [0, 1); 0 leaves dropout out.
        norm: ``"none"``, ``"batch"`` or ``"layer"``: between each hidden layer's product and its activation.

    Example:
        >>> MLP((16,), 3, dropout=0.1).expanded
        Sequential(layers=(Dense(units=16, activation='relu', ...), Dropout(rate=0.1), Dense(units=3, ...)))
    """

    hidden: tuple[int, ...]
    outputs: int = setting(minimum=1, integer=True)
    activation: str = setting(default="relu", choices=ACTIVATIONS)
    dropout: float = setting(default=0.0, minimum=0, below=1)
    norm: str = setting(default="none", choices=("none", "batch", "layer"))

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.hidden, tuple | list):
            raise ConfigError(
                f"MLP.hidden is {self.hidden!r}; expected a tuple of layer sizes", hint="such as (64, 64)"
            )
        object.__setattr__(self, "hidden", tuple(self.hidden))
        for units in self.hidden:
            Dense(units)

    @property
    def expanded(self) -> Sequential:
        """The same network as a Sequential."""
        return _expanded(self)

    def children(self) -> tuple[tuple[str, Layer], ...]:
        return self.expanded.children()

    def child_shapes(self, in_shape: Shape) -> tuple[Shape, ...]:
        return self.expanded.child_shapes(in_shape)

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        return self.expanded.init(key, in_shape)

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[Any, State]:
        return self.expanded.apply(params, state, x, train=train, key=key)

    def flops(self, in_shape: Shape) -> int | None:
        return self.expanded.flops(in_shape)


@functools.lru_cache(maxsize=256)
def _expanded(mlp: MLP) -> Sequential:
    layers: list[Layer] = []
    for units in mlp.hidden:
        if mlp.norm == "none":
            layers.append(Dense(units, mlp.activation))
        else:
            # The norm's own bias stands in for the product's, which the norm would subtract again.
            layers.append(Dense(units, initializer=initializer_for(mlp.activation), use_bias=False))
            layers.append(BatchNorm() if mlp.norm == "batch" else LayerNorm())
            layers.append(Activation(mlp.activation))
        if mlp.dropout > 0:
            layers.append(Dropout(mlp.dropout))
    return Sequential((*layers, Dense(mlp.outputs)))
