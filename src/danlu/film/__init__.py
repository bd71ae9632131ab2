"""X-ray of a training: every number of backpropagation in chosen updates, checked against finite differences, on one page."""

from danlu.film.film import Film, Frame
from danlu.film.look import LayerLook, Look, ParamLook
from danlu.film.xray import XRay, xray

__all__ = ["Film", "Frame", "LayerLook", "Look", "ParamLook", "XRay", "xray"]
