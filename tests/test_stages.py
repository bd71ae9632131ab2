"""Stages: what is shown of a long job, and when."""

import io
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest

from danlu.errors import ConfigError
from danlu.evaluate import baselines
from danlu.evaluate.baselines import within
from danlu.stages import LiveDisplay, PlainDisplay, Stage, duration, showing, shown, stage, track


@pytest.fixture
def hurried(monkeypatch):
    """Plain lines after hundredths of what users wait."""
    for name, value in {"soon": 0.03, "every": 0.1, "tick": 0.01}.items():
        monkeypatch.setattr(PlainDisplay, name, value)


def test_a_single_long_call_still_shows_signs_of_life(hurried, capfd):
    with showing("plain"), stage("judging"), stage("logistic regression", limit=60):
        time.sleep(0.5)
    lines = capfd.readouterr().err.splitlines()
    assert 3 <= len(lines) <= 8
    assert lines[0].startswith("judging › logistic regression: 0s of at most 1m00s")


def test_what_is_quick_is_not_mentioned_and_what_was_just_told_is_not_told_again(hurried, capfd):
    with showing("plain") as display:
        with stage("quick"):
            pass
        with stage("chatty"):
            for number in range(6):
                display.line(f"line {number}")
                time.sleep(0.02)
    assert capfd.readouterr().err.splitlines() == [f"line {number}" for number in range(6)]


def test_nothing_is_shown_without_a_display(hurried, capfd):
    with stage("alone"):
        time.sleep(0.1)
    with showing("none"), stage("silent"):
        time.sleep(0.1)
    assert capfd.readouterr() == ("", "")


def test_displays_do_not_nest_and_are_closed_by_errors(hurried, capfd):
    with pytest.raises(ValueError), showing("plain") as outer:  # noqa: PT011, PT012
        with showing("live") as inner:
            assert inner is outer is shown()
        with stage("over"):
            assert outer.text().startswith("over: ")
        assert outer.text() == ""
        with stage("failing"):
            raise ValueError
    assert shown() is None
    assert not outer.stages
    assert not outer._thread.is_alive()
    with pytest.raises(ConfigError, match="did you mean 'plain'"), showing("plan"):
        pass


def test_time_left_goes_by_the_pace(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    step = Stage("training", total=10)
    assert step.left() is None
    now[0] += 50  # compiling
    step.pace()
    now[0] += 4
    step.advance(2)
    assert step.left() == pytest.approx(16)
    assert str(step) == "training: 20 %, 16s left"
    step.at_most, step.unit = True, "rows"
    assert str(step) == "training: 2/10 rows, at most 16s left"


def test_tracked_things_are_counted(hurried, capfd):
    with showing("plain"):
        for _ in track(range(3), "counting", total=3, unit="files"):
            time.sleep(0.12)
    assert "counting: 1/3 files" in capfd.readouterr().err


def test_a_live_line_leaves_standard_output_alone(monkeypatch, capfd):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    with showing("auto") as display:
        assert isinstance(display, LiveDisplay)
        with stage("reading", total=2) as step:
            step.advance()
            print("a result")
            time.sleep(0.3)
            display.line("a line that stays")
    assert capfd.readouterr().out == "a result\n"
    assert "reading" in screen.getvalue()
    assert "a line that stays" in screen.getvalue()


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0s"), (59.4, "59s"), (60, "1m00s"), (3599, "59m59s"), (3600, "1h00m")]
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def _clock(monkeypatch, now):
    """Another clock for the baselines alone: what is imported meanwhile must not keep it."""
    monkeypatch.setattr(sys.modules[within.__module__], "time", SimpleNamespace(perf_counter=now))


def test_a_fit_is_given_as_many_rows_as_the_time_allows(monkeypatch):
    now, fits = [0.0], []
    _clock(monkeypatch, lambda: now[0])

    def attempt(kept):
        assert (np.diff(kept) > 0).all()
        now[0] += len(kept) * 1e-3  # seconds a row
        fits.append(len(kept))
        return len(kept)

    for rows, seconds in ((50_000, 30.0), (50_000, 1e6), (1000, 1.0), (50_000, 0.1)):
        now[0], fits = 0.0, []
        found, used, took = within(attempt, rows, seconds=seconds)
        assert found == used == fits[-1]
        assert took == pytest.approx(now[0])
        assert took <= max(seconds, min(rows, 2000) * 1e-3)
        if seconds == 1e6:
            assert fits == [2000, 50_000]  # what is far from the limit is not approached in steps
        if seconds == 30.0:
            assert used > 8000


def test_a_baseline_that_learnt_from_fewer_rows_says_so(monkeypatch):
    _clock(monkeypatch, iter(np.arange(0, 1000, 10.0)).__next__)
    rng = np.random.default_rng(0)
    x = {"numeric": rng.normal(size=(3000, 2))}
    found = baselines("regression", (x, x["numeric"][:, 0]), x, seconds=5.0, names=("linear",))
    assert found["linear"].notes == ("fitted to 2,000 of the 3,000 rows",)
