"""Standard streams that accept any text, also where their encoding is not UTF-8 or where they are closed."""

from __future__ import annotations

import codecs
import os
import sys

__all__ = ["print_data", "settle_streams"]

_PLAIN = {
    "…": "...", "−": "-", "–": "-", "—": "-", "×": "x", "·": "*", "±": "+-", "≥": ">=", "≤": "<=", "≈": "~", "→": "->", "←": "<-",
    "›": ">", "•": "*", "“": '"', "”": '"', "‘": "'", "’": "'", "′": "'", "²": "^2", "½": "1/2", "∞": "inf", "Σ": "sum", "√": "sqrt",
    "█": "#", "━": "-", "╸": "-", "╺": "-",
}  # fmt: skip


def settle_streams() -> None:
    """Make the standard streams accept any text, and open missing ones.

    Signs that the terminal's encoding lacks are written in its letters (``...`` for an ellipsis) or as an escape (``\\u5934``), never
    as an error. A stream that was closed (``>&-``) becomes one that leads nowhere, so that no file that is opened later takes its place.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    codecs.register_error("danlu", _in_other_signs)
    for name in ("stdin", "stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            stream = open(os.devnull, "r" if name == "stdin" else "w", encoding="utf-8")  # noqa: SIM115
            setattr(sys, name, stream)
        if name != "stdin" and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="danlu")


def _in_other_signs(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(_sign(sign) for sign in text), error.end


def _sign(sign: str) -> str:
    if 0x2500 <= ord(sign) < 0x2580:  # lines of a table
        return _PLAIN.get(sign) or ("-" if sign in "─═╌┄" else "|" if sign in "│║┆╎" else "+")
    return _PLAIN.get(sign) or sign.encode("ascii", "backslashreplace").decode()


def print_data(text: str) -> None:
    """Print rows for another program: to a file or a pipe as UTF-8, whatever the terminal's encoding."""
    stream = getattr(sys.stdout, "plain", sys.stdout)  # data is not translated
    buffer = None if stream.isatty() else getattr(stream, "buffer", None)
    if buffer is None:
        print(text, end="", file=stream)
        return
    stream.flush()
    buffer.write(text.encode())
    buffer.flush()
