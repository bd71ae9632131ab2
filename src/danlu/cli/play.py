"""The ``play`` command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from danlu.cli.options import Allow, Run
from danlu.errors import ConfigError

__all__ = ["play"]


def play(
    run: Run,
    episodes: Annotated[int, typer.Option(help="How many episodes.")] = 10,
    film: Annotated[Path | None, typer.Option(help="Write the first episode to this file as a GIF.")] = None,
    buffer: Annotated[
        Path | None,
        typer.Option(help="Record its transitions in this file, to train from it later (agent.data=FILE)."),
    ] = None,
    steps: Annotated[int, typer.Option(help="With --buffer: steps in each of 8 environments.")] = 1000,
    sampled: Annotated[bool, typer.Option("--sampled", help="Draw actions instead of taking the likeliest.")] = False,
    seed: Annotated[int, typer.Option(help="The same seed plays the same episodes.")] = 0,
    allow: Allow = None,
) -> None:
    """Let a trained agent play."""
    from danlu.pipeline import load_model

    model: Any = load_model(run, allow=allow or ())
    if not hasattr(model, "play"):
        raise ConfigError(f"{run} is a model for {model.purpose}; expected an agent (danlu train CartPole-v1)")
    for name, value in (("--episodes", episodes), ("--steps", steps)):
        if value < 1:
            raise ConfigError(f"{name} is {value}; expected 1 or more")
    print(model.account(episodes=episodes, seed=seed, greedy=not sampled))
    if buffer is not None:
        written = model.write_buffer(buffer, steps=steps, seed=seed, greedy=not sampled)
        print(f"\n{written:,} transitions written to {buffer}")
    target = film or run / "play.gif"
    recording = model.record(seed=seed, greedy=not sampled)
    if recording.frames or film is not None:
        recording.write_gif(target)
        print(f"\na film of one episode ({len(recording.rewards):,} steps, return {recording.score:.4g}): {target}")
