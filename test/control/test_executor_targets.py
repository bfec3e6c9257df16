# SPDX-License-Identifier: Apache-2.0
"""Targets of controllers that follow them (grippers): how far ahead, and when they are frozen."""

from dataclasses import replace

import numpy as np
import pytest
from support.control_bench import DT, GRIPPER, JOINTS, Bench, chunk, contract

from groot_ros.control import ExecutorConfig
from groot_ros.core import s_to_ns

FINGER = JOINTS.index(GRIPPER)
#: The target of a gripper action lies this far ahead, s.
LEAD = 0.2


def robot(kind: str = "gripper_action_controller"):
    arm, finger = (made := contract()).controllers
    return replace(made, controllers=(arm, replace(finger, type=kind)))


def bench(kind: str = "gripper_action_controller", **settings: object) -> Bench:
    return Bench(ExecutorConfig(**settings), robot(kind), start=[0.0] * 4)


def grip(on: Bench, position: float, steps: int = 16, **fields: object):
    """Send a chunk that moves only the finger, to a position within three steps."""
    values = np.zeros((steps, 4))
    values[:, FINGER] = position * np.minimum(np.arange(steps) / 3.0, 1.0)
    return on.give(chunk(values, on.t, **fields))


def target(on: Bench) -> float | None:
    found = on.executor.targets(on.now_ns)
    return float(found[0][1][0]) if found else None


def test_a_gripper_gets_a_target_ahead_and_no_trajectory():
    on = bench()
    assert target(on) is None
    assert grip(on, 0.3) is None
    assert [t.controller for t in on.updates[-1][1].trajectories] == ["arm"]
    assert on.executor.commands(on.now_ns) == ()
    ((controller, position),) = on.executor.targets(on.now_ns)
    assert controller.name == "finger"
    ahead = on.active.at(on.now_ns + s_to_ns(LEAD))[0][FINGER]
    assert position.tolist() == [ahead]
    assert 0.1 < ahead < 0.35


def test_a_digital_output_gets_the_present_position():
    on = bench("digital_output")
    grip(on, 0.3)
    on.run(0.1)
    assert target(on) == on.active.at(on.now_ns)[0][FINGER]


def test_the_end_of_a_chunk_is_not_a_stop_so_its_last_target_is_delivered():
    on = bench()
    grip(on, 0.3)
    on.run(3.0)
    assert on.state.underruns == 1
    assert on.at_rest
    assert target(on) == pytest.approx(0.3, abs=1e-3)


def test_the_end_of_a_single_step_is_not_a_stop_either():
    on = bench(single_step=True)
    on.executor.step(on.now_ns)
    on.run(0.01)
    assert grip(on, 0.3) is None
    on.run(3.0)
    assert "single step" in on.state.reason
    assert target(on) == pytest.approx(0.3, abs=1e-3)


STOPS = {
    "hold": lambda on: on.executor.hold(True, on.now_ns),
    "emergency stop": lambda on: on.executor.estop(on.now_ns),
    "empty instruction": lambda on: on.executor.instruct("", on.now_ns),
    "deactivation": lambda on: on.executor.stop(on.now_ns),
    "internal error": lambda on: on.executor.fail("a bug", on.now_ns),
    "reset": lambda on: on.executor.reset(on.now_ns),
    "another executor": lambda on: on.executor.yield_control("two", on.now_ns),
}


@pytest.mark.parametrize("stop", STOPS.values(), ids=STOPS)
def test_a_stop_freezes_the_target_until_the_next_chunk(stop):
    on = bench()
    grip(on, 0.3)
    on.run(0.1)
    stop(on)
    assert target(on) is None
    on.run(1.0)
    assert target(on) is None
    on.executor.hold(False, on.now_ns)
    on.executor.resume(on.now_ns)
    on.executor.instruct("go on", on.now_ns)
    on.run(0.1)
    assert target(on) is None
    assert grip(on, 0.1) is None
    assert target(on) is not None


def test_lost_joint_states_freeze_the_target():
    on = bench()
    grip(on, 0.3, steps=60)
    on.run(0.1)
    on.reports = False
    on.run(1.0)
    assert "joint states lost" in on.state.reason
    assert target(on) is None


def test_the_target_is_frozen_while_an_arm_joint_does_not_follow():
    on = bench()
    grip(on, 0.3, steps=60)
    on.run(0.1)
    on.follows = False
    on.measured = on.measured + np.array([0.5, 0.0, 0.0, 0.0])
    on.run(0.05)
    assert "does not follow" in on.state.reason
    assert target(on) is None


def test_a_finger_that_holds_an_object_does_not_freeze_its_target():
    on = bench()
    grip(on, -0.4, steps=60)
    on.follows = False
    on.run(0.8)
    assert on.state.reason == "executing a chunk"
    assert target(on) == pytest.approx(-0.4, abs=1e-6)


def test_an_emergency_stop_is_visible_until_resume():
    on = bench()
    grip(on, 0.3)
    on.executor.estop(on.now_ns)
    assert on.executor.estopped
    on.executor.resume(on.now_ns)
    assert not on.executor.estopped


def test_shadow_mode_has_no_targets():
    on = bench(shadow=True)
    assert grip(on, 0.3) is None
    assert target(on) is None


def test_chunks_that_follow_each_other_move_the_target_without_steps():
    on = bench()
    values = np.zeros((16, 4))
    seen = []
    for _ in range(10):
        values[:, FINGER] = 0.5 * np.sin(on.t + DT * np.arange(16))
        assert on.give(chunk(values, on.t)) is None
        for _ in range(20):
            on.run(0.01)
            seen.append(target(on))
    expected = 0.5 * np.sin(LEAD + 0.01 * np.arange(1, 201))
    np.testing.assert_allclose(seen[20:], expected[20:], atol=0.02)
    assert np.abs(np.diff(seen)).max() < 0.02
