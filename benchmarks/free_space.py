# SPDX-License-Identifier: Apache-2.0
"""Check that this machine has the memory and disk space that a benchmark needs."""

import shutil
import sys
from pathlib import Path


def require_free(benchmark: str, memory: float, disk: float = 0.0, at: Path = Path()) -> None:
    """Exit with an error message unless enough memory and disk space are free.

    Args:
        benchmark: name for the message.
        memory: needed memory in bytes.
        disk: needed disk space in bytes.
        at: folder on the disk to check.

    """
    lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
    available = next(int(line.split()[1]) for line in lines if "MemAvailable" in line) * 1024
    free = shutil.disk_usage(at).free
    for what, there, needed in (("disk", free, disk), ("memory", available, memory)):
        if there < needed:
            sys.exit(
                f"{benchmark} needs {needed / 1e9:.0f} GB of {what}, {there / 1e9:.1f} GB are free"
            )
