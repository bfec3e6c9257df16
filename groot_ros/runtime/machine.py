"""What a TensorRT engine is bound to: the GPU, its driver stack, the library's version."""

import importlib.util
import platform
import re
from dataclasses import dataclass
from pathlib import Path

import torch

_L4T = Path("/etc/nv_tegra_release")
#: L4T (major, minor) -> JetPack, as NVIDIA's release notes pair them.
_JETPACKS = {
    (36, 3): "6.0",
    (36, 4): "6.2",
    (36, 5): "6.2",
    (38, 2): "7.0",
    (38, 4): "7.1",
    (39, 2): "7.2",
}


@dataclass(frozen=True)
class Machine:
    """Where an engine is built or run; an empty text or 0 stands for what is not there.

    Attributes:
        gpu: name of the device, or of the processor where the engine runs on the CPU.
        sm_count: multiprocessors of the GPU, 0 on a CPU.
        capability: compute capability, such as "8.7".
        jetpack: JetPack and L4T release of a Jetson.
        tensorrt: version of the library, with its build.

    """

    gpu: str
    sm_count: int = 0
    capability: str = ""
    jetpack: str = ""
    tensorrt: str = ""


def this_machine(device: torch.device) -> Machine:
    """What `device` is; TensorRT is only asked for its version beside a CUDA device."""
    if device.type != "cuda":
        return Machine(_processor(), jetpack=_jetpack())
    properties = torch.cuda.get_device_properties(device)
    return Machine(
        gpu=properties.name,
        sm_count=properties.multi_processor_count,
        capability=f"{properties.major}.{properties.minor}",
        jetpack=_jetpack(),
        tensorrt=_tensorrt_version(),
    )


def parse_l4t(text: str) -> str:
    """First line of /etc/nv_tegra_release to "6.2 (L4T 36.4.3)"; empty where it says nothing."""
    found = re.search(r"R(\d+) \(release\), REVISION: (\d+)\.(\d+)", text)
    if found is None:
        return ""
    major, minor, patch = (int(part) for part in found.groups())
    jetpack = _JETPACKS.get((major, minor), "?")
    return f"{jetpack} (L4T {major}.{minor}.{patch})"


def _jetpack() -> str:
    return parse_l4t(_L4T.read_text(encoding="utf-8")) if _L4T.is_file() else ""


def _tensorrt_version() -> str:
    if importlib.util.find_spec("tensorrt") is None:
        return ""
    import tensorrt

    return str(tensorrt.__version__)


def _processor() -> str:
    model = re.search(r"^model name\s*:\s*(.+)$", _cpuinfo(), re.MULTILINE)
    return model.group(1) if model else platform.machine()


def _cpuinfo() -> str:
    path = Path("/proc/cpuinfo")
    return path.read_text(encoding="utf-8") if path.is_file() else ""
