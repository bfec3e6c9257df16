"""The policy node validates engines before it is configured."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rcl_interfaces.msg import Log
from support.policy_stage import PolicyStage
from support.tiny_checkpoint import TAG, write_tiny_checkpoint

from groot_ros.export.observations import synthetic
from groot_ros.export.reference_cases import make_oracle
from groot_ros.nodes.policy_node import load
from groot_ros.policy import load_policy
from groot_ros.runtime.engine_benchmarks import remember
from groot_ros.runtime.manifest import Manifest, StageFiles
from groot_ros.runtime.reference_outputs import ValidationResult

pytestmark = pytest.mark.ros


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return write_tiny_checkpoint(tmp_path_factory.mktemp("checkpoint"))


def stored(checkpoint: Path, directory: Path, offset: float) -> Path:
    """Answers that are the plain form's plus an offset, and no exported stage."""
    plain = load_policy(checkpoint, TAG, device="cpu", engine="plain")
    oracle = make_oracle(plain, synthetic(plain, 2, size=(48, 64)), [4], source="drawn")
    cases = tuple(
        replace(case, actions={n: a + offset for n, a in case.actions.items()})
        for case in oracle.cases
    )
    Manifest(
        checkpoint=str(checkpoint),
        checkpoint_sha256=plain.checkpoint_hash,
        embodiment=TAG,
        precision="float32",
        steps=(4,),
        attention="by_hand",
        opset=18,
        tolerance=1e-4,
        rounding=0.0,
        oracle_sha256=replace(oracle, cases=cases).save(directory),
        profile={},
        stages={},
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


def test_a_proven_engine_is_taken_and_the_log_says_why(
    stage, checkpoint: Path, tmp_path: Path
) -> None:
    on = stage(stored(checkpoint, tmp_path, 0.0))
    assert on.configure()
    assert logged(on, "engine tensorrt not taken: needs a CUDA device")
    assert logged(on, "engine torch taken, proven: max abs error")


def test_an_unproven_engine_keeps_the_node_unconfigured(
    stage, checkpoint: Path, tmp_path: Path
) -> None:
    on = stage(stored(checkpoint, tmp_path, 0.01), engine="torch")
    assert not on.configure()
    assert logged(on, "engine 'torch' does not give the stored answers: max abs error 0.01")


def test_the_override_configures_it_and_the_log_says_so(
    stage, checkpoint: Path, tmp_path: Path
) -> None:
    directory = stored(checkpoint, tmp_path, 0.01)
    on = stage(directory, engine="torch", allow_unvalidated_engine="true")
    assert on.configure()
    assert logged(on, "engine torch runs UNPROVEN: max abs error 0.01")


def test_files_of_another_checkpoint_are_rejected_in_one_line(
    stage, checkpoint: Path, tmp_path: Path
) -> None:
    directory = stored(checkpoint, tmp_path, 0.0)
    replace(Manifest.read(directory), checkpoint_sha256="0" * 64).write(directory)
    on = stage(directory, allow_unvalidated_engine="true")
    assert not on.configure()
    assert logged(on, "'checkpoint_sha256' is 000000000000, here it is")


def test_a_broken_engine_that_auto_passes_by_is_a_warning(
    stage, checkpoint: Path, tmp_path: Path
) -> None:
    directory = stored(checkpoint, tmp_path, 0.0)
    broken = {"denoise": StageFiles("denoise.onnx", "0" * 64)}
    replace(Manifest.read(directory), stages=broken).write(directory)
    fastest = ValidationResult(0.0, 1e-4, 0, {}, 0.01)
    remember(directory, "onnxruntime", fastest, torch.device("cpu"), 0.01)
    on = stage(directory)
    assert on.configure()
    log = on.logs.wait(lambda log: "engine onnxruntime not taken" in log.msg)
    assert "denoise.onnx: no such file" in log.msg
    assert log.level == Log.WARN
    assert logged(on, "engine torch taken, proven: max abs error")
