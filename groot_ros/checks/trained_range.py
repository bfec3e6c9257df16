# SPDX-License-Identifier: Apache-2.0
"""Training ranges of actions next to the limits of the joints: a wrong unit shows there."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from groot_ros.checks.check import Check, Problem, Severity
from groot_ros.families.family import GroupRange, PolicySpec
from groot_ros.robot import RobotContract

#: Share of a training range that may lie where the executor rejects chunks: statistics have
#: outliers, but a wrong unit is wrong by a factor.
_MOST_OUTSIDE = 0.5


@dataclass(frozen=True)
class TrainedTarget:
    """Training range of one joint's targets, and what it is compared with, rad or m.

    Attributes:
        low, high: ends of the training range; offsets from the state for a relative group.
        lower, upper: limits of the joint; for offsets, plus and minus the whole range of the joint.
        range: the whole range of the joint.

    """

    joint: str
    low: float
    high: float
    lower: float
    upper: float
    range: float

    @property
    def share_rejected(self) -> float:
        """Return the share of the training range beyond the limits by more than the joint's range.

        The executor rejects a chunk with such a target.
        """
        if self.high <= self.low:
            return 0.0
        accepted = min(self.high, self.upper + self.range) - max(self.low, self.lower - self.range)
        return 1.0 - max(0.0, accepted) / (self.high - self.low)


def trained_targets(span: GroupRange, robot: RobotContract) -> Iterator[TrainedTarget]:
    """Yield the training range of each joint that an action group moves."""
    relative = bool(span.relative_to)
    zero = np.zeros(1)
    if relative:
        zero = robot.action_to_si(span.group, np.zeros_like(span.low))
    ends = [robot.action_to_si(span.group, end) - zero for end in (span.low, span.high)]
    for joint, a, b in zip(robot.action_groups[span.group].joints, *ends, strict=True):
        limits = robot.joints[joint].limits
        lower, upper = limits.lower, limits.upper
        whole = upper - lower
        if relative:
            lower, upper = -whole, whole
        yield TrainedTarget(joint, float(min(a, b)), float(max(a, b)), lower, upper, whole)


def trained_states(
    span: GroupRange, robot: RobotContract
) -> Iterator[tuple[str, tuple[float, float]]]:
    """Yield joint, (smallest, largest) training value in rad or m, of a state group's columns.

    Yields nothing for an action group, and for one that the contract describes otherwise.
    """
    joints = robot.state_groups.get(span.group, ())
    if span.modality != "state" or len(span.low) != len(joints):
        return
    ends = [robot.state_to_si(span.group, end) for end in span.extremes]
    for joint, a, b in zip(joints, *ends, strict=True):
        low, high = sorted((float(a), float(b)))
        yield joint, (low, high)


def _trained_range(spec: PolicySpec, robot: RobotContract) -> Iterator[Problem]:
    for span in spec.ranges:
        mapped = robot.action_groups.get(span.group)
        if span.modality != "action" or spec.action_space.get(span.group) != "joint":
            continue
        if mapped is None or not mapped.maps or mapped.width_problem(len(span.low)):
            continue
        for target in trained_targets(span, robot):
            if target.share_rejected > _MOST_OUTSIDE:
                unit = robot.joints[target.joint].unit
                yield Problem(
                    f"joints.{target.joint}",
                    f"is trained with {'offsets' if span.relative_to else 'positions'} from "
                    f"{target.low:.4g} to {target.high:.4g} {unit}, most of them beyond the limits "
                    f"[{target.lower:.4g}, {target.upper:.4g}] by more than the range of the "
                    "joint; the executor rejects such chunks (out_of_range)",
                )


CHECKS = (
    Check(
        "trained_range",
        Severity.WARNING,
        "robot",
        "the actions of the training data with the limits of the joints",
        "correct unit_in and unit_out (deg?), or the limits",
        ("spec", "robot"),
        _trained_range,
    ),
)
