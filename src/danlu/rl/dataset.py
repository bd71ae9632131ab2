"""Recorded experience in a file, for learning without an environment.

One safetensors file: the arrays of the transitions, ``(time, environments, …)`` in time order, and a JSON header with the format and the
spaces. No code is run and nothing is unpickled on the way back in.
"""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from danlu.artifact.files import json_text, parse_json
from danlu.blueprint import from_json, to_json
from danlu.errors import ArtifactError, ConfigError, DataError
from danlu.files import write_atomic
from danlu.paths import escape, named_leaves
from danlu.rl.environment import Transition
from danlu.rl.prioritised import Prioritised
from danlu.rl.replay import Replay
from danlu.rl.spaces import DictSpace, Discrete, MultiDiscrete, Slate, Space

__all__ = ["OfflineDataset", "load_buffer", "save_buffer"]

FORMAT = "danlu-buffer-1"
_FLAGS = ("terminated", "truncated")
_HINT = "a buffer is written by danlu.rl.dataset.save_buffer"


@dataclasses.dataclass(frozen=True)
class OfflineDataset:
    """The transitions that :func:`load_buffer` read.

    Attributes:
        transitions: arrays ``(time, environments, …)``; ``steps`` and ``score`` are counted anew from the first row, ``extra`` is None.
        observation_space, action_space: what they are of.
        note: what else the file says, such as who acted.
    """

    transitions: Transition
    observation_space: Space
    action_space: Space
    note: dict[str, Any]

    @property
    def returns(self) -> np.ndarray:
        """The return of each complete episode; the first of each environment may have begun before the recording."""
        ended = np.asarray(self.transitions.ended)
        after_the_first = ended & (np.cumsum(ended, axis=0) > 1)
        return np.asarray(self.transitions.score)[after_the_first]

    @property
    def replay(self) -> Replay:
        """A full replay of the transitions, to sample from."""
        return Replay.full(self.transitions)


def save_buffer(
    path: str | os.PathLike[str],
    transitions: Replay | Prioritised | Any,
    *,
    observation_space: Space,
    action_space: Space,
    note: dict[str, Any] | None = None,
) -> None:
    """Write transitions to a file, so that :func:`load_buffer` finds them.

    Args:
        path: the file; one that is there is replaced once the new one is complete.
        transitions: a replay (what is in it, oldest first), or a :class:`Transition` of arrays ``(time, environments, …)``, or any
        object or dict with its
            ``observation``, ``action``, ``reward``, ``next_observation``, ``terminated`` and ``truncated``.
        observation_space, action_space: what they are of.
        note: plain data to keep with them.

    Raises:
        DataError: no such arrays, none at all, or not of these spaces.
        ConfigError: a note that is not plain data.
        ArtifactError: the file cannot be written.

    Example:
        >>> import jax.numpy as jnp, tempfile
        >>> from danlu.rl.spaces import Box, Discrete
        >>> row = {"observation": jnp.ones((3, 1, 2)), "next_observation": jnp.ones((3, 1, 2)), "action": jnp.zeros((3, 1), jnp.int32)}
        >>> row |= {"reward": jnp.ones((3, 1)), "terminated": jnp.zeros((3, 1), bool), "truncated": jnp.zeros((3, 1), bool)}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_buffer(f"{folder}/seen.safetensors", row, observation_space=Box(-1.0, 1.0, (2,)), action_space=Discrete(2))
        ...     found = load_buffer(f"{folder}/seen.safetensors")
        >>> found.action_space, found.transitions.reward.shape, found.replay.capacity
        (Discrete(n=2), (3, 1), 3)
    """
    from safetensors.numpy import save

    if isinstance(transitions, Prioritised):
        transitions = transitions.replay
    rows = transitions.in_time_order() if isinstance(transitions, Replay) else transitions
    known = rows if isinstance(rows, dict) else vars(rows) if hasattr(rows, "__dict__") else {}
    fields = _layout(observation_space, action_space)
    lacking = [name for name in fields if name not in known]
    if lacking:
        raise DataError(f"the transitions have no {', '.join(lacking)}; expected {', '.join(fields)}")
    arrays = {name: np.asarray(leaf) for name, leaf in named_leaves({name: known[name] for name in fields})}
    types = {key: dtype for name, space in fields.items() for key, (_, dtype) in _leaves(name, space).items()}
    arrays = {name: _as(array, types.get(name, array.dtype)) for name, array in arrays.items()}
    _check(arrays, fields, "the transitions", DataError)
    try:
        header = {
            "format": FORMAT,
            "observation_space": to_json(observation_space),
            "action_space": to_json(action_space),
            "note": json.loads(json.dumps(note or {}, allow_nan=False)),
        }
    except (TypeError, ValueError) as error:
        raise ConfigError(f"the note cannot be written as JSON: {error}") from error
    metadata = {"danlu": json_text(header, indent=None)}
    write_atomic(path, save({name: np.ascontiguousarray(array) for name, array in arrays.items()}, metadata=metadata))


def load_buffer(path: str | os.PathLike[str]) -> OfflineDataset:
    """The transitions of a file that :func:`save_buffer` wrote.

    Raises:
        DataError: no such file.
        ArtifactError: damaged, another kind of file, or contents that do not fit the spaces it names.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        raise DataError(f"there is no buffer of transitions at {path}", hint=_HINT)
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise ArtifactError(f"{path} is damaged, or no buffer of transitions: {error}", hint=_HINT) from error
    if "danlu" not in metadata:
        raise ArtifactError(
            f"{path} is a safetensors file of another kind; expected a buffer of transitions", hint=_HINT
        )
    header = parse_json(metadata["danlu"].encode(), f"the header of {path}")
    if header.get("format") != FORMAT:
        raise ArtifactError(
            f"{path} has the format {header.get('format')!r}; expected {FORMAT!r}",
            hint="a newer danlu may have written it",
        )
    spaces = [from_json(header.get(name)) for name in ("observation_space", "action_space")]
    if not all(isinstance(space, Space) for space in spaces):
        raise ArtifactError(f"the header of {path} names no spaces")
    fields = _layout(*spaces)
    _check(arrays, fields, str(path), ArtifactError)
    tree = {name: _nest(name, space, arrays) for name, space in fields.items()}
    tree["steps"], tree["score"] = _count(tree)
    note = header.get("note")
    return OfflineDataset(Transition(**tree), spaces[0], spaces[1], note if isinstance(note, dict) else {})


def _layout(observation: Space, action: Space) -> dict[str, Space | None]:
    """The fields of a transition and the space of each; None of a number or flag."""
    return {
        "observation": observation,
        "action": action,
        "reward": None,
        "next_observation": observation,
        "terminated": None,
        "truncated": None,
    }


def _leaves(name: str, space: Space | None) -> dict[str, tuple[tuple[int, ...], Any]]:
    """The arrays of a field: their names, shapes after the leading axes, and types."""
    if isinstance(space, DictSpace):
        parts = (_leaves(f"{name}/{escape(key)}", each) for key, each in space.entries)
        return {key: value for part in parts for key, value in part.items()}
    if space is None:
        return {name: ((), np.bool_ if name in _FLAGS else np.float32)}
    return {name: (space.shape, space.dtype)}


def _choices(name: str, space: Space | None) -> dict[str, np.ndarray]:
    """How many values each entry of an array has, of the arrays that hold whole numbers from 0."""
    if isinstance(space, DictSpace):
        parts = (_choices(f"{name}/{escape(key)}", each) for key, each in space.entries)
        return {key: value for part in parts for key, value in part.items()}
    if isinstance(space, Discrete):
        return {name: np.array(space.n)}
    if isinstance(space, Slate):
        return {name: np.full(space.k, space.n)}
    return {name: np.array(space.sizes)} if isinstance(space, MultiDiscrete) else {}


def _as(array: np.ndarray, dtype: Any) -> np.ndarray:
    """Float64 as float32, int64 as int32; what is of another kind stays, and is refused."""
    return array.astype(dtype) if np.can_cast(array.dtype, dtype, "same_kind") else array


def _nest(name: str, space: Space | None, arrays: dict[str, np.ndarray]) -> Any:
    if isinstance(space, DictSpace):
        return {key: _nest(f"{name}/{escape(key)}", each, arrays) for key, each in space.entries}
    return arrays[name]


def _check(
    arrays: dict[str, np.ndarray],
    fields: dict[str, Space | None],
    where: str,
    error: type[DataError] | type[ArtifactError],
) -> None:
    """Raise unless ``arrays`` are those of the fields, of one time and number of environments, and numbers."""
    expected = {key: value for name, space in fields.items() for key, value in _leaves(name, space).items()}
    if set(arrays) != set(expected):
        raise error(
            f"{where}: the arrays are {', '.join(sorted(arrays))}; the spaces ask for {', '.join(sorted(expected))}"
        )
    lead = arrays["reward"].shape
    if len(lead) != 2 or 0 in lead:
        raise error(f"{where}: reward has the shape {lead}; expected (time, environments), at least 1 of each")
    for name, (shape, dtype) in expected.items():
        array = arrays[name]
        if array.shape != (*lead, *shape) or array.dtype != np.dtype(dtype):
            raise error(
                f"{where}: {name} is {array.dtype}{list(array.shape)}; expected {np.dtype(dtype)}{[*lead, *shape]} for its space"
            )
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise error(f"{where}: {name} holds {int((~np.isfinite(array)).sum())} numbers that are not finite")
    for name, count in {
        key: value for field, space in fields.items() for key, value in _choices(field, space).items()
    }.items():
        if ((arrays[name] < 0) | (arrays[name] >= count)).any():
            raise error(
                f"{where}: {name} goes from {arrays[name].min()} to {arrays[name].max()}; its space ends at {count - 1}"
            )
    if (arrays["terminated"] & arrays["truncated"]).any():
        raise error(f"{where}: steps are both terminated and truncated; expected one or the other")


def _count(tree: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Lengths and sums of rewards of the episodes so far, as if all had begun in the first row."""
    reward, ended = tree["reward"], tree["terminated"] | tree["truncated"]
    steps, score = np.zeros(reward.shape, np.int32), np.zeros(reward.shape, np.float32)
    length, total = np.zeros(reward.shape[1], np.int32), np.zeros(reward.shape[1], np.float32)
    for t in range(len(reward)):
        length, total = length + 1, total + reward[t]
        steps[t], score[t] = length, total
        length, total = np.where(ended[t], 0, length).astype(np.int32), np.where(ended[t], 0, total).astype(np.float32)
    return steps, score
