import threading
import time
from contextlib import closing

import pytest

from training import parallel


def test_results_come_in_the_order_of_the_items() -> None:
    assert list(parallel.each(lambda number: number * 2, range(50), 4)) == list(range(0, 100, 2))


def test_work_is_done_at_the_same_time() -> None:
    meeting = threading.Barrier(3, timeout=10)
    assert sorted(parallel.each(lambda _: meeting.wait(), range(3), 3)) == [0, 1, 2]


def test_work_that_has_not_begun_is_dropped_when_one_fails() -> None:
    begun: list[int] = []

    def work(number: int) -> None:
        begun.append(number)
        time.sleep(0.005)
        if number == 1:
            raise ValueError(number)

    with pytest.raises(ValueError, match="1"):
        list(parallel.each(work, range(1000), 2))
    assert len(begun) < 100


def test_nothing_runs_any_more_once_the_caller_has_stopped() -> None:
    begun: list[int] = []
    ended: list[int] = []

    def work(number: int) -> int:
        begun.append(number)
        time.sleep(0.005)
        ended.append(number)
        return number

    with closing(parallel.each(work, range(1000), 2)) as results:
        assert next(results) == 0
    assert len(begun) < 100
    assert sorted(ended) == sorted(begun)
