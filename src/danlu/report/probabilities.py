"""What a report says of the probabilities of classes: how far they are from what happened, and what the Brier score consists of."""

from __future__ import annotations

import numpy as np

from danlu.evaluate import Interval, Rows, decomposition
from danlu.evaluate.decomposition import BINS, error_by_chance
from danlu.evaluate.intervals import figure
from danlu.prose import percent

__all__ = ["probability_words"]


def probability_words(rows: Rows, error: Interval | None) -> list[str]:
    """Sentences about the probabilities of classes.

    Args:
        rows: the test rows with their probabilities.
        error: their calibration error with its interval; None where it was not measured.
    """
    said = [] if error is None else [f"{_of_error(rows, error)} {_of_sureness(rows)}"]
    return [*said, f"{decomposition(rows)}"]


def _of_error(rows: Rows, error: Interval) -> str:
    event = "the second class" if rows.task == "binary" else "the most probable class"
    chance = figure(error_by_chance(rows), 2)
    start = (
        f"In {BINS} bins of equal width, the probability of {event} is {figure(error.value, 2)} from the share observed, on average "
        f"(calibration error, ECE; {error.between}). Probabilities that are exactly right would show about {chance} on so many rows"
    )
    if not error.known:
        return f"{start}."
    if error.low > 0:
        return f"{start}: the probabilities are further off than chance explains."
    return f"{start}: chance alone can explain it."


def _of_sureness(rows: Rows) -> str:
    """Whether the most probable class is right as often as its probability says."""
    sure, right = float(rows.prediction.max(axis=1).mean()), rows.prediction.argmax(axis=1) == rows.truth
    share, error = float(right.mean()), float(np.std(right - rows.prediction.max(axis=1))) / len(rows) ** 0.5
    start = f"The class that it thinks most probable has a probability of {percent(sure, 1)} on average and is right in {percent(share, 1)}"
    if abs(sure - share) <= 2 * error:
        return f"{start}."
    return f"{start}: it is too {'sure' if sure > share else 'unsure'}."
