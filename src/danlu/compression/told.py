"""Receipts in words: a table of 80 columns, and what changed in sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from danlu.evaluate.compare import counted
from danlu.evaluate.intervals import figure
from danlu.evaluate.measures import MEASURES
from danlu.language import said
from danlu.prose import WIDTH, padded, short, wide, wrapped

if TYPE_CHECKING:
    from danlu.compression.race import Ratio, Speed
    from danlu.compression.receipt import Receipt, Receipts

__all__ = ["changes", "how_measured", "in_bytes", "lines_of", "milliseconds", "told"]

_LABEL = 26
_MOST = 3  # stages side by side
_SAME = 0.01  # a share by which bytes may differ and be said to be as before


def in_bytes(count: float) -> str:
    """Bytes in thousands, as files are listed.

    >>> in_bytes(812), in_bytes(41_300), in_bytes(2_512_000)
    ('812 B', '41.3 kB', '2.51 MB')
    """
    for size, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count:.0f} B"


def milliseconds(seconds: float) -> str:
    """A short time.

    >>> milliseconds(0.00123), milliseconds(0.0000412), milliseconds(1.5)
    ('1.23 ms', '41.2 µs', '1,500 ms')
    """
    return (
        f"{1e6 * seconds:.3g} µs"
        if seconds < 1e-3
        else f"{1e3 * seconds:,.3g} ms"
        if seconds < 1
        else f"{1e3 * seconds:,.0f} ms"
    )


def lines_of(found: Receipts) -> list[tuple[str, list[str]]]:
    """The table: what was measured, and its values by stage; what was not measured of any stage is left out."""
    stages = found.stages

    def speed(key: tuple[str, int]) -> list[str]:
        return ["–" if key not in each.speeds else _speed(each.speeds[key]) for each in stages]

    def memory(engine: str) -> list[str]:
        return ["–" if engine not in each.memory else in_bytes(each.memory[engine]) for each in stages]

    rows = [
        ("size on disk", [in_bytes(each.bytes) for each in stages]),
        ("as one ONNX file", ["–" if each.file is None else in_bytes(each.file) for each in stages]),
        ("parameters", [f"{each.parameters:,}" for each in stages]),
        ("not 0", [f"{each.nonzero:,}" for each in stages]),
        ("multiply-adds of a row", [f"{each.multiply_adds:,}" for each in stages]),
        ("danlu, 1 row", speed(("danlu", 1))),
        ("danlu, 256 rows", speed(("danlu", 256))),
        ("onnxruntime, 1 row", speed(("onnxruntime", 1))),
        ("onnxruntime, 256 rows", speed(("onnxruntime", 256))),
        ("peak memory, danlu", memory("danlu")),
        ("peak memory, onnxruntime", memory("onnxruntime")),
    ]
    if stages[0].score is not None:
        measure = MEASURES[stages[0].measure].label
        rows.append((measure, ["–" if each.score is None else figure(each.score.value) for each in stages]))
        ends = [
            "–" if each.score is None else f"{figure(each.score.low, 3)} to {figure(each.score.high, 3)}"
            for each in stages
        ]
        rows.append(("95 % interval", ends))
    return [(label, values) for label, values in rows if any(value != "–" for value in values)]


def _speed(speed: Speed) -> str:
    return f"{milliseconds(speed.median)} ±{100 * (speed.high - speed.low) / 2 / speed.median:.0f}%"


def changes(found: Receipts, number: int = -1) -> list[str]:
    """What a stage is beside the first one, in sentences; "faster" is said only where the interval of the ratio is above 1."""
    first, last = found.stages[0], found.stages[number]
    said = [_times("size on disk", first.bytes, last.bytes)]
    if first.file is not None and last.file is not None:
        said.append(_times("ONNX file", first.file, last.file))
    said += [f"{engine}, {counted(rows, 'rows')}: {_ratio(ratio)}" for (engine, rows), ratio in last.ratios.items()]
    for engine in last.memory:
        if engine in first.memory:
            said.append(_memory(f"peak memory, {engine}", first.memory[engine], last.memory[engine]))
    score = _score(found, first, last)
    return said + ([score] if score else [])


def _times(what: str, before: int, after: int) -> str:
    if abs(after / before - 1) < _SAME:
        return f"{what}: as before"
    return (
        f"{what}: {before / after:.3g} times smaller"
        if after < before
        else f"{what}: {after / before:.3g} times as large"
    )


def _memory(what: str, before: int, after: int) -> str:
    if abs(after / before - 1) < _SAME:
        return f"{what}: as before"
    less, of = in_bytes(abs(before - after)), in_bytes(before)
    return f"{what}: {less} less than {of}" if after < before else f"{what}: {less} more than {of}"


def _ratio(ratio: Ratio) -> str:
    if ratio.verdict == "faster":
        return f"{ratio.value:.3g} times faster (95 % interval {ratio.low:.3g} to {ratio.high:.3g})"
    if ratio.verdict == "slower":
        return (
            f"slower, {1 / ratio.value:.3g} times the time (95 % interval {1 / ratio.high:.3g} to {1 / ratio.low:.3g})"
        )
    return f"no clear difference ({ratio.low:.3g} to {ratio.high:.3g} times the speed)"


def _score(found: Receipts, first: Receipt, last: Receipt) -> str:
    compared = last.compared
    if compared is None or first.score is None:
        return ""
    label, tested = MEASURES[compared.metric].label, counted(found.rows, found.noun)
    gap = compared.difference
    ends = f"95 % interval of the gain {figure(gap.low, 2)} to {figure(gap.high, 2)}"
    if compared.few:
        return f"{label}: {compared.few}"
    if compared.verdict == "undecided":
        return f"{label}: no loss that {tested} can tell ({ends})"
    how = "better" if compared.verdict == "better" else "WORSE"
    return f"{label}: {how} by {figure(abs(gap.value), 2)} on {tested} ({ends})"


def how_measured(found: Receipts) -> str:
    """How the numbers came about, in a few sentences."""
    threads = counted(found.threads, "threads")
    return (
        f"Times: median of {found.rounds} rounds in which the models took turns, compiled before, ± half the middle 50 %. "
        f"danlu: the compiled network on encoded rows, on all {found.cores} cores. "
        f"onnxruntime: the whole ONNX file, from the columns to the answer, {threads}. "
        "Memory: the most of a fresh process for 256 rows, the libraries included."
    )


def told(found: Receipts) -> str:
    """The table, the changes and how it was measured."""
    rows, stages = lines_of(found), found.stages
    parts = []
    rest = list(range(1, len(stages))) or [0]
    for begin in range(0, len(rest), _MOST - 1):
        shown = ([0] if len(stages) > 1 else []) + rest[begin : begin + _MOST - 1]
        names = [short(said(stages[place].name), 16) for place in shown]
        widths = [
            max(wide(name), *(wide(values[place]) for _, values in rows)) + 2
            for name, place in zip(names, shown, strict=True)
        ]
        lines = [
            " " * _LABEL + "".join(padded(name, width, right=True) for name, width in zip(names, widths, strict=True))
        ]
        lines.append("─" * min(WIDTH, wide(lines[0])))
        for label, values in rows:
            cells = (padded(values[place], width, right=True) for place, width in zip(shown, widths, strict=True))
            lines.append(padded(short(said(label), _LABEL), _LABEL) + "".join(cells))
        parts.append("\n".join(lines))
    if len(stages) > 1:
        parts.append("\n".join(wrapped(f"- {said(each)}", indent="  ") for each in changes(found)))
    parts.append("\n".join([wrapped(how_measured(found)), *(wrapped(note) for note in found.notes)]))
    return "\n\n".join(parts)
