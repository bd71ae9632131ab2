"""The ``train`` command."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from danlu import processes
from danlu.cli.names import OWN
from danlu.cli.options import Allow, TestData, is_setting, may_be_there, refuse_with
from danlu.cli.part import check_by_itself, taking_part
from danlu.cli.workers import Cpus, Gpus, On, WorkerCount, train_there, workers_of
from danlu.errors import ConfigError
from danlu.interrupt import exit_status
from danlu.prose import wrapped
from danlu.stages import showing, stage

if TYPE_CHECKING:
    from danlu.pipeline import CrossValidation, TrainResult

__all__ = ["finished", "spoken", "train"]


def train(
    context: typer.Context,
    source: Annotated[
        str | None,
        typer.Argument(
            help="A table (CSV, TSV, Parquet, Arrow, JSON lines, Excel); images, sounds or texts (one folder per class, or npz "
            "and idx files); images with boxes (a folder with annotations.json, or a CSV file,label,x0,y0,x1,y1) or masks (the "
            "folders images and masks); a text (.txt) for a language model; the common beginning of two files of translations "
            "(with --translate); or an environment (CartPole-v1) to act in. Without a source, an example table is used.",
            callback=may_be_there,
        ),
    ] = None,
    settings: Annotated[list[str] | None, typer.Argument(help="Settings, such as trainer.epochs=20.")] = None,
    target: Annotated[str | None, typer.Option(help="The column to predict.")] = None,
    test: TestData = None,
    folds: Annotated[
        int | None,
        typer.Option(help="Test every row once, by that many trainings that each leave a part of the rows out."),
    ] = None,
    repeats: Annotated[int | None, typer.Option(help="Divide the rows into folds so many times.")] = None,
    ensemble: Annotated[
        int | None,
        typer.Option(help="Train so many networks from different seeds; their disagreement comes with each answer."),
    ] = None,
    private: Annotated[
        str | None,
        typer.Option(
            help="Train with differential privacy: epsilon=3,delta=1e-5; also noise=1.1 instead of epsilon, clip=, sampling=."
        ),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            help="Settings under one name, printed in full; your own come first: risk, fraud (of tables of two classes)."
        ),
    ] = None,
    config: Annotated[Path | None, typer.Option(help="A config file (TOML or JSON).")] = None,
    name: Annotated[str | None, typer.Option(help="The run's name.")] = None,
    runs: Annotated[Path, typer.Option(help="The folder for runs.")] = Path("runs"),
    display: Annotated[str, typer.Option(help="auto, live, plain or none.")] = "auto",
    resume: Annotated[Path | None, typer.Option(help="Continue this run, which was killed or stopped.")] = None,
    begin_with: Annotated[
        Path | None,
        typer.Option(
            "--from",
            help="Go on from this run's model with the new rows of the source, or in an environment with its policy; of a table "
            "with pictures, recordings or texts COLUMN=RUN begins the column's tower with the run's. The run stays as it is.",
        ),
    ] = None,
    replay: Annotated[
        float | None,
        typer.Option(
            help="With --from: the share of that run's training rows to learn along, against forgetting (default 1)."
        ),
    ] = None,
    allow: Allow = None,
    on: On = None,
    workers: WorkerCount = None,
    cpus: Cpus = None,
    gpus: Gpus = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the plan, its time and its memory, without training.")
    ] = False,
) -> None:
    """Train a model on a table, images, sounds, texts, time series or translations, or an agent in an environment."""
    with taking_part(display) as display, showing(display):
        with stage("starting"):
            from danlu import pipeline
            from danlu.rl.registry import is_environment, modules_in
        if replay is not None and begin_with is None:
            raise ConfigError("--replay is for --from; expected a run to go on from with it")
        if begin_with is not None and "=" in str(begin_with) and not begin_with.exists() and resume is None:
            settings, begin_with = [*_towers(str(begin_with)), *(settings or [])], None
        if begin_with is not None and is_environment(source) and replay is None and resume is None:
            settings, begin_with = [f"agent.policy={begin_with.absolute()}", *(settings or [])], None
        crew = workers_of(on, workers, cpus, gpus)
        if crew is not None and (begin_with is not None or dry_run):
            option = "--dry-run" if dry_run else "--from"
            raise ConfigError(f"{option} is done by one process; expected no --on or --workers with it")
        result: TrainResult | CrossValidation
        others = {
            "--target": target,
            "--test": test,
            "--folds": folds,
            "--repeats": repeats,
            "--ensemble": ensemble,
            "--private": private,
            "--config": config,
            "--dry-run": dry_run,
            **dict.fromkeys(context.meta.get(OWN, {}), True),
        }
        if begin_with is not None and resume is None:
            if source is None:
                raise ConfigError(
                    "--from goes on from a run with new rows; expected a file or a folder with them",
                    hint="danlu train --from RUN new.csv",
                )
            refuse_with(
                {**others, "--allow": allow},
                "--from goes on from a run with its own columns, network and settings",
                "leave it out; a setting such as trainer.epochs=5 may be given",
            )
            check_by_itself("--from")
            result = pipeline.train_on(
                begin_with,
                source,
                settings=pipeline.override({}, settings or []),
                replay=1.0 if replay is None else replay,
                root=runs,
                name=name,
                display=display,
                say=spoken,
            )
        elif resume is not None:
            more = {"--from": begin_with, "new data": source, "settings": settings, **others, "--name": name}
            refuse_with(more, "--resume continues a run with its own data and settings", "danlu train --resume RUN")
            if crew is not None and crew.on_ray and not pipeline.is_crossed(resume):
                raise typer.Exit(train_there(crew, source=None, name=None, runs=runs, resume=resume))
            result = pipeline.resume(resume, display=display, allow=allow or (), say=spoken, workers=crew)
        else:
            if source is not None and is_setting(source):
                settings, source = [source, *(settings or [])], None
            allow = [*(allow or ()), *modules_in(source)]  # who writes a module's name means it
            own = [] if private is None else pipeline.private_from(private)
            values = pipeline.override(pipeline.load_config(config) if config else {}, [*own, *(settings or [])])
            if source is None and not values.get("data", {}).get("source"):
                source, target = pipeline.example_table(), "diagnosis"
                print("no file was given: training on the breast-cancer table that comes with scikit-learn\n")
            named = {"source": source, "target": target, "test": test}
            values.setdefault("data", {}).update({name: value for name, value in named.items() if value is not None})
            tested = {"folds": folds, "repeats": repeats}
            values.setdefault("evaluate", {}).update(
                {name: value for name, value in tested.items() if value is not None}
            )
            if ensemble is not None:
                values.setdefault("model", {})["ensemble"] = ensemble
            values = pipeline.with_options(values, context.meta.get(OWN, {}))
            if preset is not None:
                values, told = pipeline.preset(preset, values)
                for line in told:
                    spoken(line)
            settled = pipeline.config_from(values)
            if dry_run:
                check_by_itself("--dry-run")
                rehearsed = pipeline.rehearse(settled, display=display, allow=allow, say=spoken)
                print()
                spoken(str(rehearsed))
                return
            if crew is not None and crew.on_ray and not pipeline.crosses(settled):
                raise typer.Exit(train_there(crew, source=settled.data.source, name=name, runs=runs, resume=None))
            result = pipeline.train_from(
                settled, root=runs, name=name, display=display, allow=allow, say=spoken, workers=crew
            )
        first = processes.is_first()
    if first:
        finished(result)
    raise typer.Exit(exit_status(result.stopped_by))  # a script can tell a stopped run from a finished one


def _towers(text: str) -> list[str]:
    """The setting for what stands after ``--from`` of a table with pictures, recordings or texts: ``photo=runs/a,note=runs/b``."""
    found = {}
    for each in text.split(","):
        column, equals, run = (part.strip() for part in each.partition("="))
        if not (column and equals and run):
            raise ConfigError(f"--from is {text!r}; expected a run, or COLUMN=RUN, with commas between several")
        found[column] = run
    return [f"tower.begin={json.dumps(found)}"]


def spoken(text: str) -> None:
    """Print a line for the user."""
    print(wrapped(text, indent="  "))


def finished(result: TrainResult | CrossValidation) -> None:
    """Print what a training brought, and what to try next."""
    parts = ", ".join(f"{count:,} {name}" for name, count in result.rows.items() if count)
    print(f"\n{parts} {result.unit}")
    print("\n".join(result.said()))
    run = str(result.run.path)
    steps = [f"look at {result.run.report_path}"] if Path(result.run.report_path).exists() else []
    steps += [shlex.join(("danlu", *step)) for step in (*result.model.next_steps(run, result.source), ("show", run))]
    print(f"\nsaved in {run} after {result.seconds:.0f} s; try next:")
    print("\n".join(f"  {step}" for step in steps))
