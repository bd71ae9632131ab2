"""MLflow: what a run was told to do, how it went, what it scored and its model, where MLflow keeps the runs of all tools."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from danlu import processes
from danlu.artifact import RunDirectory
from danlu.engine import Callback
from danlu.errors import ConfigError, MissingExtraError, first_line
from danlu.pipeline import flavour
from danlu.pipeline.config import TrackConfig
from danlu.report.events import tag_of, told_numbers
from danlu.trained import Say

__all__ = ["AUTO", "Book", "MLflowLogger", "check_mlflow", "log_to_mlflow", "tracked"]

AUTO = "auto"
_NOTE = "mlflow.json"  # of a run directory: where MLflow has it, so that a run that goes on is the same run there
_FILES = ("report.html", "results.json", "config.json", "metrics.jsonl")
_AT_ONCE = 900  # numbers that MLflow takes at once
_LONGEST = 6000  # letters of a setting
_FILE = "sqlite:///"
_PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}
_EVERY = 5.0  # seconds between two times that numbers are sent


def log_to_mlflow(run: Any, to: str = AUTO, *, experiment: str = "danlu") -> str:
    """Give a finished run to MLflow: settings, numbers by epoch, scores with intervals, report and model.

    The model is there as a flavour: ``mlflow.pyfunc.load_model(f"runs:/{id}/model").predict(frame)`` gives what ``danlu predict`` gives.
    A run that was given before is brought up to date. ``danlu train … track.mlflow=auto`` does all of this while it trains.

    Args:
        run: the folder of a run, or what :func:`danlu.train` returned.
        to: where MLflow keeps runs, such as ``"sqlite:///mlflow.db"`` or ``"http://localhost:5000"``; ``"auto"`` is what MLflow itself
            goes by (``MLFLOW_TRACKING_URI``).
        experiment: of MLflow; made when missing.

    Returns:
        The id of the run in MLflow.

    Raises:
        MissingExtraError: MLflow is not installed.
        ConfigError: MLflow cannot keep runs there.
        ArtifactError: it is no run, or it has not ended.
    """
    directory = RunDirectory.open(Path(getattr(getattr(run, "run", run), "path", run)))
    directory.read_json("results.json")  # what has not ended is refused
    book = Book.of(directory, to, experiment)
    with _briefly():
        book.conclude()
    return book.id


def check_mlflow(track: TrackConfig) -> None:
    """See whether MLflow can keep runs where the settings say, before anything is read.

    Raises:
        MissingExtraError, ConfigError: see :func:`log_to_mlflow`.
    """
    if track.mlflow is not None:
        _store(track.mlflow, track.experiment)


@dataclasses.dataclass
class Book:
    """One run of MLflow's, which is a run directory's.

    Attributes:
        run: the run directory.
        client: MLflow's, of the place where it keeps runs.
        place: the address of that place.
        id: the run's id there.
    """

    run: RunDirectory
    client: Any
    place: str
    id: str

    @classmethod
    def of(cls, run: RunDirectory, to: str, experiment: str, within: RunDirectory | None = None) -> Book:
        """The run of MLflow's that ``run`` has there, or a new one.

        Args:
            within: the run that it is a part of; None is the one that is active in this program, if there is one.
        """
        client, number = _store(to, experiment)
        import mlflow

        import danlu

        place = client.tracking_uri
        known = _noted(run, place)
        if known and _is_there(client, known):
            client.update_run(known, status="RUNNING")
            return cls(run, client, place, known)
        tags = {"danlu.run": str(run.path.resolve()), "danlu.version": danlu.__version__, "mlflow.source.name": "danlu"}
        active = mlflow.active_run()
        whole = "" if active is None else active.info.run_id
        whole = whole if within is None else _noted(within, place)
        if whole and _is_there(client, whole):
            number, tags["mlflow.parentRunId"] = client.get_run(whole).info.experiment_id, whole
        made = client.create_run(number, run_name=run.name, tags=tags)
        run.write_json(_NOTE, {"place": place, "experiment": experiment, "id": made.info.run_id})
        return cls(run, client, place, made.info.run_id)

    def settings(self) -> None:
        """Write the settings that are not left open, by their dotted names."""
        from mlflow.entities import Param

        config = self.run.read_json("config.json")
        told = {f"{section}.{name}": value for section, part in config.items() for name, value in part.items()}
        known = [Param(name, _short(value)) for name, value in told.items() if value not in (None, "", [], {})]
        for start in range(0, len(known), 100):
            self.client.log_batch(self.id, params=known[start : start + 100])

    def epochs(self, rows: Sequence[Mapping[str, Any]], ended: float | None = None) -> None:
        """Write rows of the history; the step is the epoch, counted from 1.

        Args:
            ended: when the last one ended, in seconds since 1970; None is now.
        """
        now, numbers = time.time() if ended is None else ended, []
        for row in reversed(rows):
            numbers += [
                self._number(tag_of(name, row), value, row["epoch"] + 1, now) for name, value in told_numbers(row)
            ]
            now -= row.get("seconds", 0.0)
        self._write(numbers)

    def missing(self) -> list[dict[str, Any]]:
        """The rows of the run's history that MLflow does not have."""
        rows = self.run.read_metrics()
        if not rows:
            return []
        first = next(tag_of(name, rows[0]) for name, _ in told_numbers(rows[0]))
        last = max((each.step for each in self.client.get_metric_history(self.id, _name(first))), default=0)
        return [row for row in rows if row["epoch"] + 1 > last]

    def conclude(self, status: str = "FINISHED") -> None:
        """Write all that the run directory has, and that it ended."""
        self.settings()
        history = self.run.metrics_path
        self.epochs(self.missing(), history.stat().st_mtime if history.is_file() else None)
        self.scores(self.run.read_json("results.json") if self.run.results_path.is_file() else {})
        for name in _FILES:
            if (self.run.path / name).is_file():
                self.client.log_artifact(self.id, str(self.run.path / name))
        if self.run.artifact_path.is_dir():
            self._model()
        self.client.set_terminated(self.id, status)

    def scores(self, results: Mapping[str, Any]) -> None:
        """Write the scores of the test, ``test/NAME``, with both ends of their intervals, and those of the simple models."""
        now, steps = time.time(), int(results.get("epochs") or 0)
        told = {f"test/{name}": value for name, value in (results.get("test") or {}).items()}
        for name, ends in (results.get("intervals") or {}).items():
            told |= {f"test_low/{name}": ends[0], f"test_high/{name}": ends[1]}
        for label, values in (results.get("baselines") or {}).items():
            told |= {f"baseline/{label}/{name}": value for name, value in (values or {}).items()}
        self._write([self._number(name, value, steps, now) for name, value in told.items() if _is_number(value)])

    def ended(self, status: str) -> None:
        """Write that it ended without a result."""
        self.client.set_terminated(self.id, status)

    def _model(self) -> None:
        import mlflow
        from mlflow.models import Model

        before = mlflow.get_tracking_uri()
        mlflow.set_tracking_uri(self.place)
        try:
            number = self.client.get_run(self.id).info.experiment_id
            for old in self.client.search_logged_models([number], f"source_run_id = '{self.id}'"):
                self.client.delete_logged_model(old.model_id)
            made = self.client.create_logged_model(number, name="model", source_run_id=self.id)
            Model.log(None, flavour, run_id=self.id, model_id=made.model_id, folder=self.run.artifact_path)
        finally:
            mlflow.set_tracking_uri(before)

    def _number(self, name: str, value: float, step: int, when: float) -> Any:
        from mlflow.entities import Metric

        return Metric(_name(name), float(value), int(1000 * when), step)

    def _write(self, numbers: Sequence[Any]) -> None:
        for start in range(0, len(numbers), _AT_ONCE):
            self.client.log_batch(self.id, metrics=numbers[start : start + _AT_ONCE])


class MLflowLogger(Callback):
    """Sends the history to MLflow while the training goes on, some seconds' rows at a time.

    What cannot be sent costs no training: it is said once, and made up for when the run has ended.

    Args:
        book: where to.
        say: called with what went wrong.
    """

    writes = True

    def __init__(self, book: Book, say: Say) -> None:
        self.book, self.say = book, say
        self._waiting: list[Mapping[str, Any]] = []
        self._sent = time.monotonic()
        self._works = True

    def on_train_begin(self) -> None:
        with self._kept():
            self.book.settings()
            self.book.epochs(self.book.missing())

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any]) -> None:
        self._waiting.append(dict(logs))
        if time.monotonic() - self._sent > _EVERY:
            self._send()

    def on_train_end(self, logs: Mapping[str, Any]) -> None:
        self._send()

    def _send(self) -> None:
        rows, self._waiting, self._sent = self._waiting, [], time.monotonic()
        if self._works and rows:
            with self._kept():
                self.book.epochs(rows)

    @contextlib.contextmanager
    def _kept(self) -> Iterator[None]:
        try:
            with _briefly():
                yield
        except Exception as error:  # a server that does not answer
            self._works = False
            self.say(
                f"note: MLflow at {self.book.place} does not take the numbers ({first_line(error)}); it is tried again at the end"
            )


@contextlib.contextmanager
def tracked(
    run: RunDirectory, track: TrackConfig, say: Say, *, within: RunDirectory | None = None
) -> Iterator[list[Callback]]:
    """Within, what tells MLflow of the run's training, where the settings say so; at the end it is told the rest, however it ends."""
    if track.mlflow is None or not processes.is_first():
        yield [] if track.mlflow is None else [Callback()]  # a checkpoint knows how many there are
        return
    book = Book.of(run, track.mlflow, track.experiment, within)
    try:
        yield [MLflowLogger(book, say)]
    except BaseException as error:
        stopped = isinstance(error, KeyboardInterrupt) or getattr(error, "stopped_by", None) is not None
        with contextlib.suppress(Exception), _briefly():
            book.ended("KILLED" if stopped else "FAILED")
        raise
    try:
        with _briefly():
            book.conclude()
        say(f"in MLflow: {book.place}, experiment {track.experiment}, run {book.id}")
    except Exception as error:
        say(
            f"note: MLflow at {book.place} does not have all of the run ({first_line(error)}); once it answers: "
            f'danlu.log_to_mlflow("{run.path}")'
        )


@contextlib.contextmanager
def _briefly() -> Iterator[None]:
    """Within, MLflow says only what is an error, and gives up on a server that does not answer in seconds instead of minutes."""
    loggers = [logging.getLogger(name) for name in ("mlflow", "alembic")]
    levels = [logger.level for logger in loggers]
    new = {name: value for name, value in _PATIENCE.items() if name not in os.environ}
    os.environ.update(new)
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        for name in new:
            os.environ.pop(name, None)


def _store(to: str, experiment: str) -> tuple[Any, str]:
    """MLflow's client of the place, and the id of the experiment there, which is made when missing."""
    try:
        import mlflow
        from mlflow import MlflowClient
    except ImportError:
        raise MissingExtraError("MLflow is not installed", hint='pip install "danlu[mlflow]"') from None
    place = mlflow.get_tracking_uri() if to == AUTO else to
    file = place.removeprefix(_FILE)
    if file != place and not file.startswith("/"):  # of this folder, also for a run that goes on in another
        place = f"{_FILE}{Path(file).resolve()}"
    try:
        with _briefly():  # a new file is told of table by table
            client = MlflowClient(place)
            found = client.get_experiment_by_name(experiment)
            return client, client.create_experiment(experiment) if found is None else found.experiment_id
    except Exception as error:
        raise ConfigError(
            f"MLflow cannot keep runs at {to!r}: {first_line(error)}",
            hint="track.mlflow is an address such as sqlite:///mlflow.db or http://localhost:5000",
        ) from error


def _noted(run: RunDirectory, place: str) -> str:
    """The id that the run has there; empty where it has none."""
    noted = run.read_json(_NOTE) if (run.path / _NOTE).is_file() else {}
    return str(noted["id"]) if noted.get("place") == place else ""


def _is_there(client: Any, number: str) -> bool:
    from mlflow.exceptions import MlflowException

    try:
        return client.get_run(number).info.lifecycle_stage == "active"
    except MlflowException:
        return False


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _name(name: str) -> str:
    """A name that MLflow takes."""
    return re.sub(r"[^\w\-. :/]", "_", name)


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
