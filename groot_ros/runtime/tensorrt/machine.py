"""What an engine file belongs to: it runs on this machine and on none that differs."""

import re
from dataclasses import dataclass
from pathlib import Path

import torch

_L4T = re.compile(r"#\s*R(\d+)\s*\(release\),\s*REVISION:\s*([\d.]+)")


@dataclass(frozen=True)
class Machine:
    """Facts for an engine's manifest.

    Attributes:
        tensorrt: its version, with the build number.
        gpu: name.
        compute_capability: "8.7" and the like.
        sm_count: streaming multiprocessors; two modules of one family differ in it.
        jetpack: release of the board support ("L4T 36.4.3"), "" on what is no Jetson.

    """

    tensorrt: str
    gpu: str
    compute_capability: str
    sm_count: int
    jetpack: str


def this_machine(tensorrt: str, device: torch.device) -> Machine:
    """The facts of the machine that runs this, for one GPU."""
    properties = torch.cuda.get_device_properties(device)
    return Machine(
        tensorrt=tensorrt,
        gpu=properties.name,
        compute_capability=f"{properties.major}.{properties.minor}",
        sm_count=properties.multi_processor_count,
        jetpack=jetpack(),
    )


def jetpack(release_file: Path = Path("/etc/nv_tegra_release")) -> str:
    """What the board support calls itself, as "L4T 36.4.3"; "" where the file is absent.

    NVIDIA's table says which JetPack that is: 36.4 and later 6.1 and 6.2, 38 is 7.0 and 7.1,
    39 is 7.2.
    """
    if not release_file.is_file():
        return ""
    first = release_file.read_text(encoding="utf-8", errors="replace").splitlines()[:1]
    match = _L4T.match(first[0]) if first else None
    return f"L4T {match[1]}.{match[2]}" if match else f"unknown ({release_file})"
