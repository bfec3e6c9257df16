# SPDX-License-Identifier: Apache-2.0
"""Real-time chunking with a real policy and a real executor, in a process each."""

import re
from pathlib import Path

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from support.policy_stage import Inbox, wait_until
from support.process_stage import JOINTS, ProcessStage
from support.tiny_checkpoint import write_tiny_checkpoint

from groot_ros.bridge import qos
from groot_ros.control.curve import Curve
from groot_ros.core import NS_PER_S, ActionChunk, CommittedTimeline, RtcMode, s_to_ns
from groot_ros.core.messages import chunk_from_msg, timeline_from_msg
from groot_ros.core.share import robot_path
from groot_ros.msg import ActionChunk as ActionChunkMsg
from groot_ros.msg import ExecutorState

pytestmark = [pytest.mark.ros, pytest.mark.slow]
OK, WARN = DiagnosticStatus.OK, DiagnosticStatus.WARN


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return write_tiny_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture
def stage(ros_domain, tmp_path):
    made = ProcessStage(tmp_path)
    yield made
    made.end()


@pytest.fixture(scope="module")
def slow_robot(tmp_path_factory):
    """A contract with steps of 0.1 s: eight of them meet the budget on a busy machine as well."""
    path = tmp_path_factory.mktemp("robot") / "so101.yaml"
    text = Path(robot_path("so101")).read_text()
    path.write_text(re.sub(r"(?m)^action_dt: .*$", "action_dt: 0.1", text))
    return path


def start_policy(stage, checkpoint, **parameters):
    given = {"rate_hz": 5.0, "torch_threads": 1, "instruction": "pick", **parameters}
    return stage.start("policy_node", checkpoint=checkpoint, device="cpu", **given)


def spans(timeline: CommittedTimeline, chunk: ActionChunk, steps: int) -> bool:
    """Return whether the timeline covers each of the chunk's first steps."""
    last = timeline.start_ns + round((len(timeline.positions) - 1) * timeline.dt * NS_PER_S)
    return timeline.start_ns <= chunk.start_ns and (
        chunk.start_ns + s_to_ns((steps - 1) * chunk.dt) <= last
    )


def committed_at(timeline: CommittedTimeline, chunk: ActionChunk, steps: int) -> np.ndarray:
    """Return the timeline at the chunk's first steps, [steps, 6], from the published rows."""
    rows = np.round(np.arange(len(timeline.positions)) * (timeline.dt * NS_PER_S))
    times = timeline.start_ns + rows.astype(np.int64)
    curve = Curve(times, timeline.positions, timeline.velocities)
    due = [chunk.start_ns + s_to_ns(i * chunk.dt) for i in range(steps)]
    assert spans(timeline, chunk, steps)
    columns = [timeline.joint_names.index(name) for name in JOINTS]
    return curve.sample(due)[0][:, columns]


def proposed_by(chunk: ActionChunk) -> np.ndarray:
    """Return the chunk's positions of each joint, [horizon, 6]."""
    columns = {
        name: group.values[:, i] for group in chunk.groups for i, name in enumerate(group.names)
    }
    return np.stack([columns[name] for name in JOINTS], axis=1)


@pytest.mark.parametrize("mode", ["native", "guided"])
def test_frozen_steps_are_the_committed_timeline(stage, checkpoint, slow_robot, mode):
    stage.start_executor(robot=slow_robot)
    start_policy(stage, checkpoint, robot=slow_robot, **{"rtc.mode": mode})

    stage.wait(ExecutorState.RUNNING)

    def conditioned():
        return [c for c in stage.chunks.all() if c.frozen_steps > 0]

    wait_until(lambda: len(conditioned()) >= 8, "chunks continue committed motion")
    timelines = {t.id: timeline_from_msg(t) for t in stage.timelines.all()}
    compared, free = 0, 0.0
    for msg in conditioned()[:8]:
        chunk = chunk_from_msg(msg)
        assert chunk.rtc_mode == RtcMode[mode.upper()]
        frozen, values = chunk.frozen_steps, proposed_by(chunk)
        committed = committed_at(timelines[chunk.prefix_id], chunk, frozen)
        np.testing.assert_allclose(values[:frozen], committed, rtol=0, atol=1e-6)
        free = max(free, np.abs(np.diff(values[frozen - 1 :], axis=0)).max())
        compared += frozen
    assert compared >= 8
    # Beyond them the network decides, and an untrained one jumps.
    assert free > 0.02
    assert stage.diagnosed("policy_node: inference", "chunks/s") in (OK, WARN)
    accepted = stage.wait(ExecutorState.RUNNING)
    assert accepted.accepted >= 8


@pytest.mark.parametrize("mode", ["native", "guided", "off"])
def test_a_chunk_frozen_over_its_whole_horizon_is_the_committed_timeline(
    stage, checkpoint, slow_robot, mode
):
    """Real-time chunking must have an effect: `off` must differ from the other modes.

    A script commits motion far enough ahead, with the policy's session. The policy's own chunks
    go to a separate topic.
    """
    proposals = Inbox()
    stage.node.create_subscription(ActionChunkMsg, "proposed", proposals.put, qos.CHUNKS)
    stage.start_executor(robot=slow_robot, max_chunk_age=5.0)
    given = {"rtc.mode": mode, "rtc.frozen_steps": 1000, "robot": slow_robot}
    start_policy(stage, checkpoint, action_chunk="proposed", **given)
    stage.policy.session = stage.statuses.wait(lambda s: s.session).session
    stage.policy.steps = 60
    stage.run()

    running_ns = stage.now_ns

    def comparable() -> list[tuple[ActionChunk, CommittedTimeline]]:
        """Return the chunks that are frozen as expected, with the timeline that they used.

        A busy machine causes others: from the time before the policy received any motion, or after
        a delay of the script by which the motion covers only a part of the chunk.
        """
        frozen = (0, RtcMode.OFF) if mode == "off" else (8, RtcMode[mode.upper()])
        made = map(chunk_from_msg, proposals.all())
        expected = [c for c in made if (c.frozen_steps, c.rtc_mode) == frozen]
        timelines = [timeline_from_msg(t) for t in stage.timelines.all()]
        pairs = []
        for chunk in [c for c in expected if c.stamp_ns > running_ns]:
            known = [t for t in timelines if t.stamp_ns <= chunk.stamp_ns]
            seen = [t for t in timelines if t.id == chunk.prefix_id] if chunk.prefix_id else known
            pairs += [(chunk, t) for t in seen[-1:] if spans(t, chunk, 8)]
        return pairs

    wait_until(lambda: len(comparable()) >= 8, f"the policy proposes chunks of mode {mode}")
    furthest, moved = 0.0, 0.0
    for chunk, timeline in comparable():
        assert chunk.horizon == 8
        committed = committed_at(timeline, chunk, 8)
        furthest = max(furthest, np.abs(proposed_by(chunk) - committed).max())
        moved = max(moved, np.ptp(committed, axis=0).max())
    if mode == "off":
        assert not any(c.frozen_steps for c in map(chunk_from_msg, proposals.all()))
    assert moved > 0.1
    if mode == "off":
        assert furthest > 0.1
    else:
        assert furthest < 1e-6


def test_a_killed_policy_leaves_the_robot_at_rest_and_a_restarted_one_takes_over(stage, checkpoint):
    stage.start_executor()
    policy = start_policy(stage, checkpoint)
    first = stage.wait(ExecutorState.RUNNING)
    policy.kill()
    killed_ns = stage.now_ns
    state = stage.wait(ExecutorState.HOLDING, "no chunk came in time: at rest")
    assert (state.header.stamp.sec * NS_PER_S + state.header.stamp.nanosec - killed_ns) < s_to_ns(
        1.0 + 0.3 + 0.2
    )
    start_policy(stage, checkpoint)
    second = stage.states.wait(
        lambda s: s.status == ExecutorState.RUNNING and s.session != first.session
    )
    assert second.accepted > state.accepted
