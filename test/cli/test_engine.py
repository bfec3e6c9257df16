# SPDX-License-Identifier: Apache-2.0
"""`groot-ros engine`: all actions on a tiny checkpoint, and what they reject."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from support.fake_graph_recorder import FakeGraphRecorder
from support.fake_torch_tensorrt import FakeTorchTensorRt, use_fake_torch_tensorrt
from support.tiny_checkpoint import TAG
from support.tiny_engine import export, load, write_sensitive_checkpoint

from groot_ros.cli.engine.export import require_inside
from groot_ros.cli.main import main, make_parser
from groot_ros.families.gr00t_n1d6.checkpoint import open_checkpoint
from groot_ros.runtime.engine_benchmarks import read_benchmarks
from groot_ros.runtime.engines import LoadRequest, torch_tensorrt
from groot_ros.runtime.engines.torch_tensorrt import make_engine, weights_dtype
from groot_ros.runtime.manifest import Manifest, file_digest
from groot_ros.runtime.program_engine import ProgramEngine
from groot_ros.runtime.reference_outputs import ReferenceOutputs
from groot_ros.runtime.torch_tensorrt.options import CompileOptions

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sensitive_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="module")
def made(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of one `engine make`, with errors.json; not to be changed."""
    directory = tmp_path_factory.mktemp("made")
    torch.set_num_threads(1)
    given = ["--checkpoint", str(checkpoint), "--embodiment", TAG, "--robot", "so101"]
    given += ["--engine-directory", str(directory), "--json", str(directory / "errors.json")]
    given += ["--device", "cpu", "--image-size", "48x64", "--count", "2", "--steps", "2", "1"]
    given += ["--segments", "denoise", "--quantise", "int8", "--method", "max"]
    given += ["--runs", "1", "--row"]
    assert main(["engine", "make", *given]) == 0
    return directory


def engine(action: str, directory: Path, *more: str) -> int:
    given = ["--engine-directory", str(directory), "--device", "cpu"]
    return main(["engine", action, *given, *more])


def a_copy(directory: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(directory, tmp_path / "engine"))


def test_make_writes_a_validated_and_measured_engine(made: Path) -> None:
    manifest = Manifest.read(made)
    assert manifest.steps == (2, 1)
    quantised = {name: files.quantised for name, files in manifest.segments.items()}
    assert quantised == {"denoise": "int8"}
    measured = read_benchmarks(made)
    assert set(measured) == {"torch", "onnxruntime"}
    assert all(one.validated and one.seconds > 0 for one in measured.values())
    errors = json.loads((made / "errors.json").read_text())
    assert errors["torch"]["growth"] is None
    assert errors["torch"]["reference"] == "reference"
    assert 0 < errors["torch"]["actions"]["max_abs"] < 1e-5
    assert errors["onnxruntime"]["reference"] == "torch"
    assert 0 < errors["onnxruntime"]["segments"]["denoise"]["max_abs"] < 0.1
    assert errors["onnxruntime"]["segments"]["language"]["max_abs"] < 1e-4
    units = {joint["unit"] for joint in errors["onnxruntime"]["joints"]}
    assert units == {"rad"}
    assert len(errors["onnxruntime"]["steps"]) == 2


def test_the_policy_runs_what_was_made(checkpoint: Path, made: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    seen = tmp_path / "seen.npz"
    images = {
        f"image.{view}": rng.integers(0, 256, (48, 64, 3), np.uint8) for view in ("front", "wrist")
    }
    np.savez(seen, **images, **{"state.single_arm": np.full(5, 0.2), "state.gripper": [0.5]})
    given = ["--checkpoint", str(checkpoint), "--embodiment", TAG, "--observation", str(seen)]
    given += ["--instruction", "go", "--device", "cpu", "--steps", "2", "--seed", "1"]
    given += ["--engine", "onnxruntime", "--engine-directory", str(made)]
    assert main(["infer", *given]) == 0
    policy = load(checkpoint, "onnxruntime", made, num_inference_steps=2)
    assert policy.engine.name == "onnxruntime"


def test_validate_prints_errors_by_segment_step_and_joint(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = a_copy(made, tmp_path)
    source = ["--count", "1", "--image-size", "48x64"]
    assert engine("validate", directory, "--engine", "onnxruntime", *source) == 0
    text = capsys.readouterr().out
    for words in ("segment, exact inputs", "after denoising step", "growth of the MSE"):
        assert words in text
    assert "single_arm." in text
    assert "\nVALIDATED: engine onnxruntime, max abs error" in text


def spoil(directory: Path, change: Callable[[NDArray], NDArray]) -> None:
    """Change the last weight of the denoising step, and make the manifest agree."""
    manifest = Manifest.read(directory)
    path = directory / manifest.segments["denoise"].onnx
    model = onnx.load(path)
    tensors = [t for t in model.graph.initializer if len(t.dims) == 2]
    tensor = [t for t in tensors if t.data_type == onnx.TensorProto.FLOAT][-1]
    tensor.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(tensor)), tensor.name))
    onnx.save(model, path)
    files = replace(manifest.segments["denoise"], sha256=file_digest(path))
    manifest.with_segment("denoise", files).write(directory)


def test_an_engine_that_gives_nan_does_not_validate_and_the_figures_are_written(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = a_copy(made, tmp_path)
    assert read_benchmarks(directory)["onnxruntime"].validated
    spoil(directory, lambda weight: weight * np.float32("nan"))
    given = ["--engine", "onnxruntime", "--count", "1", "--image-size", "48x64"]
    figures = directory / "errors.json"
    figures.unlink()
    assert engine("validate", directory, *given, "--json", str(figures)) == 1
    assert "NOT VALIDATED: engine onnxruntime, max abs error nan" in capsys.readouterr().out
    assert not read_benchmarks(directory)["onnxruntime"].validated
    errors = json.loads(figures.read_text())["onnxruntime"]
    assert (errors["validated"], errors["error"]) == (False, None)
    assert {joint["max_abs"] for joint in errors["joints"]} == {None}
    assert engine("benchmark", directory, *given, "--runs", "1") == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("groot-ros engine: engine 'onnxruntime': the model's output is not fin")


def test_validate_fails_beyond_the_tolerance(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = a_copy(made, tmp_path)
    spoil(directory, lambda weight: 1 - weight)
    given = ["--engine", "onnxruntime", "--count", "1", "--image-size", "48x64"]
    assert engine("validate", directory, *given) == 1
    assert "NOT VALIDATED: engine onnxruntime" in capsys.readouterr().out
    assert not read_benchmarks(directory)["onnxruntime"].validated


def test_benchmark_has_the_columns_of_the_published_tables(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = a_copy(made, tmp_path)
    given = ["--runs", "1", "--row", "--count", "1", "--image-size", "48x64"]
    assert engine("benchmark", directory, "--engine", "onnxruntime", *given) == 0
    text = capsys.readouterr().out
    header = next(line for line in text.splitlines() if line.startswith("engine  "))
    for column in (
        *("backbone by", "head by", "vision ms", "language ms", "context ms", "denoise ms"),
        *("backbone ms", "head ms", "whole ms", "Hz"),
        *("denoise MSE", "denoise cosine", "actions MSE", "against"),
    ):
        assert column in header
    row = next(line for line in text.splitlines() if line.startswith("onnxruntime"))
    assert "PyTorch float32" in row
    assert "onnxruntime int8" in row
    assert "step 1 MSE" in text
    names, rule, cells = (line for line in text.splitlines() if line.startswith("|"))
    # Device, JetPack, TensorRT, engine, precision, four segments, two stages, whole, date.
    assert names.count("|") == rule.count("|") == cells.count("|") == 14
    assert "| onnxruntime | PyTorch float32 + onnxruntime int8 |" in cells


@pytest.mark.parametrize(
    ("action", "given", "problem"),
    [
        ("validate", ["--robot", "r2d2"], "robot contract 'r2d2': no such file"),
        ("validate", ["--count", "0"], "--count must be at least 1, not 0"),
        ("validate", ["--bag", "/nowhere"], "--bag requires --robot"),
        ("validate", ["--bag", "/nowhere", "--robot", "so101"], "/nowhere: no such directory"),
        ("validate", ["--observations", "/nowhere.npz"], "/nowhere.npz: no such file"),
        ("validate", ["--observations", "/n", "--bag", "/n"], "either --observations or --bag"),
        ("validate", ["--checkpoint", "/nowhere"], "checkpoint /nowhere: no such directory"),
        ("validate", ["--engine", "cuda_graph"], "engine 'cuda_graph': needs a CUDA device"),
        ("validate", ["--json", "/nowhere/x.json"], "--json /nowhere/x.json: / has no such dire"),
        ("validate", ["--json", "/"], "--json /: it is a directory"),
        ("validate", ["--image-size", "4x4", "5x5", "6x6"], "give one, or one for each of front"),
        ("calibrate", ["--quantise", "int8", "--count", "0"], "--count must be at least 1, not 0"),
        ("benchmark", ["--count", "0"], "--count must be at least 1, not 0"),
        ("benchmark", ["--runs", "0"], "--runs must be at least 1, not 0"),
        ("build", [], "nothing can be built here: "),
    ],
)
def test_wrong_use_is_one_line(
    made: Path,
    tmp_path: Path,
    action: str,
    given: list[str],
    problem: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert engine(action, made, *given) == 2
    error = capsys.readouterr().err
    assert problem in error
    assert [line for line in error.splitlines() if "groot-ros" in line] == [error.splitlines()[-1]]
    assert "Traceback" not in error


@pytest.fixture
def rejected_first(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Return a function that runs an action, which must fail and write nothing, for its message."""

    def rejected(verb: str, *given: str) -> str:
        arguments = ["--checkpoint", str(checkpoint), "--embodiment", TAG, *given]
        assert engine(verb, tmp_path / "never", *arguments) == 2
        assert not (tmp_path / "never").exists()
        return capsys.readouterr().err

    return rejected


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (["--steps", "0"], "--steps must be from 1 to 100, not 0"),
        (["--steps", "1000000"], "--steps must be from 1 to 100, not 1000000"),
        (["--instruction-tokens", "0"], "--instruction-tokens must be at least 1"),
        (["--image-size", "4x4", "5x5", "6x6"], "give one, or one for each of front, wrist"),
        (["--embodiment", "gr1"], "has no embodiment 'gr1'"),
        (["--count", "0"], "--count must be at least 1, not 0"),
        (
            ["--engine-directory", "/dev/null"],
            "--engine-directory /dev/null: /dev/null is not",
        ),
        (["--engine-directory", "/dev/null/x"], "/dev/null is not a directory; give another path"),
    ],
)
def test_wrong_exports_are_rejected_before_any_weight_is_read(
    rejected_first: Callable[..., str], given: list[str], problem: str
) -> None:
    assert problem in rejected_first("export", *given)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (["--quantised-segments", "denoise"], "--quantised-segments needs --quantise: nothing"),
        (["--quantise", "int8", "--segments", "context"], "segment 'denoise' would not be exp"),
        (["--json", "/nowhere/x.json"], "--json /nowhere/x.json: / has no such directory"),
        (["--runs", "0"], "--runs must be at least 1, not 0"),
    ],
)
def test_make_rejects_first_what_a_later_action_would(
    rejected_first: Callable[..., str], given: list[str], problem: str
) -> None:
    assert problem in rejected_first("make", *given)


def test_an_export_with_a_size_for_each_view_stores_observations_inside_its_profile(
    checkpoint: Path, tmp_path: Path
) -> None:
    arguments = ["--checkpoint", str(checkpoint), "--embodiment", TAG, "--segments", "context"]
    arguments += ["--count", "2", "--image-size", "48x64", "64x160"]
    assert engine("export", tmp_path, *arguments) == 0
    manifest = Manifest.read(tmp_path)
    assert manifest.image_sizes == ("48x64", "64x160")
    opened = open_checkpoint(checkpoint, TAG)
    for case in ReferenceOutputs.load(tmp_path, manifest).cases:
        assert case.inputs["image.0"].shape != case.inputs["image.1"].shape
        require_inside(manifest.profile, case.inputs, opened)


def test_an_export_with_observations_outside_its_profile_is_rejected(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = {f"image.{v}": np.zeros((48, 160, 3), np.uint8) for v in ("front", "wrist")}
    state = {"state.single_arm": np.zeros(5), "state.gripper": np.zeros(1)}
    np.savez(tmp_path / "seen.npz", **images, **state, instruction="go")
    arguments = ["--checkpoint", str(checkpoint), "--embodiment", TAG, "--image-size", "48x64"]
    arguments += ["--observations", str(tmp_path / "seen.npz")]
    assert engine("export", tmp_path / "never", *arguments) == 2
    assert "engines would be built for" in capsys.readouterr().err
    assert not (tmp_path / "never").exists()


def test_a_missing_directory_is_named_with_the_command_that_makes_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert engine("calibrate", tmp_path, "--quantise", "int8") == 2
    error = capsys.readouterr().err
    assert f"{tmp_path}/manifest.json: no such file; make engine files with" in error


@pytest.mark.parametrize(
    ("action", "option", "former", "field"),
    [
        ("export", "--segments", "--stages", "segments"),
        ("calibrate", "--segments", "--stages", "quantised_segments"),
        ("make", "--segments", "--stages", "segments"),
        ("make", "--quantised-segments", "--quantised-stages", "quantised_segments"),
    ],
)
def test_former_names_of_options_are_accepted(
    action: str, option: str, former: str, field: str
) -> None:
    required = ["--checkpoint", "x", "--engine-directory", "x", "--quantise", "int8"]
    if action != "calibrate":
        required += ["--embodiment", "y"]
    if action == "export":
        required = [word for word in required if word not in ("--quantise", "int8")]
    for name in (option, former):
        given = ["engine", action, *required, name, "context", "denoise"]
        args = make_parser(["engine"]).parse_args(given)
        assert getattr(args, field) == ["context", "denoise"]


def test_its_options_are_known_without_waiting_for_torch() -> None:
    code = (
        "import sys; from groot_ros.cli.main import make_parser; make_parser(['engine']); "
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    "action", ["", "export", "calibrate", "build", "validate", "benchmark", "make"]
)
def test_every_help_has_an_example(action: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["engine", *([action] if action else []), "--help"])
    assert f"groot-ros engine {action}".strip() in capsys.readouterr().out.split("example")[-1]


def refused(capsys: pytest.CaptureFixture[str], checkpoint: Path, folder: Path, *more: str) -> str:
    """Run `engine make` with wrong options; return its message. Nothing may be written."""
    given = ["--checkpoint", str(checkpoint), "--embodiment", TAG, "--device", "cpu"]
    assert main(["engine", "make", *given, "--engine-directory", str(folder / "x"), *more]) != 0
    assert not (folder / "x").exists()
    return capsys.readouterr().err


def test_torch_tensorrt_is_refused_without_a_gpu_before_the_export(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = refused(capsys, checkpoint, tmp_path, "--engine", "torch_tensorrt")
    assert "engine 'torch_tensorrt': needs a CUDA device, not cpu" in text


def test_options_that_contradict_each_other_are_refused(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = refused(capsys, checkpoint, tmp_path, "--precision", "int8", "--quantise", "fp8")
    assert "--precision int8 and --quantise fp8 contradict each other" in text
    text = refused(capsys, checkpoint, tmp_path, "--timer", "cuda_event")
    assert "--timer cuda_event needs a CUDA device, not cpu; use --timer wall" in text
    text = refused(capsys, checkpoint, tmp_path, "--segments", "wheels")
    assert "--segments must be among vision, language, context, denoise, not 'wheels'" in text


@pytest.fixture
def compiling(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeTorchTensorRt]:
    """Let Torch-TensorRT be available on the CPU, in a fake that exports the segments."""

    def load_here(request: LoadRequest) -> ProgramEngine:
        files = request.require_files()
        program = request.source.load_program(
            device=request.device, dtype=weights_dtype(files), step_counts=request.step_counts
        )
        return make_engine(program, files, FakeGraphRecorder())

    kind = replace(
        torch_tensorrt.ENGINE, needs_cuda=False, load=load_here, unavailable_reason=lambda *_: ""
    )
    monkeypatch.setattr(torch_tensorrt, "ENGINE", kind)
    package = FakeTorchTensorRt("decompose_attention")
    with use_fake_torch_tensorrt(package):
        yield package


def test_a_compiled_engine_is_validated_and_measured_like_the_others(
    checkpoint: Path,
    tmp_path: Path,
    compiling: FakeTorchTensorRt,
    capsys: pytest.CaptureFixture[str],
) -> None:
    options = CompileOptions(("context", "denoise"), fp32_accumulation=True)
    manifest = export(checkpoint, tmp_path, segments=[], torch_tensorrt=options)
    assert (manifest.segments, Manifest.read(tmp_path).torch_tensorrt) == ({}, options)
    assert not list(tmp_path.glob("*.onnx"))
    source = ["--engine", "torch_tensorrt", "--count", "1", "--image-size", "48x64"]
    assert engine("validate", tmp_path, *source) == 0
    text = capsys.readouterr().out
    assert "VALIDATED: engine torch_tensorrt, max abs error" in text
    assert "segment, exact inputs" in text
    assert all(module.given["use_fp32_acc"] for module in compiling.modules)
    assert engine("validate", tmp_path, "--engine", "onnxruntime", *source[2:]) != 0
    hint = capsys.readouterr().err
    assert "no segment is exported" in hint
    assert "engine make" in hint
    assert "--engine torch_tensorrt" in hint
    assert "--fp32-accumulation" in hint
