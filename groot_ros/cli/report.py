# SPDX-License-Identifier: Apache-2.0
"""`groot-ros report`: page, table and pictures of a recorded run."""

import argparse
from pathlib import Path

from groot_ros.cli import add_command
from groot_ros.core.share import robot_path
from groot_ros.robot import load_contract

_EXAMPLES = """examples:
  groot-ros report ~/bags/run1                      # ~/bags/run1_report/report.html and pictures
  groot-ros report ~/bags/run1 --html /tmp/run1.html   # the page under another name
  groot-ros report ~/bags/run1 --robot ~/my_arm.yaml   # with these joint limits
  groot-ros report ~/bags/rosbag2_2026_11_28           # a bag of another recorder

The page is one file that any browser opens without a network.
"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the parser of `groot-ros report`."""
    description = "Write an HTML page, a table and pictures of a run, from its bag."
    parser = add_command(subparsers, "report", description, _EXAMPLES)
    parser.add_argument("bag", type=Path, help="directory of the bag, or an .mcap file")
    parser.add_argument("--out", type=Path, help="output directory (default: BAG_report)")
    parser.add_argument(
        "--html", type=Path, metavar="FILE", help="the page (default: report.html in --out)"
    )
    parser.add_argument(
        "--robot", help="robot contract with the joint limits to draw (default: that in the bag)"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the report."""
    from groot_ros.evaluation.report import write_report, written_files

    # resolve() gives "." and "bag/.." a name.
    bag = args.bag.resolve()
    if args.html and not args.html.absolute().parent.is_dir():
        raise ValueError(f"--html {args.html}: there is no directory {args.html.parent}")
    limits = position_limits(args.robot) if args.robot else None
    name = bag.stem if bag.is_file() else bag.name
    out = args.out or bag.with_name(f"{name}_report")
    write_report(args.bag, out, limits, args.html)
    names = [str(args.html)] if args.html else []
    print(f"\nresults in {out}/: " + ", ".join([*written_files(out), *names]))
    return 0


def position_limits(robot: str) -> dict[str, tuple[float, float]]:
    """Return joint -> position limits, rad or m, of a robot contract (a name or a file)."""
    from groot_ros.evaluation.report import joint_limits

    return joint_limits(load_contract(robot_path(robot)))
