# SPDX-License-Identifier: Apache-2.0
"""`groot-ros inspect`: show what a checkpoint is and whether it fits a robot."""

import argparse
import math
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from groot_ros.cli import add_command
from groot_ros.core import PolicyConfig
from groot_ros.core.config import config_from_file
from groot_ros.core.config_reader import ConfigError
from groot_ros.evaluation.table import format_table

if TYPE_CHECKING:
    from groot_ros.checks import Context
    from groot_ros.families.family import CheckpointSummary, EmbodimentSummary, GroupRange
    from groot_ros.robot import RobotContract

_EXAMPLES = """examples:
  groot-ros inspect --checkpoint ~/checkpoints/pick
  groot-ros inspect --checkpoint nvidia/GR00T-N1.6-3B --embodiment gr1 --columns
  groot-ros inspect --checkpoint ~/checkpoints/pick --robot ~/my_arm.yaml
  groot-ros inspect --checkpoint ~/checkpoints/pick --robot so101 --rate-hz 4 --latency 0.2

Exit status 0 if an embodiment can be used (the weights are not checked). Exit status 1 if files are
missing, malformed or do not match each other, or a check finds an error: configure would fail, or
the executor would reject the chunks. Exit status 2 for wrong options. Warnings, and ranges outside
a joint's limits (marked "!"), do not change the status. The checks: docs/reference/checks.md
"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the parser of `groot-ros inspect`."""
    description = "Show what a checkpoint is and whether it fits a robot, without its weights."
    parser = add_command(subparsers, "inspect", description, _EXAMPLES)
    add = parser.add_argument
    add("--checkpoint", required=True, help="directory, or a hub id that was downloaded before")
    add("--embodiment", metavar="TAG", help="show only this embodiment (default: all)")
    add("--robot", help="robot contract to compare with, a name or a file")
    add("--backbone-assets", metavar="DIR", help="the VLM's config and tokenizer, or a hub id")
    add("--base-checkpoint", metavar="DIR", help="base model that the checkpoint refers to")
    add("--columns", action="store_true", help="show a range per column, not per group")
    rate = PolicyConfig.rate_hz
    add("--rate-hz", type=float, metavar="HZ", help=f"inference rate to check (default: {rate})")
    add(
        "--latency",
        type=float,
        metavar="S",
        help="time of one inference to check (default: as measured in --engine-directory)",
    )
    add("--engine-directory", metavar="DIR", help="directory of `groot-ros engine make`")
    add("--params-file", metavar="FILE", help="YAML file of ROS parameters to check")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print a summary of the checkpoint; return 0 if an embodiment can be used, else 1."""
    try:
        return _inspect(args)
    except ConfigError as error:  # as configure would report it; other errors are wrong usage
        print(f"groot-ros inspect: {error}", file=sys.stderr)
        return 1


def _inspect(args: argparse.Namespace) -> int:
    from groot_ros.checkpoint.locate import find_checkpoint
    from groot_ros.families.registry import find_family

    known = _known(args)
    path = find_checkpoint(args.checkpoint)
    summary = find_family(path).describe(
        path,
        embodiment=args.embodiment,
        assets=args.backbone_assets,
        base=args.base_checkpoint,
    )
    _show_model(summary)
    usable = [_show_embodiment(e, known, args.columns) for e in summary.embodiments]
    return 0 if not summary.problem and any(usable) else 1


def _known(args: argparse.Namespace) -> "Context":
    """Return what the options say about robot, parameters and latency."""
    from groot_ros.checks import Context
    from groot_ros.control.settings import ExecutorConfig
    from groot_ros.core.share import robot_path
    from groot_ros.robot import load_contract

    policy, executor = PolicyConfig(), ExecutorConfig()
    if args.params_file is not None:
        path = Path(args.params_file)
        policy = config_from_file(path, "policy_node", PolicyConfig)
        executor = config_from_file(path, "executor_node", ExecutorConfig)
    if args.rate_hz is not None:
        policy = replace(policy, rate_hz=args.rate_hz)
    if args.latency is not None and not 0 < args.latency < math.inf:
        raise ValueError(f"--latency must be above 0, not {args.latency:g}")
    latency = args.latency or 0.0
    if args.latency is None and args.engine_directory is not None:
        latency = _measured_latency(Path(args.engine_directory))
    if args.robot is None:
        return Context(policy=policy, latency=latency)
    file = robot_path(args.robot)
    return Context(None, load_contract(file), str(file), policy, executor, latency)


def _measured_latency(directory: Path) -> float:
    """Return the time of the fastest engine that was validated on this machine, s; 0 if none."""
    from groot_ros.runtime.device import choose_device
    from groot_ros.runtime.engine_benchmarks import seconds_here
    from groot_ros.runtime.manifest import Manifest

    Manifest.read(directory)
    measured = seconds_here(directory, choose_device("auto"))
    return min(measured.values(), default=0.0)


def _show_model(summary: "CheckpointSummary") -> None:
    count = sum(group.parameters for group in summary.weights)
    size = sum(group.nbytes for group in summary.weights)
    files = ", ".join(summary.files)
    print(f"{summary.path}: {summary.model}, {count:,} parameters, {size / 1e6:,.1f} MB in {files}")
    print(summary.architecture)
    rows = [
        [g.name, f"{g.parameters:,}", f"{g.nbytes / 1e6:,.1f}", ", ".join(g.dtypes)]
        for g in summary.weights
    ]
    print(f"\n{format_table(['part', 'parameters', 'MB', 'dtype'], rows)}\n")
    for note in summary.notes:
        print(note)
    if summary.problem:
        print(summary.problem)


def _show_embodiment(summary: "EmbodimentSummary", known: "Context", columns: bool) -> bool:
    """Print one embodiment; return whether it can be used, with the robot if there is one."""
    print()
    for line in summary.lines:
        print(line)
    if summary.problem:
        print(f"cannot be used: {summary.problem}")
        return False
    header = ["group", "columns", "kind", "normalised", "from", "to"]
    rows = [row for span in summary.ranges for row in _range_rows(span, columns)]
    if rows:
        print("ranges of the training data, in the units of these data:")
        print(format_table(header, rows))
    known = replace(known, spec=summary.spec)
    return _show_findings(known) if known.robot is None else _show_fit(summary, known, known.robot)


def _range_rows(span: "GroupRange", columns: bool) -> Iterator[list[str]]:
    """Yield table rows with the smallest and largest values of the training data."""
    kind = f"{span.modality} - {span.relative_to}" if span.relative_to else span.modality
    width = len(span.low)
    spans = [(f"{span.group}[{i}]", 1, span.low[i], span.high[i]) for i in range(width)]
    if not columns:
        spans = [(span.group, width, span.low.min(), span.high.max())]
    for name, count, low, high in spans:
        yield [name, str(count), kind, span.normalisation, f"{low:.4g}", f"{high:.4g}"]


def _show_findings(known: "Context") -> bool:
    """Print what the checks find; return whether they find no error."""
    from groot_ros.checks import Severity, find_problems

    findings = find_problems(known)
    errors = any(finding.severity is Severity.ERROR for finding in findings)
    if known.robot is not None:
        name = known.robot.robot
        print(f"does not fit robot {name}:" if errors else f"fits robot {name}")
    elif errors:
        print("cannot be used:")
    for finding in findings:
        print(f"  {finding.severity.value} ({finding.check}): {finding}")
    return not errors


def _show_fit(summary: "EmbodimentSummary", known: "Context", robot: "RobotContract") -> bool:
    """Print the comparison with a robot; return whether the checkpoint fits it.

    It shows what the checks find, the duration of a predicted chunk, and training ranges next to
    joint limits.
    """
    from groot_ros.checks.chunk_timing import chunk_timing
    from groot_ros.policy.robot_columns import unused_parts

    assert summary.spec is not None
    assert known.policy is not None
    fits = _show_findings(known)
    for part in unused_parts(summary.spec, robot):
        print(f"  unused: {part}")
    if summary.spec.action == "chunk":
        print(chunk_timing(summary.spec, robot, known.policy, known.latency))
    rows = list(_joints(summary, robot))
    if rows:
        header = ["joint", "unit", "of", "trained from", "to", "limits from", "to", "outside  "]
        print(format_table(header, rows))
    return fits


def _joints(summary: "EmbodimentSummary", robot: "RobotContract") -> Iterator[list[str]]:
    """Yield table rows with the training ranges next to the limits, rad and m, joint by joint.

    A range that is very different from the joint's limits indicates a wrong unit. Relative actions
    are offsets; their limits are plus and minus the joint's whole range.
    """
    assert summary.spec is not None
    spans = {(span.modality, span.group): span for span in summary.ranges}
    rows: dict[str, list[list[str]]] = {joint: [] for joint in robot.joints}
    for name, joints in robot.state_groups.items():
        state = spans.get(("state", name))
        if state is not None and len(state.low) == len(joints):
            for joint, row in zip(joints, _state_rows(state, robot), strict=True):
                rows[joint].append(row)
    for name, group in robot.action_groups.items():
        action = spans.get(("action", name))
        joint_space = summary.spec.action_space.get(name) == "joint"
        if action is not None and joint_space and not group.width_problem(len(action.low)):
            for joint, row in zip(group.joints, _action_rows(action, robot), strict=True):
                rows[joint].append(row)
    for own in rows.values():
        yield from own


def _state_rows(span: "GroupRange", robot: "RobotContract") -> Iterator[list[str]]:
    ends = [robot.state_to_si(span.group, end) for end in span.extremes]
    for joint, a, b in zip(robot.state_groups[span.group], *ends, strict=True):
        limits = robot.joints[joint].limits
        unit = robot.joints[joint].unit
        yield _row(joint, unit, "state", (a, b), limits.lower, limits.upper)


def _action_rows(span: "GroupRange", robot: "RobotContract") -> Iterator[list[str]]:
    from groot_ros.checks.trained_range import trained_targets

    kind = "offset" if span.relative_to else "action"
    for trained in trained_targets(span, robot):
        unit = robot.joints[trained.joint].unit
        ends = (trained.low, trained.high)
        yield _row(trained.joint, unit, kind, ends, trained.lower, trained.upper)


def _row(
    joint: str, unit: str, kind: str, ends: tuple[float, float], lower: float, upper: float
) -> list[str]:
    """Return one row, marked "!" if the range exceeds the limits by more than rounding."""
    low, high = sorted(map(float, ends))
    outside = f"{max(0.0, lower - low, high - upper):.3f}"
    values = (f"{value:.3f}" for value in (low, high, lower, upper))
    return [joint, unit, kind, *values, f"{outside} !" if float(outside) > 0 else f"{outside}  "]
