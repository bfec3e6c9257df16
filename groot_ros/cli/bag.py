# SPDX-License-Identifier: Apache-2.0
"""`groot-ros bag`: record, inspect and recover bags."""

import argparse
import math
import re
import sys
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from groot_ros.bringup.node_graph import record_graph
from groot_ros.bringup.supervisor import ShutdownSignal, Supervisor, wait_until_stopped
from groot_ros.cli import add_actions, add_command
from groot_ros.robot.fields import is_topic_name

if TYPE_CHECKING:
    from groot_ros.bags.contents import BagContents
    from groot_ros.bags.episode import EpisodeInfo
    from groot_ros.cli.episode_keys import EpisodeKeys

_EXAMPLES = """examples:
  groot-ros bag record --robot so101 --out ~/bags/run1
  groot-ros bag record --robot ~/my_arm.yaml --out ~/bags/run2 --duration 60
  groot-ros bag record --out ~/bags/arm_only --topics joint_states action_chunk /tf
  groot-ros bag record --robot so101 --episodes ~/demos --instruction "pick up the cube"
  groot-ros bag info ~/bags/run1
  groot-ros bag recover ~/bags/killed --out ~/bags/recovered

With --episodes, keys of this terminal or `groot-ros episode start | stop | discard` in another
shell begin and end them.
`ros2 bag info` and `ros2 bag play` read these bags.
"""

_BAR = "recording {percentage:3.0f}%|{bar}| {n:.0f}/{total:.0f} s"
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
        description="Record topics until Ctrl-C or for --duration, or one episode after another.",
    )
    parser.add_argument(
        "--robot",
        default="",
        help="robot contract: a name or a file (default: so101; none with --topics)",
    )
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--out", type=Path, help="directory of the bag; must not exist yet")
    where.add_argument(
        "--episodes",
        type=Path,
        metavar="FOLDER",
        help="wait for 'groot-ros episode start', and record each episode into a bag in FOLDER",
    )
    parser.add_argument(
        "--instruction",
        default="",
        help="what the robot is to do, for the bag's description (default: what a policy follows)",
    )
    parser.add_argument(
        "--compression",
        choices=("none", "zstd"),
        default="none",
        help="of the bag (default: none, which costs the least CPU time)",
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
    if args.duration is not None and args.episodes is not None:
        raise ValueError("--duration applies to a single bag: omit it with --episodes")
    for topic in args.topics:
        if not is_topic_name(topic):
            raise ValueError(f"--topics: '{topic}' is not a topic name; separate topics by spaces")
    output = args.out or args.episodes
    graph = record_graph(
        robot=args.robot or ("" if args.topics else "so101"),
        output=str(output.absolute()),
        topics=args.topics,
        namespace=args.namespace,
        use_sim_time=args.use_sim_time,
        episodes=args.episodes is not None,
        instruction=args.instruction,
        compression=args.compression,
    )
    clock = RecordingClock(args.duration)
    # disable=None: no bar where the output is not a terminal.
    bar = (
        tqdm(total=args.duration, bar_format=_BAR, file=sys.stdout, disable=None)
        if args.duration
        else nullcontext()
    )

    def show(line: str) -> None:
        clock.add_line(line, time.monotonic())
        # Not print(), which would break the bar.
        tqdm.write(line)
        sys.stdout.flush()

    def finished() -> bool:
        now = time.monotonic()
        if isinstance(progress, tqdm):
            progress.n = min(clock.elapsed(now), args.duration)
            progress.refresh()
        return clock.expired(now)

    supervisor = Supervisor(graph, show)
    with ShutdownSignal() as shutdown, bar as progress, _keys(args, shutdown):
        supervisor.start()
        dead = wait_until_stopped(supervisor, shutdown, finished)
        supervisor.stop()
    code = supervisor.running[0].process.returncode
    if dead is not None and code < 0:
        print(f"groot-ros bag: {supervisor.exit_report(dead)}", file=sys.stderr)
        for bag in _unfinished(args):
            print(
                f"Recover the recorded messages with: groot-ros bag recover {bag}",
                file=sys.stderr,
            )
        return 1
    return abs(code)


def _keys(
    args: argparse.Namespace, shutdown: ShutdownSignal
) -> "AbstractContextManager[EpisodeKeys | None]":
    if args.episodes is None:
        return nullcontext()
    from groot_ros.cli.episode_keys import EpisodeKeys

    return EpisodeKeys(args.namespace, shutdown.request)


def _unfinished(args: argparse.Namespace) -> list[Path]:
    from groot_ros.bags.episode_recorder import unfinished_episodes

    return [args.out] if args.out else unfinished_episodes(args.episodes)


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
        return self._duration is not None and self.elapsed(now) >= self._duration

    def elapsed(self, now: float) -> float:
        """Return the part of the duration that is over at `now`, s."""
        if self._first_line_at is None:
            return 0.0
        start = self._first_line_at + _DISCOVERY_TIMEOUT
        if self._first_topic_at is not None:
            start = self._first_topic_at
        return max(0.0, now - start)


def run_info(args: argparse.Namespace) -> int:
    """Print the contents of a bag."""
    from groot_ros.bags.contents import read_contents
    from groot_ros.bags.episode import read_episode

    print(format_contents(read_contents(args.bag)))
    if described := format_episode(read_episode(args.bag)):
        print(f"\n{described}")
    return 0


def format_episode(info: "EpisodeInfo") -> str:
    """Return a table of what the bag says about its recording; empty if it says nothing."""
    from groot_ros.bags.episode import Outcome

    rows = {
        "episode": str(info.number) if info.number else "",
        "started": info.started,
        "robot": f"{info.robot} (contract {info.fingerprint})" if info.robot else "",
        "namespace": info.namespace,
        "instruction": info.instruction,
        "outcome": info.outcome.value if info.number or info.outcome != Outcome.UNKNOWN else "",
        "checkpoint": info.checkpoint_hash,
        "embodiment": info.embodiment,
        "engine": info.engine,
        "recorded by": ", ".join(f"{name} {v}" for name, v in sorted(info.versions.items())),
    }
    return "\n".join(f"{name:12} {value}" for name, value in rows.items() if value)


def run_recover(args: argparse.Namespace) -> int:
    """Copy the messages of a bag into a new one; return 1 if a part could not be read."""
    from groot_ros.bags.recovery import Damage, mcap_file, recover

    out = args.out or args.bag.with_name(f"{args.bag.name}_recovered")
    damage = Damage()
    # disable=None: no bar where the output is not a terminal.
    with tqdm(
        total=mcap_file(args.bag).stat().st_size,
        unit="B",
        unit_scale=True,
        desc="recover",
        leave=False,
        disable=None,
    ) as progress:
        counts = recover(args.bag, out, damage, progress.update).counts
    print(f"{sum(counts.values())} messages of {len(counts)} topics written to {out}")
    if damage.first is None:
        return 0
    print(
        f"groot-ros bag: damaged from byte {damage.first:,} on: "
        f"{damage.bytes:,} bytes could not be read",
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
