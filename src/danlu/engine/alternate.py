"""Two programs in turn on one state, for adversarial training such as a GAN."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np

from danlu.engine.layout import Layout
from danlu.engine.loop import Steps
from danlu.engine.objective import Sums
from danlu.engine.state import TrainState
from danlu.errors import ConfigError, unknown_name
from danlu.nn.layer import Layer

__all__ = ["Alternate"]


@dataclasses.dataclass(frozen=True)
class Alternate:
    """A step of the first program, then one of the second, on the same batch.

    Both see all parameters, a dict; each changes its own part of them, whatever its objective and its optimizer make of the rest. Each
    optimizer has a state of its own: ``opt_state`` is a pair.

    Attributes:
        first, second: the programs; of one batch size, each on one device.
        parts: the names of the parts of the parameters that they train; in the history a program's columns begin with its part's.

    Example:
        >>> from danlu import nn, optim
        >>> from danlu.engine import Objective, Program, train
        >>> class Saddle(Objective):
        ...     sign: float
        ...     def __call__(self, params, state, batch, key, *, train):
        ...         x, y = params["x"], params["y"]
        ...         return self.sign * (x * x + 3 * x * y - y * y), state, {}
        >>> optimizer = optim.sgd(0.05)
        >>> down, up = (Program(nn.Dense(1), Saddle(sign), optimizer.update, batch_size=1) for sign in (1.0, -1.0))
        >>> params = {"x": jnp.ones(()), "y": jnp.ones(())}
        >>> state = TrainState.start(params, (optimizer.init(params), optimizer.init(params)))
        >>> fitted = train(Alternate(down, up, ("x", "y")), (np.zeros((1, 1)), np.zeros(1)), state, epochs=200, display="none")
        >>> bool(abs(fitted.params["x"]) < 1e-3), bool(abs(fitted.params["y"]) < 1e-3)
        (True, True)
    """

    first: Steps
    second: Steps
    parts: tuple[str, str]

    def __post_init__(self) -> None:
        if len(set(self.parts)) != 2:
            raise ConfigError(f"Alternate.parts is {self.parts!r}; expected two names of parts of the parameters")
        for name in ("batch_size", "devices", "members"):
            values = [getattr(program, name) for _, program in self._turns()]
            if values[0] != values[1] or (name == "devices" and values[0] != 1):
                raise ConfigError(
                    f"the programs of Alternate have {name} {values[0]} and {values[1]}; expected the same, on one device"
                )

    def _turns(self) -> Iterator[tuple[str, Any]]:
        return zip(self.parts, (self.first, self.second), strict=True)

    @property
    def model(self) -> Layer:
        """The second program's network."""
        return self.second.model

    @property
    def batch_size(self) -> int:
        """The rows of one step, the same for both programs."""
        return self.first.batch_size

    @property
    def unit(self) -> str:
        """The unit of the first program."""
        return self.first.unit

    @property
    def members(self) -> int | None:
        """The number of members, the same for both programs."""
        return self.first.members

    @property
    def devices(self) -> int:
        """Always 1."""
        return 1

    def layout(self, params: Any) -> Layout:
        """The state is on the single device."""
        return Layout()

    def at(self, state: TrainState, chunk: Any, order: jax.Array, index: Any) -> tuple[TrainState, Sums]:
        """A step of the first program, then one of the second."""
        if not isinstance(state.params, dict) or not set(self.parts) <= set(state.params):
            raise ConfigError(
                f"the parameters are {_shown(state.params)}; expected a dict with the parts {', '.join(self.parts)}"
            )
        if type(state.opt_state) is not tuple or len(state.opt_state) != 2:
            raise ConfigError(
                f"the optimizers' state is {_shown(state.opt_state)}; expected a pair, one for each program",
                hint="TrainState.start(params, (first.init(params), second.init(params)))",
            )
        sums: Sums = {}
        average, state = (
            state.average,
            dataclasses.replace(state, average=None),
        )  # each would take the other's part in as well
        for turn, (part, program) in enumerate(self._turns()):
            own = dataclasses.replace(state, opt_state=state.opt_state[turn])
            after, found = program.at(own, chunk, order, index)
            kept = list(state.opt_state)
            kept[turn] = after.opt_state
            params = {**state.params, part: after.params[part]}
            state = dataclasses.replace(after, params=params, opt_state=tuple(kept))
            bad = found.pop("bad_step")
            sums["bad_step"] = jnp.minimum(sums["bad_step"], bad) if turn else bad
            sums |= {_column(part, name): value for name, value in found.items()}
        return dataclasses.replace(state, average=average).averaged(), sums

    def zero_sums(self) -> Sums:
        """The sums of both programs; ``bad_step`` is shared."""
        zeros = {part: program.zero_sums() for part, program in self._turns()}
        bad = zeros[self.parts[0]]["bad_step"]
        own = {_column(part, name): z for part, of in zeros.items() for name, z in of.items() if name != "bad_step"}
        return {**own, "bad_step": bad}

    def means(self, sums: Mapping[str, Any]) -> dict[str, Any]:
        """The means of both programs, by part."""
        found: dict[str, Any] = {}
        for part, program in self._turns():
            start = _column(part, "")
            own = {name[len(start) :]: value for name, value in sums.items() if name.startswith(start)}
            found |= {_column(part, name): mean for name, mean in program.means(own).items()}
        return found

    def counters(self, state: TrainState) -> dict[str, Any]:
        """The number of updates of both programs together."""
        return {"step": np.asarray(state.step)}

    def resting(self) -> Self:
        """With both programs resting."""
        return dataclasses.replace(self, first=self.first.resting(), second=self.second.resting())

    def best_by(self, row: Mapping[str, Any], column: str) -> Any:
        """The value of ``column`` in the row, by which an epoch is judged."""
        return row[column]

    def direction(self, column: str) -> str | None:
        """The direction that the column's program declares."""
        for part, program in self._turns():
            start = _column(part, "")
            if column.startswith(start):
                said: str | None = program.direction(column[len(start) :])
                return said
        if column.startswith("val_"):
            return None  # what the caller measures
        raise unknown_name("column to monitor", column, [_column(part, "loss") for part in self.parts])


def _column(part: str, name: str) -> str:
    return f"{part}_{name}"


def _shown(tree: Any) -> str:
    """What the parameters are, in short."""
    return f"a dict of {', '.join(map(str, tree))}" if isinstance(tree, dict) else f"a {type(tree).__name__}"
