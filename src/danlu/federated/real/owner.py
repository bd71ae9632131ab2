"""An owner of rows: what it answers, whoever asks. Rows come in by its file and do not go out.

What it says, in full: its name and version; the names, kinds, formats and frequent levels of its columns and a power of two above their
largest values (:meth:`TableRows.describe`); how many rows it has; means over its rows; the change of the network that its rows made, and
its loss and measures. With secure sums the last three are masked (:mod:`danlu.federated.secure`). What is wrong with its table may name a
value, so only the owner itself reads it; the server is told that something is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from danlu import __version__
from danlu.blueprint import from_json
from danlu.data import TableEncoder, TargetEncoder
from danlu.engine.order import rng_for
from danlu.errors import DanluError, TrainingError, first_line
from danlu.federated.fixed import FixedPoint
from danlu.federated.real.lesson import Lesson
from danlu.federated.real.local import Local
from danlu.federated.real.messages import PROTOCOL, ToldError, pack, unpack
from danlu.federated.real.tables import LEAST, Agreed, TableRows
from danlu.federated.secure import Member, Terms

__all__ = ["Owner"]

_DIVIDE = 2**31 + 1  # beside seed, for which rows are held out
_OF_ROWS = ("describe", "agreed", "begin", "means", "squares", "shares", "train", "judge")  # what it reads rows for
Vector = tuple[np.ndarray, int, dict[str, Any]]


class Owner:
    """One owner: answers messages with messages.

    Args:
        name: what the others call it.
        open_rows: makes the rows from the settings that the server asks with: ``target``, ``drop``, ``kinds``.
        secure: whether it answers only where its vectors are masked.
        say: called with each line for the owner's user.
    """

    def __init__(
        self,
        name: str,
        open_rows: Callable[[Mapping[str, Any]], TableRows],
        *,
        secure: bool = False,
        say: Callable[[str], None] = print,
    ) -> None:
        self.name, self._open, self.secure, self.say = name, open_rows, secure, say
        self.finished: str | None = None
        self.error: DanluError | None = None
        self.refused = False
        self._rows: TableRows | None = None
        self._local: Local | None = None
        self._begun: Mapping[str, Any] | None = None  # what the training of ``_local`` began with
        self._member: Member | None = None

    def answer(self, data: bytes) -> bytes:
        """The answer to a message; what goes wrong is an answer too, and ``error`` keeps it."""
        fields: Mapping[str, Any] = {}
        try:
            fields, arrays = unpack(data)
            asked = getattr(self, f"_on_{fields.get('ask')}", None)
            if asked is None:
                raise ToldError(
                    f"the server asks for {fields.get('ask')!r}, which this version of danlu does not know",
                    hint="use the same version on both sides",
                )
            return bytes(asked(fields, arrays))
        except DanluError as error:
            self.error = error
        except Exception as error:
            self.error = TrainingError(f"the owner cannot answer: {type(error).__name__}: {first_line(error)}")
        told: DanluError = self.error
        if fields.get("ask") in _OF_ROWS and not isinstance(told, ToldError):
            told = ToldError(
                f"it cannot answer {fields['ask']!r} with its table",
                hint="what is wrong may name a value of a row, so it is said where that owner runs and nowhere else",
            )
        return pack({"error": told.message, "hint": told.hint})

    # Who is there.

    def _on_hello(self, fields: Mapping[str, Any], arrays: Any) -> bytes:
        return pack({"name": self.name, "version": __version__, "protocol": PROTOCOL})

    def _on_refused(self, fields: Mapping[str, Any], arrays: Any) -> bytes:
        self.refused = True
        if self.error is None:  # else its own words say more
            self.error = TrainingError(str(fields["why"]), hint=fields.get("hint"))
        return pack({})

    def _on_finish(self, fields: Mapping[str, Any], arrays: Any) -> bytes:
        self.finished = str(fields["said"])
        return pack({})

    # What all agree on.

    def _on_describe(self, fields: Mapping[str, Any], arrays: Any) -> bytes:
        self._rows = self._open(fields)
        self.said = self._rows.describe()
        return pack(self.said)

    def _on_agreed(self, fields: Mapping[str, Any], arrays: Any) -> bytes:
        rows = self._there
        self._agreed = Agreed.from_json(fields["agreed"])
        count, draw = rows.frame.height, rng_for(int(fields["seed"]) + int(fields["number"]), _DIVIDE)
        held, tested = (round(count * float(fields[name])) for name in ("validation", "test"))
        order = draw.permutation(count)
        self._parts = {
            "validation": order[:held],
            "test": order[held : held + tested],
            "train": np.sort(order[held + tested :]),
        }
        if len(self._parts["train"]) < LEAST:
            raise ToldError(
                f"the owner {self.name} has {count} rows and would learn from {len(self._parts['train'])}; "
                f"expected at least {LEAST}, since means over fewer tell the rows",
                hint="give it more rows",
            )
        return pack({name: len(part) for name, part in self._parts.items()})

    def _on_begin(self, fields: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> bytes:
        encoder = TableEncoder.from_state(
            fields["encoder"], {name.removeprefix("encoder/"): a for name, a in arrays.items()}
        )
        x, y = self._there.encoded(encoder, TargetEncoder.from_json(fields["target"]))
        self._data = {
            part: ({name: array[rows] for name, array in x.items()}, y[rows]) for part, rows in self._parts.items()
        }
        lesson = from_json(fields["lesson"])
        if not isinstance(lesson, Lesson):
            raise TrainingError("the server sent no lesson", hint="use the same version of danlu on both sides")
        again = self._begun == fields  # the connection was lost, and not what the training remembers
        if self._local is None or not again:
            self._local, self._begun = Local(lesson, self._data["train"], int(fields["number"])), fields
        return pack({"rows": self._local.rows, "remembers": again})

    # Means over its rows: each a vector and the number of rows that it is of.

    def _on_means(self, fields: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> bytes:
        rows = self._parts["train"]
        return self._sent((self._there.means(self._agreed, rows), len(rows), {}), fields, arrays)

    def _on_squares(self, fields: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> bytes:
        rows = self._parts["train"]
        return self._sent((self._there.squares(self._agreed, rows, arrays["centre"]), len(rows), {}), fields, arrays)

    def _on_shares(self, fields: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> bytes:
        rows = self._parts["train"]
        found = self._there.shares(self._agreed, rows, arrays["centre"], arrays["scale"])
        return self._sent((found, len(rows), {}), fields, arrays)

    def _on_train(self, fields: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> bytes:
        local = self._ready
        change, means = local.learn(arrays["given"], int(fields["round"]), int(fields["taken"]))
        self.say(f"round {int(fields['round']) + 1}: loss {means['loss']:.4g} on {local.rows:,} rows")
        vector = np.concatenate([change, np.array(list(means.values()), np.float32)])
        weight = 1 if local.lesson.method.equal else local.rows
        return self._sent((vector, weight, {"names": list(means)}), fields, arrays)

    def _on_judge(self, fields: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> bytes:
        local, held = self._ready, self._data[str(fields["part"])]
        found = local.judge(arrays["given"], held) if len(held[1]) else dict.fromkeys(local.told, 0.0)
        return self._sent((np.array(list(found.values())), len(held[1]), {"names": list(found)}), fields, arrays)

    def _sent(self, found: Vector, fields: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> bytes:
        """The vector and its weight; for a secure sum both in one masked vector."""
        vector, weight, more = found
        if not np.isfinite(vector).all():
            raise ToldError(
                f"the training of the owner {self.name} gave NaN or infinite values", hint="lower learning_rate"
            )
        if "secure" not in fields:
            if self.secure:
                raise ToldError(
                    f"the server asks the owner {self.name} for an open vector, and it gives only masked ones",
                    hint="--secure at the server too, or leave it out here",
                )
            return pack({"weight": weight, **more}, {"vector": vector})
        point = FixedPoint(fields["secure"]["bits"], fields["secure"]["fraction"])
        whole = point.encode(vector, weight, members=self._of_sum.terms.members)
        letters = {
            int(name.removeprefix("letter/")): a.tobytes() for name, a in arrays.items() if name.startswith("letter/")
        }
        return pack(more, {"vector": self._of_sum.mask(whole, letters)})

    # The stages of a secure sum.

    def _on_keys(self, fields: Mapping[str, Any], arrays: Any) -> bytes:
        self._member = Member(int(fields["number"]), Terms(**fields["terms"]))
        return pack({}, {"keys": _bytes(self._member.advertise())})

    def _on_parts(self, fields: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> bytes:
        letters = self._of_sum.share({int(number): keys.tobytes() for number, keys in arrays.items()})
        return pack({}, {str(number): _bytes(letter) for number, letter in letters.items()})

    def _on_reveal(self, fields: Mapping[str, Any], arrays: Any) -> bytes:
        found = self._of_sum.reveal([int(number) for number in fields["arrived"]])
        return pack({}, {str(number): _bytes(part) for number, part in found.items()})

    @property
    def _there(self) -> TableRows:
        if self._rows is None:
            raise ToldError(f"the owner {self.name} was asked for its rows before it opened them")
        return self._rows

    @property
    def _ready(self) -> Local:
        if self._local is None:
            raise ToldError(f"the owner {self.name} was asked to learn before it was told what")
        return self._local

    @property
    def _of_sum(self) -> Member:
        if self._member is None:
            raise ToldError(f"the owner {self.name} was asked for a part of a secure sum that it is not in")
        return self._member


def _bytes(data: bytes) -> np.ndarray:
    return np.frombuffer(data, np.uint8)
