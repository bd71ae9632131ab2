"""Why a network gave a picture, or a recording, its class: the pixels and the regions that spoke for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from danlu.errors import ConfigError
from danlu.explain import grad_cam
from danlu.explained.answer import Explained, Part
from danlu.explained.asked import Asked
from danlu.explained.gradients import attributed, gradients_of, of_inputs
from danlu.explained.score import answers_of, score_of
from danlu.report.picture import heat_over, png_uri
from danlu.trained import Trained

__all__ = ["PARTS_OF_A_PICTURE", "PARTS_OF_A_SOUND", "explain_pictures"]

PARTS_OF_A_PICTURE = (("top", "middle", "bottom"), ("left", "centre", "right"))
PARTS_OF_A_SOUND = (("low", "middle", "high"), ("at the start", "in the middle", "at the end"))
_NOISE = 0.1 * 255


def explain_pictures(
    trained: Trained, rows: Any, asked: Asked, *, parts: Sequence[Sequence[str]] = PARTS_OF_A_PICTURE
) -> list[Explained]:
    """Each picture by integrated gradients of its pixels from a plain picture.

    Args:
        rows: as the encoder takes them.
        parts: what the thirds of a picture are called, down and across.
    """
    asked.check("shapley", otherwise="pictures have pixels, which are explained by gradients")
    source = gradients_of(trained)
    model = source.model
    pixels = np.asarray(model.encoder.transform(rows))
    answers = answers_of(model, pixels)
    found = []
    for place, name in enumerate(asked.names):
        score, answer = score_of(model, answers[place : place + 1], of=asked.of, scale=asked.scale)
        one = pixels[place : place + 1]
        ground = float(
            np.median(
                np.concatenate([one[:, 0].ravel(), one[:, -1].ravel(), one[:, :, 0].ravel(), one[:, :, -1].ravel()])
            )
        )
        given = {**source.given, "code": np.array([score.code or 0])}
        value = float(score.of(answers[place : place + 1])[0])
        attribution, how = attributed(
            of_inputs(model.network, score.scale),
            one.astype(np.float32),
            np.float32(ground),
            given,
            asked,
            noise=_NOISE,
        )
        added = np.asarray(attribution.values, np.float64)[0].sum(axis=-1)
        found.append(
            Explained(
                row=name,
                answer=answer,
                **source.told(score.name, value, attribution, how),
                against=f"of a plain picture of brightness {ground:.0f}",
                parts=_thirds(added, parts),
                noun="region",
                drawing=_drawing(model, one, added, score.code or 0),
                lines=_map(added),
                data={
                    "map": np.round(added, 7).tolist(),
                    "class": score.label,
                    "scale": score.scale,
                    "of": source.said or None,
                },
            )
        )
    return found


def _thirds(added: np.ndarray, names: Sequence[Sequence[str]]) -> tuple[Part, ...]:
    """Nine regions, with the sum of each."""
    return tuple(
        Part(f"{down}, {across}", "", float(cell.sum()))
        for down, row in zip(names[0], np.array_split(added, 3, axis=0), strict=True)
        for across, cell in zip(names[1], np.array_split(row, 3, axis=1), strict=True)
    )


def _drawing(model: Trained, one: np.ndarray, added: np.ndarray, code: int) -> str:
    strongest = max(float(np.quantile(np.abs(added), 0.995)), 1e-12)
    pictures = [
        ("the picture", one[0]),
        ("what each pixel added: orange for, blue against", heat_over(one[0], np.clip(added / strongest, -1, 1))),
    ]
    try:
        seen = grad_cam(model.network, model.params, model.state, one, np.array([code]))
        pictures.append(("where the network looked (Grad-CAM)", heat_over(one[0], seen[0])))
    except ConfigError:  # several networks side by side, or one without maps
        pass
    figures = "".join(
        f"<figure><img src='{png_uri(pixels)}' alt=''><figcaption>{said}</figcaption></figure>"
        for said, pixels in pictures
    )
    return f'<div class="pictures">{figures}</div>'


def _map(added: np.ndarray, most: int = 28) -> tuple[str, ...]:
    """The map in letters: shades for what spoke for the answer, − and = for what spoke against it."""
    rows, columns = (min(size, limit) for size, limit in zip(added.shape, (most // 2, most), strict=True))
    cells = np.array(
        [[cell.sum() for cell in np.array_split(row, columns, axis=1)] for row in np.array_split(added, rows, axis=0)]
    )
    shares = cells / max(float(np.abs(cells).max()), 1e-12)
    signs = np.array(["=", "-", " ", "░", "▒", "▓", "█"])
    return tuple(
        ("  " + "".join(signs[np.digitize(row, [-0.5, -0.15, 0.1, 0.3, 0.55, 0.8])])).rstrip() for row in shares
    )
