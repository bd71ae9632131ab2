"""How environments draw themselves: a few shapes on a small canvas, in coordinates of the world."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["Canvas"]

BACKGROUND = (250, 250, 247)
INK = (38, 42, 51)
MUTED = (168, 173, 181)
RED = (201, 79, 60)
BLUE = (58, 110, 165)
GREEN = (63, 142, 97)
GOLD = (222, 167, 52)
Colour = tuple[int, int, int]


class Canvas:
    """A picture that is drawn on in coordinates of the world, x to the right and y upwards.

    It is drawn twice as large as it will be and scaled down, which smooths the edges.

    Args:
        width, height: pixels.
        left, bottom: the world's coordinates of the lower left corner.
        scale: pixels for one unit of the world.

    Example:
        >>> canvas = Canvas(40, 20, left=-1, bottom=0, scale=20)
        >>> canvas.box((-1, 0), (0, 1), RED)
        >>> canvas.pixels().shape, canvas.pixels()[10, 5].tolist() == list(RED)
        ((20, 40, 3), True)
    """

    FINE = 2

    def __init__(self, width: int, height: int, *, left: float, bottom: float, scale: float) -> None:
        from PIL import Image, ImageDraw

        self.size = (width, height)
        self.left, self.bottom, self.scale = left, bottom, scale * self.FINE
        self.image = Image.new("RGB", (width * self.FINE, height * self.FINE), BACKGROUND)
        self.draw = ImageDraw.Draw(self.image)

    def at(self, point: Any) -> tuple[float, float]:
        """The fine pixel of a point of the world."""
        x, y = float(point[0]), float(point[1])
        return (x - self.left) * self.scale, self.image.height - (y - self.bottom) * self.scale

    def line(self, points: Any, colour: Colour, width: float) -> None:
        """A line through points, ``width`` pixels wide, with round ends."""
        corners = [self.at(point) for point in points]
        self.draw.line(corners, fill=colour, width=max(round(width * self.FINE), 1), joint="curve")
        for corner in (corners[0], corners[-1]):
            self._dot(corner, width * self.FINE / 2, colour)

    def circle(self, centre: Any, radius: float, colour: Colour) -> None:
        """A disc, its radius in units of the world."""
        self._dot(self.at(centre), radius * self.scale, colour)

    def box(self, low: Any, high: Any, colour: Colour) -> None:
        """A rectangle from its lower left to its upper right corner."""
        (left, bottom), (right, top) = self.at(low), self.at(high)
        self.draw.rectangle((left, top, right - 1, bottom - 1), fill=colour)

    def text(self, point: Any, words: str, colour: Colour = INK, *, size: int = 12, anchor: str = "lt") -> None:
        """Words, ``size`` pixels high; ``anchor`` says which of their points lies at ``point`` (``"mm"``: the middle)."""
        from PIL import ImageFont

        self.draw.text(self.at(point), words, fill=colour, font=ImageFont.load_default(size * self.FINE), anchor=anchor)

    def pixels(self) -> np.ndarray:
        """The picture, ``(height, width, 3)`` uint8."""
        from PIL import Image

        return np.asarray(self.image.resize(self.size, Image.Resampling.BOX))

    def _dot(self, centre: tuple[float, float], radius: float, colour: Colour) -> None:
        x, y = centre
        self.draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
