"""The audit of tables: every planted fault is named by column and rows, and a clean table has none."""

from __future__ import annotations

import pytest
from planted import FAULTS, clean, prices

import danlu

_FOLLOWS = {"drift": ("files told apart",)}


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_named(name: str) -> None:
    table, check, columns, rows, how = FAULTS[name]()
    share = how.pop("share", 1.0)
    found = danlu.audit(table, target="bought", **{"label_errors": False, **how})
    own = [each for each in found.of_check(check) if set(columns) <= set(each.columns)]
    assert own, f"{check} of {columns} is not among {[(each.check, each.columns) for each in found]}"
    named = set(own[0].rows)
    if share == 1.0 or not rows:
        assert named == set(rows or ()), "the rows"
    else:
        assert len(named & set(rows)) >= share * len(rows)
        assert len(named - set(rows)) <= (1 - share) * len(rows)
    assert own[0].said
    assert own[0].remedy
    others = [each for each in found.alarms if each.check not in (check, *_FOLLOWS.get(check, ()))]
    assert not others, "what is not planted is not named"


@pytest.mark.parametrize("make", [clean, prices])
def test_a_clean_table_has_no_fault(make) -> None:  # type: ignore[no-untyped-def]
    found = danlu.audit(make(), target="bought", against=make())
    assert [each.check for each in found.alarms] == ["rows in both files"]
    assert not danlu.audit(make(), target="bought").alarms
