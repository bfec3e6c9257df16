# SPDX-License-Identifier: Apache-2.0
"""The policy node validates engines before it is configured."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rcl_interfaces.msg import Log
from support.policy_stage import PolicyStage
from support.tiny_checkpoint import TAG, write_tiny_checkpoint
from support.tiny_engine import load as load_engine

from groot_ros.export.reference_cases import make_reference_outputs, synthetic_observations
from groot_ros.nodes.policy_setup import load
from groot_ros.runtime.engine_benchmarks import store_benchmark
from groot_ros.runtime.manifest import Manifest, SegmentFiles
from groot_ros.runtime.reference_outputs import ValidationResult

pytestmark = pytest.mark.ros


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return write_tiny_checkpoint(tmp_path_factory.mktemp("checkpoint"))


def stored(checkpoint: Path, directory: Path, offset: float) -> Path:
    """Store the reference model's outputs plus an offset, and no exported segment."""
    policy = load_engine(checkpoint, "reference")
    observations = synthetic_observations(policy, 2, size=(48, 64))
    reference = make_reference_outputs(policy, observations, [4], source="drawn")
    cases = tuple(
        replace(
            case,
            outputs={
                steps: {name: array + offset for name, array in outputs.items()}
                for steps, outputs in case.outputs.items()
            },
        )
        for case in reference.cases
    )
    Manifest(
        family=policy.spec.family,
        checkpoint=str(checkpoint),
        checkpoint_sha256=policy.checkpoint_hash,
        embodiment=TAG,
        precision="float32",
        steps=(4,),
        attention="math",
        opset=18,
        tolerance=1e-4,
        rounding=0.0,
        reference_sha256=replace(reference, cases=cases).save(directory),
        profile={},
        segments={},
        date="2026-11-21",
    ).write(directory)
    return directory


@pytest.fixture
def stage(ros_domain, checkpoint: Path):
    stages = []

    def begin(directory: Path, **parameters) -> PolicyStage:
        given = {"checkpoint": checkpoint, "embodiment": TAG, "torch_threads": 1, **parameters}
        stages.append(PolicyStage(load=load, engine_directory=directory, **given))
        return stages[-1]

    yield begin
    for each in stages:
        each.end()


def logged(on: PolicyStage, text: str) -> bool:
    return bool(on.logs.wait(lambda log: text in log.msg))


def test_a_validated_engine_is_selected_and_the_log_says_why(
    stage, checkpoint: Path, tmp_path: Path
) -> None:
    on = stage(stored(checkpoint, tmp_path, 0.0))
    assert on.configure()
    assert logged(on, "engine tensorrt not selected: needs a CUDA device")
    assert logged(on, "engine torch selected, validated: max abs error")


def test_an_engine_that_does_not_validate_keeps_the_node_unconfigured(
    stage, checkpoint: Path, tmp_path: Path
) -> None:
    on = stage(stored(checkpoint, tmp_path, 0.01), engine="torch")
    assert not on.configure()
    assert logged(on, "engine 'torch' does not reproduce the reference outputs: max abs error 0.01")


def test_allowing_an_unvalidated_engine_configures_the_node_and_the_log_says_so(
    stage, checkpoint: Path, tmp_path: Path
) -> None:
    directory = stored(checkpoint, tmp_path, 0.01)
    on = stage(directory, engine="torch", allow_unvalidated_engine="true")
    assert on.configure()
    assert logged(on, "engine torch runs UNVALIDATED: max abs error 0.01")


def test_files_of_another_checkpoint_are_rejected_in_one_line(
    stage, checkpoint: Path, tmp_path: Path
) -> None:
    directory = stored(checkpoint, tmp_path, 0.0)
    replace(Manifest.read(directory), checkpoint_sha256="0" * 64).write(directory)
    on = stage(directory, allow_unvalidated_engine="true")
    assert not on.configure()
    assert logged(on, "'checkpoint_sha256' is 000000000000, here it is")


def test_a_broken_engine_that_auto_skips_is_a_warning(
    stage, checkpoint: Path, tmp_path: Path
) -> None:
    directory = stored(checkpoint, tmp_path, 0.0)
    broken = {"denoise": SegmentFiles("denoise.onnx", "0" * 64)}
    replace(Manifest.read(directory), segments=broken).write(directory)
    fastest = ValidationResult(0.0, 1e-4, 0, {}, 0.01)
    store_benchmark(directory, "onnxruntime", fastest, torch.device("cpu"), 0.01)
    on = stage(directory)
    assert on.configure()
    log = on.logs.wait(lambda log: "engine onnxruntime not selected" in log.msg)
    assert "denoise.onnx: no such file" in log.msg
    assert log.level == Log.WARN
    assert logged(on, "engine torch selected, validated: max abs error")
