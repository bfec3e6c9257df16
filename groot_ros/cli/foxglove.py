# SPDX-License-Identifier: Apache-2.0
"""`groot-ros foxglove`: write the Foxglove layout of a robot."""

import argparse
import json
from pathlib import Path

from groot_ros.bringup.arguments import require_namespace
from groot_ros.bringup.foxglove_layout import foxglove_layout
from groot_ros.cli import add_command
from groot_ros.core.share import robot_path
from groot_ros.robot import load_contract

_EXAMPLES = """examples:
  groot-ros foxglove --out layout.json                    # the simulated SO-101
  groot-ros foxglove --robot ~/my_arm.yaml --namespace left --out left.json

Import the file in Foxglove or Lichtblick, connected to foxglove_bridge; see docs/how-to/views.md.
"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the parser of `groot-ros foxglove`."""
    description = "Write a Foxglove layout with the cameras, joints and services of a robot."
    parser = add_command(subparsers, "foxglove", description, _EXAMPLES)
    parser.add_argument(
        "--robot", default="so101", help="robot contract, a name or a file (default: so101)"
    )
    parser.add_argument("--namespace", default="", help="of policy and executor (default: none)")
    parser.add_argument(
        "--frame", default="base_link", help="fixed link of the robot's URDF (default: base_link)"
    )
    parser.add_argument("--out", type=Path, help="file to write (default: standard output)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the layout."""
    robot = load_contract(robot_path(args.robot))
    layout = foxglove_layout(robot, require_namespace(args.namespace), args.frame)
    text = json.dumps(layout, indent=2) + "\n"
    if args.out is None:
        print(text, end="")
    else:
        args.out.write_text(text, encoding="utf-8")
        print(f"wrote {args.out}")
    return 0
