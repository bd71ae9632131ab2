"""The head of a model that makes rows of a table."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
import polars as pl

from danlu.errors import ArtifactError, ConfigError, shorten, unknown_name
from danlu.evaluate.generated import RowScores
from danlu.generative.rows.network import RowModel
from danlu.trained import Head

if TYPE_CHECKING:
    from danlu.trained import Trained

__all__ = ["RowDraws"]

_TOGETHER = 1024  # rows that are drawn at a time
_MOST = 100_000_000
_RAREST = 2000  # rows that are drawn for one that fits, at most
_RANGE = ".."


class RowDraws(Head):
    """Makes new rows (:meth:`sample`), and says of a row how likely it is: its log-likelihood in nats, or a lower bound."""

    kind, task = "rows", "synthesize"
    batch = 256
    verbs = ("sample",)

    def __call__(self, outputs: Any) -> Any:
        return outputs

    def frame(self, answers: Any, rows: Any = None) -> pl.DataFrame:
        return pl.DataFrame({"log_likelihood": np.asarray(answers, np.float64)})

    def evidence(self, answers: Any, truth: Any) -> RowScores:
        values = -np.asarray(answers, np.float64)
        return RowScores(values[:, None], ("negative_log_likelihood",), np.arange(len(values)))

    def sample(
        self,
        trained: Trained,
        count: int = 100,
        *,
        seed: int = 0,
        label: None = None,
        where: str | Mapping[str, Any] | None = None,
    ) -> pl.DataFrame:
        """New rows as they are in the file that the model learnt from.

        Args:
            count: how many.
            seed: the same seed makes the same rows; the first of many are those of fewer.
            label: None; rows are chosen by ``where``.
            where: what they are to be: ``"income=>50K"``, ``"age=30..40"``, several with commas or as a dict. Rows are drawn until enough
                fit, so that the others columns are distributed as the model has them given these.

        Raises:
            ConfigError: a count that cannot be, an unknown column or value, or a condition that next to no row fits.
        """
        if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= _MOST:
            raise ConfigError(f"count is {shorten(count)}; expected a whole number from 1 to {_MOST:,}")
        if label is not None:
            raise ConfigError(
                f"label is {shorten(label)}, and this model makes rows of a table; expected a column with its value",
                hint=f"--where COLUMN={label}",
            )
        encoder = trained.encoder
        fits = condition(encoder, where)
        found, kept, low = [], 0, 0
        while kept < count:
            drawn = self.encoded(
                trained, min(_TOGETHER, count - low) if where is None else _TOGETHER, seed=seed, first=low
            )
            low += len(drawn["cell"])
            chosen = np.flatnonzero(fits(drawn))
            found.append({name: values[chosen] for name, values in drawn.items()})
            kept += len(chosen)
            if low > _RAREST * max(kept, 1) and low >= 20 * _TOGETHER:
                raise ConfigError(
                    f"of {low:,} rows that were drawn {kept:,} fit {shorten(where)}; expected a condition that more rows fit",
                    hint="a wider range, or fewer conditions; what the training rows do not have is not learnt",
                )
        both = {name: np.concatenate([each[name] for each in found])[:count] for name in found[0]}
        return encoder.decode(both["cell"], both["place"], seed=seed)

    def encoded(self, trained: Trained, count: int, *, seed: int = 0, first: int = 0) -> dict[str, np.ndarray]:
        """New rows as cells and places ``(count, columns)``, from the number ``first`` on."""
        found, size = [], min(_TOGETHER, max(count, 1))
        variables = jax.device_put((trained.params, trained.state))
        for low in range(first, first + count, size):
            numbers = np.arange(low, low + size)
            cell, place = _drawn(trained.network, *variables, seed, numbers)
            left = min(size, first + count - low)
            found.append((np.asarray(cell)[:left], np.asarray(place)[:left]))
        cells, places = (np.concatenate(each) for each in zip(*found, strict=True))
        return {"cell": cells.astype(np.int32), "place": places}

    def labels_of(self, count: int, label: Any = None) -> None:
        """None: rows have no label."""

    def check(self, network: Any, encoder: Any) -> None:
        if not isinstance(network, RowModel) or network.sizes != encoder.sizes:
            raise ArtifactError(
                f"the saved network is a {type(network).__name__}; expected one that makes rows of {len(encoder.sizes)} columns"
            )


@functools.partial(jax.jit, static_argnames=("network",))
def _drawn(network: RowModel, params: Any, state: Any, seed: Any, numbers: Any) -> tuple[jax.Array, jax.Array]:
    keys = jax.vmap(lambda number: jax.random.fold_in(jax.random.key(seed), number))(numbers)
    return network.draw(params, state, keys)


def condition(encoder: Any, where: str | Mapping[str, Any] | None) -> Any:
    """Whether encoded rows fit: a function of ``{"cell", "place"}`` to ``(rows,)`` bool.

    Raises:
        ConfigError: an unknown column, or a value that it does not have.
    """
    names = [column.name for column in encoder.schema.features]
    asked = []
    for name, value in _pairs(where):
        if name in encoder.fixed or name in encoder.fresh:
            how = "is the same in every row" if name in encoder.fixed else "names rows and is made anew"
            raise ConfigError(f"where asks for {name}={value}, and the column {how}; expected one that was learnt")
        if name not in names:
            raise unknown_name("column of where", name, names)
        place = names.index(name)
        cells, column = encoder.cells[place], encoder.schema.features[place]
        if cells.is_number:
            asked.append((place, _range(name, value, column)))
            continue
        known = {own: level for level, own in encoder.written[name].spelt.items()}  # as it is in the file
        text = known.get(str(value), str(value))
        if column.name in encoder.rest and text in encoder.rest[column.name][0]:
            raise ConfigError(
                f"where asks for {name}={text}, which is too rare in training to be learnt; expected a common category"
            )
        if text not in cells.levels:
            raise unknown_name(f"value of {name}", text, cells.levels)
        asked.append((place, cells.levels.index(text) + int(cells.missing)))

    def fits(drawn: dict[str, np.ndarray]) -> np.ndarray:
        found = np.ones(len(drawn["cell"]), bool)
        for place, wanted in asked:
            cell = drawn["cell"][:, place]
            if isinstance(wanted, tuple):
                values = encoder.cells[place].decode(cell, drawn["place"][:, place])
                found &= (values >= wanted[0]) & (values <= wanted[1])
            else:
                found &= cell == wanted
        return found

    return fits


def _pairs(where: str | Mapping[str, Any] | None) -> list[tuple[str, Any]]:
    if where is None:
        return []
    if isinstance(where, Mapping):
        return list(where.items())
    pairs = []
    for part in str(where).split(","):
        name, equals, value = part.partition("=")
        if not equals or not name.strip() or not value.strip():
            raise ConfigError(
                f"where is {shorten(where)}; expected a column with its value, such as income=>50K or age=30..40"
            )
        pairs.append((name.strip(), value.strip()))
    return pairs


def _range(name: str, value: Any, column: Any) -> tuple[float, float]:
    """The least and the largest number that is asked for; of dates in seconds since 1970."""
    parts = (
        list(value)
        if isinstance(value, list | tuple)
        else str(value).partition(_RANGE)[::2]
        if _RANGE in str(value)
        else [value, value]
    )
    read = column.read(pl.Series([str(each) for each in parts]))
    if len(parts) != 2 or read.null_count():
        raise ConfigError(
            f"where asks for {name}={value}; expected a {'date' if column.kind == 'datetime' else 'number'}, or two as in 30..40"
        )
    if read.dtype.is_temporal():
        read = read.dt.timestamp("us").cast(pl.Float64) / 1e6
    low, high = (float(each) for each in read.cast(pl.Float64))
    return low, high
