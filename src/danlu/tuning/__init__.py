"""``danlu tune``: a search for better settings, whose trials are populations of one compiled program."""

from danlu.tuning.probe import BatchSizes, Rates, find_batch_size, find_lr
from danlu.tuning.tune import Tuned, resume, tune

__all__ = ["BatchSizes", "Rates", "Tuned", "find_batch_size", "find_lr", "resume", "tune"]
