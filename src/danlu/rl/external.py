"""Environments that are not compiled: any of Gymnasium's, stepped on the host from within a compiled program.

The program calls the host once for each step of all its environments, so that collecting, learning and evaluating are the same programs as
for danlu's own environments. The state on the host is not part of a checkpoint: in the first step of a resumed run, which brings nothing,
the episodes under way are cut and new ones begin.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import os
import warnings
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import io_callback

from danlu.blueprint import setting
from danlu.errors import DanluError, TrainingError
from danlu.rl import gym_spaces
from danlu.rl.allow import allow_written
from danlu.rl.environment import Environment, Envs, Outcome, Transition
from danlu.rl.gym_make import Known, build, look_up, plain
from danlu.rl.processes import Crew, Processes
from danlu.rl.spaces import Space
from danlu.rl.workers import Batch, Local, describe

__all__ = ["External", "HostState", "close_all", "external", "raise_if_broken"]

NO_LIMIT = 27_000
"""Where an environment sets no limit of time: half an hour of Atari, at the usual four frames a step."""

_EXACT = 2**24  # whole numbers below it are exact in float32
_fresh = itertools.count(int.from_bytes(os.urandom(2)) * 128)  # another process's numbers would be others
_POOLS: dict[int, tuple[External, Local | Processes, int]] = {}
_CREWS: dict[External, Crew] = {}
_BROKEN: dict[External, DanluError] = {}
_SHY: set[External] = set()


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class HostState:
    """Where an environment is on the host: its pool, how often the pool was reset, and its index in the pool; int32."""

    pool: jax.Array
    begun: jax.Array
    index: jax.Array


class External(Environment):
    """An environment of Gymnasium's. Made by :func:`external` (or ``rl.make``), which knows the time limit.

    ``begin`` makes the environments on the host at its first run (one pool for each place in a program where it stands), and seeds and
    resets them at each run. ``advance`` steps them all in one call of the host. An error in an environment cannot leave a compiled
    program: from then on rewards and observations are zero, and :func:`raise_if_broken` raises it.

    Args:
        max_steps: the steps after which an episode is truncated.
        name: what Gymnasium calls it.
        parameters: for its constructor, ``((name, value), …)``.
        workers: processes that step the environments; 0 is this one. Worth it when a step takes longer than about a millisecond.

    Reference: Towers et al. (2024), "Gymnasium: a standard interface for reinforcement learning environments", arXiv:2407.17032.

    Example:
        >>> env = external("CartPole-v1")
        >>> envs = env.begin(jax.random.key(0), 2)
        >>> envs, transition = env.advance(envs, jnp.int32([0, 1]), jax.random.key(1))
        >>> transition.reward.tolist(), envs.observation.shape
        ([1.0, 1.0], (2, 4))
        >>> env.close()
    """

    pure: ClassVar[bool] = False

    max_steps: int = setting(default=NO_LIMIT, minimum=1, integer=True)
    name: str = ""
    parameters: tuple[tuple[str, Any], ...] = ()
    workers: int = setting(default=0, minimum=0, integer=True)

    @property
    def id(self) -> str:  # type: ignore[override]
        """Gymnasium's name."""
        return self.name

    @property
    def solved(self) -> float | None:  # type: ignore[override]
        """Gymnasium's reward threshold."""
        threshold = self._known.solved
        return None if threshold is None else float(threshold)

    @property
    def observation_space(self) -> Space:
        return self._known.observation

    @property
    def action_space(self) -> Space:
        return self._known.action

    def reset(self, key: jax.Array) -> tuple[Any, Any]:
        raise TrainingError(f"{self.name} lives on the host; use begin and advance, which step several at once")

    def step(self, state: Any, action: Any, key: jax.Array) -> tuple[Any, Outcome]:
        raise TrainingError(f"{self.name} lives on the host; use begin and advance, which step several at once")

    def begin(self, key: jax.Array, count: int) -> Envs:
        pool = next(_fresh) % _EXACT
        seed = jax.random.bits(key, (), jnp.uint32)
        numbers, pictures = io_callback(
            functools.partial(_begin, self, pool, count), self._shapes(count), seed, ordered=True
        )
        state = HostState(
            jnp.full(count, pool, jnp.int32), numbers[:, -1].astype(jnp.int32), jnp.arange(count, dtype=jnp.int32)
        )
        layout = self._layout
        seen = layout.unpack(numbers[:, layout.numbers : 2 * layout.numbers], pictures[1::2])
        return Envs(state, seen, jnp.zeros(count, jnp.int32), jnp.zeros(count, jnp.float32))

    def advance(self, envs: Envs, action: Any, key: jax.Array) -> tuple[Envs, Transition]:
        count = envs.steps.shape[0]
        flat = action.reshape(count, -1)  # (count, numbers of an action)
        place = jnp.stack([envs.state.pool, envs.state.begun], axis=1).astype(flat.dtype)
        sent = jnp.concatenate([flat, place], axis=1)  # one array, since each costs time
        numbers, pictures = io_callback(functools.partial(_advance, self), self._shapes(count), sent, ordered=True)
        layout = self._layout
        width = layout.numbers
        reward, ends, cuts = numbers[:, 2 * width], numbers[:, 2 * width + 1] > 0, numbers[:, 2 * width + 2] > 0
        steps, score = envs.steps + 1, envs.score + reward
        transition = Transition(
            observation=envs.observation,
            action=action,
            reward=reward,
            next_observation=layout.unpack(numbers[:, :width], pictures[::2]),
            terminated=ends,
            truncated=cuts,
            steps=steps,
            score=score,
        )
        over = transition.ended
        seen = layout.unpack(numbers[:, width : 2 * width], pictures[1::2])
        return Envs(envs.state, seen, jnp.where(over, 0, steps), jnp.where(over, 0.0, score)), transition

    def frame(self, state: HostState) -> np.ndarray | None:
        """A picture of the environment as it is now, not as it was at an earlier state.

        None, after a warning, of one that cannot (most need the package pygame for it).
        """
        found = _POOLS.get(int(state.pool))
        if found is None or self in _SHY:
            return None
        try:
            return found[1].frame(int(state.index))
        except Exception as error:
            _SHY.add(self)
            warnings.warn(f"{self.name} cannot draw itself: {describe(error)}", stacklevel=2)
            return None

    def close(self) -> None:
        """Close its environments on the host, and its workers."""
        close_all(self)

    def build(self) -> Any:
        """One of Gymnasium's environments, as the pools hold them."""
        return self._maker()()

    def _maker(self) -> Callable[[], Any]:
        known = self._known
        return functools.partial(build, known.spec, self.parameters, self.max_steps, known.draws)

    @property
    def _known(self) -> Known:
        return look_up(self.name, self.parameters)

    @property
    def _layout(self) -> gym_spaces.Layout:
        return gym_spaces.Layout(self.observation_space)

    def _shapes(self, count: int) -> tuple[jax.ShapeDtypeStruct, list[jax.ShapeDtypeStruct]]:
        empty = Batch.empty(0, self._layout)
        numbers, *pictures = (
            jax.ShapeDtypeStruct((count, *array.shape[1:]), array.dtype) for array in (empty.numbers, *empty.pictures)
        )
        return numbers, pictures


def external(name: str, *, workers: int = 0, max_steps: int | None = None, **parameters: Any) -> External:
    """The environment that Gymnasium knows by a name, with its time limit (27,000 steps where it has none).

    Args:
        workers: processes that step the environments; 0 is this one.
        max_steps: another time limit.
        **parameters: for its constructor; plain values.

    Raises:
        MissingExtraError: Gymnasium, or what the environment needs beside it, is not installed.
        ConfigError: Gymnasium cannot make it, or danlu does not know its kinds of observations or actions.
    """
    allow_written(name, parameters)
    return external_allowed(name, workers=workers, max_steps=max_steps, **parameters)


def external_allowed(name: str, *, workers: int = 0, max_steps: int | None = None, **parameters: Any) -> External:
    """As :func:`external`, of a name that may come from a file: it imports no module that the user has not named."""
    given = tuple(sorted((key, plain(name, key, value)) for key, value in parameters.items()))
    limit = max_steps if max_steps is not None else look_up(name, given).limit or NO_LIMIT
    return External(limit, name, given, workers)


def close_all(env: External | None = None) -> None:
    """Close the environments of ``env`` (None: of every environment) on the host."""
    for pool, (owner, workers, _) in list(_POOLS.items()):
        if env is None or owner == env:
            del _POOLS[pool]
            with contextlib.suppress(TrainingError):  # a worker that has ended needs no closing
                workers.close()
    for owner in list(_CREWS):
        if env is None or owner == env:
            _CREWS.pop(owner).close()


def raise_if_broken(env: Any = None) -> None:
    """Raise, once, the error of an environment inside a compiled program; ``env`` may be wrapped, None is any."""
    while env is not None and not isinstance(env, External):
        env = getattr(env, "env", None)
        if env is None:
            return
    for broken in [env] if env is not None else list(_BROKEN):
        error = _BROKEN.pop(broken, None)
        if error is not None:
            raise error


def _begin(env: External, pool: int, count: int, seed: Any) -> tuple[np.ndarray, list[np.ndarray]]:
    """On the host: seed and reset the pool's environments, which are made when it is new."""
    out = Batch.empty(count, env._layout)
    try:
        _, workers, begun = _POOLS.get(pool) or (env, _pool(env, count), 0)
        begun = (begun + 1) % _EXACT
        _POOLS[pool] = (env, workers, begun)
        workers.reset(int(seed), out)
        out.numbers[:, -1] = begun
    except Exception as error:
        _break(env, "begin an episode", error)
    return out.numbers, out.pictures


def _advance(env: External, sent: Any) -> tuple[np.ndarray, list[np.ndarray]]:
    """On the host: step the environments of the pool that ``sent`` ends with."""
    given = np.asarray(sent)
    pool, begun = int(given[0, -2]), int(given[0, -1])
    try:
        found = _POOLS.get(pool)
        if found is None:
            return _anew(env, pool, begun, len(given))
        if found[2] != begun:
            raise TrainingError("its environments were reset elsewhere")
        if env not in _BROKEN:
            out = found[1].empty.another()
            found[1].step(given[:, :-2], out)
            return out.numbers, out.pictures
    except Exception as error:
        _break(env, "take a step", error)
    out = Batch.empty(len(given), env._layout)
    return out.numbers, out.pictures


def _anew(env: External, pool: int, begun: int, count: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """A step in environments that are gone, of a process that was killed: the episodes are cut, and new ones begin."""
    out, width = Batch.empty(count, env._layout), env._layout.numbers
    workers = _pool(env, count)
    _POOLS[pool] = (env, workers, begun)
    workers.reset(1009 * pool + begun, out)
    out.numbers[:, :width] = out.numbers[:, width : 2 * width]
    out.numbers[:, -1] = 1
    for k in range(0, len(out.pictures), 2):
        out.pictures[k][:] = out.pictures[k + 1]
    return out.numbers, out.pictures


def _break(env: External, what: str, error: Exception) -> None:
    if env not in _BROKEN:
        _BROKEN[env] = TrainingError(
            f"{env.name} could not {what}: {describe(error)}",
            hint=f"danlu.rl.check_env({env.name!r}) says what is wrong with an environment",
        )


def _pool(env: External, count: int) -> Local | Processes:
    if env.workers:
        if env not in _CREWS:
            _CREWS[env] = Crew(env._maker(), env.workers)
        return Processes(_CREWS[env], count, env._layout)
    return Local(env._maker(), count, env._layout)
