# SPDX-License-Identifier: Apache-2.0
"""Measure the share of poses on a robot's table that pick and place reaches, and the time to plan.

    python -m benchmarks.motion_planning [--robot arm7_suction] [--cases 500] [--turn 150]

Each case has a random pick and place pose on the table, with a random yaw at the pick and a random
turn to the place. The motion begins where the last one ended, at first at rest. The first row keeps
the `symmetric` of the contract, the second has the opposite.
"""

import argparse
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from groot_ros.core import ToolPose
from groot_ros.core.share import robot_path
from groot_ros.evaluation.table import format_table
from groot_ros.primitives import ArmKinematics, UnreachableError, plan_pick_place
from groot_ros.robot import Table, load_contract


def random_pose(rng: np.random.Generator, table: Table, height: float, yaw: float) -> ToolPose:
    """Draw a pose on the table with a yaw, rad."""
    point = (float(rng.uniform(*table.x)), float(rng.uniform(*table.y)), height)
    return ToolPose(point, (0.0, 0.0, float(np.sin(yaw / 2)), float(np.cos(yaw / 2))))


def measure(kinematics: ArmKinematics, cases: int, turn: float, seed: int = 0) -> list[str]:
    """Return one row: success, median and slowest planning, duration of the motion, failures."""
    rng = np.random.default_rng(seed)
    table = kinematics.table
    start = dict.fromkeys(kinematics.joints, 0.0)
    start |= dict(zip(kinematics.arm, kinematics.home.tolist(), strict=True))
    took, durations = [], []
    failed: Counter[str] = Counter()
    for _ in range(cases):
        yaw = float(rng.uniform(-turn, turn)) / 2
        pick = random_pose(rng, table, table.pick_height, yaw)
        place = random_pose(rng, table, table.place_height, yaw + float(rng.uniform(-turn, turn)))
        begin = time.perf_counter()
        try:
            path = plan_pick_place(kinematics, start, pick, place)
        except UnreachableError as error:
            failed[str(error).partition(":")[0]] += 1
        else:
            start = dict(zip(path.joints, path.positions[-1].tolist(), strict=True))
            durations.append(path.duration)
        took.append(time.perf_counter() - begin)
    return [
        "yes" if table.symmetric else "no",
        f"{100 * len(durations) / cases:.1f} %",
        f"{1000 * np.median(took):.0f}",
        f"{1000 * max(took):.0f}",
        f"{np.median(durations):.1f}" if durations else "-",
        f"{max(durations):.1f}" if durations else "-",
        ", ".join(f"{n} {where}" for where, n in failed.most_common()) or "none",
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser("python -m benchmarks.motion_planning", description=__doc__)
    parser.add_argument("--robot", default="arm7_suction", help="robot contract, a name or a file")
    parser.add_argument("--cases", type=int, default=500)
    parser.add_argument("--turn", type=float, default=150.0, help="largest turn, degrees")
    args = parser.parse_args(arguments)
    robot = load_contract(robot_path(args.robot))
    if robot.table is None:
        parser.error(f"robot '{args.robot}' has no table")
    rows = []
    for symmetric in (robot.table.symmetric, not robot.table.symmetric):
        table = replace(robot.table, symmetric=symmetric)
        kinematics = ArmKinematics(replace(robot, table=table))
        rows.append(measure(kinematics, args.cases, float(np.deg2rad(args.turn))))
    header = ["symmetric", "planned", "median ms", "most ms", "median s", "most s", "failed at"]
    print(format_table(header, rows))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
