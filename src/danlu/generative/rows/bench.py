"""The test of rows that were made up: models that learn from them, a detector, distances; the same for every way to make rows."""

from __future__ import annotations

import dataclasses
import functools
import warnings
from typing import Any

import numpy as np

from danlu.data.rows import RowEncoder
from danlu.evaluate.drawn import DrawnRows
from danlu.evaluate.threads import spare_threads

__all__ = ["Bench"]

_MOST = 4000  # test rows, and as many made-up ones
_LEARNT = 50_000  # rows that are learnt from
_COARSE = 20  # cells of a column, at most, for columns and pairs
_BOOSTING = {"random_state": 0}
_DETECTOR = {"max_iter": 60, "random_state": 0}
_FOLDS = 2
Encoded = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False)
class Bench:
    """What made-up rows are tested by.

    Attributes:
        encoder: of the rows.
        train, test: encoded real rows. The training rows are looked at for distances alone; None where they are private.
        target: the number of the target's column; −1 without one.
        task: of the target: ``"classes"`` or ``"regression"``, or empty.
        seed: draws which rows are looked at.
        most: test rows, and as many made-up ones, that are looked at.
    """

    encoder: RowEncoder
    train: Encoded | None
    test: Encoded
    target: int = -1
    task: str = ""
    seed: int = 0
    most: int = _MOST

    @functools.cached_property
    def rows(self) -> int:
        """How many rows of each kind are looked at."""
        few = len(self.test["cell"]) if self.train is None else min(len(self.test["cell"]), len(self.train["cell"]))
        return min(few, self.most)

    @property
    def wanted(self) -> int:
        """How many made-up rows the test needs: as many as were learnt from, and at least those that are looked at."""
        known = self.rows if self.train is None else len(self.train["cell"])
        return max(min(known, _LEARNT), self.rows)

    @functools.cached_property
    def _asked(self) -> Encoded:
        chosen = np.random.default_rng(self.seed).permutation(len(self.test["cell"]))[: self.rows]
        return {name: values[chosen] for name, values in self.test.items()}

    @functools.cached_property
    def _known(self) -> Encoded | None:
        if self.train is None:
            return None
        chosen = np.random.default_rng(self.seed + 1).permutation(len(self.train["cell"]))[:_LEARNT]
        return {name: values[chosen] for name, values in self.train.items()}

    def tested(self, drawn: Encoded, nats: np.ndarray | None = None) -> DrawnRows:
        """The evidence about made-up rows.

        Args:
            drawn: ``cell`` and ``place`` of at least :attr:`wanted` rows.
            nats: ``−log p`` of all test rows, of a model that says it.
        """
        n, none = self.rows, np.zeros(0)
        own = {name: drawn[name][:n] for name in ("cell", "place")}
        chosen = np.random.default_rng(self.seed).permutation(len(self.test["cell"]))[:n]
        with spare_threads(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            detected, undetected = self._detected(own)
            truth = boosting = linear = none
            if self.task:
                truth, boosting, linear = self._learnt(drawn)
            nearest = attacked = np.zeros((0, n))
            if self._known is not None:
                real, made, known = self.space(self._asked), self.space(own), self.space(self._known)
                nearest = np.stack([_closest(made, known), _closest(real, known)])
                attacked = np.stack([_closest(known[:n], made), _closest(real, made)])
        return DrawnRows(
            self._coarse(self._asked),
            self._coarse(own),
            detected,
            undetected,
            self.task,
            truth,
            boosting,
            linear,
            nearest,
            attacked,
            none if nats is None else np.asarray(nats, np.float64)[chosen],
        )

    def _features(self, rows: Encoded, *, target: bool = True) -> np.ndarray:
        """Numbers as they are in the table, categories by their cells: ``(rows, columns)`` float64."""
        columns = [
            cells.decode(rows["cell"][:, j], rows["place"][:, j])
            if cells.is_number
            else rows["cell"][:, j].astype(np.float64)
            for j, cells in enumerate(self.encoder.cells)
            if target or j != self.target
        ]
        return np.stack(columns, axis=1) if columns else np.zeros((len(rows["cell"]), 1))

    def _named(self, *, target: bool = True) -> list[bool] | None:
        found = [not cells.is_number for j, cells in enumerate(self.encoder.cells) if target or j != self.target]
        return found if any(found) else None

    def _detected(self, own: Encoded) -> tuple[np.ndarray, np.ndarray]:
        """How real made-up rows and test rows are taken for, by a detector that learnt from the others of both."""
        from sklearn.ensemble import HistGradientBoostingClassifier

        made, real = self._features(own), self._features(self._asked)
        fold = np.random.default_rng(self.seed + 2).permutation(len(made)) % _FOLDS
        found = np.full((2, len(made)), 0.5)
        for each in range(_FOLDS):
            inside, outside = fold != each, fold == each
            if min(inside.sum(), outside.sum()) < 2:
                continue
            x = np.concatenate([made[inside], real[inside]])
            model = HistGradientBoostingClassifier(categorical_features=self._named(), **_DETECTOR)
            model.fit(x, np.repeat([0, 1], int(inside.sum())))
            for side, values in enumerate((made, real)):
                found[side, outside] = model.predict_proba(values[outside])[:, 1]
        return found[0], found[1]

    def _target(self, rows: Encoded) -> np.ndarray:
        cells = self.encoder.cells[self.target]
        cell = rows["cell"][:, self.target]
        return (
            cells.decode(cell, rows["place"][:, self.target]) if self.task == "regression" else cell.astype(np.float64)
        )

    def _learnt(self, drawn: Encoded) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The target of the test rows, and what boosting and a linear model that learnt from made-up rows answer."""
        from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
        from sklearn.linear_model import LogisticRegression, Ridge

        known = {name: drawn[name][: self.wanted] for name in ("cell", "place")}
        truth, y = self._target(self._asked), self._target(known)
        kept = np.isfinite(y)
        x, asked = self._features(known, target=False), self._features(self._asked, target=False)
        named = self._named(target=False)
        if self.task != "regression" and len(np.unique(y)) < 2:
            same = np.full(len(truth), y[0])
            return truth, same, same
        if self.task == "regression":
            boosting: Any = HistGradientBoostingRegressor(categorical_features=named, **_BOOSTING)
            linear: Any = Ridge()
            middle = float(np.nanmean(y))
            truth = np.where(np.isfinite(truth), truth, middle)
        else:
            boosting = HistGradientBoostingClassifier(categorical_features=named, **_BOOSTING)
            linear = LogisticRegression(max_iter=200)
        answers = []
        for model, learn, ask in (
            (boosting, x, asked),
            (linear, self.space(known, target=False), self.space(self._asked, target=False)),
        ):
            try:
                model.fit(learn[kept], y[kept])
            except ValueError:  # a class of one row leaves none to stop by
                model.set_params(early_stopping=False).fit(learn[kept], y[kept])
            answers.append(np.asarray(model.predict(ask), np.float64))
        return truth, answers[0], answers[1]

    def space(self, rows: Encoded, *, target: bool = True) -> np.ndarray:
        """Rows as points: numbers as normal numbers, categories as ones among zeros (two of them are one apart)."""
        from scipy.special import ndtri

        parts = []
        for j, cells in enumerate(self.encoder.cells):
            if not target and j == self.target:
                continue
            cell = rows["cell"][:, j]
            if cells.is_number:
                before = np.concatenate([[0], np.cumsum(cells.share)[:-1]])
                u = before[cell] + cells.share[cell] * rows["place"][:, j]
                parts.append(ndtri(np.clip(u, 1e-4, 1 - 1e-4))[:, None])
            else:
                parts.append(np.eye(cells.size)[cell] / np.sqrt(2))
        return np.concatenate(parts, axis=1).astype(np.float32)

    def _coarse(self, rows: Encoded) -> np.ndarray:
        """The cells of rows, neighbouring ones together where a column of numbers has many, ``(rows, columns)``."""
        found = []
        for j, cells in enumerate(self.encoder.cells):
            cell = rows["cell"][:, j]
            if cells.size > _COARSE:
                before = np.concatenate([[0], np.cumsum(cells.share)[:-1]])
                groups = np.minimum((before * _COARSE).astype(int), _COARSE - 1)
                cell = np.unique(groups, return_inverse=True)[1][cell]
            found.append(cell)
        return np.stack(found, axis=1).astype(np.int64)


def _closest(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The distance of each point to the closest of others, ``(points,)``."""
    from sklearn.neighbors import NearestNeighbors

    return NearestNeighbors(n_neighbors=1, algorithm="brute").fit(others).kneighbors(points)[0][:, 0].astype(np.float64)
