"""Real numbers as whole ones modulo ``2^bits``, so that a sum is exact in any order and a uniform mask hides all of it.

An update ``x`` of a client with weight ``w`` is sent as ``[w, w · round(x · 2^fraction)]``; the server decodes the sum of these to
``Σ wx / Σ w``, so that it learns no single weight either. A client's part of the range is ``2^(bits−1)/members``: no sum can wrap round.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from danlu.blueprint import Blueprint, setting
from danlu.errors import ConfigError, TrainingError

__all__ = ["FixedPoint"]


class FixedPoint(Blueprint):
    """How real numbers are written as whole numbers modulo ``2^bits``.

    Args:
        bits: 64 or 32; a number takes bits/8 bytes on its way.
        fraction: binary digits after the point: values are rounded to multiples of ``2^-fraction``.

    Example:
        >>> import numpy as np
        >>> point = FixedPoint()
        >>> sent = point.encode(np.array([0.5, -1.0]), 3, members=2) + point.encode(np.array([0.1, 2.0]), 1, members=2)
        >>> mean, weight = point.decode(sent)
        >>> mean.round(6), weight
        (array([ 0.4 , -0.25]), 4)
    """

    bits: int = setting(default=64, minimum=32, maximum=64, integer=True)
    fraction: int = setting(default=32, minimum=1, maximum=52, integer=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.bits not in (32, 64):
            raise ConfigError(f"FixedPoint.bits is {self.bits}; expected 32 or 64")
        if self.fraction > self.bits - 2:
            raise ConfigError(
                f"FixedPoint.fraction is {self.fraction}; expected at most {self.bits - 2} of {self.bits} bits"
            )

    @property
    def dtype(self) -> np.dtype[Any]:
        """The unsigned type whose arithmetic is modulo ``2^bits``."""
        return np.dtype(f"uint{self.bits}")

    def encode(self, values: Any, weight: int = 1, *, members: int) -> np.ndarray:
        """``[weight, weight · round(values · 2^fraction)]`` modulo ``2^bits``, shape (1 + values,).

        Args:
            values: a vector of finite numbers.
            weight: a whole number from 0, such as a client's number of rows.
            members: how many clients' vectors are summed at most.
        """
        values = np.asarray(values, np.float64).ravel()
        if not np.isfinite(values).all():
            raise TrainingError(
                "an update holds NaN or infinite values, which cannot be summed", hint="lower learning_rate"
            )
        if int(weight) != weight or weight < 0:
            raise ConfigError(
                f"the weight of an update is {weight}; expected a whole number from 0, such as a number of rows"
            )
        largest = float(np.abs(values).max(initial=0.0))
        room = 2.0 ** (self.bits - 1) / members
        if max(weight, weight * (largest * 2.0**self.fraction + 1)) >= room:
            raise TrainingError(
                f"a value of {largest:g} with the weight {weight} does not fit: {self.bits} bits with {self.fraction} after the point "
                f"hold less than {room / max(weight, 1) / 2.0**self.fraction:.3g} for each of {members} clients",
                hint="fewer digits after the point, or 64 bits",
            )
        whole = np.rint(values * 2.0**self.fraction).astype(np.int64) * int(weight)
        return np.concatenate([[int(weight)], whole]).astype(np.int64).astype(self.dtype)

    def decode(self, total: Any) -> tuple[np.ndarray, int]:
        """The weighted mean and the sum of the weights, from a sum of :meth:`encode`'s vectors."""
        signed = np.asarray(total, self.dtype).astype(f"int{self.bits}").astype(np.int64)
        weight = int(signed[0])
        if weight <= 0:
            raise TrainingError(f"the clients' weights sum to {weight}; expected at least one client with rows")
        return cast("np.ndarray", signed[1:] / (weight * 2.0**self.fraction)), weight
