# SPDX-License-Identifier: Apache-2.0
"""Functions that tests call in other processes, which import them by the name of this module."""

import os
import signal
from pathlib import Path


def square(number: int) -> int:
    if number == 3:
        raise ValueError("episode 3 has\nno images")
    if number == 4:
        raise ZeroDivisionError("a bug")
    return number * number


def die_once(folder: Path, number: int) -> tuple[int, int]:
    """Return (number, calls of episode 2); the first of these kills its process."""
    marker = folder / "killed"
    if number == 2 and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number, 2 if number == 2 else 1


def die_always(number: int) -> int:
    if number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def end_worker(number: int) -> int:
    """End the worker for good: the process that would start it again, and this one."""
    os.kill(os.getppid(), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)
    return number
