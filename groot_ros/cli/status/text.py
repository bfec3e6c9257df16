# SPDX-License-Identifier: Apache-2.0
"""Text of `groot-ros status`, by section, for one screen and for the live view."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from groot_ros.bridge.robot_status import JointReport, RobotStatus

#: Age of a report after which its node may have ended, s; the policy reports at 2 Hz.
_SILENT = 2.0
#: Width of a joint's range, characters.
_RANGE_WIDTH = 24
_BARS = "▁▂▃▄▅▆▇█"


def sections(status: "RobotStatus") -> dict[str, list[str]]:
    """Return title -> lines of all sections, in the order of the screen."""
    return {
        f"robot in namespace {status.namespace}, ROS_DOMAIN_ID {status.domain}": _nodes(status),
        "inputs": _inputs(status),
        "latency": _latency(status),
        "budget": _budget(status),
        "joints": _joints(status.joints),
        "timeline": _timeline(status),
        "rejections": _rejections(status),
    }


def screen(status: "RobotStatus") -> str:
    """Return all sections as text."""
    parts = []
    for title, lines in sections(status).items():
        parts.append("\n".join([title, *(f"  {line}" for line in lines or ["none"])]))
    return "\n".join(parts)


def _nodes(status: "RobotStatus") -> list[str]:
    lines = []
    policy, executor = status.policy, status.executor
    if policy is None:
        lines.append("policy     not found")
    else:
        lines.append(f"policy     {policy.lifecycle}{_silent(policy.age)}{_engine(status)}")
    if executor is None:
        lines.append("executor   not found")
    else:
        latched = ", latched: groot-ros resume" if executor.latched else ""
        shadow = " (shadow)" if executor.shadow and "(shadow)" not in executor.reason else ""
        lines.append(
            f"executor   {executor.status}{shadow}: {executor.reason}{latched}"
            f"{_silent(executor.age)}"
        )
    if policy is not None:
        text = f"'{policy.instruction}'" if policy.instruction else "none: groot-ros say TEXT"
        lines.append(f"instruction {policy.instruction_id}: {text}")
        if policy.instruction_rejection:
            lines.append(f"the newest instruction is not followed: {policy.instruction_rejection}")
        if policy.action_rejection:
            lines.append(f"the last action was not executed: {policy.action_rejection}")
    for report in (policy, executor):
        if report is not None and report.instruction_mismatch:
            lines.append(report.instruction_mismatch)
            break
    return lines


def _engine(status: "RobotStatus") -> str:
    policy = status.policy
    if policy is None or not policy.engine:
        return ""
    size = policy.memory_bytes
    memory = f", {size / 1e9:.1f} GB" if size >= 1e9 else f", {size / 1e6:.1f} MB" if size else ""
    return f", {policy.engine} on {policy.device}{memory}"


def _silent(age: float) -> str:
    return f" (last report {age:.0f} s ago: has the node ended?)" if age > _SILENT else ""


def _inputs(status: "RobotStatus") -> list[str]:
    if status.policy is None:
        return []
    lines = []
    for each in status.policy.inputs:
        age = "never received" if each.age < 0 else f"{1e3 * each.age:.0f} ms old"
        expected = f" of {each.expected_rate:.0f}" if each.expected_rate else ""
        lines.append(f"{each.name:20} {age:>16} {each.rate:6.1f}{expected} Hz")
    return lines


def _latency(status: "RobotStatus") -> list[str]:
    if status.policy is None or not status.policy.stages:
        return []
    stages = status.policy.stages
    lines = [f"{s.name:12} {1e3 * s.p50:7.1f} ms, p95 {1e3 * s.p95:7.1f} ms" for s in stages]
    p50, p95 = sum(s.p50 for s in stages), sum(s.p95 for s in stages)
    return [*lines, f"{'all':12} {1e3 * p50:7.1f} ms, p95 {1e3 * p95:7.1f} ms"]


def _budget(status: "RobotStatus") -> list[str]:
    policy = status.policy
    if policy is None or not policy.horizon:
        return []
    verdict = "within budget" if policy.within_budget else "NOT within budget"
    delay = f"{policy.inference_delay} steps" if policy.inference_delay else "not measured yet"
    return [
        f"{policy.rate:.1f} of {policy.target_rate:.1f} chunks/s",
        f"delay {delay}, {policy.execution_horizon} of {policy.horizon} steps executed: {verdict}",
    ]


def _joints(joints: Sequence["JointReport"]) -> list[str]:
    if not joints:
        return []
    unit = "[rad, m]"
    width = max(len(unit), *(len(joint.name) for joint in joints))
    lines = [f"{unit:{width}}   target measured   limits (| measured, x target)"]
    for joint in joints:
        limits = ""
        if joint.lower is not None and joint.upper is not None:
            limits = f"{joint.lower:6.2f} {_range(joint)} {joint.upper:.2f}"
        limited = f"  {joint.limited_chunks} chunks limited" if joint.limited_chunks else ""
        lines.append(
            f"{joint.name:{width}} {_number(joint.target)} {_number(joint.measured)} "
            f"{limits}{limited}"
        )
    return lines


def _range(joint: "JointReport") -> str:
    cells = ["."] * _RANGE_WIDTH
    for value, mark in ((joint.measured, "|"), (joint.target, "x")):
        if value is not None and joint.lower is not None and joint.upper is not None:
            share = (value - joint.lower) / ((joint.upper - joint.lower) or 1.0)
            share = min(1.0, max(0.0, share))
            cells[round(share * (_RANGE_WIDTH - 1))] = mark
    return f"[{''.join(cells)}]"


def _number(value: float | None) -> str:
    return f"{'-':>8}" if value is None else f"{value:8.3f}"


def _timeline(status: "RobotStatus") -> list[str]:
    executor = status.executor
    if executor is None:
        return []
    lines = [
        f"chunk {executor.chunk_id}, {1e3 * executor.chunk_age:.0f} ms old; braking in "
        f"{executor.time_until_braking:.2f} s; {status.committed:.2f} s committed",
        f"{executor.accepted} of {executor.received} chunks accepted, {executor.underruns} "
        f"underruns, speed scaling {executor.speed_scaling:.0%}",
    ]
    ahead = [joint for joint in status.joints if len(joint.ahead) > 1]
    if ahead:
        lines.append("committed positions ahead, between the lowest and the highest of each joint:")
    width = max((len(joint.name) for joint in status.joints), default=0)
    return [*lines, *(f"{joint.name:{width}} {sparkline(joint.ahead)}" for joint in ahead)]


def sparkline(values: Sequence[float], width: int = 40) -> str:
    """Return a line of at most `width` bars; the lowest is the smallest value."""
    step = max(1, -(-len(values) // width))
    shown = values[::step]
    low, high = min(shown), max(shown)
    scale = (len(_BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(_BARS[round((value - low) * scale)] for value in shown)


def _rejections(status: "RobotStatus") -> list[str]:
    lines = []
    for name, report in (("policy", status.policy), ("executor", status.executor)):
        counts: Mapping[str, int] = {} if report is None else report.rejections
        lines += [f"{name:9} {code:24} {count}" for code, count in counts.items()]
    return lines
