# SPDX-License-Identifier: Apache-2.0
"""Read what policy, executor and robot report on the running graph, for `groot-ros status`."""

import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from lifecycle_msgs.msg import State
from rcl_interfaces.srv import GetParameters
from sensor_msgs.msg import JointState

from groot_ros.bridge import qos
from groot_ros.bridge.graph_client import GraphClient, NoAnswerError, ServiceCall
from groot_ros.core import ExecutorStatus, ns_to_s, time_to_ns
from groot_ros.msg import CommittedTimeline, ExecutorState, PolicyStatus
from groot_ros.robot import RobotContract, load_contract

_LIFECYCLE = {
    State.PRIMARY_STATE_UNCONFIGURED: "unconfigured",
    State.PRIMARY_STATE_INACTIVE: "inactive",
    State.PRIMARY_STATE_ACTIVE: "active",
    State.PRIMARY_STATE_FINALIZED: "finalized",
}
#: s within which everything else arrives once both nodes have been found.
_REST = 1.0
_POLL = 0.02


@dataclass(frozen=True)
class InputReport:
    """One camera or joint state source; age in s (-1: never received), rates in Hz."""

    name: str
    age: float
    rate: float
    expected_rate: float


@dataclass(frozen=True)
class StageReport:
    """Durations of one stage of inference, s."""

    name: str
    p50: float
    p95: float


@dataclass(frozen=True)
class PolicyReport:
    """State of the policy node.

    Attributes:
        age: s since its last report.
        memory_bytes: device memory of the policy.
        inference_delay: steps from t_obs until a chunk can act; 0 = not measured yet.
        execution_horizon: steps executed of each chunk, of `horizon`.
        rejections: code -> count.
        action_rejection: why the last pick-and-place action was not executed; empty if it was.

    """

    age: float
    lifecycle: str
    instruction: str
    instruction_id: int
    instruction_rejection: str
    instruction_mismatch: str
    engine: str
    device: str
    memory_bytes: int
    rate: float
    target_rate: float
    stages: tuple[StageReport, ...]
    inputs: tuple[InputReport, ...]
    inference_delay: int
    execution_horizon: int
    horizon: int
    within_budget: bool
    rejections: dict[str, int]
    action_rejection: str = ""


@dataclass(frozen=True)
class ExecutorReport:
    """State of the executor node; times in s."""

    age: float
    status: str
    reason_code: str
    reason: str
    latched: bool
    shadow: bool
    hold: bool
    estop: bool
    instruction: str
    instruction_id: int
    instruction_mismatch: str
    chunk_id: int
    chunk_age: float
    time_until_braking: float
    received: int
    accepted: int
    underruns: int
    speed_scaling: float
    rejections: dict[str, int]


@dataclass(frozen=True)
class JointReport:
    """One joint; rad or m. None: not known.

    Attributes:
        target: committed position at this time.
        measured: newest measured position.
        lower: position limit of the robot contract.
        upper: position limit of the robot contract.
        ahead: committed positions, the first one of the present time.
        limited_chunks: chunks that a limit changed.

    """

    name: str
    target: float | None = None
    measured: float | None = None
    lower: float | None = None
    upper: float | None = None
    ahead: tuple[float, ...] = ()
    limited_chunks: int = 0


@dataclass(frozen=True)
class RobotStatus:
    """Everything that one screen shows.

    Attributes:
        namespace: absolute, "/" for none.
        domain: ROS_DOMAIN_ID.
        policy: None if no policy node was found.
        executor: None if no executor node was found.
        joints: in the order of the executor, then all others that are measured.
        committed: s of committed motion that are left; 0 at its end.

    """

    namespace: str
    domain: str
    policy: PolicyReport | None = None
    executor: ExecutorReport | None = None
    joints: tuple[JointReport, ...] = ()
    committed: float = 0.0


@dataclass
class _Received:
    """Newest messages, and the steady time in s at which each was received."""

    messages: dict[type, tuple[Any, float]] = field(default_factory=dict)
    positions: dict[str, float] = field(default_factory=dict)


class StatusReader:
    """Client that collects what the nodes of a namespace report; use it as a context manager.

    Args:
        namespace: namespace of the nodes.
        robot: robot contract for limits and joint states; without one, that of the executor is
            used, if its file exists on this machine.

    """

    def __init__(self, namespace: str = "", robot: RobotContract | None = None) -> None:
        self._lock = threading.Lock()
        self._received = _Received()
        self._robot = robot
        self._client = GraphClient(namespace, "groot_ros_status")
        for kind, topic in (
            (PolicyStatus, "policy_status"),
            (ExecutorState, "executor_state"),
            (CommittedTimeline, "committed_timeline"),
        ):
            self._client.node.create_subscription(kind, topic, self._on_message, qos.LATCHED)
        if robot is not None:
            self._subscribe_joints(robot)

    def __enter__(self) -> "StatusReader":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def wait(self, timeout: float) -> None:
        """Wait until both nodes, and shortly for the joints; at most `timeout` s for the nodes."""
        self._wait_for(lambda: {PolicyStatus, ExecutorState} <= set(self._messages()), timeout)
        if self._robot is None and ExecutorState in self._messages():
            self.find_robot()
        if self._robot is not None:
            self._wait_for(lambda: bool(self._received.positions), _REST)

    def find_robot(self) -> None:
        """Load the robot contract that the executor uses, if its file exists on this machine."""
        request = GetParameters.Request(names=["robot"])
        call = ServiceCall("executor_node/get_parameters", GetParameters, request)
        (response,) = self._client.call([call], _REST)
        if isinstance(response, NoAnswerError) or not response.values:
            return
        path = Path(response.values[0].string_value)
        if path.is_file():
            self._robot = load_contract(path)
            self._subscribe_joints(self._robot)

    @property
    def has_robot(self) -> bool:
        """Return whether the robot contract is known."""
        return self._robot is not None

    def status(self) -> RobotStatus:
        """Return what was received so far."""
        now = time.monotonic()
        with self._lock:
            messages, positions = dict(self._received.messages), dict(self._received.positions)
        policy = executor = None
        if PolicyStatus in messages:
            msg, at = messages[PolicyStatus]
            policy = policy_report(msg, now - at)
        state: ExecutorState | None = None
        ros_now_ns = 0
        if ExecutorState in messages:
            state, at = messages[ExecutorState]
            executor = executor_report(state, now - at)
            # The clock of the nodes, which may be that of a simulation.
            ros_now_ns = time_to_ns(state.header.stamp) + int(1e9 * (now - at))
        timeline = messages.get(CommittedTimeline, (None, 0.0))[0]
        joints, committed = joint_reports(state, timeline, positions, self._robot, ros_now_ns)
        return RobotStatus(
            self._client.node.get_namespace(),
            os.environ.get("ROS_DOMAIN_ID") or "0",
            policy,
            executor,
            joints,
            committed,
        )

    def _messages(self) -> dict[type, tuple[Any, float]]:
        with self._lock:
            return dict(self._received.messages)

    def _wait_for(self, condition: Any, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while not condition() and time.monotonic() < deadline:
            time.sleep(_POLL)

    def _subscribe_joints(self, robot: RobotContract) -> None:
        for source in robot.sources:
            self._client.node.create_subscription(
                JointState, source.topic, self._on_joints, qos.JOINT_STATES
            )

    def _on_message(self, msg: Any) -> None:
        with self._lock:
            self._received.messages[type(msg)] = msg, time.monotonic()

    def _on_joints(self, msg: JointState) -> None:
        with self._lock:
            self._received.positions.update(zip(msg.name, msg.position, strict=False))


def policy_report(msg: PolicyStatus, age: float) -> PolicyReport:
    """Return the report of a message that was received `age` s ago."""
    return PolicyReport(
        age=age,
        lifecycle=_LIFECYCLE.get(msg.lifecycle, str(msg.lifecycle)),
        instruction=msg.instruction,
        instruction_id=msg.instruction_id,
        instruction_rejection=msg.instruction_rejection,
        instruction_mismatch=msg.instruction_mismatch,
        action_rejection=msg.action_rejection,
        engine=msg.engine,
        device=msg.device,
        memory_bytes=msg.memory_bytes,
        rate=msg.rate,
        target_rate=msg.target_rate,
        stages=tuple(StageReport(s.name, s.p50, s.p95) for s in msg.stages),
        inputs=tuple(
            # Ages grow until the next report.
            InputReport(i.name, i.age if i.age < 0 else i.age + age, i.rate, i.expected_rate)
            for i in msg.inputs
        ),
        inference_delay=msg.inference_delay,
        execution_horizon=msg.execution_horizon,
        horizon=msg.horizon,
        within_budget=msg.within_budget,
        rejections={r.code: r.count for r in msg.rejections},
    )


def executor_report(msg: ExecutorState, age: float) -> ExecutorReport:
    """Return the report of a message that was received `age` s ago."""
    return ExecutorReport(
        age=age,
        status=ExecutorStatus(msg.status).name,
        reason_code=msg.reason_code,
        reason=msg.reason,
        latched=msg.latched,
        shadow=msg.shadow,
        hold=msg.hold,
        estop=msg.estop,
        instruction=msg.instruction,
        instruction_id=msg.instruction_id,
        instruction_mismatch=msg.instruction_mismatch,
        chunk_id=msg.chunk_id,
        chunk_age=msg.chunk_age,
        time_until_braking=msg.time_until_braking,
        received=msg.received,
        accepted=msg.accepted,
        underruns=msg.underruns,
        speed_scaling=msg.speed_scaling,
        rejections={r.code: r.count for r in msg.rejections},
    )


def joint_reports(
    state: ExecutorState | None,
    timeline: CommittedTimeline | None,
    positions: dict[str, float],
    robot: RobotContract | None,
    now_ns: int,
) -> tuple[tuple[JointReport, ...], float]:
    """Return the joints, and s of committed motion after `now_ns` (ROS time).

    Args:
        state: of the executor.
        timeline: committed motion.
        positions: joint -> measured position, rad or m.
        robot: for the limits.
        now_ns: time for which targets are looked up.

    """
    names: Sequence[str] = () if state is None else state.joint_names
    limited = dict(zip(names, () if state is None else state.limited_chunks, strict=True))
    rows: dict[str, Any] = {}
    committed = 0.0
    row = 0
    if timeline is not None and timeline.joint_names and timeline.dt > 0:
        table = np.asarray(timeline.positions).reshape(-1, len(timeline.joint_names))
        elapsed = ns_to_s(now_ns - time_to_ns(timeline.start)) / timeline.dt
        row = int(np.clip(round(elapsed), 0, len(table) - 1))
        committed = (len(table) - 1 - row) * float(timeline.dt)
        rows = dict(zip(timeline.joint_names, table.T, strict=True))
    reports = []
    for name in dict.fromkeys([*names, *positions]):
        limits = robot.joints[name].limits if robot is not None and name in robot.joints else None
        own = rows.get(name)
        reports.append(
            JointReport(
                name,
                None if own is None else float(own[row]),
                positions.get(name),
                None if limits is None else float(limits.lower),
                None if limits is None else float(limits.upper),
                () if own is None else tuple(float(v) for v in own[row:]),
                int(limited.get(name, 0)),
            )
        )
    return tuple(reports), committed
