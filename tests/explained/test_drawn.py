"""Attributions as pictures: each dot and bar is where its number is, and what cannot be drawn gets one message."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from danlu.errors import ConfigError
from danlu.explained import Explained, Explanations, Part

pytestmark = pytest.mark.usefixtures("laid_out")
COLUMNS = ("age", "city", "born")


def row(number: int, added: tuple[float, ...], values: tuple[Any, ...] = (30, "Rome", "2020-01-02")) -> Explained:
    numbers = (float(values[0]), float("nan"), 18263.0 + number)
    parts = tuple(
        Part(name, str(value), size, number=place)
        for name, value, size, place in zip(COLUMNS, values, added, numbers, strict=True)
    )
    return Explained(
        row=f"row {number}",
        answer="y = yes",
        scored="the probability of y = yes",
        value=0.4 + sum(added),
        base=0.4,
        against="on average over 20 training rows",
        parts=parts,
        method="By hand.",
        gap=0.0,
    )


@pytest.fixture(scope="module")
def many() -> Explanations:
    rng = np.random.default_rng(0)
    places = ("Rome", "Bonn", "Oslo")
    return Explanations(
        [
            row(i, tuple(rng.normal(size=3) * (0.01, 0.2, 0.05)), (20 + i, places[i % 3], f"2020-01-{i + 1:02}"))
            for i in range(12)
        ]
    )


def axes_of(panel: Any) -> Any:
    return panel.figure.axes[0]


def test_a_waterfall_goes_from_the_score_back_to_the_base() -> None:
    one = row(1, (0.1, -0.25, 0.05))
    bars = axes_of(one.figure()).patches
    assert [round(bar.get_width(), 9) for bar in bars] == [-0.25, 0.1, 0.05]
    ends = [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in bars]
    assert ends[0][1] == pytest.approx(one.value)
    assert ends[-1][0] == pytest.approx(one.base)
    assert all(start == pytest.approx(end) for (start, _), (_, end) in itertools.pairwise(ends))


def test_in_a_bar_of_forces_both_sides_meet_at_the_score() -> None:
    one = row(1, (0.1, -0.25, 0.05))
    outlines = [patch.get_xy()[:, 0] for patch in axes_of(one.figure("force")).patches]
    ups = [x for x in outlines if x.max() <= one.value + 1e-9]
    downs = [x for x in outlines if x.min() >= one.value - 1e-9]
    assert (len(ups), len(downs)) == (2, 1)
    assert min(x.min() for x in ups) == pytest.approx(one.value - 0.15)
    assert max(x.max() for x in downs) == pytest.approx(one.value + 0.25)
    assert "age = 30: +0.1" in one.figure("force").svg


def test_a_beeswarm_has_each_number_once_the_largest_column_at_the_top(many: Explanations) -> None:
    panel = many.figure()
    axes = axes_of(panel)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["city", "born", "age"]
    for line, (column, dots) in enumerate(zip((1, 2, 0), axes.collections, strict=True)):
        x, y = np.asarray(dots.get_offsets()).T
        assert x.tolist() == pytest.approx([one.parts[column].added for one in many])
        assert np.abs(y - line).max() < 0.5, "a dot on another column's line would be read as of that"
        assert len({(round(a, 3), round(b, 3)) for a, b in zip(x, y, strict=True)}) == len(x)
    ages = axes.collections[2].get_facecolors()
    assert ages[0][2] > ages[0][0], "the lowest age is blue"
    assert ages[-1][0] > ages[-1][2], "the highest age is orange"
    assert len({tuple(colour) for colour in axes.collections[0].get_facecolors()}) == 1, "cities have no order"
    told = re.findall(r"<title>([^<]*)</title>", panel.svg)
    assert len(told) == 36
    assert told[0].startswith("row 0: city = Rome, ")


def test_a_dependence_is_above_the_values_and_coloured_by_another_column(many: Explanations) -> None:
    panel = many.figure("dependence", column="age", by="born")
    x, y = np.asarray(axes_of(panel).collections[0].get_offsets()).T
    assert x.tolist() == list(range(20, 32))
    assert y.tolist() == pytest.approx([one.parts[0].added for one in many])
    assert "born = 2020-01-12" in panel.svg
    names = [label.get_text() for label in axes_of(many.figure("dependence")).get_xticklabels()]
    assert set(names) == {"Rome", "Bonn", "Oslo"}, "without a column it is the one that adds most"


def test_a_picture_shows_itself_and_is_written(many: Explanations, tmp_path: Path) -> None:
    panel = many.figure()
    assert panel._repr_html_().startswith("<svg")
    assert panel.write(tmp_path / "swarm.png").read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in panel.write(tmp_path / "swarm.svg").read_bytes()
    with pytest.raises(ConfigError, match=r"swarm\.docx; expected a name in \.svg"):
        panel.write(tmp_path / "swarm.docx")


def test_what_cannot_be_drawn_gets_one_message(many: Explanations) -> None:
    with pytest.raises(ConfigError, match="unknown picture of one row 'pie'"):
        many[0].figure("pie")
    with pytest.raises(ConfigError, match="unknown picture of several rows 'pie'"):
        many.figure("pie")
    with pytest.raises(ConfigError, match="unknown column 'agee'"):
        many.figure("dependence", column="agee")
    with pytest.raises(ConfigError, match="1 explained rows"):
        many[:1].figure()
