"""The ``tune`` command."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from danlu.cli.names import OWN
from danlu.cli.options import Allow, TestData, is_setting, may_be_there, refuse_with
from danlu.cli.workers import Cpus, Gpus, On, WorkerCount, workers_of
from danlu.errors import ConfigError
from danlu.interrupt import exit_status
from danlu.prose import wrapped
from danlu.stages import showing, stage

if TYPE_CHECKING:
    from danlu.tuning import Tuned

__all__ = ["tune"]


def tune(
    context: typer.Context,
    source: Annotated[
        str | None,
        typer.Argument(
            help="A table, images, texts, sounds or sequences, or an environment, as of danlu train.",
            callback=may_be_there,
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Argument(
            help="Where to search: trainer.learning_rate=0.001..0.1 is a span, model.width=128,256 are choices, and "
            "model.depth=2 is not searched."
        ),
    ] = None,
    target: Annotated[str | None, typer.Option(help="The column to predict.")] = None,
    trials: Annotated[int | None, typer.Option(help="How many trials (50, or what fits in the minutes).")] = None,
    minutes: Annotated[float | None, typer.Option(help="When to begin no further batch of trials.")] = None,
    metric: Annotated[
        str | None, typer.Option(help="What is best: log_loss (of classes), rmse (of quantities), roc_auc, …")
    ] = None,
    storage: Annotated[
        str | None, typer.Option(help="A file or data base for the study, by which several processes share it.")
    ] = None,
    test: TestData = None,
    config: Annotated[Path | None, typer.Option(help="A config file (TOML or JSON).")] = None,
    name: Annotated[str | None, typer.Option(help="The run's name.")] = None,
    runs: Annotated[Path, typer.Option(help="The folder for runs.")] = Path("runs"),
    display: Annotated[str, typer.Option(help="auto, live, plain or none.")] = "auto",
    resume: Annotated[Path | None, typer.Option(help="Go on with this search, which was killed or stopped.")] = None,
    allow: Allow = None,
    on: On = None,
    workers: WorkerCount = None,
    cpus: Cpus = None,
    gpus: Gpus = None,
    find_lr: Annotated[
        bool, typer.Option("--find-lr", help="Only say at which learning rate the loss falls fastest.")
    ] = False,
    find_batch_size: Annotated[
        bool, typer.Option("--find-batch-size", help="Only say how fast each batch size is, and its memory.")
    ] = False,
) -> None:
    """Search for better settings: many networks trained in few programs, then one training with the best settings."""
    with showing(display):
        with stage("starting"):
            from danlu import pipeline, tuning
            from danlu.pipeline.space import read_places
            from danlu.rl.registry import modules_in
            from danlu.tuning.places import is_searchable
            from danlu.tuning.probe import probe
            from danlu.tuning.tune import BATCH, tune_from
        crew = workers_of(on, workers, cpus, gpus)
        if resume is not None:
            given = {
                "new data": source,
                "settings": settings,
                "--target": target,
                "--trials": trials,
                "--minutes": minutes,
                "--metric": metric,
                "--storage": storage,
                "--test": test,
                "--config": config,
                "--name": name,
                "--find-lr": find_lr,
                "--find-batch-size": find_batch_size,
                **dict.fromkeys(context.meta.get(OWN, {}), True),
            }
            refuse_with(given, "--resume goes on with a search and its own settings", "danlu tune --resume RUN")
            tuned = tuning.resume(resume, display=display, say=_say, allow=allow or (), workers=crew)
        else:
            if source is not None and is_setting(source):
                settings, source = [source, *(settings or [])], None
            values = pipeline.load_config(config) if config else {}
            if source is None and not values.get("data", {}).get("source"):
                raise ConfigError("danlu tune needs data", hint="danlu tune titanic.csv --target Survived")
            fixed, asked = read_places(settings or [], is_searchable)
            values = pipeline.override(values, fixed)
            data = {"source": source, "target": target, "test": test}
            values.setdefault("data", {}).update({name: value for name, value in data.items() if value is not None})
            settled = pipeline.config_from(pipeline.with_options(values, context.meta.get(OWN, {})))
            if find_lr or find_batch_size:
                if any((asked, trials, minutes, metric, storage, name, crew)):
                    raise ConfigError(
                        "a probe searches nothing; leave the spans, --trials, --minutes, --workers and the like out"
                    )
                probe(
                    settled,
                    settled.data.source,
                    rate=find_lr,
                    size=find_batch_size,
                    folder=runs,
                    display=display,
                    say=_say,
                )
                return
            tuned = tune_from(
                settled,
                asked=asked,
                trials=trials,
                minutes=minutes,
                metric=metric,
                storage=storage,
                batch=BATCH,
                root=runs,
                name=name,
                display=display,
                say=_say,
                allow=[*(allow or ()), *modules_in(source)],
                workers=crew,
            )
    _finished(tuned)


def _say(text: str) -> None:
    print(wrapped(text, indent="  "))


def _finished(tuned: Tuned) -> None:
    from rich.console import Console

    from danlu.evaluate import MEASURES
    from danlu.tuning.show import table_of

    run = str(tuned.run.path)
    if tuned.result is None:
        print(f"\nthe search was stopped; to go on with it: {shlex.join(('danlu', 'tune', '--resume', run))}")
        raise typer.Exit(exit_status(tuned.stopped_by))
    higher = tuned.metric in MEASURES and MEASURES[tuned.metric].higher_is_better
    print()
    Console(highlight=False).print(table_of(tuned.trials, tuned.metric, higher=higher, most=10))
    if tuned.importances:
        shares = ", ".join(f"{name} {share:.0%}" for name, share in tuned.importances.items())
        print("\n" + wrapped(f"what mattered: {shares}"))
    if tuned.judgement is not None:
        print(f"\n{tuned.judgement}")
    print(f"\nthe same training without the search:\n  {tuned.command}")
    steps = [f"look at {tuned.run.report_path}"] if tuned.run.report_path.exists() else []
    steps += [shlex.join(("danlu", *step)) for step in tuned.model.next_steps(run, tuned.result.source)]
    print(f"\nsaved in {run}; try next:")
    print("\n".join(f"  {step}" for step in steps))
    raise typer.Exit(exit_status(tuned.result.fitted.stopped_by))
