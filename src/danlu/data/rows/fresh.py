"""Names of rows that are made anew: running numbers that go on after those of training, or texts of the same shape; each name once."""

from __future__ import annotations

import dataclasses
import re
import string
from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["Fresh"]

_RUNNING = re.compile(r"^(\D*)(\d+)(\D*)$")
_AT_ONCE = 1024
_KINDS = (string.digits, string.ascii_lowercase, string.ascii_uppercase)


@dataclasses.dataclass(frozen=True)
class Fresh:
    """The shape of names.

    Attributes:
        before, after: what stands around a running number.
        last: the largest number in training; −1 where the names are no running numbers.
        width: digits of a number that is filled up with zeros; 0 where it is not.
        shape: of other names, what may stand at each place: a character, or ``"0"``, ``"a"``, ``"A"`` after a backslash for a digit, a
            small or
            a capital letter.
    """

    before: str = ""
    after: str = ""
    last: int = -1
    width: int = 0
    shape: tuple[str, ...] = ()

    @classmethod
    def of(cls, names: list[str]) -> Fresh:
        """The shape of names as they are in the file.

        >>> Fresh.of(["r08", "r09", "r10"]).names(2, np.random.default_rng(0))
        ['r11', 'r12']
        """
        parts = [match.groups() for match in map(_RUNNING.match, names) if match]
        if len(parts) == len(names) and len({(before, after) for before, _, after in parts}) == 1:
            numbers = [number for _, number, _ in parts]
            width = (
                len(numbers[0])
                if len({len(number) for number in numbers}) == 1 and any(n[0] == "0" for n in numbers)
                else 0
            )
            return cls(parts[0][0], parts[0][2], max(map(int, numbers)), width)
        length = max(map(len, names)) if names else 8
        places = []
        for place in range(length):
            seen = {name[place] for name in names if place < len(name)}
            kinds = [kind for kind in _KINDS if seen & set(kind)]
            if len(seen) == 1:
                places.append(next(iter(seen)))
            else:
                places.append("\\" + "".join(kind[0] for kind in kinds) if kinds else sorted(seen)[0])
        return cls(shape=tuple(places))

    def names(self, count: int, rng: np.random.Generator) -> list[str]:
        """So many new names; of running numbers those after the last one of the file."""
        if self.last >= 0:
            numbers = (str(self.last + 1 + each).zfill(self.width) for each in range(count))
            return [f"{self.before}{number}{self.after}" for number in numbers]
        alphabets = [
            "".join(kind for kind in _KINDS if kind[0] in each[1:]) if each[:1] == "\\" else each for each in self.shape
        ]
        sizes, found, idle = np.array([len(each) for each in alphabets]), dict[str, None](), 0
        while len(found) < count and idle < 3:  # each name once, as long as the shape has more
            known = len(found)
            places = (rng.random((_AT_ONCE, len(sizes))) * sizes).astype(int)  # (names, places)
            found |= dict.fromkeys("".join(map(str.__getitem__, alphabets, row)) for row in places.tolist())
            idle = idle + 1 if len(found) == known else 0
        names = list(found)
        rounds = (divmod(number, len(names)) for number in range(count))
        return [names[place] + (f"-{again + 1}" if again else "") for again, place in rounds]

    def state(self) -> dict[str, Any]:
        """Plain data."""
        return {**dataclasses.asdict(self), "shape": list(self.shape)}

    @classmethod
    def from_state(cls, told: Mapping[str, Any]) -> Fresh:
        """The inverse of :meth:`state`."""
        return cls(**{**told, "shape": tuple(told["shape"])})
