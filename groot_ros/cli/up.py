"""`groot-ros up`: the graph of policy.launch.py where there is no ros2 command line."""

import argparse
import sys

from groot_ros.bringup.arguments import ARGUMENTS, RENAMED
from groot_ros.bringup.node_graph import demo_graph, policy_graph
from groot_ros.bringup.shutdown_signal import ShutdownSignal
from groot_ros.bringup.supervisor import Supervisor, wait_until_stopped

_EXAMPLES = """examples:
  groot-ros up --checkpoint ~/checkpoints/pick --robot so101
  groot-ros up --checkpoint ~/checkpoints/pick --robot ~/my_arm.yaml --namespace left
  groot-ros up --sim                 # with the simulated robot and its own checkpoint

Ctrl-C stops the executor first, whose last message is a hold, then the policy.
"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "up",
        help="bring up policy and executor as supervised processes",
        description="Bring up the policy and the executor as supervised processes.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_bringup_options(parser)
    parser.add_argument("--sim", action="store_true", help="add the simulated robot")
    parser.set_defaults(run=run)


def add_bringup_options(parser: argparse.ArgumentParser) -> None:
    """One option for each launch argument."""
    for argument in ARGUMENTS:
        default = f" (default: {argument.default})" if argument.default else ""
        parser.add_argument(
            f"--{argument.name.replace('_', '-')}",
            default=argument.default,
            choices=argument.choices or None,
            metavar=None if argument.choices else argument.name.upper(),
            help=argument.description + default,
        )


def bringup_values(args: argparse.Namespace) -> dict[str, str]:
    """The bringup arguments among the parsed ones."""
    return {a.name: getattr(args, a.name) for a in ARGUMENTS}


def run(args: argparse.Namespace) -> int:
    """Until Ctrl-C (0) or until a node dies (1)."""
    values = bringup_values(args)
    graph = demo_graph(values) if args.sim else policy_graph(values)
    supervisor = Supervisor(graph, show=lambda line: print(line, flush=True))
    with ShutdownSignal() as ending:
        try:
            supervisor.start()
            dead = wait_until_stopped(supervisor, ending)
            if dead is not None:
                print(supervisor.exit_report(dead), file=sys.stderr)
                print("stopping the rest safely", file=sys.stderr)
        finally:
            supervisor.stop()
    return 0 if dead is None else 1
