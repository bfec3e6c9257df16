# SPDX-License-Identifier: Apache-2.0
"""Script: run the executor node with faults that a test switches on and off.

While the file named by BROKEN exists, the method of control.Executor that it names raises, or
rclpy itself if it contains `rclpy`.
"""

import os
from pathlib import Path

from rclpy.executors import SingleThreadedExecutor

from groot_ros.control import Executor
from groot_ros.nodes.executor_node import main

SWITCH = Path(os.environ["BROKEN"])


def breakable(kind: type, method: str, name: str) -> None:
    real = getattr(kind, method)

    def broken(self, *arguments, **options):
        if SWITCH.is_file() and SWITCH.read_text() == name:
            raise KeyError(f"{name} is broken")
        return real(self, *arguments, **options)

    setattr(kind, method, broken)


for each in ("update", "observe", "receive", "hold"):
    breakable(Executor, each, each)
breakable(SingleThreadedExecutor, "spin_once", "rclpy")
main()
