"""The monitored value of a training: which way a monitored value is better, and what to say when it stops getting so."""

from __future__ import annotations

from danlu.engine.loop import Steps
from danlu.errors import ConfigError, unknown_name

__all__ = ["sign_of", "stopped_early"]


def stopped_early(monitor: str, patience: int, best: int) -> str:
    """Why training stopped, in words."""
    found = f"the best was epoch {best + 1}" if best >= 0 else "it was never a finite number"
    return f"stopped early: {monitor} has not improved for {patience} epochs; {found}"


def sign_of(mode: str, monitor: str, program: Steps) -> float:
    """1 when a smaller value of ``monitor`` is better, −1 when a larger one is: what ``mode`` says, or what the measure declares.

    Raises:
        ConfigError: ``mode`` is ``"auto"``, and the measure does not say; or there is no such measure.
    """
    if mode not in ("auto", "min", "max"):
        raise unknown_name("mode", mode, ("auto", "min", "max"))
    found = program.direction(monitor) if mode == "auto" else mode
    if found is None:
        raise ConfigError(
            f"monitor is {monitor!r}, and whether smaller or larger values of it are better is not known",
            hint=f"say mode='min' or mode='max'; your own metric can declare it: {monitor.removeprefix('val_')}.direction = 'max'",
        )
    return -1.0 if found == "max" else 1.0
