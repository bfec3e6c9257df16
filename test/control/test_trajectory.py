from dataclasses import replace

import numpy as np
import pytest
from support.control_bench import ARM, EPOCH_NS, contract

from groot_ros.control import JointTrajectory
from groot_ros.control.curve import Curve
from groot_ros.control.trajectory import prepare, require_continuous
from groot_ros.core import MalformedError

GOOD = JointTrajectory(
    controller="arm",
    topic="arm/joint_trajectory",
    joint_names=("a", "b"),
    stamp_ns=EPOCH_NS,
    offsets_ns=np.array([0, 10, 20]),
    positions=np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]]),
    velocities=np.array([[1.0, 1.0], [1.0, 1.0], [0.0, 0.0]]),
)


def spoilt(name, index, value):
    array = np.array(getattr(GOOD, name))
    array[index] = value
    return {name: array}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (spoilt("positions", (1, 0), np.nan), "non_finite"),
        (spoilt("velocities", (0, 0), np.inf), "non_finite"),
        (spoilt("velocities", (2, 1), 1e-9), "no_rest"),
        (spoilt("offsets_ns", 1, 20), "bad_times"),
        (spoilt("offsets_ns", 0, 5), "bad_times"),
        ({"joint_names": ("a", "a")}, "duplicate_name"),
        ({"joint_names": ("a",)}, "sizes_disagree"),
        ({"velocities": np.zeros((3, 3))}, "sizes_disagree"),
        (
            {n: getattr(GOOD, n)[-1:] for n in ("positions", "velocities")}
            | {"offsets_ns": np.array([0])},
            "too_few_knots",
        ),
    ],
)
def test_what_a_controller_would_take_amiss_is_never_made(change, reason):
    with pytest.raises(MalformedError) as caught:
        replace(GOOD, **change)
    assert caught.value.reason == reason


def test_each_controller_gets_its_own_joints_in_its_own_order():
    controller = contract().controllers[0]
    times = EPOCH_NS + np.array([0, 10, 20], dtype=np.int64)
    curve = Curve(times, np.arange(12.0).reshape(3, 4), np.zeros((3, 4)))
    trajectory = prepare(controller, [2, 1, 0], curve)
    assert trajectory.joint_names == tuple(reversed(ARM))
    assert trajectory.positions[0].tolist() == [2.0, 1.0, 0.0]
    assert trajectory.stamp_ns == EPOCH_NS
    assert trajectory.end_ns == EPOCH_NS + 20


def line(shift=0.0, speed=1.0):
    times = EPOCH_NS + np.array([-(10**8), 10**8], dtype=np.int64)
    positions = shift + speed * np.array([[-0.1], [0.1]])
    return Curve(times, positions, np.full((2, 1), speed))


def test_the_same_motion_may_be_sent_again():
    require_continuous(line(), None, EPOCH_NS)
    require_continuous(line(), line(), EPOCH_NS)


@pytest.mark.parametrize(
    ("new", "now_ns", "reason"),
    [
        (line(shift=1e-4), EPOCH_NS, "step"),
        (line(speed=1.01), EPOCH_NS, "step"),
        (line(), EPOCH_NS - 2 * 10**8, "not_in_force"),
        (line(), EPOCH_NS + 10**8, "not_in_force"),
    ],
)
def test_a_message_that_would_make_the_robot_step_is_rejected(new, now_ns, reason):
    with pytest.raises(MalformedError) as caught:
        require_continuous(new, line(), now_ns)
    assert caught.value.reason == reason
