"""Federated learning: clients learn on their own rows, and only what they learned is put together."""

from danlu.federated.drift import Drift
from danlu.federated.fit import fit_clients, program_of
from danlu.federated.fixed import FixedPoint
from danlu.federated.method import METHODS, Method
from danlu.federated.private import Private
from danlu.federated.program import Federated
from danlu.federated.rounds import RoundSource
from danlu.federated.secure import Member, Terms, secure_mean, secure_sum, unmask

__all__ = [
    "METHODS",
    "Drift",
    "Federated",
    "FixedPoint",
    "Member",
    "Method",
    "Private",
    "RoundSource",
    "Terms",
    "fit_clients",
    "program_of",
    "secure_mean",
    "secure_sum",
    "unmask",
]
