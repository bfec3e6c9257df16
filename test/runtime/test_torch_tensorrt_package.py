# SPDX-License-Identifier: Apache-2.0
"""The engine code against the published Torch-TensorRT: signatures, types, and a dry run.

Regressions pinned: a setting that a version silently ignores, and an operation of a segment that
has no converter.
"""

import ast
from pathlib import Path

import pytest
import torch
from support.tensorrt_wheels import BindingsUnavailableError
from support.torch_tensorrt_wheel import ROOT, obtain_package, run_with_package, type_errors

pytestmark = [pytest.mark.slow, pytest.mark.network]

#: The version of NVIDIA's instructions for N1.5, and the one for the torch of `make setup`.
VERSIONS = ("2.9.0", "2.13.0")
ENGINE_CODE = ROOT / "groot_ros/runtime/torch_tensorrt/compiling.py"
#: Settings of `compiler_settings` -> versions whose compiler has them.
SETTINGS = {
    "use_fp32_acc": VERSIONS,
    "disable_tf32": VERSIONS,
    "optimization_level": VERSIONS,
    "workspace_size": VERSIONS,
    "timing_cache_path": VERSIONS,
    "offload_module_to_cpu": VERSIONS,
    "use_explicit_typing": ("2.9.0",),
    "enabled_precisions": ("2.9.0",),
    "decompose_attention": ("2.13.0",),
    "dryrun": VERSIONS,
}
_MUTABLE = "torch_tensorrt/dynamo/runtime/_MutableTorchTensorRTModule.py"


def package(version: str) -> Path:
    try:
        return obtain_package(version)
    except BindingsUnavailableError as reason:
        pytest.skip(str(reason))


def arguments(file: Path, name: str) -> set[str]:
    """Return the named arguments of a function, or of a method "Class.method"."""
    body = ast.parse(file.read_text(encoding="utf-8")).body
    for part in name.split("."):
        found = next(n for n in body if getattr(n, "name", "") == part)
        body = found.body
    return {a.arg for a in (*found.args.args, *found.args.kwonlyargs)}


@pytest.mark.parametrize("version", VERSIONS)
def test_every_setting_is_an_argument_of_the_versions_that_get_it(version: str) -> None:
    home = package(version)
    compiler = arguments(home / "torch_tensorrt/dynamo/_compiler.py", "compile")
    mutable = arguments(home / _MUTABLE, "MutableTorchTensorRTModule.__init__")
    assert {"pytorch_model", "device", "strict"} <= mutable
    for setting, versions in SETTINGS.items():
        assert (setting in compiler) == (version in versions), setting
    # Weak typing is passed to the module, which passes it on together with the other settings.
    assert ("enabled_precisions" in mutable) == (version == "2.9.0")
    ranges = arguments(
        home / _MUTABLE, "MutableTorchTensorRTModule.set_expected_dynamic_shape_range"
    )
    assert ranges == {"self", "args_dynamic_shape", "kwargs_dynamic_shape"}


@pytest.mark.parametrize("version", VERSIONS)
def test_the_engine_code_type_checks_and_a_misspelt_use_does_not(
    version: str, tmp_path: Path
) -> None:
    pytest.importorskip("mypy", reason="mypy is not installed: requirements/dev.txt")
    home = package(version)
    assert type_errors(home, ENGINE_CODE, tmp_path / "mypy.ini") == ""
    text = ENGINE_CODE.read_text(encoding="utf-8")
    for name in ("MutableTorchTensorRTModule", "TorchTensorRTModule", "set_expected_dynamic_shape"):
        assert text.count(name) >= 1, name
    wrong = tmp_path / "wrong.py"
    wrong.write_text(
        "import torch_tensorrt\n"
        "module = torch_tensorrt.MutableTorchTensorRTModule(None, strict='x')\n"
        "module.set_expected_dynamic_shape_range((), {}, 1)\n"
        "torch_tensorrt.MutableTorchTensorRTModul\n"
        "torch_tensorrt.dynamo.compil\n"
        "torch_tensorrt.runtime.TorchTensorRTModul\n"
    )
    report = type_errors(home, wrong, tmp_path / "mypy.ini")
    assert {line for line in range(2, 7) if f"wrong.py:{line}: error" in report} == {2, 3, 4, 5, 6}


DRY_RUN = """
import no_gpu
import torch
from pathlib import Path
from groot_ros.core.program import Range
from groot_ros.runtime.torch_tensorrt.compiling import CompiledSegment, compiler_settings
from groot_ros.runtime.torch_tensorrt.options import CompileOptions

MODEL
options = CompileOptions(program.spec.names, fp32_accumulation=True)
settings = compiler_settings(options, torch.float32, "math", Path("unused"))
for name in program.spec.names:
    print("SEGMENT", name)
    CompiledSegment(
        program.modules[name], program.spec, name, profile,
        dtype=torch.float32, device=torch.device("cpu"), settings={**settings, "dryrun": True},
    )
print("VERSION", no_gpu.torch_tensorrt.__version__)
"""


#: Family -> code that sets the staged model and its profile, in place of MODEL in `DRY_RUN`.
MODELS = {
    "gr00t_n1d6": """
from support.tiny_staged_model import staged_model

program = staged_model()
profile = {
    "views": Range(1, 2, 2), "patches": Range(16, 16, 36), "cells": Range(4, 4, 9),
    "tokens": Range(9, 14, 64), "text_tokens": Range(1, 6, 32), "image_tokens": Range(8, 8, 17),
    "states": Range(1, 1, 1),
}
""",
    "gr00t_n1d5": """
from groot_ros.families.gr00t_n1d5.program import StagedModel
from support.tiny_n1d5 import BIMANUAL, tiny_model

program = StagedModel.convert(tiny_model(BIMANUAL))
profile = {"views": Range(1, 2, 2), "tokens": Range(9, 14, 64)}
""",
}


@pytest.mark.skipif(
    not torch.__version__.startswith("2.13."), reason="Torch-TensorRT 2.13 needs torch 2.13"
)
@pytest.mark.parametrize("family", MODELS)
def test_every_operation_of_the_segments_is_converted_into_one_engine_each(family: str) -> None:
    done = run_with_package(package("2.13.0"), DRY_RUN.replace("MODEL", MODELS[family]))
    assert done.returncode == 0, done.stderr[-2000:]
    assert "VERSION 2.13.0" in done.stdout
    assert done.stdout.count("SEGMENT ") == 4
    report = done.stdout + done.stderr
    assert report.count("100.0% coverage") == 4
    assert report.count("TRT Engine #1 ") == 4
    assert "TRT Engine #2 " not in report
    assert "(min=9, max=64)" in report
