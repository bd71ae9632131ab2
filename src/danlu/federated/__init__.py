"""Federated learning: clients learn on their own rows, and only what they learned is put together."""

from danlu.federated.fixed import FixedPoint
from danlu.federated.secure import Member, Terms, secure_mean, secure_sum, unmask

__all__ = ["FixedPoint", "Member", "Terms", "secure_mean", "secure_sum", "unmask"]
