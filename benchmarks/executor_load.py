# SPDX-License-Identifier: Apache-2.0
"""Processor time of the executor at 100 Hz for robots with 6, 16 and 26 joints.

    python -m benchmarks.executor_load [--seconds 20] [--repetitions 5] [--profile so101]

Each repetition runs all robots one after another: the executor is the real node, the simulated
robot sends joint states at 100 Hz and executes the commands, and a substitute for the policy sends
five chunks per second. The robot with 26 joints is synthetic.

    of a core    user and system time of the executor's process, over the second half of a run
    chunks       accepted of received chunks in the last repetition

`--profile ROBOT` runs one robot once under cProfile instead, which takes about twice the time, and
prints the functions in which most time is spent.
"""

import argparse
import pstats
import statistics
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.many_joints import write_robot
from benchmarks.running_executor import node, robot_and_policy, watched
from groot_ros.bridge.isolated_domain import use_isolated_domain
from groot_ros.evaluation.table import format_table

#: Robot -> largest share of a core; the last one is synthetic.
TARGETS = {"so101": 0.12, "bimanual": 0.20, "many_joints": 0.25}


def processor_name() -> str:
    """Return the name of this machine's processor."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{len(names)} x {names[0]}" if names else "unknown processor"


def run(robot: str | Path, seconds: float, profile: Path | None = None) -> dict[str, str]:
    """Run one robot, and return the executor's report and its share of a core."""
    with ExitStack() as around:
        around.enter_context(robot_and_policy(robot))
        pid = around.enter_context(
            node("executor_node", robot, profile=profile, autostart="true", discovery_timeout=0.0)
        )
        return watched(seconds, pid)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run all repetitions and print one table."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.executor_load",
        description=__doc__.splitlines()[0] if __doc__ else "",
    )
    parser.add_argument(
        "--seconds", type=float, default=20.0, help="duration of each run (%(default)s)"
    )
    parser.add_argument(
        "--repetitions", type=int, default=5, help="runs of each robot (%(default)s)"
    )
    parser.add_argument("--profile", choices=TARGETS, help="robot to profile instead")
    options = parser.parse_args(arguments)
    use_isolated_domain()
    with tempfile.TemporaryDirectory() as folder:
        robots: dict[str, str | Path] = {name: name for name in TARGETS}
        robots["many_joints"] = write_robot(Path(folder))
        if options.profile:
            file = Path(folder) / "profile"
            run(robots[options.profile], options.seconds, file)
            stats = pstats.Stats(str(file))
            stats.sort_stats("tottime").print_stats(30)
            stats.sort_stats("cumulative").print_stats("groot_ros", 40)
            return
        shares: dict[str, list[float]] = {name: [] for name in TARGETS}
        reports: dict[str, dict[str, str]] = {}
        for _ in range(options.repetitions):
            for name, robot in robots.items():
                reports[name] = run(robot, options.seconds)
                shares[name].append(float(reports[name]["of a core"].rstrip("%")) / 100.0)
    rows = [
        [
            name,
            f"{statistics.median(found):.1%}",
            f"{min(found):.1%} to {max(found):.1%}",
            f"{TARGETS[name]:.0%}",
            reports[name]["tick p50"],
            reports[name]["tick p99"],
            reports[name]["chunks"],
        ]
        for name, found in shares.items()
    ]
    header = [f"executor at 100 Hz, {processor_name()}", "of a core", "range", "target"]
    print(format_table([*header, "tick p50", "tick p99", "chunks"], rows))
    print(f"median of {options.repetitions} runs of {options.seconds:g} s each")


if __name__ == "__main__":
    main()
