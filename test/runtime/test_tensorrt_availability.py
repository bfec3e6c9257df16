# SPDX-License-Identifier: Apache-2.0
"""Reasons why TensorRT cannot run here, and the machine of its engines; without TensorRT."""

import ctypes
import importlib.util
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch
from support.import_graph import imports

from groot_ros.runtime.engine import TensorRtError
from groot_ros.runtime.tensorrt import availability, unavailable
from groot_ros.runtime.tensorrt.availability import jetpack, require, version_numbers


def driver(status: int = 0, count: int = 1) -> SimpleNamespace:
    """Return a CUDA driver that reports this status and number of devices."""

    def devices(reference: object) -> int:
        ctypes.cast(reference, ctypes.POINTER(ctypes.c_int))[0] = count  # type: ignore[arg-type]
        return 0

    return SimpleNamespace(cuInit=lambda flags: status, cuDeviceGetCount=devices)


def install(
    monkeypatch: pytest.MonkeyPatch, version: str, package: ModuleType | None = None
) -> None:
    """Provide a package `tensorrt` of this version, a driver and a torch that sees the GPU."""
    if package is None:
        package = ModuleType("tensorrt")
        package.__version__ = version  # type: ignore[attr-defined]
    package.__spec__ = importlib.util.spec_from_loader("tensorrt", None)
    monkeypatch.setitem(sys.modules, "tensorrt", package)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: driver())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)


def test_nothing_else_imports_tensorrt() -> None:
    """So test_tensorrt_bindings.py checks all uses of its API."""
    package = Path(availability.__file__).parents[2]
    folder = Path(availability.__file__).parent
    names = {
        imported.file
        for file in package.rglob("*.py")
        for imported in imports(file, package)
        if imported.module.partition(".")[0] == "tensorrt"
    }
    assert names
    assert all(file.parent == folder for file in names), names


def test_a_missing_package_is_the_first_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    reason = unavailable()
    assert reason is not None
    assert "python3-libnvinfer" in reason
    with pytest.raises(TensorRtError, match="'tensorrt' is not installed"):
        require()


def test_without_a_driver_tensorrt_is_never_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise OSError(name)

    class Untouchable(ModuleType):
        def __getattribute__(self, name: str) -> object:
            # Looking a package up reads its specification; everything else would use TensorRT.
            if name != "__spec__":
                pytest.fail(f"tensorrt.{name} was used")
            return super().__getattribute__(name)

    install(monkeypatch, "10.3.0", Untouchable("tensorrt"))
    monkeypatch.setattr(ctypes, "CDLL", absent)
    assert unavailable() == (
        "no CUDA driver is installed (libcuda.so.1 does not load): TensorRT needs a GPU"
    )


def test_a_driver_that_does_not_start_is_named_with_its_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install(monkeypatch, "10.3.0")
    monkeypatch.setattr(ctypes, "CDLL", lambda name: driver(status=100))
    assert "CUDA error 100" in str(unavailable())
    monkeypatch.setattr(ctypes, "CDLL", lambda name: driver(count=0))
    assert unavailable() == "the CUDA driver sees no GPU"


def test_a_torch_without_cuda_is_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, "10.3.0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert f"torch {torch.__version__} does not see the GPU" in str(unavailable())


@pytest.mark.parametrize("version", ["8.6.2", "10.2.0"])
def test_an_old_version_is_rejected(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    install(monkeypatch, version)
    assert f"TensorRT {version} is too old: 10.3 (JetPack 6.2) or newer" in str(unavailable())


@pytest.mark.parametrize("version", ["10.3.0", "10.13.3.9", "10.16.2.10", "11.4.0.106"])
def test_every_version_from_10_3_on_is_accepted(
    monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
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


def test_a_machine_that_is_no_jetson_has_no_release(tmp_path: Path) -> None:
    assert jetpack(tmp_path / "absent") == ""
    (tmp_path / "odd").write_text("")
    assert jetpack(tmp_path / "odd") == f"unknown ({tmp_path / 'odd'})"
