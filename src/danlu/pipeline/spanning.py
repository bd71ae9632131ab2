"""A training of several processes: its batches are shared by the devices of all, and what they cannot do together is refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from danlu import processes
from danlu.data.intake import is_pipe
from danlu.errors import ConfigError
from danlu.pipeline.config import TrainConfig
from danlu.pipeline.domain import Domain
from danlu.pipeline.used import uses
from danlu.trained import Say

__all__ = ["check_spanned", "quiet", "spanning", "with_batches"]

_ALONE = {
    "evaluate.folds": "the folds are trainings of their own: start each in a process of its own with evaluate.fold=1, 2, …",
    "trainer.minutes": "its rounds go by one clock, and their trees are of one process",
}
"""Settings that one process follows by itself, and what to do instead."""


def spanning(config: TrainConfig, say: Say, *, resumed: bool = False) -> TrainConfig:
    """The config with the devices of all processes, which share the rows of each batch.

    Args:
        resumed: whether the run has begun, maybe with other devices.

    Raises:
        ConfigError: a setting for one process alone; another number of devices; processes with different settings.
    """
    if not processes.is_joined():
        return config
    import jax

    given, total, number = config.trainer.devices, jax.device_count(), processes.count()
    if given not in (1, total):
        if not resumed:
            raise ConfigError(
                f"trainer.devices is {given}, and the {number} processes have {total} together, which share the rows of a batch",
                hint="leave trainer.devices out; danlu launch --devices-per-process says how many each has",
            )
        say(
            f"note: the run was trained on {given} devices, and goes on on {total}: its results are the same up to rounding"
        )
    if number > 1:
        if config.private.on:
            raise ConfigError(
                f"the training is private, and this is one of {number} processes, which would each draw rows and noise of their own",
                hint="train it without danlu launch; trainer.devices=2 shares the rows of a batch within one process",
            )
        for name, instead in _ALONE.items():
            if config.setting(name) is not None:
                raise ConfigError(
                    f"{name} is for one process, and this is one of {number}; {instead}",
                    hint="train it without danlu launch",
                )
        if config.track.tensorboard:
            raise ConfigError(
                f"track.tensorboard is {config.track.tensorboard!r}: what it draws is computed by one process, and this is one of {number}",
                hint="leave it out; TensorBoard has the numbers and the weights without it",
            )
    for name in ("source", "test"):
        given_file = getattr(config.data, name)
        if number > 1 and given_file is not None and is_pipe(given_file):
            raise ConfigError(
                f"data.{name} is the pipe {given_file}, which one process can read once, and there are {number}",
                hint="save it to a file first",
            )
    config = config.with_setting("trainer.devices", total)
    settings = config.as_dict()
    settings["data"] = {
        **settings["data"],
        "source": None,
        "test": None,
    }  # which each machine may have in another folder
    processes.same("the setting", settings)
    return config


def with_batches(config: TrainConfig, plan: Any) -> TrainConfig:
    """The config with the rows of a batch that its recipe chose for so many devices: the run keeps them when it goes on with others."""
    size = getattr(plan, "batch_size", None)
    if not processes.is_joined() or size is None or config.trainer.batch_size is not None:
        return config
    return config.with_setting("trainer.batch_size", size)


def check_spanned(domain: Domain, source: Any) -> None:
    """Refuse a kind of data that several processes cannot learn from together.

    Raises:
        ConfigError: see above.
    """
    number = processes.count()
    if number > 1 and not (uses(domain, "trainer.devices") and uses(domain, "trainer.batch_size")):
        raise ConfigError(
            f"{Path(str(source)).name} is {domain.noun}, which one process trains, and this is one of {number}",
            hint="start it without danlu launch; several seeds (agent.seeds) share the devices of one machine",
        )


def quiet(line: str) -> None:
    """What a process says that is not the first: nothing."""
