"""What ``sabotage.py`` breaks: mistakes that a program could make and still train, score and print.

Add one with each new rule, option or measure.
"""

from __future__ import annotations

from mutations import (
    agents,
    auditing,
    bandits,
    data,
    engine,
    federated,
    fewshot,
    generative,
    layers,
    losses,
    measures,
    modalities,
    optimizers,
    pretraining,
    recommending,
    scorecards,
    secure,
    segments,
    starts,
    uplift,
)
from mutations.mutation import Mutation

__all__ = ["MUTATIONS", "Mutation"]

MUTATIONS: tuple[Mutation, ...] = tuple(
    mutation
    for room in (
        starts,
        layers,
        losses,
        optimizers,
        engine,
        measures,
        data,
        auditing,
        agents,
        secure,
        federated,
        generative,
        fewshot,
        recommending,
        modalities,
        pretraining,
        bandits,
        segments,
        uplift,
        scorecards,
    )
    for mutation in room.MUTATIONS
)
"""All of them."""
