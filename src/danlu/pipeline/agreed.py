"""The encoder of clients' tables in simulation: fitted from what clients say of their rows, as between processes, and not from the rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl

from danlu.data import Schema, TableEncoder, TargetEncoder
from danlu.federated.real.tables import LEAST, TableRows, agree, encoder_of, scales
from danlu.pipeline.owners import Owners

__all__ = ["agreed_encoders"]


def agreed_encoders(
    train: pl.DataFrame, schema: Schema, target: TargetEncoder, owners: Owners
) -> tuple[TableEncoder, TargetEncoder, Owners, list[str]]:
    """The encoders by means, variances, histograms and frequent levels of the clients' training rows.

    Args:
        train: the training rows.
        schema: of all columns, whose kinds all clients take.
        target: the classes; of a quantity the mean and the scale come from the clients.
        owners: whose the rows are.

    Returns:
        The encoders; the owners with encoded rows that are distributed as theirs, for the bins of a network; and what the user should know.
    """
    name = target.name
    kinds = {column.name: column.kind for column in schema.features}
    frame = train.select([*kinds, name])
    tables = {
        client: TableRows(frame[rows], name, kinds=kinds)
        for client, rows in zip(owners.names, owners.rows("train"), strict=True)
    }
    agreed, notes = agree({client: table.describe() for client, table in tables.items()}, name)
    shares = owners.sizes / owners.sizes.sum()

    def mean(of: Callable[[TableRows, np.ndarray], np.ndarray]) -> Any:
        parts = [of(table, np.arange(table.frame.height)) for table in tables.values()]
        return sum(share * part for share, part in zip(shares, parts, strict=True))

    means = mean(lambda table, rows: table.means(agreed, rows))
    centre = scales(agreed, means, None)[1]
    squares = mean(lambda table, rows: table.squares(agreed, rows, centre))
    _, centre, scale = scales(agreed, means, squares)
    counts = mean(lambda table, rows: table.shares(agreed, rows, centre, scale))
    encoder, of_target, sample = encoder_of(agreed, means, squares, counts)
    said = (
        "what leaves a client before the rounds: names and kinds of columns, classes, categories of "
        f"{LEAST} rows or more, and of each number the share of gaps, mean, variance and a histogram, which are added up over the clients"
    )
    owners = dataclasses.replace(owners, sample=sample)
    return encoder, of_target if target.task == "regression" else target, owners, [*notes, said]
