# SPDX-License-Identifier: Apache-2.0
"""A healthy run gives no warning: chunks of a policy, executed at 100 Hz.

Regression pinned: a warning about limits throughout the demo, which hid all others.
"""

from pathlib import Path

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus

from groot_ros.bridge.diagnosis import ExecutorDiagnosis
from groot_ros.control import Executor, ExecutorConfig
from groot_ros.core import ActionChunk, ActionGroup, ActionKind, s_to_ns
from groot_ros.core.share import robot_path
from groot_ros.robot import load_contract

pytestmark = pytest.mark.slow

RECORDED = Path(__file__).parents[2] / "benchmarks" / "continuity" / "recorded_chunks.npz"
CONTRACT = load_contract(robot_path("so101"))
TICK_NS, CHUNK_TICKS, DIAGNOSIS_TICKS = s_to_ns(0.01), 20, 100
#: From the observation to the arrival of its chunk, ns.
LATENCY_NS = s_to_ns(0.05)
BEGIN_NS = 1_750_000_000_000_000_000


def run(settings):
    """Execute every second one of the recorded chunks, five per second.

    Returns the state after each chunk, and the diagnostic status after each second.
    """
    with np.load(RECORDED) as recorded:
        names = tuple(recorded["joints"].tolist())
        chunks, dt = recorded["chunks"][::2].astype(float), float(recorded["dt"])
    executor, states, statuses = Executor(CONTRACT, settings), [], []
    diagnosis = ExecutorDiagnosis("e", {"gripper"})
    executor.start(BEGIN_NS - LATENCY_NS - TICK_NS)
    for tick in range(CHUNK_TICKS * len(chunks)):
        now = BEGIN_NS + tick * TICK_NS
        committed = executor.committed(now)
        at = chunks[0, 0] if committed is None else committed
        executor.observe(now, names, at, np.zeros(len(names)))
        if tick % CHUNK_TICKS == 0:
            stamp = now - LATENCY_NS
            group = ActionGroup(
                ActionKind.JOINT_POSITION,
                "all",
                names,
                ("rad",) * len(names),
                chunks[tick // CHUNK_TICKS],
            )
            chunk = ActionChunk(
                stamp_ns=stamp,
                start_ns=stamp,
                dt=dt,
                groups=(group,),
                session="a",
                id=1 + tick // CHUNK_TICKS,
                instruction_id=1,
                instruction="touch",
            )
            rejection = executor.receive(chunk, now)
            assert rejection is None, rejection
        executor.update(now)
        if tick % CHUNK_TICKS == 0:
            states.append(executor.state(now))
        if tick % DIAGNOSIS_TICKS == DIAGNOSIS_TICKS - 1:
            statuses.append(diagnosis.status(executor.state(now)))
    return states, statuses


def test_every_status_of_a_healthy_run_is_ok_although_limits_smooth_its_chunks():
    states, statuses = run(ExecutorConfig())
    assert len(statuses) == 24
    assert {(status.level, status.message) for status in statuses} == {
        (DiagnosticStatus.OK, "executing a chunk")
    }
    # The limits do change most chunks, but the motion only a little.
    assert min(states[-1].limited_chunks) > 60
    assert states[-1].underruns == 0
    *arm, gripper = np.max([state.limit_deviation for state in states], axis=0)
    assert max(arm) < 0.06
    assert gripper > 0.1


def test_limits_that_change_the_motion_itself_give_a_warning():
    settings = ExecutorConfig(limits_scale=0.2, max_start_jump=10.0)
    _, statuses = run(settings)
    warned = [s for s in statuses if "limits change the motion of" in s.message]
    assert len(warned) >= 3
    assert {s.level for s in warned} == {DiagnosticStatus.WARN}
