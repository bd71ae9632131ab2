"""Sabotages danlu on purpose, one change at a time, and sees that a row of ``danlu verify`` turns red for each.

The changes are in ``mutations``. Nothing on disk is touched: a process imports JAX and is forked for each mutation; the fork imports
danlu with the one file's source changed on its way in, and runs the rows that must notice.

    python tests/verify/sabotage.py                 all of them (``make sabotage``)
    python tests/verify/sabotage.py --slice 3/20    every twentieth
    python tests/verify/sabotage.py lstm-forget-bias adamw-mask
"""

from __future__ import annotations

import argparse
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import select
import sys
import time
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import CodeType
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parent))

from mutations import MUTATIONS, Mutation

PACKAGE = Path(next(iter(importlib.util.find_spec("danlu").submodule_search_locations)))  # type: ignore[union-attr, arg-type]
SECONDS = 120  # a mutation that takes longer than this is not caught


class Outcome(NamedTuple):
    """What came of a mutation: whether a row noticed, and what there is to say about it."""

    name: str
    caught: bool
    detail: str
    seconds: float


def occurrences(mutation: Mutation) -> int:
    """How often the text that a mutation replaces stands in its file; it must be once."""
    return (PACKAGE / mutation.file).read_text(encoding="utf-8").count(mutation.old)


class _Loader(importlib.machinery.SourceFileLoader):
    """Loads a module from its source with one text in it replaced; compiled copies on disk are neither read nor written."""

    mutation: Mutation

    def get_code(self, fullname: str) -> CodeType:
        text = Path(self.path).read_text(encoding="utf-8")
        return compile(text.replace(self.mutation.old, self.mutation.new), self.path, "exec", dont_inherit=True)


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, mutation: Mutation) -> None:
        self.mutation = mutation
        parts = Path("danlu", mutation.file).with_suffix("").parts
        self.module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: Any = None) -> Any:
        if fullname != self.module:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path)
        if spec is not None and spec.origin is not None:
            loader = _Loader(fullname, spec.origin)
            loader.mutation = self.mutation
            spec.loader = loader
        return spec


def _prepare() -> None:
    """What every fork needs and none changes. JAX computes nothing here: its threads would not survive the fork."""
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    os.environ.setdefault("JAX_NUM_CPU_DEVICES", "2")
    os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")  # rows are compiled once each, so quickly
    os.environ.setdefault("DANLU_CACHE", str(Path(__file__).parents[2] / ".cache" / "xla"))  # what no mutation changes
    import jax
    import jax.numpy
    import polars
    import scipy.stats
    import sklearn.linear_model
    import sklearn.metrics
    import sklearn.preprocessing

    del jax, polars, scipy, sklearn


def _look(mutation: Mutation | None, rows: Sequence[str]) -> dict[str, Any]:
    """In a fork: run the rows, stopping at the first that fails."""
    if mutation is not None:
        sys.meta_path.insert(0, _Finder(mutation))
    from danlu.engine import enable_compilation_cache
    from danlu.verify import verify

    enable_compilation_cache()
    for pattern in rows:
        report = verify(pattern)
        for row in report.rows:
            if not row.passed:
                return {"row": row.name, "error": repr(row.error), "note": row.note}
    return {"row": ""}


def _fork(mutation: Mutation | None, rows: Sequence[str]) -> tuple[int, int]:
    """The process and the end of a pipe that its answer comes from."""
    read, write = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that JAX has threads; it has none yet
        process = os.fork()
    if process:
        os.close(write)
        return process, read
    os.close(read)
    try:
        answer = _look(mutation, rows)
    except BaseException:
        answer = {"broken": traceback.format_exc(limit=-2)}
    with os.fdopen(write, "w") as pipe:
        json.dump(answer, pipe)
    os._exit(0)


def _judged(mutation: Mutation, text: str, seconds: float) -> Outcome:
    answer = json.loads(text) if text else {"broken": f"no answer in {seconds:.0f} s"}
    if "broken" in answer:
        return Outcome(mutation.name, False, f"the mutated package does not run: {answer['broken']}", seconds)
    if not answer["row"]:
        return Outcome(mutation.name, False, f"no row noticed: {' '.join(mutation.rows)} pass", seconds)
    wrong = not answer["note"].startswith("differs from")
    if wrong:  # a NameError is no wrong result: what was to be tried was not tried
        return Outcome(mutation.name, False, f"{answer['row']} did not compare: {answer['note']}", seconds)
    return Outcome(mutation.name, True, f"{answer['row']} off by {float(answer['error']):.1e}", seconds)


def attempt(mutations: Sequence[Mutation], *, at_once: int = 2) -> list[Outcome]:
    """Try each mutation in a process of its own, a few at a time, and print what comes of it."""
    _prepare()
    waiting, running, outcomes = list(mutations), {}, []
    while waiting or running:
        while waiting and len(running) < at_once:
            mutation = waiting.pop(0)
            process, pipe = _fork(mutation, mutation.rows)
            running[pipe] = (mutation, process, time.monotonic())
        ready, _, _ = select.select(list(running), [], [], 1.0)
        now = time.monotonic()
        for pipe in list(running):
            mutation, process, begun = running[pipe]
            if pipe not in ready and now - begun < SECONDS:
                continue
            text = ""
            if pipe in ready:
                with os.fdopen(pipe) as file:
                    text = file.read()
            else:
                os.kill(process, 9)
                os.close(pipe)
            os.waitpid(process, 0)
            del running[pipe]
            outcome = _judged(mutation, text, now - begun)
            print(f"{'caught' if outcome.caught else 'MISSED'}  {outcome.name:36s} {outcome.detail}", flush=True)
            outcomes.append(outcome)
    return outcomes


def untouched(mutations: Sequence[Mutation]) -> str:
    """The row that fails without any mutation, or "": a row that is always red notices nothing."""
    _prepare()
    rows = sorted({row for mutation in mutations for row in mutation.rows})
    process, pipe = _fork(None, rows)
    with os.fdopen(pipe) as file:
        answer = json.loads(file.read() or '{"broken": "no answer"}')
    os.waitpid(process, 0)
    return str(answer.get("broken") or answer["row"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("names", nargs="*", help="mutations to try; all when none is named")
    parser.add_argument("--slice", metavar="I/N", help="every N-th mutation, from number I on")
    parser.add_argument("--at-once", type=int, default=2, help="processes side by side")
    options = parser.parse_args()
    chosen = [mutation for mutation in MUTATIONS if not options.names or mutation.name in options.names]
    if options.slice:
        first, count = map(int, options.slice.split("/"))
        chosen = chosen[first % count :: count]
    begun = time.monotonic()
    rotten = [mutation.name for mutation in chosen if occurrences(mutation) != 1]
    if rotten or not chosen:
        print(f"the text to replace is not there exactly once: {', '.join(rotten)}" if rotten else "no such mutation")
        return 1
    if not options.slice and not options.names and (red := untouched(chosen)):
        print(f"fails without any mutation: {red}")
        return 1
    outcomes = attempt(chosen, at_once=options.at_once)
    missed = [outcome.name for outcome in outcomes if not outcome.caught]
    print(
        f"{len(outcomes) - len(missed)} of {len(outcomes)} mutations are caught, in {time.monotonic() - begun:.0f} s"
        + (f"; missed: {', '.join(missed)}" if missed else "")
    )
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
