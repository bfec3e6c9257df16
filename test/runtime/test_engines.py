# SPDX-License-Identifier: Apache-2.0
"""The registry of engines, and what an engine is loaded from."""

import subprocess
import sys
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from support.manifests import manifest, parsed_hint
from support.toy_program import SPEC, ToyProgram

import groot_ros.runtime.engines
from groot_ros.core.program import ProgramSpec
from groot_ros.runtime import AUTO, engine_names
from groot_ros.runtime.engines import (
    EngineFiles,
    LoadRequest,
    candidates,
    get_engine,
    unavailable_reason,
)
from groot_ros.runtime.manifest import SegmentFiles

CPU, CUDA = torch.device("cpu"), torch.device("cuda:0")
FOLDER = Path(groot_ros.runtime.engines.__file__).parent


def test_every_module_of_the_folder_is_an_engine_of_its_name() -> None:
    modules = {file.stem for file in FOLDER.glob("*.py")} - {"__init__"}
    assert set(engine_names()) == modules
    assert modules == {*candidates(), "reference"}
    assert [get_engine(name).name for name in engine_names()] == list(engine_names())
    assert AUTO not in engine_names()


def test_auto_considers_all_engines_with_a_rank_in_its_order() -> None:
    assert candidates() == ("tensorrt", "cuda_graph", "torch", "onnxruntime", "torch_tensorrt")
    assert get_engine("reference").rank is None
    ranks = [get_engine(name).rank for name in candidates()]
    assert ranks == sorted(set(ranks))


def test_the_engines_that_need_files_say_so() -> None:
    assert {name for name in engine_names() if get_engine(name).needs_files} == {
        *("onnxruntime", "tensorrt", "torch_tensorrt")
    }


def test_an_unknown_engine_lists_the_known_ones() -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        get_engine("warp")
    known = "cuda_graph, onnxruntime, reference, tensorrt, torch, torch_tensorrt"
    assert str(caught.value) == f"engine must be one of {known}, not 'warp'"


def test_the_names_are_known_without_torch() -> None:
    code = (
        "import sys; from groot_ros.runtime import engine_names; "
        "sys.exit('torch' in sys.modules or len(engine_names()) < 5)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_on_a_cpu_engines_for_a_gpu_name_the_device(tmp_path: Path) -> None:
    exported = EngineFiles(tmp_path, manifest(tmp_path))
    empty = EngineFiles(tmp_path, manifest(tmp_path, segments={}))
    for name in ("cuda_graph", "tensorrt"):
        for files in (exported, empty, None):
            reason = unavailable_reason(name, CPU, files)
            assert reason == "needs a CUDA device, the model is on cpu"
    for name in ("torch", "reference"):
        assert unavailable_reason(name, CPU, None) == ""
    assert unavailable_reason("cuda_graph", CUDA, None) == ""


@pytest.mark.parametrize("name", ["onnxruntime", "tensorrt"])
def test_without_files_the_reason_is_the_command_that_makes_them(name: str, tmp_path: Path) -> None:
    reason = unavailable_reason(name, CUDA, None)
    assert reason.startswith("engine_directory is not set; make engine files with: ")
    assert parsed_hint(reason).action == "make"
    empty = EngineFiles(tmp_path, manifest(tmp_path, segments={}))
    reason = unavailable_reason(name, CUDA, empty)
    assert reason.startswith(f"{tmp_path}: no segment is exported; export them with: ")
    assert parsed_hint(reason).action == "export"


def test_onnxruntime_does_not_execute_bfloat16_on_a_cpu(tmp_path: Path) -> None:
    files = EngineFiles(tmp_path, manifest(tmp_path, precision="bfloat16"))
    assert "does not execute bfloat16 on a CPU" in unavailable_reason("onnxruntime", CPU, files)
    assert unavailable_reason("onnxruntime", CUDA, files) == ""
    files = EngineFiles(tmp_path, manifest(tmp_path, precision="float16"))
    assert unavailable_reason("onnxruntime", CPU, files) == ""


@dataclass
class Source:
    """Program source that records what is loaded from it."""

    program: ProgramSpec = SPEC
    asked: list[dict[str, Any]] = field(default_factory=list)

    def load_program(self, segments: Collection[str] | None = None, **given: Any) -> ToyProgram:
        self.asked.append({"segments": segments, **given})
        program = ToyProgram()
        program.modules = {
            name: module
            for name, module in program.modules.items()
            if segments is None or name in segments
        }
        return program

    def load_reference(self, **given: Any) -> None:
        raise AssertionError("loaded")


def test_engines_without_files_load_all_segments_in_the_requested_precision() -> None:
    source = Source()
    request = LoadRequest(source, CPU, torch.bfloat16, step_counts=(4,))
    engine = get_engine("torch").load(request)
    assert engine.name == "torch"
    (asked,) = source.asked
    assert asked.pop("progress") is None
    expected = {"segments": None, "device": CPU, "dtype": torch.bfloat16, "step_counts": (4,)}
    assert asked == expected


def test_beside_files_only_the_other_segments_are_loaded_in_their_precision(
    tmp_path: Path,
) -> None:
    source = Source()
    exported = dict.fromkeys(("mix", "denoise"), SegmentFiles("x.onnx", "0" * 64))
    own = manifest(tmp_path, precision="float16", segments=exported)
    request = LoadRequest(source, CPU, torch.float32, step_counts=(4,))
    remaining = request.remaining_program(EngineFiles(tmp_path, own))
    assert set(remaining.modules) == {"prompt", "vision"}
    (asked,) = source.asked
    assert (asked["segments"], asked["dtype"]) == (["prompt", "vision"], torch.float16)
    assert asked["step_counts"] == (4,)
