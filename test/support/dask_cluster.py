# SPDX-License-Identifier: Apache-2.0
"""A real Dask scheduler with workers on this machine, each a process."""

import ctypes
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

_PR_SET_PDEATHSIG = 1


def _end_with_parent() -> None:
    """Have the kernel end this process with the thread of the test, also if that is killed."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


@contextmanager
def dask_cluster(folder: Path, workers: int = 2) -> Iterator[str]:
    """Start the cluster, with its files in `folder`; yield the address of its scheduler.

    All its processes have ended afterwards.
    """
    distributed = pytest.importorskip("distributed")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    address = f"tcp://127.0.0.1:{port}"
    environment = {
        **os.environ,
        # The workers import `support.episode_calls`.
        "PYTHONPATH": os.pathsep.join(sys.path),
        # A call is given up after two dead workers, not four.
        "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1",
    }
    scheduler = ["scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard"]
    small = ["--no-dashboard", "--nthreads", "1", "--memory-limit", "0"]
    # Without a scheduler a worker would wait for one without end.
    worker = ["worker", address, *small, "--death-timeout", "60", "--local-directory", str(folder)]
    with (folder / "log").open("w") as log:
        processes: list[subprocess.Popen[bytes]] = []
        try:
            for command in (scheduler, *[worker] * workers):
                processes.append(
                    subprocess.Popen(
                        [sys.executable, "-m", "dask", *command],
                        env=environment,
                        stdout=log,
                        stderr=log,
                        # A separate group, for the process that each worker starts.
                        start_new_session=True,
                        preexec_fn=_end_with_parent,
                    )
                )
            with distributed.Client(address, timeout=60, set_as_default=False) as client:
                client.wait_for_workers(workers, timeout=60)
                yield address
        finally:
            # The scheduler last: workers that have lost it take long to end.
            for process in reversed(processes):
                _end(process)


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(20)
    # What is left of its group: on a loaded machine, or because the first process was killed.
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
