"""How rows that are read at once are divided into parts, and the parts encoded: the same for all kinds of data."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any

import jax
import numpy as np
import polars as pl

from danlu.data.twins import equal_rows, keep_together
from danlu.errors import ConfigError, DataError
from danlu.pipeline.config import TrainConfig
from danlu.pipeline.domain import Prepared
from danlu.pipeline.owners import Owners

__all__ = ["HELD", "Divided", "PreparedParts", "together_of"]

HELD = 200_000  # the most rows of a stream that are held in memory at once, for validation, test and baselines

_FEWEST = 10  # rows without labels that are divided


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class PreparedParts(Prepared):
    """Encoded rows, each part ``(inputs, truth)``.

    Attributes:
        encoder: encodes the rows, fitted on the training rows.
        train: the training rows, or a stream of them.
        validation: the rows that choose the best epoch; None with folds.
        test: the rows that the result is measured on, or None.
        shown: the test rows as they were read, where they are in memory and are needed.
        places: the numbers of the test rows among all rows of the source, where they are of it.
        learnt: those of the training rows, where they are in memory.
        owners: whose the rows are, where they have different owners.
        trunks: what towers begin with, by column; see :class:`~danlu.tasks.trunks.Trunk`.
    """

    encoder: Any
    train: Any
    validation: Any = None
    test: Any = None
    shown: Any = None
    places: np.ndarray | None = None
    learnt: np.ndarray | None = None
    owners: Owners | None = None
    trunks: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def sample(self, most: int | None = None) -> tuple[Any, Any]:
        """That many training rows in memory; None is all, or as many of a stream's as fit."""
        if not isinstance(self.train, tuple):
            found: tuple[Any, Any] = self.train.arrays(limit=most or HELD)
            return found
        return self.train if most is None else jax.tree.map(lambda leaf: leaf[:most], self.train)


@dataclasses.dataclass(frozen=True, eq=False)
class Divided:
    """The data read from a source, and its split. The data has ``rows(numbers)``, ``notices`` and perhaps ``parts``.

    Attributes:
        found: all of it.
        tested: the test rows, of the source or of a source of their own.
        places: the row numbers of each part.
        said: how they were divided, in a sentence.
        notices: what the user should know.
        owners: whose the rows are, where they have different owners.
    """

    found: Any
    tested: Any
    places: dict[str, np.ndarray]
    said: str
    notices: list[str]
    owners: Owners | None = None

    @classmethod
    def of(
        cls,
        config: TrainConfig,
        found: Any,
        read_test: Callable[[Any], Any],
        keys: Callable[[Any, np.ndarray], Iterable[Hashable]],
        *,
        noun: str,
        labels: pl.Series | None = None,
        task: str = "",
        owned: bool = False,
    ) -> Divided:
        """The source's own parts, or drawn ones; what the source lacks is drawn from its training part.

        Args:
            found: what was read.
            read_test: reads the test rows' own source.
            keys: ``(found, rows) ->`` what rows of these numbers are known again by: equal ones stay in one part.
            noun: what the rows are called.
            labels: of all rows, whose shares are kept if the settings say so; None where they have none.
            task: what the labels are for.
            owned: whether the rows may be of clients.

        Raises:
            ConfigError: a way of dividing that is for tables.
            DataError: too few rows.
        """
        if config.split.method not in ("stratified", "random"):
            raise ConfigError(f"split.method={config.split.method} is for tables; {noun} are split at random")
        own = getattr(found, "parts", None)
        of_rows = np.full(len(found), "train") if own is None else own
        parts = {name: np.flatnonzero(of_rows == name) for name in ("train", "validation", "test")}
        given = [name for name in parts if own is not None and len(parts[name])]
        if given and given != ["train"] and config.evaluate.folds is not None:
            raise ConfigError(
                f"the source has its own {', '.join(given)} parts; folds divide {noun} that are not divided yet",
                hint="leave out the folds",
            )
        known, draws_test = parts["train"], not len(parts["test"])
        shares = 0.0 if len(parts["validation"]) else config.split.validation, config.tested_share * draws_test
        said, notices = [f"the source's own {', '.join(given)}"] if given else [], [*found.notices]
        own_labels = labels.gather(known) if labels is not None else None
        classes = None if task == "regression" else own_labels
        owners = Owners.of(config, len(known), classes) if owned else None
        if owners is not None and len(parts["validation"]):
            raise ConfigError(
                "the source has a validation part of its own, and clients have each their own",
                hint="leave the validation part out of the source",
            )
        if any(shares):
            if labels is None and len(known) < _FEWEST:
                there = f"{len(known)} {noun}"
                raise DataError(f"{there} are too few to divide; expected {_FEWEST} or more")
            together, told = together_of(config, keys(found, known), *shares, noun=noun)
            how: dict[str, Any] = {
                "method": "random" if labels is None or task == "regression" else config.split.method,
                "target": "label",
                "task": task or "multiclass",
                "validation": shares[0],
                "test": shares[1],
                "together": together,
            }
            rows = len(known) if own_labels is None else pl.DataFrame({"label": own_labels})
            if owners is None:
                split = config.divide(rows, **how)
            else:
                split, few = owners.divide(config, rows, **how)
                owners = owners.parted(split.train, split.validation, split.test)
                notices += [str(owners), *few]
            drawn = {"train": split.train, "validation": split.validation, "test": split.test}
            parts |= {name: known[rows] for name, rows in drawn.items() if name == "train" or len(rows)}
            said.append(split.description)
            notices += told
        if not len(parts["validation"]) or not len(parts["train"]):
            there = f"{len(found)} {noun}"
            raise DataError(f"{there} are too few to divide; expected some for each part")
        tested = found.rows(parts["test"]) if config.data.test is None else read_test(config.data.test)
        if config.data.test is not None:
            notices += [f"test: {notice}" for notice in tested.notices]
        if owners is not None and len(tested) != owners.test.size:  # a test part that no client had
            known_of = (
                None
                if classes is None
                else np.asarray(classes.cast(pl.String).to_list())[_places(known, parts["train"])]
            )
            asked = None if classes is None else np.asarray(tested.labels.cast(pl.String).to_list())
            owners = owners.tested(owners.like(known_of, asked, len(tested), config.trainer.seed))
            notices.append(
                "the test rows have no clients of their own; they are shared out as the clients' own rows are"
            )
        return cls(found, tested, parts, "; ".join(said), notices, owners)

    def encoded(
        self, encoder: Any, inputs: Callable[[Any], Any], truth: Callable[[Any], Any], *, stream: Any = None
    ) -> dict[str, Any]:
        """The fields of :class:`PreparedParts` that every kind has, ``encoder`` and the three parts among them.

        Args:
            encoder: fitted to the training rows.
            inputs: of some of what was read, as the encoder takes it.
            truth: of it, as the loss takes it.
            stream: of the training rows, where they do not fit in memory.
        """

        def of(part: Any) -> tuple[Any, Any]:
            return encoder.transform(inputs(part)), truth(part)

        return {
            "encoder": encoder,
            "train": stream or of(self.found.rows(self.places["train"])),
            "validation": of(self.found.rows(self.places["validation"])),
            "test": of(self.tested) if len(self.tested) else None,
            "rows": {**{name: len(rows) for name, rows in self.places.items()}, "test": len(self.tested)},
            "split": self.said,
            "places": self._in_source(self.places["test"]) if len(self.places["test"]) else None,
            "owners": self.owners,
            "learnt": None if stream is not None else self._in_source(self.places["train"]),
        }

    def _in_source(self, rows: np.ndarray) -> np.ndarray:
        """The numbers that rows have in the source, from which rows may have been left out."""
        numbers = getattr(self.found, "numbers", None)
        return rows if numbers is None else np.asarray(numbers)[rows]


def _places(rows: np.ndarray, some: np.ndarray) -> np.ndarray:
    """Where each of ``some`` numbers stands among ``rows``, which rise."""
    return np.searchsorted(rows, some)


def together_of(
    config: TrainConfig, rows: pl.DataFrame | Iterable[Hashable], *shares: float, noun: str = "rows", besides: str = ""
) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """The groups of equal rows to keep in one part, and notes about them; see :func:`~danlu.data.twins.keep_together`."""
    if config.split.equal_rows == "anywhere" or config.split.method not in ("stratified", "random"):
        return None, ()
    return keep_together(equal_rows(rows), *shares, noun=noun, besides=besides)
