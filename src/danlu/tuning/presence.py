"""Processes that share a study: signs of life, and who takes over what a dead one left.

Nothing here needs more of a storage than that what one process writes, others can read: there is no lock to hold over a network. A process
writes a sign of life now and then, from a thread of its own, so that long epochs are no silence. One whose signs stop is taken for dead,
by the clock of the process that looks, since clocks of machines differ.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from danlu.files import alive
from danlu.tuning.sampler import optuna

__all__ = ["Presence"]

_CLAIMS = "danlu-tune-claims"
_BEAT = 20.0  # seconds between two signs of life
_SILENT = 6 * _BEAT  # seconds without one, watched, after which a process is taken for dead
_LONG_AGO = 1200.0  # seconds by the clocks of two machines, which may differ by a little


class Presence:
    """This process among those that share a study.

    Args:
        study: Optuna's.

    Attributes:
        owner: the name of this process in the study.
    """

    def __init__(self, study: Any) -> None:
        self._study, self.owner = study, uuid.uuid4().hex[:12]
        self._watched: dict[str, tuple[float, float]] = {}  # the last sign of others, and since when it is that
        self.sign_of_life()

    def sign_of_life(self, *, leaving: bool = False) -> None:
        """Let other processes know that this one lives, or that it takes part no longer."""
        own = {"host": socket.gethostname(), "process": os.getpid(), "seen": time.time()}
        self._study.set_user_attr(f"process {self.owner}", {**own, "left": True} if leaving else own)

    @contextlib.contextmanager
    def taking_part(self) -> Iterator[None]:
        """Within, signs of life are given by a thread; after it, what this process has not ended is for others."""
        over = threading.Event()

        def beat() -> None:
            while not over.wait(_BEAT):
                with contextlib.suppress(Exception):  # a network that is away for a while; it is tried again
                    self.sign_of_life()

        thread = threading.Thread(target=beat, name="danlu-signs-of-life", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
            with contextlib.suppress(Exception):
                self.sign_of_life(leaving=True)

    def dead(self, owner: str | None, known: Mapping[str, Any]) -> bool:
        """Whether a process takes part no longer, by what the study knows."""
        if owner == self.owner:
            return False
        found = known.get(f"process {owner}")
        if owner is None or found is None or found.get("left"):
            return True
        if found["host"] == socket.gethostname() and (found["process"] == os.getpid() or not alive(found["process"])):
            return True
        now = time.monotonic()
        sign, since = self._watched.get(owner, (None, now))
        self._watched[owner] = (found["seen"], since if sign == found["seen"] else now)
        return now - self._watched[owner][1] > _SILENT or time.time() - found["seen"] > _LONG_AGO

    def takes_over(self, batch: int) -> bool:
        """Whether it is for this process to go on with a batch that a dead one left: one process of all that want to.

        Claims are trials of a study beside the search's: a storage numbers trials one after the other, so that all processes see the
        claims in one order, and the first whose process lives has the batch.
        """
        library = optuna()
        claims = library.create_study(study_name=_CLAIMS, storage=self._study._storage, load_if_exists=True)

        def claimants() -> list[str]:
            of_batch = [each.user_attrs for each in claims.get_trials(deepcopy=False)]
            return [each["process"] for each in of_batch if each["batch"] == batch]

        if self.owner not in claimants():
            own = {"batch": batch, "process": self.owner}
            claims.add_trial(library.trial.create_trial(state=library.trial.TrialState.FAIL, user_attrs=own))
        found = claimants()
        known = self._study.user_attrs  # read after the claims: who has claimed has given a sign before
        return next(owner for owner in found if not self.dead(owner, known)) == self.owner
