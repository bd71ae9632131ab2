"""Owners in processes of their own, through Flower: ``danlu federate --server`` and ``danlu federate --client``."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from danlu.artifact import RunDirectory
from danlu.data import InferredTask
from danlu.errors import ArtifactError, ConfigError, DanluError
from danlu.evaluate import Interval
from danlu.evaluate.judgement import Judgement, score_lines
from danlu.federated.certificates import Certificates
from danlu.federated.flower import serving, take_part
from danlu.federated.real import Lesson, Owner, Server
from danlu.federated.real.server import Link, Model
from danlu.federated.real.tables import Agreed, TableRows
from danlu.nn.losses import get_metric
from danlu.pipeline.config import TrainConfig
from danlu.pipeline.domains import DOMAINS
from danlu.pipeline.effort import Effort, environment
from danlu.pipeline.labelled import PreparedRows
from danlu.pipeline.record import report_of
from danlu.pipeline.rounds import check_fits, recipe_of_clients
from danlu.tasks import Recipe, plan_for
from danlu.trained import Say, Trained

__all__ = ["Served", "join_rounds", "serve_rounds"]

_MEASURED = {
    "regression": ("squared_error",),
    "binary": ("log_loss", "accuracy"),
    "multiclass": ("log_loss", "accuracy"),
}
_WHY = "each owner measures it on its own rows"


@dataclasses.dataclass(frozen=True, eq=False)
class Served:
    """The result of rounds with owners elsewhere.

    Attributes:
        run: where it is.
        model: the shared model.
        history: a row for each round.
        test: the means of what owners measured on rows that they held out.
        rows: of all owners, in each part.
    """

    run: RunDirectory
    model: Trained
    history: Sequence[Mapping[str, Any]]
    test: Mapping[str, float]
    rows: Mapping[str, int]

    def said(self) -> list[str]:
        """What the test says, line by line."""
        return score_lines("test", _scores(self.test))


def serve_rounds(
    config: TrainConfig,
    address: str,
    *,
    owners: int,
    secure: bool = False,
    threshold: int | None = None,
    wait: float = 600.0,
    seconds: float = 600.0,
    certificates: Certificates | None = None,
    root: str | Path = "runs",
    name: str | None = None,
    say: Say = print,
) -> Served:
    """Train one model with owners that come to ``address``; no row of theirs comes with them.

    Args:
        config: what to do; ``data.target``, ``data.drop`` and ``data.kinds`` are told to the owners, who read their own files.
        address: ``host:port`` to listen at.
        owners: how many to wait for.
        secure: whether the server sees sums of owners' vectors only (:mod:`danlu.federated.secure`).
        threshold: how many must answer in a round; see :class:`~danlu.federated.real.Server`.
        wait: seconds to wait for owners, at the beginning and when too few are there.
        seconds: an owner that takes longer to answer is lost.
        certificates: the authority's and the server's certificates and the server's key, to encrypt with.
        root, name: of the run.
        say: called with each line for the user.

    Raises:
        DanluError: what does not go together; one clear message.
    """
    _check(config, owners)
    _check_place(Path(root), name)
    with serving(address, say, seconds=seconds, certificates=certificates) as link:
        kind = "encrypted" if certificates else "not encrypted (--tls-cert encrypts)"
        say(
            f"listening at {address}, {kind}; waiting for {owners} owners: danlu federate --client DATA --server {address}"
        )
        return serve_link(
            config, link, owners, secure=secure, threshold=threshold, wait=wait, root=root, name=name, say=say
        )


def serve_link(
    config: TrainConfig, link: Link, owners: int, *, root: str | Path, name: str | None, say: Say, **how: Any
) -> Served:
    """The same over any link to the owners."""
    begun = Effort()
    server = Server(link, owners, seed=config.trainer.seed, say=say, **how)
    try:
        server.gather()
        agreed = server.agree(
            str(config.data.target),
            validation=config.split.validation,
            test=config.tested_share,
            drop=list(config.data.drop),
            kinds=dict(config.data.kinds),
        )
        say(str(agreed.schema))
        encoder, target, sample = server.encoder(agreed)
        rows = sum(parts["train"] for parts in server.parts.values())
        plan = plan_for(encoder, target, rows, **config.decided("members", "width", "depth", "dropout", "loss"))
        lesson = _lesson(config, recipe_of_clients(config, plan), target.task)
        run = RunDirectory.create(
            root,
            name=name,
            dataset=f"{config.data.target}-federated",
            config=config.as_dict(),
            files={"source.json": {}},
        )
        say(f"run: {run.path}")
        with run.locked():
            found = server.train(
                Model.begun(lesson, encoder, target, sample),
                per_round=config.federated.per_round,
                on_round=lambda row, params, state: _told(run, row, lesson.rounds, say),
            )
            served = _recorded(run, config, server, agreed, found, begun)
        server.finish(f"{lesson.rounds} rounds are over; the server has the model")
    except DanluError as error:
        server.dismiss(error)
        raise
    return served


def join_rounds(
    source: str,
    address: str,
    *,
    name: str | None = None,
    secure: bool = False,
    wait: float = 600.0,
    authority: Path | None = None,
    say: Say = print,
) -> str:
    """Take part with a table of one's own in rounds that a server asks for; what it said at the end.

    Args:
        source: a file, which is read here; none of its rows is sent.
        address: ``host:port`` of the server.
        name: what the server calls this owner; its file's by default.
        secure: whether to give masked vectors only.
        wait: seconds to try for where no server answers.
        authority: the certificate by which the server's is checked; None does not encrypt.
        say: called with each line for the user.

    Raises:
        DanluError: what the server, or this owner's table, does not allow; one clear message.
    """

    def rows(asked: Mapping[str, Any]) -> TableRows:
        return TableRows(source, str(asked["target"]), drop=asked.get("drop", ()), kinds=asked.get("kinds"))

    owner = Owner(name or Path(source).stem, rows, secure=secure, say=say)
    said = f"taking part as {owner.name} at {address}"
    say(said if authority else f"{said}, not encrypted (--tls-ca encrypts)")
    return take_part(owner, address, wait=wait, authority=authority)


def _check(config: TrainConfig, owners: int) -> None:
    if not config.data.target:
        raise ConfigError("no target was named; the owners are asked for it", hint="--target COLUMN")
    if config.data.source:
        raise ConfigError(
            f"the server was given the data {config.data.source!r}; expected none: each owner reads its own",
            hint="danlu federate --client DATA --server HOST:PORT where the data is",
        )
    per_round = config.federated.per_round
    if owners < 1 or (per_round is not None and per_round > owners):
        raise ConfigError(
            f"there are {owners} owners, and {per_round or 1} take part in a round; expected at least as many owners"
        )
    for wrong, said in {
        "federated.personal_epochs": config.federated.personal_epochs,
        "federated.own": config.federated.own,
        "federated.lost": config.federated.lost,
        "federated.secure": config.federated.secure,
        "data.test": config.data.test,
    }.items():
        if said:
            raise ConfigError(
                f"{wrong} is {said}, which is for simulations; owners hold their own rows out", hint="leave it out"
            )
    if config.private.on:
        raise ConfigError(
            "private rows are for simulations; between processes nothing hides single rows yet",
            hint="leave private out",
        )
    check_fits(config)


def _check_place(root: Path, name: str | None) -> None:
    """Refuse a folder that the run cannot be made in, before owners come.

    Raises:
        ConfigError: a run of the name is there.
        ArtifactError: the folder cannot be written to.
    """
    RunDirectory.next_path(root, name=name)
    there = next(folder for folder in (root, *root.absolute().parents) if folder.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        what = "it cannot be written to" if there.is_dir() else f"{there} is not a folder"
        raise ArtifactError(f"cannot make runs in {root}: {what}", hint="name another folder: --runs")


def _lesson(config: TrainConfig, plan: Recipe, task: str) -> Lesson:
    asked, chosen = config.federated, "sgd" if config.federated.method == "scaffold" else "adamw"
    optimizer = asked.optimizer or chosen
    rate = plan.learning_rate if config.trainer.learning_rate is not None or optimizer == "adamw" else 0.05
    for name in (metrics := _MEASURED[task]):
        get_metric(name)
    return Lesson(
        plan,
        metrics,
        rounds=asked.rounds,
        method=asked.chosen,
        local_epochs=asked.local_epochs,
        local_steps=asked.local_steps,
        optimizer=optimizer,
        learning_rate=rate,
        schedule=asked.schedule,
        seed=config.trainer.seed,
    )


def _told(run: RunDirectory, row: dict[str, Any], rounds: int, say: Say) -> None:
    run.append_metrics(row)
    measured = ", ".join(
        f"{name} {value:.4g}" for name, value in row.items() if isinstance(value, float) and name != "seconds"
    )
    say(f"round {row['epoch'] + 1} of {rounds}: {row['clients']} owners, {measured}, {row['seconds']:.1f} s")


def _recorded(
    run: RunDirectory, config: TrainConfig, server: Server, agreed: Agreed, found: Model, begun: Effort
) -> Served:
    """Save the model, the record and the report."""
    domain = next(each for each in DOMAINS if each.kind == "table")
    split = f"each of {len(server.names)} owners held out rows of its own: {', '.join(server.names)}"
    provenance = {"rows": dict(found.rows), "source": split, "split": split, "seed": config.trainer.seed}
    head = config.answers.head(found.target)
    test = {name: value for name, value in found.test.items() if name != "loss"}
    model = Trained(
        found.lesson.recipe.model,
        found.params,
        found.state,
        found.encoder,
        head,
        domain,
        metrics=test,
        provenance=provenance,
    )
    model.save(run.artifact_path)
    compute = begun.as_dict()
    record: dict[str, Any] = {
        "test": test,
        "no_interval": dict.fromkeys(test, _WHY),
        "rows": dict(found.rows),
        "owners": {name: dict(parts) for name, parts in server.parts.items()},
        "secure": server.secure,
        "epochs": len(found.history),
        "split": split,
        "seed": config.trainer.seed,
        "seconds": compute["seconds"],
        "compute": compute,
        "environment": environment(),
    }
    run.write_json("results.json", record)
    if config.evaluate.report:
        prepared = PreparedRows(
            schema=agreed.schema,
            inferred=InferredTask(found.target.task, split),
            target=found.target,
            encoder=found.encoder,
            train=None,
            validation=None,
            test=None,
            rows=dict(found.rows),
            split=split,
        )
        report_of(run, config, domain, prepared, model, Judgement(_scores(test)), record, found.history)
    return Served(run, model, found.history, test, found.rows)


def _scores(test: Mapping[str, float]) -> dict[str, Interval]:
    nan = float("nan")
    return {name: Interval(value, nan, nan, why=_WHY) for name, value in test.items()}
