# SPDX-License-Identifier: Apache-2.0
"""Timer jitter of the executor, idle and at work, with and without a two-thread torch load.

    python -m benchmarks.executor_jitter [--seconds 20]

The executor is the real node, activated, at 100 Hz. "At work" adds two processes: the simulated
robot (joint states at 100 Hz, commands executed) and a substitute for the policy that sends a
chunk of 16 steps five times per second, 100 ms after its observation, with offsets of 20 mrad. The
load multiplies matrices on two threads without pauses, at nice level 0 or that of bringup's policy.

    jitter    |interval - period| of the timer, as the node reports it on /diagnostics
    tick      duration of one tick
    of a core user and system time of the executor's process
    chunks    accepted of received chunks
"""

import argparse
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from benchmarks.running_executor import node, robot_and_policy, watched
from groot_ros.bridge.isolated_domain import use_isolated_domain
from groot_ros.bringup.arguments import default_values
from groot_ros.evaluation.table import format_table

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
    """Run a process that keeps two cores busy."""
    command = ["nice", "-n", str(nice), sys.executable, "-c", _LOAD]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield
        finally:
            process.kill()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run all cases and print one table."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.executor_jitter",
        description=__doc__.splitlines()[0] if __doc__ else "",
    )
    parser.add_argument(
        "--seconds", type=float, default=20.0, help="duration of each run (%(default)s)"
    )
    options = parser.parse_args(arguments)
    use_isolated_domain()
    nice = int(default_values()["policy_nice"])
    rows = []
    for name, works, loads in (
        ("alone", False, None),
        ("alone, load at nice 0", False, 0),
        (f"alone, load at nice {nice}", False, nice),
        ("at work", True, None),
        ("at work, load at nice 0", True, 0),
        (f"at work, load at nice {nice}", True, nice),
    ):
        with ExitStack() as around:
            pid = around.enter_context(node("executor_node", autostart="true"))
            if works:
                around.enter_context(robot_and_policy())
            if loads is not None:
                around.enter_context(torch_load(loads))
            report = watched(options.seconds, pid)
        rows.append([name, *report.values()])
    print(format_table(["executor at 100 Hz", *report], rows))
    print("target under load at the policy's nice level: jitter p99 <= 2 ms, <= 25% of a core")


if __name__ == "__main__":
    main()
