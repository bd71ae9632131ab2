"""Chosen updates of a training: every number of backpropagation in them, checked, on one page; and a training brought back to one of
them, to go on from there with other settings."""

from danlu.film.film import Film, Frame
from danlu.film.look import LayerLook, Look, ParamLook
from danlu.film.moment import Moment, Share
from danlu.film.proof import Proof
from danlu.film.replay import Replayed, replay
from danlu.film.xray import XRay, xray

__all__ = [
    "Film",
    "Frame",
    "LayerLook",
    "Look",
    "Moment",
    "ParamLook",
    "Proof",
    "Replayed",
    "Share",
    "XRay",
    "replay",
    "xray",
]
