"""Structured pruning: whole units, channels and heads are taken out, so that the matrices are smaller and every program is faster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from danlu.blueprint import setting
from danlu.compression.technique import Made, Technique
from danlu.compression.units import Units, Variables, units_of
from danlu.compression.workshop import Workshop
from danlu.errors import ConfigError
from danlu.nn.ensemble import Ensemble
from danlu.nn.layer import Layer, Params, State
from danlu.nn.rebuild import rebuild
from danlu.paths import matches

__all__ = ["Structured", "taken_out"]


class Structured(Technique):
    """The share of units that matter least is taken out, and what is left is trained on.

    Units are those of dense layers, of recurrent layers, of the feed-forward layers of Transformers and of a table's network; the channels
    of convolutions with all that follows them (batch norm, depthwise convolutions, the rows of the next kernel); and attention heads. A
    unit counts by ``‖w_in‖·‖w_out‖·|γ|/σ`` (γ and σ of a batch norm after it), relative to its layer's. Outputs, and what is added to
    another way or normalised together with it, stay.

    Args:
        share: of the units that go, in (0, 1); at least one of each layer stays.
        by: ``"layer"``: the share is of each layer; ``"global"``: the least of all layers go.
        rounds: in how many parts, each with training after it.
        epochs: of training after each round; None is a third of the run's own, divided among the rounds.
        keep: patterns (see :mod:`danlu.paths`) of layers that stay whole.

    Reference: Li, Kadav, Durdanovic, Samet & Graf (2017), "Pruning filters for efficient ConvNets", arXiv:1608.08710 (which counts
    ``‖w_in‖₁`` alone); Michel, Levy & Neubig (2019), "Are sixteen heads really better than one?", for heads; γ is Liu et al. (2017),
    "Network slimming", arXiv:1708.06519.

    Example:
        >>> from danlu.nn import MLP
        >>> net = MLP((4,), 2)
        >>> params, state, _ = net.init(jax.random.key(0), (3,))
        >>> small, params, _ = taken_out(net, params, state, 0.5)
        >>> small, params[1]["kernel"].shape
        (Sequential(layers=(Dense(units=2, activation='relu', ...), Dense(units=2, ...))), (2, 2))
    """

    share: float = setting(default=0.5, above=0, below=1)
    by: str = setting(default="layer", choices=("layer", "global"))
    rounds: int = setting(default=1, minimum=1, integer=True)
    epochs: int | None = setting(default=None, minimum=0, integer=True, optional=True)
    keep: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.share:.0%} of the units taken out" + ("" if self.by == "layer" else ", the least of all layers")

    def __call__(self, network: Layer, params: Params, state: State, workshop: Workshop) -> Made:
        epochs = max(1, workshop.plan.epochs // (3 * self.rounds)) if self.epochs is None else self.epochs
        each = 1 - (1 - self.share) ** (1 / self.rounds)
        for _ in range(self.rounds):
            network, params, state = taken_out(network, params, state, each, by=self.by, keep=self.keep)
            params, state = workshop.tune(network, params, state, epochs=epochs)
        return network, params, state


def taken_out(
    network: Layer, params: Params, state: State, share: float, *, by: str = "layer", keep: tuple[str, ...] = ()
) -> Made:
    """The network without the share of its units that matter least; arguments as of :class:`Structured`.

    Raises:
        ConfigError: there are no units that could go.
    """
    if isinstance(network, Ensemble):
        copies = [jax.tree.map(lambda leaf, k=k: np.asarray(leaf)[k], (params, state)) for k in range(network.count)]
        found = [_units(network.network, own, kept, keep) for own, kept in copies]
        scores = [[units.scores(variables) for units in each] for each, variables in found]
        mean = [np.mean([np.sort(own[i]) for own in scores], axis=0) for i in range(len(scores[0]))]
        counts = _counts(found[0][0], mean, share, by)
        done = [
            _without(network.network, params, state, each, own, counts)
            for (params, state), (each, _), own in zip(copies, found, scores, strict=True)
        ]
        variables = jax.tree.map(lambda *leaves: np.stack(leaves), *[(p, s) for _, p, s in done])
        return network.replace(network=done[0][0]), *variables
    groups, variables_of = _units(network, params, state, keep)
    own = [units.scores(variables_of) for units in groups]
    return _without(network, params, state, groups, own, _counts(groups, own, share, by))


def _units(network: Layer, params: Params, state: State, keep: tuple[str, ...]) -> tuple[list[Units], Variables]:
    found, variables = units_of(network, params, state)
    found = [units for units in found if units.count > 1 and not any(matches(units.path, each) for each in keep)]
    if not found:
        raise ConfigError(
            f"{type(network).__name__} has no units that could be taken out: what it makes is added up, normalised together or its answer",
            hint="magnitude pruning takes single weights (--prune), low rank divides kernels (--low-rank), or distil it",
        )
    return found, variables


def _counts(groups: Sequence[Units], scores: Sequence[np.ndarray], share: float, by: str) -> list[int]:
    """How many units of each group stay."""
    if by == "layer":
        return [max(1, units.count - round(share * units.count)) for units in groups]
    every = np.sort(np.concatenate(scores))
    limit = every[min(round(share * every.size), every.size - 1)]
    kept = [max(1, int((own >= limit).sum())) for own in scores]
    for tie in {units.tied for units in groups if units.tied}:
        places = [i for i, units in enumerate(groups) if units.tied == tie]
        mean = max(1, round(sum(kept[i] for i in places) / len(places)))
        kept = [mean if i in places else count for i, count in enumerate(kept)]
    return kept


def _without(
    network: Layer,
    params: Params,
    state: State,
    groups: Sequence[Units],
    scores: Sequence[np.ndarray],
    counts: Sequence[int],
) -> Made:
    masks: dict[tuple[str, str, str], dict[int, np.ndarray]] = {}
    changes: dict[str, list[Any]] = {}
    _, variables = units_of(network, params, state)
    for units, own, count in zip(groups, scores, counts, strict=True):
        stays = np.zeros(units.count, bool)
        stays[np.argsort(-own, kind="stable")[:count]] = True
        for cut in units.cuts:
            array = variables[cut.path][cut.tree == "state"][cut.name]
            axis = cut.axis % np.ndim(array)
            unit = cut.unit_of(array.shape[axis])
            mask = masks.setdefault((cut.path, cut.tree, cut.name), {}).setdefault(axis, np.ones(len(unit), bool))
            mask &= (unit < 0) | stays[unit]
        for path, resized in units.fields:
            changes.setdefault(path, []).append((resized, count))
    cut_paths = {path for path, _, _ in masks} | set(changes)

    def change(path: str, layer: Layer, own_params: Params, own_state: State) -> Made | None:
        if path not in cut_paths or path not in variables or layer.expanded != layer:
            return None
        for make, count in changes.get(path, ()):
            layer = make(layer, count)
        trees = {"params": dict(own_params), "state": dict(own_state)}
        for (of, tree, name), axes in masks.items():
            if of == path:
                array = np.asarray(trees[tree][name])
                for axis, mask in axes.items():
                    array = np.compress(mask, array, axis=axis)
                trees[tree][name] = array
        return layer, trees["params"], trees["state"]

    return rebuild(network, params, state, change)
