# SPDX-License-Identifier: Apache-2.0
"""The engine code against published Python bindings of TensorRT: 10.3 (JetPack 6.2), 10.13, 11.4.

Regressions pinned: a flag, method or argument that one of the versions does not have.
"""

from pathlib import Path

import pytest
from support.tensorrt_api import ABSENT, ENGINE_CODE, ROOT, misspell_uses, type_errors, write_stubs
from support.tensorrt_wheels import Bindings, BindingsUnavailableError, obtain

pytestmark = [pytest.mark.slow, pytest.mark.network]

pytest.importorskip("mypy", reason="mypy is not installed: requirements/dev.txt")

WHEEL = "tensorrt-cu12-bindings"
VERSIONS = ("10.3.0", "10.13.3.9", "11.4.0.106")

#: Code -> versions that reject it, and the error of mypy.
REJECTED = {
    "trt.BuilderFlag.FP16": (("11.4.0.106",), 'has no attribute "FP16"'),
    "trt.BuilderFlag.BF16": (("11.4.0.106",), 'has no attribute "BF16"'),
    "trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH": (
        ("11.4.0.106",),
        'has no attribute "EXPLICIT_BATCH"',
    ),
    "config.int8_calibrator": (("11.4.0.106",), 'has no attribute "int8_calibrator"'),
    "engine.device_memory_size": (("11.4.0.106",), '"device_memory_size"'),
    "builder.build_engine_with_config(network, config)": (("10.3.0",), "build_engine_with_config"),
    "context.execute_async_v2([0], 0)": (VERSIONS, '"execute_async_v2"'),
    "context.execute_async_v3()": (VERSIONS, "Missing positional argument"),
    "context.execute_async_v3(0, 0)": (VERSIONS, "Too many arguments"),
    "context.set_tensor_address('x', 'y')": (VERSIONS, 'expected "int"'),
    "context.set_tensor_address(tensor='x', memory=0)": (VERSIONS, "Unexpected keyword"),
    "config.set_memory_pool_limit(1, 1)": (VERSIONS, 'expected "MemoryPoolType"'),
    "config.builder_optimization_level": ((), ""),
    "engine.device_memory_size_v2": ((), ""),
    "context.set_input_shape('x', (1, 2))": ((), ""),
}


@pytest.fixture(scope="module", params=VERSIONS)
def bindings(request: pytest.FixtureRequest) -> Bindings:
    try:
        return obtain(WHEEL, request.param)
    except BindingsUnavailableError as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="module")
def stubs(bindings: Bindings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_stubs(bindings, tmp_path_factory.mktemp(f"stubs{bindings.version}"))


def test_every_attribute_and_call_of_the_engine_code_exists(stubs: Path) -> None:
    assert type_errors(ENGINE_CODE, stubs) == []


def test_no_use_of_the_api_escapes_the_check(stubs: Path, tmp_path: Path) -> None:
    uses = misspell_uses(stubs, tmp_path)
    seen = {
        (error.file, error.line, use.name)
        for error in type_errors(ENGINE_CODE, stubs, tmp_path)
        for use in uses
        if f'"{use.name}"' in error.text
    }
    assert [use for use in uses if (use.file, use.line, use.name) not in seen] == []
    names = {use.name.removesuffix(ABSENT) for use in uses}
    assert {"STRONGLY_TYPED", "parse_from_file", "build_serialized_network"} <= names
    assert {"deserialize_cuda_engine", "execute_async_v3", "set_tensor_address"} <= names
    assert len(uses) > 40


def test_the_check_finds_what_a_version_does_not_have(
    bindings: Bindings, stubs: Path, tmp_path: Path
) -> None:
    code = tmp_path / "code.py"
    head = ["import tensorrt as trt", "", "", "def use("]
    head += ["    builder: trt.Builder, network: trt.INetworkDefinition,"]
    head += ["    config: trt.IBuilderConfig, engine: trt.ICudaEngine,"]
    head += ["    context: trt.IExecutionContext,", ") -> None:"]
    code.write_text("\n".join([*head, *(f"    {line}" for line in REJECTED)]), encoding="utf-8")
    found = {error.line: error.text for error in type_errors(code, stubs, tmp_path)}
    for line, (use, (versions, text)) in enumerate(REJECTED.items(), start=len(head) + 1):
        if bindings.version in versions:
            assert text in found.pop(line, f"no error in {use}")
    assert found == {}


IMPORT = """
import sys
import tensorrt_bindings
sys.modules["tensorrt"] = tensorrt_bindings
import torch
from groot_ros.runtime.tensorrt import api, availability, build, session

reported = []
monitor = build.Progress(lambda phase, fraction: reported.append((phase, fraction)))
monitor.phase_start("Building", None, 2)
monitor.phase_start("Timing", "Building", 8)
assert monitor.step_complete("Timing", 0) and monitor.step_complete("Building", 0)
monitor.phase_finish("Building")
assert reported == [("Building", 0.0), ("Building", 0.5), ("Building", 1.0)], reported

logger = api.Log()
logger.log(tensorrt_bindings.ILogger.Severity.ERROR, "on two\\n lines")
assert logger.last_error() == "on two lines"
assert api.torch_dtype(tensorrt_bindings.DataType.BF16) is torch.bfloat16
assert api.torch_dtype(tensorrt_bindings.DataType.BOOL) is torch.bool
assert availability.version_numbers(tensorrt_bindings.__version__) >= availability.OLDEST
assert session.Session and session.TensorRtSegment
for maker in (tensorrt_bindings.Builder, tensorrt_bindings.Runtime):
    try:
        maker(logger)
    except TypeError as error:
        assert "nullptr" in str(error), error
    else:
        raise AssertionError("the stub libraries cannot make one")
print(tensorrt_bindings.__version__)
"""


def test_the_engine_code_runs_on_the_classes_of_every_version(bindings: Bindings) -> None:
    done = bindings.run(["-c", IMPORT], ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == bindings.version
