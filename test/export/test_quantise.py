# SPDX-License-Identifier: Apache-2.0
"""Q/DQ pairs in exported files, executed by onnxruntime."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from support.tiny_checkpoint import TAG
from support.tiny_engine import load

from groot_ros.core.program import ModelInputs
from groot_ros.export.calibration import calibrate_files
from groot_ros.export.quantise import QuantiseError, quantise
from groot_ros.export.ranges import Product, calibrate, coverage
from groot_ros.export.reference_cases import synthetic_observations
from groot_ros.families.gr00t_n1d6.checkpoint import Gr00tN1d6Checkpoint, open_checkpoint
from groot_ros.families.gr00t_n1d6.program import StagedModel
from groot_ros.runtime.engine import EngineFilesError
from groot_ros.runtime.manifest import Manifest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def opened(checkpoint: Path) -> Gr00tN1d6Checkpoint:
    return open_checkpoint(checkpoint, TAG)


@pytest.fixture(scope="module")
def inputs(checkpoint: Path) -> list[ModelInputs]:
    policy = load(checkpoint, "torch")
    draw = policy.checkpoint.processor.draw
    observations = synthetic_observations(policy, 3, size=(48, 64), seed=4)
    return [{**policy.encode(o)[0], **draw(number)} for number, o in enumerate(observations)]


def staged(opened: Gr00tN1d6Checkpoint) -> StagedModel:
    return opened.load_program(device=torch.device("cpu"), dtype=torch.float32)


@pytest.fixture(scope="module")
def products(opened: Gr00tN1d6Checkpoint, inputs: list[ModelInputs]) -> dict[str, list[Product]]:
    return calibrate(staged(opened), inputs, 4, method="max")


def test_ranges_cover_every_input_of_every_layer(
    opened: Gr00tN1d6Checkpoint, inputs: list[ModelInputs], products: dict[str, list[Product]]
) -> None:
    model, seen = staged(opened), []
    layer = model.modules["denoise"].get_submodule("blocks.1.down")
    layer.register_forward_pre_hook(lambda _, given: seen.append(float(given[0].abs().max())))
    again = calibrate(model, inputs, 4, method="max")
    assert len(seen) == 4 * len(inputs)
    (found,) = (p for p in again["denoise"] if p.name == "blocks.1.down")
    assert found.largest == max(seen)
    tighter = calibrate(staged(opened), inputs, 4, method="percentile")
    for wide, tight in zip(products["language"], tighter["language"], strict=True):
        assert 0 < tight.largest <= wide.largest
    with pytest.raises(ValueError, match="method must be one of percentile, max, not 'entropy'"):
        calibrate(staged(opened), inputs, 4, method="entropy")


def test_small_layers_at_the_ends_keep_their_precision(products: dict[str, list[Product]]) -> None:
    skipped = {p.name for layers in products.values() for p in layers if not p.largest}
    assert skipped == {
        *("embed", "second", "state1", "state2", "encode", "encode2", "decode", "decode2")
    }
    assert coverage(products)["language"] == 1.0


@pytest.mark.parametrize(("kind", "steps"), [("int8", 127.0), ("fp8", 448.0)])
def test_weights_are_stored_in_eight_bits_and_near_the_old_ones(
    engine_directory: Path,
    tmp_path: Path,
    products: dict[str, list[Product]],
    kind: str,
    steps: float,
) -> None:
    source, target = engine_directory / "language.onnx", tmp_path / "language.onnx"
    count = quantise(source, target, products["language"], kind)
    assert count == len(products["language"]) == 8
    tensors = {t.name: numpy_helper.to_array(t) for t in onnx.load(target).graph.initializer}
    stored = [name for name in tensors if name.endswith(f".{kind}")]
    assert len(stored) == count
    for name, product in zip(stored, products["language"], strict=True):
        assert tensors[name].itemsize == 1
        scale = tensors[f"{name}.scale"]
        back = tensors[name].astype(np.float32) * scale
        original = product.weight.numpy().T
        size = np.abs(original).max(axis=0) if kind == "int8" else np.abs(original).max()
        np.testing.assert_allclose(scale, size / steps, rtol=1e-6)
        # Half a step of INT8; FP8 has three bits of mantissa.
        bound = 0.5001 * scale if kind == "int8" else np.abs(original) / 15.9 + scale / 512
        assert (np.abs(back - original) <= bound).all()
    operators = [node.op_type for node in onnx.load(target).graph.node]
    assert operators.count("QuantizeLinear") <= count
    assert operators.count("DequantizeLinear") == operators.count("QuantizeLinear") + count


def test_other_weights_than_those_calibrated_are_rejected(
    engine_directory: Path, tmp_path: Path, products: dict[str, list[Product]]
) -> None:
    source, layers = engine_directory / "denoise.onnx", list(products["denoise"])
    changed = replace(layers[3], weight=layers[3].weight + 1.0)
    target = tmp_path / "denoise.onnx"
    with pytest.raises(QuantiseError, match=f"is not that of '{changed.name}' in the checkpoint"):
        quantise(source, target, [*layers[:3], changed, *layers[4:]], "int8")
    with pytest.raises(QuantiseError, match="export it again"):
        quantise(source, target, layers[:-1], "int8")
    with pytest.raises(ValueError, match="kind must be one of int8, fp8, not 'int4'"):
        quantise(source, target, layers, "int4")
    assert not target.exists()


@pytest.mark.parametrize("kind", ["int8", "fp8"])
def test_a_quantised_engine_runs_and_is_validated_with_its_own_tolerance(
    checkpoint: Path,
    engine_directory: Path,
    tmp_path: Path,
    opened: Gr00tN1d6Checkpoint,
    inputs: list[ModelInputs],
    kind: str,
) -> None:
    directory = Path(shutil.copytree(engine_directory, tmp_path / "engine"))
    arguments = {
        "kind": kind,
        "segments": ["language", "denoise"],
        "method": "max",
        "device": torch.device("cpu"),
        "progress": lambda what, fraction: None,
    }
    manifest = Manifest.read(directory)
    lines = calibrate_files(directory, manifest, opened, inputs, "drawn", **arguments)
    assert len(lines) == 2
    written = Manifest.read(directory)
    assert written.segments["denoise"].onnx == f"denoise.{kind}.onnx"
    assert written.segments["vision"].quantised == ""
    assert written.tolerance == 5e-2
    policy = load(checkpoint, "onnxruntime", directory)
    assert policy.validation is not None
    # Far beyond what rounding float32 does, so 8 bits were really at work.
    assert 1e-4 < policy.validation.error < 5e-2
    assert load(checkpoint, "torch", directory).validation.tolerance == 1e-4

    head = {name: f for name, f in manifest.segments.items() if name != "language"}
    with pytest.raises(EngineFilesError, match="segment 'language' was not exported"):
        calibrate_files(
            directory, replace(manifest, segments=head), opened, inputs, "drawn", **arguments
        )
