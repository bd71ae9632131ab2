"""The page of a service as its reader uses it: filled in, answered, told why, changed; with keys, on a telephone, in the dark, in Chinese.

These tests need Chromium and its driver, see ``test_pages.py``. axe, which looks for what readers with a handicap would miss, is taken from
``node_modules`` (``npm install axe-core``) or the folder that ``AXE`` names, and left out where it is not there.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from golden_rows import GOLDEN

sys.path.insert(0, str(Path(__file__).parent))
from webdriver import Browser, missing

pytest.importorskip("fastapi")
import uvicorn

import danlu
from danlu.report.form import about, asking_page
from danlu.serve import ServeOptions, create_app

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "-")

AXE = next(
    (
        place / "axe.min.js"
        for place in (Path(os.environ.get("AXE", "-")), Path("node_modules/axe-core"))
        if (place / "axe.min.js").is_file()
    ),
    None,
)
EVIL = "<img src=x onerror='window.harm = 1'>"
LONG = "a_name_that_is_longer_than_the_screen_of_a_telephone_is_wide_and_that_has_no_blank_at_all"
ANSWERED = "return !document.querySelector('.busy') && document.querySelector('#answer .headline b')?.textContent"
ASK = "document.querySelector('.go').click()"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = Browser()
    yield found
    found.close()


class Served:
    """A service in a thread."""

    def __init__(self, models: dict[str, Any], **options: Any) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        app = create_app(models, ServeOptions(watch=0, **options))
        self.server = uvicorn.Server(uvicorn.Config(app, port=self.port, log_level="error"))
        self.thread = threading.Thread(target=self.server.run)
        self.thread.start()
        while not self.server.started:
            self.thread.join(0.02)
        self.at = f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        self.server.should_exit = True
        self.thread.join()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a table, with training rows to compare with."""
    folder = tmp_path_factory.mktemp("run")
    shutil.copytree(GOLDEN / "table-blend" / "model", folder / "artifact")
    rows = pl.read_csv(GOLDEN / "table-blend" / "asked.csv", try_parse_dates=True)
    more = [rows.with_columns(size=pl.lit(size)) for size in (23.0, 40.0, 55.0, 73.9)]
    pl.concat([rows, *more]).write_parquet(folder / "background.parquet")
    return folder


@pytest.fixture(scope="module")
def served(run: Path) -> Iterator[Served]:
    found = Served({"flats": run, "pictures": GOLDEN / "image" / "model", "words": GOLDEN / "text" / "model"})
    yield found
    found.close()


def problems(browser: Browser) -> list[str]:
    return [line["message"] for line in browser.log("browser") if line["level"] in ("SEVERE", "WARNING")]


def size_of(browser: Browser) -> str:
    return str(browser.run("return document.querySelector('[data-name=size] input').value"))


def test_it_is_filled_in_answered_explained_and_changed(browser: Browser, served: Served) -> None:
    browser.open(f"{served.at}/", width=1440)
    assert size_of(browser) == "34.9", "an example is filled in"
    browser.run(ASK)
    before = browser.wait(ANSWERED)
    assert before in ("cheap", "dear")
    shares = browser.run("return [...document.querySelectorAll('#answer .shares li')].map((each) => each.innerText)")
    assert len(shares) == 2
    pushes = browser.wait("return [...document.querySelectorAll('#why .pushes .name')].map((each) => each.textContent)")
    assert sorted(each.split()[0] for each in pushes) == ["city", "day", "size"]
    moves = browser.wait("return [...document.querySelectorAll('#change .move em')].map((each) => each.textContent)")
    assert set(moves) <= {"city", "size"}
    browser.run("document.querySelector('#change .changes button').click()")
    after = browser.wait(f"const now = (() => {{ {ANSWERED} }})(); return now !== arguments[0] && now", before)
    assert {before, after} == {"cheap", "dear"}, "the change that was offered changes the answer"
    assert problems(browser) == []
    hosts = {each.split("/")[2] for each in browser.asked_for() if not each.startswith("data:")}
    assert hosts == {f"127.0.0.1:{served.port}"}, "nothing is asked of another host"


def test_a_field_that_is_held_is_not_changed(browser: Browser, served: Served) -> None:
    browser.open(f"{served.at}/", width=1000)
    browser.run("for (const lock of document.querySelectorAll('.lock')) lock.click()")
    assert browser.run("return document.querySelectorAll('.lock[aria-pressed=true]').length") == 2, (
        "a day is never changed"
    )
    browser.run(ASK)
    assert "No small change" in browser.wait("return document.querySelector('#change')?.textContent")


def test_keys_alone_fill_it_in_and_what_is_wrong_is_said_beside_its_field(browser: Browser, served: Served) -> None:
    browser.open(f"{served.at}/", width=1000)
    browser.run("const field = document.querySelector('[data-name=size] input'); field.focus(); field.select()")
    browser.type("many")
    browser.press("Enter")
    said = browser.wait("return document.querySelector('[data-name=size] .error').textContent")
    assert "many" in said
    assert browser.run("return document.activeElement.closest('[data-name]').dataset.name") == "size"
    browser.run("document.activeElement.select()")
    browser.type("7000")
    assert "outside 23 to 74" in browser.run("return document.querySelector('[data-name=size] small').textContent")
    browser.press("Enter")
    assert browser.wait(ANSWERED)
    assert "7000" in browser.wait("return document.querySelector('#answer .notes')?.textContent"), "as predict says it"


@pytest.mark.parametrize("dark", [False, True])
def test_it_fits_a_telephone_and_axe_finds_nothing_serious(browser: Browser, served: Served, dark: bool) -> None:
    browser.open(f"{served.at}/", width=360, dark=dark)
    browser.run(ASK)
    browser.wait("return document.querySelector('#change')?.children.length && !document.querySelector('.busy')")
    assert browser.run("return document.documentElement.scrollWidth") <= 360
    browser.wait(
        "return document.getElementById('h-answer').getBoundingClientRect().top < innerHeight - 100"
    )  # in sight
    ground = browser.run("return getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, ground[4:-1].split(","))) < 200) == dark
    if AXE is None:
        pytest.skip("axe is not installed: npm install axe-core")
    browser.run(
        AXE.read_text(encoding="utf-8") + "; window.axe = axe; axe.run().then((each) => { window.found = each })"
    )
    [found, passed] = browser.wait("return window.found && [found.violations, found.passes.length]")
    assert passed > 20
    serious = [
        f"{each['id']}: {each['nodes'][0]['html'][:120]}" for each in found if each["impact"] in ("serious", "critical")
    ]
    assert not serious, "\n".join(serious)


def test_in_chinese_the_users_own_words_stay(browser: Browser, served: Served) -> None:
    browser.open(f"{served.at}/", width=1000)
    browser.run("document.querySelector('a[lang=zh]').click()")
    assert (
        browser.wait("return document.documentElement.lang === 'zh' && document.querySelector('h1').textContent")
        == "预测 price"
    )
    browser.run(ASK)
    assert browser.wait(ANSWERED) in ("cheap", "dear")
    assert "概率" in browser.run("return document.querySelector('#answer .sure').textContent")
    assert browser.wait("return document.querySelector('#why p')?.textContent").startswith("price")


def test_with_a_token_the_door_opens_to_the_page(browser: Browser, run: Path) -> None:
    closed = Served({"flats": run}, token="secret")
    try:
        browser.open(f"{closed.at}/", width=1000)
        for token in ("wrong", "secret"):
            browser.run("const field = document.getElementById('token'); field.focus(); field.select()")
            browser.type(token)
            browser.press("Enter")
            browser.wait("return !document.getElementById('wrong')?.hidden")
        browser.wait("return document.querySelector('[data-name=size]')")
        browser.run(ASK)
        assert browser.wait(ANSWERED) in ("cheap", "dear")
    finally:
        closed.close()


def test_names_categories_and_answers_never_become_html(browser: Browser, tmp_path: Path) -> None:
    model = danlu.load(GOLDEN / "table" / "model")
    fields = [
        {"name": EVIL, "kind": "category", "categories": [EVIL, LONG], "example": EVIL},
        {
            "name": LONG,
            "kind": "category",
            "categories": [f"{EVIL}{place}" for place in range(9)],
            "example": f"{EVIL}1",
        },
        {"name": f"{EVIL} n", "kind": "number", "low": 0.0, "high": 1.0, "unit": EVIL, "example": EVIL},
        {"name": f"{EVIL} b", "kind": "boolean"},
        {"name": f"{EVIL} t", "kind": "text", "example": EVIL},
    ]
    told = {
        **about(model),
        "heading": EVIL,
        "purpose": EVIL,
        "target": EVIL,
        "classes": [EVIL, "no"],
        "fields": fields,
        "explains": True,
        "changes": True,
    }
    page, _ = asking_page(
        told, {"predict": "predict", "explain": "explain"}, models=[(EVIL, "?"), ("b", "?b")], model=EVIL
    )
    (tmp_path / "page.html").write_text(page, encoding="utf-8")
    browser.open(tmp_path / "page.html", width=360)
    part = {"name": EVIL, "value": EVIL, "added": 0.5}
    change = {"changes": {EVIL: LONG}, "answer": {EVIL: "no", f"probability {EVIL}": 0.1, "probability no": 0.9}}
    replies = {
        "predictions": [{EVIL: EVIL, f"probability {EVIL}": 0.9, "probability no": 0.1, "set": [EVIL]}],
        "notes": [EVIL],
        "explanations": [
            {
                **dict.fromkeys(("score", "against", "method"), EVIL),
                **{key: [EVIL] for key in ("doubts", "notes")},
                "value": 1,
                "base": 0,
                "parts": [part],
                "counterfactuals": [change],
            }
        ],
    }
    browser.run("const reply = arguments[0]; window.fetch = async () => new Response(reply)", json.dumps(replies))
    browser.run("const n = document.querySelectorAll('.number input')[0]; n.value = '0.5'")
    browser.run(ASK)
    assert browser.wait(ANSWERED) == EVIL
    browser.wait("return document.querySelector('#change .move')")
    assert browser.run("return document.querySelectorAll('img').length") == 0
    assert browser.run("return window.harm ?? 0") == 0
    assert browser.run("return document.querySelector('.field label').textContent") == EVIL
    assert browser.run("return document.documentElement.scrollWidth") <= 360


@pytest.mark.slow
def test_a_picture_is_drawn_and_the_words_of_a_text_are_coloured(browser: Browser, served: Served) -> None:
    browser.open(f"{served.at}/?model=pictures", width=1000)
    x, y = browser.run(
        "const c = document.querySelector('canvas'); c.scrollIntoView({block: 'center'});"
        "const b = c.getBoundingClientRect(); return [b.x, b.y]"
    )
    for kind, dx in (("mousePressed", 40), ("mouseMoved", 120), ("mouseReleased", 200)):
        browser.devtools(
            "Input.dispatchMouseEvent",
            {"type": kind, "button": "left", "buttons": 1, "clickCount": 1, "x": x + dx, "y": y + 140},
        )
    browser.run(ASK)
    assert browser.wait(ANSWERED) in ("lying", "standing")
    assert browser.wait("return document.querySelector('#why canvas')?.width", seconds=60) > 100
    browser.open(f"{served.at}/?model=words", width=1000)
    browser.run("document.querySelector('textarea').focus()")
    browser.type(f"good {EVIL}")
    browser.run(ASK)
    words = browser.wait(
        "return [...document.querySelectorAll('#why .words span')].map((each) => each.textContent)", seconds=60
    )
    assert words[0] == "good"
    assert problems(browser) == []


@pytest.mark.slow
def test_a_game_is_played_to_its_end(browser: Browser) -> None:
    import jax

    from danlu.rl.acting import trained_agent
    from danlu.rl.games import AlphaZero, Game, Match

    agent, env = (
        AlphaZero(simulations=2, hidden=(8,), environments=4, n_steps=2, memory=8),
        Match(game=Game("tic-tac-toe")),
    )
    params, state, _ = agent.network(env).init(jax.random.key(0), agent.in_shape(env))
    service = Served({"game": dataclasses.replace(trained_agent(agent, env, params, state))})
    try:
        browser.open(f"{service.at}/", width=360)
        ready = "return document.querySelector('.board button') && !document.querySelector('.board[aria-busy]')"
        for _ in range(5):
            browser.wait(ready, seconds=120)
            browser.run("document.querySelector('.board button:not(:disabled)')?.click()")
        browser.wait(ready, seconds=120)
        said = browser.run("return document.querySelector('[role=status]').textContent")
        assert any(each in said for each in ("won", "draw")), said
        assert browser.run("return document.documentElement.scrollWidth") <= 360
        assert problems(browser) == []
    finally:
        service.close()
