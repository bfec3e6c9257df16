"""`groot-ros bag`: record the graph into a bag, look into bags, save unfinished ones."""

import argparse
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from groot_ros.bringup.node_graph import record_graph
from groot_ros.bringup.shutdown_signal import ShutdownSignal
from groot_ros.bringup.supervisor import Supervisor, wait_until_stopped
from groot_ros.robot.reader import is_topic_name

if TYPE_CHECKING:
    from groot_ros.bags.contents import BagContents

_EXAMPLES = """examples:
  groot-ros bag record --robot so101 --out ~/bags/run1
  groot-ros bag record --robot ~/my_arm.yaml --out ~/bags/run2 --duration 60
  groot-ros bag record --out ~/bags/arm_only --topics joint_states action_chunk /tf
  groot-ros bag info ~/bags/run1
  groot-ros bag recover ~/bags/killed --out ~/bags/saved

The bags are rosbag2's: `ros2 bag info` and `ros2 bag play` read them.
"""


#: s that --duration waits for a first topic.
_DISCOVERY = 3.0


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "bag",
        help="record bags of the graph, and look into them",
        description="Record bags of the graph, and look into them.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    _add_record(actions)
    info = actions.add_parser("info", help="topics, types, counts, duration and rates of a bag")
    info.add_argument("bag", type=Path, help="directory of the bag")
    info.set_defaults(run=run_info)
    recover = actions.add_parser("recover", help="save a bag whose recording was killed")
    recover.add_argument("bag", type=Path, help="directory of the unfinished bag; left as it is")
    recover.add_argument(
        "--out", type=Path, help="directory of the finished bag (default: BAG_recovered)"
    )
    recover.set_defaults(run=run_recover)


def _add_record(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = actions.add_parser(
        "record",
        help="record until Ctrl-C, or for a while",
        description="Record topics, raw, until Ctrl-C or for a while.",
    )
    parser.add_argument(
        "--robot", default="so101", help="robot contract: a name or a file (default: so101)"
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="directory of the bag; must not exist yet"
    )
    parser.add_argument(
        "--topics", nargs="+", default=[], help="(default: the graph of the robot contract)"
    )
    parser.add_argument(
        "--duration",
        type=float,
        help="seconds since the first topic is recorded (default: until Ctrl-C)",
    )
    parser.add_argument("--namespace", default="", help="namespace of the graph")
    parser.add_argument("--use-sim-time", action="store_true", help="follow and record /clock")
    parser.set_defaults(run=run_record)


def run_record(args: argparse.Namespace) -> int:
    """0 when everything received is in the bag, 1 when not, 2 for wrong use."""
    if args.duration is not None and args.duration <= 0:
        raise ValueError(f"--duration must be positive, not {args.duration:g}")
    for topic in args.topics:
        if not is_topic_name(topic):
            raise ValueError(f"--topics: '{topic}' is not a topic name; several are given apart")
    graph = record_graph(
        robot=args.robot,
        output=str(args.out.absolute()),
        topics=args.topics,
        namespace=args.namespace,
        use_sim_time=args.use_sim_time,
    )
    clock = RecordingClock(args.duration)

    def show(line: str) -> None:
        clock.hear(line, time.monotonic())
        print(line, flush=True)

    supervisor = Supervisor(graph, show)
    with ShutdownSignal() as ending:
        supervisor.start()
        dead = wait_until_stopped(supervisor, ending, over=lambda: clock.ended(time.monotonic()))
        supervisor.stop()
    code = supervisor.running[0].process.returncode
    if dead is not None and code < 0:
        print(
            f"groot-ros bag: {supervisor.exit_report(dead)}\n"
            f"What was recorded can be saved: groot-ros bag recover {args.out}",
            file=sys.stderr,
        )
        return 1
    return abs(code)


class RecordingClock:
    """When --duration is over: it begins with the first topic, told by the recorder's own words.

    Args:
        duration: s, None for ever.

    """

    _TOPIC = re.compile(r": recording /\S+ \[")

    def __init__(self, duration: float | None) -> None:
        self._duration = duration
        self._first_line_at: float | None = None
        self._first_topic_at: float | None = None

    def hear(self, line: str, now: float) -> None:
        """One line of the recorder, heard at `now` (s)."""
        if self._first_line_at is None:
            self._first_line_at = now
        if self._first_topic_at is None and self._TOPIC.search(line):
            self._first_topic_at = now

    def ended(self, now: float) -> bool:
        """Whether the duration is over at `now`; without any topic it begins after a patience."""
        if self._duration is None or self._first_line_at is None:
            return False
        begun = self._first_line_at + _DISCOVERY
        if self._first_topic_at is not None:
            begun = self._first_topic_at
        return now - begun >= self._duration


def run_info(args: argparse.Namespace) -> int:
    """Print what a bag holds."""
    from groot_ros.bags.contents import read_contents

    print(format_contents(read_contents(args.bag)))
    return 0


def run_recover(args: argparse.Namespace) -> int:
    """Copy what an unfinished bag holds into a finished one."""
    from groot_ros.bags.recovery import recover

    out = args.out or args.bag.with_name(f"{args.bag.name}_recovered")
    counts = recover(args.bag, out).counts
    print(f"{sum(counts.values())} messages of {len(counts)} topics saved in {out}")
    return 0


def format_contents(contents: "BagContents") -> str:
    """One line for the bag, then a table of its topics."""
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
            "This bag was never closed: its recording was killed. Save the above with\n"
            f"  groot-ros bag recover {contents.path}"
        )
    return "\n".join(lines)
