"""Streams of every kind: an encoding that lacks our signs, a reader that has gone, no stream at all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import sys
from danlu.cli.terminal import print_data, settle_streams
settle_streams()
if sys.argv[1:] == ["data"]:
    print_data("年龄,…\\n")
else:
    print("loss … −0.5 ± 3 × 年龄 ² ü " + chr(0xDCFF))
    print("│─┐", file=sys.stderr)
"""


def said(encoding: str, *arguments: str) -> tuple[bytes, bytes]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        capture_output=True, check=True, env={**os.environ, "PYTHONIOENCODING": encoding},
    )  # fmt: skip
    return done.stdout.rstrip(), done.stderr.rstrip()


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        ("ascii", rb"loss ... -0.5 +- 3 x \u5e74\u9f84 ^2 \xfc \udcff"),
        ("latin-1", b"loss ... -0.5 \xb1 3 \xd7 \\u5e74\\u9f84 \xb2 \xfc \\udcff"),
        ("cp1252", b"loss \x85 -0.5 \xb1 3 \xd7 \\u5e74\\u9f84 \xb2 \xfc \\udcff"),
        ("utf-8", "loss … −0.5 ± 3 × 年龄 ² ü ".encode() + rb"\udcff"),
    ],
)  # fmt: skip
def test_what_the_terminal_lacks_is_written_in_its_signs(encoding: str, expected: bytes) -> None:
    out, err = said(encoding)
    assert out == expected
    assert err == ("│─┐".encode() if encoding == "utf-8" else b"|-+")


def test_rows_in_a_file_or_pipe_are_utf8() -> None:
    assert said("ascii", "data")[0] == "年龄,…".encode()


def test_streams_that_are_closed() -> None:
    """No file that is opened later takes the number of a closed stream."""
    command = f"{sys.executable} -c '{PROGRAM}\nassert open(\"/dev/null\").fileno() > 2\nsys.exit(7)' <&- >&- 2>&-"
    assert subprocess.run(command, shell=True, check=False).returncode == 7


def test_no_pipe_of_our_own_is_taken_for_standard_input(tmp_path: Path) -> None:
    (tmp_path / "inside.py").write_text(
        "import sys\nfrom danlu.cli import app, entry\n"
        "def read():\n    from danlu.data import read_table\n    read_table('-')\n"
        "app.app = read\nentry.main()\n"
    )
    command = f"{sys.executable} {tmp_path / 'inside.py'} <&-"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False, timeout=60)
    assert "standard input is a terminal or a device" in done.stderr
    assert done.returncode == 1


@pytest.mark.parametrize("command", [["--help"], ["train", "--help"]])
def test_the_command_speaks_ascii(command: list[str], tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONIOENCODING": "ascii", "TERM": "dumb"}
    done = subprocess.run(
        [sys.executable, "-m", "danlu", *command], capture_output=True, check=False, env=env, cwd=tmp_path
    )
    assert b"Traceback" not in done.stderr
    assert (done.stdout + done.stderr).isascii()


def test_a_reader_that_has_gone_is_no_error(tmp_path: Path) -> None:
    command = f"{sys.executable} -m danlu train --help | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.strip() in ("0", "1")
    assert done.stderr == ""
