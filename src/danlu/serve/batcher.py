"""Requests gathered into batches, in front of one thread that computes."""

from __future__ import annotations

import asyncio
import dataclasses
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from danlu.serve.together import Answered, Records

__all__ = ["Batcher", "BusyError"]


class BusyError(Exception):
    """Too many rows wait already."""


@dataclasses.dataclass(eq=False)
class _Waiting:
    records: Records
    answer: asyncio.Future[Any]


class Batcher:
    """Gathers requests until there are ``rows``, or until the first has waited ``wait`` seconds, and answers them together.

    While a batch is computed the next one gathers, so that batches grow with the load by themselves. The queue has an end: what does
    not fit is refused at once, since to wait longer than the caller does helps nobody.

    Args:
        work: answers several requests, each with :class:`~danlu.serve.together.Answered` or an exception; called in a thread.
        rows: of a batch, at most; a single request may have more.
        wait: seconds.
        queue: rows that may wait.
        computed: called with the rows of each batch.
    """

    def __init__(
        self,
        work: Callable[[Sequence[Records]], Sequence[Answered | Exception]],
        *,
        rows: int,
        wait: float,
        queue: int,
        computed: Callable[[int], None] = lambda rows: None,
    ) -> None:
        self._work, self._rows, self._wait, self._most, self._computed = work, rows, wait, queue, computed
        self._queue: deque[_Waiting] = deque()
        self._waiting = 0
        self._came = asyncio.Event()
        self._closed = False
        self._thread = ThreadPoolExecutor(1, "danlu-batches")
        self._task: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """Rows that wait."""
        return self._waiting

    async def ask(self, records: Records) -> Answered:
        """The answers to one request.

        Raises:
            BusyError: too many rows wait already.
            DanluError: what ``work`` has against it.
        """
        if self._closed or (self._queue and self._waiting + len(records) > self._most):
            raise BusyError
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        mine = _Waiting(records, asyncio.get_running_loop().create_future())
        self._queue.append(mine)
        self._waiting += len(records)
        self._came.set()
        found: Answered = await mine.answer
        return found

    async def close(self) -> None:
        """Answer what was accepted, then end."""
        self._closed = True
        self._came.set()
        if self._task is not None:
            await self._task
        self._thread.shutdown(wait=False)

    async def _run(self) -> None:
        while self._queue or not self._closed:
            if not self._queue:
                self._came.clear()
                await self._came.wait()
                continue
            await self._gather()
            batch = self._taken()
            if batch:
                await self._answer(batch)

    async def _gather(self) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + self._wait
        while self._waiting < self._rows and not self._closed and (left := end - loop.time()) > 0:
            self._came.clear()
            try:
                await asyncio.wait_for(self._came.wait(), left)
            except TimeoutError:
                return

    def _taken(self) -> list[_Waiting]:
        """The requests of the next batch; those that nobody waits for any more are left out."""
        batch: list[_Waiting] = []
        rows = 0
        while self._queue and (not batch or rows + len(self._queue[0].records) <= self._rows):
            each = self._queue.popleft()
            self._waiting -= len(each.records)
            if not each.answer.done():
                batch.append(each)
                rows += len(each.records)
        return batch

    async def _answer(self, batch: list[_Waiting]) -> None:
        loop = asyncio.get_running_loop()
        try:
            found: Sequence[Any] = await loop.run_in_executor(
                self._thread, self._work, [each.records for each in batch]
            )
        except Exception as error:  # one that nobody made on purpose: the requests end with it, the service goes on
            found = [error] * len(batch)
        self._computed(sum(len(each.records) for each in batch))
        for each, answer in zip(batch, found, strict=True):
            if each.answer.done():
                continue
            if isinstance(answer, Exception):
                each.answer.set_exception(answer)
            else:
                each.answer.set_result(answer)
