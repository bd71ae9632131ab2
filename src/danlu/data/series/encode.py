"""Series in units of their own spread, and back."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from danlu.data.format import Format
from danlu.data.series.calendar import Calendar
from danlu.data.series.read import Columns, OneSeries, SeriesTable
from danlu.errors import ArtifactError, SchemaError, unknown_name

__all__ = ["SeriesEncoder"]


@dataclasses.dataclass(frozen=True, eq=False)
class SeriesEncoder:
    """``(x − mean)/scale`` of each column of each series, by the training part alone.

    Attributes:
        columns: what the columns are for.
        calendar: the steps trained on.
        names: of the series.
        mean, scale: ``(series, columns)`` float64; the scale of a column that never changes in training is 1.
        context, horizon: steps of an input and of a forecast.
        formats: how the texts of the columns are written; none in artifacts that had none.
    """

    columns: Columns
    calendar: Calendar
    names: tuple[str, ...]
    mean: np.ndarray
    scale: np.ndarray
    context: int
    horizon: int
    formats: Mapping[str, Format] = dataclasses.field(default_factory=dict)

    @classmethod
    def fit(cls, table: SeriesTable, stop: int, *, context: int, horizon: int) -> SeriesEncoder:
        """Fit to the steps before ``stop``; a series that begins later is measured by the mean of the others.

        Example:
            >>> from danlu.data.series import read_series
            >>> table = read_series({"t": [1, 2, 3, 4], "y": [1.0, 3.0, 9.0, 9.0]}, ["y"], time="t")
            >>> SeriesEncoder.fit(table, 2, context=1, horizon=1).transform(table)[0][:, 0].tolist()
            [-1.0, 1.0, 7.0, 7.0]
        """
        known = [each.values[: max(0, min(each.steps, stop - each.start))] for each in table.series]
        some = [part for part in known if len(part) > 1]
        if not some:
            raise SchemaError("no series has two steps to learn from")
        fallback = np.mean([part.mean(axis=0) for part in some], axis=0)
        spread = np.mean([part.std(axis=0) for part in some], axis=0)
        mean = np.stack([part.mean(axis=0) if len(part) > 1 else fallback for part in known])
        scale = np.stack([part.std(axis=0) if len(part) > 1 else spread for part in known])
        scale = np.where(scale > 1e-12 * np.maximum(np.abs(mean), 1e-300), scale, 1.0)
        names = tuple(each.name for each in table.series)
        return cls(table.columns, table.calendar, names, mean, scale, context, horizon, table.formats)

    @property
    def in_shape(self) -> Any:
        """The shape of one input, what the network's ``init`` takes."""
        known = len(self.columns.known)
        past = (self.context, len(self.columns.values) - known)
        return {"past": past, "known": (self.context + self.horizon, known)} if known else past

    def place(self, name: str) -> int:
        """The number of a series.

        Raises:
            SchemaError: it was not there in training.
        """
        if name not in self.names:
            raise unknown_name("series", name, self.names, error=SchemaError)
        return self.names.index(name)

    def transform(self, table: SeriesTable) -> tuple[np.ndarray, ...]:
        """The values of each series, float32; NaN (the future of what is not known) becomes 0."""
        return tuple(self._scaled(each) for each in table.series)

    def _scaled(self, series: OneSeries) -> np.ndarray:
        place = self.place(series.name)
        return np.nan_to_num((series.values - self.mean[place]) / self.scale[place]).astype(np.float32)

    def inverse(self, values: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Forecasts ``(windows, horizon, targets, ...)`` of the series ``places`` in the targets' own units, float64."""
        count = len(self.columns.targets)
        shape = (len(values), 1, count) + (1,) * (values.ndim - 3)
        scale, mean = (each[places, :count].reshape(shape) for each in (self.scale, self.mean))
        return np.asarray(values, np.float64) * scale + mean

    def to_json(self) -> dict[str, Any]:
        """Plain data; :attr:`mean` and :attr:`scale` are arrays apart."""
        return {
            "kind": "series",
            "columns": dataclasses.asdict(self.columns),
            "calendar": self.calendar.to_json(),
            "names": list(self.names),
            "context": self.context,
            "horizon": self.horizon,
            "formats": {name: written.to_json() for name, written in self.formats.items()},
        }

    @classmethod
    def from_state(cls, data: Any, arrays: Mapping[str, np.ndarray]) -> SeriesEncoder:
        """The inverse of :meth:`to_json`, with the arrays ``"mean"`` and ``"scale"``.

        Raises:
            ArtifactError: data that is not an encoder's.
        """
        try:
            saved = data["columns"]
            lists = {name: tuple(map(str, saved[name])) for name in ("targets", "observed", "known")}
            series = None if saved["series"] is None else str(saved["series"])
            columns = Columns(**lists, time=str(saved["time"]), series=series)
            names, mean, scale = tuple(map(str, data["names"])), arrays["mean"], arrays["scale"]
            context, horizon = int(data["context"]), int(data["horizon"])
            formats = {str(name): Format.from_json(body) for name, body in data.get("formats", {}).items()}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ArtifactError(f"the saved series are not described as expected: {error!r}") from error
        expected = (len(names), len(columns.values))
        if mean.shape != expected or scale.shape != expected or not (scale > 0).all() or min(context, horizon) < 1:
            raise ArtifactError(
                f"the saved scale of the series has the shape {scale.shape}; expected {expected}, above 0"
            )
        return cls(columns, Calendar.from_json(data.get("calendar")), names, mean, scale, context, horizon, formats)
