# SPDX-License-Identifier: Apache-2.0
"""`groot-ros replay`: play a bag to a policy and to an executor that commands nothing."""

import argparse
import os
import re
import sys
from typing import TYPE_CHECKING

from tqdm import tqdm

from groot_ros.bringup.arguments import REPLAY_ARGUMENTS
from groot_ros.bringup.replay import replay_graph
from groot_ros.bringup.supervisor import Running, ShutdownSignal, Supervisor, wait_until_stopped
from groot_ros.cli import add_command
from groot_ros.cli.up import add_launch_options, launch_values
from groot_ros.robot import load_contract

if TYPE_CHECKING:
    from groot_ros.bridge.operator import Snapshot

_EXAMPLES = """examples:
  groot-ros replay ~/bags/run1 --checkpoint ~/my_checkpoint
  groot-ros replay ~/bags/run1 --checkpoint ~/my_checkpoint --output ~/bags/replayed
  groot-ros report ~/bags/replayed                       # what the policy did in the replay
  groot-ros replay ~/bags/old --checkpoint ~/my_checkpoint --robot so101 --instruction "pick it up"
  groot-ros replay ~/bags/run1 --checkpoint ~/my_checkpoint --loop --rate 0.5 --start-offset 10

Cameras and joint states of the bag are played, commands never, and the executor is in shadow: it
reports everything and commands nothing. The replay runs in a ROS_DOMAIN_ID that no robot is in.

Exit status: 0 the bag was played and the policy made chunks, 1 not, 2 wrong usage.
"""

#: Options that are not derived from the launch arguments.
_OWN = ("bag", "loop", "player")
_PROGRESS = re.compile(r": played ([\d.]+) of ([\d.]+) s")
_BAR = "replay {percentage:3.0f}%|{bar}| {n:.0f}/{total:.0f} s {postfix}"


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the parser of `groot-ros replay`."""
    description = "Play a bag to a policy and to an executor in shadow."
    parser = add_command(subparsers, "replay", description, _EXAMPLES)
    parser.add_argument("bag", help="directory of the bag")
    parser.add_argument("--loop", action="store_true", help="begin again at the end of the bag")
    add_launch_options(parser, [a for a in REPLAY_ARGUMENTS if a.name not in _OWN])
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Replay until the end of the bag or an end signal; return 0 if the policy made chunks."""
    values = launch_values(args, [a for a in REPLAY_ARGUMENTS if a.name not in _OWN])
    graph = replay_graph({**values, "bag": args.bag, "loop": str(args.loop).lower()})
    if args.domain == "isolated":
        from groot_ros.bridge.isolated_domain import use_isolated_domain

        use_isolated_domain()
    from groot_ros.bridge.operator import Operator

    domain = os.environ.get("ROS_DOMAIN_ID", "0")
    print(f"replay of {args.bag} in ROS_DOMAIN_ID={domain}; Ctrl-C ends it", flush=True)
    # disable=None: no bar where the output is not a terminal; the lines of the player remain.
    with tqdm(total=1.0, bar_format=_BAR, file=sys.stdout, disable=None) as progress:

        def show(line: str) -> None:
            done = _PROGRESS.search(line)
            if done and not progress.disable:
                progress.n, progress.total = float(done[1]), float(done[2])
                progress.refresh()
            else:
                tqdm.write(line)
                sys.stdout.flush()

        supervisor = Supervisor(graph, show)
        contract = load_contract(str(graph.processes[0].parameters["robot"]))
        with ShutdownSignal() as shutdown:
            with Operator(contract, graph.namespace) as operator:
                supervisor.start()
                dead = wait_until_stopped(supervisor, shutdown)
                seen = operator.snapshot()
            supervisor.stop()
    if dead is not None and not _ended_well(dead):
        print(f"groot-ros replay: {supervisor.exit_report(dead)}", file=sys.stderr)
        return 1
    return _summary(seen)


def _ended_well(dead: Running) -> bool:
    return dead.spec.executable == "player_node" and dead.process.returncode == 0


def _summary(seen: "Snapshot") -> int:
    rejections = ", ".join(f"{code} x{n}" for code, n in sorted(seen.policy_rejections.items()))
    print(f"{seen.chunks} chunks; observations that the policy rejected: {rejections or 'none'}")
    if not seen.chunks:
        print("groot-ros replay: the policy made no chunk", file=sys.stderr)
        return 1
    return 0
