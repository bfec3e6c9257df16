# SPDX-License-Identifier: Apache-2.0
"""`groot-ros say | stop | hold | release | estop | resume | reset | step`: command a running graph.

Each verb calls services and prints the answers, so that a command that was lost is noticed.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from groot_ros.cli import add_command

if TYPE_CHECKING:
    from groot_ros.bridge.operator_commands import Reply

#: Verb -> (description, examples without the first words).
_VERBS = {
    "say": (
        "Give the policy an instruction.",
        ["touch the red cube", '"pick up the cube" --namespace left'],
    ),
    "stop": (
        "Stop the robot within its limits, by an empty instruction to policy and executor.",
        ["", "--namespace left"],
    ),
    "hold": ("Stop the robot within its limits and hold it there until release.", [""]),
    "release": ("End a hold; the next chunk moves the robot.", [""]),
    "estop": (
        "Stop the robot as hard as its limits allow, until resume; no safety function.",
        [""],
    ),
    "resume": ("End an emergency stop or another latched stop.", [""]),
    "reset": (
        "Stop, forget session and history, and begin a new episode: executor, then policy.",
        ["", "--namespace left"],
    ),
    "step": ("With the parameter single_step, execute the next chunk.", [""]),
}
VERBS = tuple(_VERBS)

#: Last lines of the help of all commands that call a running graph.
EXIT_STATUS = """
Exit status: 0 accepted, 1 rejected, 2 wrong usage, 3 no such node or no answer in time.
"""


def add_parser(
    subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]", verb: str
) -> None:
    """Add the parser of one of VERBS."""
    description, examples = _VERBS[verb]
    lines = "\n".join(f"  groot-ros {verb} {example}".rstrip() for example in examples)
    parser = add_command(subparsers, verb, description, f"examples:\n{lines}\n{EXIT_STATUS}")
    if verb == "say":
        parser.add_argument("text", nargs="+", metavar="TEXT", help="the instruction")
    add_graph_options(parser)
    parser.set_defaults(run=run)


def add_graph_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of all commands that call a running graph."""
    parser.add_argument("--namespace", default="", help="namespace of the nodes")
    parser.add_argument(
        "--timeout",
        type=_seconds,
        default=3.0,
        metavar="S",
        help="s until a node must be found, and then answer (default: 3)",
    )


def run(args: argparse.Namespace) -> int:
    """Send the command; return 0 accepted, 1 rejected, 3 no such node or no answer."""
    from groot_ros.bridge.graph_client import GraphClient
    from groot_ros.bridge.operator_commands import COMMANDS, run_command
    from groot_ros.core import is_blank

    text = " ".join(getattr(args, "text", []))
    if args.verb == "say" and is_blank(text):
        raise ValueError("the instruction is empty, which stops: use groot-ros stop")
    with GraphClient(args.namespace) as client:
        outcome, replies = run_command(client, COMMANDS[args.verb], text, args.timeout)
    print_replies(args.verb, replies)
    return int(outcome)


def print_replies(command: str, replies: "Sequence[Reply]") -> None:
    """Print the reply of each node; rejections and missing ones on standard error."""
    from groot_ros.bridge.operator_commands import Outcome

    for reply in replies:
        accepted = reply.outcome == Outcome.ACCEPTED
        said = f"{reply.node}: {reply.message}" if accepted else reply.message
        if reply.outcome == Outcome.REJECTED:
            said = f"groot-ros {command}: rejected by {reply.node}: {reply.message}"
        elif not accepted:
            said = f"groot-ros {command}: {reply.message}"
        print(said, file=sys.stdout if accepted else sys.stderr)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0.0 < value <= 3600.0:
        raise argparse.ArgumentTypeError(f"must be from 0 to 3600 s, not '{text}'")
    return value
