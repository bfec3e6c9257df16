"""Timer jitter of the executor beside a two-thread torch load, at the nice levels of bringup.

    python -m benchmarks.executor_jitter [--seconds 20]

The load multiplies matrices on two threads without a pause, at the policy's nice level; the
executor is the real node, activated, at 100 Hz. Jitter is |interval - period| of its timer, as
the node itself reports it on /diagnostics. Three runs: idle, loaded at equal nice levels,
loaded at bringup's.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from groot_ros.bringup import defaults
from groot_ros.evaluation.table import format_table
from groot_ros.share import robot_path

_LOAD = """
import torch
torch.set_num_threads(2)
a = torch.randn(1024, 1024)
print("loading", flush=True)
while True:
    a = torch.tanh(a @ a)
"""


@contextmanager
def torch_load(nice: int) -> Iterator[None]:
    """A process that keeps two cores busy."""
    command = ["nice", "-n", str(nice), sys.executable, "-c", _LOAD]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield
        finally:
            process.kill()


@contextmanager
def executor() -> Iterator[None]:
    """The executor node, configured and activated."""
    command = [sys.executable, "-m", "groot_ros.nodes.executor_node", "--ros-args"]
    command += ["-p", f"robot:={robot_path('so101')}", "-p", "autostart:=true"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.terminate()


def timing(seconds: float) -> dict[str, str]:
    """The executor's last timing report within `seconds`."""
    import rclpy
    from diagnostic_msgs.msg import DiagnosticArray

    report: dict[str, str] = {}

    def on_diagnostics(message: DiagnosticArray) -> None:
        for status in message.status:
            if "timing" in status.name:
                report.update({v.key: v.value for v in status.values})

    rclpy.init()
    node = rclpy.create_node("benchmark")
    node.create_subscription(DiagnosticArray, "/diagnostics", on_diagnostics, 10)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        rclpy.spin_once(node, timeout_sec=0.2)
    node.destroy_node()
    rclpy.shutdown()
    return report


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each run")
    seconds = parser.parse_known_args()[0].seconds
    os.environ.setdefault("ROS_DOMAIN_ID", str(1 + os.getpid() % 100))
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    policy_nice = int(defaults()["policy_nice"])
    rows = []
    for name, nice in (
        ("idle", None),
        ("load, nice 0", 0),
        (f"load, nice {policy_nice}", policy_nice),
    ):
        with executor():
            if nice is None:
                report = timing(seconds)
            else:
                with torch_load(nice):
                    report = timing(seconds)
        rows.append([name, *report.values()])
        header = ["executor at 100 Hz", *report]
    print(format_table(header, rows))


if __name__ == "__main__":
    main()
