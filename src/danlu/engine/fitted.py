"""What training returns: weights, history, and evaluation and prediction with them."""

from __future__ import annotations

import dataclasses
import functools
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from danlu.artifact import Artifact
from danlu.blueprint import to_json
from danlu.engine import saved
from danlu.engine.arrays import as_arrays, as_leaves, rows_of
from danlu.engine.case import Clues
from danlu.engine.doctor import diagnose
from danlu.engine.health import Health
from danlu.engine.loop import Steps, evaluate_steps, predict_batch
from danlu.engine.mesh import place
from danlu.engine.order import capacity, even_batches, num_batches, pad_order, pad_rows
from danlu.engine.sources import Check, Piece, Source, as_source
from danlu.engine.state import Best, TrainState
from danlu.engine.step import Program
from danlu.engine.targets import TargetCheck
from danlu.errors import ConfigError

if TYPE_CHECKING:
    import polars as pl

__all__ = ["EVALUATION_BATCH", "Fitted", "evaluate_source", "evaluation_pieces", "predict_outputs"]

EVALUATION_BATCH = 512


def _size(rows: int) -> int:
    return min(EVALUATION_BATCH, capacity(rows))


def evaluation_pieces(data: Any, program: Program, check: Check | None = None) -> list[Piece] | Source:
    """Data prepared for repeated evaluation: arrays are copied to the device (or to all devices) once.

    Args:
        check: what looks at the targets first.
    """
    if isinstance(data, tuple) or (isinstance(data, dict) and set(data) == {"x", "y", "weight"}):
        chunk = data if isinstance(data, dict) else as_arrays(data)
        if check is not None:
            check(chunk)
        rows = rows_of(chunk["x"], "x")
        full = pad_rows(chunk, rows)
        on_device = jax.device_put(full) if program.devices == 1 else place(full, program.devices)
        if program.of_batch:
            return [
                Piece(on_device, order, order.size // size, size)
                for size, order in even_batches(rows, program.batch_size)
            ]
        size = _size(rows)
        order = jax.device_put(pad_order(np.arange(rows), size))
        return [Piece(on_device, order, num_batches(rows, size), size)]
    source = as_source(data, batch_size=program.batch_size if program.of_batch else EVALUATION_BATCH, seed=0)
    if check is not None:
        source.check_with(check)
    return source


def _pieces_of(program: Program, source: Source) -> Iterator[Piece]:
    """The pieces of a stream; where a batch counts as a whole, each divided evenly into batches that nothing fills up."""
    for piece in source.pieces(0, 0):
        if not program.of_batch:
            yield piece
            continue
        rows = np.asarray(piece.order)
        rows = rows[rows >= 0]
        for size, places in even_batches(rows.size, piece.batch_size):
            yield Piece(piece.chunk, rows[places], places.size // size, size)


def evaluate_source(
    program: Program, params: Any, model_state: Any, weights: Any, data: list[Piece] | Source
) -> dict[str, float]:
    """The weighted mean of the loss and of each measure over evaluation data."""
    pieces: Iterable[Piece] = data if isinstance(data, list) else _pieces_of(program, data)
    total: dict[str, float] = {}
    for piece in pieces:
        sums = evaluate_steps(
            program, params, model_state, weights, piece.chunk, piece.order, piece.steps, size=piece.batch_size
        )
        for name, value in sums.items():
            total[name] = total.get(name, 0.0) + float(value)
    return program.means(total) if total else {}


def predict_outputs(model: Any, params: Any, state: Any, x: Any, *, batch_size: int | None = None) -> Any:
    """A model's outputs for the rows of ``x``, as NumPy arrays, computed in batches of one shape.

    Args:
        batch_size: rows of a batch; None fits it to the rows. A fixed one gives a row the same outputs to the last bit
            whatever rows are beside it, at the cost of filling up the last batch.
    """
    x = as_leaves(x, "x")
    rows = rows_of(x, "x")
    size = batch_size or _size(max(rows, 1))
    if not all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves((params, state))):
        params, state = jax.device_put((params, state))
    found = []
    for first in range(0, max(rows, 1), size):  # each batch by itself: however many rows there are, it is one program
        batch = jax.tree.map(lambda leaf, first=first: leaf[first : first + size], x)
        found.append(predict_batch(model, params, state, pad_rows(batch, min(size, rows - first), to=size)))
    return jax.tree.map(lambda *parts: np.concatenate(parts)[:rows], *found)


@dataclasses.dataclass(frozen=True)
class Fitted:
    """A trained model.

    Attributes:
        program: the model, the loss and the rest that it was trained with.
        params: the parameters (the best ones, if something was monitored).
        state: the model's state that goes with them.
        history: a row (dict) an epoch.
        train_state: the full state after the last step; None of a model that was loaded.
        best_epoch: the epoch ``params`` come from, None when nothing was monitored.
        stopped_because: why training ended before its last epoch, or None.
        stopped_by: the number of the signal (Ctrl-C is 2) that ended it, or None; not saved.
        in_shape: of one row.
        monitor: the column of the history that the best epoch goes by, or None.
        best: how good the best epoch was, of a population each member's; None when nothing was monitored.
        loaded_weights: of a model that was loaded, what :attr:`weights` gives.
        clues: what :attr:`health` looks at; None of a model that was loaded, and of a training without arrays.
    """

    program: Steps
    params: Any
    state: Any
    history: list[dict[str, Any]]
    train_state: TrainState
    best_epoch: int | None = None
    stopped_because: str | None = None
    in_shape: Any = None
    monitor: str | None = None
    best: Best | None = None
    stopped_by: int | None = None
    loaded_weights: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    clues: Clues | None = dataclasses.field(default=None, repr=False)

    @property
    def weights(self) -> Mapping[str, Any]:
        """The weights of the penalties and of the objective's terms, by name."""
        return self.loaded_weights if self.train_state is None else self.train_state.weights

    @functools.cached_property
    def health(self) -> Health:
        """What is wrong with the training, if anything can be seen; it is looked inside only where its record is odd.

        :func:`danlu.diagnose` looks inside in any case.
        """
        try:
            return diagnose(self, full=False)
        except Exception as error:  # a network that cannot be walked must not cost its training
            warnings.warn(f"the training could not be examined: {type(error).__name__}: {error}", stacklevel=2)
            return Health()

    @property
    def model(self) -> Any:
        """The blueprint."""
        return self.program.model

    def predict(self, x: Any) -> Any:
        """The model's outputs (logits or values) for the rows of ``x``, as NumPy arrays."""
        self._need_network("predict")
        return predict_outputs(self.model, self.params, self.state, x)

    def evaluate(self, data: Any) -> dict[str, float]:
        """The loss and the metrics on ``(x, y)``, ``(x, y, weight)`` or an iterable of such batches."""
        self._need_network("evaluate")
        program: Any = self.program
        pieces = evaluation_pieces(data, program, TargetCheck(program, variables=(self.params, self.state)))
        return evaluate_source(program, self.params, self.state, self.weights, pieces)

    def _need_network(self, what: str) -> None:
        """Refuse the record of several networks, or of an agent.

        Raises:
            ConfigError: see above.
        """
        program: Any = self.program
        if isinstance(program, Program):
            return
        played = "a trained agent is evaluated by playing: trained.play(episodes=100).returns"
        hint = f"fitted.history has what was measured in training{'' if hasattr(program, 'program') else '; ' + played}"
        if what == "predict":
            hint = "apply a network to its own part of fitted.params: network.apply(params, state, x)"
        raise ConfigError(
            f"this is the record of a training by {type(program).__name__}; {what} is for one network that learnt from rows",
            hint=hint,
        )

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write the model to ``folder``, for :func:`danlu.load`: the blueprint, the variables, its loss and metrics, the history.

        No code is saved: of a loss or metric that is a function only the name is, so that the loaded model predicts but does not
        evaluate. To train on: ``danlu.fit(loaded.model, …, initial=(loaded.params, loaded.state))``.

        Raises:
            ArtifactError: a model of functions instead of layers, or a folder that cannot be written.

        Example:
            >>> import danlu, numpy as np, tempfile
            >>> x = np.linspace(-1, 1, 8, dtype=np.float32)[:, None]
            >>> fitted = danlu.fit(danlu.nn.Dense(1), x, 2 * x[:, 0], loss="mse", epochs=1, display="none")
            >>> loaded = danlu.load(fitted.save(tempfile.mkdtemp()))
            >>> bool((loaded.predict(x) == fitted.predict(x)).all()), loaded.evaluate((x, x[:, 0])) == fitted.evaluate((x, x[:, 0]))
            (True, True)
        """
        facts = {"history": self.history, "best_epoch": self.best_epoch, "stopped_because": self.stopped_because}
        facts["in_shape"] = to_json(self.in_shape)
        return saved.write(folder, self.program, (self.params, self.state), self.weights, facts)

    @classmethod
    def of(cls, artifact: Artifact) -> Fitted:
        """What :meth:`save` wrote: it predicts and evaluates to the same bits; its ``train_state`` is None.

        Raises:
            ArtifactError: the document is damaged.
        """
        return cls(**saved.read(artifact))

    def frame(self) -> pl.DataFrame:
        """The history as a polars frame, one row per epoch."""
        import polars as pl

        return pl.DataFrame(self.history)

    def __repr__(self) -> str:
        last = self.history[-1] if self.history else {}
        shown = ", ".join(f"{name}={value:.4g}" for name, value in last.items() if isinstance(value, float))
        return f"Fitted({type(self.model).__name__}, {len(self.history)} epochs{', ' + shown if shown else ''})"

    def _repr_html_(self) -> str:
        return self.frame()._repr_html_()
