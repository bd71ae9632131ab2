"""A model in use, watched: what it is asked and answers beside what was usual in its training, and its score once the truth is known."""

from danlu.watch.profile import Watch, profile_of, told

__all__ = ["Watch", "profile_of", "told"]
