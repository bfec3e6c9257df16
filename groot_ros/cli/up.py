# SPDX-License-Identifier: Apache-2.0
"""`groot-ros up`: start the graph of policy.launch.py without the ros2 command line."""

import argparse
import sys
from collections.abc import Sequence
from functools import partial

from groot_ros.bringup.arguments import ARGUMENTS, RENAMED, Argument
from groot_ros.bringup.node_graph import demo_graph, policy_graph
from groot_ros.bringup.supervisor import ShutdownSignal, Supervisor, wait_until_stopped
from groot_ros.cli import add_command
from groot_ros.core.share import DEMO_ROBOT

#: Instructions of the tasks that the demo checkpoint is trained for.
_KNOWN = (
    "touch the red|green|blue cube",
    "push the red|green|blue cube to the left|right",
    "put the red|green|blue cube into the bowl",
)
#: End of the log line of a policy that was activated.
_ACTIVE = "[policy_node]: active"

_EXAMPLES = """examples:
  groot-ros up --checkpoint ~/checkpoints/pick --robot so101
  groot-ros up --checkpoint ~/checkpoints/pick --robot ~/my_arm.yaml --namespace left
  groot-ros up --sim                 # with the simulated robot and its checkpoint
  groot-ros up --sim --keep-going    # a node that ends does not end the others

Ctrl-C stops the executor first, which ends the motion with a hold, then the policy.
"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the parser of `groot-ros up`."""
    description = "Start the policy and the executor as supervised processes."
    parser = add_command(subparsers, "up", description, _EXAMPLES)
    add_launch_options(parser)
    # Which default it has depends on --sim.
    parser.set_defaults(robot=None)
    parser.add_argument(
        "--sim",
        action="store_true",
        help=f"also start the simulated robot; --robot then defaults to {DEMO_ROBOT}",
    )
    parser.add_argument(
        "--keep-going",
        action="store_true",
        help="keep the other nodes running when one of them ends (default: stop all)",
    )
    parser.set_defaults(run=run)


def add_launch_options(
    parser: argparse.ArgumentParser, arguments: Sequence[Argument] = ARGUMENTS
) -> None:
    """Add one option per launch argument, and the hidden old names."""
    for argument in arguments:
        default = f" (default: {argument.default})" if argument.default else ""
        parser.add_argument(
            _option(argument.name),
            default=argument.default,
            type=partial(_choice, argument),
            metavar=f"{{{','.join(argument.choices)}}}" if argument.choices else None,
            help=argument.description + default,
        )
    for old in RENAMED:
        parser.add_argument(_option(old), default=argparse.SUPPRESS, help=argparse.SUPPRESS)


def _choice(argument: Argument, value: str) -> str:
    """Return a valid value; an error lists the choices without their former names."""
    if argument.choices and value not in argument.accepted:
        choices = ", ".join(argument.choices)
        raise argparse.ArgumentTypeError(f"must be one of {choices}, not '{value}'")
    return value


def launch_values(
    args: argparse.Namespace, arguments: Sequence[Argument] = ARGUMENTS
) -> dict[str, str]:
    """Return launch argument name -> value of the parsed options that have one."""
    names = [*(a.name for a in arguments), *RENAMED]
    given = {name: getattr(args, name, None) for name in names}
    return {name: value for name, value in given.items() if value is not None}


def run(args: argparse.Namespace) -> int:
    """Run the nodes until an end signal (returns 0) or until one of them ends (returns 1).

    With --keep-going, until an end signal or until all of them have ended.
    """
    values = launch_values(args)
    graph = demo_graph(values) if args.sim else policy_graph(values)
    shipped = args.sim and not args.checkpoint and args.robot in (None, DEMO_ROBOT)
    hints = instruction_hints(graph.namespace, shipped=shipped)

    def show(line: str) -> None:
        print(line, flush=True)
        # After the node's own lines, so that it is not lost above them.
        if hints and line.startswith("[policy_node]") and line.endswith(_ACTIVE):
            print("\n".join(hints), flush=True)
            hints.clear()

    supervisor = Supervisor(graph, show)
    status = 0
    with ShutdownSignal() as shutdown:
        try:
            supervisor.start()
            while (dead := wait_until_stopped(supervisor, shutdown)) is not None:
                status = 1
                # Its output was shown as it came.
                dead.reader.join(timeout=2.0)
                print(f"{supervisor.exit_line(dead)}: see its output above", file=sys.stderr)
                supervisor.forget(dead)
                names = ", ".join(each.spec.executable for each in supervisor.running)
                if not args.keep_going or not names:
                    print("stopping the other nodes", file=sys.stderr)
                    break
                print(f"still running: {names}", file=sys.stderr)
        finally:
            supervisor.stop()
    return status


def instruction_hints(namespace: str, *, shipped: bool) -> list[str]:
    """Return the lines that say how to give an instruction; `shipped`: to the demo checkpoint."""
    option = f" --namespace {namespace}" if namespace else ""
    example = "touch the red cube" if shipped else "pick up the cube"
    hints = [f"give an instruction in another shell: groot-ros say {example}{option}"]
    if shipped:
        hints.append(f"instructions that the demo checkpoint knows: {'; '.join(_KNOWN)}")
    return hints


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
