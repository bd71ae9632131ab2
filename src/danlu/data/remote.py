"""Data at a URL (``s3://``, ``gs://``, ``hf://``, ``https://``, …): brought to this machine's disk once, and read there as any other.

Every reader of danlu reads local files. So what a URL names (a file, a folder, a pattern) is copied into danlu's cache folder under its own
name, ``…/remote/s3/bucket/folder/part-0.parquet``; what lies there already with the same size and tag (the store's checksum) is not copied
again. Processes of one machine share the copy. It is removed after a week without use.

The stores are those of `fsspec <https://filesystem-spec.readthedocs.io>`_, which finds keys where their own tools do (environment,
profile, login). Keys are never part of what danlu writes or says: a URL's are left out (:func:`masked`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import glob
import hashlib
import importlib.util
import json
import logging
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from danlu.data.folders import is_hidden
from danlu.data.threads import ordered
from danlu.errors import ConfigError, DanluError, DataError, MissingExtraError, first_line, nearest
from danlu.files import alone, cache_folder, is_url, temporary_for, write_atomic
from danlu.memory import in_words
from danlu.stages import stage, track

__all__ = ["brought", "by_url", "identity_of", "masked", "url_of"]

_KEPT = 7 * 24 * 3600.0  # seconds that a copy is kept after its last use
_WORKERS = 8
_TAGS = ("ETag", "etag", "md5Hash", "blob_id", "sha", "generation", "LastModified", "last_modified", "mtime", "created")
_SECRET = re.compile(r"(?<=://)(?:[^/\s]+|[^/\s:]+:(?!\d+/)[^\s@]*)@|(?<=[?&])([^=&\s]+)=[^&\s'\",)]+")
_LOGIN = {
    "s3": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE; of a public bucket FSSPEC_S3_ANON=true",
    "gs": "log in (gcloud auth application-default login), or set GOOGLE_APPLICATION_CREDENTIALS",
    "hf": "log in (hf auth login), or set HF_TOKEN",
}
_TALKATIVE = (
    "fsspec",
    "s3fs",
    "gcsfs",
    "gcsfs.credentials",
    "huggingface_hub",
)  # what they log is said once, by the error
_PACKAGES = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "hf": "huggingface_hub"}
_OPTIONS: dict[str, dict[str, Any]] = {  # a store that does not answer is told of within a minute
    "s3": {"config_kwargs": {"connect_timeout": 10, "read_timeout": 30, "retries": {"max_attempts": 2}}},
}


def masked(text: str) -> str:
    """The text without the passwords and signatures of the URLs in it.

    >>> masked("https://me:secret@host/a.csv?X-Amz-Signature=1f3&part=2")
    'https://***@host/a.csv?X-Amz-Signature=***&part=***'
    """
    return _SECRET.sub(lambda found: f"{found[1]}=***" if found[1] else "***@", text)


@dataclasses.dataclass(frozen=True)
class _Copy:
    """A file there and here, and what tells one version of it from another."""

    there: str
    here: Path
    size: int | None
    tag: str


def brought(source: Any) -> Any:
    """The local path of what a URL names, which is copied here where it is not yet; any other source is returned unchanged.

    Args:
        source: such as ``"s3://bucket/table.parquet"``, ``"gs://bucket/folder"``, ``"hf://datasets/me/set/data/*.parquet"``.

    Raises:
        DataError: nothing is there, access is refused, the store does not answer, a file that comes cut short, no room for it.
        MissingExtraError: the package that reads such a URL is not installed.
        ConfigError: a kind of URL that there is not.
    """
    if not is_url(source):
        return source
    url, root = str(source).replace("://***@", "://"), _root()
    if "=***" in url:
        return _copy_of(url, root)
    with _told(url):
        fs, path = _opened(url)
        local = _local(url, path, root)
        with stage(f"looking at {masked(url)}"):
            copies = _listed(fs, path, local, url)
        with alone(root / f".{_digest(masked(url))}.lock"):
            _fetch(fs, copies, url, root)
            _drop_others(local, {copy.here for copy in copies})
            note = {
                "url": masked(url),
                "at": str(local.relative_to(root)),
                "files": [[str(c.here.relative_to(root)), c.size, c.tag] for c in copies],
            }
            write_atomic(_note(local, root), json.dumps(note), error=DataError)
        _forget(root)
    return str(local)


def _copy_of(url: str, root: Path) -> str:
    """The copy of a URL that was kept without its signature, such as that of a run that goes on.

    Raises:
        DataError: there is none, or not all of it.
    """
    for note, about in _notes(root).items():
        if about["url"] == url and "at" in about:
            files = [(root / name, size) for name, size, _ in about["files"]]
            if all(file.is_file() and size in (None, file.stat().st_size) for file, size in files):
                os.utime(note)
                return str(root / about["at"])
    raise DataError(
        f"{url} was kept without its signature, and no copy of it is on this machine",
        hint="give it again: danlu.pipeline.resume(RUN, source=URL)",
    )


def _notes(root: Path) -> dict[Path, Any]:
    """What is known of each copy, that of the last use first."""
    return {
        note: json.loads(note.read_text())
        for note in sorted(root.glob(".*.json"), key=lambda note: -note.stat().st_mtime)
    }


def by_url(text: str) -> str:
    """The text with the paths of copies as the URLs, without keys, that they were copied from.

    >>> by_url("table.csv has no rows")
    'table.csv has no rows'
    """
    root = _root()
    if str(root) not in text:
        return text
    named = {str(root / about["at"]): str(about["url"]) for about in _notes(root).values() if "at" in about}
    for local in sorted(named, key=len, reverse=True):
        text = text.replace(local, named[local])
    return text


def url_of(path: Any) -> str | None:
    """The URL, without keys, that a path of :func:`brought` was copied from; None of any other.

    Example:
        >>> url_of("table.csv") is None
        True
    """
    note = _kept(path)
    return None if note is None else str(note["url"])


def identity_of(path: Any) -> str | None:
    """A digest of the names, sizes and tags of what was copied to a path of :func:`brought`; None of any other."""
    note = _kept(path)
    return None if note is None else _digest(json.dumps(sorted(note["files"])), 64)


def _kept(path: Any) -> Mapping[str, Any] | None:
    root = _root()
    if not isinstance(path, str | Path) or not Path(path).is_relative_to(root):
        return None
    note = _note(Path(path), root)
    found: Mapping[str, Any] | None = json.loads(note.read_text()) if note.is_file() else None
    return found


def _root() -> Path:
    kept = cache_folder()
    user = os.getuid() if hasattr(os, "getuid") else 0
    return (Path(tempfile.gettempdir()) / f"danlu-{user}" if kept is None else kept.parent) / "remote"


def _note(local: Path, root: Path) -> Path:
    return root / f".{_digest(str(local))}.json"


def _digest(text: str, length: int = 24) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def _opened(url: str) -> tuple[Any, str]:
    """The store and the path in it."""
    kind = url.split("://")[0].split("::")[-1].lower()
    package = _PACKAGES.get(kind)
    if importlib.util.find_spec("fsspec") is None or (package and importlib.util.find_spec(package) is None):
        raise MissingExtraError(
            f"reading {masked(url)} needs the package {package or 'fsspec'}", hint="pip install 'danlu[remote]'"
        )
    import fsspec

    if kind not in fsspec.available_protocols():
        close = nearest(kind, ("s3", "gs", "hf", "https", "http", "az", "memory", "sftp"))
        raise ConfigError(
            f"{masked(url)} begins with {kind}://, which no store is known for",
            hint=f"did you mean {close}://?" if close else "s3://, gs://, hf:// and https:// are some that are known",
        )
    try:
        fs, path = fsspec.core.url_to_fs(url, **_OPTIONS.get(kind, {}))
    except ImportError as error:
        raise MissingExtraError(f"reading {masked(url)} needs a package more: {first_line(error)}") from error
    return fs, str(path)


def _local(url: str, path: str, root: Path) -> Path:
    """Where the copy is: the URL's own name, so that messages about a file say which it is."""
    parts = urlsplit(url)
    kind = parts.scheme.split("::")[-1]
    if kind in ("http", "https"):
        path = f"{parts.hostname}{parts.path}"
        if parts.query:
            inside = PurePosixPath(path)
            path = str(inside.with_name(f"{_digest(parts.query, 8)}-{inside.name}"))
    path = re.sub(r"^[^/]+@", "", path)  # keys
    names = [name for name in PurePosixPath(path).parts if name not in ("/", "..", ".")]
    return root.joinpath(kind, *names)


def _listed(fs: Any, path: str, local: Path, url: str) -> list[_Copy]:
    """The files that a path of a store names, without hidden ones: it alone, those in the folder, those of the pattern."""
    found: dict[str, Any]
    fs.invalidate_cache()  # what was seen before may have changed
    if any(mark in path for mark in "*?[") and not path.startswith("http"):  # there ? begins a query
        found = {name: about for name, about in fs.glob(path, detail=True).items() if about["type"] == "file"}
        start = local
        while any(mark in str(start) for mark in "*?["):
            start = start.parent
        above = path[: re.search(r"[*?\[]", path).start()].rpartition("/")[0]  # type: ignore[union-attr]
    else:
        about = fs.info(path)
        start, above, found = local, path, {path: about}
        if about["type"] == "directory":
            found = {name: each for name, each in fs.find(path, detail=True).items() if each["type"] == "file"}
    copies = []
    for name, about in found.items():
        inside = PurePosixPath(name).relative_to(above) if name != above else PurePosixPath()
        if not any(is_hidden(part) for part in inside.parts) and not name.endswith("/"):
            tag = next((str(about[key]) for key in _TAGS if about.get(key)), "")
            copies.append(_Copy(name, start / inside, about.get("size"), _digest(tag) if tag else ""))
    if not copies:
        raise DataError(
            f"there is no file at {masked(url)}", hint="look at the names: the bucket, the folder, the pattern"
        )
    return copies


def _fetch(fs: Any, copies: list[_Copy], url: str, root: Path) -> None:
    """Copy those files that are not here yet in this version; what was copied stays, should one of them fail."""
    tags: dict[Path, dict[str, list[Any]]] = {}
    for folder in {copy.here.parent for copy in copies}:
        file = folder / ".danlu-tags.json"
        tags[folder] = json.loads(file.read_text()) if file.is_file() else {}
    wanted = []
    for copy in copies:
        same = tags[copy.here.parent].get(copy.here.name) == [copy.size, copy.tag] and copy.tag
        if not (same and copy.here.is_file() and copy.size in (None, copy.here.stat().st_size)):
            wanted.append(copy)
    size = sum(copy.size or 0 for copy in wanted)
    root.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(root).free
    if size > free:
        raise DataError(
            f"{masked(url)} has {in_words(size)} that are not here yet, and {root} has room for {in_words(free)}",
            hint="DANLU_CACHE names a folder on another disk",
        )

    def one(copy: _Copy) -> None:
        copy.here.parent.mkdir(parents=True, exist_ok=True)
        new = temporary_for(copy.here)
        try:
            with _told(url, copy.there):
                fs.get_file(copy.there, str(new))
            came = new.stat().st_size
            if copy.size is not None and came != copy.size:
                raise DataError(
                    f"{masked(copy.there)} came cut short: {came:,} of {copy.size:,} bytes",
                    hint="try again; what was copied before is kept",
                )
            os.replace(new, copy.here)
        finally:
            new.unlink(missing_ok=True)

    try:
        name = f"copying {masked(url)} ({in_words(size)})"
        for copy, _ in zip(wanted, track(ordered(one, wanted, workers=_WORKERS), name, total=len(wanted)), strict=True):
            tags[copy.here.parent][copy.here.name] = [copy.size, copy.tag]
    finally:
        for folder in {copy.here.parent for copy in wanted if copy.here.is_file()}:
            write_atomic(folder / ".danlu-tags.json", json.dumps(tags[folder]), error=DataError)


def _drop_others(local: Path, kept: set[Path]) -> None:
    """Remove what the store no longer has of what a folder or a pattern names."""
    if local.is_dir():
        here = (file for file in local.rglob("*") if file.is_file())
    elif any(mark in str(local) for mark in "*?["):
        here = (Path(file) for file in glob.glob(str(local), recursive=True) if os.path.isfile(file))
    else:
        return
    for file in [each for each in here if each not in kept and not each.name.startswith(".")]:
        file.unlink(missing_ok=True)


def _forget(root: Path) -> None:
    """Remove the copies that were not used for a week, but for those files that another one needs."""
    notes = _notes(root)
    old = [note for note in notes if time.time() - note.stat().st_mtime > _KEPT]
    used = {name for note, about in notes.items() if note not in old for name, *_ in about["files"]}
    for note in old:
        for name, *_ in notes[note]["files"]:
            if name not in used:
                (root / name).unlink(missing_ok=True)
        note.unlink(missing_ok=True)


@contextlib.contextmanager
def _told(url: str, file: str | None = None) -> Iterator[None]:
    """What goes wrong with a store, in one message that has no keys in it."""
    kind, shown = url.split("://")[0].split("::")[-1].lower(), masked(file or url)
    loggers = [logging.getLogger(name) for name in _TALKATIVE]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        yield
    except DanluError:
        raise
    except Exception as error:  # each store has errors of its own; every one means that the data is not to be had
        if isinstance(error, FileNotFoundError):
            because = (
                error.__cause__
            )  # of https, whatever went wrong: no connection, a signature that is no longer valid
            if not isinstance(because, Exception) or getattr(because, "status", None) in (404, 410):
                raise DataError(
                    f"there is nothing at {shown}", hint="look at the names: the bucket, the folder, the file"
                ) from error
            error = because
        said, name = masked(first_line(error)), type(error).__name__
        refused = isinstance(error, PermissionError) or re.search(
            r"credential|forbidden|denied|\b40[13]\b", f"{name} {said}", re.I
        )
        if refused:
            hint = _LOGIN.get(kind, "check that you may read it, and how its store is told who you are")
            raise DataError(f"access to {shown} was refused: {said}", hint=hint) from error
        raise DataError(
            f"{shown} cannot be read: {said}",
            hint="check the network and the names" + ("; AWS_ENDPOINT_URL names another store" if kind == "s3" else ""),
        ) from error
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
