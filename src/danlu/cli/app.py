"""The ``danlu`` command and its sub-commands."""

from __future__ import annotations

from typing import Annotated

import typer

from danlu.cli.attack import attack
from danlu.cli.audit import audit
from danlu.cli.card import card
from danlu.cli.compare import compare
from danlu.cli.compress import compress
from danlu.cli.evaluate import evaluate
from danlu.cli.explain import explain
from danlu.cli.export import export
from danlu.cli.federate import federate
from danlu.cli.generate import generate
from danlu.cli.launch import launch
from danlu.cli.monitor import monitor
from danlu.cli.names import Answering, AnsweringGroup, AnsweringTrain
from danlu.cli.package import package
from danlu.cli.play import play
from danlu.cli.predict import predict
from danlu.cli.recommend import recommend
from danlu.cli.replay import replay
from danlu.cli.report import report
from danlu.cli.runs import runs
from danlu.cli.sample import sample
from danlu.cli.scorecard import scorecard
from danlu.cli.serve import serve
from danlu.cli.show import show
from danlu.cli.sign import sign
from danlu.cli.similar import similar
from danlu.cli.slices import slices
from danlu.cli.stress import stress
from danlu.cli.teach import teach
from danlu.cli.train import train
from danlu.cli.tune import tune
from danlu.cli.verify import verify
from danlu.cli.xray import xray

__all__ = ["app"]

_EXAMPLES = """Most used:
danlu audit titanic.csv --target Survived
danlu train titanic.csv --target Survived
danlu predict runs/NAME new.csv -o answers.csv
danlu evaluate runs/NAME labelled.csv
danlu runs
danlu train titanic.csv --target Survived --dry-run"""

app = typer.Typer(
    name="danlu",
    cls=AnsweringGroup,
    help="Model training without the alchemy.",
    epilog=_EXAMPLES,
    add_completion=True,
    pretty_exceptions_enable=False,
)


def _version(asked: bool) -> None:
    if asked:
        from danlu import __version__

        print(f"danlu {__version__}")
        raise typer.Exit


def _language(asked: str | None) -> None:
    if asked is not None:
        from danlu.language import use

        use(asked)


@app.callback(invoke_without_command=True, epilog=_EXAMPLES)
def _root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    language: Annotated[
        str | None,
        typer.Option(
            "--language",
            callback=_language,
            is_eager=True,
            help="en or zh, with every command: messages and pages in English or Chinese; without it, as the locale says.",
        ),
    ] = None,
) -> None:
    """Model training without the alchemy."""
    if context.invoked_subcommand is None:
        print(context.get_help())


app.command(cls=AnsweringTrain)(train)
app.command(cls=AnsweringTrain)(tune)
app.command(cls=AnsweringTrain)(audit)
for command in (
    federate,
    predict,
    evaluate,
    export,
    compress,
    card,
    sign,
    compare,
    explain,
    scorecard,
    similar,
    teach,
    slices,
    stress,
    attack,
    runs,
    show,
    report,
    serve,
    generate,
    sample,
    recommend,
    play,
    launch,
    monitor,
    package,
    verify,
    xray,
    replay,
):
    app.command(cls=Answering)(command)
