"""``danlu tune``: a search for better settings, whose trials are populations of one compiled program."""

from danlu.tuning.tune import Tuned, resume, tune

__all__ = ["Tuned", "resume", "tune"]
