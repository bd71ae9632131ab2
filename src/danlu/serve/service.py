"""The models of a service, and how each request is asked of one."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import datetime
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import polars as pl
from fastapi import HTTPException

from danlu.errors import ConfigError, DanluError, first_line, unknown_name
from danlu.prose import wrapped
from danlu.serve.batcher import Batcher
from danlu.serve.bodies import File, lines_of
from danlu.serve.journal import Journal
from danlu.serve.metrics import Metrics
from danlu.serve.options import ServeOptions
from danlu.serve.records import as_records
from danlu.serve.together import respond_together
from danlu.serve.versions import Line, Served, Version
from danlu.trained import Trained
from danlu.trained.answers import plain_times
from danlu.watch.alert import alert

__all__ = ["Asked", "Service"]


@dataclasses.dataclass
class Asked:
    """What is known of a request while it is answered: what the audit and the counters say of it, which is nothing of its data.

    Attributes:
        id: of the request, as the caller gave it (``X-Request-Id``) or a new one.
        model, version: that answered it; empty before one is chosen.
        rows: how many it brought.
    """

    id: str
    model: str = ""
    version: str = ""
    rows: int = 0


class Service:
    """The models by their names, with what they share: threads, counters, logs.

    Args:
        models: folders of runs or saved models, or models, by their names.
        canaries: for some names, the folder or model that answers a share of the requests, and that share.
        allow: modules that an agent's environment may import.

    Raises:
        ConfigError: no model, a canary of no model, or a log that cannot be written.
        DanluError: a model that cannot be loaded.
    """

    def __init__(
        self,
        models: Mapping[str, Trained | str | Path],
        options: ServeOptions,
        *,
        canaries: Mapping[str, tuple[Trained | str | Path, float]] | None = None,
        allow: Sequence[str] = (),
    ) -> None:
        if not models:
            raise ConfigError("there is no model to serve", hint="danlu serve RUN, or danlu serve NAME=RUN NAME=RUN")
        self.options, self.metrics = options, Metrics()
        self.audit, self.inputs = Journal(options.audit), Journal(options.log_inputs)
        self.models: dict[str, Served] = {}
        for name, source in models.items():
            canary, share = (canaries or {}).get(name, (None, 0.0))
            make = self._queue_of(name)
            other = None if canary is None else Line(canary, make, allow)
            self.models[name] = Served(name, Line(source, make, allow), other, share)
        for name in canaries or {}:
            if name not in self.models:
                raise unknown_name("model of a canary", name, self.models)
        for served in self.models.values():
            for line in served.lines:
                line.load()
        self._aside = ThreadPoolExecutor(1, "danlu-loading")  # of versions; files are answered by threads of their own
        self._files = ThreadPoolExecutor(2, "danlu-files")
        self._watcher: asyncio.Task[None] | None = None
        self._alarm: asyncio.Task[None] | None = None
        self.ready = False

    # Its life.

    async def start(self) -> None:
        """Begin to look after the models' files."""
        if self.options.watch > 0:
            self._watcher = asyncio.create_task(self._watch())
        if self.options.alert is not None:
            self._alarm = asyncio.create_task(self._look())
        self.ready = True

    async def stop(self) -> None:
        """Answer what was accepted, then let go of everything."""
        self.ready = False
        for task in (self._watcher, self._alarm):
            if task is not None:
                task.cancel()
        for served in self.models.values():
            for version in served.versions:
                await version.batcher.close()
        self._aside.shutdown(wait=False)
        self._files.shutdown(wait=False)
        self.audit.close()
        self.inputs.close()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self.options.watch)
            for served in self.models.values():
                with contextlib.suppress(DanluError):  # it was said; the version before goes on
                    await self.reload(served)

    async def _look(self) -> None:
        """Tell who is to be told what has drifted, each thing once a version."""
        loop, said = asyncio.get_running_loop(), set[tuple[str, str]]()
        while True:
            await asyncio.sleep(self.options.alert_every)
            for served in self.models.values():
                for version in served.versions:
                    found = await loop.run_in_executor(self._files, version.recent.drift)
                    for each in found:
                        self.metrics.drift.labels(served.name, each.name).set(each.psi)
                    new = [each for each in found if each.sure and (version.name, each.name) not in said]
                    if not new:
                        continue
                    told = {"model": served.name, "version": version.name, "rows": len(version.recent)}
                    whole = {**told, "drift": [each.as_dict() for each in new]}
                    try:
                        _say(await loop.run_in_executor(self._files, alert, str(self.options.alert), whole))
                        said |= {(version.name, each.name) for each in new}  # else it is told at the next look
                    except DanluError as error:
                        _say(first_line(error))

    async def reload(self, served: Served) -> bool:
        """Take the versions that are in the model's folders now; whether there were any.

        Raises:
            DanluError: what is there cannot be loaded; the version before goes on.
        """
        renewed = False
        for line in served.lines:
            if not line.has_changed:
                continue
            try:
                renewed |= await line.renew(self._aside)
            except DanluError as error:
                self.metrics.reloads.labels(served.name, "refused").inc()
                line.settle()
                _say(f"the new version of {served.name!r} is not taken, the one before goes on: {first_line(error)}")
                raise
        if renewed:
            self.metrics.reloads.labels(served.name, "taken").inc()
            _say(f"{served.name!r} is now at version {', '.join(each.name for each in served.versions)}")
        return renewed

    async def reload_all(self) -> None:
        """:meth:`reload` of each model; errors are said."""
        for served in self.models.values():
            with contextlib.suppress(DanluError):
                await self.reload(served)

    def _queue_of(self, name: str) -> Any:
        options, batch = self.options, self.metrics.batch.labels(name)

        def make(trained: Trained) -> Batcher:
            batcher = Batcher(
                lambda requests: respond_together(trained, requests),
                rows=options.batch_rows,
                wait=options.batch_wait / 1000,
                queue=options.queue_rows,
                computed=batch.observe,
            )
            return batcher

        self.metrics.queue.labels(name).set_function(
            lambda: sum(version.batcher.waiting for version in self.models[name].versions)
        )
        return make

    # Its work.

    def model(self, name: str | None = None) -> Served:
        """The model of this name; without a name, the only one.

        Raises:
            HTTPException: 404, there is none of this name, or several.
        """
        if name is None:
            if len(self.models) == 1:
                return next(iter(self.models.values()))
            raise HTTPException(
                404,
                f"there are several models; ask one: {', '.join(f'/models/{each}/predict' for each in self.models)}",
            )
        if name not in self.models:
            raise HTTPException(404, str(unknown_name("model", name, self.models)))
        return self.models[name]

    def choose(self, served: Served, asked: Asked, wanted: str | None = None) -> Version:
        """The version that answers this request, noted in what is known of it.

        Args:
            wanted: its name, where the request says it.

        Raises:
            HTTPException: 404, there is none of this name.
        """
        named = {each.name: each for each in served.versions}
        if wanted is not None and wanted not in named:
            raise HTTPException(404, str(unknown_name(f"version of {served.name!r}", wanted, named)))
        version = served.chosen() if wanted is None else named[wanted]
        asked.model, asked.version = served.name, version.name
        return version

    async def answer(
        self, version: Version, records: Sequence[Any], asked: Asked
    ) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
        """The answers to records, and what is to be said about them.

        Raises:
            DanluError: a record that does not fit.
            BusyError: too many rows wait already.
            HTTPException: 413, too many rows for one request.
        """
        self._check_rows(len(records))
        asked.rows = len(records)
        if not records:
            version.trained.respond(records)
        found = await version.batcher.ask(records)
        version.recent.add(records, found.answers)
        self._note(asked, records, found.answers)
        return found.answers, found.notes

    def answer_at(self, level: float) -> Any:
        """:meth:`answer` with an interval, or a set of classes, of this level beside each answer; such requests are answered one by one."""

        async def answer(version: Version, records: Sequence[Any], asked: Asked) -> Any:
            self._check_rows(len(records))
            asked.rows = len(records)
            found = await asyncio.get_running_loop().run_in_executor(
                self._files, _answered_at, version.trained, level, records
            )
            version.recent.add(records, found[0])
            self._note(asked, records, found[0])
            return found

        return answer

    async def answer_file(
        self, version: Version, file: File, asked: Asked, level: float | None = None
    ) -> tuple[pl.DataFrame, tuple[str, ...]]:
        """The answers to a file, as ``danlu predict`` gives them, and what is to be said about them.

        Args:
            level: of an interval or a set of classes beside each answer; None gives the answers alone.

        Raises:
            DanluError: data that does not fit.
            HTTPException: 413, too many rows for one request.
        """
        frame, given, notes = await asyncio.get_running_loop().run_in_executor(
            self._files, self._answer_file, version, file, level
        )
        asked.rows = frame.height
        told = frame.to_dicts()
        if len(told) == len(given):  # a forecast has several lines
            version.recent.add(given, told)
        self._note(asked, given, told)
        return frame, notes

    def _answer_file(
        self, version: Version, file: File, level: float | None
    ) -> tuple[pl.DataFrame, list[Any], tuple[str, ...]]:
        notes: list[str] = []
        options: dict[str, Any] = {"lenient": self.options.lenient, "say": notes.append}
        with tempfile.NamedTemporaryFile(prefix="danlu-", suffix=file.ending) as place:
            place.write(file.data)
            place.flush()
            try:
                lines = lines_of(file)
                if version.trained.kind == "table" and file.ending == ".parquet":  # it may hold more than memory
                    self._check_rows(lines)
                given: list[Any] = []
                if self.inputs or version.recent.watched or self.options.max_rows < lines:
                    rows = version.trained.read(place.name, **options).rows
                    self._check_rows(len(rows))
                    given = as_records(version.trained, rows)
                    notes.clear()
                trained = version.trained
                if level is not None:
                    trained = trained.asking(**_how(trained, level), say=notes.append)
                frame = trained.answers(place.name, **options)
            except DanluError as error:
                message = error.message.replace(place.name, "the body")
                raise type(error)(message, hint=error.hint) from error
        return plain_times(frame), given, tuple(note.replace(place.name, "the body") for note in dict.fromkeys(notes))

    def _check_rows(self, rows: int) -> None:
        if rows > self.options.max_rows:
            raise HTTPException(
                413, f"the request has {rows:,} rows; expected at most {self.options.max_rows:,}: send several"
            )

    def _note(self, asked: Asked, rows: Any, answers: Any) -> None:
        self.metrics.rows.labels(asked.model, asked.version).inc(asked.rows)
        if not self.inputs:
            return
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        line = {"time": now, "request": asked.id, "model": asked.model, "version": asked.version}
        self.inputs.add({**line, "inputs": rows, "answers": answers})

    @contextlib.contextmanager
    def noting(self, asked: Asked, told: dict[str, Any]) -> Iterator[None]:
        """Within, a request is answered; ``told`` gets its route and status. Then it is counted, and the audit has its line."""
        began = time.perf_counter()
        try:
            yield
        except Exception:
            told.setdefault("status", 500)
            raise
        finally:
            took, route, status = time.perf_counter() - began, told.get("route", ""), str(told.get("status", 499))
            self.metrics.requests.labels(route, asked.model, asked.version, status).inc()
            self.metrics.seconds.labels(route).observe(took)
            if status >= "400":
                self.metrics.errors.labels(route, status).inc()
            if self.audit and route and asked.model:
                now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
                line = dataclasses.asdict(asked)
                self.audit.add(
                    {
                        "time": now,
                        "request": line.pop("id"),
                        "route": route,
                        **line,
                        "status": int(status),
                        "ms": round(took * 1000, 3),
                    }
                )


def _answered_at(
    trained: Trained, level: float, records: Sequence[Any]
) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
    notes: list[str] = []
    return trained.asking(**_how(trained, level), say=notes.append).respond(records, say=notes.append), tuple(notes)


def _how(trained: Trained, level: float) -> dict[str, float]:
    return {"interval" if trained.task in ("regression", "forecast") else "sets": level}


def _say(text: str) -> None:
    print(wrapped(f"danlu: {text}"), file=sys.stderr, flush=True)
