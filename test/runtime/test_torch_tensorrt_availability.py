# SPDX-License-Identifier: Apache-2.0
"""Reasons why Torch-TensorRT cannot run here, without Torch-TensorRT."""

import importlib.metadata
import importlib.util
from pathlib import Path

import pytest
import torch
from support.import_graph import imports
from support.manifests import manifest, parsed_hint

from groot_ros.runtime.engines import EngineFiles
from groot_ros.runtime.engines.torch_tensorrt import ENGINE
from groot_ros.runtime.torch_tensorrt import availability, unavailable
from groot_ros.runtime.torch_tensorrt.options import CompileOptions

CUDA = torch.device("cuda", 0)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Pretend that a GPU and the Torch-TensorRT of this torch are there, Model Optimizer not."""
    version = torch.__version__.partition("+")[0]
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "modelopt" else object()
    )
    monkeypatch.setattr(importlib.metadata, "version", lambda name: version)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    return monkeypatch


def test_only_one_module_imports_torch_tensorrt() -> None:
    """So test_torch_tensorrt_package.py checks all uses of its API."""
    package = Path(availability.__file__).parents[2]
    users = {
        imported.file.name
        for file in package.rglob("*.py")
        for imported in imports(file, package)
        if imported.module.partition(".")[0] == "torch_tensorrt"
    }
    assert users == {"compiling.py"}


def test_nothing_is_missing(installed: pytest.MonkeyPatch) -> None:
    assert unavailable() is None


def test_a_missing_package_is_named_with_the_version_to_install(
    installed: pytest.MonkeyPatch,
) -> None:
    installed.setattr(importlib.util, "find_spec", lambda name: None)
    numbers = ".".join(torch.__version__.split(".")[:2])
    assert f"pip install torch-tensorrt=={numbers}.*" in str(unavailable())


def test_a_version_for_another_torch_is_rejected(installed: pytest.MonkeyPatch) -> None:
    installed.setattr(importlib.metadata, "version", lambda name: "2.11.0")
    assert f"2.11.0 does not belong to torch {torch.__version__}" in str(unavailable())
    installed.setattr(importlib.metadata, "version", lambda name: "2.8.0")
    assert "2.8.0 is too old: 2.9 or newer is needed" in str(unavailable())


def test_a_torch_without_cuda_is_the_reason(installed: pytest.MonkeyPatch) -> None:
    installed.setattr(torch.cuda, "is_available", lambda: False)
    assert "does not see a GPU" in str(unavailable())


def test_quantised_products_need_the_model_optimizer(
    installed: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert "pip install nvidia-modelopt" in str(unavailable(quantised=True))
    options = CompileOptions(("denoise",), quantise="int8", quantised=("denoise",))
    files = EngineFiles(tmp_path, manifest(tmp_path, torch_tensorrt=options))
    assert "pip install nvidia-modelopt" in ENGINE.unavailable_reason(CUDA, files)


def test_a_directory_that_was_not_made_for_it_is_named_with_the_command(
    installed: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    reason = ENGINE.unavailable_reason(CUDA, EngineFiles(tmp_path, manifest(tmp_path)))
    assert "was not made for it" in reason
    given = parsed_hint(reason)
    assert (given.action, given.engine, given.precision) == ("make", ["torch_tensorrt"], "float16")
    options = CompileOptions(("denoise",))
    made = EngineFiles(tmp_path, manifest(tmp_path, torch_tensorrt=options, segments={}))
    assert ENGINE.unavailable_reason(CUDA, made) == ""
