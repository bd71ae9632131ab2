"""Shamir's secret sharing: a secret of 32 bytes in parts, of which any ``threshold`` give it back and fewer tell nothing.

A polynomial ``f`` of degree ``threshold − 1`` is drawn at random modulo a prime, with ``f(0)`` the secret; the part of holder ``x``
is ``f(x)``. ``threshold`` points determine ``f``; one fewer leave every secret equally likely.

Own code, twenty lines of whole numbers. PyCryptodome's works bit by bit in Python: a secret for 100 holders with a threshold of 67 took
3.7 s through it and 2 ms here, and a round of 100 clients shares 200 secrets.

Reference:
    Shamir, How to share a secret, Communications of the ACM 22 (1979).
"""

from __future__ import annotations

import functools
import secrets
from collections.abc import Callable, Collection, Mapping

from danlu.errors import ConfigError, DataError

__all__ = ["combine", "split"]

SIZE = 32
"""Bytes of a secret."""
PRIME = 2**256 + 297
"""The smallest prime above every secret."""
_PART = 33


def split(
    secret: bytes, holders: Collection[int], threshold: int, *, entropy: Callable[[int], bytes] = secrets.token_bytes
) -> dict[int, bytes]:
    """The part of each holder.

    Args:
        secret: 32 bytes.
        holders: whole numbers from 0, each of another holder.
        threshold: how many parts give the secret back, at least 1 and at most as many as there are holders.
        entropy: bytes at random, by their number.

    Example:
        >>> parts = split(bytes(range(32)), [0, 1, 2, 3, 4], threshold=3)
        >>> combine({holder: parts[holder] for holder in (0, 2, 4)}, threshold=3) == bytes(range(32))
        True
    """
    if len(secret) != SIZE:
        raise ConfigError(f"a secret of {len(secret)} bytes cannot be shared; expected {SIZE}")
    if not 1 <= threshold <= len(set(holders)):
        raise ConfigError(
            f"the threshold is {threshold}; expected a whole number from 1 to the {len(set(holders))} holders"
        )
    # More bytes than the prime has: the remainder is uniform up to 2⁻²⁵⁶.
    drawn = [int.from_bytes(entropy(2 * SIZE)) % PRIME for _ in range(threshold - 1)]
    return {holder: _at(holder + 1, [*drawn, int.from_bytes(secret)]).to_bytes(_PART) for holder in holders}


def combine(parts: Mapping[int, bytes], threshold: int) -> bytes:
    """The secret from the parts of at least ``threshold`` holders: ``f(0)`` by Lagrange's formula.

    ``f(0) = Σᵢ f(xᵢ) Πⱼ≠ᵢ xⱼ/(xⱼ − xᵢ)``
    """
    if len(parts) < threshold:
        raise DataError(f"{len(parts)} parts of a secret were given; {threshold} are needed to know it")
    chosen = tuple(sorted(parts)[:threshold])
    weighted = zip(chosen, _weights(chosen), strict=True)
    secret = sum(int.from_bytes(parts[holder]) * weight for holder, weight in weighted) % PRIME
    if secret >= 2 ** (8 * SIZE):
        raise DataError("the parts of a secret do not fit together: one of them was changed, or is of another secret")
    return secret.to_bytes(SIZE)


@functools.lru_cache(maxsize=8)  # the same holders answer for every secret of a round
def _weights(holders: tuple[int, ...]) -> tuple[int, ...]:
    """Lagrange's weight of each holder's part: ``Πⱼ≠ᵢ xⱼ/(xⱼ − xᵢ)``."""
    weights = []
    for mine in holders:
        above = below = 1
        for other in holders:
            if other != mine:
                above = above * (other + 1) % PRIME
                below = below * (other - mine) % PRIME
        weights.append(above * pow(below, -1, PRIME) % PRIME)
    return tuple(weights)


def _at(x: int, coefficients: list[int]) -> int:
    """A polynomial's value by Horner's rule; the coefficients fall in degree."""
    value = 0
    for coefficient in coefficients:
        value = (value * x + coefficient) % PRIME
    return value
