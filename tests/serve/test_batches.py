"""Requests answered together: each as if alone, none forgotten, and no more than there is room for."""

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import pytest
from golden_rows import GOLDEN
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("fastapi")
import danlu
from danlu.errors import DanluError, SchemaError
from danlu.serve.batcher import Batcher, BusyError
from danlu.serve.together import Answered, respond_together

ROW = {"city": "Bern", "size": 40.5, "day": "2024-05-01"}
FAR, WRONG, OTHER = {**ROW, "size": 1e9}, {**ROW, "city": "Berlin"}, {**ROW, "city": "Oslo", "size": None}


@pytest.fixture(scope="module")
def model() -> Any:
    return danlu.load(GOLDEN / "table" / "model")


class Counting:
    """A model that answers each record with itself and counts its passes; what is negative is refused, what is odd is remarked on."""

    def __init__(self) -> None:
        self.passes = 0

    def respond(self, records: Sequence[Any], *, say: Any) -> list[dict[str, Any]]:
        self.passes += 1
        for number, record in enumerate(records, 1):
            if record < 0:
                raise SchemaError(f"record {number} is {record}")
        for number, record in enumerate(records, 1):
            if record % 2:
                say(f"record {number} is odd")
        return [{"is": record} for record in records]


@given(st.lists(st.lists(st.integers(-3, 40), min_size=1, max_size=3), min_size=1, max_size=9))
@settings(deadline=None, max_examples=60)
def test_together_is_as_alone(requests: list[list[int]]) -> None:
    def told(found: Any) -> Any:
        return str(found) if isinstance(found, DanluError) else found

    together, alone = Counting(), Counting()
    found = respond_together(together, requests)
    assert [told(each) for each in found] == [told(respond_together(alone, [each])[0]) for each in requests]


def test_one_bad_request_costs_few_passes() -> None:
    model = Counting()
    found = respond_together(model, [[2]] * 100 + [[-1]] + [[2]] * 155)
    assert isinstance(found[100], SchemaError)
    assert found[0] == Answered([{"is": 2}], ())
    assert model.passes == 1 + 2 * 8


def test_a_table_answers_each_request_as_alone(model: Any) -> None:
    requests = [[ROW], [FAR], [ROW, OTHER], [WRONG], [OTHER]]
    found = respond_together(model, requests)
    assert found[0].answers == found[2].answers[:1] == model.respond([ROW])
    assert found[2].answers[1:] == found[4].answers == model.respond([OTHER])
    assert found[0].notes == found[2].notes == found[4].notes == ()
    assert "far outside" in found[1].notes[0]
    assert "(row 1)" in found[1].notes[0]
    assert "Berlin" in str(found[3])
    assert "(row 1)" in str(found[3])


class Slow:
    """Work that waits until it may go on, and says what it was given."""

    def __init__(self) -> None:
        self.may, self.batches = threading.Event(), []

    def __call__(self, requests: Sequence[Any]) -> list[Answered]:
        self.batches.append([list(each) for each in requests])
        assert self.may.wait(20)
        return [Answered([{"is": record} for record in each], ()) for each in requests]


async def until(true: Any) -> None:
    for _ in range(2000):
        if true():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not come to be")


def test_what_comes_while_a_batch_is_computed_is_one_batch() -> None:
    async def main() -> None:
        work = Slow()
        batcher = Batcher(work, rows=4, wait=0.0, queue=100)
        first = asyncio.create_task(batcher.ask([0]))
        await until(lambda: work.batches)
        others = [asyncio.create_task(batcher.ask([number])) for number in range(1, 7)]
        await until(lambda: batcher.waiting == 6)
        work.may.set()
        assert [(await each).answers for each in (first, *others)] == [[{"is": number}] for number in range(7)]
        assert work.batches == [[[0]], [[1], [2], [3], [4]], [[5], [6]]]
        await batcher.close()

    asyncio.run(main())


def test_a_full_queue_refuses_and_what_was_given_up_is_not_computed() -> None:
    async def main() -> None:
        work = Slow()
        batcher = Batcher(work, rows=8, wait=0.0, queue=3)
        first = asyncio.create_task(batcher.ask([0]))
        await until(lambda: work.batches)
        waits, given_up = (asyncio.create_task(batcher.ask([number])) for number in (1, 2))
        await until(lambda: batcher.waiting == 2)
        with pytest.raises(BusyError):
            await batcher.ask([3, 3])
        given_up.cancel()
        work.may.set()
        assert (await first).answers == [{"is": 0}]
        assert (await waits).answers == [{"is": 1}]
        assert work.batches == [[[0]], [[1]]]
        await batcher.close()

    asyncio.run(main())


def test_what_was_accepted_is_answered_before_the_end() -> None:
    async def main() -> None:
        work = Slow()
        batcher = Batcher(work, rows=2, wait=1.0, queue=100)
        asked = [asyncio.create_task(batcher.ask([number])) for number in range(5)]
        await until(lambda: work.batches)
        ending = asyncio.create_task(batcher.close())
        await asyncio.sleep(0)
        with pytest.raises(BusyError):
            await batcher.ask([9])
        work.may.set()
        assert [(await each).answers[0]["is"] for each in asked] == [0, 1, 2, 3, 4]
        await ending

    asyncio.run(main())


def test_an_unforeseen_error_ends_its_batch_alone() -> None:
    async def main() -> None:
        def work(requests: Sequence[Any]) -> list[Answered]:
            if requests[0][0] == 0:
                raise ZeroDivisionError
            return [Answered([], ())] * len(requests)

        batcher = Batcher(work, rows=1, wait=0.0, queue=100)
        with pytest.raises(ZeroDivisionError):
            await batcher.ask([0])
        assert (await batcher.ask([1])).answers == []
        await batcher.close()

    asyncio.run(main())
