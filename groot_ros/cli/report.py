# SPDX-License-Identifier: Apache-2.0
"""`groot-ros report`: table and pictures of a recorded run."""

import argparse
from pathlib import Path

from groot_ros.cli import add_command
from groot_ros.core.share import robot_path
from groot_ros.robot import load_contract

_EXAMPLES = """examples:
  groot-ros report ~/bags/run1                      # into ~/bags/run1_report
  groot-ros report ~/bags/run1 --out /tmp/report
  groot-ros report ~/bags/run1 --robot ~/my_arm.yaml   # with the joint limits in joints.png
"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the parser of `groot-ros report`."""
    description = "Write a table and pictures of a run, from its bag."
    parser = add_command(subparsers, "report", description, _EXAMPLES)
    parser.add_argument("bag", type=Path, help="directory of the bag")
    parser.add_argument("--out", type=Path, help="output directory (default: BAG_report)")
    parser.add_argument("--robot", help="robot contract, to draw its joint limits")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the report."""
    from groot_ros.evaluation.report import write_report, written_files

    limits = position_limits(args.robot) if args.robot else {}
    # resolve() gives "." and "bag/.." a name.
    bag = args.bag.resolve()
    out = args.out or bag.with_name(f"{bag.name}_report")
    write_report(args.bag, out, limits)
    print(f"\nresults in {out}/: " + ", ".join(written_files(out)))
    return 0


def position_limits(robot: str) -> dict[str, tuple[float, float]]:
    """Return joint -> position limits, rad or m, of a robot contract (a name or a file)."""
    joints = load_contract(robot_path(robot)).joints
    return {name: (joint.limits.lower, joint.limits.upper) for name, joint in joints.items()}
