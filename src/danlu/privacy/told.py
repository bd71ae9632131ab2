"""What a private model says of its privacy, in sentences."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from danlu.privacy.ledger import Ledger

__all__ = ["privacy_lines"]


def privacy_lines(facts: Mapping[str, Any]) -> list[str]:
    """What was spent, what it covers and what it does not, in sentences."""
    if not facts:
        return []
    ledger = Ledger.read(facts["ledger"])
    first = (
        f"epsilon {facts['epsilon']:.3g} at delta {facts['delta']:.2g} was spent, counted by {facts['accountant'].upper()}: "
        f"whatever is seen of the model is at most about {math.exp(facts['epsilon']):,.3g} times as likely with any one of the "
        f"{facts['rows']:,} training rows as without it"
    )
    clients = facts.get("clients") or {}
    lines = [
        first,
        *_of_clients(clients),
        *ledger.lines(),
        "it covers the training rows alone; validation and test rows chose the epoch, fitted the head and were tested on without noise",
        "not covered: names and kinds of the columns, names of the classes, how many rows there are, and how long the training took",
    ]
    if clients:
        lines.append("not covered either: how many rows each client has, and in which rounds it took part")
    if facts.get("unfinished"):
        lines.append(
            "the training can be resumed, and its folder of checkpoints holds the secret of the noise: keep it to yourself, or delete it"
        )
    return lines


def _of_clients(clients: Mapping[str, float]) -> list[str]:
    if not clients:
        return []
    least, most = min(clients, key=lambda name: clients[name]), max(clients, key=lambda name: clients[name])
    return [
        f"each of {len(clients)} clients adds the noise itself and counts what it spends of its own rows: epsilon from "
        f"{clients[least]:.3g} ({least}) to {clients[most]:.3g} ({most}), which is the one above"
    ]
