# SPDX-License-Identifier: Apache-2.0
"""`groot-ros status`: what policy, executor and robot report, once, as JSON, or as a live view."""

import argparse
import json
import sys
from dataclasses import asdict

from groot_ros.cli import add_command
from groot_ros.cli.operator import add_graph_options
from groot_ros.cli.status.text import screen

_EXAMPLES = """examples:
  groot-ros status
  groot-ros status --watch                     # live view; q ends it
  groot-ros status --json --namespace left

Exit status: 0 policy and executor found, 2 wrong usage, 3 one of them was not found in time.
"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the parser of `groot-ros status`."""
    description = "Show states, inputs, latencies, joints and rejections of a running graph."
    parser = add_command(subparsers, "status", description, _EXAMPLES)
    add_graph_options(parser)
    parser.add_argument(
        "--robot", help="robot contract: a name or a file (default: that of the executor)"
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print one JSON object")
    form.add_argument("--watch", action="store_true", help="live view; needs the library textual")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the status; return 0, or 3 if the policy or the executor was not found."""
    if args.watch:
        try:
            import textual  # noqa: F401
        except ImportError:
            raise ValueError(
                "--watch needs the Python package textual: pip install 'groot_ros[watch]'"
            ) from None
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            raise ValueError("--watch needs a terminal: use groot-ros status or --json")
    from groot_ros.bridge.robot_status import StatusReader
    from groot_ros.core.share import robot_path
    from groot_ros.robot import load_contract

    robot = load_contract(robot_path(args.robot)) if args.robot else None
    with StatusReader(args.namespace, robot) as reader:
        if args.watch:
            from groot_ros.cli.status.watch import StatusApp

            StatusApp(reader).run()
            return 0
        reader.wait(args.timeout)
        status = reader.status()
    if args.json:
        print(json.dumps(asdict(status), indent=2))
    else:
        print(screen(status))
    missing = [
        f"{status.namespace.rstrip('/')}/{name}"
        for name, report in (("policy_node", status.policy), ("executor_node", status.executor))
        if report is None
    ]
    if missing:
        print(
            f"groot-ros status: nothing from {' and '.join(missing)} within {args.timeout:g} s "
            f"(ROS_DOMAIN_ID {status.domain})",
            file=sys.stderr,
        )
        return 3
    return 0
