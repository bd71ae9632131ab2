"""A browser without a window, by the WebDriver protocol: a page is opened as a reader opens it.

The protocol is JSON over HTTP, and chromedriver speaks it, so that nothing has to be installed for Python.

Reference: W3C, "WebDriver" (2018); chromedriver's own commands start with ``goog`` and reach the DevTools protocol.
"""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["Browser", "missing"]

_CHROMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_ARGUMENTS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars")


def missing() -> str:
    """Why no browser can be started here; empty where one can."""
    if shutil.which("chromedriver") is None:
        return "chromedriver is not installed (Debian: apt-get install chromium chromium-driver)"
    return "" if any(map(shutil.which, _CHROMES)) else "Chromium is not installed (Debian: apt-get install chromium)"


class Browser:
    """One browser; close it at the end.

    Example:
        >>> browser = Browser()  # doctest: +SKIP
        >>> browser.open(Path("report.html"), width=360)  # doctest: +SKIP
        >>> browser.run("return document.title")  # doctest: +SKIP
        'run · danlu'
    """

    def __init__(self) -> None:
        self._driver = subprocess.Popen(
            ["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        for line in self._driver.stdout or ():
            if "started successfully on port" in line:
                self._at = f"http://127.0.0.1:{line.rstrip().rstrip('.').split()[-1]}/session"
                break
        else:
            raise RuntimeError("chromedriver did not start")
        binary = next(filter(None, map(shutil.which, _CHROMES)))
        wanted = {
            "goog:chromeOptions": {"binary": binary, "args": list(_ARGUMENTS)},
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }
        session = self._asked("POST", "", {"capabilities": {"alwaysMatch": wanted}})
        self._at += "/" + session["sessionId"]

    def close(self) -> None:
        """End the browser and its driver."""
        try:
            self._asked("DELETE", "")
        finally:
            self._driver.terminate()
            self._driver.wait(10)
            if self._driver.stdout:
                self._driver.stdout.close()

    def open(
        self, page: Path | str, *, width: int, height: int = 800, dark: bool = False, media: str = "screen"
    ) -> None:
        """Show a file, or what is at an address, at a width in CSS pixels, as on a screen of that width or as it is printed."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.devtools("Emulation.setDeviceMetricsOverride", size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.devtools("Emulation.setEmulatedMedia", {"media": media, "features": [scheme]})
        self.log("browser"), self.log("performance")  # what was there before
        self._asked("POST", "/url", {"url": page if isinstance(page, str) else page.resolve().as_uri()})

    def run(self, script: str, *given: Any) -> Any:
        """What a piece of JavaScript returns, its ``arguments`` being those given."""
        return self._asked("POST", "/execute/sync", {"script": script, "args": list(given)})

    def press(self, key: str) -> None:
        """Press a key, by the name that JavaScript gives it, such as ``ArrowRight``."""
        text = {"Enter": "\r", " ": " "}.get(key, key if len(key) == 1 else "")
        codes = {"ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, "Escape": 27, "Enter": 13, " ": 32}
        code = {"key": key, "windowsVirtualKeyCode": codes.get(key, ord(key[0].upper()))}
        self.devtools("Input.dispatchKeyEvent", {"type": "keyDown", "text": text, **code})
        self.devtools("Input.dispatchKeyEvent", {"type": "keyUp", **code})

    def point(self, x: float, y: float, *, click: bool = False) -> None:
        """Move the pointer to a place in the window, and click there."""
        at = {"x": x, "y": y}
        self.devtools("Input.dispatchMouseEvent", {"type": "mouseMoved", **at})
        if click:
            for kind in ("mousePressed", "mouseReleased"):
                self.devtools("Input.dispatchMouseEvent", {"type": kind, "button": "left", "clickCount": 1, **at})

    def type(self, text: str) -> None:
        """Write a text where the focus is."""
        self.devtools("Input.insertText", {"text": text})

    def wait(self, script: str, *given: Any, seconds: float = 30.0) -> Any:
        """What a piece of JavaScript returns as soon as that is something.

        Raises:
            TimeoutError: it was nothing for so long.
        """
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if found := self.run(script, *given):
                return found
            time.sleep(0.05)
        raise TimeoutError(f"{script[:200]} gave nothing for {seconds:g} seconds")

    def picture(self, path: Path, *, whole: bool = True) -> Path:
        """A PNG of the page, or of what the window shows."""
        shot = self.devtools(
            "Page.captureScreenshot",
            {
                "format": "png",
                "captureBeyondViewport": whole,
                **(
                    {
                        "clip": {
                            "x": 0,
                            "y": 0,
                            "scale": 1,
                            **self.run("return {width: innerWidth, height: document.documentElement.scrollHeight}"),
                        }
                    }
                    if whole
                    else {}
                ),
            },
        )
        path.write_bytes(base64.b64decode(shot["data"]))
        return path

    def pdf(self) -> bytes:
        """The page as it is printed on A4."""
        told = self.devtools("Page.printToPDF", {"paperWidth": 8.27, "paperHeight": 11.69, "printBackground": True})
        return base64.b64decode(told["data"])

    def log(self, kind: str) -> list[Mapping[str, Any]]:
        """The lines since it was asked last: ``"browser"`` (the console) or ``"performance"`` (DevTools' events)."""
        found: list[Mapping[str, Any]] = self._asked("POST", "/se/log", {"type": kind})
        return found

    def asked_for(self) -> list[str]:
        """The addresses that the page asked for since it was opened."""
        events = [json.loads(line["message"])["message"] for line in self.log("performance")]
        sent = [each for each in events if each["method"] == "Network.requestWillBeSent"]
        return [each["params"]["request"]["url"] for each in sent]

    def devtools(self, command: str, given: Mapping[str, Any]) -> Any:
        """Ask the browser itself."""
        return self._asked("POST", "/goog/cdp/execute", {"cmd": command, "params": given})

    def _asked(self, method: str, path: str, given: Mapping[str, Any] | None = None) -> Any:
        data = None if given is None else json.dumps(given).encode()
        request = urllib.request.Request(self._at + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            with error:
                raise RuntimeError(json.load(error)["value"]["message"]) from None
