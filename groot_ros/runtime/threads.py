"""How many CPU threads torch takes."""

import os
from pathlib import Path

import torch

#: Bytes of weights below which a second thread costs more than it brings.
SMALL = 64 * 2**20


def threads_for(checkpoint: Path) -> int:
    """As many as there are cores; one for a small model, whose threads would mostly wait."""
    size = sum(path.stat().st_size for path in checkpoint.glob("*.safetensors"))
    return 1 if size < SMALL else len(os.sched_getaffinity(0))


def use_threads(count: int) -> None:
    """Of the whole process, from now on."""
    torch.set_num_threads(count)
