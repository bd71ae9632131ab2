"""Secure sums: equal to the plain sum of whole numbers, whoever is lost; a secret's parts, against Lagrange's formula in fractions."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from danlu.federated import secure_mean, secure_sum, shamir
from danlu.federated.secure import STAGES
from danlu.verify.case import Check, case

__all__: list[str] = []


@case("secure.shamir", tolerance=0, reason="whole numbers")
def secret_sharing(check: Check) -> None:
    """The polynomial's value at 0 from any three of five parts, by fractions and not modulo the prime."""
    secret = bytes(range(32))
    parts = shamir.split(secret, range(5), 3)
    for chosen in ((0, 1, 2), (1, 2, 4), (4, 0, 3)):
        at_zero = Fraction(0)
        for mine in chosen:
            rest = [other for other in chosen if other != mine]
            at_zero += int.from_bytes(parts[mine]) * Fraction(
                (rest[0] + 1) * (rest[1] + 1), (rest[0] - mine) * (rest[1] - mine)
            )
        expected = at_zero.numerator * pow(at_zero.denominator, -1, shamir.PRIME) % shamir.PRIME
        received = shamir.combine({holder: parts[holder] for holder in chosen}, 3)
        check(list(received), list(secret), oracle="closed form")
        check(list(received), list(expected.to_bytes(32)), oracle="fractions")


@case("secure.sum", tolerance=0, reason="whole numbers")
def masked_sum(check: Check) -> None:
    """Ten clients, three of them lost at each stage in turn: the sum of those whose vectors arrived, as Python adds whole numbers."""
    if check.module("cryptography") is None:
        return
    draw = np.random.default_rng(0)
    for bits in (32, 64):
        vectors = {client: draw.integers(0, 2**bits, 20, f"uint{bits}") for client in range(10)}
        for stage in STAGES:
            total, counted = secure_sum(vectors, bits=bits, lost={stage: [0, 4, 9]})
            plain = [sum(int(vectors[client][place]) for client in counted) % 2**bits for place in range(20)]
            check(len(counted), 10 if stage == "reveal" else 7, oracle="count")
            # The difference, not the numbers: a float64 holds no whole number of 64 bits.
            check(
                [int(got) - want for got, want in zip(total, plain, strict=True)],
                np.zeros(20),
                oracle="Python's integers",
            )


@case("secure.mean", tolerance=1e-8, reason="numbers are rounded to multiples of 2^-32")
def masked_mean(check: Check) -> None:
    if check.module("cryptography") is None:
        return
    draw = np.random.default_rng(1)
    updates, weights = draw.normal(size=(5, 30)), np.array([3, 0, 10, 1, 7])
    mean, weight = secure_mean(updates, weights)
    check(mean, np.average(updates, axis=0, weights=weights), floor=0.1)
    check(weight, weights.sum())
