"""Rows of several modalities: columns of a table, texts, pictures and recordings, each through the encoder of its kind."""

from __future__ import annotations

import base64
import dataclasses
import functools
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from danlu.data.encode import TableEncoder
from danlu.data.fields import Field, pixels_of
from danlu.data.images import ImageEncoder
from danlu.data.media import INSIDE, opened
from danlu.data.schema import Schema
from danlu.data.sounds import SoundEncoder
from danlu.data.sounds.read import Sound
from danlu.data.text import TextEncoder
from danlu.data.threads import ordered
from danlu.errors import ArtifactError, DataError, SchemaError

__all__ = ["TABLE", "Composite"]

TABLE = "columns"
"""What the modality of a table's numbers, categories and dates is called."""

_KINDS: Mapping[str, Any] = {"text": TextEncoder, "image": ImageEncoder, "sound": SoundEncoder}
_GREY = 127  # of a picture that is not there, before it is replaced by what was learnt
_INSIDE = f"{INSIDE};base64,"
_FEWEST = 1


@dataclasses.dataclass(frozen=True, eq=False)
class Composite:
    """An encoder for each modality of a row. The columns of a table are one; each column of texts, pictures or recordings is one.

    Attributes:
        schema: of all columns.
        table: encodes the numbers, categories, truth values and dates; None where there are none.
        parts: the encoder of each other modality, by its column.

    Example:
        >>> from danlu.data import infer_schema
        >>> frame = pl.DataFrame({"age": [20.0, 40.0, 30.0], "about": ["a red cat", "an old dog", None], "y": [0, 1, 1]})
        >>> schema = infer_schema(frame, target="y", kinds={"about": "text"})
        >>> encoder = Composite.fit(frame, schema)
        >>> encoder.modalities, encoder.transform(frame)["present"].tolist()
        (('columns', 'about'), [[1.0, 1.0], [1.0, 1.0], [1.0, 0.0]])
    """

    schema: Schema
    table: TableEncoder | None
    parts: tuple[tuple[str, Any], ...]

    @classmethod
    def fit(
        cls,
        frame: pl.DataFrame,
        schema: Schema,
        *,
        image: Callable[[Sequence[np.ndarray]], ImageEncoder] = ImageEncoder.fit,
        sound: Callable[[Sequence[Sound]], SoundEncoder] = SoundEncoder.fit,
    ) -> Composite:
        """Fit each encoder to training rows.

        Args:
            frame: the training rows, and no others; cells of pictures and recordings are paths that can be read, or null.
            schema: of the table, whose kinds say what each column is.
            image, sound: how the encoders of pictures and of recordings are fitted.

        Raises:
            DataError: a modality that no training row has.
        """
        parts: list[tuple[str, Any]] = []
        for column in schema.features:
            if column.kind not in _KINDS:
                continue
            cells = frame[column.name].drop_nulls()
            if len(cells) < _FEWEST:
                raise DataError(
                    f"no training row has a value in the column {column.name!r}", hint="leave it out: data.drop"
                )
            if column.kind == "text":
                parts.append((column.name, TextEncoder.fit(cells.to_list(), column=column.name)))
            elif column.kind == "image":
                parts.append((column.name, image(list(_opened(cells.unique(maintain_order=True).to_list(), "image")))))
            else:
                parts.append((column.name, sound(list(_opened(cells.unique(maintain_order=True).to_list(), "sound")))))
        own = _own(schema)
        return cls(schema, TableEncoder.fit(frame, own) if own.features else None, tuple(parts))

    @property
    def modalities(self) -> tuple[str, ...]:
        """Their names: ``"columns"`` where there is a table, and each column of another kind."""
        return (*((TABLE,) if self.table is not None else ()), *(name for name, _ in self.parts))

    @property
    def kinds(self) -> tuple[str, ...]:
        """What each modality is: ``"table"``, ``"text"``, ``"image"`` or ``"sound"``."""
        own = ("table",) if self.table is not None else ()
        return (*own, *(self.schema[name].kind for name, _ in self.parts))

    @property
    def in_shape(self) -> dict[str, Any]:
        """The shape of one encoded row, as :class:`~danlu.nn.Fusion` takes it."""
        found: dict[str, Any] = {"parts": {name: part.in_shape for name, part in self.parts}}
        if self.table is not None:
            found["table"] = self.table.in_shape
        return found | {"present": (len(self.modalities),)}

    @functools.cached_property
    def fields(self) -> tuple[Field, ...]:
        """The columns that the model sees. A record may lack a text, a picture or a recording."""
        own = {} if self.table is None else {field.name: field for field in self.table.fields}
        others = dict(self.parts)
        found = []
        for column in self.schema.features:
            if column.name in others:
                [field] = others[column.name].fields
                own[column.name] = dataclasses.replace(field, name=column.name, needed=False)
            found.append(own[column.name])
        return tuple(found)

    def only(self, names: Sequence[str]) -> Composite:
        """The encoder of some of the modalities, in their order here."""
        kept = [column.name for column in self.schema.features if column.kind not in _KINDS and TABLE in names]
        kept += [name for name, _ in self.parts if name in names]
        columns = tuple(
            column if column.name in kept or not column.used else dataclasses.replace(column, used=False)
            for column in self.schema.columns
        )
        schema = dataclasses.replace(self.schema, columns=columns)
        parts = tuple((name, part) for name, part in self.parts if name in names)
        return Composite(schema, self.table if TABLE in names else None, parts)

    def chosen(self, inputs: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
        """Of encoded rows what :meth:`only` of the same modalities would give."""
        found: dict[str, Any] = {"parts": {name: inputs["parts"][name] for name, _ in self.parts if name in names}}
        if TABLE in names and self.table is not None:
            found["table"] = inputs["table"]
        places = [place for place, name in enumerate(self.modalities) if name in names]
        return found | {"present": inputs["present"][:, places]}

    def rows(self, records: Sequence[Mapping[str, Any]], say: Callable[[str], None]) -> pl.DataFrame:
        """Records as a checked frame. A picture is numbers 0 to 255 or a file's bytes in base64, a recording a file's bytes in base64.

        Raises:
            SchemaError: a value that does not fit.
        """
        for number, record in enumerate(records, 1) if self.table is None else ():
            if all(record.get(name) is None for name, _ in self.parts):
                raise SchemaError(
                    f"record {number} has none of {', '.join(repr(name) for name, _ in self.parts)}; expected one or more of them"
                )
        columns = [] if self.table is None else self.table.rows(records, say).get_columns()
        for name, part in self.parts:
            there = [row for row, record in enumerate(records) if record.get(name) is not None]
            given, [field] = [records[row] for row in there], part.fields
            named = [{**record, field.name: record[name]} for record in given]
            kind = self.schema[name].kind
            if kind == "text":
                found = (
                    list(part.rows([{field.name: _text(record[name], name)} for record in given], say)) if given else []
                )
            elif kind == "image":
                pixels = pixels_of(given, dataclasses.replace(field, name=name)) if given else []
                found = [_inside(_png(each)) for each in pixels]
            else:
                part.rows(named, say)
                found = [_INSIDE + record[name].split(",", 1)[-1] for record in given]
            cells: list[str | None] = [None] * len(records)
            for row, cell in zip(there, found, strict=True):
                cells[row] = cell
            columns.append(pl.Series(name, cells, dtype=pl.String))
        frame = pl.DataFrame(columns)
        for notice in self.lacking(frame):
            say(notice)
        return frame

    def lacking(self, frame: pl.DataFrame) -> tuple[str, ...]:
        """Notices about rows without a modality."""
        found = []
        for name, _ in self.parts:
            absent = frame[name].is_null() | (frame[name].str.strip_chars() == "").fill_null(True)
            count = int(absent.sum())
            if count:
                rows = ", ".join(str(row + 1) for row in absent.arg_true().head(5)) + (", …" if count > 5 else "")
                found.append(
                    f"{count:,} of {frame.height:,} rows {'has' if count == 1 else 'have'} no {name} (row {rows}): answered without it"
                )
        return tuple(found)

    def transform(self, frame: pl.DataFrame) -> dict[str, Any]:
        """Encode rows.

        Returns:
            ``"table"`` as :meth:`TableEncoder.transform` gives it, ``"parts"`` by column, and ``"present"`` float32
            ``(rows, modalities)``: 1 where the row has the modality.
        """
        found: dict[str, Any] = {"parts": {}}
        present = []
        if self.table is not None:
            found["table"] = self.table.transform(frame)
            names = [column.name for column in self.table.schema.features]
            present.append(~np.logical_and.reduce([frame[name].is_null().to_numpy() for name in names]))
        for name, part in self.parts:
            kind, cells = self.schema[name].kind, frame[name].cast(pl.String)
            if kind == "text":
                texts = cells.fill_null("").to_list()
                found["parts"][name] = part.transform(texts)
                present.append(np.array([bool(text.strip()) for text in texts], bool))
                continue
            present.append(cells.is_not_null().to_numpy())
            found["parts"][name] = _pictures(part, kind, cells)
        return found | {"present": np.stack(present, axis=1).astype(np.float32)}

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """The encoder as plain JSON data and a dict of arrays."""
        table, arrays = (None, {}) if self.table is None else self.table.state()
        parts = [[name, part.state()[0]] for name, part in self.parts]  # of which none has arrays
        return {"kind": "mixed", "schema": self.schema.to_json(), "table": table, "parts": parts}, arrays

    @classmethod
    def from_state(cls, data: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Composite:
        """The inverse of :meth:`state`.

        Raises:
            ArtifactError: the data is not an encoder.
        """
        try:
            table = None if data["table"] is None else TableEncoder.from_state(data["table"], arrays)
            schema = Schema.from_json(data["schema"])
            parts = tuple((name, _KINDS[body["kind"]].from_state(body, {})) for name, body in data["parts"])
            used = {column.name: column.kind for column in schema.features}
            fits = all(isinstance(part, _KINDS.get(used.get(name, ""), ())) for name, part in parts)
            if not parts or not fits or len(parts) != sum(kind in _KINDS for kind in used.values()):
                raise ValueError("its parts do not fit its schema")
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ArtifactError(f"the saved encoder is not valid: {error}") from error
        return cls(schema, table, parts)


def _own(schema: Schema) -> Schema:
    """The schema of a table's own columns: those that no other encoder takes are used."""
    columns = tuple(dataclasses.replace(c, used=c.used and c.kind not in _KINDS) for c in schema.columns)
    return dataclasses.replace(schema, columns=columns)


def _pictures(part: Any, kind: str, cells: pl.Series) -> np.ndarray:
    """What a picture's or a recording's encoder gives for each cell: each file is read once."""
    out = np.full((len(cells), *part.in_shape), _GREY if kind == "image" else 0, np.uint8)
    rows: dict[str, list[int]] = {}
    for row, cell in enumerate(cells.to_list()):
        if cell is not None:
            rows.setdefault(cell, []).append(row)
    for places, found in zip(rows.values(), _opened(list(rows), kind), strict=True):
        out[places] = part.one(found) if kind == "image" else part.transform([found])[0]
    return out


def _opened(cells: Sequence[str], kind: str) -> Iterator[Any]:
    """The pictures or the recordings that cells name or hold, a few ahead of their use."""

    for cell, found in zip(cells, ordered(functools.partial(opened, kind=kind), cells), strict=True):
        if isinstance(found, str):
            raise DataError(
                f"{cell[:80]} could be read at first, but not any more ({found})",
                hint="do not change the files meanwhile",
            )
        yield found


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise SchemaError(f"{name!r} is {str(value)[:60]!r}; expected a text, or null where there is none")
    return value


def _png(pixels: np.ndarray) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels if pixels.ndim == 2 or pixels.shape[2] > 1 else pixels[..., 0]).save(file, "png")
    return file.getvalue()


def _inside(file: bytes) -> str:
    return _INSIDE + base64.b64encode(file).decode()
