# SPDX-License-Identifier: Apache-2.0
"""A pick-and-place policy: one action at a time, sent as overlapping chunks of its motion."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.table_robot import SPEC, VIEWS, LinePlanner, PosesModel, table_robot

from groot_ros.core import CommittedTimeline, NoChunkError, Observation, s_to_ns
from groot_ros.core.prompt import ALL_VIEWS, PromptImage
from groot_ros.policy.path_stream import ExecutionReport, PathStream
from groot_ros.policy.pick_place import SETTLING_TIME, START_DELAY, PickPlacePolicy

ROBOT = table_robot()
JOINTS = ROBOT.joint_names
BEGIN = 1_000 * s_to_ns(1.0)
PERIOD = 0.2
IMAGES = {view: np.zeros((1, 8, 12, 3), np.uint8) for view in VIEWS}
LABELS = {view: np.ones((1, 8, 12), np.uint8) for view in VIEWS}


class Setting:
    """A policy, and observations every 0.2 s of a robot that follows its chunks."""

    def __init__(self, **planner: float) -> None:
        self.model, self.planner = PosesModel(), LinePlanner(JOINTS, **planner)
        self.policy = PickPlacePolicy(SPEC, self.model, self.planner, ROBOT)
        self.now = BEGIN
        self.policy.clock = lambda: self.now
        self.actions = []
        self.policy.on_action = self.actions.append
        self.positions = dict.fromkeys(JOINTS, 0.25)
        self.prompt = {"instruction": "put {0}", "instruction_id": 1}

    def observe(self, **changes) -> Observation:
        state = {
            group: np.array([[self.positions[joint] for joint in joints]])
            for group, joints in ROBOT.state_groups.items()
        }
        fields = {
            "stamp_ns": self.now,
            "images": IMAGES,
            "labels": LABELS,
            "state": state,
            "pictures": {"0": {ALL_VIEWS: PromptImage(IMAGES["front"][0])}},
            **self.prompt,
            **changes,
        }
        return Observation(**fields)

    def tick(self, **changes):
        """Infer, then let a period pass in which the robot does what the chunk says."""
        chunk = self.policy.infer(self.observe(**changes))
        self.now += s_to_ns(PERIOD)
        step = round(PERIOD / chunk.dt)
        for group in chunk.groups:
            self.positions |= dict(zip(group.names, group.values[step].tolist(), strict=True))
        return chunk

    def refused(self, **changes) -> NoChunkError:
        with pytest.raises(NoChunkError) as error:
            self.policy.infer(self.observe(**changes))
        return error.value

    def report(self, *, running: bool = True, stop: str = "", scaling: float = 1.0) -> None:
        self.policy.record_executor(ExecutionReport(self.now, running, stop, "because", scaling))


def values(chunk) -> dict[str, np.ndarray]:
    return {
        name: group.values[:, column]
        for group in chunk.groups
        for column, name in enumerate(group.names)
    }


def test_chunks_are_samples_of_one_path_and_command_every_joint() -> None:
    on = Setting()
    speed = 0.3 / 2.0
    for tick in range(10):
        chunk = on.tick()
        assert (chunk.start_ns, chunk.dt, chunk.horizon) == (
            BEGIN + tick * s_to_ns(PERIOD),
            ROBOT.action_dt,
            SPEC.horizon,
        )
        assert set(values(chunk)) == set(JOINTS)
        elapsed = tick * PERIOD + chunk.dt * np.arange(SPEC.horizon) - START_DELAY
        expected = 0.25 + np.clip(speed * elapsed, 0.0, 0.3)
        for own in values(chunk).values():
            np.testing.assert_allclose(own, expected, atol=1e-9)
    assert len(on.actions) == 1
    assert on.model.sessions[-1].steps == 1


def test_the_next_action_follows_when_the_images_show_the_result() -> None:
    on = Setting()
    ticks = 0
    while len(on.actions) < 2:
        on.tick()
        ticks += 1
    passed = (ticks - 1) * PERIOD
    assert START_DELAY + 2.0 + SETTLING_TIME <= passed < START_DELAY + 2.0 + SETTLING_TIME + PERIOD
    # The second path starts where the first one ended, in the same session.
    assert on.planner.starts[1] == pytest.approx(dict.fromkeys(JOINTS, 0.55))
    assert len(on.model.sessions) == 1
    (first, _), (second, _) = on.actions
    assert second.position[0] - first.position[0] == pytest.approx(0.01)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=12))
def test_the_path_advances_as_the_robot_does_whatever_its_speed_scaling(
    scales: list[float],
) -> None:
    stream = PathStream(
        LinePlanner(JOINTS).plan(dict.fromkeys(JOINTS, 0.0), _action()), BEGIN, BEGIN
    )
    for number, scale in enumerate(scales, start=1):
        now = BEGIN + number * s_to_ns(PERIOD)
        report = ExecutionReport(now, True, speed_scaling=scale)
        assert stream.interruption(report, now) == ""
        stream.advance(now, report)
    assert stream.remaining == pytest.approx(2.0 - PERIOD * sum(scales))
    at = min(PERIOD * sum(scales), 2.0)
    np.testing.assert_allclose(stream.sample(0.1, 1)[0], 0.15 * at, atol=1e-9)


def _action():
    return PosesModel().session("", {}, (0.2, 0.0), (0.6, 0.2)).step({}, {}, "suction")


@pytest.mark.parametrize("stop", ["estopped", "on_hold", "executor_stopped"])
def test_a_stop_ends_the_motion_and_the_action_is_decided_again_afterwards(stop: str) -> None:
    on = Setting()
    for _ in range(3):
        on.tick()
        on.report()
    on.report(running=False, stop=stop)
    assert on.refused().reason == stop
    assert on.policy.action_rejection == "not finished: the executor stopped: because"
    session = on.model.sessions[-1]
    assert (session.steps, session.taken_back) == (0, 1)
    on.report(running=False)
    on.tick()
    assert session.steps == 1
    assert on.planner.starts[1] == pytest.approx(on.planner.starts[0], abs=0.2)
    assert on.policy.action_rejection == ""


def test_a_motion_that_the_executor_ends_is_taken_back_and_one_that_it_never_begins_as_well() -> (
    None
):
    on = Setting()
    on.tick()
    on.tick()
    on.report()
    on.tick()
    on.report(running=False)
    on.tick()
    assert (on.model.sessions[-1].taken_back, len(on.planner.starts)) == (1, 2)
    other = Setting(seconds=9.0)
    while len(other.planner.starts) < 2:
        other.report(running=False)
        other.tick()
    assert other.model.sessions[-1].taken_back == 1
    assert 2.0 <= (other.now - BEGIN) / 1e9 < 3.0


def test_a_path_begins_when_the_executor_executes_its_chunks() -> None:
    on = Setting()
    for _ in range(4):
        on.report(running=False)
        for own in values(on.tick()).values():
            # Steps after the start of the path are of the future, which may not come.
            assert own[0] == 0.25
    on.report()
    on.tick()
    assert len(on.planner.starts) == 1
    on.report()
    speed = 0.3 / 2.0
    assert values(on.tick())["elbow_flex"][0] == pytest.approx(0.25 + speed * 2 * PERIOD)


def test_a_motion_that_leaves_the_path_is_planned_again() -> None:
    on = Setting()
    for _ in range(3):
        on.tick()
        on.report()
    on.policy.set_timeline(timeline(on, 1.6))
    assert on.refused().reason == "still_moving"
    assert "rad or m away from the path" in on.policy.action_rejection
    assert on.model.sessions[-1].taken_back == 1


def test_a_stop_after_the_end_of_the_motion_takes_nothing_back() -> None:
    on = Setting(seconds=0.2)
    on.tick()
    on.tick()
    on.report()
    on.tick()
    on.report(running=False, stop="on_hold")
    assert on.refused().reason == "on_hold"
    assert on.model.sessions[-1].taken_back == 0


def test_a_new_instruction_begins_a_new_session_even_with_the_same_words() -> None:
    on = Setting()
    on.tick()
    on.prompt["instruction_id"] = 2
    on.tick()
    assert [session.steps for session in on.model.sessions] == [1, 1]
    on.policy.reset()
    on.tick()
    assert len(on.model.sessions) == 3


def test_a_pose_out_of_reach_rejects_the_whole_action_with_pose_and_reason() -> None:
    on = Setting()
    on.planner.unreachable = True
    error = on.refused()
    assert error.reason == "unreachable_pose"
    assert error.detail.startswith("pick pose x 0.160, y -0.080, z 0.020 m")
    assert "joint_2 is at its limit" in error.detail
    assert on.policy.action_rejection == error.detail
    assert (on.model.sessions[-1].taken_back, on.actions) == (1, [])
    on.planner.unreachable = False
    on.tick()
    assert on.policy.action_rejection == ""


def test_objects_and_prompts_that_cannot_be_resolved_give_no_chunk() -> None:
    on = Setting()
    empty = {view: np.zeros((1, 8, 12), np.uint8) for view in VIEWS}
    assert on.refused(labels=empty).reason == "unusable_objects"
    assert on.refused(instruction="unknown", instruction_id=5, pictures={}).reason == "bad_prompt"
    assert on.policy.prompt_problem("put it", {}) == ""
    assert "not in the vocabulary" in on.policy.prompt_problem("unknown", {})


def timeline(on: Setting, end: float, *, moving: bool = False, seconds: float = 1.0):
    rows = 11
    positions = np.linspace(0.2, end, rows)[:, None].repeat(len(JOINTS), axis=1)
    velocities = np.zeros_like(positions)
    if moving:
        velocities[:] = 0.1
    dt = seconds / (rows - 1)
    start = on.now - s_to_ns(seconds / 2)
    return CommittedTimeline(on.now, 1, "s", 0, 1, start, dt, JOINTS, positions, velocities)


def test_a_path_starts_from_the_committed_motion_when_it_has_come_to_rest() -> None:
    on = Setting()
    on.policy.set_timeline(timeline(on, 0.3, moving=True))
    assert on.refused().reason == "still_moving"
    on.policy.set_timeline(timeline(on, 0.3))
    # Not the measured 0.25: the executor is committed to more.
    on.now += s_to_ns(1.0)
    on.tick()
    assert on.planner.starts[0] == pytest.approx(dict.fromkeys(JOINTS, 0.3))


def test_a_timeline_of_an_earlier_motion_is_not_used() -> None:
    on = Setting()
    on.policy.set_timeline(timeline(on, 2.0))
    on.now += s_to_ns(10.0)
    on.tick()
    assert on.planner.starts[0] == pytest.approx(dict.fromkeys(JOINTS, 0.25))


def test_a_joint_that_nothing_measures_starts_at_its_open_end() -> None:
    on = Setting()
    policy = PickPlacePolicy(
        SPEC, on.model, on.planner, replace(ROBOT, state_groups={"single_arm": JOINTS[:5]})
    )
    observation = on.observe()
    state = {"single_arm": observation.state["single_arm"]}
    policy.infer(replace(observation, state=state))
    gripper = ROBOT.joints["gripper"].gripper
    assert gripper is not None
    assert on.planner.starts[0]["gripper"] == gripper.open
