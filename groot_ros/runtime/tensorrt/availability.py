# SPDX-License-Identifier: Apache-2.0
"""Check whether TensorRT can run on this machine.

Deserialising an engine on a machine without a CUDA driver crashes the process (segmentation
fault), so the driver is checked before TensorRT is imported.
"""

import ctypes
import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path

import torch

from groot_ros.runtime.engine import TensorRtError

#: Oldest supported version, that of JetPack 6.2. Versions below 10 have another Python API.
OLDEST = (10, 3)

_DRIVER = "libcuda.so.1"
_L4T = re.compile(r"#\s*R(\d+)\s*\(release\),\s*REVISION:\s*([\d.]+)")


def unavailable() -> str | None:
    """Return why TensorRT cannot run on this machine, on one line; None if it can."""
    return _no_package() or _no_driver() or _torch_without_cuda() or _old_version()


def require() -> None:
    """Raise TensorRtError with the reason of `unavailable`."""
    reason = unavailable()
    if reason is not None:
        raise TensorRtError(reason)


def installed_version() -> str:
    """Return TensorRT's version, such as "10.13.3.9"; raises TensorRtError if it cannot run."""
    require()
    import tensorrt

    return tensorrt.__version__


def version_numbers(version: str) -> tuple[int, ...]:
    """Convert "10.13.3.9" to (10, 13, 3, 9); stops at the first part that is not a number."""
    numbers: list[int] = []
    for part in version.split("."):
        if not part.isdigit():
            break
        numbers.append(int(part))
    return tuple(numbers)


def _no_package() -> str | None:
    if importlib.util.find_spec("tensorrt") is not None:
        return None
    return (
        "TensorRT's Python package 'tensorrt' is not installed: on a Jetson apt's "
        "python3-libnvinfer and a virtual environment with --system-site-packages, elsewhere "
        "pip install tensorrt"
    )


def _no_driver() -> str | None:
    try:
        driver = ctypes.CDLL(_DRIVER)
    except OSError:
        return f"no CUDA driver is installed ({_DRIVER} does not load): TensorRT needs a GPU"
    status, count = driver.cuInit(0), ctypes.c_int()
    status = status or driver.cuDeviceGetCount(ctypes.byref(count))
    if status:
        return f"the CUDA driver does not start (CUDA error {status}): see nvidia-smi or dmesg"
    return None if count.value else "the CUDA driver sees no GPU"


def _torch_without_cuda() -> str | None:
    if torch.cuda.is_available():
        return None
    return (
        f"torch {torch.__version__} does not see the GPU: TensorRT runs on torch's buffers, "
        "so install the build of torch for this CUDA (docs/how-to/jetson.md)"
    )


def _old_version() -> str | None:
    try:
        import tensorrt
    except ImportError as error:
        return f"TensorRT's Python package does not load: {error}"
    if version_numbers(tensorrt.__version__) >= OLDEST:
        return None
    oldest = ".".join(map(str, OLDEST))
    return f"TensorRT {tensorrt.__version__} is too old: {oldest} (JetPack 6.2) or newer is needed"


@dataclass(frozen=True)
class Machine:
    """The machine on which an engine file was built; the file cannot be used on another one.

    Attributes:
        tensorrt: version of TensorRT, with the build number.
        gpu: name of the GPU.
        compute_capability: compute capability of the GPU, such as "8.7".
        sm_count: number of streaming multiprocessors; differs between modules of one family.
        jetpack: release of the board support package, such as "L4T 36.4.3"; "" if not a Jetson.

    """

    tensorrt: str
    gpu: str
    compute_capability: str
    sm_count: int
    jetpack: str


def this_machine(tensorrt: str, device: torch.device) -> Machine:
    """Return the description of this machine with one of its GPUs."""
    properties = torch.cuda.get_device_properties(device)
    return Machine(
        tensorrt=tensorrt,
        gpu=properties.name,
        compute_capability=f"{properties.major}.{properties.minor}",
        sm_count=properties.multi_processor_count,
        jetpack=jetpack(),
    )


def jetpack(release_file: Path = Path("/etc/nv_tegra_release")) -> str:
    """Return the release of the board support package, such as "L4T 36.4.3".

    Returns "" if the file does not exist. According to NVIDIA's table, 36.4 belongs to JetPack 6.1
    and 6.2, 38 to 7.0 and 7.1, and 39 to 7.2.
    """
    if not release_file.is_file():
        return ""
    first = release_file.read_text(encoding="utf-8", errors="replace").splitlines()[:1]
    match = _L4T.match(first[0]) if first else None
    return f"L4T {match[1]}.{match[2]}" if match else f"unknown ({release_file})"
