"""Work that threads do ahead of its use, in an order that does not depend on their number."""

from __future__ import annotations

import collections
import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

__all__ = ["ordered"]

_MOST_WORKERS = 8


def ordered(
    function: Callable[[Any], Any], items: Iterable[Any], *, workers: int | None = None, ahead: int | None = None
) -> Iterator[Any]:
    """``function(item)`` for each item, in their order whatever the number of threads, some ahead of their use.

    Args:
        function: what a thread does; it helps where Python's lock is let go, as in decoding and resizing images.
        workers: threads; None takes one more than there are processors, at most 8.
        ahead: how many items are begun before they are asked for; None is two a thread.

    Example:
        >>> list(ordered(str, [3, 1, 2], workers=2))
        ['3', '1', '2']
    """
    count = workers or min(_MOST_WORKERS, (os.cpu_count() or 1) + 1)
    waiting: collections.deque[Future[Any]] = collections.deque()
    rest = iter(items)
    with ThreadPoolExecutor(count, thread_name_prefix="danlu-decode") as pool:
        try:
            waiting.extend(pool.submit(function, item) for item in itertools.islice(rest, ahead or 2 * count))
            while waiting:
                result = waiting.popleft().result()
                waiting.extend(pool.submit(function, item) for item in itertools.islice(rest, 1))
                yield result
        finally:
            for future in waiting:
                future.cancel()
