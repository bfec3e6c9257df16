"""Whether TensorRT can run here, and what its engines belong to; without TensorRT."""

import ctypes
import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch
from support.import_graph import imports

from groot_ros.runtime.contract import StageSpec, TensorSpec, sizes_of
from groot_ros.runtime.errors import TensorRtError
from groot_ros.runtime.tensorrt import presence, unavailable
from groot_ros.runtime.tensorrt.machine import jetpack
from groot_ros.runtime.tensorrt.presence import require, version_numbers
from groot_ros.runtime.tensorrt.profile import shapes_of

STAGE = StageSpec(
    "language",
    (TensorSpec("embeddings", (1, "tokens", 16)), TensorSpec("cos", ("tokens", 8))),
    (TensorSpec("features", (1, "tokens", 16)),),
)
SIZES: Mapping[str, tuple[int, int, int]] = {"tokens": (1, 20, 64)}


def driver(status: int = 0, count: int = 1) -> SimpleNamespace:
    """A CUDA driver that answers like this."""

    def devices(reference: object) -> int:
        reference._obj.value = count  # type: ignore[attr-defined]
        return 0

    return SimpleNamespace(cuInit=lambda flags: status, cuDeviceGetCount=devices)


def install(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    """A package `tensorrt` of this version, a driver and a torch that sees the GPU."""
    package = ModuleType("tensorrt")
    package.__version__ = version  # type: ignore[attr-defined]
    package.__spec__ = importlib.util.spec_from_loader("tensorrt", None)
    monkeypatch.setitem(sys.modules, "tensorrt", package)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: driver())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)


def test_nothing_else_imports_tensorrt() -> None:
    """What test_tensorrt_bindings.py checks is then all that there is."""
    package = Path(presence.__file__).parents[2]
    room = Path(presence.__file__).parent
    names = {
        imported.file
        for file in package.rglob("*.py")
        for imported in imports(file, package)
        if imported.module.partition(".")[0] == "tensorrt"
    }
    assert names
    assert all(file.parent == room for file in names), names


def test_the_package_is_asked_for_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    reason = unavailable()
    assert reason is not None
    assert "python3-libnvinfer" in reason
    with pytest.raises(TensorRtError, match="'tensorrt' is not installed"):
        require()


def test_without_a_driver_tensorrt_is_never_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, "10.3.0")

    def absent(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", absent)
    monkeypatch.setattr(presence, "_old_version", lambda: pytest.fail("tensorrt was imported"))
    reason = unavailable()
    assert reason == (
        "there is no CUDA driver here (libcuda.so.1 does not load): TensorRT needs a GPU"
    )


def test_a_driver_that_does_not_start_is_told_by_its_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install(monkeypatch, "10.3.0")
    monkeypatch.setattr(ctypes, "CDLL", lambda name: driver(status=100))
    assert "CUDA error 100" in str(unavailable())
    monkeypatch.setattr(ctypes, "CDLL", lambda name: driver(count=0))
    assert unavailable() == "the CUDA driver sees no GPU"


def test_a_torch_without_cuda_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, "10.3.0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert f"torch {torch.__version__} does not see the GPU" in str(unavailable())


@pytest.mark.parametrize("version", ["8.6.2", "10.2.0"])
def test_an_old_version_is_rejected(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    install(monkeypatch, version)
    assert f"TensorRT {version} is too old: 10.3 (JetPack 6.2) or newer" in str(unavailable())


@pytest.mark.parametrize("version", ["10.3.0", "10.13.3.9", "10.16.2.10", "11.4.0.106"])
def test_every_version_from_10_3_on_is_taken(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    install(monkeypatch, version)
    assert unavailable() is None
    require()


def test_versions_compare_as_numbers() -> None:
    assert version_numbers("10.13.3.9") == (10, 13, 3, 9)
    assert version_numbers("10.3.0.post1") == (10, 3, 0)
    assert version_numbers("10.13") > version_numbers("10.3.0")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (
            "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64, "
            "DATE: Wed Jan  8 01:49:37 UTC 2025\n# KERNEL_VARIANT: oot\n",
            "L4T 36.4.3",
        ),
        ("# R38 (release), REVISION: 2.0, GCID: 1\n", "L4T 38.2.0"),
    ],
)
def test_the_release_of_a_jetson_is_read(tmp_path: Path, text: str, name: str) -> None:
    file = tmp_path / "nv_tegra_release"
    file.write_text(text)
    assert jetpack(file) == name


def test_what_is_no_jetson_has_no_release(tmp_path: Path) -> None:
    assert jetpack(tmp_path / "absent") == ""
    (tmp_path / "odd").write_text("")
    assert jetpack(tmp_path / "odd") == f"unknown ({tmp_path / 'odd'})"


def test_shapes_come_from_the_sizes_of_the_free_dimensions() -> None:
    shapes = shapes_of(STAGE.inputs[0], SIZES)
    assert shapes == ((1, 1, 16), (1, 20, 16), (1, 64, 16))


def test_a_dimension_without_sizes_is_named() -> None:
    with pytest.raises(ValueError, match="no 'tokens', a free dimension of 'cos'"):
        shapes_of(STAGE.inputs[1], {})


@pytest.mark.parametrize("sizes", [(2, 1, 3), (1, 5, 4), (0, 1, 2)])
def test_sizes_must_rise_from_one(sizes: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match=r"'tokens' is .* must rise from 1"):
        shapes_of(STAGE.inputs[1], {"tokens": sizes})


def test_inputs_that_disagree_are_named() -> None:
    assert sizes_of(STAGE, {"embeddings": (1, 7, 16), "cos": (7, 8)}) == {"tokens": 7}
    with pytest.raises(ValueError, match=r"language: 'cos' is \(6, 8\), but 'tokens' is 7"):
        sizes_of(STAGE, {"embeddings": (1, 7, 16), "cos": (6, 8)})
    with pytest.raises(ValueError, match=r"'embeddings' is \(1, 7, 15\), but '16' is 16"):
        sizes_of(STAGE, {"embeddings": (1, 7, 15), "cos": (7, 8)})
    with pytest.raises(ValueError, match=r"'cos' is \(7,\), expected \('tokens', 8\)"):
        sizes_of(STAGE, {"embeddings": (1, 7, 16), "cos": (7,)})
