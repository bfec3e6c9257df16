"""A tiny checkpoint to engine files, which the policy then runs through onnxruntime."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from safetensors.numpy import load_file, save_file
from support.manifests import make_unreadable
from support.tiny_engine import STEPS, export, load

from groot_ros.core import Observation
from groot_ros.export.observations import synthetic
from groot_ros.export.reference_cases import committed_motion
from groot_ros.families.gr00t_n1d6.time_tables import TimeTower
from groot_ros.models.gr00t_n1d6 import draw_noise
from groot_ros.policy import Policy
from groot_ros.runtime.engine_benchmarks import remember
from groot_ros.runtime.errors import EngineFilesError, UnvalidatedEngineError
from groot_ros.runtime.manifest import Manifest, file_digest
from groot_ros.runtime.reference_outputs import ReferenceOutputs, ValidationResult

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def plain(checkpoint: Path) -> Policy:
    return load(checkpoint, "plain", num_inference_steps=STEPS[0])


@pytest.fixture(scope="module")
def onnxruntime(checkpoint: Path, engine_directory: Path) -> Policy:
    return load(checkpoint, "onnxruntime", engine_directory, num_inference_steps=STEPS[0])


def a_copy(directory: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(directory, tmp_path / "engine"))


def spoilt(directory: Path, factor: float) -> None:
    """The last weight of the denoising step times a factor, and the manifest made to agree."""
    path = directory / "denoise.onnx"
    model = onnx.load(path)
    tensor = [t for t in model.graph.initializer if len(t.dims) == 2][-1]
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * factor, tensor.name))
    onnx.save(model, path)
    manifest = Manifest.read(directory)
    files = replace(manifest.stages["denoise"], sha256=file_digest(path))
    manifest.with_stage("denoise", files).write(directory)


def test_onnxruntime_gives_the_plain_form_s_actions(plain: Policy, onnxruntime: Policy) -> None:
    for observation in synthetic(plain, 3, size=(48, 64), seed=9):
        one, other = (policy.infer(observation, seed=5) for policy in (plain, onnxruntime))
        assert other.engine == "onnxruntime"
        for a, b in zip(one.groups, other.groups, strict=True):
            np.testing.assert_allclose(b.values, a.values, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("steps", [1, 4, 7])
@pytest.mark.parametrize("continued", [False, True])
@pytest.mark.parametrize("words", [1, 30])
def test_it_does_with_committed_motion_other_steps_and_any_instruction(
    plain: Policy, onnxruntime: Policy, steps: int, continued: bool, words: int
) -> None:
    (seen,) = synthetic(plain, 1, size=(48, 64), seed=steps)
    observation = Observation(0, seen.images, seen.state, "pick " * words)
    inputs, _ = plain.encode(observation)
    noise = draw_noise((1, plain.config.action_horizon, plain.config.max_action_dim), 7).numpy()
    prefix = committed_motion(plain, 3) if continued else None
    expected = plain.engine.run(inputs, noise, steps, prefix).actions
    given = onnxruntime.engine.run(inputs, noise, steps, prefix).actions
    np.testing.assert_allclose(given, expected, atol=1e-5)
    if prefix is not None:
        without = onnxruntime.engine.run(inputs, noise, steps, None).actions
        assert np.abs(without - given).max() > 0.01


def test_views_of_different_sizes_run_too(plain: Policy, onnxruntime: Policy) -> None:
    front, wrist = (synthetic(plain, 1, size=size, seed=1)[0] for size in ((48, 64), (48, 96)))
    images = {"front": front.images["front"], "wrist": wrist.images["wrist"]}
    inputs, _ = plain.encode(Observation(0, images, front.state, "go"))
    assert len({image.shape for image in inputs.images}) == 2
    noise = draw_noise((1, plain.config.action_horizon, plain.config.max_action_dim), 7).numpy()
    expected, given = (p.engine.run(inputs, noise, 4).actions for p in (plain, onnxruntime))
    np.testing.assert_allclose(given, expected, atol=1e-5)


def test_the_head_alone_can_be_exported(
    checkpoint: Path, tmp_path: Path, engine_directory: Path, plain: Policy
) -> None:
    directory = a_copy(engine_directory, tmp_path)
    manifest = Manifest.read(directory)
    head = {name: manifest.stages[name] for name in ("context", "denoise")}
    replace(manifest, stages=head).write(directory)
    for name in ("vision", "language"):
        (directory / f"{name}.onnx").unlink()
    policy = load(checkpoint, "onnxruntime", directory)
    (observation,) = synthetic(plain, 1, size=(48, 64))
    one, other = (p.infer(observation, seed=1) for p in (plain, policy))
    np.testing.assert_allclose(other.groups[0].values, one.groups[0].values, atol=1e-3)


def test_the_stored_answers_cover_steps_and_committed_motion(engine_directory: Path) -> None:
    manifest = Manifest.read(engine_directory)
    oracle = ReferenceOutputs.load(engine_directory, manifest)
    assert manifest.steps == STEPS
    assert [case.prefix is not None for case in oracle.cases] == [False, True, False]
    assert all(set(case.actions) == set(STEPS) for case in oracle.cases)
    assert len({case.inputs.input_ids.shape for case in oracle.cases}) > 1
    assert manifest.tolerance == 1e-4


def test_an_engine_that_gives_other_answers_is_rejected_unless_allowed(
    checkpoint: Path, engine_directory: Path, tmp_path: Path
) -> None:
    directory = a_copy(engine_directory, tmp_path)
    spoilt(directory, 1.5)
    with pytest.raises(UnvalidatedEngineError, match="does not give the stored answers: max abs"):
        load(checkpoint, "onnxruntime", directory)
    policy = load(checkpoint, "onnxruntime", directory, allow_unvalidated_engine=True)
    assert "UNPROVEN" in policy.notes[0]
    assert policy.validation is not None
    assert policy.validation.error > 1e-3


def test_an_engine_that_gives_nan_is_rejected(
    checkpoint: Path, engine_directory: Path, tmp_path: Path
) -> None:
    directory = a_copy(engine_directory, tmp_path)
    spoilt(directory, float("nan"))
    with pytest.raises(UnvalidatedEngineError, match="max abs error nan"):
        load(checkpoint, "onnxruntime", directory)


def test_auto_takes_the_fastest_proven_and_says_why(
    checkpoint: Path, engine_directory: Path, tmp_path: Path
) -> None:
    directory = a_copy(engine_directory, tmp_path)
    machine = load(checkpoint, "auto", directory)
    assert machine.engine.name == "torch"
    assert "tensorrt not taken: needs a CUDA device" in machine.notes[0]
    assert "cuda_graph not taken: needs a CUDA device" in machine.notes[1]
    assert "engine torch taken, proven: max abs error" in machine.notes[2]
    assert machine.verdict is not None
    for name, seconds in (("torch", 0.5), ("onnxruntime", 0.2)):
        remember(directory, name, machine.verdict, torch.device("cpu"), seconds)
    assert load(checkpoint, "auto", directory).engine.name == "onnxruntime"
    spoilt(directory, 1.5)
    left = load(checkpoint, "auto", directory)
    assert left.engine.name == "torch"
    assert "engine onnxruntime not taken: not proven" in left.notes[0]


def test_the_weights_of_the_time_are_read_once_whatever_the_number_of_steps(
    checkpoint: Path, engine_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[TimeTower] = []

    def counting(*given: Any) -> TimeTower:
        read.append(TimeTower(*given))
        return read[-1]

    monkeypatch.setattr("groot_ros.families.gr00t_n1d6.program.TimeTower", counting)
    policy = load(checkpoint, "torch", engine_directory, num_inference_steps=STEPS[1])
    assert policy.validation is not None
    assert policy.validation.proven
    assert len(read) == 1


def test_without_files_auto_takes_torch_and_says_that_nothing_is_stored(checkpoint: Path) -> None:
    policy = load(checkpoint, "auto")
    assert policy.engine.name == "torch"
    assert policy.validation is None
    assert "no stored answers" in policy.notes[-1]
    assert "engine_directory is not set" in load_error(checkpoint, "onnxruntime")


def load_error(checkpoint: Path, engine: str, directory: Path | None = None, **more) -> str:
    with pytest.raises(EngineFilesError) as caught:
        load(checkpoint, engine, directory, **more)
    return str(caught.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [("checkpoint_sha256", "0" * 64), ("embodiment", "gr1")],
)
def test_files_of_another_checkpoint_are_rejected_whatever_the_engine(
    checkpoint: Path, engine_directory: Path, tmp_path: Path, field: str, value: str
) -> None:
    directory = a_copy(engine_directory, tmp_path)
    replace(Manifest.read(directory), **{field: value}).write(directory)
    for engine in ("torch", "onnxruntime"):
        text = load_error(checkpoint, engine, directory, allow_unvalidated_engine=True)
        assert f"'{field}' is {value[:12]}, here it is" in text
        assert "rebuild with: groot-ros engine export" in text


def test_another_number_of_steps_is_named(checkpoint: Path, engine_directory: Path) -> None:
    text = load_error(checkpoint, "onnxruntime", engine_directory, num_inference_steps=9)
    assert "'steps' is 4, 3, here it is 9: no answers are stored" in text
    policy = load(
        checkpoint,
        "onnxruntime",
        engine_directory,
        num_inference_steps=9,
        allow_unvalidated_engine=True,
    )
    assert "UNPROVEN" in policy.notes[0]


def test_what_no_engine_can_mend_is_said_once_before_any_weight_is_read(
    checkpoint: Path, engine_directory: Path, tmp_path: Path
) -> None:
    seen: list[str] = []

    def rejection(directory: Path, **more: Any) -> str:
        given = {**more, "progress": lambda stage, _: seen.append(stage)}
        return load_error(checkpoint, "auto", directory, allow_unvalidated_engine=True, **given)

    text = rejection(engine_directory, num_inference_steps=9)
    assert text.count("'steps' is 4, 3, here it is 9") == 1
    directory = a_copy(engine_directory, tmp_path)
    (directory / "oracle.safetensors").unlink()
    assert rejection(directory).count("oracle.safetensors: no such file") == 1
    assert set(seen) == {"config"}


def test_another_onnx_file_or_other_answers_than_the_manifest_s_are_named(
    checkpoint: Path, engine_directory: Path, tmp_path: Path
) -> None:
    directory = a_copy(engine_directory, tmp_path)
    model = onnx.load(directory / "context.onnx")
    model.doc_string = "changed"
    onnx.save(model, directory / "context.onnx")
    assert "'stages.context.sha256' is" in load_error(checkpoint, "onnxruntime", directory)
    (directory / "context.onnx").unlink()
    assert "context.onnx: no such file" in load_error(checkpoint, "onnxruntime", directory)

    shutil.copy(engine_directory / "context.onnx", directory)
    path = directory / "oracle.safetensors"
    arrays = load_file(path)
    save_file({name: array + 1 for name, array in arrays.items()}, path)
    assert "'oracle_sha256' is" in load_error(checkpoint, "onnxruntime", directory)
    path.unlink()
    text = load_error(checkpoint, "torch", directory, allow_unvalidated_engine=True)
    assert "oracle.safetensors: no such file" in text


def test_float16_records_what_rounding_alone_does(checkpoint: Path, tmp_path: Path) -> None:
    manifest = export(checkpoint, tmp_path, precision="float16", stages=("context",))
    assert list(manifest.stages) == ["context"]
    assert 0.0 < manifest.rounding < 0.01
    assert manifest.tolerance >= max(5e-3, 2.0 * manifest.rounding)
    assert json.loads((tmp_path / "manifest.json").read_text())["precision"] == "float16"
    policy = load(checkpoint, "onnxruntime", tmp_path)
    assert policy.validation is not None
    assert policy.validation.proven


def put_in_place(directory: Path, stage: str, other: str) -> None:
    """The file of another stage under the name of this one, and the manifest made to agree."""
    shutil.copy(directory / f"{other}.onnx", directory / f"{stage}.onnx")
    manifest = Manifest.read(directory)
    sha256 = file_digest(directory / f"{stage}.onnx")
    manifest.with_stage(stage, replace(manifest.stages[stage], sha256=sha256)).write(directory)


def preferring_onnxruntime(directory: Path) -> Path:
    """As a benchmark leaves it in which onnxruntime was the fastest."""
    verdict = ValidationResult(1e-6, 1e-4, 0, {}, 0.1)
    remember(directory, "onnxruntime", verdict, torch.device("cpu"), 0.1)
    return directory


def test_auto_warns_of_files_that_lie_and_takes_torch(
    checkpoint: Path, engine_directory: Path, tmp_path: Path
) -> None:
    directory = preferring_onnxruntime(a_copy(engine_directory, tmp_path))
    put_in_place(directory, "context", "denoise")
    policy = load(checkpoint, "auto", directory)
    assert policy.engine.name == "torch"
    (warning,) = policy.warnings
    assert warning in policy.notes
    assert "engine onnxruntime not taken: " in warning
    assert "context.onnx: it has 'actions', unlike stage 'context'" in warning


def test_auto_warns_of_a_precision_that_is_not_the_files_and_takes_torch(
    checkpoint: Path, engine_directory: Path, tmp_path: Path
) -> None:
    directory = preferring_onnxruntime(a_copy(engine_directory, tmp_path))
    replace(Manifest.read(directory), precision="float16").write(directory)
    policy = load(checkpoint, "auto", directory)
    assert policy.engine.name == "torch"
    assert "it is tensor(float16)" in policy.warnings[0]


def test_auto_warns_of_a_file_that_may_not_be_read_and_takes_torch(
    checkpoint: Path, engine_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = preferring_onnxruntime(a_copy(engine_directory, tmp_path))
    make_unreadable(monkeypatch, directory / "denoise.onnx")
    policy = load(checkpoint, "auto", directory)
    assert policy.engine.name == "torch"
    assert "denoise.onnx: cannot be read: Permission denied" in policy.warnings[0]


def test_a_directory_without_stages_proves_torch_and_runs_nothing_else(
    checkpoint: Path, engine_directory: Path, tmp_path: Path
) -> None:
    directory = preferring_onnxruntime(a_copy(engine_directory, tmp_path))
    replace(Manifest.read(directory), stages={}).write(directory)
    assert "no stage is exported; export them with: " in load_error(
        checkpoint, "onnxruntime", directory
    )
    policy = load(checkpoint, "auto", directory)
    assert policy.engine.name == "torch"
    assert policy.validation is not None
    assert "no stage is exported" in policy.notes[0]


@pytest.mark.parametrize("engine", ["auto", "torch"])
def test_broken_times_are_no_obstacle(
    checkpoint: Path, engine_directory: Path, tmp_path: Path, engine: str
) -> None:
    directory = a_copy(engine_directory, tmp_path)
    (directory / "measured.json").write_text("{")
    assert load(checkpoint, engine, directory).engine.name == "torch"


@pytest.mark.parametrize(
    ("rounding", "problem"),
    [
        (np.inf, "in float16 the plain form itself gives values that are not finite"),
        (0.11, "in float16 the plain form itself loses 0.11 in normalised units, more than 0.1: "),
    ],
)
def test_a_precision_that_loses_too_much_is_not_exported(
    checkpoint: Path,
    tmp_path: Path,
    rounding: float,
    problem: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("groot_ros.export.pipeline.largest_difference", lambda *given: rounding)
    with pytest.raises(EngineFilesError, match=problem):
        export(checkpoint, tmp_path, precision="float16", stages=("context",))
    assert not (tmp_path / "manifest.json").exists()
