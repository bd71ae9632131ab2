"""Which of the snapshots of a training are members of its model: the last few, as many as answer rows best that were held out."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np

from danlu.evaluate.selection import loss_of
from danlu.nn.ensemble import Ensemble
from danlu.trained import Learned, Trained

__all__ = ["latest", "with_best_snapshots"]


def latest(model: Trained, count: int) -> Trained:
    """A model of snapshots with the last ``count`` of each network alone.

    The network is an :class:`~danlu.nn.Ensemble` of snapshots, or of several networks an ensemble of such.
    """
    network: Any = model.network
    several = isinstance(network.network, Ensemble)
    snapshots = network.network if several else network
    place = (slice(None), slice(-count, None)) if several else (slice(-count, None),)
    kept = Ensemble(snapshots.network, count)
    params, state = jax.tree.map(lambda leaf: leaf[place], (model.params, model.state))
    return dataclasses.replace(
        model,
        network=Ensemble(kept, network.count) if several else kept,
        params=params,
        state=state,
        provenance={**model.provenance, "snapshots": count},
    )


def with_best_snapshots(learned: Learned, held: Any, folds: np.ndarray | None) -> Learned:
    """The model of the last m of its snapshots, where the mean of m has the lowest loss on the held-out rows.

    The log-loss of classes, the squared error of quantities. Without rows in memory that were held out, of all snapshots.

    Args:
        learned: a model of snapshots; of its answers for the held-out rows those of the chosen ones become part.
        held: encoded rows that were not learnt from, their labels and weights, or None.
        folds: the fold of each row, where each was held out in turn.

    Reference:
        Huang et al., "Snapshot ensembles: train 1, get M for free" (2017), section 3: the last m of M models; here m is chosen.
    """
    model, known = learned.model, learned.held_out
    network: Any = model.network
    whole = (network.network if isinstance(network.network, Ensemble) else network).count
    if known is None:
        return dataclasses.replace(learned, model=latest(model, whole))
    outputs = np.asarray(model.outputs(held[0]))
    networks = network.count if isinstance(network.network, Ensemble) else 1
    # (rows, networks, snapshots, members of one network, units); the networks of one fold stand after each other
    apart = outputs.reshape(len(outputs), networks, whole, -1, outputs.shape[-1])
    if folds is not None:
        of_fold = apart.reshape(len(outputs), int(folds.max()) + 1, -1, *apart.shape[2:])
        apart = of_fold[np.arange(len(outputs)), folds]
    truth = known.truth if known.answers.ndim > 1 else model.head.target.inverse(known.truth)
    answers = {
        count: np.asarray(model.head(apart[:, :, -count:].reshape(len(outputs), -1, outputs.shape[-1])))
        for count in range(1, whole + 1)
    }
    losses = {count: loss_of(each, np.asarray(truth), known.weight) for count, each in answers.items()}
    count = min(losses, key=lambda each: losses[each])
    which = f"all {whole}" if count == whole else f"the last {count if count > 1 else 'one'} of {whole}"
    note = f"snapshots: {which}, chosen on {len(known):,} rows that were not learnt from"
    return dataclasses.replace(
        learned,
        model=latest(model, count),
        held_out=dataclasses.replace(known, answers=answers[count]),
        notes=(*learned.notes, note),
    )
