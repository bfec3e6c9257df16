# SPDX-License-Identifier: Apache-2.0
"""`groot-ros report`: table and pictures of a recorded run."""

import argparse
from pathlib import Path

from groot_ros.cli import add_command

_EXAMPLES = """examples:
  groot-ros report ~/bags/run1                      # into ~/bags/run1_report
  groot-ros report ~/bags/run1 --out /tmp/report
"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the parser of `groot-ros report`."""
    description = "Write a table and pictures of a run, from its bag."
    parser = add_command(subparsers, "report", description, _EXAMPLES)
    parser.add_argument("bag", type=Path, help="directory of the bag")
    parser.add_argument("--out", type=Path, help="output directory (default: BAG_report)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the report."""
    from groot_ros.evaluation.report import write_report

    out = args.out or args.bag.with_name(f"{args.bag.name}_report")
    write_report(args.bag, out)
    print(f"\nresults in {out}/")
    return 0
