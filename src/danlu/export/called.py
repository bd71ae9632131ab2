"""Models that write, act or draw: their function as the bytes of a file that has been tried."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from danlu.errors import ConfigError
from danlu.evaluate.intervals import figure
from danlu.export.drawings import drawing
from danlu.export.functions import Function, in_jax, in_onnxruntime, onnx_of, stablehlo_of
from danlu.export.generators import generator
from danlu.export.policies import policy
from danlu.export.runtime import tolerance_of
from danlu.export.translators import translator
from danlu.export.written import Checked
from danlu.generative import Painting
from danlu.rl.acting import Acting
from danlu.tasks import BeamSearch, NextToken
from danlu.trained import Trained

__all__ = ["answers_rows", "function_of", "tried"]

_FUNCTIONS: dict[type, Callable[[Trained], Function]] = {
    Acting: policy,
    BeamSearch: translator,
    NextToken: generator,
    Painting: drawing,
}


def answers_rows(trained: Trained) -> bool:
    """Whether a file of the model answers rows: others write, act or draw."""
    return not isinstance(trained.head, tuple(_FUNCTIONS))


def function_of(trained: Trained) -> Function | None:
    """What a model that writes, acts or draws computes; None of others, which answer rows."""
    return next((made(trained) for head, made in _FUNCTIONS.items() if isinstance(trained.head, head)), None)


def tried(
    function: Function, trained: Trained, sources: Sequence[str], license: str, format: str
) -> tuple[bytes, Checked, tuple[str, ...]]:
    """A file's bytes, how it compared with danlu, and what it was tried on, in words.

    Args:
        sources: the data that the model learnt from, the test's first, where there is some.
        license: what the file says of its licence.
        format: ``"onnx"`` or ``"stablehlo"``.

    Raises:
        ConfigError: what cannot be written, or answers otherwise than danlu.
    """
    if format == "onnx":
        data = onnx_of(function, trained, license)
        run, where = in_onnxruntime(data), "onnxruntime"
    else:
        data = stablehlo_of(function)
        run, where = in_jax(data), "JAX"
    trials = list(function.tried(run, sources))
    numbers = [each.difference for each in trials if each.difference is not None]
    worst = max(numbers, default=0.0)
    allowed = tolerance_of(trained.network)
    if not worst <= allowed:
        raise ConfigError(
            f"the file's answers differ from danlu's by up to {worst:.2g}; at most {allowed:g} is allowed; nothing was written",
            hint="this is a fault of danlu; please report it with the run's config.json",
        )
    said = [each.said for each in trials]
    said += [f"in {where} no number differs by more than {figure(worst, 2)}"] if numbers else []
    return data, Checked(sum(each.rows for each in trials), worst), tuple(said)
