"""Numeric columns to well-scaled numbers without gaps: imputation, scaling, missing-value indicators."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from statistics import NormalDist
from typing import Any

import numpy as np

from danlu.errors import ArtifactError, DataError, unknown_name

__all__ = ["SCALINGS", "NumericScaler"]

SCALINGS = ("standard", "robust", "quantile")
_KNOTS = 1000
_GRID = 256
_LIMIT = 30.0
_SLAB = 16_384


@dataclasses.dataclass(frozen=True, eq=False)
class NumericScaler:
    r"""Scales each column by statistics of its training rows; fills gaps with the scaled training median.

    - ``"standard"``: ``z = (x − mean) / std``. A column whose standard deviation is made by a few extreme values
      (more than 20 robust deviations) is scaled as ``"robust"``.
    - ``"robust"``: ``u = (x − median) / (q₇₅ − q₂₅)``, then the smooth clip ``z = u / √(1 + (u/3)²)`` into (−3, 3). Where the
      quartiles are equal the divisor is half the range.
    - ``"quantile"``: ``z = Φ⁻¹(mid-rank of x)``: the share of training values below ``x`` plus half the share equal to it, linearly
      interpolated between at most 1000 knots. scikit-learn's ``QuantileTransformer`` sends the smallest value to −5.2 however often
      it occurs; the mid-rank keeps such a column centred.

    Values beyond the training range stay finite: they are clipped to ±30 (``"quantile"``: to the ends).

    Attributes:
        scaling: one of :data:`SCALINGS`.
        center, scale: ``(columns,)`` float64; ``z = (x − center)·scale``. The scale of a constant column is 0.
        smooth: ``(columns,)`` bool, whether the smooth clip follows.
        fill: ``(columns,)`` float64, training medians.
        indicators: ``(columns,)`` bool, whether the column had gaps in training and so has an indicator column.
        knots, scores, offsets: the knots of column ``j`` are ``knots[offsets[j]:offsets[j+1]]`` (``"quantile"`` only).
        grid: ``(columns, 257)`` float32, quantiles of the *scaled* training values at 0, 1/256, …, 1.

    Reference:
        Holzmüller, Grinsztajn & Steinwart, "Better by default" (NeurIPS 2024), section 3: robust scale and smooth clip.
    """

    scaling: str
    center: np.ndarray
    scale: np.ndarray
    smooth: np.ndarray
    fill: np.ndarray
    indicators: np.ndarray
    knots: np.ndarray
    scores: np.ndarray
    offsets: np.ndarray
    grid: np.ndarray

    @classmethod
    def fit(cls, values: np.ndarray, *, scaling: str = "standard", flagged: np.ndarray | None = None) -> NumericScaler:
        """Fit to training rows.

        Args:
            values: ``(rows, columns)`` float64, NaN where a value is missing.
            scaling: one of :data:`SCALINGS`.
            flagged: ``(columns,)`` bool, the columns that get an indicator if they have gaps; None for all.
        """
        if scaling not in SCALINGS:
            raise unknown_name("scaling", scaling, SCALINGS)
        if values.ndim != 2 or not len(values):
            raise DataError(
                f"the scaler received an array of shape {values.shape}; expected (rows, columns), rows >= 1"
            )
        columns = values.shape[1]
        center, scale, fill = np.zeros(columns), np.zeros(columns), np.zeros(columns)
        smooth = np.zeros(columns, bool)
        knots: list[np.ndarray] = []
        scores: list[np.ndarray] = []
        for j in range(columns):
            present = values[:, j][np.isfinite(values[:, j])]
            if not len(present):
                present = np.zeros(1)
            center[j], scale[j], fill[j], smooth[j] = _scale(present, scaling)
            if scaling == "quantile":
                column_knots, column_scores = _normal_scores(present)
                knots.append(column_knots)
                scores.append(column_scores)
        offsets = np.concatenate([[0], np.cumsum([len(k) for k in knots])]).astype(np.int64)
        empty = [np.zeros(0)]
        scaler = cls(
            scaling=scaling,
            center=center,
            scale=scale,
            smooth=smooth,
            fill=fill,
            indicators=~np.isfinite(values).all(axis=0) & (True if flagged is None else flagged),
            knots=np.concatenate(knots or empty),
            scores=np.concatenate(scores or empty),
            offsets=offsets,
            grid=np.zeros((columns, 0), np.float32),
        )
        # A column, or a slab of rows, at a time: the temporaries of a whole table would be several times its size.
        at = np.linspace(0, 1, _GRID + 1)
        grid = np.zeros((columns, _GRID + 1), np.float32)
        for j in range(columns):
            grid[j] = np.quantile(scaler._scaled(values[:, j : j + 1], slice(j, j + 1)), at)
        return dataclasses.replace(scaler, grid=grid)

    @property
    def width(self) -> int:
        """The number of output columns, indicators included."""
        return len(self.center) + int(self.indicators.sum())

    def _scaled(self, values: np.ndarray, columns: slice = slice(None)) -> np.ndarray:
        """The scaled values of some columns, float64, without gaps."""
        scale = self.scale[columns]
        filled = np.where(np.isnan(values), self.fill[columns], values)
        if self.scaling == "quantile":
            starts, ends = self.offsets[:-1][columns], self.offsets[1:][columns]
            for j, (a, b) in enumerate(zip(starts, ends, strict=True)):
                filled[:, j] = np.interp(filled[:, j], self.knots[a:b], self.scores[a:b]) * (scale[j] > 0)
            return filled
        with np.errstate(over="ignore", invalid="ignore"):
            z = np.clip(np.nan_to_num((filled - self.center[columns]) * scale), -1e30, 1e30)
            soft = z / np.sqrt(1 + (z / 3) ** 2)
        return np.where(self.smooth[columns], soft, np.clip(z, -_LIMIT, _LIMIT))

    def transform(self, values: np.ndarray) -> np.ndarray:
        """``(rows, columns)`` with NaN for gaps to ``(rows, width)`` float32: scaled columns, then indicators (0 or 1)."""
        if values.ndim != 2 or values.shape[1] != len(self.center):
            raise DataError(
                f"the scaler received an array of shape {values.shape}; expected (rows, {len(self.center)})"
            )
        out = np.empty((len(values), self.width), np.float32)
        for start in range(0, len(values), _SLAB):
            slab = values[start : start + _SLAB]
            out[start : start + _SLAB, : len(self.center)] = self._scaled(slab)
            out[start : start + _SLAB, len(self.center) :] = np.isnan(slab[:, self.indicators])
        return out

    def unscaled(self, column: int, value: float) -> float:
        """The number that is scaled to this value, as short as it can be written.

        Example:
            >>> scaler = NumericScaler.fit(np.array([[1.0], [2.5], [7.0]]))
            >>> scaler.unscaled(0, scaler.transform(np.array([[2.5]]))[0, 0])
            2.5
        """
        whole = self._inverse(column, value)
        short = (float(f"{whole:.{digits}g}") for digits in range(1, 17))
        return next((each for each in short if self._one(column, each) == np.float32(value)), whole)

    def between(self, column: int, low: float, high: float) -> float:
        """The scaled value of a short number above ``low`` and at most ``high``, which are scaled."""
        middle = (self._inverse(column, low) + self._inverse(column, high)) / 2
        tried = (self._one(column, float(f"{middle:.{digits}g}")) for digits in range(1, 17))
        return float(next((each for each in tried if np.float32(low) < each <= np.float32(high)), high))

    def _one(self, column: int, value: float) -> np.float32:
        return np.float32(self._scaled(np.array([[value]]), slice(column, column + 1))[0, 0])

    def _inverse(self, column: int, value: float) -> float:
        """The number that is scaled to this value; that in the middle, where all are."""
        if self.scaling == "quantile":
            start, end = self.offsets[column : column + 2]
            return float(np.interp(value, self.scores[start:end], self.knots[start:end]))
        if self.smooth[column]:
            value = value / np.sqrt(max(1 - (value / 3) ** 2, 1e-12))
        return (
            float(value / self.scale[column] + self.center[column])
            if self.scale[column]
            else float(self.center[column])
        )

    def bins(self, count: int) -> np.ndarray:
        """Edges of ``count`` quantile bins of each output column, ``(width, count + 1)`` float32, not decreasing.

        Where values repeat, bins collapse: the edges that are left are at the front, the last edge fills the row.
        """
        at = np.linspace(0, 1, count + 1)
        source = np.linspace(0, 1, self.grid.shape[1])
        ends = np.tile(np.asarray([0.0, 1.0], np.float32), (int(self.indicators.sum()), 1))
        edges = np.empty((self.width, count + 1), np.float32)
        for j, row in enumerate([*(np.interp(at, source, g) for g in self.grid), *ends]):
            distinct = np.unique(np.asarray(row, np.float32))[: count + 1]
            edges[j] = distinct[-1]
            edges[j, : len(distinct)] = distinct
        return edges

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """The scaler as JSON data and arrays."""
        arrays = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "scaling"}
        return {"scaling": self.scaling}, arrays

    @classmethod
    def from_state(cls, data: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> NumericScaler:
        """The inverse of :meth:`state`.

        Raises:
            ArtifactError: the data or the arrays are not those of a scaler.
        """
        try:
            scaler = cls(data["scaling"], **{name: np.asarray(arrays[name]) for name in _ARRAYS})
        except KeyError as error:
            raise ArtifactError(f"the saved scaler lacks {error}") from error
        if scaler.scaling not in SCALINGS:
            raise ArtifactError(
                f"the saved scaler has the scaling {str(scaler.scaling)[:40]!r}; expected one of: {SCALINGS}"
            )
        columns = scaler.center.size
        sizes = {"knots": scaler.knots.size, "scores": scaler.knots.size, "offsets": scaler.offsets.size}
        for name, kind in _ARRAYS.items():
            array = getattr(scaler, name)
            shape = (columns, _GRID + 1) if name == "grid" else (sizes.get(name, columns),)
            if array.dtype.kind != kind or array.shape != shape:
                raise ArtifactError(
                    f"the saved scaler has {name} of {array.dtype}{list(array.shape)}; expected {kind}{list(shape)}"
                )
        ends = scaler.offsets
        if scaler.scaling == "quantile" and not (
            ends.size == columns + 1 and ends[0] == 0 and ends[-1] == scaler.knots.size and (np.diff(ends) > 0).all()
        ):
            raise ArtifactError("the saved scaler's offsets do not fit its knots")
        return scaler


_ARRAYS = {
    "center": "f", "scale": "f", "smooth": "b", "fill": "f", "indicators": "b",
    "knots": "f", "scores": "f", "offsets": "i", "grid": "f",
}  # fmt: skip


def _scale(present: np.ndarray, scaling: str) -> tuple[float, float, float, bool]:
    low, first, middle, third, high = np.quantile(present, [0, 0.25, 0.5, 0.75, 1])
    spread = third - first if third > first else (high - low) / 2
    with np.errstate(over="ignore"):
        mean, deviation = float(present.mean()), float(present.std())
    # Rounding leaves a constant column a deviation of a few units in the last place.
    if high <= low or not np.isfinite([mean, deviation]).all() or deviation <= 1e-12 * abs(mean):
        return float(middle), 0.0 if high <= low else 1.0 / max(spread, 1e-300), float(middle), high > low
    extreme = third > first and deviation > 20 * spread / 1.349
    if scaling == "robust" or (scaling == "standard" and extreme):
        return float(middle), 1.0 / spread, float(middle), True
    return mean, 1.0 / deviation, float(middle), False


def _normal_scores(present: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    ordered = np.sort(present)
    knots = np.unique(ordered)
    if len(knots) > _KNOTS:
        knots = np.unique(np.quantile(ordered, np.linspace(0, 1, _KNOTS), method="nearest"))
    below = np.searchsorted(ordered, knots, "left")
    upto = np.searchsorted(ordered, knots, "right")
    middle = (below + upto) / (2 * len(ordered))
    normal = NormalDist()
    return knots, np.asarray([normal.inv_cdf(p) for p in middle])
