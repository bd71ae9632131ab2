"""LeNet-5, the small convolutional network that everyone starts with."""

from __future__ import annotations

from danlu.blueprint import setting
from danlu.nn.activations import ACTIVATIONS
from danlu.nn.combine import Flatten, Sequential
from danlu.nn.conv import Conv
from danlu.nn.dense import Dense
from danlu.nn.pool import MaxPool
from danlu.nn.shorthand import Shorthand

__all__ = ["LeNet"]


class LeNet(Shorthand):
    """Two convolutions, each pooled by two, then three dense layers. For images of about 28×28.

    It is shorthand: :attr:`expanded` is the same network as a Sequential, with the same params and state.

    Args:
        outputs: how many logits.
        activation: of every layer but the last.

    Input: images ``(batch, height, width, channels)``, at least 12×12. Output: logits ``(batch, outputs)``.

    Reference: LeCun et al. (1998), "Gradient-based learning applied to document recognition", section II.B. As usual
    today: ReLU and max-pooling, every map connected, logits instead of radial units; the first convolution pads, so that
    28×28 images give the paper's sizes.

    Example:
        >>> from danlu.nn.summary import summary
        >>> summary(LeNet(10), (28, 28, 1)).parameters
        61706
    """

    outputs: int = setting(minimum=1, integer=True)
    activation: str = setting(default="relu", choices=ACTIVATIONS)

    def build(self) -> Sequential:
        f = self.activation
        return Sequential(
            (
                Conv(6, 5, activation=f),
                MaxPool(2),
                Conv(16, 5, padding="valid", activation=f),
                MaxPool(2),
                Flatten(),
                Dense(120, f),
                Dense(84, f),
                Dense(self.outputs),
            )
        )
