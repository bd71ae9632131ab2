"""The versions of a model that answer: loaded and warmed aside, then taken in place of the one before, which answers what it accepted."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import hashlib
import random
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import jax

from danlu.artifact.artifact import MODEL_FILE, is_saved
from danlu.errors import DanluError
from danlu.pipeline import load_model
from danlu.serve.batcher import Batcher
from danlu.serve.examples import example_record
from danlu.serve.recent import Recent
from danlu.trained import Trained

__all__ = ["Line", "Served", "Version"]

_BATCH = 4  # rows that a network sees at once, always: a row's answer does not depend on the rows beside it, and nothing recompiles

Make = Callable[[Trained], Batcher]


@dataclasses.dataclass(frozen=True, eq=False)
class Version:
    """A loaded model, with the queue in front of it.

    Attributes:
        name: the beginning of the SHA-256 of its ``model.json``, which names every other file's; ``"memory"`` of one without files.
        recent: the newest rows that it answered.
        example: its answer to an example; empty where it has none.
    """

    trained: Trained
    name: str
    batcher: Batcher
    recent: Recent
    example: Mapping[str, Any] = dataclasses.field(default_factory=dict)


class Line:
    """The place that versions of a model come from: the folder of a run, in which a new version appears when it is trained again.

    Args:
        source: the folder of a run or of a saved model, or a model itself.
        make: makes the queue of a version.
        allow: modules that an agent's environment may import.
    """

    def __init__(self, source: Trained | str | Path, make: Make, allow: Sequence[str] = ()) -> None:
        self.place = None if isinstance(source, Trained) else Path(source)
        self._make, self._allow, self._source = make, tuple(allow), source
        self._stamp: Any = None
        self._renewing = asyncio.Lock()
        self.version: Version | None = None

    def load(self) -> None:
        """Load and warm the first version.

        Raises:
            DanluError: it cannot be loaded.
        """
        self._stamp = self._signs()
        self.version = self._made(*self._loaded())

    async def renew(self, thread: ThreadPoolExecutor) -> bool:
        """Take the version that is in the folder now; whether it is another one than before.

        The version before answers until the new one is ready, and then what it has accepted.

        Raises:
            DanluError: what is there cannot be loaded; the version before goes on.
        """
        async with self._renewing:
            stamp, before = self._signs(), self.version
            if stamp == self._stamp or before is None:
                return False
            found = await asyncio.get_running_loop().run_in_executor(thread, self._loaded)
            self._stamp = stamp
            if found[1] == before.name:
                return False
            self.version = self._made(*found)
        await before.batcher.close()
        return True

    def settle(self) -> None:
        """Do not try again what is in the folder now."""
        self._stamp = self._signs()

    @property
    def has_changed(self) -> bool:
        """Whether the files are others than those that the version was loaded from."""
        return self._signs() != self._stamp

    def _model_file(self) -> Path | None:
        if self.place is None:
            return None
        kept = self.place / "artifact"
        return (kept if is_saved(kept) else self.place) / MODEL_FILE

    def _signs(self) -> Any:
        file = self._model_file()
        if file is None:
            return None
        with contextlib.suppress(OSError):
            status = file.stat()
            return status.st_ino, status.st_mtime_ns, status.st_size
        return None if self.version is None else self._stamp  # while a writer replaces it

    def _made(self, trained: Trained, name: str, example: Mapping[str, Any]) -> Version:
        return Version(trained, name, self._make(trained), Recent(trained), example)

    def _loaded(self) -> tuple[Trained, str, Mapping[str, Any]]:
        file = self._model_file()
        if file is None or self.place is None:
            trained, name = cast(Trained, self._source), "memory"
        else:
            trained = load_model(self.place, allow=self._allow)
            name = hashlib.sha256(file.read_bytes()).hexdigest()[:12]
        params, state = jax.device_put((trained.params, trained.state))
        ready = dataclasses.replace(trained, params=params, state=state, batch=min(_BATCH, trained.head.batch))
        try:
            [answer] = ready.respond([example_record(ready.fields)], say=lambda note: None)
        except DanluError:  # an example that does not fit only leaves it cold
            answer = {}
        return ready, name, answer


class Served:
    """A model by its name: the line that answers, and a canary that answers a share of the requests in its place."""

    def __init__(self, name: str, stable: Line, canary: Line | None = None, share: float = 0.0) -> None:
        self.name, self.stable, self.canary, self.share = name, stable, canary, share

    @property
    def lines(self) -> tuple[Line, ...]:
        return (self.stable,) if self.canary is None else (self.stable, self.canary)

    @property
    def versions(self) -> tuple[Version, ...]:
        """Those that answer now; the first is the stable one."""
        return tuple(line.version for line in self.lines if line.version is not None)

    @property
    def trained(self) -> Trained:
        """The stable version's model."""
        return self.versions[0].trained

    def chosen(self) -> Version:
        """The version that answers the next request."""
        return self.versions[-1] if random.random() < self.share else self.versions[0]
