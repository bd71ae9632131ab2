"""The network of a blend, taken out of it and put back."""

from __future__ import annotations

import dataclasses
from typing import Any

from danlu.compression.bench import Bench
from danlu.compression.technique import Made
from danlu.errors import ConfigError
from danlu.nn.blend import Blend
from danlu.pipeline.again import Again
from danlu.tasks.blend import NETWORK, Candidate, mixed
from danlu.tasks.folds import out_of_fold
from danlu.tasks.parts import Part
from danlu.trained import Learned, Trained

__all__ = ["mixed_again", "network_of"]


def network_of(trained: Trained) -> Made:
    """The network that is compressed: the model's, or that of its blend.

    Raises:
        ConfigError: a blend of several networks, or the mean of the models of folds.
    """
    network = trained.network
    if not isinstance(network, Blend):
        return network, trained.params, trained.state
    others = [name for name in network.names if name.startswith(NETWORK) and name != NETWORK]
    if others or NETWORK not in network.names:
        raise ConfigError(
            f"the model is a blend of {', '.join(network.names)}; networks of further rounds cannot be compressed with it",
            hint="distil the blend into one network: danlu compress RUN --distill small",
        )
    own = trained.part(NETWORK)
    return own.network, own.params, own.state


def mixed_again(learned: Learned, before: Trained, again: Again, bench: Bench) -> Learned:
    """A compressed network beside the other parts of the blend that it comes from, with weights that are chosen anew."""
    if not isinstance(before.network, Blend) or learned.held_out is None:
        return learned
    workshop = bench.used[-1]
    held, folds = workshop.validation, workshop.folds
    found = [
        Candidate(
            Part(NETWORK, learned.model.network, learned.model.params, learned.model.state), learned.held_out.answers
        )
    ]
    for place, name in enumerate(before.network.names):
        if name == NETWORK:
            continue
        part = Part(name, before.network.parts[place], before.params[place], before.state[place])
        alone = dataclasses.replace(
            learned.model, network=part.network, params=part.params, state=part.state, head=learned.model.head.plain()
        )
        answers = alone.answer(held[0]) if folds is None else out_of_fold(alone, held[0], folds)
        found.append(Candidate(part, answers))
    known: Any = learned.held_out
    target = learned.model.head.target
    truth = known.truth if known.answers.ndim > 1 else target.inverse(known.truth)
    blend = mixed(learned, found, truth, known.weight)
    config = again.config
    head = config.answers.fitted(config.answers.head(target), blend.held_out, config.imbalance)
    return dataclasses.replace(blend, model=dataclasses.replace(blend.model, head=head))
