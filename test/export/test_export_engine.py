# SPDX-License-Identifier: Apache-2.0
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
from support.manifests import make_unreadable, parsed_hint
from support.tiny_engine import STEPS, export, load
from support.version_0_1 import convert_to_version_0_1

from groot_ros.core import Observation
from groot_ros.core.program import ModelInputs
from groot_ros.export.reference_cases import synthetic_observations
from groot_ros.layers.time_tables import TimeEmbeddings
from groot_ros.policy import Policy
from groot_ros.runtime.engine import EngineFilesError
from groot_ros.runtime.engine_benchmarks import store_benchmark
from groot_ros.runtime.manifest import Manifest, file_digest
from groot_ros.runtime.reference_outputs import (
    REFERENCE_OUTPUTS,
    ReferenceOutputs,
    UnvalidatedEngineError,
    ValidationResult,
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def reference(checkpoint: Path) -> Policy:
    return load(checkpoint, "reference", num_inference_steps=STEPS[0])


@pytest.fixture(scope="module")
def onnxruntime(checkpoint: Path, engine_directory: Path) -> Policy:
    return load(checkpoint, "onnxruntime", engine_directory, num_inference_steps=STEPS[0])


def a_copy(directory: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(directory, tmp_path / "engine"))


def spoilt(directory: Path, factor: float) -> None:
    """Multiply the last weight of the denoising step, and make the manifest agree."""
    path = directory / "denoise.onnx"
    model = onnx.load(path)
    tensor = [t for t in model.graph.initializer if len(t.dims) == 2][-1]
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * factor, tensor.name))
    onnx.save(model, path)
    manifest = Manifest.read(directory)
    files = replace(manifest.segments["denoise"], sha256=file_digest(path))
    manifest.with_segment("denoise", files).write(directory)


def actions(policy: Policy, inputs: ModelInputs, steps: int) -> np.ndarray:
    return policy.engine.run(inputs, steps).outputs["next_actions"]


def test_onnxruntime_gives_the_reference_s_actions(reference: Policy, onnxruntime: Policy) -> None:
    for observation in synthetic_observations(reference, 3, size=(48, 64), seed=9):
        one, other = (policy.infer(observation, seed=5) for policy in (reference, onnxruntime))
        assert other.engine == "onnxruntime"
        for a, b in zip(one.groups, other.groups, strict=True):
            np.testing.assert_allclose(b.values, a.values, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("steps", [1, 4, 7])
@pytest.mark.parametrize("conditioned", [False, True])
@pytest.mark.parametrize("words", [1, 30])
def test_it_does_with_committed_motion_other_steps_and_any_instruction(
    reference: Policy, onnxruntime: Policy, steps: int, conditioned: bool, words: int
) -> None:
    (seen,) = synthetic_observations(reference, 1, size=(48, 64), seed=steps)
    observation = Observation(0, seen.images, seen.state, "pick " * words)
    processor = reference.checkpoint.processor
    inputs = {**reference.encode(observation)[0], **processor.draw(7)}
    prefix = processor.draw_prefix(3) if conditioned else {}
    expected = actions(reference, {**inputs, **prefix}, steps)
    given = actions(onnxruntime, {**inputs, **prefix}, steps)
    np.testing.assert_allclose(given, expected, atol=1e-5)
    if conditioned:
        without = actions(onnxruntime, inputs, steps)
        assert np.abs(without - given).max() > 0.01


def test_views_of_different_sizes_run_too(reference: Policy, onnxruntime: Policy) -> None:
    sizes = {"front": (48, 64), "wrist": (48, 96)}
    (observation,) = synthetic_observations(reference, 1, size=sizes, seed=1)
    inputs = {**reference.encode(observation)[0], **reference.checkpoint.processor.draw(7)}
    assert inputs["image.0"].shape != inputs["image.1"].shape
    expected, given = (actions(policy, inputs, 4) for policy in (reference, onnxruntime))
    np.testing.assert_allclose(given, expected, atol=1e-5)


def test_the_head_alone_can_be_exported(
    checkpoint: Path, tmp_path: Path, engine_directory: Path, reference: Policy
) -> None:
    directory = a_copy(engine_directory, tmp_path)
    manifest = Manifest.read(directory)
    head = {name: manifest.segments[name] for name in ("context", "denoise")}
    replace(manifest, segments=head).write(directory)
    for name in ("vision", "language"):
        (directory / f"{name}.onnx").unlink()
    policy = load(checkpoint, "onnxruntime", directory)
    (observation,) = synthetic_observations(reference, 1, size=(48, 64))
    one, other = (p.infer(observation, seed=1) for p in (reference, policy))
    np.testing.assert_allclose(other.groups[0].values, one.groups[0].values, atol=1e-3)


def test_the_reference_outputs_cover_steps_and_committed_motion(engine_directory: Path) -> None:
    manifest = Manifest.read(engine_directory)
    stored = ReferenceOutputs.load(engine_directory, manifest)
    assert manifest.steps == STEPS
    assert ["prefix" in case.inputs for case in stored.cases] == [False, True, False]
    assert all(set(case.outputs) == set(STEPS) for case in stored.cases)
    assert len({case.inputs["input_ids"].shape for case in stored.cases}) > 1
    assert manifest.tolerance == 1e-4


def test_an_engine_with_other_outputs_is_rejected_unless_allowed(
    checkpoint: Path, engine_directory: Path, tmp_path: Path
) -> None:
    directory = a_copy(engine_directory, tmp_path)
    spoilt(directory, 1.5)
    with pytest.raises(
        UnvalidatedEngineError, match="does not reproduce the reference outputs: max abs"
    ):
        load(checkpoint, "onnxruntime", directory)
    policy = load(checkpoint, "onnxruntime", directory, allow_unvalidated_engine=True)
    assert "UNVALIDATED" in policy.notes[0]
    assert policy.validation is not None
    assert policy.validation.error > 1e-3


def test_an_engine_that_gives_nan_is_rejected(
    checkpoint: Path, engine_directory: Path, tmp_path: Path
) -> None:
    directory = a_copy(engine_directory, tmp_path)
    spoilt(directory, float("nan"))
    with pytest.raises(UnvalidatedEngineError, match="max abs error nan"):
        load(checkpoint, "onnxruntime", directory)


def test_auto_selects_the_fastest_validated_engine_and_notes_why(
    checkpoint: Path, engine_directory: Path, tmp_path: Path
) -> None:
    directory = a_copy(engine_directory, tmp_path)
    machine = load(checkpoint, "auto", directory)
    assert machine.engine.name == "torch"
    assert "tensorrt not selected: needs a CUDA device" in machine.notes[0]
    assert "cuda_graph not selected: needs a CUDA device" in machine.notes[1]
    assert "engine torch selected, validated: max abs error" in machine.notes[2]
    assert machine.validation is not None
    for name, seconds in (("torch", 0.5), ("onnxruntime", 0.2)):
        store_benchmark(directory, name, machine.validation, torch.device("cpu"), seconds)
    assert load(checkpoint, "auto", directory).engine.name == "onnxruntime"
    spoilt(directory, 1.5)
    left = load(checkpoint, "auto", directory)
    assert left.engine.name == "torch"
    assert "engine onnxruntime not selected: not validated" in left.notes[0]


def test_the_weights_of_the_time_are_read_once_whatever_the_number_of_steps(
    checkpoint: Path, engine_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[TimeEmbeddings] = []

    def counting(*given: Any) -> TimeEmbeddings:
        read.append(TimeEmbeddings(*given))
        return read[-1]

    monkeypatch.setattr("groot_ros.families.gr00t.staged_model.TimeEmbeddings", counting)
    policy = load(checkpoint, "torch", engine_directory, num_inference_steps=STEPS[1])
    assert policy.validation is not None
    assert policy.validation.validated
    assert len(read) == 1


def test_without_files_auto_selects_torch_and_notes_that_nothing_is_stored(
    checkpoint: Path,
) -> None:
    policy = load(checkpoint, "auto")
    assert policy.engine.name == "torch"
    assert policy.validation is None
    assert "no reference outputs" in policy.notes[-1]
    assert "engine_directory is not set" in load_error(checkpoint, "onnxruntime")


def load_error(checkpoint: Path, engine: str, directory: Path | str = "", **more) -> str:
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
    assert "'steps' is 4, 3, here it is 9: no reference outputs are stored" in text
    policy = load(
        checkpoint,
        "onnxruntime",
        engine_directory,
        num_inference_steps=9,
        allow_unvalidated_engine=True,
    )
    assert "UNVALIDATED" in policy.notes[0]


def test_a_fault_that_all_engines_share_is_named_once_before_any_weight_is_read(
    checkpoint: Path, engine_directory: Path, tmp_path: Path
) -> None:
    seen: list[str] = []

    def rejection(directory: Path, **more: Any) -> str:
        given = {**more, "progress": lambda stage, _: seen.append(stage)}
        return load_error(checkpoint, "auto", directory, allow_unvalidated_engine=True, **given)

    text = rejection(engine_directory, num_inference_steps=9)
    assert text.count("'steps' is 4, 3, here it is 9") == 1
    directory = a_copy(engine_directory, tmp_path)
    (directory / REFERENCE_OUTPUTS).unlink()
    assert rejection(directory).count(f"{REFERENCE_OUTPUTS}: no such file") == 1
    assert set(seen) == {"config"}


def test_other_files_than_the_manifest_s_are_named(
    checkpoint: Path, engine_directory: Path, tmp_path: Path
) -> None:
    directory = a_copy(engine_directory, tmp_path)
    model = onnx.load(directory / "context.onnx")
    model.doc_string = "changed"
    onnx.save(model, directory / "context.onnx")
    assert "'segments.context.sha256' is" in load_error(checkpoint, "onnxruntime", directory)
    (directory / "context.onnx").unlink()
    assert "context.onnx: no such file" in load_error(checkpoint, "onnxruntime", directory)

    shutil.copy(engine_directory / "context.onnx", directory)
    path = directory / REFERENCE_OUTPUTS
    arrays = load_file(path)
    save_file({name: array + 1 for name, array in arrays.items()}, path)
    assert "'reference_sha256' is" in load_error(checkpoint, "onnxruntime", directory)
    path.unlink()
    text = load_error(checkpoint, "torch", directory, allow_unvalidated_engine=True)
    assert f"{REFERENCE_OUTPUTS}: no such file" in text


def test_float16_stores_the_error_of_rounding_alone(checkpoint: Path, tmp_path: Path) -> None:
    manifest = export(checkpoint, tmp_path, precision="float16", segments=("context",))
    assert list(manifest.segments) == ["context"]
    assert 0.0 < manifest.rounding < 0.01
    assert manifest.tolerance >= max(5e-3, 2.0 * manifest.rounding)
    assert json.loads((tmp_path / "manifest.json").read_text())["precision"] == "float16"
    policy = load(checkpoint, "onnxruntime", tmp_path)
    assert policy.validation is not None
    assert policy.validation.validated


def put_in_place(directory: Path, segment: str, other: str) -> None:
    """Store the file of another segment under the name of this one, and make the manifest agree."""
    shutil.copy(directory / f"{other}.onnx", directory / f"{segment}.onnx")
    manifest = Manifest.read(directory)
    files = replace(manifest.segments[segment], sha256=file_digest(directory / f"{segment}.onnx"))
    manifest.with_segment(segment, files).write(directory)


def preferring_onnxruntime(directory: Path) -> Path:
    """Store a benchmark in which onnxruntime was the fastest."""
    result = ValidationResult(1e-6, 1e-4, 0, {}, 0.1)
    store_benchmark(directory, "onnxruntime", result, torch.device("cpu"), 0.1)
    return directory


def test_auto_warns_of_the_file_of_another_segment_and_selects_torch(
    checkpoint: Path, engine_directory: Path, tmp_path: Path
) -> None:
    directory = preferring_onnxruntime(a_copy(engine_directory, tmp_path))
    put_in_place(directory, "context", "denoise")
    policy = load(checkpoint, "auto", directory)
    assert policy.engine.name == "torch"
    (warning,) = policy.warnings
    assert warning in policy.notes
    assert "engine onnxruntime not selected: " in warning
    assert "context.onnx: it has 'actions', unlike segment 'context'" in warning


def test_auto_warns_of_a_precision_that_is_not_the_files_and_selects_torch(
    checkpoint: Path, engine_directory: Path, tmp_path: Path
) -> None:
    directory = preferring_onnxruntime(a_copy(engine_directory, tmp_path))
    replace(Manifest.read(directory), precision="float16").write(directory)
    policy = load(checkpoint, "auto", directory)
    assert policy.engine.name == "torch"
    assert "it is tensor(float16)" in policy.warnings[0]


def test_auto_warns_of_a_file_that_may_not_be_read_and_selects_torch(
    checkpoint: Path, engine_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = preferring_onnxruntime(a_copy(engine_directory, tmp_path))
    make_unreadable(monkeypatch, directory / "denoise.onnx")
    policy = load(checkpoint, "auto", directory)
    assert policy.engine.name == "torch"
    assert "denoise.onnx: cannot be read: Permission denied" in policy.warnings[0]


def test_a_directory_without_segments_validates_torch_and_runs_nothing_else(
    checkpoint: Path, engine_directory: Path, tmp_path: Path
) -> None:
    directory = preferring_onnxruntime(a_copy(engine_directory, tmp_path))
    replace(Manifest.read(directory), segments={}).write(directory)
    assert "no segment is exported; export them with: " in load_error(
        checkpoint, "onnxruntime", directory
    )
    policy = load(checkpoint, "auto", directory)
    assert policy.engine.name == "torch"
    assert policy.validation is not None
    assert "no segment is exported" in policy.notes[0]


@pytest.mark.parametrize("engine", ["auto", "torch"])
def test_broken_benchmarks_prevent_no_engine(
    checkpoint: Path, engine_directory: Path, tmp_path: Path, engine: str
) -> None:
    directory = a_copy(engine_directory, tmp_path)
    (directory / "engine_benchmarks.json").write_text("{")
    assert load(checkpoint, engine, directory).engine.name == "torch"


@pytest.mark.parametrize(
    ("rounding", "problem"),
    [
        (np.inf, "in float16 the reference model computes values that are not finite"),
        (
            0.11,
            "in float16 the reference model itself is wrong by 0.11 in normalised units, more than "
            "0.1: ",
        ),
    ],
)
def test_a_precision_that_loses_too_much_is_not_exported(
    checkpoint: Path,
    tmp_path: Path,
    rounding: float,
    problem: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "groot_ros.export.export_engine.largest_difference", lambda *given: rounding
    )
    with pytest.raises(EngineFilesError, match=problem):
        export(checkpoint, tmp_path, precision="float16", segments=("context",))
    assert not (tmp_path / "manifest.json").exists()


def test_a_directory_of_version_0_1_validates_every_engine_that_it_did(
    checkpoint: Path,
    engine_directory: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    directory = a_copy(engine_directory, tmp_path)
    convert_to_version_0_1(directory)
    assert not (directory / REFERENCE_OUTPUTS).exists()
    for engine in ("torch", "onnxruntime"):
        for steps in STEPS:
            caplog.clear()
            old, new = (
                load(checkpoint, engine, where, num_inference_steps=steps)
                for where in (directory, engine_directory)
            )
            warned = [r.getMessage() for r in caplog.records if "groot_ros 0.1" in r.getMessage()]
            assert len(warned) == 1
            assert old.validation is not None
            assert new.validation is not None
            assert old.validation.validated
            assert old.validation.error == new.validation.error
    auto = load(checkpoint, "auto", directory)
    assert auto.engine.name == "torch"
    assert "engine torch selected, validated: " in auto.notes[-1]


def test_a_directory_of_version_0_1_still_detects_an_engine_with_other_outputs(
    checkpoint: Path, engine_directory: Path, tmp_path: Path
) -> None:
    directory = a_copy(engine_directory, tmp_path)
    spoilt(directory, 1.5)
    convert_to_version_0_1(directory)
    with pytest.raises(UnvalidatedEngineError, match="does not reproduce the reference outputs"):
        load(checkpoint, "onnxruntime", directory)


def test_steps_missing_from_a_directory_of_version_0_1_are_named_with_a_command_of_this_version(
    checkpoint: Path, engine_directory: Path, tmp_path: Path
) -> None:
    directory = a_copy(engine_directory, tmp_path)
    convert_to_version_0_1(directory)
    text = load_error(checkpoint, "torch", directory, num_inference_steps=9)
    hint = parsed_hint(text)
    assert (hint.action, hint.steps, hint.attention) == ("export", [*STEPS, 9], "math")
    assert hint.segments == ["vision", "language", "context", "denoise"]
