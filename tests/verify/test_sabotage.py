"""Each mistake in ``mutations`` turns a row of ``danlu verify`` red: a few of them in each run, all of them by ``make sabotage``."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import sabotage
from mutations import MUTATIONS
from today import number_of_today

from danlu.verify import select

SLICES = 64
NAMED = {
    "lstm-forget-bias",
    "grouped-weight-gradient",
    "adamw-mask",
    "adam-schedule-late",
    "attention-dropout-backward",
    "rmse-without-the-root",
    "interval-of-half",
}


def slice_of_today() -> str:
    """Which mutations this run tries: a number from 0 in ``DANLU_SABOTAGE``, else by the commit, else by the day."""
    if number := os.environ.get("DANLU_SABOTAGE"):
        return f"{number}/{SLICES}"
    return f"{number_of_today() % SLICES}/{SLICES}"


def test_the_texts_that_are_replaced_still_stand_there_once() -> None:
    wrong = {mutation.name: sabotage.occurrences(mutation) for mutation in MUTATIONS}
    assert {name: count for name, count in wrong.items() if count != 1} == {}


def test_the_mutations_are_many_different_ones_and_name_rows_that_exist() -> None:
    names = [mutation.name for mutation in MUTATIONS]
    assert len(names) >= 150
    assert len(set(names)) == len(names)
    assert set(names) >= NAMED
    for mutation in MUTATIONS:
        assert mutation.old != mutation.new
        assert select(mutation.rows)


def test_a_mutation_that_nobody_notices_is_missed() -> None:
    """The words of a docstring change no result; a misspelt name raises, which is no wrong result either."""
    file, row = "optim/schedules/constant.py", ("schedule.constant",)
    harmless = sabotage.Mutation("harmless", file, "Always ``value``.", "Never ``value``.", row)
    misspelt = sabotage.Mutation("misspelt", file, "(self.value", "(self.valeu", row)
    assert [sabotage.occurrences(each) for each in (harmless, misspelt)] == [1, 1]
    code = (
        "import sabotage; from sabotage import Mutation\n"
        f"print([outcome.caught for outcome in sabotage.attempt([{harmless!r}, {misspelt!r}])])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parent, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[False, False]", done.stdout
    assert "no row noticed" in done.stdout
    assert "did not compare: AttributeError" in done.stdout


def test_a_slice_of_the_mutations_is_caught() -> None:
    part = slice_of_today()
    done = subprocess.run(
        [sys.executable, sabotage.__file__, "--slice", part], capture_output=True, text=True, check=False
    )
    number = part.partition("/")[0]
    assert done.returncode == 0, f"DANLU_SABOTAGE={number} tries these again\n{done.stdout}{done.stderr[-2000:]}"
