"""Many small pieces of work at once, in threads."""

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def each(function: Callable[[Item], Result], items: Sequence[Item], workers: int) -> Generator[Result, None, None]:
    """Call a function on every item.

    When one fails, or when the generator is closed, no other is begun, and those that have begun are waited for.

    Args:
        function: called in threads; what it raises is raised here.
        items: what it is called with.
        workers: how many at once.

    Yields:
        The results, in the order of the items.
    """
    pool = ThreadPoolExecutor(workers)
    try:
        futures = [pool.submit(function, item) for item in items]
        for future in futures:
            yield future.result()
    finally:
        pool.shutdown(cancel_futures=True)
