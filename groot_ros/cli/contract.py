# SPDX-License-Identifier: Apache-2.0
"""`groot-ros contract`: draft, check and convert robot contracts."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from groot_ros.cli import add_actions, add_command, pluralise
from groot_ros.core import ns_to_s
from groot_ros.evaluation.table import format_table

if TYPE_CHECKING:
    from groot_ros.families.family import GroupRange
    from groot_ros.robot import Camera, JointStateSource, RobotContract
    from groot_ros.robot.draft import ColumnRange

#: Keys of the top level in the order of the reference page.
ORDER = (
    "version",
    "robot",
    "model",
    "action_dt",
    "urdf",
    "joint_limits",
    "joints",
    "inputs",
    "outputs",
    "cameras",
    "controllers",
)
_EXAMPLES = """examples:
  groot-ros contract new --urdf my_arm.urdf --checkpoint ~/checkpoints/pick --out my_arm.yaml
  groot-ros contract check my_arm.yaml
  groot-ros contract upgrade my_arm.yaml        # the old file stays as my_arm.yaml.version_1
"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the parser of `groot-ros contract`."""
    description = "Draft, check and convert robot contracts."
    parser = add_command(subparsers, "contract", description, _EXAMPLES)
    actions = add_actions(parser)

    new = actions.add_parser("new", help="write a commented draft", description=_new.__doc__)
    new.add_argument("--urdf", type=Path, required=True, help="URDF, xacro expanded")
    new.add_argument("--checkpoint", required=True, help="directory, or id of a downloaded one")
    new.add_argument("--embodiment", metavar="TAG", help="default: the first that can be used")
    new.add_argument("--backbone-assets", metavar="DIR", help="the VLM's config and tokenizer")
    new.add_argument("--out", type=Path, help="file to write (default: standard output)")
    new.add_argument(
        "--no-topics", action="store_true", help="do not look for live topics, which takes 2 s"
    )
    new.set_defaults(run=_new)

    check = actions.add_parser("check", help="read a contract", description=_check.__doc__)
    check.add_argument("robot", help="robot contract, a name or a file")
    check.set_defaults(run=_check)

    upgrade = actions.add_parser(
        "upgrade", help="convert version 1 to version 2", description=_upgrade.__doc__
    )
    upgrade.add_argument("file", type=Path, help="contract of version 1")
    upgrade.add_argument("--out", type=Path, help="file to write (default: replace FILE)")
    upgrade.set_defaults(run=_upgrade)


def _new(args: argparse.Namespace) -> int:
    """Write a commented draft from the URDF, the checkpoint's groups and live topics."""
    from groot_ros.checkpoint.locate import find_checkpoint
    from groot_ros.families.registry import find_family
    from groot_ros.robot.draft import Known, draft_contract
    from groot_ros.robot.limit_sources import read_urdf

    joints = {n: stated for n, stated in read_urdf(args.urdf).items() if not stated.mimics}
    if not joints:
        raise ValueError(
            f"{args.urdf}: has no revolute, continuous or prismatic joint: expand xacro files first"
        )
    path = find_checkpoint(args.checkpoint)
    summary = find_family(path).describe(
        path, embodiment=args.embodiment, assets=args.backbone_assets, base=None
    )
    usable = [e for e in summary.embodiments if e.spec is not None]
    if not usable:
        problems = "; ".join(e.problem for e in summary.embodiments if e.problem)
        raise ValueError(f"{path}: {summary.problem or problems or 'has no embodiment'}")
    spec, ranges = usable[0].spec, usable[0].ranges
    assert spec is not None
    if len(usable) > 1:
        others = ", ".join(e.spec.embodiment for e in usable[1:] if e.spec is not None)
        print(f"groups of embodiment {spec.embodiment}; also: {others}", file=sys.stderr)
    text = draft_contract(
        Known(
            robot=args.urdf.stem,
            joints=joints,
            urdf=str(args.urdf.resolve()),
            views=spec.views,
            state=_ranges(ranges, "state", spec.state_groups),
            action=_ranges(ranges, "action", spec.action_groups),
            topics={} if args.no_topics else _live_topics(),
        )
    )
    return _write(text, args.out)


def _ranges(
    spans: "Sequence[GroupRange]", modality: str, widths: Mapping[str, int]
) -> "dict[str, list[ColumnRange]]":
    from groot_ros.robot.draft import ColumnRange

    found = {}
    for span in spans:
        if span.modality == modality and span.group in widths:
            low, high = span.extremes if modality == "state" else (span.low, span.high)
            found[span.group] = [
                ColumnRange(float(a), float(b), bool(span.relative_to))
                for a, b in zip(low, high, strict=True)
            ]
    return found


def _live_topics() -> Mapping[str, str]:
    """Return the topics of the graph; none, with a note, where ROS is not installed."""
    try:
        from groot_ros.bridge.live_graph import live_topics
    except ImportError as error:
        print(f"no topics are filled in, as ROS 2 is not there: {error}", file=sys.stderr)
        return {}
    return live_topics()


def _check(args: argparse.Namespace) -> int:
    """Read a contract and print what it says; each error is one line with file and key.

    Checks that need a checkpoint are those of `groot-ros inspect`.
    """
    from groot_ros.checks import Context, Severity, find_problems
    from groot_ros.control.settings import ExecutorConfig
    from groot_ros.core.share import robot_path
    from groot_ros.robot import load_contract

    path = robot_path(args.robot)
    robot = load_contract(path)
    found = find_problems(Context(robot=robot, robot_file=str(path), executor=ExecutorConfig()))
    for finding in found:
        print(f"{finding.severity.value}: {finding}", file=sys.stderr)
    print(f"{path}: robot {robot.robot}, {pluralise(len(robot.joints), 'joint')}")
    header = ["joint", "type", "from", "to", "unit", "speed", "read by", "moved by", "controller"]
    print(format_table(header, _rows(robot)))
    for group in robot.action_groups.values():
        columns = "*" if group.all_ignored else ", ".join(map(str, sorted(group.ignored)))
        if columns:
            print(f"ignored columns of {group.name}: {columns}")
    for view, camera in robot.cameras.items():
        print(f"camera {view}: {camera.topic}, {camera.encoding}, {_timing(camera)}")
    for source in robot.sources:
        joints = pluralise(len(source.joints), "joint")
        print(f"source {source.name}: {source.topic}, {joints}, {_timing(source)}")
    if (table := robot.table) is not None:
        area = ", ".join(
            f"{axis} {low:g} to {high:g} m"
            for axis, (low, high) in (("x", table.x), ("y", table.y))
        )
        print(f"table {table.frame}: {area}, surface at {table.height:g} m, tool {table.tool}")
    return 1 if any(finding.severity is Severity.ERROR for finding in found) else 0


def _timing(topic: "Camera | JointStateSource") -> str:
    rate = f"{topic.rate:g} Hz" if topic.rate else "rate not stated"
    latency = f", latency {ns_to_s(topic.latency_ns):g} s" if topic.latency_ns else ""
    return f"{rate}, stamp {topic.stamp}{latency}"


def _rows(robot: "RobotContract") -> list[list[str]]:
    rows = []
    for name, joint in robot.joints.items():
        limits = joint.limits
        rows.append(
            [
                name,
                "gripper" if joint.gripper else joint.kind,
                f"{limits.lower:.3f}",
                f"{limits.upper:.3f}",
                joint.unit,
                f"{limits.velocity:.3g}",
                ", ".join(g for g, joints in robot.state_groups.items() if name in joints),
                ", ".join(g.name for g in robot.action_groups.values() if name in g.joints),
                ", ".join(c.name for c in robot.controllers if name in c.joints),
            ]
        )
    return rows


def _upgrade(args: argparse.Namespace) -> int:
    """Convert a contract of version 1. The old file is kept, and the comments at its top."""
    text = _upgraded(args.file)
    if args.out is None:
        backup = args.file.with_name(f"{args.file.name}.version_1")
        if backup.exists():
            raise ValueError(f"{backup}: exists already: remove it, or give --out")
        args.file.rename(backup)
        print(f"the old contract is {backup}", file=sys.stderr)
    return _write(text, args.out or args.file)


def _upgraded(path: Path) -> str:
    """Return the text of the contract in version 2, with the comments above its first key."""
    from groot_ros.core.config_reader import Fields
    from groot_ros.robot import ContractError, load_contract, version_1
    from groot_ros.robot.contract import VERSION, parse_contract, version_of

    old = load_contract(path)
    root = Fields.read(path, syntax="yaml", error_type=ContractError)
    if version_of(root) == VERSION:
        raise ValueError(f"{path}: is a contract of version {VERSION} already")
    new = version_1.upgrade(root)
    comments = list(
        takewhile(lambda line: line.startswith("#"), path.read_text(encoding="utf-8").splitlines())
    )
    lines = list(comments)
    for key in ORDER:
        if key in new:
            lines += ["", f"{key}:"] if isinstance(new[key], dict | list) else []
            lines += _lines(key, new[key])
    text = "\n".join(lines) + "\n"
    same = parse_contract(yaml.safe_load(text), folder=path.parent)
    if replace(same, warnings=()) != replace(old, warnings=()):
        raise AssertionError(f"{path}: version 2 would not say the same; please report this file")
    return text


def _lines(key: str, value: Any) -> list[str]:
    """Return the lines of one key of the top level: one for each joint, topic or group."""

    def flow(part: Any) -> str:
        text = yaml.safe_dump(part, default_flow_style=True, sort_keys=False, width=10**6)
        return text.removesuffix("\n").removesuffix("\n...")

    if isinstance(value, list):
        return [f"  - {flow(entry)}" for entry in value]
    if not isinstance(value, dict):
        return [f"{key}: {flow(value)}"]
    lines = []
    for name, part in value.items():
        if key == "inputs":
            lines.append(f"  {flow(name)}:")
            lines += [f"    {flow(inner)}: {flow(entry)}" for inner, entry in part.items()]
        else:
            lines.append(f"  {flow(name)}: {flow(part)}")
    return lines


def _write(text: str, out: Path | None) -> int:
    if out is None:
        print(text, end="")
        return 0
    try:
        with out.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise ValueError(f"{out}: exists already: remove it, or give another --out") from None
    print(f"wrote {out}")
    return 0
