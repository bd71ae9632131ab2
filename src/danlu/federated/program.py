"""One round of federated learning as a step: clients train on their own rows, side by side, and the server takes the mean.

A round is, for the clients S that take part in it, each with its share pᵢ of all rows,

    θᵢ  =  the client's own steps, begun at θ, over its own rows
    d   =  Σ_S pᵢ·(θᵢ − θ) / Σ_S pᵢ
    θ  ←  θ + d,    or what the server's optimizer makes of −d as if it were a gradient

The clients are one axis: ``together`` of them are trained at once under ``vmap``, one group after the other in a ``scan``, so that memory
is bounded by a group. Unequal numbers of rows are a bound of the loop over a client's batches, which is a number and no shape: nothing
is compiled again.

References:
    McMahan et al. (2017), Communication-efficient learning of deep networks from decentralized data, algorithm 1 (FedAvg).
    Reddi et al. (2021), Adaptive federated optimization, algorithm 1 (a server's optimizer).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np

from danlu.engine import Program
from danlu.engine.layout import Layout
from danlu.engine.loop import loop_steps
from danlu.engine.mesh import position, spread, total
from danlu.engine.objective import Sums
from danlu.engine.poisson import Secret
from danlu.engine.state import TrainState
from danlu.engine.step import NEVER
from danlu.errors import ConfigError
from danlu.federated.drift import Drift
from danlu.federated.masked import silent, summed
from danlu.federated.own import chosen, replaced
from danlu.federated.private import Private, clipped, noisy
from danlu.nn.layer import Layer
from danlu.optim import hyperparameter

__all__ = ["Federated"]

_OWN = ("change", "client_change", "clients", "rounds")  # the sums that a round adds to those of its clients' steps


@dataclasses.dataclass(frozen=True)
class Federated:
    """A program whose step is a round of federated learning.

    The state is the server's: ``params`` and ``model_state`` of the shared model, ``opt_state`` with which a client begins its steps, and
    in ``world`` what else there is: the optimizer of the server, and on a leading axis of clients what each keeps (its random key, the
    number of its steps, its control variate, its own part of the network, its optimizer). :meth:`begin` makes it.

    Attributes:
        program: the training of a client, on one device.
        clients: how many take part in a round at most; the order of a round has a row for each.
        population: how many there are.
        batches: the most batches that a client takes in a round.
        even: whether every client takes as many.
        together: how many are trained at once.
        devices: how many devices the clients of a round are divided among.
        server: the ``update`` of the server's optimizer; None adds the mean change as it is.
        scaffold: whether clients correct their gradients by control variates (see :class:`~danlu.federated.drift.Drift`).
        own: patterns of the paths of parameters and state that stay with each client: neither sent nor averaged.
        turns: of so many epochs of a client the last trains what all share and the others what stays with it; 1 trains both in all. The
            optimizer is then one ``by_part``.
        remember: whether a client's optimizer goes on in its next round where it was; else each round begins it anew.
        private: whose noise hides a client: the ``"server"``'s or each ``"client"``'s own; empty is none (see
            :mod:`danlu.federated.private`).
        expected: how many clients take part in a private round in the mean.
        secure: whether the mean is taken of masked vectors (see :mod:`danlu.federated.secure`), so that a server would see no client's.
        lost: the share of a round's clients, rounded down, that fall silent before what they learnt arrives; for the round they are
            as if they had not been there.
        rows: of a round, for the display of rows a second.
    """

    program: Program
    clients: int
    population: int
    batches: int
    even: bool = False
    together: int = 1
    devices: int = 1
    server: Callable[..., Any] | None = None
    scaffold: bool = False
    own: tuple[str, ...] = ()
    turns: int = 1
    remember: bool = False
    private: str = ""
    expected: float = 1.0
    secure: bool = False
    lost: float = 0.0
    rows: int = 1

    def __post_init__(self) -> None:
        if self.clients % (self.together * self.devices):
            raise ConfigError(
                f"a round of {self.clients} clients cannot be divided into groups of {self.together} on {self.devices} devices",
                hint="the source of a round fills it up: RoundSource(…, multiple=together * devices)",
            )
        if self.secure and self.devices > 1:
            raise ConfigError(
                f"secure sums are simulated on one device; expected devices=1 with them, not {self.devices}"
            )
        if self.program.devices > 1:
            raise ConfigError(
                f"the training of a client is on {self.program.devices} devices; expected 1: its clients are divided among them"
            )

    @property
    def model(self) -> Layer:
        """The network."""
        return self.program.model

    @property
    def batch_size(self) -> int:
        """Rows of a round."""
        return self.rows

    @property
    def unit(self) -> str:
        """``"rows"``."""
        return "rows"

    @property
    def members(self) -> None:
        """One training."""

    def layout(self, params: Any) -> Layout:
        """The state is on every device."""
        return Layout(self.devices)

    def alone(self) -> Self:
        """The same on one device."""
        return dataclasses.replace(self, devices=1)

    def begin(
        self,
        state: TrainState,
        server: Any = None,
        private: Private | None = None,
        *,
        seed: int = 0,
        secret: Secret | None = None,
    ) -> TrainState:
        """The state of the server before the first round.

        Args:
            state: of a client's training before its first step.
            server: the server's optimizer, where there is one.
            private: the bound and the noise of private rounds.
            seed: client i draws as a training of the seed ``seed + i`` does.
            secret: what noise comes from, each client's and the server's; without one, which is not private, from ``seed``.
        """
        many = lambda tree: jax.tree.map(lambda a: jnp.repeat(a[None], self.population, axis=0), tree)  # noqa: E731
        keys = jax.vmap(lambda number: jax.random.fold_in(jax.random.key(seed + number), 1))(
            np.arange(self.population, dtype=np.uint32)
        )
        kept: dict[str, Any] = {"key": keys, "step": jnp.zeros(self.population, jnp.int32)}
        if secret is not None:
            kept["secret"] = jnp.stack([secret.part(number).key for number in range(self.population)])
        if self.own:
            kept["own"] = many(self._mine((state.params, state.model_state)))
        if self.remember:
            kept["optimizer"] = many(state.opt_state)
        world: dict[str, Any] = {}
        if self.scaffold:
            zeros = jax.tree.map(jnp.zeros_like, state.params)
            kept["control"], world["control"] = many(zeros), zeros
        if server is not None:
            world["server"] = server.init(state.params)
        if private is not None:
            world["privacy"] = {
                "clip": jnp.asarray(private.clip, float),
                "noise": jnp.asarray(private.noise, float),
                "secret": state.key if secret is None else secret.key,
            }
        return dataclasses.replace(state, world={**world, "clients": kept})

    def at(self, state: TrainState, chunk: Any, order: jax.Array, index: Any) -> tuple[TrainState, Sums]:
        """Round ``index`` of an order of several: its part ``(clients, batches·batch_size)`` names each client's rows."""
        round_on_each: Callable[..., tuple[TrainState, Sums]] = spread(self._round, self.devices)
        return round_on_each(state, chunk, order, index)

    def _round(self, state: TrainState, chunk: Any, order: jax.Array, index: Any) -> tuple[TrainState, Sums]:
        """The round on a device, with its share of the clients."""
        length = self.batches * self.program.batch_size
        rows = jax.lax.dynamic_slice_in_dim(order, index * length, length, axis=1)
        whose = {name: chunk["client"][name][_row(rows[:, 0])] for name in ("number", "share", "count")}
        asked = rows[:, 0] != -1
        here = asked & ~silent(self.lost, state.key, state.step, asked, secure=self.secure) if self.lost else asked
        share = jnp.where(here, whose["share"], 0)
        # A client that is absent fills the round up: its number is that of none, where nothing is written.
        number = jnp.where(here, whose["number"], self.population)
        weight = share / jnp.maximum(share.sum(), jnp.finfo(share.dtype).tiny)
        if self.private:  # all count alike, by a number that no draw decides
            weight = here.astype(share.dtype) / self.expected
        mine = self.clients // self.devices
        first = position(self.devices) * mine
        take = lambda a: jax.lax.dynamic_slice_in_dim(a, first, mine)  # noqa: E731
        # (clients of this device, …) to (groups, together, …)
        grouped = jax.tree.map(
            lambda a: take(a).reshape(-1, self.together, *a.shape[1:]), (rows, whose["number"], weight, share)
        )
        own = {name: leaf for name, leaf in chunk.items() if name != "client"}
        alone = (
            self.clients == 1 and self.server is None and not self.private
        )  # then what it learnt is the mean, to the last bit
        base = jax.tree.map(lambda a: jnp.zeros_like(a) if alone else a, (state.params, state.model_state))

        def group(carry: Any, given: Any) -> tuple[Any, Any]:
            changes, sums = carry
            rows, number, weight, share = given
            found = self._group(state, own, rows, number)
            moved = jax.tree.map(lambda new, old: new - old[None], found["learnt"], base)
            if self.private:
                own_keys = state.world["clients"].get("secret", state.world["clients"]["key"])
                keys = jax.vmap(jax.random.fold_in)(own_keys[number], state.world["clients"]["step"][number])
                moved = self._hidden(state, moved, keys)
            changes = {
                "mean": jax.tree.map(lambda total, new: total + _weighed(weight, new), changes["mean"], moved),
                "control": jax.tree.map(
                    lambda total, new: total + _weighed(share, new), changes["control"], found["control"]
                ),
            }
            sent = (moved, found["control"]) if self.secure else None
            norms = jax.vmap(lambda new: _norm(jax.tree.map(jnp.subtract, new, state.params)))(found["learnt"][0])
            told = {name: jnp.sum(jnp.where(share > 0, value, 0)) for name, value in found["sums"].items()}
            told["client_change"] = jnp.sum(weight * norms)
            return (changes, jax.tree.map(jnp.add, sums, told)), (found["kept"], sent)

        zero = {name: jnp.zeros((), jnp.result_type(float)) for name in self._told if name not in _OWN}
        zero |= {"bad": jnp.zeros((), jnp.int32), "client_change": jnp.zeros(())}
        nothing = {
            "mean": jax.tree.map(jnp.zeros_like, base),
            "control": jax.tree.map(jnp.zeros_like, state.params) if self.scaffold else None,
        }
        (changes, sums), (kept, sent) = jax.lax.scan(group, (nothing, zero), grouped)
        if self.secure:
            # (groups, together, …) to (clients, …)
            sent = jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), sent)
            counts = jnp.ones_like(whose["count"]) if self.private else whose["count"]
            mean, control = summed(sent, counts, asked, here)
            changes["mean"] = jax.tree.map(lambda a: a * weight.sum(), mean)
            changes["control"] = jax.tree.map(lambda a: a * share.sum(), control)
        changes, sums = total((changes, sums), self.devices)
        if self.private == "server":
            size = state.world["privacy"]["noise"] * state.world["privacy"]["clip"] / self.expected
            params, model_state = changes["mean"]
            changes["mean"] = (
                noisy(params, jax.random.fold_in(state.world["privacy"]["secret"], state.step), size),
                model_state,
            )
        # (groups, together, …) to (clients of this device, …), then those of all devices
        kept = jax.tree.map(lambda a: self._of_all(a.reshape(-1, *a.shape[2:]), first), kept)
        world = dict(state.world)
        before = {name: world["clients"][name] for name in kept}
        after = jax.tree.map(lambda old, new: old.at[number].set(new, mode="drop"), before, kept)
        world["clients"] = {**world["clients"], **after}
        if self.scaffold:
            world["control"] = jax.tree.map(jnp.add, state.world["control"], changes["control"])
        params, model_state = jax.tree.map(jnp.add, base, changes["mean"])
        model_state = jax.tree.map(lambda new, old: new.astype(old.dtype), model_state, state.model_state)
        if self.server is not None:
            slope = jax.tree.map(jnp.negative, changes["mean"][0])
            updates, world["server"] = self.server(slope, world["server"], state.params)
            params = jax.tree.map(lambda p, u: p + u.astype(p.dtype), state.params, updates)
        params, model_state = self._with((params, model_state), self._mine((state.params, state.model_state)))
        bad = sums.pop("bad") > 0
        if self.secure:  # what does not fit into whole numbers comes as NaN
            bad |= ~jnp.isfinite(_norm(changes["mean"]))
        sums |= {
            "bad_step": jnp.where(bad, state.step, NEVER),
            "change": _norm(jax.tree.map(jnp.subtract, params, state.params)),
            "clients": jnp.sum(share > 0).astype(float),
            "rounds": jnp.ones(()),
        }
        ended = dataclasses.replace(state, step=state.step + 1, params=params, model_state=model_state, world=world)
        return ended.averaged(), sums

    def _hidden(self, state: TrainState, moved: Any, keys: jax.Array) -> Any:
        """The clients' changes bounded, and where they do not trust the server each with noise of its own; the state is not sent."""
        bound = state.world["privacy"]
        params = clipped(moved[0], bound["clip"])
        if self.private == "client":
            params = jax.vmap(noisy, in_axes=(0, 0, None))(params, keys, bound["noise"] * bound["clip"])
        return params, jax.tree.map(jnp.zeros_like, moved[1])

    def _group(self, state: TrainState, chunk: Any, rows: jax.Array, number: jax.Array) -> dict[str, Any]:
        """What the clients of a group have learnt; of one alone without ``vmap``, so that it is the program of a plain training."""
        kept = jax.tree.map(lambda a: a[number], state.world["clients"])
        if self.together == 1:
            one = self._local(state, chunk, rows[0], jax.tree.map(lambda a: a[0], kept))
            return jax.tree.map(lambda a: a[None], one)
        found: dict[str, Any] = jax.vmap(self._local, in_axes=(None, None, 0, 0))(state, chunk, rows, kept)
        return found

    def _local(self, state: TrainState, chunk: Any, rows: jax.Array, kept: Any) -> dict[str, Any]:
        """A client's steps of a round."""
        params, model_state = self._with((state.params, state.model_state), kept.get("own", []))
        shift = jax.tree.map(jnp.subtract, state.world["control"], kept["control"]) if self.scaffold else None
        gradient = self.program.gradient
        carried = gradient.carried(kept.get("secret", jax.random.fold_in(kept["key"], kept["step"])))
        if isinstance(gradient, Drift):
            carried = gradient.with_start(carried, params, shift)
        begun = dataclasses.replace(
            state,
            step=kept["step"],
            key=kept["key"],
            params=params,
            model_state=model_state,
            opt_state=kept.get("optimizer", state.opt_state),
            world=carried,
            average=None,
        )
        batches: Any = self.batches
        if not self.even:
            # (batches·batch_size,) to (batches, batch_size)
            batches = jnp.any(rows.reshape(self.batches, -1) != -1, axis=1).sum()
        turn = batches * (self.turns - 1) // self.turns
        after, sums = begun, self.program.zero_sums()
        if self.turns > 1:
            after, sums = loop_steps(self.program, self._turned(after, mine=True), sums, chunk, rows, 0, turn)
            after = self._turned(after, mine=False)
        after, sums = loop_steps(self.program, after, sums, chunk, rows, turn, batches)
        bad = sums.pop("bad_step") != NEVER
        told = {**sums, "bad": bad.astype(jnp.int32)}
        left: dict[str, Any] = {"step": after.step}
        learnt = after.params, after.model_state
        if self.own:
            left["own"] = self._mine(learnt)
            learnt = self._with(learnt, self._mine((state.params, state.model_state)))  # they are not sent
        if self.remember:
            left["optimizer"] = after.opt_state
        control = None
        if self.scaffold:
            rate = hyperparameter(state.opt_state, "learning_rate")
            steps = jnp.maximum(after.step - begun.step, 1)
            new = jax.tree.map(lambda x, y, s: (x - y) / (steps * rate) - s, params, after.params, shift)
            control = jax.tree.map(jnp.subtract, new, kept["control"])
            left["control"] = new
        return {"learnt": learnt, "sums": told, "kept": left, "control": control}

    def _turned(self, state: TrainState, *, mine: bool) -> TrainState:
        """The state in which a step changes what stays with a client, or what all share."""
        each = [jnp.asarray(float(is_own == mine)) for is_own in chosen((state.params,), self.own)]
        multiplier = jax.tree.unflatten(jax.tree.structure(state.params), each)
        return dataclasses.replace(state, opt_state=state.opt_state._replace(multiplier=multiplier))

    def _mine(self, tree: Any) -> list[jax.Array]:
        """The leaves that stay with a client."""
        return [leaf for leaf, mine in zip(jax.tree.leaves(tree), chosen(tree, self.own), strict=True) if mine]

    def _with(self, tree: Any, mine: list[jax.Array]) -> Any:
        """``tree`` with other leaves where they stay with a client."""
        return replaced(tree, self.own, mine) if self.own else tree

    def _of_all(self, mine: jax.Array, first: Any) -> jax.Array:
        """This device's clients' values among those of all devices."""
        if self.devices == 1:
            return mine
        whole = jnp.zeros((self.clients, *mine.shape[1:]), mine.dtype)
        found: jax.Array = total(jax.lax.dynamic_update_slice_in_dim(whole, mine, first, 0), self.devices)
        return found

    @property
    def _told(self) -> tuple[str, ...]:
        names = [name for name in self.program.zero_sums() if name != "bad_step"]
        return (*names, *_OWN)

    def zero_sums(self) -> Sums:
        """The sums of the clients' steps, and of each round the norms of its changes and the number of its clients."""
        zeros = {name: jnp.zeros((), jnp.result_type(float)) for name in self._told}
        return {**zeros, "bad_step": jnp.full((), NEVER, jnp.int32)}

    def means(self, sums: Mapping[str, Any]) -> dict[str, Any]:
        """The means over the clients' rows as they learnt from them, and over the rounds.

        ``change`` is the norm of what a round changed, ``client_change`` the mean of the clients' norms: where clients go different ways,
        it is the larger one by far.
        """
        own = {name: value for name, value in sums.items() if name not in _OWN}
        rounds = float(sums["rounds"]) or np.nan
        return {**self.program.means(own), **{name: float(sums[name]) / rounds for name in _OWN if name != "rounds"}}

    def counters(self, state: TrainState) -> dict[str, Any]:
        """The number of rounds."""
        return {"step": np.asarray(state.step)}

    def resting(self) -> Self:
        """The same: a round of absent clients changes nothing."""
        return self

    def best_by(self, row: Mapping[str, Any], column: str) -> Any:
        """The value of ``column`` in the row."""
        return row[column]

    def direction(self, column: str) -> str | None:
        """As of the client's program; of what a round tells none."""
        if column in _OWN:
            return None
        return self.program.direction(column)


def _row(entry: jax.Array) -> jax.Array:
    """The row that an entry of an order names."""
    return jnp.where(entry >= 0, entry, ~entry)


def _weighed(weight: jax.Array, values: jax.Array) -> jax.Array:
    """``Σ wᵢ·vᵢ`` over the leading axis, where what a client of weight 0 has does not count, whatever it is."""
    shape = (-1, *[1] * (values.ndim - 1))
    w = weight.reshape(shape)  # (clients,) to (clients, 1, …)
    kept = jnp.where(w > 0, w * values, jnp.zeros((), values.dtype))
    return kept.sum(axis=0).astype(values.dtype)


def _norm(tree: Any) -> jax.Array:
    """The norm of all arrays together."""
    return jnp.sqrt(sum(jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(tree)))
