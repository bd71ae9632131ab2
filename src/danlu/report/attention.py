"""What the tokens of one text attend to: a small picture for each layer and head, and a large one with the tokens."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

import numpy as np

from danlu.report.picture import png_uri
from danlu.report.translations import attention_plot

__all__ = ["attention_section", "map_picture"]

_MOST = 48  # pictures


def map_picture(weights: np.ndarray) -> np.ndarray:
    """Attention weights ``(time, source time)`` as pixels ``uint8 (…, 3)``: white is 0, dark blue the largest.

    >>> map_picture(np.array([[0.0, 1.0]])).tolist()
    [[[255, 255, 255], [8, 48, 107]]]
    """
    share = np.sqrt(np.clip(np.asarray(weights, np.float64), 0, 1) / max(float(np.max(weights)), 1e-9))[..., None]
    return np.rint(255 + share * (np.array([8.0, 48.0, 107.0]) - 255)).astype(np.uint8)


def attention_section(maps: Mapping[str, np.ndarray], tokens: Sequence[str]) -> tuple[str, str]:
    """The report's section: its title and HTML.

    Args:
        maps: of each layer, in order: ``(heads, time, time)``; see :func:`danlu.explain.attention_maps`.
        tokens: of the text, as text.
    """
    pictures = []
    for layer, weights in enumerate(maps.values(), 1):
        for head, one in enumerate(weights, 1):
            what = f"layer {layer}, head {head}"
            pictures.append(
                f"<figure><img src='{png_uri(map_picture(one))}' alt='attention of {what}'><figcaption>{what}</figcaption></figure>"
            )
    last = np.mean(list(maps.values())[-1], axis=0)
    shown = [token.replace("\n", "↵") or "·" if token.strip(" ") else "␣" for token in tokens]
    large = attention_plot(last, shown, shown, title="The last layer, its heads' mean")
    some = f" The first {_MOST} of {len(pictures)} are shown." if len(pictures) > _MOST else ""
    note = (
        f"<p class='note'>The beginning of the test text: {html.escape(''.join(tokens)[:200])}</p>"
        "<p class='note'>A row is a token's position, a column a token that it attends to; darker is more. The network predicts the token "
        f"after the row's, and cannot see later ones. Attention shows what was read, not what decided.{some}</p>"
    )
    return (
        "Where it looked",
        f"{note}<div class='gallery' style='margin: 14px 0'>{''.join(pictures[:_MOST])}</div>"
        f"<div class='figures'><div>{large}</div></div>",
    )
