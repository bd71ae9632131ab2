"""The multilayer perceptron, ready made."""

from __future__ import annotations

from danlu.blueprint import setting
from danlu.nn.activations import ACTIVATIONS
from danlu.nn.combine import Activation, Sequential
from danlu.nn.dense import Dense
from danlu.nn.dropout import Dropout
from danlu.nn.initializers import initializer_for
from danlu.nn.layer import Layer
from danlu.nn.norm import BatchNorm, LayerNorm
from danlu.nn.shorthand import Shorthand

__all__ = ["MLP"]


class MLP(Shorthand):
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
        for units in self.hidden:
            Dense(units)

    def build(self) -> Sequential:
        layers: list[Layer] = []
        for units in self.hidden:
            if self.norm == "none":
                layers.append(Dense(units, self.activation))
            else:
                # The norm's own bias stands in for the product's, which the norm would subtract again.
                layers.append(Dense(units, initializer=initializer_for(self.activation), use_bias=False))
                layers.append(BatchNorm() if self.norm == "batch" else LayerNorm())
                layers.append(Activation(self.activation))
            if self.dropout > 0:
                layers.append(Dropout(self.dropout))
        return Sequential((*layers, Dense(self.outputs)))
