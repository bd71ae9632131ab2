"""The compression of a network that ``danlu.fit`` trained on arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from danlu.compression.bench import Bench
from danlu.compression.technique import Technique
from danlu.engine import FitOptions, Fitted
from danlu.engine.step import Program
from danlu.errors import ConfigError
from danlu.tasks.recipe import Recipe

__all__ = ["compress_fitted"]

_RATE = 1e-3
_EPOCHS = 10


def compress_fitted(
    fitted: Fitted,
    techniques: tuple[Technique, ...],
    data: Any,
    *,
    validation: Any = None,
    initial: tuple[Any, Any] | None = None,
    learning_rate: float = _RATE,
    seed: int = 0,
    display: str = "none",
) -> Fitted:
    """The network after techniques. It is trained on with its own loss and batch size, by AdamW on a warm-up and half a cosine.

    Args:
        fitted: the trained network.
        techniques: what is done, one after the other.
        data: ``(x, y)`` or ``(x, y, weight)``, which it learnt from.
        validation: rows of the same kind, which choose the best epochs.
        initial: the weights that the training began with, for a lottery ticket.
        learning_rate: the peak of a whole training; a network that is trained on takes a part of it.
        seed, display: see :class:`~danlu.engine.FitOptions`.

    Raises:
        ConfigError: the record of several networks or of an agent; no data.

    Example:
        >>> import danlu
        >>> from danlu.compression import Magnitude
        >>> x = np.linspace(-1, 1, 64, dtype=np.float32)[:, None]
        >>> fitted = danlu.fit(danlu.nn.MLP((16,), 1), x, x[:, 0] ** 2, loss="mse", epochs=2, display="none")
        >>> small = danlu.compress(fitted, Magnitude(0.5, epochs=1), data=(x, x[:, 0] ** 2))
        >>> int((small.params[0]["kernel"] == 0).sum() + (small.params[1]["kernel"] == 0).sum())
        16
    """
    program: Any = fitted.program
    if not isinstance(program, Program):
        raise ConfigError(f"this is the record of a training by {type(program).__name__}; expected that of one network")
    if not isinstance(data, tuple) or len(data) not in (2, 3):
        raise ConfigError(
            "compress needs the rows that the network learnt from", hint="danlu.compress(fitted, …, data=(x, y))"
        )
    for technique in techniques:
        if technique.whole:
            raise ConfigError(
                f"{type(technique).__name__} is for the model of a run; a network is taught by another loss"
            )
    epochs = len(fitted.history) or _EPOCHS
    options = FitOptions(seed=seed, display=display)
    choices: dict[str, Any] = {"batch_size": program.batch_size, "epochs": epochs, "learning_rate": learning_rate}
    plan = Recipe(model=program.model, loss="mse", **choices)
    bench = Bench.of(plan, (program.model, fitted.params, fitted.state), techniques)
    return bench.fit(
        data,
        rows=len(np.asarray(data[1])),
        seed=options.seed,
        initial=initial,
        loss=program.objective,
        metrics=(),
        augment=program.augment,
        validation=validation,
        display=options.display,
    )
