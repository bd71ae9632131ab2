"""The ``danlu`` command: its sub-commands, and the one place where errors become a message and an exit status."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from danlu.errors import ConfigError, DanluError

if TYPE_CHECKING:
    from danlu.pipeline import TrainResult

__all__ = ["app", "main"]

app = typer.Typer(
    name="danlu",
    help="Model training without the alchemy.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


Lenient = Annotated[bool, typer.Option("--lenient", help="Take unseen categories and odd values as unknown.")]


@app.callback()
def _root() -> None:
    """Model training without the alchemy."""


@app.command()
def train(
    source: Annotated[
        str | None,
        typer.Argument(
            help="A table (CSV, TSV, Parquet, Arrow, JSON lines, Excel), images (a folder with a folder a class, npz, "
            "idx files), images with boxes (a folder with annotations.json, or a CSV file,label,x0,y0,x1,y1) or masks "
            "(the folders images and masks), a text (.txt) to learn its language, the common beginning of two files of "
            "translations (with --translate), or an environment (CartPole-v1) to act in. Without one, an example is used."
        ),
    ] = None,
    settings: Annotated[list[str] | None, typer.Argument(help="Settings, such as trainer.epochs=20.")] = None,
    target: Annotated[str | None, typer.Option(help="The column to predict.")] = None,
    text: Annotated[str | None, typer.Option(help="The column of texts to learn from.")] = None,
    test: Annotated[str | None, typer.Option(help="A file of test rows.")] = None,
    forecast: Annotated[
        str | None, typer.Option(help="Columns of a time series to forecast: A, or A,B, or all.")
    ] = None,
    translate: Annotated[
        str | None, typer.Option(help="FROM:TO, such as en:de: two columns, or the endings of two files.")
    ] = None,
    horizon: Annotated[int | None, typer.Option(help="How many steps to forecast.")] = None,
    series: Annotated[
        str | None,
        typer.Option(help="The column that says what series a row belongs to; with --target, each has one label."),
    ] = None,
    time: Annotated[str | None, typer.Option(help="The column that orders the rows of a series.")] = None,
    config: Annotated[Path | None, typer.Option(help="A config file (TOML or JSON).")] = None,
    name: Annotated[str | None, typer.Option(help="The run's name.")] = None,
    runs: Annotated[Path, typer.Option(help="The folder for runs.")] = Path("runs"),
    display: Annotated[str, typer.Option(help="auto, live, plain or none.")] = "auto",
    resume: Annotated[Path | None, typer.Option(help="Go on with this run, which was killed or stopped.")] = None,
) -> None:
    """Train a model on a table, images, a text or translations, or an agent in an environment."""
    from danlu import pipeline
    from danlu.pipeline import example_table, load_config, override, train_from
    from danlu.pipeline.config import config_from

    if resume is not None:
        given = (source, settings, target, text, test, config, name, forecast, horizon, translate, series, time)
        if any(given):
            raise ConfigError("--resume goes on with a run as it was configured; expected no other settings with it")
        _finished(pipeline.resume(resume, display=display))
        return
    if source is not None and "=" in source and not Path(source).exists():
        settings, source = [source, *(settings or [])], None
    values = override(load_config(config) if config else {}, settings or [])
    data = values.setdefault("data", {})
    if source is None and not data.get("source"):
        source, target = example_table(), "diagnosis"
        print("no file was given: training on the breast-cancer table that comes with scikit-learn\n")
    for key, value in (("source", source), ("target", target), ("text", text), ("test", test)):
        if value is not None:
            data[key] = value
    if forecast is not None:
        values.setdefault("forecast", {})["columns"] = [name.strip() for name in forecast.split(",")]
    if translate is not None:
        first, _, second = (part.strip() for part in translate.partition(":"))
        if not first or not second:
            raise ConfigError(f"--translate is {translate!r}; expected FROM:TO, such as en:de")
        values.setdefault("translation", {}).update(source=first, target=second)
    if horizon is not None:
        values.setdefault("forecast", {})["horizon"] = horizon
    of = values.setdefault("forecast", {}) if values.get("forecast", {}).get("columns") else data
    of |= {key: value for key, value in (("series", series), ("time", time)) if value is not None}
    _finished(train_from(config_from(values), root=runs, name=name, display=display))


def _finished(result: TrainResult) -> None:
    parts = ", ".join(f"{count:,} {name}" for name, count in result.rows.items() if count)
    print(f"\n{parts} {result.unit}")
    if result.fitted.stopped_because:
        print(result.fitted.stopped_because)
    if result.judgement is not None:
        print(f"\n{result.judgement}")
    look = f"  look at {result.run.report_path}\n" if Path(result.run.report_path).exists() else ""
    print(
        f"\nsaved in {result.run.path} after {result.seconds:.0f} s; try next:\n{look}{result.model.next_steps(result.run.path)}"
    )
    if "Ctrl-C" in (result.fitted.stopped_because or ""):
        raise typer.Exit(130)  # as the shell's own: a script can tell a stopped run from a finished one


@app.command()
def evaluate(run: Path, source: str, lenient: Lenient = False) -> None:
    """Measure a trained run on a table that holds the target."""
    from danlu.pipeline import load

    print(load(run).evaluate(source, lenient=lenient))


@app.command()
def predict(
    run: Path,
    source: str,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The CSV file to write, or the folder for masks (default: print)."),
    ] = None,
    lenient: Lenient = False,
) -> None:
    """Predict with a trained run."""
    from danlu.pipeline import load

    model = load(run)
    if output is None:
        print(model.predict(source, lenient=lenient).write_csv(), end="")
    else:
        print(model.write(source, output, lenient=lenient))


@app.command()
def generate(
    run: Path,
    prompt: Annotated[str, typer.Argument(help="How the text begins.")] = "",
    tokens: Annotated[int, typer.Option(help="The most tokens to write.")] = 200,
    samples: Annotated[int, typer.Option(help="How many texts.")] = 1,
    temperature: Annotated[float, typer.Option(help="Above 1 bolder, below 1 safer; 0 takes the likeliest.")] = 1.0,
    top_k: Annotated[int | None, typer.Option(help="Draw from the k likeliest tokens only.")] = None,
    top_p: Annotated[float | None, typer.Option(help="Draw from the fewest that reach this probability.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed writes the same texts.")] = 0,
) -> None:
    """Write with a trained language model."""
    from danlu.pipeline import load
    from danlu.pipeline.language import Writer

    model = load(run)
    if not isinstance(model, Writer):
        raise ConfigError(f"{run} is a model for {model.purpose}; expected a language model (danlu train TEXT.txt)")
    options = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "seed": seed}
    texts = model.generate(prompt, length=tokens, samples=samples, **options)
    print("\n".join(texts) if model.predictor.lines else "\n\n".join(texts))


@app.command()
def play(
    run: Path,
    episodes: Annotated[int, typer.Option(help="How many episodes.")] = 10,
    film: Annotated[Path | None, typer.Option(help="Write the first episode to this file as a GIF.")] = None,
    buffer: Annotated[
        Path | None,
        typer.Option(help="Write what it does to this file, to learn from without acting (agent.data=FILE)."),
    ] = None,
    steps: Annotated[int, typer.Option(help="With --buffer: steps in each of 8 environments.")] = 1000,
    sampled: Annotated[bool, typer.Option("--sampled", help="Draw actions instead of taking the likeliest.")] = False,
    seed: Annotated[int, typer.Option(help="The same seed plays the same episodes.")] = 0,
) -> None:
    """Let a trained agent play."""
    from danlu.pipeline import load
    from danlu.pipeline.player import Player

    model = load(run)
    if not isinstance(model, Player):
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


@app.command()
def verify(
    pattern: Annotated[str | None, typer.Argument(help="Only the algorithms whose name holds this text.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write the table to this file as JSON too.")] = None,
) -> None:
    """Check every algorithm against independent oracles; the exit status is 1 when a row fails."""
    from danlu.verify import run_verify

    raise typer.Exit(run_verify(pattern, json_path=json))


def main() -> None:
    """Run the command line; an error made on purpose is one message on standard error and exit status 1."""
    try:
        app()
    except DanluError as error:
        print(f"danlu: {error}", file=sys.stderr)
        sys.exit(1)
    except BrokenPipeError:  # the reader of the output, such as ``head``, has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        print(f"danlu: {error.strerror or error}{where}; what was saved before is still there", file=sys.stderr)
        sys.exit(1)
