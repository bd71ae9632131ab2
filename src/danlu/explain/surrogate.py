"""A small tree that answers nearly as a model does, in rules that can be read; and how nearly."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import polars as pl

from danlu.errors import ConfigError, DataError

__all__ = ["Rule", "Surrogate", "surrogate_tree"]

_HELD = 3  # one row in so many is not learnt from
_DAYS = {unit: 86_400.0 * parts for unit, parts in (("ms", 1e3), ("us", 1e6), ("ns", 1e9))}
_LEVELS = 20  # of a column, the most frequent ones


@dataclasses.dataclass(frozen=True)
class Rule:
    """A node of the tree.

    Attributes:
        depth: 0 for the first questions.
        condition: such as ``"age ≤ 30"``.
        answer: of a leaf: the class, or the mean of the answers; None of a node that asks further.
        rows: learnt from that come here.
        share: of these, how many have the answer; None of a quantity.
    """

    depth: int
    condition: str
    answer: Any
    rows: int
    share: float | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Surrogate:
    """A tree in a model's place.

    Attributes:
        rules: its nodes, each before those below it.
        fidelity: on the rows that it did not learn from: the share on which it answers as the model does, or R² of a quantity.
        simple: the same of the most frequent answer, or 0, that of the mean.
        measure: ``"agreement"`` or ``"R²"``.
        learnt, held: rows that it learnt from, and that it did not.
        columns: those that it asks for, the first question first.
        predict: rows to its answers.
    """

    rules: tuple[Rule, ...]
    fidelity: float
    simple: float
    measure: str
    learnt: int
    held: int
    columns: tuple[str, ...]
    predict: Callable[[pl.DataFrame], np.ndarray]

    def __str__(self) -> str:
        lines = []
        for rule in self.rules:
            said = "" if rule.answer is None else f": {rule.answer}"
            lines.append(f"{'  ' * rule.depth}{rule.condition}{said}")
        return "\n".join(lines)


@dataclasses.dataclass(frozen=True)
class _Question:
    """A column of the matrix that the tree sees: a number, or whether a column has a level."""

    column: str
    level: Any = None
    dtype: Any = None
    gaps: bool = False

    @property
    def is_level(self) -> bool:
        return self.dtype is None

    def ask(self, frame: pl.DataFrame) -> np.ndarray:
        values = frame[self.column]
        if self.is_level:
            texts = values.cast(pl.String)
            return (texts.is_null() if self.level is None else (texts == self.level).fill_null(False)).to_numpy()
        return values.to_physical().cast(pl.Float64).fill_null(float("nan")).to_numpy()

    def said(self, cut: float, *, above: bool, missing: bool) -> str:
        if self.is_level:
            return f"{self.column} {'=' if above else '≠'} {'missing' if self.level is None else self.level}"
        if not math.isfinite(cut):  # nothing but whether there is a value
            return f"{self.column} is {'missing' if missing else 'known'}"
        value = f"{cut:.12g}"
        if self.dtype.is_temporal():
            value = str(pl.Series([math.floor(cut)]).cast(self.dtype)[0]).removesuffix(" 00:00:00")
        return f"{self.column} {'>' if above else '≤'} {value}{' or missing' if missing else ''}"


def surrogate_tree(
    frame: pl.DataFrame, answers: np.ndarray, *, columns: Sequence[str] | None = None, leaves: int = 8, seed: int = 0
) -> Surrogate:
    """A tree of few leaves that is fitted to a model's answers on two thirds of the rows, and compared with them on the others.

    Args:
        frame: rows, each column in the type of its kind. Texts and other columns are levels, of which the 20 most frequent are asked for.
        answers: the model's: numbers are a quantity, anything else classes, ``(rows,)``.
        columns: those that may be asked for; None: all.
        leaves: at most, >= 2.
        seed: decides which rows are learnt from.

    Raises:
        ConfigError: fewer than 2 leaves.
        DataError: fewer than 12 rows.

    Reference:
        Craven & Shavlik, "Extracting tree-structured representations of trained networks" (1996), for the idea and fidelity; the tree is
        scikit-learn's CART.

    Example:
        >>> frame = pl.DataFrame({"age": list(range(60)) * 5, "city": ["Bonn", "Ulm", "Jena"] * 100})
        >>> found = surrogate_tree(frame, np.where(frame["age"] > 29, "old", "young"), leaves=2)
        >>> print(found, found.fidelity)
        age ≤ 29: young
        age > 29: old 1.0
    """
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    if leaves < 2:
        raise ConfigError(f"leaves is {leaves}; expected at least 2")
    answers = np.asarray(answers)
    if len(frame) != len(answers) or len(frame) < 12:
        raise DataError(
            f"a tree was asked of {len(frame)} rows and {len(answers)} answers; expected as many, 12 or more"
        )
    quantity = answers.dtype.kind == "f"
    order = np.random.default_rng(seed).permutation(len(frame))
    held, learnt = order[: len(order) // _HELD], order[len(order) // _HELD :]
    questions = _questions(frame, list(frame.columns if columns is None else columns))
    seen = _matrix(questions, frame)
    maker = DecisionTreeRegressor if quantity else DecisionTreeClassifier
    least = max(2, len(learnt) // 100)
    tree = maker(max_leaf_nodes=leaves, min_samples_leaf=least, random_state=seed).fit(seen[learnt], answers[learnt])
    _round_cuts(tree.tree_, seen[learnt], questions)
    found = tree.predict(seen[held])
    if quantity:
        spread = float(((answers[held] - answers[held].mean()) ** 2).sum())
        fidelity = 1 - float(((answers[held] - found) ** 2).sum()) / spread if spread else 0.0
        simple = 0.0
    else:
        names, counts = np.unique(answers[learnt].astype(str), return_counts=True)
        fidelity = float((found == answers[held]).mean())
        simple = float((answers[held].astype(str) == names[counts.argmax()]).mean())
    rules, asked = _rules(tree, questions, quantity)
    return Surrogate(
        tuple(rules), fidelity, simple, "R²" if quantity else "agreement", len(learnt), len(held),
        tuple(dict.fromkeys(asked)), lambda rows: np.asarray(tree.predict(_matrix(questions, rows))),
    )  # fmt: skip


def _questions(frame: pl.DataFrame, columns: list[str]) -> list[_Question]:
    found = []
    for name in columns:
        values = frame[name]
        if values.dtype.is_numeric() or values.dtype.is_temporal():
            found.append(_Question(name, dtype=values.dtype, gaps=values.null_count() > 0))
            continue
        counts = values.cast(pl.String).alias("level").value_counts().sort(["count", "level"], descending=[True, False])
        if counts.height * 2 > frame.height:  # each row has its own
            continue
        levels = counts["level"].head(_LEVELS).to_list()
        found += [_Question(name, level) for level in (levels[:1] if len(levels) == 2 else levels)]
    if not found:
        raise DataError("there is no column of numbers, dates or levels that a tree could ask for")
    return found


def _matrix(questions: Sequence[_Question], frame: pl.DataFrame) -> np.ndarray:
    return np.stack([each.ask(frame) for each in questions], axis=1).astype(np.float32)


def _round_cuts(tree: Any, seen: np.ndarray, questions: Sequence[_Question]) -> None:
    """Cut between the same rows at numbers with as few digits as possible."""
    for node in range(tree.node_count):
        place = tree.feature[node]
        if place < 0 or questions[place].is_level:
            continue
        values, cut = seen[:, place].astype(np.float64), float(tree.threshold[node])
        if not math.isfinite(cut):
            continue
        low, high = values[values <= cut].max(), values[values > cut].min()  # NaN is neither
        day = _DAYS.get(getattr(questions[place].dtype, "time_unit", None) or "", 0)
        for digits in range(0 if day else 1, 16):
            short = float(f"{cut:.{digits}g}") if digits else cut // day * day
            if low <= short < high:
                tree.threshold[node] = short
                break
        if float(low).is_integer() and float(high).is_integer() and high == low + 1:
            tree.threshold[node] = low


def _rules(tree: Any, questions: Sequence[_Question], quantity: bool) -> tuple[list[Rule], list[str]]:
    own = tree.tree_
    lefts, rights = own.children_left, own.children_right
    rules: list[Rule] = []
    asked: list[str] = []

    def answer(node: int) -> tuple[Any, float | None]:
        value = own.value[node].ravel()
        if quantity:
            return float(value[0]), None
        return tree.classes_[value.argmax()], float(value.max() / value.sum())

    def same(node: int) -> Any:
        """The class that all leaves below say, or None."""
        if lefts[node] < 0:
            return answer(node)[0]
        first, second = same(lefts[node]), same(rights[node])
        return first if not quantity and first is not None and first == second else None

    def walk(node: int, depth: int, condition: str) -> None:
        is_leaf = lefts[node] < 0 or same(node) is not None
        said, share = answer(node) if is_leaf else (None, None)
        if condition or is_leaf:
            rules.append(Rule(max(depth - 1, 0), condition or "always", said, int(own.n_node_samples[node]), share))
        if is_leaf:
            return
        question, cut = questions[own.feature[node]], float(own.threshold[node])
        asked.append(question.column)
        left = bool(own.missing_go_to_left[node])
        for child, above in ((lefts[node], False), (rights[node], True)):
            walk(child, depth + 1, question.said(cut, above=above, missing=question.gaps and left != above))

    walk(0, 0, "")
    return rules, asked
