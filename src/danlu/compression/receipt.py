"""What a compressed model costs and what it is worth, beside the one that it was made of."""

from __future__ import annotations

import dataclasses
import math
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from danlu.compression.fresh import peak_of_danlu, peak_of_onnx
from danlu.compression.race import Race, Ratio, Speed, raced
from danlu.compression.work import multiply_adds
from danlu.errors import ConfigError, DanluError, MissingExtraError
from danlu.evaluate import Comparison, Evidence, Interval, compare
from danlu.evaluate.intervals import intervals
from danlu.export.called import function_of
from danlu.export.kinds import kind_of
from danlu.export.runtime import needed, session_of
from danlu.export.written import onnx_of
from danlu.nn.counted import numbers
from danlu.stages import stage
from danlu.trained import Trained

__all__ = ["BATCHES", "ENGINES", "Receipt", "Receipts", "Stage", "receipts"]

BATCHES = (1, 256)
ENGINES = ("danlu", "onnxruntime")
_OF_MODEL = (
    "model.json",
    "weights.safetensors",
)  # what the model is; the rows that it has seen and the baselines stay as they were


@dataclasses.dataclass(frozen=True, eq=False)
class Stage:
    """A model at one point of its compression.

    Attributes:
        name: what was done, in a word or two.
        model: as it is then.
        evidence: its test; None where there are no test rows.
    """

    name: str
    model: Trained
    evidence: Evidence | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Receipt:
    """What one stage costs and what it is worth.

    Attributes:
        name: of the stage.
        bytes: of the saved model, its description and its weights.
        file: bytes of the exported ONNX file with everything in it, or None.
        parameters, nonzero: numbers that training changes, and those of them that are not 0.
        multiply_adds: of one row.
        speeds: the time of one call by engine and rows, ``{("danlu", 1): …}``.
        memory: the most bytes of a fresh process that answers 256 rows, by engine.
        measure: what it is judged by; empty without test rows.
        score: that on the test rows, with its interval.
        ratios: how many times it is as fast as the first stage, as ``speeds``.
        compared: with the first stage, on the same test rows; None of the first.
    """

    name: str
    bytes: int
    file: int | None
    parameters: int
    nonzero: int
    multiply_adds: int
    speeds: Mapping[tuple[str, int], Speed]
    memory: Mapping[str, int]
    measure: str = ""
    score: Interval | None = None
    ratios: Mapping[tuple[str, int], Ratio] = dataclasses.field(default_factory=dict)
    compared: Comparison | None = None

    def as_dict(self) -> dict[str, Any]:
        """The same as plain data."""
        score = self.score
        return {
            "name": self.name,
            "bytes": self.bytes,
            "onnx_bytes": self.file,
            "parameters": self.parameters,
            "nonzero": self.nonzero,
            "multiply_adds": self.multiply_adds,
            "seconds": {
                f"{engine}, {rows}": {"median": each.median, "quartiles": [each.low, each.high]}
                for (engine, rows), each in self.speeds.items()
            },
            "times_as_fast": {
                f"{engine}, {rows}": {
                    "value": each.value,
                    "interval": [each.low, _finite(each.high)],
                    "verdict": each.verdict,
                }
                for (engine, rows), each in self.ratios.items()
            },
            "peak_memory": dict(self.memory),
            "measure": self.measure,
            "score": None if score is None else {"value": score.value, "interval": [score.low, score.high]},
            "compared": None
            if self.compared is None
            else {
                "verdict": self.compared.verdict,
                "difference": self.compared.difference.value,
                "interval": [self.compared.difference.low, self.compared.difference.high],
                "sentence": self.compared.sentence,
            },
        }


@dataclasses.dataclass(frozen=True, eq=False)
class Receipts:
    """The receipts of a compression, from the model before it to the last one; printing them shows a table.

    Attributes:
        stages: the receipts, in their order.
        rows: test rows, and what they are called.
        rounds: of the timing; of the slowest, where there were fewer.
        threads: of onnxruntime.
        cores: that danlu's compiled programs may use.
        notes: what could not be measured, and why.
    """

    stages: tuple[Receipt, ...]
    rows: int
    noun: str
    rounds: int
    threads: int
    cores: int
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The same as plain data."""
        return {
            "stages": [each.as_dict() for each in self.stages],
            "test_rows": self.rows,
            "rounds": self.rounds,
            "threads": {"onnxruntime": self.threads, "danlu": self.cores},
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        from danlu.compression.told import told

        return told(self)


def receipts(stages: Sequence[Stage], inputs: Any, *, rounds: int = 21, memory: bool = True, seed: int = 0) -> Receipts:
    """Measure models beside each other.

    Times are taken in rounds, each model in turn, after the programs were compiled (see :mod:`danlu.compression.race`): those of danlu
    are of the compiled network on encoded rows, those of onnxruntime of the whole exported file, from columns as they stand in a file to
    the answer. Memory is that of a fresh process. Scores are compared on the same test rows.

    Args:
        stages: the models, the one before everything first.
        inputs: encoded rows, at least one; they are repeated to make 256.
        rounds: of the timing.
        memory: whether processes are started to see how much they take.
    """
    notes: list[str] = []
    many = {count: _repeated(inputs, count) for count in BATCHES}
    evidence = [each.evidence for each in stages]
    with tempfile.TemporaryDirectory(prefix="danlu-receipts-") as folder:
        measured = []
        with stage("exporting and starting", total=len(stages)) as step:
            for number, each in enumerate(stages):
                measured.append(_Measured.of(each.model, Path(folder) / str(number), many, notes, memory=memory))
                step.advance()
        ran = [number for number, each in enumerate(measured) if each.data]
        with stage("timing"):
            races: dict[tuple[str, int], tuple[list[int], Race]] = {}
            for count in BATCHES:
                calls = [_network(each.model, many[count]) for each in stages]
                races["danlu", count] = list(range(len(stages))), raced(calls, rounds=rounds, seed=seed)
            sessions = {number: session_of(measured[number].data) for number in ran}
            for count in BATCHES if ran else ():
                calls = [_whole(sessions[number], measured[number].feeds[count]) for number in ran]
                races["onnxruntime", count] = ran, raced(calls, rounds=rounds, seed=seed)
    found = []
    for number, each in enumerate(stages):
        own, primary = evidence[number], "" if evidence[number] is None else evidence[number].primary  # type: ignore[union-attr]
        there = {key: (places.index(number), race) for key, (places, race) in races.items() if number in places}
        begun = {key: places.index(0) for key, (places, _) in races.items() if 0 in places}
        found.append(
            Receipt(
                each.name,
                measured[number].size,
                len(measured[number].data) or None,
                *numbers(each.model.params, each.model.state),
                multiply_adds(each.model.network, each.model.params, each.model.state, many[1]),
                {key: race.speed(place) for key, (place, race) in there.items()},
                measured[number].memory,
                primary,
                None if own is None else intervals(own, (primary,), seed=seed)[primary],
                {key: race.ratio(begun[key], place) for key, (place, race) in there.items() if number and key in begun},
                None
                if own is None or evidence[0] is None or not number
                else _compared(own, evidence[0], stages[0].name, each.name),
            )
        )
    tested = evidence[0]
    return Receipts(
        tuple(found),
        0 if tested is None else len(tested),
        "" if tested is None else tested.noun,
        min(race.times.shape[1] for _, race in races.values()),
        1,
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        tuple(dict.fromkeys(notes)),
    )


@dataclasses.dataclass(frozen=True, eq=False)
class _Measured:
    """What one model takes: bytes on disk and in memory, and its file for onnxruntime with the rows for it, where there can be one."""

    size: int
    data: bytes
    feeds: Mapping[int, Mapping[str, np.ndarray]]
    memory: Mapping[str, int]

    @classmethod
    def of(
        cls, model: Trained, folder: Path, inputs: Mapping[int, Any], notes: list[str], *, memory: bool
    ) -> _Measured:
        plain = dataclasses.replace(model, kept={}, seen=None)  # what was seen and the baselines stay as they were
        saved = plain.save(folder)
        size = sum((saved / name).stat().st_size for name in _OF_MODEL)
        file, data, feeds = folder / "model.onnx", b"", {}
        try:
            needed()
            if function_of(plain) is not None:
                raise ConfigError(
                    f"the file of a model for {plain.purpose}, which danlu export writes, is called step by step, "
                    "and no one time is a row's"
                )
            data, _ = onnx_of(plain)
            file.write_bytes(data)
            kind = kind_of(model.encoder)
            made = kind.made(model.encoder, np.random.default_rng(0))
            feeds = {count: kind.feed(model.encoder, _taken(made, count)) for count in inputs}
        except (MissingExtraError, ConfigError) as error:
            notes.append(f"not measured in onnxruntime: {error.message}")
        peaks: dict[str, int] = {}
        if memory:
            try:
                peaks["danlu"] = peak_of_danlu(saved, inputs[max(inputs)])
                if feeds:
                    peaks["onnxruntime"] = peak_of_onnx(file, feeds[max(inputs)])
            except DanluError as error:
                notes.append(error.message)
        return cls(size, data if feeds else b"", feeds, peaks)


def _compared(ours: Evidence, first: Evidence, label: str, name: str) -> Comparison | None:
    return compare(ours, first, label, name=name)


def _repeated(inputs: Any, count: int) -> Any:
    """So many encoded rows, the given ones over and over."""

    def one(leaf: Any) -> np.ndarray:
        leaf = np.asarray(leaf)
        return leaf[np.arange(count) % len(leaf)]

    return jax.tree.map(one, inputs)


def _taken(rows: Any, count: int) -> Any:
    """So many rows as they were read, the given ones over and over."""
    places = np.arange(count) % len(rows)
    if isinstance(rows, list | tuple):
        return [rows[place] for place in places]
    return rows.take(places) if hasattr(rows, "take") and not isinstance(rows, np.ndarray) else rows[places]


def _network(model: Trained, inputs: Any) -> Callable[[], Any]:
    """A call of the compiled network on encoded rows that are on the device already."""
    program = jax.jit(lambda params, state, x: model.network.apply(params, state, x, train=False)[0])
    variables, rows = jax.device_put((model.params, model.state)), jax.device_put(inputs)
    return lambda: jax.block_until_ready(program(*variables, rows))


def _whole(session: Any, feed: Mapping[str, np.ndarray]) -> Callable[[], Any]:
    return lambda: session.run(None, feed)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
