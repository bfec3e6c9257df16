# SPDX-License-Identifier: Apache-2.0
"""`groot-ros bag`: record, inspect and recover bags."""

import argparse
import math
import re
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from groot_ros.bags import NOTHING_RECORDED
from groot_ros.bringup.node_graph import record_graph
from groot_ros.bringup.supervisor import ShutdownSignal, Supervisor, wait_until_stopped
from groot_ros.cli import add_actions, add_command
from groot_ros.robot.fields import is_topic_name

if TYPE_CHECKING:
    from groot_ros.bags.contents import BagContents

_EXAMPLES = """examples:
  groot-ros bag record --robot so101 --out ~/bags/run1
  groot-ros bag record --robot ~/my_arm.yaml --out ~/bags/run2 --duration 60
  groot-ros bag record --out ~/bags/arm_only --topics joint_states action_chunk /tf
  groot-ros bag info ~/bags/run1
  groot-ros bag recover ~/bags/killed --out ~/bags/recovered

`ros2 bag info` and `ros2 bag play` read these bags.
"""

#: s after which --duration starts even if no topic has appeared.
_DISCOVERY_TIMEOUT = 3.0


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the parser of `groot-ros bag`."""
    parser = add_command(subparsers, "bag", "Record, inspect and recover bags.", _EXAMPLES)
    actions = add_actions(parser)
    _add_record(actions)
    info = actions.add_parser("info", help="show topics, types, counts, rates and duration")
    info.add_argument("bag", type=Path, help="directory of the bag")
    info.set_defaults(run=run_info)
    recover = actions.add_parser("recover", help="finish a bag that was killed or is damaged")
    recover.add_argument("bag", type=Path, help="directory of the unfinished bag; not changed")
    recover.add_argument(
        "--out", type=Path, help="directory of the finished bag (default: BAG_recovered)"
    )
    recover.set_defaults(run=run_recover)


def _add_record(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = actions.add_parser(
        "record",
        help="record until Ctrl-C, or for --duration",
        description="Record topics, uncompressed, until Ctrl-C or for --duration.",
    )
    parser.add_argument(
        "--robot", default="so101", help="robot contract: a name or a file (default: so101)"
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="directory of the bag; must not exist yet"
    )
    parser.add_argument(
        "--topics", nargs="+", default=[], help="topics (default: all of the robot contract)"
    )
    parser.add_argument(
        "--duration",
        type=float,
        help="seconds from the first recorded topic on (default: until Ctrl-C)",
    )
    parser.add_argument("--namespace", default="", help="namespace of the graph")
    parser.add_argument("--use-sim-time", action="store_true", help="use and record /clock")
    parser.set_defaults(run=run_record)


def run_record(args: argparse.Namespace) -> int:
    """Record; return 0 if all received messages are in the bag, 1 otherwise or without any."""
    if args.duration is not None and not 0 < args.duration < math.inf:
        raise ValueError(f"--duration must be positive and finite, not {args.duration:g}")
    for topic in args.topics:
        if not is_topic_name(topic):
            raise ValueError(f"--topics: '{topic}' is not a topic name; separate topics by spaces")
    graph = record_graph(
        robot=args.robot,
        output=str(args.out.absolute()),
        topics=args.topics,
        namespace=args.namespace,
        use_sim_time=args.use_sim_time,
    )
    clock = RecordingClock(args.duration)

    empty = threading.Event()

    def show(line: str) -> None:
        clock.add_line(line, time.monotonic())
        if NOTHING_RECORDED in line:
            empty.set()
        print(line, flush=True)

    supervisor = Supervisor(graph, show)
    with ShutdownSignal() as shutdown:
        supervisor.start()
        dead = wait_until_stopped(
            supervisor, shutdown, finished=lambda: clock.expired(time.monotonic())
        )
        supervisor.stop()
    code = supervisor.running[0].process.returncode
    if dead is not None and code < 0:
        print(
            f"groot-ros bag: {supervisor.exit_report(dead)}\n"
            f"Recover the recorded messages with: groot-ros bag recover {args.out}",
            file=sys.stderr,
        )
        return 1
    return 1 if empty.is_set() else abs(code)


class RecordingClock:
    """Timer of --duration: starts with the first topic in the output of the recorder.

    Args:
        duration: s; None = unlimited.

    """

    _TOPIC = re.compile(r": recording /\S+ \[")

    def __init__(self, duration: float | None) -> None:
        self._duration = duration
        self._first_line_at: float | None = None
        self._first_topic_at: float | None = None

    def add_line(self, line: str, now: float) -> None:
        """Process one line of output, received at `now` (s)."""
        if self._first_line_at is None:
            self._first_line_at = now
        if self._first_topic_at is None and self._TOPIC.search(line):
            self._first_topic_at = now

    def expired(self, now: float) -> bool:
        """Return whether the duration is over at `now` (s).

        Without a topic it starts _DISCOVERY_TIMEOUT after the first line.
        """
        if self._duration is None or self._first_line_at is None:
            return False
        start = self._first_line_at + _DISCOVERY_TIMEOUT
        if self._first_topic_at is not None:
            start = self._first_topic_at
        return now - start >= self._duration


def run_info(args: argparse.Namespace) -> int:
    """Print the contents of a bag."""
    from groot_ros.bags.contents import read_contents

    print(format_contents(read_contents(args.bag)))
    return 0


def run_recover(args: argparse.Namespace) -> int:
    """Copy the messages of a bag into a new one; return 1 if a part could not be read."""
    from groot_ros.bags.recovery import Damage, recover

    out = args.out or args.bag.with_name(f"{args.bag.name}_recovered")
    damage = Damage()
    counts = recover(args.bag, out, damage).counts
    print(f"{sum(counts.values())} messages of {len(counts)} topics written to {out}")
    if damage.first is None:
        return 0
    print(
        f"groot-ros bag: damaged from byte {damage.first:,} on: "
        f"{damage.bytes / 1e6:.3f} MB could not be read",
        file=sys.stderr,
    )
    return 1


def format_contents(contents: "BagContents") -> str:
    """Return one line for the bag and a table of its topics."""
    from groot_ros.evaluation.table import format_table

    table = format_table(
        ["topic", "type", "messages", "Hz"],
        [
            [t.name, t.type, str(t.count), f"{rate:.1f}" if (rate := contents.rate(t)) else "-"]
            for t in contents.topics
        ],
    )
    lines = [
        f"{contents.path}: {contents.duration:.1f} s, {contents.count} messages, "
        f"{contents.bytes / 1e6:.1f} MB",
        table,
    ]
    if not contents.finished:
        lines.append(
            "The bag is unfinished: its recording was killed. Finish it with\n"
            f"  groot-ros bag recover {contents.path}"
        )
    return "\n".join(lines)
