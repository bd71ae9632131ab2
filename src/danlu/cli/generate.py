"""The ``generate`` command."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from danlu.cli.options import Run
from danlu.cli.terminal import print_data
from danlu.errors import ConfigError

__all__ = ["generate"]


def generate(
    run: Run,
    prompt: Annotated[str, typer.Argument(help="How the text begins.")] = "",
    tokens: Annotated[int, typer.Option(help="The largest number of tokens to write.")] = 200,
    samples: Annotated[int, typer.Option(help="How many texts.")] = 1,
    temperature: Annotated[
        float, typer.Option(help="Above 1 more varied, below 1 safer; 0 always takes the likeliest token.")
    ] = 1.0,
    top_k: Annotated[int | None, typer.Option(help="Draw from the k likeliest tokens only.")] = None,
    top_p: Annotated[
        float | None,
        typer.Option(help="Draw from the likeliest tokens that together reach this probability."),
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed writes the same texts.")] = 0,
) -> None:
    """Write text with a trained language model."""
    from danlu.pipeline import load_model

    model: Any = load_model(run)
    if not hasattr(model, "generate"):
        raise ConfigError(f"{run} is a model for {model.purpose}; expected a language model (danlu train TEXT.txt)")
    options = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "seed": seed}
    texts = model.generate(prompt, length=tokens, samples=samples, **options)
    print_data("\n".join(texts) + "\n" if model.encoder.lines else "\n\n".join(texts) + "\n")
