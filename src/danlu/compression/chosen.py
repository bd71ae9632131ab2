"""The techniques that the options of ``danlu compress`` stand for, in the order in which they are done."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from danlu.compression.technique import Technique
from danlu.compression.techniques import (
    Distil,
    Gradual,
    LotteryTicket,
    LowRank,
    Magnitude,
    Movement,
    Quantize,
    Structured,
)
from danlu.errors import ConfigError, unknown_name

__all__ = ["HOW", "QUANTIZED", "chosen"]


HOW: Mapping[str, Callable[..., Technique]] = {
    "gradual": Gradual,
    "magnitude": Magnitude,
    "movement": Movement,
    "lottery": LotteryTicket,
}
"""The ways of ``--how``."""

QUANTIZED: Mapping[str, Quantize] = {
    "int8": Quantize(),
    "int8-dynamic": Quantize(activations="dynamic"),
    "int8-static": Quantize(activations="static"),
    "int4": Quantize(4),
}
"""What ``--quantize`` may name."""


def chosen(
    *,
    distil: str | None = None,
    structured: float | None = None,
    low_rank: float | None = None,
    prune: float | None = None,
    how: str | None = None,
    quantize: str | None = None,
    aware: int = 0,
    epochs: int | None = None,
) -> list[Technique]:
    """The techniques of the options; see ``danlu compress --help``.

    Raises:
        ConfigError: none, or a value that stands for nothing.
    """
    found: list[Technique] = []
    if distil is not None:
        found.append(Distil(distil, epochs=epochs))
    if structured is not None:
        found.append(Structured(structured, epochs=epochs))
    if low_rank is not None:
        found.append(LowRank(low_rank, epochs=epochs))
    if how is not None and how not in HOW:
        raise unknown_name("way of --prune", how, HOW)
    if how is not None and prune is None:
        raise ConfigError(f"--how {how} says how --prune does it; expected --prune with it", hint="--prune 0.8")
    if prune is not None:
        way = how or ("magnitude" if epochs == 0 else "gradual")
        found.append(HOW[way](prune, epochs=epochs))
    if quantize is not None:
        if epochs is not None and not found:
            raise ConfigError(
                f"--epochs {epochs} is of what comes before --quantize; received --quantize alone",
                hint=f"--aware {epochs} trains with rounded weights",
            )
        if quantize not in QUANTIZED:
            raise unknown_name("--quantize", quantize, QUANTIZED)
        found.append(QUANTIZED[quantize].replace(epochs=aware))
    elif aware:
        raise ConfigError(
            f"--aware {aware} trains with rounded weights; received it without --quantize",
            hint=f"--quantize int8 --aware {aware}",
        )
    if not found:
        raise ConfigError("danlu compress needs to be told what to do", hint="danlu compress RUN --prune 0.8")
    return found
