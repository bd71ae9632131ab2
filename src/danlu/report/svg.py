"""Matplotlib figures as SVG text; one page can hold several."""

from __future__ import annotations

import contextlib
import contextvars
import html
import io
import math
import re
import textwrap
import warnings
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from danlu.errors import ConfigError
from danlu.files import write_atomic
from danlu.prose import short

__all__ = ["Panel", "drawn", "short"]

_PIXELS: contextvars.ContextVar[list[tuple[str, Any]] | None] = contextvars.ContextVar("pixels", default=None)

# Okabe & Ito, "Color universal design" (2008).
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#8a8f98"
INK = "#24292f"
_LETTER = 6.3  # points that a letter of a title takes
_LARGE = 10_000
_TIP, _MOST_TIPS, _SERIES = "danlu-tip-", 150, "danlu-series-"
_LONG = re.compile(r"(\.\d\d)\d+")  # decimals of a place in points that nobody sees
_FORMATS = (".svg", ".png", ".pdf")
WIDTH, HEIGHT = 3.35, 2.7  # inches; three panels fill the page, one a phone

_STYLE: dict[str, Any] = {
    "figure.constrained_layout.use": True,
    "font.size": 9,
    "font.family": "sans-serif",
    "text.parse_math": False,  # a name may hold a $
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#b6bac2",
    "axes.labelcolor": "#3c4149",
    "axes.unicode_minus": True,
    "xtick.color": "#3c4149",
    "ytick.color": "#3c4149",
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "grid.color": "#e8eaee",
    "axes.grid": True,
    "axes.axisbelow": True,
    "lines.linewidth": 1.6,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "danlu",
}


class Panel:
    """One pair of axes that becomes SVG text, ``svg``, at the end of the ``with`` block.

    The figure belongs to the panel alone: no pyplot, no window, nothing left behind. A notebook shows the panel as it is; ``figure`` is
    Matplotlib's, to be changed further.

    Args:
        title: above the axes, and what a screen reader says.
        width, height: in inches.
    """

    def __init__(self, title: str, *, width: float = WIDTH, height: float = HEIGHT) -> None:
        self.title, self._size, self.svg = title, (width, height), ""
        self._tips: list[list[str]] = []
        self._series: list[str] = []

    def __enter__(self) -> tuple[Panel, Any]:
        import matplotlib
        from matplotlib.figure import Figure

        self._context = matplotlib.rc_context(_STYLE)  # type: ignore[arg-type]
        self._context.__enter__()
        self.figure = Figure(figsize=self._size)
        self.figure.patch.set_alpha(0)
        self._axes = self.figure.subplots()
        letters = int(72 * self._size[0] / _LETTER)
        title = textwrap.fill(self.title, letters, break_on_hyphens=False)
        self.figure.suptitle(title, x=0.01, ha="left", fontsize=10, fontweight="bold")
        return self, self._axes

    def tips(self, x: Sequence[float], y: Sequence[float], label: str) -> None:
        """Values that a browser shows when the pointer is over a point of a curve, of at most 150 points."""
        places = [place for place, value in enumerate(y) if math.isfinite(value)]
        places = places[:: -(-len(places) // _MOST_TIPS) or 1]
        self.told(
            [x[place] for place in places],
            [y[place] for place in places],
            [f"{label}, {x[place]:g}: {y[place]:.4g}" for place in places],
        )

    def told(self, x: Sequence[float], y: Sequence[float], texts: Sequence[str], size: float = 7) -> None:
        """What a browser says when the pointer is at each of some points; ``size`` of their unseen marks, in points."""
        if texts:
            gid = _TIP + str(len(self._tips))
            self._axes.plot(x, y, ls="", marker="o", ms=size, color="none", mec="none", label="_", gid=gid)
            self._tips.append(list(texts))

    def says(self, dots: Any, texts: Sequence[str]) -> None:
        """What a browser says when the pointer is at each dot of a scatter."""
        dots.set_gid(_TIP + str(len(self._tips)))
        self._tips.append(list(texts))

    def series(self, name: str, *artists: Any) -> None:
        """Artists that the reader of a page can hide together and show again."""
        if name not in self._series:
            self._series.append(name)
        for artist in artists:
            artist.set_gid(f"{_SERIES}{self._series.index(name)}")

    def __exit__(self, *raised: Any) -> None:
        try:
            if raised[0] is None:
                for axis in (self._axes.xaxis, self._axes.yaxis):
                    _plain_ticks(axis)
                buffer = io.StringIO()
                with warnings.catch_warnings():  # letters that the layout's font lacks; the browser has them
                    warnings.simplefilter("ignore")
                    self.figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
                self.svg = _embedded(_with_tips(buffer.getvalue(), self._tips), self.title) + self._switches()
                self._keep_pixels()
        finally:
            self._context.__exit__(*raised)

    def _keep_pixels(self) -> None:
        kept = _PIXELS.get()
        if kept is None:
            return
        self.figure.patch.set_alpha(1)
        file = io.BytesIO()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.figure.savefig(file, format="rgba", dpi=120)
        width, height = (int(120 * side) for side in self.figure.get_size_inches())
        pixels = np.frombuffer(file.getvalue(), np.uint8).reshape(
            height, width, 4
        )  # bytes to rows of red, green, blue, alpha
        kept.append((self.title, pixels[..., :3]))

    def _switches(self) -> str:
        """A button for each series, which the script of a page shows and listens to."""
        if not self._series:
            return ""
        buttons = "".join(
            f'<button type="button" aria-pressed="true" data-shows="{place}">{html.escape(name)}</button>'
            for place, name in enumerate(self._series)
        )
        return f'<div class="switches" hidden>{buttons}</div>'

    def _repr_html_(self) -> str:
        return self.svg

    def __repr__(self) -> str:
        return f"Panel({self.title!r})"

    def write(self, path: str | Path) -> Path:
        """Write the picture as ``.svg``, ``.png`` or ``.pdf``, by the ending.

        Raises:
            ConfigError: another ending, or a file that cannot be written.

        Example:
            >>> import tempfile
            >>> with Panel("A line") as (panel, axes):
            ...     _ = axes.plot([0, 1], [0, 1])
            >>> panel.write(Path(tempfile.mkdtemp()) / "line.png").name
            'line.png'
        """
        import matplotlib

        path = Path(path)
        if path.suffix.lower() not in _FORMATS:
            raise ConfigError(f"a picture is not written as {path.name}; expected a name in {', '.join(_FORMATS)}")
        buffer = io.BytesIO()
        with matplotlib.rc_context(_STYLE), warnings.catch_warnings():  # type: ignore[arg-type]
            warnings.simplefilter("ignore")
            self.figure.savefig(buffer, format=path.suffix[1:].lower(), dpi=200, facecolor="white")
        write_atomic(path, buffer.getvalue(), error=ConfigError)
        return path


@contextlib.contextmanager
def drawn(asked: bool = True) -> Iterator[list[tuple[str, Any]]]:
    """Within, each panel that is drawn is kept as pixels too, ``uint8 (height, width, 3)``, with its title, if it is asked for."""
    kept: list[tuple[str, Any]] = []
    token = _PIXELS.set(kept if asked else None)
    try:
        yield kept
    finally:
        _PIXELS.reset(token)


def _plain_ticks(axis: Any) -> None:
    """Large numbers along an axis as 150k and 2.5M, and none as what is to be added to a number at its end."""
    from matplotlib.ticker import EngFormatter, ScalarFormatter

    formatter = axis.get_major_formatter()
    if not isinstance(formatter, ScalarFormatter):  # names, dates
        return
    if max(map(abs, axis.get_view_interval())) >= _LARGE:
        axis.set_major_formatter(EngFormatter(sep="", usetex=False))
    else:
        formatter.set_useOffset(False)


def _with_tips(text: str, tips: Sequence[Sequence[str]]) -> str:
    """The SVG with a title in each of the unseen marks of :meth:`Panel.tips`."""
    for number, texts in enumerate(tips):
        start = text.index(f'id="{_TIP}{number}"')
        told = iter(texts)

        def titled(match: re.Match[str], told: Iterator[str] = told) -> str:
            return f'<use {match[1]} pointer-events="all"><title>{html.escape(next(told))}</title></use>'

        text = text[:start] + re.sub(r"<use ([^>]*?)/>", titled, text[start:], count=len(texts))
    return text


def _embedded(text: str, title: str) -> str:
    """The SVG without its header and metadata, and with identifiers that only it can have."""
    text = re.sub(r"<metadata>.*?</metadata>\s*|<!--.*?-->\s*", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(rf' id="{_SERIES}(\d+)"', r' data-series="\1"', text)
    used = set(re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', text))
    names = {name for pair in used for name in pair if name}
    mark = f"i{zlib.crc32(text.encode()):08x}"

    def identifier(match: re.Match[str]) -> str:
        return f' id="{mark}{match[1]}"' if match[1] in names else ""

    text = re.sub(r' id="([^"]+)"', identifier, text)
    text = re.sub(r'url\(#([^)]+)\)|href="#([^"]+)"', lambda m: m[0].replace("#", f"#{mark}"), text)
    text = re.sub(r' (?:d|x|y)="[^"]*"', lambda match: _LONG.sub(r"\1", match[0]), text)
    label = html.escape(title, quote=True)
    return text.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)
