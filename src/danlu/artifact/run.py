"""The run directory: everything that one training writes, under ``runs/NAME/``."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from danlu import processes
from danlu.artifact.files import json_text, read_json
from danlu.artifact.lock import locked
from danlu.errors import ArtifactError, ConfigError
from danlu.files import latest, sweep, sweep_all, sync_folder, temporary_for, write_atomic
from danlu.language import keep

__all__ = ["RunDirectory", "no_run"]

_NAME = re.compile(r"[^\x00-\x1f/\\:*?\"<>|]{1,120}")


class RunDirectory:
    """The folder of one run, with a property for each thing in it.

    Make one with :meth:`create` or :meth:`open`.

    Example:
        >>> import tempfile
        >>> root = tempfile.mkdtemp()
        >>> run = RunDirectory.create(root, name="first", config={"epochs": 2})
        >>> run.append_metrics({"epoch": 1, "loss": 0.5})
        >>> RunDirectory.open(run.path).read_metrics()
        [{'epoch': 1, 'loss': 0.5}]
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        keep((self._path.name,))

    @classmethod
    def create(
        cls,
        root: str | os.PathLike[str] = "runs",
        *,
        name: str | None = None,
        dataset: str | None = None,
        config: Any = None,
        files: Mapping[str, Any] | None = None,
        data: Mapping[str, Path] | None = None,
    ) -> RunDirectory:
        """Make a new run directory that no other run has; it appears with its first files in it, or not at all.

        Of several processes that train together the first makes it, and all have the same.

        Args:
            root: the folder that holds the runs; made when missing.
            name: the run's name; a run of this name that exists is an error. None: the data set's name and the
                local time, with a counter when that is taken.
            dataset: the data set's name, for the default name.
            config: plain data, written to ``config.json``, which is what makes a folder a run.
            files: plain data for further JSON files by name.
            data: files that the run keeps in its folder, by their names there (``name`` or ``folder/name``).

        Raises:
            ConfigError: a name that cannot be a folder's name, or a run of that name exists.
            ArtifactError: the folder cannot be made.
        """
        if name is not None:
            check_name(name)
        if not processes.is_first():
            return cls(processes.agree(""))
        first = {"config.json": {} if config is None else config, **(files or {})}
        texts = {check_name(file): json_text(value) + "\n" for file, value in first.items()}
        sweep(Path(root))
        for candidate in _candidates(name, dataset):
            path = Path(root) / candidate
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                if _appear(path, texts, data or {}):
                    return cls(processes.agree(str(path)))
            except FileExistsError:
                raise ArtifactError(f"cannot make runs in {root}: it is not a folder") from None
            except OSError as error:
                raise ArtifactError(
                    f"cannot make the run {path}: {error.strerror or error}",
                    hint="check the permissions and the free space, or name another folder for runs",
                ) from error
            if name is not None:
                raise ConfigError(
                    f"the run {path} exists already",
                    hint=f"choose another name; danlu show {path} says what it is, and whether to resume it",
                )
        raise ArtifactError(f"cannot find a free name for a run in {root}")

    @classmethod
    def next_path(cls, root: str | os.PathLike[str], *, name: str | None = None, dataset: str | None = None) -> Path:
        """The folder that :meth:`create` would make now, for those who are told of a run before it begins.

        Raises:
            ConfigError: a name that cannot be a folder's name, or a run of that name exists.
        """
        if name is not None:
            check_name(name)
        for candidate in _candidates(name, dataset):
            if not os.path.lexists(path := Path(root) / candidate):
                return path
        raise ConfigError(
            f"the run {path} exists already",
            hint=f"choose another name; danlu show {path} says what it is, and whether to resume it",
        )

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> RunDirectory:
        """The run in an existing folder.

        Raises:
            ArtifactError: the folder is missing or holds no run.
        """
        run = cls(path)
        if not run.path.is_dir():
            raise no_run(run.path)
        if not run.config_path.is_file():
            inside = ", ".join(latest(run.path, "config.json"))
            raise ArtifactError(
                f"{run.path} is not a run: it has no config.json",
                hint=f"the latest runs in it: {inside}" if inside else None,
            )
        return run

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the run for this process, and remove unfinished files of a killed one; of several processes the first does both.

        Raises:
            ConfigError: another process holds it.
        """
        if not processes.is_first():
            yield
            return
        with locked(self._path):
            sweep_all(self._path)
            yield

    @property
    def path(self) -> Path:
        """The folder."""
        return self._path

    @property
    def name(self) -> str:
        """The folder's name."""
        return self._path.resolve().name

    @property
    def again(self) -> str:
        """The command that goes on with it."""
        asked = self.read_json("config.json").get("federated") if self.config_path.is_file() else None
        clients = isinstance(asked, dict) and (asked.get("by") or asked.get("clients"))
        return f"danlu {'federate' if clients else 'train'} --resume {self._path}"

    @property
    def config_path(self) -> Path:
        """The resolved configuration, ``config.json``."""
        return self._path / "config.json"

    @property
    def metrics_path(self) -> Path:
        """One JSON object a line, ``metrics.jsonl``."""
        return self._path / "metrics.jsonl"

    @property
    def checkpoints_path(self) -> Path:
        """The folder of checkpoints."""
        return self._path / "checkpoints"

    @property
    def artifact_path(self) -> Path:
        """The saved model's folder."""
        return self._path / "artifact"

    @property
    def predictions_path(self) -> Path:
        """The predictions for the test rows, ``predictions.csv``."""
        return self._path / "predictions.csv"

    @property
    def results_path(self) -> Path:
        """Test metrics, baselines and comparison, ``results.json``."""
        return self._path / "results.json"

    @property
    def report_path(self) -> Path:
        """The report, ``report.html``."""
        return self._path / "report.html"

    def write_json(self, name: str, value: Any) -> Path:
        """Write plain data to the file ``name`` of the run, whole or not at all (NaN becomes null)."""
        path = self._path / check_name(name)
        if processes.is_first():
            write_atomic(path, json_text(value) + "\n")
        return path

    def read_json(self, name: str) -> dict[str, Any]:
        """The JSON object in the file ``name`` of the run.

        Raises:
            ArtifactError: the file is missing or is not valid.
        """
        return read_json(self._path / check_name(name))

    def append_metrics(self, row: Mapping[str, Any]) -> None:
        """Add one line to ``metrics.jsonl`` and hand it to the system at once.

        A line that a killed run left half-written is removed first.

        Raises:
            ArtifactError: the file cannot be written.
        """
        line = json_text(dict(row), indent=None) + "\n"
        try:
            with open(self.metrics_path, "ab+") as file:
                _drop_torn_line(file)
                file.write(line.encode())
        except OSError as error:
            raise ArtifactError(
                f"cannot write {self.metrics_path}: {error.strerror or error}", hint="check the free space"
            ) from error

    def read_metrics(self) -> list[dict[str, Any]]:
        """The rows of ``metrics.jsonl``, in order; a half-written last line is left out.

        Raises:
            ArtifactError: a line that is not a JSON object.
        """
        try:
            data = self.metrics_path.read_bytes()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise ArtifactError(f"cannot read {self.metrics_path}: {error.strerror or error}") from error
        rows = []
        for number, line in enumerate(data.split(b"\n")[:-1], 1):
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                row = None
            if not isinstance(row, dict):
                raise ArtifactError(f"line {number} of {self.metrics_path} is not a JSON object")
            rows.append(row)
        return rows

    def rewind_metrics(self, epoch: int) -> None:
        """Remove the rows after ``epoch``: a run that resumes from that epoch's checkpoint writes them again."""
        kept = [row for row in self.read_metrics() if not (row.get("epoch", 0) or 0) > epoch]
        if self.metrics_path.exists():
            write_atomic(self.metrics_path, "".join(json_text(row, indent=None) + "\n" for row in kept))

    def __fspath__(self) -> str:
        return str(self._path)

    def __repr__(self) -> str:
        return f"RunDirectory({str(self._path)!r})"


def check_name(name: str) -> str:
    """``name`` itself, when it can be the name of a file or folder.

    Raises:
        ConfigError: it is empty, too long, or holds a path.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name.strip() != name or set(name) == {"."}:
        raise ConfigError(
            f"{name!r} cannot be the name of a run or of a file in it; expected 1 to 120 characters without any of "
            '/ \\ : * ? " < > |',
        )
    return name


def _appear(path: Path, texts: Mapping[str, str], data: Mapping[str, Path]) -> bool:
    """Make the folder ``path`` with these files in it, at once. False when there is one that is not empty."""
    temporary = temporary_for(path)
    try:
        temporary.mkdir()
        for name, text in texts.items():
            write_atomic(temporary / name, text)
        for name, file in data.items():
            (temporary / name).parent.mkdir(exist_ok=True)
            try:
                os.link(file, temporary / name)
            except OSError:
                shutil.copyfile(file, temporary / name)
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            path.rmdir()  # an empty one, as a killed process of an older version left it
        if path.exists():
            return False
        os.rename(temporary, path)
        sync_folder(path.parent)
        return True
    except OSError:
        if path.exists() and path.parent.is_dir():
            return False
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _candidates(name: str | None, dataset: str | None) -> Iterator[str]:
    if name is not None:
        yield name
        return
    stem = re.sub(r"[^\w.-]+", "-", dataset or "run").strip("-.")[:60] or "run"
    base = f"{stem}-{datetime.datetime.now():%Y%m%d-%H%M%S}"
    yield base
    for number in range(2, 1000):
        yield f"{base}-{number}"


def no_run(path: Path) -> ArtifactError:
    """The error of a run that is not there, with the latest ones beside it."""
    near = latest(path.parent, "config.json", "model.json")
    runs = f"; the latest in {path.parent}: {', '.join(near)}" if near else ""
    return ArtifactError(f"there is no run {path}{runs}", hint="give the folder of a run, or of a saved model")


def _drop_torn_line(file: Any) -> None:
    """Cut a file that is open for appending after its last newline."""
    end = file.seek(0, os.SEEK_END)
    if end == 0:
        return
    file.seek(end - 1)
    if file.read(1) == b"\n":
        return
    file.seek(0)
    file.truncate(file.read().rfind(b"\n") + 1)
    file.seek(0, os.SEEK_END)
