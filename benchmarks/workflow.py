"""How long a picture takes from S3 to its final record, how many a second, and whose time that is.

    python -m benchmarks --only workflow

The whole system runs on this machine (`local/`), in this process: the real handlers, workflow and model on an emulated
AWS. A picture's time runs from just before its PutObject to the moment when the state machine's last write stands in
the table, noted there (see `meter.py`): nothing polls. Rounds with one picture at once and with several take turns.

Every picture is a drawing of `local/samples.py` with noise of its own, a JPEG of 640 x 480 pixels.
"""

import io
import itertools
import logging
import math
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console

from benchmarks.figures import Finding, Step, percentile, shares
from benchmarks.meter import Meter, Spent, watching
from benchmarks.tables import table
from chalicelib import store, workflow
from chalicelib.store import Status
from local import samples
from local.stack import Stack, running

ABOUT = "a picture's time from S3 to its record, pictures per second, whose time it is"

AT_ONCE = (1, 8)
PICTURES = 200
"""Of each load. The 99th percentile then lies between the second and the third slowest picture."""

ROUNDS = 4
WARM_UP = 16
PATIENCE = 60.0
"""Seconds after which a picture counts as stuck."""

NOISE = 12.0
"""Standard deviation of the noise, in tones of 256."""

QUALITY = 90
HANDLERS, MODEL, REST = "handlers", "model", "emulator and rest"


@dataclass(frozen=True)
class Round:
    """Some pictures, a given number at once.

    Attributes:
        wall: from the first drop to the last end, in seconds.
        times: of each picture, in seconds.
        spent: what was measured inside.
        cpu: seconds of a processor that the whole process took.
    """

    wall: float
    times: list[float]
    spent: Spent
    cpu: float


@dataclass(frozen=True)
class Load:
    """What came of one load.

    Attributes:
        at_once: how many pictures were on their way at the same time.
        count: how many in all.
        p50: of a picture's time, in milliseconds.
        p99: of a picture's time, in milliseconds.
        mean: of a picture's time, in milliseconds.
        per_second: pictures, over all rounds.
        slowest_round: pictures per second.
        quickest_round: pictures per second.
        time_shares: of the pictures' times, 0 to 1.
        cpu_shares: of the processor time, 0 to 1.
        cpu_milliseconds: of a processor for a picture.
    """

    at_once: int
    count: int
    p50: float
    p99: float
    mean: float
    per_second: float
    slowest_round: float
    quickest_round: float
    time_shares: dict[str, float]
    cpu_shares: dict[str, float]
    cpu_milliseconds: float


def measure(step: Step, pictures: int = PICTURES, rounds: int = ROUNDS) -> dict[str, Any]:
    """Measures each load and returns plain data.

    Args:
        step: told how far it is.
        pictures: of each load.
        rounds: over which they are spread.

    Returns:
        `loads`: a list with a `Load` as dictionary for each load. `endings`: how many records came to which state.
    """
    step("drawing the pictures", 0.0)
    each = math.ceil(pictures / rounds)
    files = draw()
    measured: dict[int, list[Round]] = {at_once: [] for at_once in AT_ONCE}
    with running() as stack, watching(stack) as meter:
        logging.getLogger("scones-unlimited").setLevel(logging.CRITICAL)
        step("warming up", 0.0)
        endings: Counter[Status] = Counter()
        run(stack, meter, list(itertools.islice(files, WARM_UP)), max(AT_ONCE), Counter())
        for number, at_once in enumerate(AT_ONCE * rounds):
            step(f"{each} pictures, {at_once} at once", number / (len(AT_ONCE) * rounds))
            batch = list(itertools.islice(files, each))
            measured[at_once].append(run(stack, meter, batch, at_once, endings))
    return {
        "loads": [asdict(summarise(at_once, done)) for at_once, done in measured.items()],
        "endings": dict(endings),
    }


def draw() -> Iterator[tuple[str, bytes]]:
    """Keys and JPEGs without end, no two alike."""
    plain = [
        np.asarray(samples.render(drawing), np.float32) for drawing in (samples.draw_bicycle, samples.draw_motorcycle)
    ]
    random = np.random.default_rng(7)
    for number in itertools.count():
        drawing = plain[number % len(plain)]
        noisy = drawing + random.standard_normal(drawing.shape, np.float32) * NOISE
        file = io.BytesIO()
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=QUALITY)
        yield f"benchmark/{number}.jpg", file.getvalue()


def run(stack: Stack, meter: Meter, files: list[tuple[str, bytes]], at_once: int, endings: "Counter[Status]") -> Round:
    """Classifies pictures, each thread dropping its next one when its last one has ended.

    Args:
        stack: the running system.
        meter: watches it.
        files: keys and bytes.
        at_once: how many pictures are on their way at the same time.
        endings: the records' states are counted here.
    """

    def follow(file: tuple[str, bytes]) -> tuple[str, float]:
        started = time.perf_counter()
        source = stack.drop(*file)
        identity = workflow.identity(source)
        return identity, meter.wait(identity, PATIENCE) - started

    before, cpu_before, started = meter.spent(), time.process_time(), time.perf_counter()
    with ThreadPoolExecutor(at_once) as pool:
        done = list(pool.map(follow, files))
    wall, cpu, spent = time.perf_counter() - started, time.process_time() - cpu_before, meter.spent() - before
    endings.update((store.get(stack.settings.records_table, identity).status for identity, _ in done))
    return Round(wall, [seconds for _, seconds in done], spent, cpu)


def summarise(at_once: int, rounds: list[Round]) -> Load:
    """The figures of one load, over its rounds."""
    times = [seconds for one in rounds for seconds in one.times]
    total, cpu = math.fsum(times), math.fsum(one.cpu for one in rounds)
    rates = [len(one.times) / one.wall for one in rounds]
    time_parts = {
        HANDLERS: math.fsum(one.spent.own for one in rounds),
        MODEL: math.fsum(one.spent.model for one in rounds),
    }
    cpu_parts = {
        HANDLERS: math.fsum(one.spent.handlers_cpu for one in rounds),
        MODEL: math.fsum(one.spent.model_cpu for one in rounds),
    }
    return Load(
        at_once=at_once,
        count=len(times),
        p50=percentile(times, 50) * 1000,
        p99=percentile(times, 99) * 1000,
        mean=total / len(times) * 1000,
        per_second=len(times) / math.fsum(one.wall for one in rounds),
        slowest_round=min(rates),
        quickest_round=max(rates),
        time_shares=shares(total, time_parts, REST),
        cpu_shares=shares(cpu, cpu_parts, REST),
        cpu_milliseconds=cpu / len(times) * 1000,
    )


def show(figures: dict[str, Any], console: Console) -> None:
    """Prints what `measure` returned."""
    loads = figures["loads"]
    speed = table(
        "From S3 to the final record, embedded AWS",
        *(
            "at once",
            "pictures",
            "p50 ms",
            "p99 ms",
            "pictures/s (slowest–quickest round)",
            "to 1 at once",
            "cores busy",
        ),
    )
    for load in loads:
        speed.add_row(
            str(load["at_once"]),
            str(load["count"]),
            f"{load['p50']:.0f}",
            f"{load['p99']:.0f}",
            f"{load['per_second']:.1f} ({load['slowest_round']:.1f}–{load['quickest_round']:.1f})",
            f"{load['per_second'] / loads[0]['per_second']:.2f} x",
            f"{load['cpu_milliseconds'] * load['per_second'] / 1000:.2f}",
        )
    console.print(speed)
    console.print()
    whose = table("Whose time that is", "at once", "share of", "ms a picture", HANDLERS, MODEL, REST)
    for load in loads:
        for what, milliseconds, parts in (
            ("time", load["mean"], load["time_shares"]),
            ("processor", load["cpu_milliseconds"], load["cpu_shares"]),
        ):
            cells = (f"{parts[name]:.0%}" for name in (HANDLERS, MODEL, REST))
            whose.add_row(str(load["at_once"]), what, f"{milliseconds:.0f}", *cells)
    console.print(whose)
    console.print(
        "handlers = time in them - their waits for AWS and the endpoint; model = its own time within those waits; the "
        "rest = all else."
    )
    endings = ", ".join(f"{count} {status}" for status, count in sorted(figures["endings"].items()))
    console.print(f"Records: {endings}. Nothing polls: an end is noted where the last write lands.")


def findings(figures: dict[str, Any]) -> list[Finding]:
    """The lines of the closing table; the emulator's speed has no goal."""
    one, many = figures["loads"][0], figures["loads"][-1]
    ours = one["time_shares"][HANDLERS] + one["time_shares"][MODEL]
    return [
        Finding("a picture, S3 to record, alone: p50, p99", f"{one['p50']:.0f} ms, {one['p99']:.0f} ms"),
        Finding("  of that in our handlers and the model", f"{ours:.0%}"),
        Finding(f"pictures per second, 1 and {many['at_once']} at once", _rates(figures["loads"])),
    ]


def _rates(loads: list[dict[str, Any]]) -> str:
    return ", ".join(f"{load['per_second']:.1f}" for load in loads)
