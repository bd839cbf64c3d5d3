"""How quickly a large picture becomes small, and whether the model's answer stays the same.

    python -m benchmarks --only shrink

Speed: `chalicelib.images.prepare` against the same job by a full Pillow decode (decode, turn, resize, encode), and
against libjpeg-turbo's scaled decode alone (simplejpeg), which neither resizes, checks nor encodes: the floor for
anything built on libjpeg. Pillow's full decode alone is timed too; that floor is so near to it that nothing built on
libjpeg is several times quicker. Each round runs all four, every round another one first. Ratios are taken within a
round; the spread is the middle half of the rounds.

Agreement: the model's answer on the whole picture, decoded in full and handed over as PNG, against its answer on the
prepared one. The photos at hand are at most 320 pixels wide, so they are enlarged to 12 megapixels first; they hold
less detail than a camera's, which makes shrinking look harmless. The photos in `large` come from a camera. Without
photos or without a model it is left out.
"""

import importlib
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
from PIL import Image, ImageOps
from rich.console import Console

from benchmarks.figures import Finding, Spread, Step, ratios, spread
from benchmarks.tables import cell, table
from chalicelib.images import SHORT_SIDE, prepare

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data"
MODEL = ROOT / "model"

ABOUT = "how quickly a 16-megapixel JPEG becomes small, and whether the model's answer stays"

ROUNDS = 15
QUICKER_THAN_FULL = 5.0
"""Goal: the same job by a full decode takes at least this many times as long as ours."""
SLOWER_THAN_SCALED = 1.2
"""Goal: ours takes at most this many times as long as the scaled decode alone."""
LEGEND = {
    "ours": "check, scaled decode, resize, encode",
    "full": "the same job by Pillow's full decode: decode, turn, resize, encode",
    "decode": "Pillow's full decode alone",
    "scaled": "libjpeg-turbo's scaled decode alone",
}
SPEED_PIXELS = (4608, 3456)
AGREEMENT_PIXELS = 12_000_000
AGREEMENT_PHOTOS = 24


@dataclass(frozen=True)
class Speed:
    """What one picture takes, in milliseconds, and the ratios that the goals are about."""

    picture: str
    megabytes: float
    ours: Spread
    full: Spread
    decode: Spread
    scaled: Spread
    full_to_ours: Spread
    decode_to_ours: Spread
    ours_to_scaled: Spread
    met: bool


@dataclass(frozen=True)
class Agreement:
    """The model's answers on a group of pictures, as they are and prepared."""

    pictures: str
    count: int
    same_label: int
    mean_difference: float
    largest_difference: float


def measure(step: Step, rounds: int = ROUNDS) -> dict[str, Any]:
    """Measures both and returns plain data.

    Args:
        step: told how far it is.
        rounds: how often each contestant runs on each picture.

    Returns:
        `speed`: a list with a `Speed` as dictionary for each picture. `agreement`: a list with an `Agreement` as
        dictionary for each group, or the reason why it could not be measured.
    """
    speeds = measure_speed(lambda what, done: step(what, done / 2), rounds)
    agreement = measure_agreement(lambda what, done: step(what, (1 + done) / 2))
    return {
        "speed": [asdict(speed) for speed in speeds],
        "agreement": agreement if isinstance(agreement, str) else [asdict(group) for group in agreement],
    }


def measure_speed(step: Step, rounds: int = ROUNDS) -> list[Speed]:
    """Times ours, the full decode and the scaled decode, on a drawn photo and on those in `large`."""
    step("drawing a photo", 0.0)
    pictures = [(f"drawn, {SPEED_PIXELS[0]} x {SPEED_PIXELS[1]}", draw_photo(SPEED_PIXELS)), *_large_photos()]
    speeds = []
    for number, (name, data) in enumerate(pictures):
        step(f"racing over {name}", number / len(pictures))
        speeds.append(_race(name, data, rounds))
    return speeds


def draw_photo(size: tuple[int, int]) -> bytes:
    """A JPEG with the texture of a photo: noise on every scale, fading towards the fine ones, colours smoother."""
    random = np.random.default_rng(7)

    def texture(scales: range, growth: float, contrast: float) -> np.ndarray[Any, np.dtype[np.uint8]]:
        plane = np.zeros((size[1], size[0]), np.float32)
        for scale in scales:
            coarse = random.standard_normal((size[1] >> scale, size[0] >> scale), dtype=np.float32)
            plane += np.asarray(Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)) * growth**scale
        toned: np.ndarray[Any, np.dtype[np.uint8]] = (128 + plane * (contrast / plane.std())).clip(0, 255).astype("u1")
        return toned

    planes = (texture(range(10), 1.4, 50), texture(range(5, 10), 1.5, 18), texture(range(5, 10), 1.5, 18))
    return _jpeg(Image.merge("YCbCr", [Image.fromarray(plane) for plane in planes]).convert("RGB"), quality=91)


def _large_photos() -> list[tuple[str, bytes]]:
    return [(path.name, path.read_bytes()) for path in sorted((DATA / "large").glob("*.jpg"))]


def _jpeg(image: Image.Image, quality: int) -> bytes:
    file = BytesIO()
    image.save(file, "JPEG", quality=quality)
    return file.getvalue()


def _lossless(data: bytes) -> bytes:
    file = BytesIO()
    ImageOps.exif_transpose(Image.open(BytesIO(data))).save(file, "PNG", compress_level=1)
    return file.getvalue()


def _full(data: bytes) -> bytes:
    """What one writes without thinking of speed: decode all, turn, make RGB, resize with Pillow's default, encode."""
    image = ImageOps.exif_transpose(Image.open(BytesIO(data))).convert("RGB")
    scale = SHORT_SIDE / min(image.size)
    return _jpeg(image.resize((round(image.width * scale), round(image.height * scale))), quality=95)


def _race(name: str, data: bytes, rounds: int) -> Speed:
    height, width, _, _ = simplejpeg.decode_jpeg_header(data)
    scale = SHORT_SIDE / min(width, height)
    least = {"min_width": round(width * scale), "min_height": round(height * scale)}
    contestants: dict[str, Callable[[], object]] = {
        "ours": lambda: prepare(data, "photo.jpg"),
        "full": lambda: _full(data),
        "decode": lambda: Image.open(BytesIO(data)).load(),
        "scaled": lambda: simplejpeg.decode_jpeg(data, "RGB", **least),
    }
    times: dict[str, list[float]] = {contestant: [] for contestant in contestants}
    order = list(contestants)
    for _ in range(rounds + 1):
        order.append(order.pop(0))
        for contestant in order:
            start = time.perf_counter()
            contestants[contestant]()
            times[contestant].append((time.perf_counter() - start) * 1000)
    ours, full, decode, scaled = (times[contestant][1:] for contestant in contestants)  # the first round only warms up
    full_to_ours = spread(ratios(full, ours))
    ours_to_scaled = spread(ratios(ours, scaled))
    return Speed(
        picture=name,
        megabytes=len(data) / 1e6,
        ours=spread(ours),
        full=spread(full),
        decode=spread(decode),
        scaled=spread(scaled),
        full_to_ours=full_to_ours,
        decode_to_ours=spread(ratios(decode, ours)),
        ours_to_scaled=ours_to_scaled,
        met=full_to_ours.median >= QUICKER_THAN_FULL and ours_to_scaled.median <= SLOWER_THAN_SCALED,
    )


def measure_agreement(step: Step) -> list[Agreement] | str:
    """Asks the model about each picture twice, as it is and prepared.

    Args:
        step: told how far it is.

    Returns:
        The agreement in each group of pictures, or the reason why it could not be measured.
    """
    step("enlarging photos", 0.0)
    groups = {
        f"photos enlarged to {AGREEMENT_PIXELS // 1_000_000} megapixels": _enlarged_photos(),
        "photos of a camera, 16 megapixels": _large_photos(),
    }
    groups = {name: pictures for name, pictures in groups.items() if pictures}
    if not groups:
        return f"Agreement is left out: there are no photos in {DATA}."
    try:
        inference: Any = importlib.import_module("training.source.inference")
    except ImportError as error:
        return f"Agreement is left out: training/source/inference.py cannot be imported ({error})."
    try:
        model = inference.model_fn(str(MODEL))
    except (OSError, ValueError, RuntimeError) as error:
        return f"Agreement is left out: there is no model in {MODEL} ({error}). Train one first."

    def probabilities(data: bytes, content_type: str) -> dict[str, float]:
        answer = inference.predict_fn(inference.input_fn(data, content_type), model)
        return dict(zip(answer["labels"], answer["inferences"], strict=True))

    return [_agreement(name, pictures, probabilities, step) for name, pictures in groups.items()]


def _enlarged_photos() -> list[tuple[str, bytes]]:
    """Photos of each folder in turn, enlarged and stored as a camera would."""
    folders = [sorted(folder.glob("*.jpg")) for folder in sorted((DATA / "photos").glob("*/"))]
    each = math.ceil(AGREEMENT_PHOTOS / max(1, len(folders)))
    chosen = [path for paths in folders for path in paths[:: max(1, len(paths) // each)][:each]]
    return [(path.name, _enlarge(path)) for path in chosen]


def _enlarge(path: Path) -> bytes:
    image = Image.open(path).convert("RGB")
    scale = math.sqrt(AGREEMENT_PIXELS / (image.width * image.height))
    size = (round(image.width * scale), round(image.height * scale))
    return _jpeg(image.resize(size, Image.Resampling.BICUBIC), quality=92)


def _agreement(
    name: str,
    pictures: Sequence[tuple[str, bytes]],
    probabilities: Callable[[bytes, str], dict[str, float]],
    step: Step,
) -> Agreement:
    same, differences = 0, []
    for number, (file_name, data) in enumerate(pictures):
        step(f"asking the model, {name}", number / len(pictures))
        small = prepare(data, file_name)
        before, after = probabilities(_lossless(data), "image/png"), probabilities(small.data, small.content_type)
        same += max(before, key=before.__getitem__) == max(after, key=after.__getitem__)
        differences.append(max(abs(before[label] - after[label]) for label in before))
    return Agreement(name, len(pictures), same, statistics.mean(differences), max(differences))


def show(figures: dict[str, Any], console: Console) -> None:
    """Prints what `measure` returned."""
    milliseconds = table(
        "A 16-megapixel JPEG made small: milliseconds, median (middle half)",
        *("picture", "MB", *LEGEND),
    )
    compared = table(
        "The same as ratios: median (middle half)",
        *("picture", "full / ours", "decode / ours", "ours / scaled", "goals"),
    )
    for speed in figures["speed"]:
        cells = (cell(speed[name], 0) for name in LEGEND)
        milliseconds.add_row(speed["picture"], f"{speed['megabytes']:.1f}", *cells)
        cells = (cell(speed[name], 2) for name in ("full_to_ours", "decode_to_ours", "ours_to_scaled"))
        compared.add_row(speed["picture"], *cells, "met" if speed["met"] else "not met")
    console.print(milliseconds)
    console.print("\n".join(f"  {name:<6} {what}" for name, what in LEGEND.items()), highlight=False)
    console.print()
    console.print(compared)
    console.print(f"Goals: full / ours >= {QUICKER_THAN_FULL:g}, ours / scaled <= {SLOWER_THAN_SCALED:g}.")
    console.print()
    if isinstance(figures["agreement"], str):
        console.print(figures["agreement"])
        return
    answers = table(
        "The model's answer on the picture as it is and on the prepared one",
        *("pictures", "count", "same label", "mean difference", "largest difference"),
    )
    for group in figures["agreement"]:
        differences = (f"{group[name]:.4f}" for name in ("mean_difference", "largest_difference"))
        answers.add_row(group["pictures"], str(group["count"]), str(group["same_label"]), *differences)
    console.print(answers)
    console.print("Differences are of probabilities. Enlarged photos hold less detail than a camera's.")


def findings(figures: dict[str, Any]) -> list[Finding]:
    """The lines of the closing table: the least favourable picture counts."""
    quicker = min(speed["full_to_ours"]["median"] for speed in figures["speed"])
    slower = max(speed["ours_to_scaled"]["median"] for speed in figures["speed"])
    decode = min(speed["decode_to_ours"]["median"] for speed in figures["speed"])
    found = [
        Finding("16 megapixels: full decode, resize, encode / ours", f"{quicker:.1f} x", *_at_least(quicker)),
        Finding("16 megapixels: full decode alone / ours", f"{decode:.1f} x"),
        Finding("16 megapixels: ours / scaled decode alone", f"{slower:.2f} x", *_at_most(slower)),
    ]
    if isinstance(figures["agreement"], str):
        return [*found, Finding("the model's label, shrunk and not", "left out")]
    same, count = (sum(group[name] for group in figures["agreement"]) for name in ("same_label", "count"))
    return [*found, Finding("the model's label, shrunk and not", f"{same} of {count} alike")]


def _at_least(ratio: float) -> tuple[str, bool]:
    return f">= {QUICKER_THAN_FULL:g} x", ratio >= QUICKER_THAN_FULL


def _at_most(ratio: float) -> tuple[str, bool]:
    return f"<= {SLOWER_THAN_SCALED:g} x", ratio <= SLOWER_THAN_SCALED
