"""How long and in what portions to train."""

from __future__ import annotations

from danlu.blueprint import Blueprint, setting
from danlu.engine.average import AVERAGES
from danlu.engine.layout import SHARDINGS
from danlu.engine.precision import PRECISIONS
from danlu.errors import ConfigError

__all__ = ["FitOptions"]


def _check_sharding(devices: int, sharding: str, tensor: int | None) -> None:
    """Refuse a way to divide parameters that these devices have no use for.

    Raises:
        ConfigError: see above.
    """
    if sharding == "replicated":
        if tensor is not None:
            raise ConfigError(
                f"tensor is {tensor}, and sharding is 'replicated', where every device has whole layers",
                hint="sharding=tensor divides layers, sharding=fsdp also everything else",
            )
    elif devices == 1:
        raise ConfigError(
            f"sharding is {sharding!r}, and devices is 1; expected 2 or more devices to divide the parameters among",
            hint="devices=2",
        )
    else:
        useless = {"tensor": 1, "fsdp": devices}[sharding]  # so many divide nothing, or leave none to share rows
        fitting = [n for n in range(1, devices + 1) if devices % n == 0 and n != useless]
        if tensor is not None and tensor not in fitting:
            raise ConfigError(
                f"tensor is {tensor}, with sharding={sharding} on {devices} devices; expected one of: "
                f"{', '.join(map(str, fitting))}"
            )


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
        average: the weights that are judged and kept: ``"none"``, those after the last step; ``"ema"``, a moving average over steps;
            ``"swa"``, the mean of those at the ends of the last epochs; see :mod:`danlu.engine.average`.
        average_decay: of ``"ema"``: the share of the average that each step keeps; None: it is of about the latest 3 % of all steps.
        average_start: of ``"swa"``: how many epochs come before the mean; none of them can be the best. None: three quarters of them.
        snapshots: at the ends of how many cycles of equal length the network is kept; they are then the members of one, an
            :class:`~danlu.nn.Ensemble`. Each cycle needs the whole course of the learning rate: :class:`danlu.optim.Restarts`.
        l1: coefficient of the penalty ‖θ‖₁ on weights.
        l2: coefficient of the squared penalty on weights.
        precision: what the network computes in while it is trained, ``"float32"`` or ``"bfloat16"``: half the memory
            traffic, and several times the speed where there are units for it; see :mod:`danlu.engine.precision`.
        devices: how many devices share the rows of each batch (``batch_size`` must be a multiple); see :mod:`danlu.engine.mesh`. On a CPU
            it pays where a step keeps only one core busy: recurrent networks, whose many small products come one after the other.
        sharding: where the parameters lie on several devices: ``"replicated"``, whole on each; ``"fsdp"``, divided among those that share
            rows; ``"tensor"``, each layer divided; see :mod:`danlu.engine.layout`.
        tensor: how many devices share each layer, and the same rows; None is all of them with ``"tensor"``, none with ``"fsdp"``.
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
    average: str = setting(default="none", choices=("none", *AVERAGES))
    average_decay: float | None = setting(default=None, minimum=0, below=1, optional=True)
    average_start: int | None = setting(default=None, minimum=0, integer=True, optional=True)
    snapshots: int = setting(default=1, minimum=1, integer=True)
    l1: float = setting(default=0.0, minimum=0)
    l2: float = setting(default=0.0, minimum=0)
    precision: str = setting(default="float32", choices=tuple(PRECISIONS))
    devices: int = setting(default=1, minimum=1, integer=True)
    sharding: str = setting(default="replicated", choices=SHARDINGS)
    tensor: int | None = setting(default=None, minimum=1, integer=True, optional=True)
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
        self._check_average()
        self._check_snapshots()
        _check_sharding(self.devices, self.sharding, self.tensor)

    @property
    def together(self) -> int:
        """How many devices share each layer."""
        return self.tensor or (self.devices if self.sharding == "tensor" else 1)

    @property
    def first_averaged(self) -> int:
        """The epoch (from 0) with which the mean of ``"swa"`` begins."""
        return self.epochs * 3 // 4 if self.average_start is None else self.average_start

    def _check_average(self) -> None:
        for name, kind in (("average_decay", "ema"), ("average_start", "swa")):
            if getattr(self, name) is not None and self.average != kind:
                raise ConfigError(
                    f"{name} is {getattr(self, name)}, and average is {self.average!r}; it is for average={kind!r}"
                )
        last = self.epochs - self.first_averaged
        if self.average == "swa" and last < 2:
            raise ConfigError(
                f"average is 'swa', and of {self.epochs} epochs {max(last, 0)} would be in the mean; expected 2 or more",
                hint="more epochs, or a smaller average_start; average='ema' takes each step in",
            )

    def _check_snapshots(self) -> None:
        if self.snapshots == 1:
            return
        if self.epochs % self.snapshots or not self.epochs:
            least = max(1, self.epochs // self.snapshots) * self.snapshots
            raise ConfigError(
                f"snapshots is {self.snapshots} and epochs is {self.epochs}; expected a multiple of it, for cycles of equal length",
                hint=f"epochs={least}, or {least + self.snapshots}",
            )
        if self.average == "swa":
            raise ConfigError(
                "there are snapshots and average='swa', and both are made of the weights at the ends of epochs; expected one of them",
                hint="average='ema' goes with snapshots",
            )
        if self.patience is not None:
            raise ConfigError(
                f"patience is {self.patience} and snapshots is {self.snapshots}; a training of snapshots goes through all cycles",
                hint="leave patience out",
            )
