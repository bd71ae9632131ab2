"""A trained model of any kind: a schema, an encoder, a network and a head."""

from __future__ import annotations

import dataclasses
import functools
import html
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import polars as pl

from danlu.data import read_table
from danlu.data.fields import Field, check_records
from danlu.data.intake import check_named
from danlu.data.remote import brought
from danlu.data.seen import known_rows, row_hashes
from danlu.engine import predict_outputs
from danlu.errors import ConfigError, SchemaError, unknown_name
from danlu.evaluate.compare import counted
from danlu.evaluate.groups import Groups
from danlu.evaluate.histograms import Histogram
from danlu.evaluate.intervals import figure
from danlu.evaluate.judgement import Judgement
from danlu.evaluate.kept import Kept
from danlu.evaluate.rows import Rows
from danlu.evaluate.slices import Slices, worst_slices
from danlu.nn.blend import Blend
from danlu.nn.ensemble import Ensemble
from danlu.nn.layer import Layer
from danlu.nn.masked import Masked
from danlu.nn.quantized import Quantized
from danlu.nn.scorecard import Scorecard
from danlu.trained.answers import IDENTIFIERS, beside, kept_columns, rounded
from danlu.trained.head import pieces
from danlu.trained.read import Read, Reader, Say, reading, warn
from danlu.trained.save import save
from danlu.trained.sensitive import groups_by, sensitive_names, sliced_columns
from danlu.trained.spread import spread_of

__all__ = ["Trained"]


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Trained:
    """A trained model: ``head ∘ forward ∘ encode``, and the words around it.

    Attributes:
        network, params, state: the blueprint and its variables.
        encoder: turns rows as they were read into the network's inputs, an :class:`Encoder`; its ``fields`` are the schema.
        head: turns the network's outputs into answers, a :class:`Head`.
        reader: reads the user's files; None of a model of arrays, such as an estimator's.
        metrics: its test scores.
        provenance: versions, time, and what it was trained on.
        seen: sorted hashes of the rows that it learnt from (see :func:`danlu.data.seen.row_hashes`), or None.
        kept: the simple models that it was compared with, by what they are called.
        profile: how its training rows and its answers were distributed, for what watches it in use; see :mod:`danlu.watch`.
        instead: what gives the outputs for encoded rows in the network's place, or None.
        batch: rows that the network sees at once; None leaves it to the head. A service, which is asked a row at a time, takes fewer.

    Example:
        >>> import tempfile, danlu
        >>> rows = {"x": [float(i) for i in range(60)], "y": ["low", "high"] * 30}
        >>> model = danlu.train(rows, target="y", runs=tempfile.mkdtemp(), display="none", say=lambda line: None,
        ...                     model={"members": 2, "width": 8}, trainer={"epochs": 1}).model
        >>> [(field.name, field.kind) for field in model.fields]
        [('x', 'number')]
        >>> sorted(model.respond([{"x": 3.0}])[0])
        ['probability high', 'probability low', 'y']
    """

    network: Layer
    params: Any
    state: Any
    encoder: Any
    head: Any
    reader: Reader | None = None
    metrics: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    provenance: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    seen: np.ndarray | None = None
    kept: Mapping[str, Kept] = dataclasses.field(default_factory=dict)
    profile: tuple[Histogram, ...] = ()
    instead: Callable[[Any], np.ndarray] | None = None
    batch: int | None = None

    def __getattr__(self, name: str) -> Any:
        """What only models of this kind can do, a verb of the head: to translate, to write, to play."""
        head = self.__dict__.get("head")
        if head is None:
            raise AttributeError(name)
        if name not in head.verbs:
            can = ("predict", "evaluate", "respond", *head.verbs)
            raise AttributeError(f"a model for {self.purpose} has no {name!r}; it can {', '.join(can)}")
        return functools.partial(getattr(head, name), self)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self.head.verbs})

    @property
    def fields(self) -> tuple[Field, ...]:
        """The schema: what one row is made of."""
        return (*self.encoder.fields, *self.head.needs)

    @property
    def in_shape(self) -> Any:
        """The shape of one encoded row, what the network's ``init`` takes."""
        return self.encoder.in_shape

    @property
    def task(self) -> str:
        """The kind of answer, such as ``"binary"``."""
        return self.head.task

    @property
    def kind(self) -> str:
        """The kind of data it was trained on, such as ``"table"``: the tag of its domain."""
        return str(self.encoder.state()[0]["kind"]) if self.reader is None else self.reader.kind

    @property
    def purpose(self) -> str:
        """What it does, in a few words."""
        return self.task if self.reader is None else self.reader.purpose(self)

    # From arrays to arrays.

    def forward(self, inputs: Any) -> Any:
        """The network's outputs for encoded rows, all at once: pure JAX, to be compiled, differentiated or exported."""
        return self.network.apply(self.params, self.state, inputs, train=False)[0]

    def outputs(self, inputs: Any) -> Any:
        """The outputs for encoded rows as NumPy arrays of float64, computed in batches of the head's size."""
        if self.instead is not None:
            return self.instead(inputs)
        found = predict_outputs(self.network, self.params, self.state, inputs, batch_size=self.batch or self.head.batch)
        return jax.tree.map(lambda leaf: leaf.astype(np.float64) if leaf.dtype == np.float32 else leaf, found)

    def answer(self, inputs: Any) -> Any:
        """The answers for encoded rows, as the head gives them: probabilities, values, boxes, …."""
        return self.head.answer(self, inputs)

    def answer_rows(self, rows: Any) -> Any:
        """The answers for rows as they were read."""
        return self.head.answer_rows(self, rows)

    def spread(self, inputs: Any) -> np.ndarray:
        """How far the model's members disagree about encoded rows, ``(rows,)``; see :func:`~danlu.trained.spread.spread_of`.

        Of a blend it is the members of the network that are asked.

        Raises:
            ConfigError: a model of one network, or one whose answers are no labels.
        """
        found = None if self.instead is not None else self.head.members(self.part("network"), inputs)
        if found is None:
            raise ConfigError(
                f"a model for {self.purpose} has no members that could disagree",
                hint="networks of tables, images, recordings, texts and sequences with labels may have",
            )
        if len(found) < 2:
            raise ConfigError(
                "this model is one network, which agrees with itself",
                hint="train several: danlu train … --ensemble 5 (in Python model={'ensemble': 5})",
            )
        return spread_of(found)

    @property
    def is_ensemble(self) -> bool:
        """Whether it was asked to be several models: its answers then come with their disagreement."""
        members = int(self.provenance.get("ensemble") or 1) * int(self.provenance.get("snapshots") or 1)
        return self.instead is None and members > 1

    @property
    def one(self) -> tuple[Layer, Any, Any]:
        """A network with its variables, for what looks inside one: the whole, the network of a blend, or the first copy of an ensemble.

        Of one whose weights are codes, masked or adapted it is the network itself with the weights that these stand for.
        """
        own = self.part("network")
        network, variables = own.network, (own.params, own.state)
        while True:
            if isinstance(network, Ensemble):  # of networks, of snapshots, or of both
                network, variables = network.network, jax.tree.map(lambda leaf: leaf[0], variables)
            elif isinstance(network, Masked | Quantized):
                variables = network.merge(*variables)
                network = network.layer
            else:
                return network, *variables

    # From the user's data to the user's words.

    def read(self, source: Any, *, lenient: bool = False, say: Say = warn, truth: bool = False) -> Read:
        """New data, checked against what the model was trained on; see :class:`~danlu.trained.read.Reader`."""
        if self.reader is None:
            raise ConfigError(
                "this model was trained on arrays and reads no files", hint="answer_rows takes what its encoder takes"
            )
        check_named(source)
        source = brought(source)
        takes = self.reader.takes
        if takes and not isinstance(source, takes):
            what = "a path or an array" if np.ndarray in takes else "a path"
            raise SchemaError(
                f"a model for {self.purpose} reads {what}; received a {type(source).__name__}",
                hint="respond answers a list of records",
            )
        with reading(say) as said:
            return self.reader.read(self, source, lenient=lenient, say=said, truth=truth)

    def predict_values(self, source: Any, *, lenient: bool = False, say: Say = warn) -> Any:
        """The answers as arrays, such as probabilities ``(rows, classes)`` or values ``(rows,)``; arguments as of :meth:`predict`."""
        return self.answer_rows(self.read(source, lenient=lenient, say=say).rows)

    def disagreement(self, source: Any, *, lenient: bool = False, say: Say = warn) -> np.ndarray:
        """How far the model's members disagree about each row, ``(rows,)``: what it does not know; arguments as of :meth:`predict`.

        Of classes it is the mutual information of the answer and the member, in nats, from 0 where all members say the same; of a
        quantity it is their standard deviation, in its unit. The networks of an ensemble (``model={"ensemble": 8}``), of folds and those
        within a table's network are members.

        Raises:
            ConfigError: a model of one network, or one whose answers are no labels.
        """
        return self.spread(self.encoder.transform(self.read(source, lenient=lenient, say=say).rows))

    def predict(self, source: Any, *, lenient: bool = False, say: Say = warn) -> pl.DataFrame:
        """The answers for a file, a frame, a folder or arrays.

        Args:
            lenient: whether what was never seen in training is taken as unknown, with a note, instead of refused.
            say: called with each notice.

        Raises:
            SchemaError: data that does not fit what the model was trained on.
        """
        return self._predicted(self.read(source, lenient=lenient, say=say), say)

    def _predicted(self, found: Read, say: Say) -> pl.DataFrame:
        for remark in self.head.remarks(found.rows):
            say(remark)
        frames: list[pl.DataFrame] = []
        lines: list[Any] = []
        for rows in pieces(found.rows, self.head.piece):
            answers = self.answer_rows(rows)
            frame = self.head.frame(answers, rows)
            if self.is_ensemble:
                frame = frame.with_columns(disagreement=self.spread(self.encoder.transform(rows)))
            frames.append(frame)
            lines.append(self.head.lines(answers))
        whole = None if lines[0] is None else np.concatenate(lines)
        return _named(pl.concat(frames), found.names, whole)

    def respond(self, records: Sequence[Mapping[str, Any]], *, say: Say = warn) -> list[dict[str, Any]]:
        """The answer for each record, both as plain data: the request and the response of a service.

        Args:
            records: objects with the :attr:`fields`.
            say: called with each notice, such as a number far outside the range of the training data.

        Raises:
            SchemaError: a field is missing, or a value does not fit.
        """
        schema = getattr(self.encoder, "schema", None)
        for notice in check_records(records, self.fields, (self.head.name,) if schema is None else schema.names):
            say(notice)
        rows = self.encoder.rows(records, say)
        for remark in self.head.remarks(rows):
            say(remark)
        if self.head.needs:
            names = [field.name for field in self.head.needs]
            rows = rows.with_columns(pl.Series(name, [each[name] for each in records], strict=False) for name in names)
        replies = self.head.replies(self.answer_rows(rows), rows)
        if not self.is_ensemble:
            return replies
        spread = self.spread(self.encoder.transform(rows)).tolist()
        return [{**reply, "disagreement": each} for reply, each in zip(replies, spread, strict=True)]

    def answers(
        self, source: Any, *, keep: str | Sequence[str] = IDENTIFIERS, lenient: bool = False, say: Say = warn
    ) -> pl.DataFrame:
        """The predictions as they are written to a file: with meaningful digits, next to columns of a table's rows.

        Args:
            keep: which columns of the rows: ``"identifiers"``, ``"all"``, ``"none"``, or their names.
            source, lenient, say: as of :meth:`predict`.

        Raises:
            ConfigError: columns to keep of data that is not a table, or that has no such columns.
            SchemaError: see :meth:`predict`.
        """
        found = self.read(source, lenient=lenient, say=say)
        written, given = rounded(self._predicted(found, say), scale=self.head.scale), found.given
        if given is None and keep not in (IDENTIFIERS, "none"):
            given = self._rows_of(source, written.height, len(found.rows))
        if given is None:
            return written
        schema = getattr(self.encoder, "schema", None)
        return beside(kept_columns(given, schema, keep), written, self.head.name)

    def _rows_of(
        self, source: Any, height: int, rows: int, cannot: str = "no columns can be kept next to the answers of"
    ) -> pl.DataFrame:
        """The table of which one column was read; ``cannot`` begins the message where there is none."""
        source = brought(source)
        plain = height != rows or not isinstance(source, str | Path) or Path(source).suffix.lower() == ".txt"
        if plain or not Path(source).is_file():
            raise ConfigError(f"{cannot} a model for {self.purpose}")
        given = read_table(source, typed=False).frame
        if given.height != height:
            raise ConfigError(f"{source} has {given.height} rows and {height} answers: {cannot} them")
        return given

    def write(
        self,
        source: Any,
        output: str | Path,
        *,
        keep: str | Sequence[str] = IDENTIFIERS,
        lenient: bool = False,
        say: Say = warn,
    ) -> str:
        """Write the :meth:`answers` to a file in the format of its ending (CSV, Parquet, JSON), and return what was written, in words."""
        if self.reader is None:
            raise ConfigError("this model was trained on arrays and reads no files")
        return self.reader.write(self, source, output, keep=keep, lenient=lenient, say=say)

    # What it is worth.

    def judge(
        self,
        inputs: Any,
        truth: Any,
        *,
        rows: Any = None,
        names: pl.Series | None = None,
        noun: str = "",
        groups: np.ndarray | None = None,
        seed: int = 0,
    ) -> Judgement:
        """The test on encoded rows with known answers: the scores with their intervals, and the answers next to the true ones.

        Args:
            rows: the rows as they were read, for what is answered in their own measure.
            names: of the rows.
            noun: what they are called, instead of what the evidence calls them.
            groups: a number for each row, the same for rows that are not independent of each other.
            seed: deals many rows out to parts, for the intervals.
        """
        answers = self.head.examined(self, inputs, truth)
        evidence: Any = self.head.decided(self.head.evidence(answers, truth), rows)
        if groups is not None:
            evidence = dataclasses.replace(evidence, groups=groups)
        found = Judgement(
            evidence.scores(seed=seed),
            evidence=evidence,
            tested=self.head.tested(evidence) or counted(len(evidence), noun or evidence.noun),
            notes=self.head.notes(evidence),
            predictions=_named(self.head.beside(answers, truth, rows), names, self.head.lines(answers)),
            counted=self.head.counted,
        )
        name = {Blend: "the blend", Scorecard: "the scorecard"}.get(type(self.network))
        return found if name is None else dataclasses.replace(found, name=name)

    def evaluate(
        self,
        source: Any,
        *,
        sensitive: str | Sequence[str] | None = None,
        limits: Mapping[str, Sequence[float]] | None = None,
        smallest: int = 30,
        lenient: bool = False,
        say: Say = warn,
    ) -> Judgement:
        """The scores, with intervals, on data with the true answers.

        Args:
            sensitive: columns by which groups of rows are compared, such as ``"sex,race"``; None are those that it was trained with,
                where the data has them.
            limits: of numbers, where a group ends and the next one begins, such as ``{"age": [25, 45, 65]}``.
            smallest: rows that a group needs to be compared with others.
            source, lenient, say: as of :meth:`predict`.

        Raises:
            SchemaError: data that does not fit what the model was trained on, or without the truth.
            ConfigError: sensitive columns that are not there, or of a model whose answers are no labels.
        """
        found = self.read(source, lenient=lenient, say=say, truth=True)
        if found.truth is None:
            raise SchemaError(f"the data lacks the true answers, which evaluating a model for {self.purpose} needs")
        groups = self._groups(source, found, sensitive, limits, say)
        inputs, truth, rows, names = self.encoder.transform(found.rows), found.truth, found.rows, found.names
        kept, noun = self._unseen(inputs, truth, say)
        if kept is not None:
            inputs, truth = jax.tree.map(lambda values: values[kept], (inputs, truth))
            rows = rows[kept] if isinstance(rows, pl.DataFrame) else None
            names = None if names is None else names[kept]
            groups = tuple(each.take(kept) for each in groups)
        judged = self.judge(inputs, truth, rows=rows, names=names, noun=noun or found.noun)
        if groups:
            target = getattr(self.head, "target", None)
            judged = judged.by_groups(groups, classes=getattr(target, "classes", ()), smallest=smallest)
        return judged.compared(self.head.simple(inputs, judged.evidence))

    def _groups(
        self,
        source: Any,
        found: Read,
        sensitive: str | Sequence[str] | None,
        limits: Mapping[str, Sequence[float]] | None,
        say: Say,
    ) -> tuple[Groups, ...]:
        """The groups of the rows that were read, by each sensitive column."""
        known: Mapping[str, Sequence[float]] = self.provenance.get("sensitive") or {}
        names = tuple(known) if sensitive is None else sensitive_names(sensitive)
        if not names:
            return ()
        schema = getattr(self.encoder, "schema", None)
        if schema is not None and schema.target in names:
            raise ConfigError(f"sensitive names {schema.target!r}, which is the target; expected another column")
        frame = self._given(source, found)
        if sensitive is None:
            lost = [name for name in names if name not in frame.columns]
            names = tuple(name for name in names if name in frame.columns)
            if lost:
                say(f"the data has no column {', '.join(map(repr, lost))}, so that groups by it are not compared")
        return groups_by(frame, names, limits={**known, **(limits or {})}, schema=schema)

    def _given(self, source: Any, found: Read) -> pl.DataFrame:
        """All columns of the rows that were read."""
        if found.given is not None:
            return found.given
        count = len(found.rows)
        return self._rows_of(
            source, count, count, "slices and groups need the columns of a table, which are not in the data of"
        )

    def slices(
        self, source: Any, *, conditions: int = 3, most: int = 8, lenient: bool = False, say: Say = warn
    ) -> Slices:
        """The readable slices of rows with true answers on which the model is worst; see :func:`~danlu.evaluate.worst_slices`.

        Args:
            conditions: of a slice, at most.
            most: how many slices.
            source, lenient, say: as of :meth:`predict`.

        Raises:
            SchemaError: data that does not fit what the model was trained on, or without the truth.
            ConfigError: rows without columns, or a model whose answers are no labels.
        """
        found = self.read(source, lenient=lenient, say=say, truth=True)
        if found.truth is None:
            raise SchemaError(f"the data lacks the true answers, which slices of a model for {self.purpose} need")
        known = self.provenance.get("sensitive") or {}
        frame = sliced_columns(
            self._given(source, found), getattr(self.encoder, "schema", None), self.head.name, tuple(known)
        )
        inputs, truth = self.encoder.transform(found.rows), found.truth
        kept, _ = self._unseen(inputs, truth, say)
        if kept is not None:
            inputs, truth = jax.tree.map(lambda values: values[kept], (inputs, truth))
            frame = frame[kept]
        known_rows = found.rows if kept is None or not isinstance(found.rows, pl.DataFrame) else found.rows[kept]
        rows = self.head.decided(self.head.evidence(self.head.examined(self, inputs, truth), truth), known_rows)
        if not isinstance(rows, Rows):
            raise ConfigError(f"slices are of rows with a class or a quantity each; this is a model for {self.purpose}")
        return worst_slices(rows, frame, conditions=conditions, most=most)

    def remembering(self, *parts: tuple[Any, Any] | None) -> Trained:
        """The same model, which knows the rows again that it learnt from, by their hashes alone.

        Args:
            parts: encoded rows with their truth each; None is left out.
        """
        hashes = [row_hashes(self.head.first(part[0]), self.head.marks(part[1])) for part in parts if part is not None]
        return dataclasses.replace(self, seen=known_rows(np.concatenate(hashes)))

    def _unseen(self, inputs: Any, truth: Any, say: Say) -> tuple[np.ndarray | None, str]:
        """The numbers of the rows that it has not learnt from (None: all), and what they are called."""
        if self.seen is None:
            return None, ""
        fresh = ~np.isin(row_hashes(self.head.first(inputs), self.head.marks(truth)), self.seen)
        count, known = len(fresh), int((~fresh).sum())
        if not known:
            return None, ""
        if known == count:
            say(
                f"all {count:,} rows were in the training data, or look the same to the model as a training row: the scores show how well "
                "they were learnt, not how well new rows are predicted"
            )
            return None, "training rows"
        if not self.head.apart:
            say(
                f"{known:,} of {count:,} rows were in the training data, or look the same to the model as a training row; "
                "if they were, the scores are too good"
            )
            return None, ""
        say(
            f"{known:,} of {count:,} rows were in the training data, or look the same to the model as a training row; "
            f"the scores are of the {count - known:,} others"
        )
        return np.flatnonzero(fresh), "rows not seen"

    def using(self, name: str) -> Trained:
        """The same model, with a simple model that it was compared with in place of the network.

        Args:
            name: what it is called, such as ``"logistic"``, ``"ridge"`` or ``"boosting"``.

        Raises:
            ConfigError: there is no such model.
        """
        if not self.kept or self.reader is None:
            raise ConfigError(
                f"no simple model, {name!r} or another, is kept with this model for {self.purpose}",
                hint="each fold keeps those that it was compared with: danlu predict RUN/folds/1 FILE --with NAME"
                if self.provenance.get("folds")
                else "models of tables, of images with one class and of sequences keep the simple models that they were compared with, "
                "unless they were trained with evaluate.baselines=no",
            )
        chosen = {each.label.lower(): key for key, each in self.kept.items()}.get(name.lower(), name)
        if chosen not in self.kept:
            raise unknown_name("baseline", name, self.kept)
        simple, reader = self.kept[chosen], self.reader
        return dataclasses.replace(
            self,
            instead=lambda inputs: simple.outputs(reader.for_simple(inputs)),
            head=self.head.plain(),
        )

    def asking(
        self, *, interval: float | None = None, sets: float | None = None, say: Say = warn, **how: Any
    ) -> Trained:
        """The same model, which writes an interval or a set of classes beside each prediction.

        Args:
            interval: the share of all cases in which it is to hold the true value of a quantity: the columns ``low`` and ``high``.
            sets: that in which it is to hold the true class: the column ``set``.
            say: called with what is to be said of the level.
            **how: of sets: ``score`` and ``by_class``, see :class:`~danlu.trained.scores.Asked`.

        Raises:
            ConfigError: a model without, or a level outside (0, 1).
        """
        head = self.head.asking(interval=interval, sets=sets, **how)
        for each in head.doubts():
            say(each)
        return dataclasses.replace(self, head=head)

    @property
    def shares(self) -> dict[str, float]:
        """The weight of each part of a blend, such as ``{"network": 0.6, "boosting": 0.4}``; ``{"network": 1.0}`` where it is no blend."""
        return self.network.shares(self.state) if isinstance(self.network, Blend) else {"network": 1.0}

    @property
    def mixture(self) -> str:
        """What its network is a blend of, in words, such as ``"0.60 network + 0.40 boosting"``; empty where it is no blend."""
        parts = sorted(((name, share) for name, share in self.shares.items() if share), key=lambda each: -each[1])
        return " + ".join(f"{share:.2f} {name}" for name, share in parts) if isinstance(self.network, Blend) else ""

    def part(self, name: str) -> Trained:
        """The same model with only one part of its blend, such as ``"network"``, for what a whole blend cannot do: gradients,
        fine-tuning. A model that is no blend is its own ``"network"``.

        Raises:
            ConfigError: there is no such part.
        """
        names = self.network.names if isinstance(self.network, Blend) else ("network",)
        if name not in names:
            raise unknown_name("part of the blend", name, names)
        if not isinstance(self.network, Blend):
            return self
        place = names.index(name)
        return dataclasses.replace(
            self,
            network=self.network.parts[place],
            params=self.params[place],
            state=self.state[place],
            head=self.head.plain(),
        )

    def next_steps(self, run: str, source: str) -> tuple[tuple[str, ...], ...]:
        """Arguments of ``danlu`` to try after the training, which work as they are.

        Args:
            run: the run's folder.
            source: what it learnt from.
        """
        return () if self.reader is None else self.reader.next_steps(self, run, source)

    def save(
        self,
        folder: str | Path,
        *,
        metrics: Mapping[str, Any] | None = None,
        provenance: Mapping[str, Any] | None = None,
    ) -> Path:
        """Write the model to a folder, for :func:`danlu.load`; see :func:`danlu.trained.save.save`."""
        return save(self, folder, metrics=metrics, provenance=provenance)

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={figure(value)}" for name, value in self.metrics.items() if isinstance(value, float))
        return f"Model({self.purpose}{', ' + shown if shown else ''})"

    def _repr_html_(self) -> str:
        schema = getattr(self.encoder, "schema", None)
        details = html.escape(repr(self.encoder)) if schema is None else schema._repr_html_()
        return f"<p><b>{html.escape(repr(self))}</b></p>{details}"


def _named(frame: pl.DataFrame, names: pl.Series | None, lines: np.ndarray | None) -> pl.DataFrame:
    """The frame with the name of each row before its lines."""
    if names is None:
        return frame
    return frame.insert_column(0, names if lines is None else names[np.repeat(np.arange(len(names)), lines)])
