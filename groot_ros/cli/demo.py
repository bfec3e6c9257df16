"""`groot-ros demo`: the real nodes over real DDS drive a simulated robot, and prove it."""

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
from groot_ros.bringup.shutdown_signal import ShutdownSignal
from groot_ros.bringup.supervisor import Running, Supervisor
from groot_ros.cli.up import add_bringup_options, bringup_values
from groot_ros.core.share import robot_path
from groot_ros.robot import load_contract

if TYPE_CHECKING:
    from groot_ros.bridge.operator import Operator, Snapshot

INSTRUCTIONS = ("touch the red cube", "touch the blue cube", "touch the green cube")
#: s on one instruction before the next.
INSTRUCTION_SECONDS = 5.0
#: s for models to load and the first chunk to be executed.
STARTUP_TIMEOUT = 90.0
#: s between looks at the processes.
_WATCH_PERIOD = 0.2
#: The robot was actuated when this many joints travelled this far (rad), measured.
DRIVEN_JOINTS, DRIVEN_TRAVEL = 3, 0.5

_RESULTS = ("cameras.png", "joints.png", "run.webp", "table.txt", "nodes.log")
_BAR = "driving {percentage:3.0f}%|{bar}| {n:.0f}/{total:.0f} s {postfix}"
_EXAMPLES = """examples:
  groot-ros demo                         # 20 s, results under out/demo
  groot-ros demo --seconds 60 --out /tmp/demo
  groot-ros demo --cut arm_controller/joint_trajectory   # see it fail: commands go nowhere

It never touches your robot: it takes a ROS_DOMAIN_ID that nobody on this machine uses.
"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "demo",
        help="drive a simulated robot for a while; pictures, table and a bag",
        description="Simulator, policy, executor and recorder in four processes over DDS.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seconds", type=float, default=20.0, help="how long (default: 20)")
    parser.add_argument("--out", type=Path, default=Path("out/demo"), help="results go here")
    parser.add_argument("--seed", type=int, default=0, help="of the cubes (default: 0)")
    parser.add_argument("--cut", metavar="TOPIC", help="lead the executor's TOPIC nowhere")
    parser.add_argument("--verbose", action="store_true", help="show the nodes' output")
    add_bringup_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """0 when the robot was really actuated, 1 when it was not, 2 for wrong use."""
    if not 1.0 <= args.seconds <= 3600.0:
        raise ValueError(f"--seconds must be from 1 to 3600, not {args.seconds:g}")
    use_isolated_domain()
    topics = [c.topic for c in load_contract(robot_path(args.robot)).controllers]
    if args.cut and args.cut not in topics:
        raise ValueError(f"--cut {args.cut}: not a command topic ({', '.join(topics)})")
    bag = args.out / "bag"
    graph = demo_graph(bringup_values(args), bag=str(bag.resolve()), seed=args.seed)
    _clear(args.out)
    with (args.out / "nodes.log").open("w", encoding="utf-8") as log:

        def show(line: str) -> None:
            print(line, file=log, flush=True)
            if args.verbose:
                tqdm.write(line)

        remaps = {"executor_node": [f"{args.cut}:={args.cut}_cut"]} if args.cut else {}
        supervisor = Supervisor(graph, show, remaps)
        with ShutdownSignal() as ending:
            problem = _run(supervisor, ending, str(graph.processes[0].parameters["robot"]), args)
    if ending.asked:
        print(f"\n{ending}", file=sys.stderr)
        return 128 + ending.number
    if problem:
        print(f"\ndemo FAILED: {problem}\n(all output: {args.out}/nodes.log)", file=sys.stderr)
        return 1
    return _report(bag, args.out)


def _clear(out: Path) -> None:
    """Remove the results of an earlier run, and nothing else that may lie there."""
    out.mkdir(parents=True, exist_ok=True)
    for name in _RESULTS:
        (out / name).unlink(missing_ok=True)
    if (out / "bag" / "metadata.yaml").is_file() or (out / "bag" / "bag.mcap").is_file():
        shutil.rmtree(out / "bag")


def _run(
    supervisor: Supervisor, ending: ShutdownSignal, robot: str, args: argparse.Namespace
) -> str:
    """Drive, and stop the processes in order whatever happens."""
    try:
        supervisor.start()
        return _drive(supervisor, ending, robot, args)
    finally:
        supervisor.stop()


def _drive(
    supervisor: Supervisor, ending: ShutdownSignal, robot: str, args: argparse.Namespace
) -> str:
    """Instruct and watch for args.seconds; the problem in words, or an empty string."""
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
        while not operator.running.wait(_WATCH_PERIOD):
            if ending.asked:
                return ""
            dead = supervisor.dead()
            if dead is not None:
                return supervisor.exit_report(dead)
            if time.monotonic() > deadline:
                return _not_running(operator.snapshot().policy_rejections)
        return _watch(supervisor, ending, operator, instructions, args.seconds)


def _watch(
    supervisor: Supervisor,
    ending: ShutdownSignal,
    operator: "Operator",
    instructions: "itertools.cycle[str]",
    seconds: float,
) -> str:
    begin = time.monotonic()
    next_instruction = begin + INSTRUCTION_SECONDS
    dead: Running | None = None
    # A log file gets a line now and then, a terminal a live one.
    interval = 0.0 if sys.stdout.isatty() else 4.0
    next_line = begin + interval
    with tqdm(total=seconds, bar_format=_BAR, file=sys.stdout, ncols=110) as progress:
        while dead is None and time.monotonic() - begin < seconds:
            if ending.wait(_WATCH_PERIOD):
                break
            dead = supervisor.dead()
            now = time.monotonic()
            if next_instruction <= now < begin + seconds - _WATCH_PERIOD:
                operator.instruct(next(instructions))
                next_instruction += INSTRUCTION_SECONDS
            progress.n = min(now - begin, seconds)
            progress.set_postfix_str(_seen(operator.snapshot()), refresh=False)
            if now >= next_line:
                next_line = now + interval
                progress.refresh()
    return "" if dead is None else supervisor.exit_report(dead)


def _seen(seen: "Snapshot") -> str:
    moved = sum(travel >= DRIVEN_TRAVEL for travel in seen.travelled.values())
    return (
        f"{seen.chunks} chunks, age {seen.chunk_age * 1e3:.0f} ms, "
        f"infer {seen.infer_p50 * 1e3:.0f} ms, {moved} joints > {DRIVEN_TRAVEL} rad"
    )


def _report(bag: Path, out: Path) -> int:
    from groot_ros.evaluation.report import write_report

    run = write_report(bag, out)
    actuated = [j for j, travel in run.travelled.items() if travel >= DRIVEN_TRAVEL]
    print(f"\nresults in {out}/: " + ", ".join([*_RESULTS, "bag/"]))
    if len(actuated) < DRIVEN_JOINTS:
        print(
            f"demo FAILED: only {len(actuated)} joints travelled {DRIVEN_TRAVEL} rad under the "
            f"policy's commands ({DRIVEN_JOINTS} are needed): does the robot receive them?",
            file=sys.stderr,
        )
        return 1
    print(f"demo PASSED: {len(actuated)} joints travelled more than {DRIVEN_TRAVEL} rad")
    return 0


def _not_running(rejections: dict[str, int]) -> str:
    why = ", ".join(f"{reason} x{count}" for reason, count in rejections.items())
    return (
        f"no chunk was executed within {STARTUP_TIMEOUT:.0f} s; "
        f"the policy rejected: {why or 'nothing'}"
    )
