"""The pages as a reader sees them, in a browser: wide, narrow, dark, pointed at, pressed, printed; nothing is asked of a network.

These tests need Chromium and its driver (Debian: ``apt-get install chromium chromium-driver``), and are left out where they are not there.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from golden_rows import GOLDEN, of_size_alone

sys.path.insert(0, str(Path(__file__).parent))
from webdriver import Browser, missing

import danlu
from danlu import nn, optim
from danlu.cli import main
from danlu.data import infer_schema
from danlu.evaluate import Rows, compare, intervals
from danlu.evaluate.importance import Importance
from danlu.evaluate.sides import Side, pair
from danlu.evaluate.stress import stressed
from danlu.film import Film, xray
from danlu.report import ReportData, describe_columns, png_uri, write_report
from danlu.report.compared import Compared, ComparedRun
from danlu.report.health import health_html
from danlu.report.importance import importance_section
from danlu.report.parts import PLACES, add_part
from danlu.report.stress import stress_section

LONG = "a_name_of_a_column_that_is_much_longer_than_any_screen_of_a_telephone_is_wide_and_has_no_blank"
PAGES = ("report", "compare", *(pytest.param(name, marks=pytest.mark.slow) for name in ("explain", "rows", "xray")))
WIDTHS = (360, 1440)

pytestmark = [pytest.mark.skipif(bool(missing()), reason=missing() or "-"), pytest.mark.usefixtures("laid_out")]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = Browser()
    yield found
    found.close()


class Pages(dict[str, Path]):
    """The pages by name, each made when it is asked for."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def __missing__(self, name: str) -> Path:
        makers: dict[str, Any] = {
            "report": report,
            "compare": compared,
            "xray": seen,
            "explain": overview,
            "rows": single_rows,
        }
        self[name] = makers[name](self.folder / f"{name}.html")
        return self[name]


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Pages:
    return Pages(tmp_path_factory.mktemp("pages"))


def rows_of(quality: float) -> Rows:
    rng = np.random.default_rng(0)
    truth = rng.integers(2, size=120)
    p = np.clip(0.5 + quality * (truth - 0.5) + rng.normal(0, 0.2, 120), 0.02, 0.98)
    return Rows("binary", truth, np.stack([1 - p, p], axis=1))


def history(shift: float = 0.0) -> list[dict[str, Any]]:
    losses = [[(1 + member / 5) / (epoch + 1) + shift for member in range(3)] for epoch in range(8)]
    return [
        {
            "epoch": e,
            "loss": np.mean(own),
            "val_loss": 0.2 + np.mean(own),
            "loss_each": own,
            "val_loss_each": own,
            "learning_rate": 0.1,
        }
        for e, own in enumerate(losses)
    ]


def report(path: Path) -> Path:
    """A report with all its parts."""
    rows, other = rows_of(0.6), rows_of(0.1).prediction
    table = pl.DataFrame({LONG: list(range(30)), "城市": ["北京", "上海", "Rome"] * 10, "y": ["no", "yes", "yes"] * 10})
    schema = infer_schema(table, target="y")
    sick = {
        "what": "the rate is high",
        "evidence": "it moves by 3 %",
        "change": "a lower one",
        "command": f"danlu train {LONG}",
    }
    layer = {"name": LONG, "gradient": 0.1, "weight": 2.0, "update": 0.01}
    data = ReportData(
        title="run",
        target="y",
        task="binary",
        classes=("no", LONG),
        rows=rows,
        scores=intervals(rows),
        others={"logistic regression on everything there is": intervals(Rows("binary", rows.truth, other))},
        comparisons=[compare(rows, other, "logistic regression on everything there is")],
        history=history(),
        best_epoch=5,
        parts={"train": 1000, "test": 120},
        columns=describe_columns(schema, table),
        mistakes=[{"true": "yes", "predicted": "no", LONG: "word " * 30}] * 3,
        gallery=[{"image": png_uri(np.full((8, 8, 1), 90, np.uint8)), "caption": LONG}] * 4,
        sections=[
            importance_section(
                [Importance((LONG,), "roc_auc", 0.2, 0.01, 5, 120), Importance(("b",), "roc_auc", 0.0, 0.01, 5, 120)]
            )
        ],
        places=PLACES,
        health_html=health_html({"findings": [sick], "layers": [[layer]]}),
        notices=[f"column {LONG} is odd"],
        config={"data": {"source": "x" * 200}},
        command=f"danlu train --config {'x' * 200}/config.json",
        environment={"seed": "0", "energy": "about 5.4 kJ (1.5 Wh), estimated: 450 s of a core at 12 W"},
    )
    write_report(path, data)
    found = stressed(rows, [("noise", "noise of 1 standard deviation", rows_of(0.1)), ("none", "nothing", rows)])
    assert add_part(path, "stress", [stress_section(found, "labelled.csv")])
    return path


def compared(path: Path) -> Path:
    sides, runs = [], []
    for name, quality in (("first", 0.6), (LONG, 0.3)):
        rows = rows_of(quality)
        scores = intervals(rows)
        data = {"data": "one", "classes": ("no", "yes"), "numbers": np.arange(120)}
        sides.append(Side(name, "binary", "y", "roc_auc", scores, evidence=rows, **data))
        settings = {"trainer.epochs": int(10 * quality), "trainer.loss": LONG if quality < 0.5 else None}
        own = (name, f"runs/{name}", "t.csv", "table, binary", "roc_auc", scores, settings, {"time": "3 s"}, {})
        runs.append(ComparedRun(*own, history(quality), 5))
    return Compared(tuple(runs), (pair(*sides),)).write(path) or path


def explained(compared_with: pl.DataFrame, *given: Any, **how: Any) -> Any:
    """Explanations of a model whose answer is of the column "size" alone."""
    explain: Any = danlu.explain
    return explain(of_size_alone(), *given, background=compared_with, say=lambda notice: None, **how)


def asked() -> pl.DataFrame:
    return pl.concat([pl.read_csv(GOLDEN / "table-blend" / "asked.csv", try_parse_dates=True)] * 3)


def overview(path: Path) -> Path:
    found: Path = explained(asked()).write(path)
    return found


def single_rows(path: Path) -> Path:
    found: Path = explained(asked(), asked(), rows=list(range(1, 13)), changes=0).write(path)
    return found


def seen(path: Path) -> Path:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(24, 2)).astype(np.float32)
    film = Film(rows=2, at=[0, 2])
    danlu.fit(
        nn.MLP((3,), 2, activation="tanh"), x, (x[:, 0] > 0).astype(np.int32), loss="categorical_cross_entropy",
        optimizer=optim.adam(0.05), batch_size=8, epochs=1, callbacks=[film], display="none",
    )  # fmt: skip
    path.write_text(xray(film, title=LONG, classes=["no", "yes"], names=["left", "right"]).page(), encoding="utf-8")
    return path


def problems(browser: Browser) -> list[str]:
    """What the console says is wrong."""
    return [line["message"] for line in browser.log("browser") if line["level"] in ("SEVERE", "WARNING")]


_BEYOND = """
const wide = document.documentElement.clientWidth;
const within = (node) => node.closest('.scroll, .long, pre, nav, .strip, dialog, [style*="overflow"]');
return [...document.querySelectorAll('body *')].filter((node) => {
  const box = node.getBoundingClientRect();
  return box.width && (box.right > wide + 1 || box.left < -1) && !within(node) && !node.closest('svg *');
}).map((node) => `${node.tagName} ${node.className} ${node.textContent.slice(0, 40)}`).slice(0, 5);
"""


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_its_window_and_asks_nothing_of_a_network(
    browser: Browser, pages: Pages, name: str, width: int
) -> None:
    browser.open(pages[name], width=width)
    assert browser.run("return document.documentElement.scrollWidth") <= width
    assert browser.run(_BEYOND) == []
    assert problems(browser) == []
    asked = browser.asked_for()
    assert asked, "the page itself is asked for: the list is that of this page"
    assert all(address.startswith(("file:", "data:")) for address in asked)


_CONTRAST = """
const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
function read(colour) {
  canvas.clearRect(0, 0, 1, 1);
  canvas.fillStyle = colour;
  canvas.fillRect(0, 0, 1, 1);
  return canvas.getImageData(0, 0, 1, 1).data;
}
const linear = (v) => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
const light = (c) => [.2126, .7152, .0722].reduce((sum, share, i) => sum + share * linear(c[i] / 255), 0);
function behind(node) {
  for (; node; node = node.parentElement) {
    const c = read(getComputedStyle(node).backgroundColor);
    if (c[3] > 250) return c;
  }
  return [255, 255, 255, 255];
}
const found = [];
for (const node of document.querySelectorAll('main *')) {
  if (node.closest('svg, canvas, [style*="background"], .off') || !node.offsetParent) continue;
  if (![...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim())) continue;
  const style = getComputedStyle(node), large = parseFloat(style.fontSize) >= 24;
  const [a, b] = [light(read(style.color)), light(behind(node))];
  const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
  const said = `${ratio.toFixed(2)} ${node.tagName}.${node.className} ${node.textContent.trim().slice(0, 40)}`;
  if (ratio < (large ? 3 : 4.5)) found.push(said);
}
return found.slice(0, 5);
"""


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("name", PAGES)
def test_texts_stand_out_from_their_ground(browser: Browser, pages: Pages, name: str, dark: bool) -> None:
    """A contrast of 4.5, of large letters 3: WCAG 2.2, level AA."""
    browser.open(pages[name], width=1000, dark=dark)
    ground = browser.run("return getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, ground[4:-1].split(","))) < 200) == dark, ground
    assert browser.run(_CONTRAST) == []
    if name != "xray":  # whose curves are drawn in the colours of the page
        assert (
            browser.run("return getComputedStyle(document.querySelector('main svg[role=img]')).filter") != "none"
        ) == dark


def at(browser: Browser, selector: str, place: int = 0) -> tuple[float, float]:
    """The middle of an element, brought into the window."""
    x, y = browser.run(
        "const n = document.querySelectorAll(arguments[0])[arguments[1]]; n.scrollIntoView({block: 'center'});"
        "const b = n.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]",
        selector,
        place,
    )
    return float(x), float(y)


TIP = "const tip = document.getElementById('tip'); return tip.hidden ? '' : tip.textContent"


def test_a_point_says_its_numbers_under_the_pointer_and_by_keys(browser: Browser, pages: Pages) -> None:
    browser.open(pages["report"], width=1000)
    assert browser.run("return document.querySelectorAll('use title').length") == 0, "the browser would say it again"
    picture = "svg[aria-label=Loss]"
    browser.point(*at(browser, f"{picture} use[pointer-events=all]", 3))
    assert browser.run(TIP) == "training, epoch, 4: 0.3"
    browser.point(1, 1)
    assert browser.run(TIP) == ""
    browser.run(f"document.querySelector('{picture}').focus()")
    browser.press("ArrowRight"), browser.press("ArrowRight")
    assert browser.run(TIP) == "training, epoch, 2: 0.6"
    browser.press("ArrowLeft")
    assert browser.run(TIP) == "training, epoch, 1: 1.2"


def test_series_are_hidden_and_shown_again(browser: Browser, pages: Pages) -> None:
    browser.open(pages["report"], width=1000)
    frame = "document.querySelector('svg[aria-label=Loss]').parentElement"
    shown = f"return [...{frame}.querySelectorAll('[data-series=\"0\"]')].filter((part) => part.getBoundingClientRect().width).length"
    assert browser.run(f"return {frame}.querySelector('.switches').textContent") == "each networktrainingvalidation"
    assert browser.run(shown) == 6, "three networks, in training and validation"
    for left, pressed in ((0, "false"), (6, "true")):
        browser.point(*at(browser, ".switches button"), click=True)
        assert browser.run(shown) == left
        assert browser.run("return document.querySelector('.switches button').getAttribute('aria-pressed')") == pressed


def test_a_picture_is_enlarged_zoomed_and_closed(browser: Browser, pages: Pages) -> None:
    browser.open(pages["report"], width=1000)
    width = "return document.querySelector('#large svg')?.viewBox.baseVal.width ?? 0"
    assert browser.run(width) == 0
    browser.point(*at(browser, ".framed:has(svg[aria-label=Loss]) .larger"), click=True)
    whole = browser.run(width)
    assert whole > 200
    browser.point(*at(browser, "#large svg use[pointer-events=all]", 3))
    assert browser.run(TIP) == "training, epoch, 4: 0.3", "above the dialog"
    browser.point(*at(browser, "#large [data-zoom]"), click=True)
    assert browser.run(width) == pytest.approx(whole / 1.4, rel=0.01)
    browser.point(*at(browser, "#large [data-zoom]", 2), click=True)
    assert browser.run(width) == pytest.approx(whole, rel=0.01)
    browser.press("Escape")
    assert browser.run("return document.getElementById('large').open") is False
    assert problems(browser) == []


def test_a_page_in_chinese_is_alive_too(browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DANLU_LANGUAGE", "zh")
    data = ReportData(
        LONG, LONG, "binary", history=history(), best_epoch=5, parts={"train": 90}, places=PLACES, command="danlu train"
    )
    browser.open(write_report(tmp_path / "report.html", data), width=360)
    assert browser.run("return document.documentElement.lang") == "zh"
    assert "训练" in browser.run("return document.querySelector('.switches').textContent")
    assert browser.run("return document.documentElement.scrollWidth") <= 360
    assert LONG in browser.run("return document.body.textContent"), "what is the user's stays as it is"
    assert problems(browser) == []


@pytest.mark.parametrize("name", PAGES[:3])
def test_the_parts_of_a_page_can_be_gone_to(browser: Browser, pages: Pages, name: str) -> None:
    browser.open(pages[name], width=1000)
    links = browser.run("return [...document.querySelectorAll('nav a')].map((link) => link.textContent)")
    assert links == browser.run("return [...document.querySelectorAll('main h2')].map((head) => head.textContent)")
    browser.point(*at(browser, "nav a", len(links) - 1), click=True)
    assert browser.run("return document.querySelector(location.hash).textContent") == links[-1]


@pytest.mark.parametrize("name", PAGES[:4])
def test_a_printed_page_has_its_content_and_no_controls(browser: Browser, pages: Pages, name: str) -> None:
    browser.open(pages[name], width=794, media="print", dark=True)
    visible = "return [...document.querySelectorAll(arguments[0])].filter((node) => node.getBoundingClientRect().width).length"
    assert browser.run(visible, "nav, .larger, .switches, #tip, #large, .slot") == 0
    assert browser.run(visible, "main svg[role=img]") > 1
    assert browser.run("return getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert browser.run("return getComputedStyle(document.querySelector('main svg')).filter") == "none", "printed light"
    assert browser.run("return document.documentElement.scrollWidth") <= 794, "nothing is cut off at the paper's edge"
    assert browser.pdf().startswith(b"%PDF")


@pytest.mark.slow
def test_the_xray_is_walked_through_by_keys(browser: Browser, pages: Pages) -> None:
    browser.open(pages["xray"], width=360)
    state = "return ['where', 'step', 'detail'].map((name) => document.getElementById(name).textContent)"
    states = [browser.run(state)]
    for _ in range(5):
        browser.press("ArrowRight")
        states.append(browser.run(state))
    assert len({tuple(each) for each in states}) == 6, "each key shows another stage"
    for _ in range(5):
        browser.press("ArrowLeft")
    assert browser.run(state) == states[0]
    browser.press("ArrowUp")
    assert browser.run(state)[1] != states[0][1], "later in training"
    assert problems(browser) == []


@pytest.mark.slow
def test_the_report_of_a_run_takes_in_what_is_found_afterwards(
    browser: Browser, tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(90, 2))
    table = pl.DataFrame(
        {"size": x[:, 0], "colour": np.where(x[:, 1] > 0, "red", "blue"), "y": np.where(x.sum(axis=1) > 0, "yes", "no")}
    )
    table.write_csv(tmp_path / "t.csv")
    model = ["model.kind=network", "model.members=2", "model.width=8", "trainer.epochs=2"]
    run = tmp_path / "runs" / "r"
    for given in (
        ["train", str(tmp_path / "t.csv"), "--target", "y", "--runs", str(tmp_path / "runs"), "--name", "r", *model],
        ["explain", str(run)],
        ["stress", str(run), str(tmp_path / "t.csv")],
    ):
        monkeypatch.setattr(sys, "argv", ["danlu", *given])
        with pytest.raises(SystemExit) as stop:
            main()
        assert not stop.value.code
        capsys.readouterr()
    for width in WIDTHS:
        browser.open(run / "report.html", width=width)
        assert browser.run("return document.documentElement.scrollWidth") <= width
        assert problems(browser) == []
        heads = browser.run("return [...document.querySelectorAll('h2, h3')].map((head) => head.textContent)")
        for part in (
            "How it answers",
            "What each column adds",
            "When inputs are worse",
            "Health of the training",
            "Reproduce",
        ):
            assert part in heads
        assert browser.run("return document.querySelectorAll('.slot').length") == 0
