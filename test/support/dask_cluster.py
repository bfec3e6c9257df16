# SPDX-License-Identifier: Apache-2.0
"""A real Dask scheduler with two workers on this machine, each a process."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def dask_cluster(folder: Path) -> Iterator[str]:
    """Start the cluster, with its files in `folder`; yield the address of its scheduler."""
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
    worker = ["worker", address, *small, "--local-directory", str(folder)]
    with (folder / "log").open("w") as log:
        processes = [
            subprocess.Popen(
                [sys.executable, "-m", "dask", *command], env=environment, stdout=log, stderr=log
            )
            for command in (scheduler, worker, worker)
        ]
        try:
            with distributed.Client(address, timeout=60, set_as_default=False) as client:
                client.wait_for_workers(2, timeout=60)
                yield address
        finally:
            # The scheduler last: workers that have lost it take long to end.
            for process in reversed(processes):
                process.terminate()
                process.wait(20)
