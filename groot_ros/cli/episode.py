# SPDX-License-Identifier: Apache-2.0
"""`groot-ros episode`: start, stop and discard episodes of a running recorder."""

import argparse
import sys
from typing import TYPE_CHECKING

from groot_ros.cli import add_actions, add_command
from groot_ros.cli.operator import EXIT_STATUS, add_graph_options, print_replies

if TYPE_CHECKING:
    from groot_ros.bridge.episode_commands import RecorderReport
    from groot_ros.bridge.operator_commands import Command

_EXAMPLES = f"""examples:
  groot-ros bag record --robot so101 --episodes ~/demos    # in another shell, it keeps running
  groot-ros episode start pick up the cube
  groot-ros episode stop success
  groot-ros episode start pick up the cube
  groot-ros episode discard
  groot-ros episode status
{EXIT_STATUS}"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the parser of `groot-ros episode`."""
    description = "Start, stop and discard episodes of a running recorder."
    actions = add_actions(add_command(subparsers, "episode", description, _EXAMPLES))
    start = actions.add_parser("start", help="start to record an episode into a new bag")
    start.add_argument(
        "text",
        nargs="*",
        metavar="TEXT",
        help="what the robot is to do (default: that of the recorder, or what a policy follows)",
    )
    start.add_argument(
        "--allow-missing-inputs",
        action="store_true",
        help="record although a camera or joint states have no publisher",
    )
    stop = actions.add_parser("stop", help="stop the episode and keep its bag")
    stop.add_argument("outcome", choices=("success", "failure", "unknown"))
    actions.add_parser("discard", help="stop the episode and delete its bag")
    actions.add_parser("status", help="show what is being recorded")
    for parser in actions.choices.values():
        add_graph_options(parser)
        parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Send the command; return 0 accepted, 1 rejected, 3 no such node or no answer."""
    from groot_ros.bridge.episode_commands import read_recorder
    from groot_ros.bridge.graph_client import GraphClient, NoAnswerError
    from groot_ros.bridge.operator_commands import run_command

    with GraphClient(args.namespace) as client:
        if args.action == "status":
            try:
                print(format_report(read_recorder(client, args.timeout)))
            except NoAnswerError as error:
                print(f"groot-ros episode: {error}", file=sys.stderr)
                return 3
            return 0
        outcome, replies = run_command(client, _command(args), timeout=args.timeout)
    print_replies(f"episode {args.action}", replies)
    return int(outcome)


def format_report(report: "RecorderReport") -> str:
    """Return what the recorder does, a line for each fact."""
    if report.recording:
        label = f"episode {report.episode}" if report.episode else "recording"
        instruction = f" '{report.instruction}'" if report.instruction else ""
        lines = [
            f"{label}{instruction}: {report.duration:.0f} s, {report.messages} messages, "
            f"{report.bytes / 1e6:.1f} MB in {report.bag}"
        ]
    else:
        lines = ["waiting for the next episode"]
    kept = report.successes + report.failures + report.without_outcome
    lines.append(
        f"kept {kept}: {report.successes} success, {report.failures} failure, "
        f"{report.without_outcome} unknown; discarded {report.discarded}; "
        f"{report.free_bytes / 1e9:.1f} GB free"
    )
    if report.dropped or report.lost:
        lines.append(
            f"MISSING: {report.dropped} messages not written, {report.lost} lost in transport"
        )
    if report.missing_inputs:
        lines.append(f"nobody publishes {', '.join(report.missing_inputs)}")
    return "\n".join(lines)


def _command(args: argparse.Namespace) -> "Command":
    from groot_ros.bridge.episode_commands import discard_episode, start_episode, stop_episode

    if args.action == "start":
        return start_episode(" ".join(args.text), allow_missing_inputs=args.allow_missing_inputs)
    return stop_episode(args.outcome) if args.action == "stop" else discard_episode()
