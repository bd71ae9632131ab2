"""The ``federate`` command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from danlu.cli.options import TestData, is_setting, may_be_there, refuse_with
from danlu.cli.owners import Elsewhere
from danlu.cli.train import finished, spoken
from danlu.errors import ConfigError
from danlu.interrupt import exit_status
from danlu.stages import showing, stage

__all__ = ["federate"]


def federate(
    source: Annotated[
        str | None,
        typer.Argument(
            help="A table whose column --by says whose a row is, a folder with a table of each client, or data of any kind with labels "
            "and --clients.",
            callback=may_be_there,
        ),
    ] = None,
    settings: Annotated[list[str] | None, typer.Argument(help="Settings, such as model.width=64.")] = None,
    target: Annotated[str | None, typer.Option(help="The column to predict.")] = None,
    by: Annotated[str | None, typer.Option(help="The column that says whose a row is: hospital, phone, shop.")] = None,
    clients: Annotated[
        int | None, typer.Option(help="Divide the rows among so many simulated clients instead.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="How: even, dirichlet, classes or quantity.")] = None,
    alpha: Annotated[float | None, typer.Option(help="Of a Dirichlet split: the smaller, the less even.")] = None,
    classes: Annotated[int | None, typer.Option(help="Of a split by classes: pieces of one class a client.")] = None,
    rounds: Annotated[int | None, typer.Option(help="How many rounds.")] = None,
    clients_per_round: Annotated[int | None, typer.Option(help="How many clients take part in a round.")] = None,
    local_epochs: Annotated[
        int | None, typer.Option(help="How often a client goes through its rows in a round.")
    ] = None,
    local_steps: Annotated[int | None, typer.Option(help="How many steps a client takes in a round instead.")] = None,
    method: Annotated[
        str | None, typer.Option(help="fedavg, fedprox, fedadam, fedyogi, fedadagrad, scaffold or fedrep.")
    ] = None,
    mu: Annotated[float | None, typer.Option(help="Of fedprox: how strongly clients are pulled back.")] = None,
    server_rate: Annotated[float | None, typer.Option(help="The learning rate of the server.")] = None,
    own: Annotated[
        str | None,
        typer.Option(
            help="What stays with each client: head (the last layer), norms (batch norms), or paths with commas."
        ),
    ] = None,
    personal_epochs: Annotated[
        int | None, typer.Option(help="Epochs for which each client trains the shared model further for itself.")
    ] = None,
    private: Annotated[
        str | None,
        typer.Option(
            help="Hide each row within its client: each adds noise and keeps a ledger; epsilon=3, or with commas delta=1e-5."
        ),
    ] = None,
    noise: Annotated[
        float | None,
        typer.Option(help="Hide each client, with all its rows: noise in so many times the largest change."),
    ] = None,
    lost: Annotated[
        float | None, typer.Option(help="The share of a round's clients that fall silent before their change arrives.")
    ] = None,
    test: TestData = None,
    config: Annotated[Path | None, typer.Option(help="A config file (TOML or JSON).")] = None,
    name: Annotated[str | None, typer.Option(help="The run's name.")] = None,
    runs: Annotated[Path, typer.Option(help="The folder for runs.")] = Path("runs"),
    display: Annotated[str, typer.Option(help="auto, live, plain or none.")] = "auto",
    resume: Annotated[Path | None, typer.Option(help="Continue this run, which was killed or stopped.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the plan, its time and its memory, without training.")
    ] = False,
    server: Annotated[
        str | None,
        typer.Option(help="No simulation: wait at this HOST:PORT for owners of data; with --client, go to it."),
    ] = None,
    client: Annotated[
        str | None,
        typer.Option(help="Take part with this table in the rounds of --server; no row of it is sent."),
    ] = None,
    owners: Annotated[int | None, typer.Option(help="How many owners the server waits for.")] = None,
    secure: Annotated[
        bool, typer.Option("--secure", help="The server sees sums of what clients send, and of no client what it sent.")
    ] = False,
    threshold: Annotated[int | None, typer.Option(help="How many owners must answer in a round.")] = None,
    wait: Annotated[float | None, typer.Option(help="Seconds to wait for owners, or for the server.")] = None,
    tls_cert: Annotated[Path | None, typer.Option(help="The server's certificate (PEM), to encrypt with.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="The server's private key (PEM).")] = None,
    tls_ca: Annotated[
        Path | None, typer.Option(help="The certificate of who signed the server's, by which owners know it.")
    ] = None,
) -> None:
    """Train one model by many clients, none of which gives its rows away: in simulation, or between processes (--server, --client)."""
    named = {
        "by": by,
        "clients": clients,
        "split": split,
        "alpha": alpha,
        "classes": classes,
        "rounds": rounds,
        "per_round": clients_per_round,
        "local_epochs": local_epochs,
        "local_steps": local_steps,
        "method": method,
        "proximal": mu,
        "server_rate": server_rate,
        "own": None if own is None else [each.strip() for each in own.split(",") if each.strip()],
        "personal_epochs": personal_epochs,
        "noise": noise,
        "lost": lost,
        "secure": (secure and server is None) or None,
    }
    chosen = {key: value for key, value in named.items() if value is not None}
    if source is not None and is_setting(source):
        settings, source = [source, *(settings or [])], None
    elsewhere = Elsewhere(server, client, owners, secure, threshold, wait, tls_cert, tls_key, tls_ca)
    if dry_run and (server is not None or resume is not None):
        raise ConfigError(
            f"--dry-run shows the plan of a simulation, and {'--server' if server is not None else '--resume'} was given; "
            "expected one of them"
        )
    if server is None:
        elsewhere.check_simulated()
    elif client is not None:
        elsewhere.join(name, others=any((source, settings, target, test, config, resume, chosen, private)))
        return
    with showing(display):
        with stage("starting"):
            from danlu import pipeline
            from danlu.pipeline.joined import FILE, files_of_clients
        if resume is not None:
            others = {
                "new data": source,
                "settings": settings,
                "--target": target,
                "--test": test,
                "--config": config,
                "--name": name,
                "--private": private,
                "options of the federation": chosen,
            }
            refuse_with(
                others, "--resume continues a run with its own data and settings", "danlu federate --resume RUN"
            )
            _ended(pipeline.resume(resume, display=display, say=spoken))
        hidden = [] if private is None else pipeline.private_from(private)
        values: dict[str, Any] = pipeline.override(
            pipeline.load_config(config) if config else {}, [*(settings or []), *hidden]
        )
        data: dict[str, Any] = values.setdefault("data", {})
        given: dict[str, Any] = values.setdefault("federated", {})
        data.update({key: each for key, each in (("source", source), ("target", target), ("test", test)) if each})
        given.update(chosen)
        if server is not None:
            elsewhere.serve(values, runs=runs, name=name)
            return
        if not data.get("source"):
            raise ConfigError("danlu federate needs data", hint="danlu federate hospitals.csv --target y --by hospital")
        if not {"by", "clients"} & set(given):
            if not files_of_clients(data["source"]):
                raise ConfigError(
                    "it is not said whose rows are whose",
                    hint="--by COLUMN names the column that says it; --clients 10 simulates clients",
                )
            given["by"] = FILE
        settled = pipeline.config_from(values)
        if dry_run:
            spoken(f"\n{pipeline.rehearse(settled, display=display, say=spoken)}")
            return
        _ended(pipeline.train_from(settled, root=runs, name=name, display=display, say=spoken))


def _ended(result: Any) -> NoReturn:
    """Print what a training brought, and end with its status."""
    finished(result)
    raise typer.Exit(exit_status(result.stopped_by))
