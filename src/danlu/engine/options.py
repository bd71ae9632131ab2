"""How long and in what portions to train."""

from __future__ import annotations

from danlu.blueprint import Blueprint, setting
from danlu.engine.precision import PRECISIONS
from danlu.errors import ConfigError

__all__ = ["FitOptions"]


class FitOptions(Blueprint):
    """How long and in what portions to train.

    Args:
        epochs: passes over the data, >= 0.
        batch_size: rows a step.
        accumulate: micro-batches a step; must divide ``batch_size``.
        patience: epochs without improvement before stopping early; None never stops.
        monitor: the column that early stopping and the best weights go by; None is ``"val_loss"`` where there is
            validation data.
        mode: whether a smaller (``"min"``) or larger (``"max"``) value of it is better; ``"auto"`` is what the measure declares (a loss:
            smaller; danlu's metrics each; a function of your own by its attribute ``direction``), and refused where it declares nothing.
        min_delta: the least change that counts as an improvement; a little below 0, of equal epochs the last is kept.
        restore_best: whether training ends with the best weights (when something is monitored) or the last.
        l1: coefficient of the penalty ‖θ‖₁ on weights.
        l2: coefficient of the squared penalty on weights.
        precision: what the network computes in while it is trained, ``"float32"`` or ``"bfloat16"``: half the memory
            traffic, and several times the speed where there are units for it; see :mod:`danlu.engine.precision`.
        devices: how many devices share the rows of each batch (``batch_size`` must be a multiple); see :mod:`danlu.engine.mesh`. On a CPU
            it pays where a step keeps only one core busy: recurrent networks, whose many small products come one after the other.
        seed: decides the initial weights, the sequence of rows and every random draw.
        checkpoint_every: seconds between checkpoints, when a folder for them is given.
        display: ``"auto"``, ``"live"``, ``"plain"`` or ``"none"``.
    """

    epochs: int = setting(default=10, minimum=0, integer=True)
    batch_size: int = setting(default=32, minimum=1, maximum=2**31 - 1, integer=True)
    accumulate: int = setting(default=1, minimum=1, integer=True)
    patience: int | None = setting(default=None, minimum=1, maximum=10**9, integer=True, optional=True)
    monitor: str | None = None
    mode: str = setting(default="auto", choices=("auto", "min", "max"))
    min_delta: float = setting(default=0.0)
    restore_best: bool = True
    l1: float = setting(default=0.0, minimum=0)
    l2: float = setting(default=0.0, minimum=0)
    precision: str = setting(default="float32", choices=tuple(PRECISIONS))
    devices: int = setting(default=1, minimum=1, integer=True)
    seed: int = setting(default=0, minimum=0, maximum=2**32 - 1, integer=True)
    checkpoint_every: float = setting(default=10.0, minimum=0)
    display: str = setting(default="auto", choices=("auto", "live", "plain", "none"))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.batch_size % self.accumulate:
            raise ConfigError(
                f"FitOptions.batch_size is {self.batch_size} and accumulate is {self.accumulate}; "
                "expected a batch size that is a multiple of it"
            )
