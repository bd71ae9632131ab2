"""Recordings: read from ``.wav`` files, and turned into pictures of their pitches over time."""

from danlu.data.sounds.encode import SoundEncoder
from danlu.data.sounds.read import Sound, SoundSet, is_sound_source, read_sounds

__all__ = ["Sound", "SoundEncoder", "SoundSet", "is_sound_source", "read_sounds"]
