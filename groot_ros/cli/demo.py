# SPDX-License-Identifier: Apache-2.0
"""`groot-ros demo`: run the nodes over DDS with a simulated robot and check that it moves.

The robot of the shipped checkpoint is told what to do in one scene of each task, and judged. Other
robots have no tasks: they get instructions for some seconds.
"""

import argparse
import itertools
import os
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from groot_ros.bridge.isolated_domain import use_isolated_domain
from groot_ros.bringup.arguments import DEMO_ARGUMENTS
from groot_ros.bringup.node_graph import asks_with_pictures, demo_graph, demo_robot
from groot_ros.bringup.supervisor import ShutdownSignal, Supervisor
from groot_ros.cli import add_command
from groot_ros.cli.report import position_limits
from groot_ros.cli.up import add_launch_options, launch_values
from groot_ros.core.share import DEMO_ROBOT, PROMPT_ROBOT, robot_path
from groot_ros.robot import RobotContract, load_contract

if TYPE_CHECKING:
    from groot_ros.bridge.operator import Operator, Snapshot
    from groot_ros.evaluation.run_metrics import RunMetrics
    from groot_ros.rollout.evaluate import EpisodeOutcome

#: Robot -> tasks whose scenes take turns.
TASKS = {DEMO_ROBOT: "reach,push,pick_place", PROMPT_ROBOT: "vima"}
#: Instructions of a robot without tasks, s for each, and s in total.
INSTRUCTIONS = ("touch the red cube", "touch the blue cube", "touch the green cube")
INSTRUCTION_SECONDS, SECONDS = 5.0, 20.0
#: s until the first chunk must have been executed; includes loading the model.
STARTUP_TIMEOUT = 90.0
#: s between checks of the processes.
_POLL_PERIOD = 0.2
#: s between lines about the progress where the output is not a terminal.
_LINE_PERIOD = 4.0
#: s that are shown after an instruction was fulfilled.
_AFTER_SUCCESS = 0.7
#: The demo passes if at least this many joints travelled this far (rad, measured).
MIN_MOVED_JOINTS, MIN_TRAVEL = 3, 0.5
#: Rounding of a position and a speed in a message, relative to 1.
_TOLERANCE = 1e-3

_RESULTS = ("report.html", "cameras.png", "joints.png", "run.webp", "table.txt", "nodes.log")
_BAR = "driving {percentage:3.0f}%|{bar}| {n:.0f}/{total:.0f} {unit} {postfix}"
_EXAMPLES = f"""examples:
  groot-ros demo                         # three scenes, results under out/demo
  groot-ros demo --scenes 9 --seed 5 --out /tmp/demo
  groot-ros demo --task vima             # prompts with pictures: one scene of each of five tasks
  groot-ros demo --cut arm_controller/joint_trajectory   # fails: the robot gets no commands
  groot-ros demo --robot arm7 --checkpoint ~/ckpt --seconds 60

The demo of {DEMO_ROBOT} passes if chunks were executed in each scene and limits held. An
instruction that was not fulfilled is in the table, and does not make it fail: no policy is perfect.
The demo does not reach your robot: it runs in a ROS_DOMAIN_ID that is unused on this machine.
"""


@dataclass(frozen=True)
class Drive:
    """Result of a run of the demo.

    Attributes:
        travelled: joint -> largest range of its measured position in one scene, rad or m; None =
            that of the whole recording counts.
        scenes: outcomes of the scenes.
        stopped: why the executor stopped the robot until ~/resume; empty if it did not.

    """

    travelled: dict[str, float] | None = None
    scenes: Sequence["EpisodeOutcome"] = ()
    stopped: str = ""


class _Stopped(Exception):  # noqa: N818 - not an error: an end signal was received
    """Ends the waiting for a scene."""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the parser of `groot-ros demo`."""
    description = "Run simulator, policy, executor and recorder as four processes over DDS."
    parser = add_command(subparsers, "demo", description, _EXAMPLES)
    parser.add_argument(
        "--scenes",
        type=int,
        metavar="N",
        help="scenes, of the tasks in turn (default: one of each)",
    )
    parser.add_argument(
        "--seconds", type=float, help=f"duration for other robots (default: {SECONDS:g})"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("out/demo"), help="output directory (default: out/demo)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the scenes (default: 0)")
    parser.add_argument(
        "--cut", metavar="TOPIC", help="disconnect this command topic of the executor"
    )
    parser.add_argument("--verbose", action="store_true", help="print the output of the nodes")
    add_launch_options(parser, DEMO_ARGUMENTS)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the demo; return 0 if it passed, 1 if not, 128 + n after signal n."""
    args.robot = demo_robot(launch_values(args, DEMO_ARGUMENTS))
    contract = load_contract(robot_path(args.robot))
    if not args.task:
        args.task = TASKS.get(contract.robot, "")
    _check(args, contract)
    use_isolated_domain()
    bag = args.out / "bag"
    values = launch_values(args, DEMO_ARGUMENTS)
    graph = demo_graph(values, bag=str(bag.resolve()), seed=args.seed)
    clear_results(args.out)
    with (args.out / "nodes.log").open("w", encoding="utf-8") as log:

        def show(line: str) -> None:
            print(line, file=log, flush=True)
            if args.verbose:
                tqdm.write(line)

        remaps = {"executor_node": [f"{args.cut}:={args.cut}_cut"]} if args.cut else {}
        supervisor = Supervisor(graph, show, remaps)
        with ShutdownSignal() as shutdown:
            try:
                supervisor.start()
                print(
                    "starting simulator, policy, executor and recorder "
                    f"(ROS_DOMAIN_ID={os.environ['ROS_DOMAIN_ID']}) ...",
                    flush=True,
                )
                drive = _run_scenes if args.task else _drive
                done = drive(supervisor, shutdown, contract, args)
            except RuntimeError as problem:
                print(f"\ndemo FAILED: {problem}", file=sys.stderr)
                print(f"(all output: {args.out}/nodes.log)", file=sys.stderr)
                return 1
            except _Stopped:
                pass
            finally:
                supervisor.stop()
    if shutdown.received:
        print(f"\n{shutdown}", file=sys.stderr)
        return 128 + shutdown.number
    return _report(bag, args, contract, done)


def _check(args: argparse.Namespace, contract: RobotContract) -> None:
    """Raise ValueError for options that are wrong, or do not belong to the robot or its tasks."""
    if args.seconds is not None and not 1.0 <= args.seconds <= 3600.0:
        raise ValueError(f"--seconds must be from 1 to 3600, not {args.seconds:g}")
    if args.scenes is not None and not 1 <= args.scenes <= 1000:
        raise ValueError(f"--scenes must be from 1 to 1000, not {args.scenes}")
    if args.task and args.seconds is not None:
        raise ValueError(
            f"--seconds is for robots without tasks: give --scenes for {contract.robot}"
        )
    if not args.task and args.scenes is not None:
        raise ValueError(f"--scenes is for tasks: give --seconds for {contract.robot}, or --task")
    if args.task:
        from groot_ros.sim.tasks import chosen_tasks

        if not chosen_tasks(args.task, contract.robot):
            raise ValueError(f"--task '{args.task}' names no task")
        if args.checkpoint:
            _check_kind(args, contract)
    topics = [c.topic for c in contract.controllers if c.has_topic]
    if args.cut and args.cut not in topics:
        raise ValueError(
            f"--cut {args.cut} is not a command topic of the robot; use one of {', '.join(topics)}"
        )


def _check_kind(args: argparse.Namespace, contract: RobotContract) -> None:
    """Raise ValueError if the checkpoint has not the kind of actions that the tasks need."""
    from groot_ros.checkpoint.locate import find_checkpoint
    from groot_ros.families.registry import find_family

    path = find_checkpoint(args.checkpoint)
    summary = find_family(path).describe(path, assets=args.backbone_assets or None)
    kinds = {each.spec.action for each in summary.embodiments if each.spec is not None}
    if asks_with_pictures(vars(args)) and kinds == {"chunk"}:
        raise ValueError(
            f"{path}: its actions are chunks, but tasks vima/... need poses on a table"
        )
    if not asks_with_pictures(vars(args)) and kinds == {"pick_place"}:
        raise ValueError(
            f"{path}: its actions are poses on a table, but the tasks of {contract.robot} need "
            "chunks"
        )


def clear_results(out: Path) -> None:
    """Create the directory and remove the results of an earlier run; keep all other files."""
    out.mkdir(parents=True, exist_ok=True)
    for name in _RESULTS:
        (out / name).unlink(missing_ok=True)
    if (out / "bag" / "metadata.yaml").is_file() or (out / "bag" / "bag.mcap").is_file():
        shutil.rmtree(out / "bag")


def _run_scenes(
    supervisor: Supervisor,
    shutdown: ShutdownSignal,
    contract: RobotContract,
    args: argparse.Namespace,
) -> Drive:
    """Run one scene after another.

    Raises:
        RuntimeError: a node died, does not answer, or no chunk was executed.
        _Stopped: after an end signal.

    """
    import groot_ros.sim  # noqa: F401 - chooses the rendering backend before mujoco is imported
    from groot_ros.bridge.sim_client import SimClient
    from groot_ros.bringup.sim_evaluation import SceneRunner
    from groot_ros.sim.tasks import chosen_tasks

    count = args.scenes or len(chosen_tasks(args.task, contract.robot))
    with_pictures = asks_with_pictures(vars(args))
    scenes: list[EpisodeOutcome] = []
    travelled: dict[str, float] = {}
    stopped = ""
    # disable=None: no bar where the output is not a terminal; lines are printed instead.
    with (
        SimClient(contract, args.namespace) as client,
        tqdm(
            total=count, bar_format=_BAR, file=sys.stdout, ncols=110, unit="scenes", disable=None
        ) as progress,
    ):
        instruction = ""

        def watch() -> None:
            if shutdown.received:
                raise _Stopped
            if instruction and not progress.disable:
                progress.set_postfix_str(f"{instruction}: {_progress(client.snapshot())}")

        def begin(text: str) -> None:
            nonlocal instruction
            instruction = text

        runner = SceneRunner(supervisor, client, watch)
        if not with_pictures:
            runner.wait_for_policy(INSTRUCTIONS[0], STARTUP_TIMEOUT)
        for _ in range(count):
            if with_pictures:
                scenes.append(runner.watch_scene(STARTUP_TIMEOUT, begun=begin))
            else:
                scenes.append(runner.run_scene(begun=begin))
                runner.wait(_AFTER_SUCCESS)
            progress.update()
            tqdm.write(f"{instruction}: {_verdict(scenes[-1])}", file=sys.stdout)
            sys.stdout.flush()
            for joint, way in client.snapshot().travelled.items():
                travelled[joint] = max(way, travelled.get(joint, 0.0))
            stopped = stopped or client.snapshot().latched_stop
    return Drive(travelled, scenes, stopped)


def _drive(
    supervisor: Supervisor,
    shutdown: ShutdownSignal,
    contract: RobotContract,
    args: argparse.Namespace,
) -> Drive:
    """Give instructions for args.seconds; raises as `_run_scenes`."""
    from groot_ros.bridge.operator import Operator

    with Operator(contract, args.namespace) as operator:
        instructions = itertools.cycle(INSTRUCTIONS)
        operator.instruct(next(instructions))
        deadline = time.monotonic() + STARTUP_TIMEOUT
        while not operator.running.wait(_POLL_PERIOD):
            _check_running(supervisor, shutdown)
            if time.monotonic() > deadline:
                raise RuntimeError(
                    f"no chunk was executed within {STARTUP_TIMEOUT:.0f} s; "
                    f"rejections of the policy: {_counts(operator.snapshot().policy_rejections)}"
                )
        seconds = SECONDS if args.seconds is None else args.seconds
        _watch(supervisor, shutdown, operator, instructions, seconds)
    return Drive()


def _check_running(supervisor: Supervisor, shutdown: ShutdownSignal) -> None:
    if shutdown.received:
        raise _Stopped
    if (dead := supervisor.dead()) is not None:
        raise RuntimeError(supervisor.exit_report(dead))


def _watch(
    supervisor: Supervisor,
    shutdown: ShutdownSignal,
    operator: "Operator",
    instructions: "itertools.cycle[str]",
    seconds: float,
) -> None:
    begin = time.monotonic()
    next_instruction = begin + INSTRUCTION_SECONDS
    next_line = begin + _LINE_PERIOD
    with tqdm(
        total=seconds, bar_format=_BAR, file=sys.stdout, ncols=110, unit="s", disable=None
    ) as progress:
        while time.monotonic() - begin < seconds:
            shutdown.wait(_POLL_PERIOD)
            _check_running(supervisor, shutdown)
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


def _progress(seen: "Snapshot") -> str:
    moved = sum(travel >= MIN_TRAVEL for travel in seen.travelled.values())
    return (
        f"{seen.chunks} chunks, the last {seen.chunk_age * 1e3:.0f} ms old, "
        f"inference {seen.infer_p50 * 1e3:.0f} ms, {moved} joints > {MIN_TRAVEL} rad"
    )


def _verdict(scene: "EpisodeOutcome") -> str:
    return "not fulfilled" if scene.seconds is None else f"fulfilled after {scene.seconds:.1f} s"


def scene_table(scenes: Sequence["EpisodeOutcome"]) -> str:
    """Return one row per scene: whether the robot did what it was told, and how."""
    from groot_ros.evaluation.table import format_table

    def row(scene: "EpisodeOutcome") -> list[str]:
        return [
            scene.instruction,
            "yes" if scene.success else "no",
            "-" if scene.seconds is None else f"{scene.seconds:.1f} s",
            str(scene.chunks),
            str(sum(scene.rejections.values())),
            ", ".join(scene.wrong_touches) or "-",
        ]

    header = ["instruction", "fulfilled", "after", "chunks", "rejected", "others disturbed"]
    return format_table(header, [row(scene) for scene in scenes])


def _report(bag: Path, args: argparse.Namespace, contract: RobotContract, done: Drive) -> int:
    from groot_ros.evaluation.report import write_report

    run = write_report(bag, args.out, position_limits(args.robot))
    if done.scenes:
        table = scene_table(done.scenes)
        print(f"\n{table}")
        with (args.out / "table.txt").open("a", encoding="utf-8") as file:
            file.write(f"\n{table}\n")
    print(f"\nresults in {args.out}/: " + ", ".join([*_RESULTS, "bag/"]))
    travelled = run.travelled if done.travelled is None else done.travelled
    problem = f"the executor stopped the robot: {done.stopped}" if done.stopped else ""
    if problem := problem or find_problem(done.scenes, travelled, run, contract):
        print(f"demo FAILED: {problem}", file=sys.stderr)
        return 1
    moved = sum(way >= MIN_TRAVEL for way in travelled.values())
    text = f"demo PASSED: {moved} joints travelled more than {MIN_TRAVEL} rad"
    if done.scenes:
        fulfilled = sum(scene.success for scene in done.scenes)
        text += f", limits held; {fulfilled} of {len(done.scenes)} instructions fulfilled"
    print(text)
    return 0


def find_problem(
    scenes: Sequence["EpisodeOutcome"],
    travelled: dict[str, float],
    run: "RunMetrics",
    contract: RobotContract,
) -> str:
    """Return why the demo failed; empty if it passed.

    Args:
        scenes: outcomes; empty for a robot without tasks.
        travelled: joint -> range of its measured position, rad or m.
        run: metrics of the recording.
        contract: has the limits.

    """
    for scene in scenes:
        if not scene.chunks:
            reasons = _counts(scene.rejections)
            return f"'{scene.instruction}': no chunk was executed; rejected chunks: {reasons}"
    # Robots without tasks have a checkpoint of the user, whose jumps of a gripper are no fault.
    for name, commanded in run.commanded.items() if scenes else ():
        limits = contract.joints[name].limits
        inside = limits.lower - _TOLERANCE <= commanded.low
        inside = inside and commanded.high <= limits.upper + _TOLERANCE
        if not inside or commanded.speed > limits.velocity * (1.0 + _TOLERANCE):
            return (
                f"the motion of '{name}' left its limits: {commanded.low:.3f} to "
                f"{commanded.high:.3f} at up to {commanded.speed:.2f} per s"
            )
    moved = sum(way >= MIN_TRAVEL for way in travelled.values())
    if moved < MIN_MOVED_JOINTS:
        return (
            f"only {moved} joints travelled {MIN_TRAVEL} rad ({MIN_MOVED_JOINTS} are required): "
            "check that the robot receives the commands"
        )
    return ""


def _counts(rejections: Mapping[str, int]) -> str:
    return ", ".join(f"{code} x{count}" for code, count in rejections.items()) or "none"
