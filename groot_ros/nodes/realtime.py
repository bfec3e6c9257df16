"""Ask the system to run this process ahead of others."""

import os
from pathlib import Path


def ask_for_realtime(priority: int) -> str:
    """Schedule every thread of this process as SCHED_FIFO; why not, or an empty string.

    Processes started from here stay ordinary ones. Needs the right: root, CAP_SYS_NICE or an
    rtprio limit (the one that ros2_control asks for).
    """
    if not hasattr(os, "sched_setscheduler"):
        return "this system has no SCHED_FIFO"
    policy = os.SCHED_FIFO | os.SCHED_RESET_ON_FORK
    try:
        for thread in Path("/proc/self/task").iterdir():
            os.sched_setscheduler(int(thread.name), policy, os.sched_param(priority))
    except ProcessLookupError:
        return ask_for_realtime(priority)
    except PermissionError:
        return (
            "not permitted: give the user an rtprio limit of at least "
            f"{priority} in /etc/security/limits.conf"
        )
    return ""
