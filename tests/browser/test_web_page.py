"""A model in a browser: the page of ``danlu export --format web``, filled in, drawn on, and compared with danlu.

What runs the model is npm's: ``npm install onnxruntime-web`` here, or ``ONNXRUNTIME_WEB=FOLDER``. Without it the tests that ask a model
are left out; those of the scripts need Chromium alone.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from golden_rows import GOLDEN
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))
from webdriver import Browser, missing

import danlu
from danlu.errors import ConfigError
from danlu.export.web import runtime_of
from danlu.export.web.page import web_page
from danlu.report.form import scripts

pytest.importorskip("onnxruntime")
NPM = Path(os.environ.get("ONNXRUNTIME_WEB", Path(__file__).parents[2]))
WEB = Path(danlu.__file__).parent / "export" / "web"
TEXTS = [
    "So good, 好吃! It's 1,000.5 km… naïve “quote”",
    "ΑΣ ΟΔΟΣ İstanbul STRASSE ß ﬁ Å e\u0301 \u0085\ufeff\u200b x",
    "ことば カタカナ 한국어 🙂👍🏽 a_b don’t x'y'z 3.14.15 5,a",
    "  ", "a" * 100, "\t\n?!",
]  # fmt: skip

needs_browser = pytest.mark.skipif(bool(missing()), reason=missing() or "-")


def there() -> bool:
    try:
        return bool(runtime_of(NPM))
    except ConfigError:
        return False


needs_npm = pytest.mark.skipif(not there(), reason="npm install onnxruntime-web, or ONNXRUNTIME_WEB=FOLDER")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = Browser()
    yield found
    found.close()


def script(*names: str) -> str:
    return "\n".join([scripts(("form.js",)), *((WEB / name).read_text() for name in names)])


@needs_browser
def test_texts_and_pictures_become_what_danlu_makes_of_them(browser: Browser, tmp_path: Path) -> None:
    page = tmp_path / "empty.html"
    page.write_text("<!doctype html><title>x</title>")
    browser.open(page, width=600)
    encoder = danlu.load(GOLDEN / "text" / "model").encoder
    for width in (encoder.words, 3):
        own = dataclasses.replace(encoder, words=width)
        asked = "const about = arguments[1], e = (text) => Object.values(encodedText(text, about)).map((each) => [...each]);"
        asked += "return arguments[0].map(e)"
        found = browser.run(f"{script('text.js')}; {asked}", TEXTS, json.loads(json.dumps(own.state()[0])))
        wanted = own.transform(TEXTS)
        for text, (words, grams), one, other in zip(
            TEXTS, found, wanted["words"]["x"], wanted["grams"]["x"], strict=True
        ):
            assert words == one.tolist(), text
            assert grams == other.tolist(), text
    random = np.random.default_rng(0)
    resize = "return [...resized(Uint8ClampedArray.from(arguments[0]), arguments[1], arguments[2])]"
    for height, width, channels, size in ((40, 31, 3, (12, 9)), (7, 5, 1, (28, 28)), (64, 28, 1, (28, 28))):
        pixels = random.integers(0, 256, (height, width, channels), np.uint8)
        found = browser.run(
            f"{script('picture.js')}; {resize}", pixels.ravel().tolist(), list(pixels.shape), list(size)
        )
        picture = Image.fromarray(pixels[..., 0] if channels == 1 else pixels)
        wanted = np.asarray(picture.resize(size[::-1], Image.Resampling.BILINEAR)).ravel()
        assert np.abs(np.asarray(found) - wanted.astype(int)).max() <= 1
    rgba = random.integers(0, 256, (50, 4), np.uint8)
    rgba[:, 3] = 255
    found = browser.run(
        f"{script('picture.js')}; return [...channelsOf(Uint8ClampedArray.from(arguments[0]), 1)]",
        rgba.ravel().tolist(),
    )
    assert found == np.asarray(Image.fromarray(rgba[None]).convert("RGB").convert("L")).ravel().tolist()


@needs_browser
def test_a_drawing_is_centred_and_scaled_as_digits_of_mnist_are(browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "empty.html").write_text("<!doctype html><title>x</title>")
    browser.open(tmp_path / "empty.html", width=600)
    ink = np.zeros((100, 80), np.uint8)
    ink[5:65, 50:70] = 255  # 60 high: scaled to 20
    ink[5:25, 30:70] = 255
    asked = f"{script('picture.js')}; return [...asDigit(Uint8ClampedArray.from(arguments[0]), 100, 80)]"
    found = np.asarray(browser.run(asked, ink.ravel().tolist())).reshape(28, 28)
    rows, columns = np.flatnonzero(found.any(1)), np.flatnonzero(found.any(0))
    assert rows[-1] - rows[0] + 1 == 20
    assert columns[-1] - columns[0] + 1 == 13  # 40 of 60 of 20
    weight = found / found.sum()
    assert abs((weight.sum(1) * np.arange(28)).sum() - 13.5) <= 0.5
    assert abs((weight.sum(0) * np.arange(28)).sum() - 13.5) <= 0.5
    assert not np.asarray(browser.run(asked, np.zeros(8000, int).tolist())).any()


def test_what_cannot_be_asked_or_is_not_there_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="needs the package onnxruntime-web") as found:
        danlu.export(GOLDEN / "table" / "model", format="web")
    assert "npm install onnxruntime-web" in (found.value.hint or "")
    with pytest.raises(ConfigError, match=r"has no onnxruntime-web: expected ort\.wasm"):
        danlu.export(GOLDEN / "table" / "model", format="web", runtime=tmp_path)
    with pytest.raises(ConfigError, match="which only a page needs; the format is 'onnx'"):
        danlu.export(GOLDEN / "table" / "model", runtime=tmp_path)
    for name in ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"):
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(ConfigError, match="a page cannot ask a model for forecast of load"):
        danlu.export(GOLDEN / "series" / "model", format="web", runtime=tmp_path)
    assert not list(tmp_path.glob("*.html"))


def test_names_of_the_users_end_no_script() -> None:
    from danlu.export.heads import Answer

    model, evil = danlu.load(GOLDEN / "table" / "model"), "</script><script>alert(1)</script>"
    columns = tuple(dataclasses.replace(each, name=each.name + evil) for each in model.encoder.schema.columns)
    schema = dataclasses.replace(model.encoder.schema, columns=columns)
    odd = dataclasses.replace(model, encoder=dataclasses.replace(model.encoder, schema=schema))
    runtime = {"runtime": b"a", "machine": b"b"}
    html = web_page(odd, b"c", Answer("label", "probabilities"), runtime)
    plain = web_page(model, b"c", Answer("label", "probabilities"), runtime)
    assert html.count("<script") == plain.count("<script") == html.count("</script>") == 5
    assert not re.search(r"(?:src|href)=[\"']?(?:https?:)?//", html)


def waited(browser: Browser, seconds: float = 60) -> str:
    """What the answer says, once there is one."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        text = browser.run(
            "return document.querySelector('#answer .headline, #answer .failed')?.parentElement.textContent ?? ''"
        )
        if text and not browser.run("return document.querySelector('#h-answer').classList.contains('busy')"):
            return str(text)
        time.sleep(0.1)
    raise AssertionError("no answer")


def chances(browser: Browser) -> dict[str, float]:
    found = browser.run(
        "return [...document.querySelectorAll('#answer .shares li')]"
        ".map((each) => ['.name', 'b'].map((part) => each.querySelector(part).textContent))"
    )
    return {name: float(text.strip("<> %")) / 100 for name, text in found}


@needs_browser
@needs_npm
@pytest.mark.slow
def test_a_form_is_filled_in_and_answered_as_danlu_does(browser: Browser, tmp_path: Path) -> None:
    model = danlu.load(GOLDEN / "table-blend" / "model")
    page = danlu.export(model, tmp_path / "page.html", format="web", runtime=NPM).path
    for width, dark in ((360, True), (1440, False)):
        browser.open(page, width=width, dark=dark)
        waited(browser)
        assert browser.run("return document.documentElement.scrollWidth") <= width
    asked = browser.asked_for()
    assert asked
    assert all(address.startswith(("file:", "data:", "blob:")) for address in asked)
    for city, size, day in (("Oslo", "61.5", "2024-03-05"), (None, "", ""), ("Bern", "1e9", "2031-12-31")):
        browser.run(
            "const [city, size, day] = arguments, tell = (box, kind) => box.dispatchEvent(new Event(kind, {bubbles: true}));"
            "const set = (box, value) => { box.value = value; tell(box, 'input'); tell(box, 'change'); };"
            "const pills = [...document.querySelectorAll('.pills label')];"
            "(pills.find((each) => each.textContent === city) ?? pills.at(-1)).click();"
            "set(document.querySelector('.number input'), size); set(document.querySelector('input[type=date]'), day);"
            "document.querySelector('#answer').replaceChildren(); document.querySelector('.go').click();",
            city, size, day,
        )  # fmt: skip
        told = waited(browser)
        record = {"city": city, "size": float(size) if size else None, "day": day or None}
        [wanted] = model.respond([record], say=lambda line: None)
        assert str(wanted["price"]) in told
        found = chances(browser)
        assert {name: pytest.approx(wanted[f"probability {name}"], abs=6e-4) for name in found} == found
    browser.run("document.querySelector('.switch a[lang=zh]').click()")
    time.sleep(1)
    assert browser.run("return document.documentElement.lang") == "zh"
    assert "dear" in waited(browser) or "cheap" in waited(browser)
    assert "回答" in browser.run("return document.querySelector('#h-answer').textContent")
    assert [each for each in browser.log("browser") if each["level"] == "SEVERE"] == []


def stroke(browser: Browser, points: list[tuple[float, float]]) -> None:
    """A line drawn with the mouse, in shares of the canvas."""
    x0, y0, size = browser.run(
        "const c = document.querySelector('.easel canvas'); c.scrollIntoView({block: 'center'});"
        "const b = c.getBoundingClientRect(); return [b.x, b.y, b.width]"
    )
    at = [{"x": x0 + x * size, "y": y0 + y * size, "button": "left", "buttons": 1} for x, y in points]
    browser.devtools("Input.dispatchMouseEvent", {"type": "mousePressed", "clickCount": 1, **at[0]})
    for each in at[1:]:
        browser.devtools("Input.dispatchMouseEvent", {"type": "mouseMoved", **each})
    browser.devtools("Input.dispatchMouseEvent", {"type": "mouseReleased", "clickCount": 1, **at[-1]})


def seen(browser: Browser) -> np.ndarray:
    """The pixels that the model was shown, as the page shows them."""
    shown = browser.run(
        "const c = document.querySelector('#answer .seen canvas'), d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
        "return [c.height, c.width, [...d].filter((_, place) => place % 4 === 0)]"
    )
    return np.asarray(shown[2], np.uint8).reshape(shown[0], shown[1])


@needs_browser
@needs_npm
@pytest.mark.slow
def test_a_drawing_is_answered_as_danlu_answers_its_pixels(browser: Browser, tmp_path: Path) -> None:
    model = danlu.load(GOLDEN / "image" / "model")
    browser.open(danlu.export(model, tmp_path / "bars.html", format="web", runtime=NPM).path, width=1000)
    for bar in ([(0.5, 0.15), (0.5, 0.85)], [(0.15, 0.5), (0.85, 0.5)]):
        browser.run(
            "document.querySelector('#answer').replaceChildren(); [...document.querySelectorAll('.row .quiet')][0].click()"
        )
        stroke(browser, bar)
        told = waited(browser)
        [wanted] = model.respond([{"image": seen(browser).tolist()}])
        assert str(wanted["label"]) in told
        found = chances(browser)
        assert {name: pytest.approx(wanted[f"probability {name}"], abs=6e-4) for name in found} == found


def digits(folder: Path) -> Path:
    """The zeros and ones of scikit-learn's digits, brought to MNIST's form."""
    from sklearn.datasets import load_digits

    small, labels = load_digits(n_class=2, return_X_y=True)
    pictures = np.zeros((len(small), 28, 28), np.uint8)
    for place, each in enumerate(small):
        picture = Image.fromarray((each.reshape(8, 8) * 15).astype(np.uint8))
        pictures[place, 4:24, 4:24] = np.asarray(picture.resize((20, 20), Image.Resampling.BILINEAR))
    np.savez(folder / "digits.npz", x=pictures, y=labels)
    return folder / "digits.npz"


@needs_browser
@needs_npm
@pytest.mark.slow
def test_a_digit_drawn_with_the_mouse_is_read(browser: Browser, tmp_path: Path) -> None:
    how: dict[str, Any] = {
        "display": "none",
        "say": lambda line: None,
        "evaluate": {"baselines": False, "report": False},
    }
    result = danlu.train(str(digits(tmp_path)), runs=tmp_path / "runs", trainer={"epochs": 8}, **how)
    browser.open(danlu.export(result.run.path, tmp_path / "digits.html", format="web", runtime=NPM).path, width=1000)
    ring = [(0.5 + 0.2 * math.sin(t / 12 * math.pi), 0.5 - 0.32 * math.cos(t / 12 * math.pi)) for t in range(25)]
    for digit, lines in {"1": [[(0.7, 0.1), (0.7, 0.6)]], "0": [ring]}.items():
        browser.run(
            "document.querySelector('#answer').replaceChildren(); [...document.querySelectorAll('.row .quiet')][0].click()"
        )
        for line in lines:
            stroke(browser, line)
        told = waited(browser)
        assert told.startswith(f"label{digit}"), told
        assert "as the digits of MNIST are" in told
        [wanted] = result.model.respond([{"image": seen(browser).tolist()}])
        assert str(wanted["label"]) == digit
