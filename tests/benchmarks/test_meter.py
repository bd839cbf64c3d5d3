import threading

import pytest

from benchmarks.meter import Meter, Spent


def test_the_handlers_own_time_is_without_their_waits() -> None:
    assert Spent(handlers=5.0, waits=3.0, model=2.0).own == 2.0


def test_what_was_spent_between_two_looks() -> None:
    later = Spent(handlers=5.0, waits=3.0, model=2.0, handlers_cpu=1.5, model_cpu=1.0)
    earlier = Spent(handlers=1.0, waits=1.0, model=0.5, handlers_cpu=0.5, model_cpu=0.25)

    assert later - earlier == Spent(handlers=4.0, waits=2.0, model=1.5, handlers_cpu=1.0, model_cpu=0.75)


def test_a_call_is_a_wait_only_where_a_handler_makes_it() -> None:
    meter = Meter()
    call = meter.waiting(lambda answer: answer)

    assert call("outside") == "outside"
    meter.enter_handler()
    assert call(answer="inside") == "inside"
    elsewhere = threading.Thread(target=call, args=("another thread",))
    elsewhere.start()
    elsewhere.join()
    meter.leave_handler(1000.0)
    call("outside again")

    spent = meter.spent()
    assert spent.handlers == 1000.0
    assert 0 < spent.waits < spent.handlers


def test_a_wait_that_fails_counts_and_fails() -> None:
    meter = Meter()

    def fail() -> None:
        raise ConnectionError

    meter.enter_handler()
    with pytest.raises(ConnectionError):
        meter.waiting(fail)()
    meter.leave_handler(1.0)
    assert meter.spent().waits > 0


def test_the_model_counts_wherever_it_runs() -> None:
    meter = Meter()

    assert meter.modelling(lambda: "answer")() == "answer"

    assert meter.spent().model > 0
    assert meter.spent().handlers == 0


def test_an_end_is_found_whether_it_came_before_or_after_the_wait() -> None:
    meter = Meter()
    meter.note_end("early")
    late = threading.Timer(0.01, meter.note_end, ["late"])
    late.start()

    assert meter.wait("early", patience=0) <= meter.wait("late", patience=10)
    late.join()


def test_a_picture_that_does_not_end_is_named() -> None:
    with pytest.raises(TimeoutError, match="lost"):
        Meter().wait("lost", patience=0)
