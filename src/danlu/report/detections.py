"""The pictures of a detector's test: boxes drawn into images, the precision of each class and at each overlap."""

from __future__ import annotations

import html
from collections.abc import Sequence

import numpy as np

from danlu.evaluate.detection import OVERLAPS, DetectionCounts, Found, overlap_matrix
from danlu.prose import percent
from danlu.report.picture import png_uri
from danlu.report.samples import decimals, measure_table, sample_sections
from danlu.report.svg import BLUE, GREEN, ORANGE, Panel

__all__ = ["detection_sections", "draw_boxes"]

_ACROSS = 200  # pixels of a drawn image
_CLASSES = 40  # in the table


def draw_boxes(image: np.ndarray, found: Found, classes: Sequence[str], color: str) -> np.ndarray:
    """``uint8 (height, width, 1 or 3)`` as a larger colour picture with its boxes and their classes.

    >>> draw_boxes(np.zeros((20, 20, 1), np.uint8), Found(np.array([[2, 2, 9, 9]]), np.array([0])), ["a"], "#ff0000").shape
    (200, 200, 3)
    """
    from PIL import Image, ImageDraw

    times = max(1, round(_ACROSS / image.shape[1]))
    plain = np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image
    picture = Image.fromarray(plain).resize((image.shape[1] * times, image.shape[0] * times), Image.Resampling.NEAREST)
    pen = ImageDraw.Draw(picture)
    for row, (box, number) in enumerate(zip(found.boxes, found.classes, strict=True)):
        x0, y0, x1, y1 = (float(value) * times for value in box)
        pen.rectangle((x0, y0, max(x1 - 1, x0), max(y1 - 1, y0)), outline=color, width=2)
        told = str(classes[int(number)])[:14]
        if found.scores is not None:
            told += f" {percent(found.scores[row])}"
        _, _, wide, high = pen.textbbox((0, 0), told)
        left = max(min(x0, picture.width - wide - 2), 0) + 1
        top = y0 - 11 if y0 >= 11 else min(y1, picture.height - high - 2)
        ends = pen.textbbox((left, top), told)
        pen.rectangle((ends[0] - 1, ends[1], ends[2] + 1, ends[3] + 1), fill="#000000")
        pen.text((left, top), told, fill="#ffffff")
    return np.asarray(picture)


def detection_sections(
    images: np.ndarray,
    true: Sequence[Found],
    shown: Sequence[Found],
    names: Sequence[str],
    counts: DetectionCounts,
    classes: Sequence[str],
) -> list[tuple[str, str]]:
    """The report's sections of a detector.

    Args:
        images: of the test, encoded.
        true, shown: the objects of each, and those that the model shows.
        names: of the images' files.
        counts: the matched detections, unshown ones too.
        classes: their names.

    Returns:
        Titles and HTML.
    """
    wrong = np.array([_wrong(ours, theirs) for ours, theirs in zip(shown, true, strict=True)])
    worst = [int(place) for place in np.argsort(-wrong, kind="stable") if wrong[place]]

    def gallery(places: Sequence[int]) -> str:
        return _gallery(images, true, shown, names, classes, places, wrong)

    note = "<p class='note'>Left: the true boxes. Right: the predicted boxes with their scores.</p>"
    sections = sample_sections(len(images), worst, gallery, note)
    figure = f"<div class='figures'><div>{_overlap_plot(counts)}</div></div>"
    return [*sections, ("Each class", _class_table(counts, classes)), ("How tight the boxes are", figure)]


def _wrong(shown: Found, true: Found) -> int:
    """Objects that are not found, and found ones that are not there."""
    free = overlap_matrix(shown.boxes, true.boxes) * (shown.classes[:, None] == true.classes[None])
    right = 0
    for row in range(len(free)):
        if free.shape[1] and free[row].max() >= OVERLAPS[0]:
            right += 1
            free[:, int(free[row].argmax())] = 0
    return len(shown) + len(true) - 2 * right


def _gallery(
    images: np.ndarray,
    true: Sequence[Found],
    shown: Sequence[Found],
    names: Sequence[str],
    classes: Sequence[str],
    places: Sequence[int],
    wrong: np.ndarray,
) -> str:
    figures, style = [], "width: 196px; image-rendering: auto"
    for place in places:
        pair = ((true[place], GREEN, "what is there"), (shown[place], ORANGE, "what was found"))
        drawn = "".join(
            f"<img src='{png_uri(draw_boxes(images[place], each, classes, color))}' alt='{told}' style='{style}'>"
            for each, color, told in pair
        )
        said = "all right" if not wrong[place] else f"{wrong[place]} missed or wrong"
        caption = f"<figcaption>{html.escape(str(names[place]))}: {said}</figcaption>"
        figures.append(f"<figure class='pair' style='width: 402px; max-width: 100%'>{drawn}{caption}</figure>")
    return f"<div class='gallery'>{''.join(figures)}</div>"


def _class_table(counts: DetectionCounts, classes: Sequence[str]) -> str:
    over_all = counts.by_class()
    columns = {
        "objects": [f"{int(each.objects.sum()):,}" for each in counts.of_class],
        "AP@[.5:.95]": [decimals(value) for value in over_all],
        "AP@0.5": [decimals(value) for value in counts.by_class(overlaps=OVERLAPS[:1])],
    }
    return measure_table("class", classes, over_all, columns, most=_CLASSES)


def _overlap_plot(counts: DetectionCounts) -> str:
    values = [counts.mean(overlaps=(overlap,)) for overlap in OVERLAPS]
    with Panel("mAP by the overlap that is required") as (panel, axes):
        axes.plot(OVERLAPS, values, color=BLUE, marker="o", ms=4)
        axes.set(xlabel="lowest IoU of a box that counts as right", ylim=(0, 1.02))
    return panel.svg
