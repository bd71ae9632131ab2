"""What was decided by the clock, and when: a run that was killed and is resumed decides the same."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path
from typing import Any

from danlu.errors import ArtifactError
from danlu.files import write_atomic

__all__ = ["Journal"]

_END = "end"


@dataclasses.dataclass(eq=False)
class Journal:
    """The decisions of a training that goes on while there is time, each a file of JSON with the seconds at which it was made.

    A resumed run reads them instead of the clock, and the clock goes on from the last of them: what was begun is done to its end, however
    long that takes, and what was over is over.

    Attributes:
        folder: where they are kept; None keeps none.
        begun: when the training began, on the clock ``time.monotonic``.
    """

    folder: Path | None
    begun: float

    @property
    def seconds(self) -> float:
        """From the beginning, runs that were killed included."""
        return time.monotonic() - self.begun

    def place(self, number: int | str) -> Path | None:
        """Where the result of a step is kept, beside its decision."""
        return None if self.folder is None else self.folder / (number if isinstance(number, str) else f"{number:03}")

    def read(self, number: int, name: str = "") -> dict[str, Any]:
        """What is known of a step; empty where it was not begun. The clock is set to its last moment.

        Raises:
            ArtifactError: the step was another one.
        """
        told = self._told(number)
        if told.get("name", name) != name:
            raise ArtifactError(f"{self.folder} holds {told['name']!r}; expected {name!r}", hint="start the run anew")
        if told:
            self.begun = time.monotonic() - told.get("seconds", told.get("begun", 0.0))
        return told

    def _told(self, number: int | str) -> dict[str, Any]:
        place = self.place(number)
        if place is None or not place.with_suffix(".json").is_file():
            return {}
        told: dict[str, Any] = json.loads(place.with_suffix(".json").read_text())
        return told

    def write(self, number: int | str, **told: Any) -> dict[str, Any]:
        """Keep what is known of a step, whole or not at all."""
        if (place := self.place(number)) is not None:
            place.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(place.with_suffix(".json"), json.dumps(told))
        return told

    def over(self, number: int, minutes: float, needed: float) -> bool:
        """Whether the time is over before a step that would take so many seconds; what was decided for so many minutes stays decided."""
        told = self._told(_END)
        if told.get("minutes") == minutes:
            return bool(number >= told["before"])
        if self.seconds + needed <= 60 * minutes:
            return False
        self.write(_END, minutes=minutes, before=number)
        return True
