"""A function walked operation by operation: what each one was given, what it made, where it stands, and which weight came last.

Any pure function can be walked, so what is found by it needs nothing of the network: a pair ``(init, apply)`` or a loss of the user's
is seen into as the layers of danlu are.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax

from danlu.paths import leaf_paths

__all__ = ["Operation", "Visit", "walk"]

_INLINE = ("jaxpr", "call_jaxpr", "fun_jaxpr")  # where an operation holds the function that it only calls
_LOOPS = ("scan", "while", "cond")
_HOME = str(Path(__file__).parents[1])


@dataclasses.dataclass(frozen=True)
class Operation:
    """One operation of a function.

    Attributes:
        name: what JAX calls it, such as ``"log"``.
        weight: the path of the parameter that was used last on the way to it; empty before the first.
        backward: whether it belongs to the chain rule's way back.
        place: the line of the user's that it stands in, or else of danlu's: ``"function, file.py line 12"``.
        turn: in which turn of a loop, from 0; None outside of loops.
    """

    name: str
    weight: str
    backward: bool
    place: str
    turn: int | None = None


Visit = Callable[[Operation, Sequence[Any], Sequence[Any]], None]


@dataclasses.dataclass(frozen=True)
class _Trail:
    """Where a value comes from: the parameter used last, and as how many-th; ``raw`` is a parameter itself, maybe in another form."""

    count: int = 0
    weight: str = ""
    raw: bool = False


def walk(
    function: Callable[..., Any], params: Any, *args: Any, visit: Visit, into_loops: Callable[..., bool] | None = None
) -> Any:
    """``function(params, *args)``, with ``visit(operation, inputs, outputs)`` after each operation.

    Inside ``jax.jit`` it is one compiled program; outside each operation is done by itself, on values that can be looked at.

    Args:
        into_loops: whether to walk into a loop's turns, from its inputs and outputs (outside of ``jit`` only); None does not.

    Example:
        >>> import jax.numpy as jnp
        >>> seen = []
        >>> walk(lambda w, x: jnp.tanh(w["a"] * x), {"a": 2.0}, 1.0, visit=lambda op, given, made: seen.append((op.name, op.weight)))
        Array(0.9640276, dtype=float32, weak_type=True)
        >>> seen
        [('mul', 'a'), ('tanh', 'a')]
    """
    closed, shapes = jax.make_jaxpr(function, return_shape=True)(params, *args)
    names = leaf_paths(params)
    trails = [_Trail(weight=name, raw=True) for name in names]
    values = jax.tree.leaves((params, *args))
    trails += [_Trail()] * (len(values) - len(names))
    out, _ = _Walk(visit, into_loops).run(closed.jaxpr, closed.consts, values, trails)
    return jax.tree.unflatten(jax.tree.structure(shapes), out)


class _Walk:
    def __init__(self, visit: Visit, into_loops: Callable[..., bool] | None) -> None:
        self.visit, self.into_loops, self.count = visit, into_loops, 0
        self.turn: int | None = None

    def run(
        self,
        jaxpr: Any,
        consts: Sequence[Any],
        args: Sequence[Any],
        trails: Sequence[_Trail],
        backward: bool = False,
        place: str = "",
    ) -> tuple[list[Any], list[_Trail]]:
        """The values of a function's results, and their trails."""
        env = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *args], strict=True))
        known = dict(zip(jaxpr.invars, trails, strict=True))

        def value(atom: Any) -> Any:
            return atom.val if hasattr(atom, "val") else env[atom]

        def trail(atom: Any) -> _Trail:
            return _Trail() if hasattr(atom, "val") else known.get(atom, _Trail())

        for eqn in jaxpr.eqns:
            given, before = [value(atom) for atom in eqn.invars], [trail(atom) for atom in eqn.invars]
            back = backward or "transpose" in str(eqn.source_info.name_stack)
            made, after = self._one(eqn, given, before, back, _place(eqn) or place)
            env.update(zip(eqn.outvars, made, strict=True))
            known.update(zip(eqn.outvars, after, strict=True))
        return [value(atom) for atom in jaxpr.outvars], [trail(atom) for atom in jaxpr.outvars]

    def _one(
        self, eqn: Any, given: list[Any], before: list[_Trail], backward: bool, place: str
    ) -> tuple[list[Any], list[_Trail]]:
        name = eqn.primitive.name
        if name not in _LOOPS:
            inner = next((eqn.params[key] for key in _INLINE if key in eqn.params), None)
            if inner is not None and len(getattr(inner, "jaxpr", inner).invars) == len(given):
                function = getattr(inner, "jaxpr", inner)
                return self.run(function, getattr(inner, "consts", ()), given, before, backward, place)
        bound = eqn.primitive.get_bind_params(eqn.params)
        functions, settings = bound if isinstance(bound, tuple) else ((), bound)  # by the version of JAX
        made = eqn.primitive.bind(*functions, *given, **settings)
        made = list(made) if eqn.primitive.multiple_results else [made]
        trail = self._after(before)
        if name == "scan" and self.into_loops is not None and self.into_loops(given, made):
            self._turns(eqn, given, before, backward, place)
            return made, [trail] * len(made)
        self.visit(Operation(name, trail.weight, backward, place, self.turn), given, made)
        return made, [trail] * len(made)

    def _after(self, before: list[_Trail]) -> _Trail:
        if len(before) == 1 and before[0].raw:  # the same in another form
            return before[0]
        raw = [trail for trail in before if trail.raw]
        if raw:
            self.count += 1
            return _Trail(self.count, raw[-1].weight)
        return max(before, key=lambda trail: trail.count, default=_Trail())

    def _turns(self, eqn: Any, given: list[Any], before: list[_Trail], backward: bool, place: str) -> None:
        """Walk the turns of a loop one after the other."""
        said = eqn.params
        fixed, carried = said["num_consts"], said["num_consts"] + said["num_carry"]
        consts, carry, rows = given[:fixed], given[fixed:carried], given[carried:]
        numbers = range(said["length"])
        for turn in reversed(numbers) if said["reverse"] else numbers:
            outer, self.turn = self.turn, turn
            values = [*consts, *carry, *(array[turn] for array in rows)]
            made, _ = self.run(said["jaxpr"].jaxpr, said["jaxpr"].consts, values, before, backward, place)
            carry, self.turn = made[: said["num_carry"]], outer


def _place(eqn: Any) -> str:
    """Where an operation was written, as well as JAX can tell."""
    try:
        from jax._src import source_info_util

        frames = list(source_info_util.user_frames(eqn.source_info.traceback))
    except (ImportError, AttributeError):
        return ""
    own = [frame for frame in frames if not frame.file_name.startswith(_HOME)]
    # the innermost frame of the user's, if it lies within the function that danlu called; else danlu's own
    inner = frames[0] if frames else None
    found = own[0] if own and inner is own[0] else inner
    if found is None:
        return ""
    return f"{found.function_name.split('.<locals>.')[-1]}, {Path(found.file_name).name} line {found.start_line}"
