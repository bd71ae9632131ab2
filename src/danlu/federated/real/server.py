"""The server of a federated training: asks owners, takes means of what they answer, and never sees a row.

It knows owners by their names and a way to ask several at once (:class:`Link`); what carries the messages is another module's concern.
An owner that does not answer is lost: a round goes on without it as long as enough are there, and it takes part again once it is back.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import jax
import numpy as np

from danlu.blueprint import to_json
from danlu.data import TableEncoder, TargetEncoder
from danlu.errors import DanluError, DataError, TrainingError, first_line
from danlu.federated.fixed import FixedPoint
from danlu.federated.real.lesson import Lesson
from danlu.federated.real.local import flat, unflat
from danlu.federated.real.messages import Message, pack, unpack
from danlu.federated.real.tables import Agreed, agree, encoder_of, scales
from danlu.federated.rounds import drawn
from danlu.federated.secure import Terms, unmask

__all__ = ["Link", "Mean", "Model", "Server"]

Say = Callable[[str], None]


class Link(Protocol):
    """How owners are reached."""

    def present(self) -> Sequence[str]:
        """The names of the owners that are there."""

    def ask(self, messages: Mapping[str, bytes]) -> dict[str, bytes]:
        """The answers to messages, by owner; those that are lost on the way have none."""


@dataclasses.dataclass(frozen=True)
class Mean:
    """A weighted mean of owners' vectors: what the server sees of them.

    Attributes:
        value: the mean.
        weight: the sum of weights.
        owners: whose vectors are in it.
        names: of its last numbers, where they have some.
    """

    value: np.ndarray
    weight: int
    owners: tuple[str, ...]
    names: tuple[str, ...] = ()

    @property
    def named(self) -> dict[str, float]:
        """The last numbers, by name."""
        return dict(zip(self.names, self.value[self.value.size - len(self.names) :].tolist(), strict=True))


@dataclasses.dataclass(frozen=True)
class Model:
    """The shared network and what stands around it."""

    lesson: Lesson
    encoder: TableEncoder
    target: TargetEncoder
    params: Any
    state: Any
    history: tuple[dict[str, Any], ...] = ()
    test: Mapping[str, float] = dataclasses.field(default_factory=dict)
    rows: Mapping[str, int] = dataclasses.field(default_factory=dict)

    @classmethod
    def begun(
        cls, lesson: Lesson, encoder: TableEncoder, target: TargetEncoder, sample: Mapping[str, np.ndarray]
    ) -> Model:
        """The network before the first round, with the weights that a training of the lesson's seed begins with.

        Args:
            sample: encoded rows that are distributed as those of all, by which the bins of a table's network are set.
        """
        # The key of fit_clients' first weights, so that a simulation begins with the same.
        key = jax.random.fold_in(jax.random.key(lesson.seed), 0)
        params, state = lesson.recipe.initial(key, sample)
        return cls(lesson, encoder, target, *jax.device_get((params, state)))


class Server:
    """Asks the owners of one training.

    Args:
        link: how they are reached.
        owners: how many there are; their names in order give them their numbers.
        secure: whether means are of masked vectors.
        threshold: how many must answer; None is two thirds with secure sums, and half of them, rounded up, else.
        wait: seconds to wait for owners, at the beginning and when too few are there.
        seed: decides which rows owners hold out, who takes part, and the first weights.
        say: called with each line for the user.
    """

    def __init__(
        self,
        link: Link,
        owners: int,
        *,
        secure: bool = False,
        threshold: int | None = None,
        wait: float = 600.0,
        seed: int = 0,
        say: Say = print,
    ) -> None:
        self.link, self.count, self.secure, self.wait, self.seed, self.say = link, owners, secure, wait, seed, say
        self.threshold = threshold
        self.least_of(owners)  # says what does not go together
        self.names: tuple[str, ...] = ()
        self.parts: dict[str, dict[str, int]] = {}
        self._sums = 0
        self._lost: set[str] = set()
        self._left: set[str] = set()  # that cannot come back
        self._taken: dict[str, int] = {}  # rounds that each took part in

    def least_of(self, asked: int) -> int:
        """How many of so many owners must answer."""
        if self.secure:
            return Terms(asked, self.threshold or 0).threshold
        return min(self.threshold or -(-asked // 2), asked)

    # Who is there, and what all agree on.

    def gather(self) -> tuple[str, ...]:
        """Wait until as many owners are there as were said; their names, in order.

        Raises:
            TrainingError: they did not come.
        """
        self._until(lambda: len(self.link.present()) >= self.count, f"{self.count} owners")
        self.names = tuple(sorted(self.link.present())[: self.count])
        self.say(f"owners: {', '.join(self.names)}")
        return self.names

    def agree(self, target: str, *, validation: float = 0.15, test: float = 0.15, **how: Any) -> Agreed:
        """Ask all owners for their columns, and tell them what is common.

        Args:
            target: the column to predict.
            validation, test: the shares of each owner's rows.
            **how: what each owner's table is read with: ``drop``, columns that are not used, and ``kinds``, the kinds of columns.

        Raises:
            SchemaError: names an owner and a column that do not fit.
        """
        self._how = {"target": target, **how}
        said = self._all({name: self._describing(name) for name in self.names})
        self._described = {name: fields for name, (fields, _) in said.items()}
        agreed, notes = agree(self._described, target)
        for note in notes:
            self.say(f"note: {note}")
        self._held = {"agreed": agreed.to_json(), "seed": self.seed, "validation": validation, "test": test}
        parts = self._all({name: self._agreeing(name) for name in self.names})
        self.parts = {name: {part: int(count) for part, count in fields.items()} for name, (fields, _) in parts.items()}
        return agreed

    def encoder(self, agreed: Agreed) -> tuple[TableEncoder, TargetEncoder, dict[str, np.ndarray]]:
        """The encoders of all, from means over all owners' rows; and encoded rows that are distributed as theirs."""
        everyone = self.names
        means = self.mean("means", everyone)
        _, centre, _ = scales(agreed, means.value, None)
        squares = self.mean("squares", everyone, {}, {"centre": centre})
        _, centre, scale = scales(agreed, means.value, squares.value)
        shares = self.mean("shares", everyone, {}, {"centre": centre, "scale": scale})
        return encoder_of(agreed, means.value, squares.value, shares.value)

    # Rounds.

    def train(
        self,
        model: Model,
        *,
        per_round: int | None = None,
        on_round: Callable[[dict[str, Any], Any, Any], None] = lambda row, params, state: None,
    ) -> Model:
        """Rounds of training from a model's first weights; the model after the last.

        Args:
            model: the network to begin with, and its encoders.
            per_round: how many owners take part in each, drawn anew; None is all.
            on_round: called after each with its row of the history and the weights.
        """
        lesson = model.lesson
        data, arrays = model.encoder.state()
        self._begin = (
            {"ask": "begin", "encoder": data, "target": model.target.to_json(), "lesson": to_json(lesson)},
            {f"encoder/{name}": array for name, array in arrays.items()},
        )
        self._all({name: self._beginning(name) for name in self.names})
        total = sum(1 if lesson.method.equal else parts["train"] for parts in self.parts.values())
        optimizer = lesson.method.optimizer()
        opt_state = None if optimizer is None else optimizer.init(model.params)
        shared = _Shared(
            model.params, model.state, jax.tree.map(np.zeros_like, model.params) if lesson.method.scaffold else None
        )
        size, taken = flat((shared.params, shared.state)).size, dict.fromkeys(self.names, 0)
        self._taken = taken if lesson.method.scaffold else {}
        history: list[dict[str, Any]] = []
        for number in range(lesson.rounds):
            begun = time.monotonic()
            chosen = [self.names[place] for place in drawn(self.seed, number, self.count, per_round or self.count)]
            told = {name: {"round": number, "taken": taken[name]} for name in chosen}
            found = self._round(number, chosen, told, shared.given)
            for name in found.owners:
                taken[name] += 1
            mean = unflat(found.value[:size], (shared.params, shared.state))
            params, state = jax.tree.map(lambda a, d: np.asarray(a + d, a.dtype), (shared.params, shared.state), mean)
            if optimizer is not None:
                updates, opt_state = optimizer.update(jax.tree.map(np.negative, mean[0]), opt_state, shared.params)
                params = jax.tree.map(lambda p, u: np.asarray(p + u, p.dtype), shared.params, updates)
            control, part = shared.control, found.weight / total
            if control is not None:
                more = unflat(found.value[size : size + flat(control).size], control)
                control = jax.tree.map(lambda c, d, part=part: np.asarray(c + part * d, c.dtype), control, more)
            shared = _Shared(params, state, control)
            row = {"epoch": number, "step": number + 1, "clients": len(found.owners), **found.named}
            row |= {f"val_{name}": value for name, value in self._judged("validation", shared).items()}
            row["seconds"] = time.monotonic() - begun
            history.append(row)
            on_round(row, shared.params, shared.state)
        rows = {part: sum(parts[part] for parts in self.parts.values()) for part in ("train", "validation", "test")}
        return dataclasses.replace(
            model,
            params=shared.params,
            state=shared.state,
            history=tuple(history),
            test=self._judged("test", shared),
            rows=rows,
        )

    def finish(self, said: str) -> None:
        """Tell the owners that it is over."""
        self.link.ask({name: pack({"ask": "finish", "said": said}) for name in self.link.present()})

    def dismiss(self, error: DanluError) -> None:
        """Tell the owners why it cannot go on."""
        self.link.ask(
            {name: pack({"ask": "refused", "why": error.message, "hint": error.hint}) for name in self.link.present()}
        )

    def _round(
        self, number: int, chosen: Sequence[str], told: Mapping[str, Mapping[str, Any]], given: Mapping[str, np.ndarray]
    ) -> Mean:
        """A round's mean; asked again, once owners are back, if too few answered."""
        deadline = time.monotonic() + self.wait
        while True:
            here = self._here()
            try:
                return self.mean("train", chosen, told, given, here=here)
            except _TooFewError as error:
                gone = sorted(self._left.intersection(chosen))
                if len(chosen) - len(gone) < self.least_of(len(chosen)):
                    raise TrainingError(
                        f"round {number + 1}: {error.message}, and {', '.join(gone)} cannot come back",
                        hint="--method fedprox needs no memory of an owner, and a lower --threshold goes on without some of them",
                    ) from None
                if time.monotonic() > deadline:
                    raise TrainingError(
                        f"round {number + 1}: {error.message}",
                        hint=f"the others did not come back within {self.wait:g} s; --wait gives them longer",
                    ) from None
            time.sleep(0.2)

    def _judged(self, part: str, shared: _Shared) -> dict[str, float]:
        """The loss and the metrics on the rows that owners hold out; none where too few are there to be asked."""
        try:
            found = self.mean("judge", self.names, {"part": part}, shared.given, here=self._here())
        except _TooFewError:
            return {}
        return found.named if found.weight else {}

    # Means.

    def mean(
        self,
        ask: str,
        owners: Sequence[str],
        fields: Mapping[str, Any] | None = None,
        arrays: Mapping[str, np.ndarray] | None = None,
        *,
        here: Sequence[str] | None = None,
    ) -> Mean:
        """The weighted mean of the owners' answers to a question.

        Args:
            fields: of the question, or of each owner's by its name.
            here: which of the owners are there; None is all of them.
        """
        each = {name: (fields or {}).get(name, fields or {}) for name in owners if here is None or name in here}
        questions = {name: ({"ask": ask, **each[name]}, dict(arrays or {})) for name in each}
        least = self.least_of(len(owners))
        if self.secure:
            with _fitting():
                return self._secure_mean(ask, questions, Terms(len(owners), least, label=f"{self.seed}-{self._sums}"))
        found = self._some(questions, least)
        with _fitting():
            weights = {name: int(fields["weight"]) for name, (fields, _) in found.items()}
            total = sum(weights.values())
            vectors = [
                arrays["vector"].astype(np.float64) * (weights[name] / max(total, 1))
                for name, (_, arrays) in found.items()
            ]
            return Mean(np.sum(vectors, axis=0), total, tuple(found), _names(found))

    def _secure_mean(self, ask: str, questions: Mapping[str, Message], terms: Terms) -> Mean:
        """The same of masked vectors, by the four stages of a secure sum."""
        self._sums += 1
        least, numbers = terms.threshold, {name: number for number, name in enumerate(self.names)}
        point = FixedPoint(64, self._fraction(ask))
        said = dataclasses.asdict(terms)
        found = self._some(
            {name: ({"ask": "keys", "number": numbers[name], "terms": said}, {}) for name in questions}, least
        )
        publics = {numbers[name]: arrays["keys"].tobytes() for name, (_, arrays) in found.items()}
        keys = {str(number): np.frombuffer(public, np.uint8) for number, public in publics.items()}
        sent = self._some({name: ({"ask": "parts"}, keys) for name in found}, least)
        letters = {numbers[name]: arrays for name, (_, arrays) in sent.items()}
        how = {"secure": {"bits": point.bits, "fraction": point.fraction}}
        asked = {}
        for name in sent:
            mine = {
                f"letter/{who}": theirs[str(numbers[name])] for who, theirs in letters.items() if who != numbers[name]
            }
            fields, arrays = questions[name]
            asked[name] = ({**fields, **how}, {**arrays, **mine})
        masked = self._some(asked, least)
        vectors = {numbers[name]: arrays["vector"] for name, (_, arrays) in masked.items()}
        opened = self._some({name: ({"ask": "reveal", "arrived": sorted(vectors)}, {}) for name in masked}, least)
        revealed = {
            numbers[name]: {int(number): part.tobytes() for number, part in arrays.items()}
            for name, (_, arrays) in opened.items()
        }
        total = unmask(vectors, {number: publics[number] for number in letters}, revealed, terms)
        if int(total[0]) == 0:
            return Mean(np.zeros(total.size - 1), 0, tuple(masked), _names(masked))
        value, weight = point.decode(total)
        return Mean(value, weight, tuple(masked), _names(masked))

    def _fraction(self, ask: str) -> int:
        """Digits after the point, as the owners' rows leave room for them; of statistics, which are at most 1, more than of a network."""
        rows = self.count * max(int(each["rows"]) for each in self._described.values())
        most = 60 - math.ceil(math.log2(max(rows, 2)))
        return min(most, 44) if ask in ("means", "squares", "shares") else min(most - 10, 32)

    # Asking.

    def _here(self) -> list[str]:
        """The owners that are there and have been told what is trained; one that is back is told anew."""
        present = [name for name in self.link.present() if name in self.names and name not in self._left]
        for name in set(self.names) - set(present) - self._lost:
            self._lost.add(name)
            self.say(f"note: the owner {name} is lost; its rows are not learnt from until it is back")
        for name in [name for name in present if name in self._lost]:
            try:
                for question in (self._describing, self._agreeing, self._beginning):
                    answer = self._some({name: question(name)}, 1)[name][0]
            except _TooFewError:
                present.remove(name)
                continue
            if self._taken.get(name) and not answer.get("remembers"):
                self._part_with(name)
                present.remove(name)
                continue
            self._lost.discard(name)
            self.say(f"note: the owner {name} is back")
        return present

    def _part_with(self, name: str) -> None:
        """Send away an owner that was started anew: of what it corrects its steps by (SCAFFOLD's control variate) nobody has a copy."""
        why = f"the owner {name} was started anew and has lost its control variate, which SCAFFOLD goes by"
        hint = "the others go on without it; --method fedprox needs no memory of an owner"
        self._left.add(name)
        self.say(f"note: {why}; it takes no further part")
        self.link.ask({name: pack({"ask": "refused", "why": why, "hint": hint})})

    def _describing(self, name: str) -> Message:
        return {"ask": "describe", **self._how}, {}

    def _agreeing(self, name: str) -> Message:
        return {"ask": "agreed", "number": self.names.index(name), **self._held}, {}

    def _beginning(self, name: str) -> Message:
        fields, arrays = self._begin
        return {**fields, "number": self.names.index(name)}, arrays

    def _all(self, questions: Mapping[str, Message]) -> dict[str, Message]:
        return self._some(questions, len(questions))

    def _some(self, questions: Mapping[str, Message], least: int) -> dict[str, Message]:
        """The answers of at least so many owners.

        Raises:
            TrainingError: an owner says what is wrong with it, or too few answer.
        """
        answers = self.link.ask({name: pack(*question) for name, question in questions.items()})
        found = {name: unpack(answers[name]) for name in questions if name in answers}
        for name, (fields, _) in found.items():
            if "error" in fields:
                raise DataError(f"the owner {name} says: {fields['error']}", hint=fields.get("hint"))
        for name in questions:
            if name not in found and name not in self._lost:
                self._lost.add(name)
                self.say(f"note: the owner {name} is lost; its rows are not learnt from until it is back")
        if len(found) < least:
            kind = "a secure sum of them needs" if self.secure else "expected at least"
            raise _TooFewError(f"{len(found)} of {len(questions)} owners answered; {kind} {least}")
        return found

    def _until(self, there: Callable[[], bool], what: str) -> None:
        deadline, said = time.monotonic() + self.wait, False
        while not there():
            if not said:
                self.say(f"waiting for {what}; {len(self.link.present())} are there")
                said = True
            if time.monotonic() > deadline:
                here = list(self.link.present())
                raise TrainingError(
                    f"{len(here)} of {self.count} owners came within {self.wait:g} s"
                    + (f": {', '.join(sorted(here))}" if here else ""),
                    hint="start the others, or say how many there are; --wait gives them longer",
                )
            time.sleep(0.1)


@dataclasses.dataclass(frozen=True)
class _Shared:
    """What all owners begin a round with."""

    params: Any
    state: Any
    control: Any

    @property
    def given(self) -> dict[str, np.ndarray]:
        """As owners are sent it."""
        whole = (self.params, self.state)
        return {"given": flat(whole if self.control is None else (whole, self.control))}


@contextlib.contextmanager
def _fitting() -> Iterator[None]:
    """Say in one message that answers lack what was asked for, or are of different lengths."""
    try:
        yield
    except DanluError:
        raise
    except (KeyError, ValueError, IndexError) as error:
        raise DataError(
            f"the answers of the owners do not go together: {type(error).__name__}: {first_line(error)}",
            hint="has each owner the server's version of danlu?",
        ) from error


class _TooFewError(TrainingError):
    """Owners were lost: the question can be asked again."""


def _names(found: Mapping[str, Message]) -> tuple[str, ...]:
    return next((tuple(fields.get("names", ())) for fields, _ in found.values()), ())
