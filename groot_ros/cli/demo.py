# SPDX-License-Identifier: Apache-2.0
"""`groot-ros demo`: run the nodes over DDS with a simulated robot and check that it moves."""

import argparse
import itertools
import os
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from groot_ros.bridge.isolated_domain import use_isolated_domain
from groot_ros.bringup.node_graph import demo_graph
from groot_ros.bringup.supervisor import Running, ShutdownSignal, Supervisor
from groot_ros.cli import add_command
from groot_ros.cli.report import position_limits
from groot_ros.cli.up import add_launch_options, launch_values
from groot_ros.core.share import robot_path
from groot_ros.robot import load_contract

if TYPE_CHECKING:
    from groot_ros.bridge.operator import Operator, Snapshot

INSTRUCTIONS = ("touch the red cube", "touch the blue cube", "touch the green cube")
#: s per instruction.
INSTRUCTION_SECONDS = 5.0
#: s until the first chunk must have been executed; includes loading the model.
STARTUP_TIMEOUT = 90.0
#: s between checks of the processes.
_POLL_PERIOD = 0.2
#: s between lines about the progress where the output is not a terminal.
_LINE_PERIOD = 4.0
#: The demo passes if at least this many joints travelled this far (rad, measured).
MIN_MOVED_JOINTS, MIN_TRAVEL = 3, 0.5

_RESULTS = ("report.html", "cameras.png", "joints.png", "run.webp", "table.txt", "nodes.log")
_BAR = "driving {percentage:3.0f}%|{bar}| {n:.0f}/{total:.0f} s {postfix}"
_EXAMPLES = """examples:
  groot-ros demo                         # 20 s, results under out/demo
  groot-ros demo --seconds 60 --out /tmp/demo
  groot-ros demo --cut arm_controller/joint_trajectory   # fails: the robot gets no commands

The demo does not reach your robot: it runs in a ROS_DOMAIN_ID that is unused on this machine.
"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the parser of `groot-ros demo`."""
    description = "Run simulator, policy, executor and recorder as four processes over DDS."
    parser = add_command(subparsers, "demo", description, _EXAMPLES)
    parser.add_argument("--seconds", type=float, default=20.0, help="duration (default: 20)")
    parser.add_argument(
        "--out", type=Path, default=Path("out/demo"), help="output directory (default: out/demo)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the cube positions (default: 0)")
    parser.add_argument(
        "--cut", metavar="TOPIC", help="disconnect this command topic of the executor"
    )
    parser.add_argument("--verbose", action="store_true", help="print the output of the nodes")
    add_launch_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the demo; return 0 if the robot moved, 1 if not, 128 + n after signal n."""
    if not 1.0 <= args.seconds <= 3600.0:
        raise ValueError(f"--seconds must be from 1 to 3600, not {args.seconds:g}")
    use_isolated_domain()
    topics = [c.topic for c in load_contract(robot_path(args.robot)).controllers if c.has_topic]
    if args.cut and args.cut not in topics:
        raise ValueError(
            f"--cut {args.cut} is not a command topic of the robot; use one of {', '.join(topics)}"
        )
    bag = args.out / "bag"
    graph = demo_graph(launch_values(args), bag=str(bag.resolve()), seed=args.seed)
    clear_results(args.out)
    with (args.out / "nodes.log").open("w", encoding="utf-8") as log:

        def show(line: str) -> None:
            print(line, file=log, flush=True)
            if args.verbose:
                tqdm.write(line)

        remaps = {"executor_node": [f"{args.cut}:={args.cut}_cut"]} if args.cut else {}
        supervisor = Supervisor(graph, show, remaps)
        with ShutdownSignal() as shutdown:
            problem = _run(supervisor, shutdown, str(graph.processes[0].parameters["robot"]), args)
    if shutdown.received:
        print(f"\n{shutdown}", file=sys.stderr)
        return 128 + shutdown.number
    if problem:
        print(f"\ndemo FAILED: {problem}\n(all output: {args.out}/nodes.log)", file=sys.stderr)
        return 1
    return _report(bag, args.out, args.robot)


def clear_results(out: Path) -> None:
    """Create the directory and remove the results of an earlier run; keep all other files."""
    out.mkdir(parents=True, exist_ok=True)
    for name in _RESULTS:
        (out / name).unlink(missing_ok=True)
    if (out / "bag" / "metadata.yaml").is_file() or (out / "bag" / "bag.mcap").is_file():
        shutil.rmtree(out / "bag")


def _run(
    supervisor: Supervisor, shutdown: ShutdownSignal, robot: str, args: argparse.Namespace
) -> str:
    """Run the demo and stop the processes in order in all cases; return the problem or ""."""
    try:
        supervisor.start()
        return _drive(supervisor, shutdown, robot, args)
    finally:
        supervisor.stop()


def _drive(
    supervisor: Supervisor, shutdown: ShutdownSignal, robot: str, args: argparse.Namespace
) -> str:
    """Give instructions for args.seconds; return the problem or ""."""
    from groot_ros.bridge.operator import Operator

    with Operator(load_contract(robot), args.namespace) as operator:
        domain = os.environ["ROS_DOMAIN_ID"]
        print(
            f"starting simulator, policy, executor and recorder (ROS_DOMAIN_ID={domain}) ...",
            flush=True,
        )
        instructions = itertools.cycle(INSTRUCTIONS)
        operator.instruct(next(instructions))
        deadline = time.monotonic() + STARTUP_TIMEOUT
        while not operator.running.wait(_POLL_PERIOD):
            if shutdown.received:
                return ""
            dead = supervisor.dead()
            if dead is not None:
                return supervisor.exit_report(dead)
            if time.monotonic() > deadline:
                return _not_running(operator.snapshot().policy_rejections)
        return _watch(supervisor, shutdown, operator, instructions, args.seconds)


def _watch(
    supervisor: Supervisor,
    shutdown: ShutdownSignal,
    operator: "Operator",
    instructions: "itertools.cycle[str]",
    seconds: float,
) -> str:
    begin = time.monotonic()
    next_instruction = begin + INSTRUCTION_SECONDS
    dead: Running | None = None
    next_line = begin + _LINE_PERIOD
    # disable=None: no bar where the output is not a terminal; lines are printed instead.
    with tqdm(total=seconds, bar_format=_BAR, file=sys.stdout, ncols=110, disable=None) as progress:
        while dead is None and time.monotonic() - begin < seconds:
            if shutdown.wait(_POLL_PERIOD):
                break
            dead = supervisor.dead()
            now = time.monotonic()
            if next_instruction <= now < begin + seconds - _POLL_PERIOD:
                operator.instruct(next(instructions))
                next_instruction += INSTRUCTION_SECONDS
            done = min(now - begin, seconds)
            if not progress.disable:
                progress.n = done
                progress.set_postfix_str(_progress(operator.snapshot()))
            elif now >= next_line or done == seconds:
                next_line = now + _LINE_PERIOD
                print(
                    f"{done:.0f} of {seconds:.0f} s: {_progress(operator.snapshot())}", flush=True
                )
    if reason := operator.snapshot().latched_stop:
        print(f"warning: the executor stopped the robot: {reason}", file=sys.stderr)
    return "" if dead is None else supervisor.exit_report(dead)


def _progress(seen: "Snapshot") -> str:
    moved = sum(travel >= MIN_TRAVEL for travel in seen.travelled.values())
    return (
        f"{seen.chunks} chunks, the last {seen.chunk_age * 1e3:.0f} ms old, "
        f"inference {seen.infer_p50 * 1e3:.0f} ms, {moved} joints > {MIN_TRAVEL} rad"
    )


def _report(bag: Path, out: Path, robot: str) -> int:
    from groot_ros.evaluation.report import write_report

    run = write_report(bag, out, position_limits(robot))
    moved = [j for j, travel in run.travelled.items() if travel >= MIN_TRAVEL]
    print(f"\nresults in {out}/: " + ", ".join([*_RESULTS, "bag/"]))
    if len(moved) < MIN_MOVED_JOINTS:
        print(
            f"demo FAILED: only {len(moved)} joints travelled {MIN_TRAVEL} rad "
            f"({MIN_MOVED_JOINTS} are required): check that the robot receives the commands",
            file=sys.stderr,
        )
        return 1
    print(f"demo PASSED: {len(moved)} joints travelled more than {MIN_TRAVEL} rad")
    return 0


def _not_running(rejections: dict[str, int]) -> str:
    reasons = ", ".join(f"{reason} x{count}" for reason, count in rejections.items())
    return (
        f"no chunk was executed within {STARTUP_TIMEOUT:.0f} s; "
        f"rejections of the policy: {reasons or 'none'}"
    )
