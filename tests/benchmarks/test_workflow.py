import io
from itertools import islice

import pytest
from PIL import Image

from benchmarks import workflow
from benchmarks.meter import Spent
from benchmarks.workflow import HANDLERS, MODEL, REST, Round


def test_a_load_is_summed_over_its_rounds() -> None:
    rounds = [
        Round(1.0, [0.1, 0.3], Spent(handlers=0.2, waits=0.1, model=0.08, handlers_cpu=0.1, model_cpu=0.05), cpu=0.4),
        Round(3.0, [0.2, 0.4], Spent(handlers=0.2, waits=0.1, model=0.02, handlers_cpu=0.1, model_cpu=0.05), cpu=0.6),
    ]

    load = workflow.summarise(8, rounds)

    assert (load.at_once, load.count) == (8, 4)
    assert load.mean == pytest.approx(250)
    assert load.p50 == pytest.approx(250)
    assert load.per_second == pytest.approx(1.0)
    assert (load.slowest_round, load.quickest_round) == pytest.approx((2 / 3, 2.0))
    assert load.time_shares == pytest.approx({HANDLERS: 0.2, MODEL: 0.1, REST: 0.7})
    assert load.cpu_shares == pytest.approx({HANDLERS: 0.2, MODEL: 0.1, REST: 0.7})
    assert load.cpu_milliseconds == pytest.approx(250)


def test_no_two_pictures_are_alike() -> None:
    files = list(islice(workflow.draw(), 4))

    assert len({key for key, _ in files}) == len({data for _, data in files}) == 4
    assert {Image.open(io.BytesIO(data)).format for _, data in files} == {"JPEG"}
